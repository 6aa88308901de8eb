//! `porthole watch`: viewers without a browser. They count what arrives, they do not decode it.

pub mod count;
mod proof;
mod report;
mod viewer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access::link::Link as ViewingLink;
use crate::base::tasks::TaskGroup;
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::mqtt::{LinkError, TlsFiles};
use crate::signaling::topic::{Id, Topics};
use proof::Proof;
pub use report::Report;
use viewer::Plan;

const FIGURES: &str = "\
It counts what arrives, it does not decode. The exit code is 0 only if every viewer got video.
  first frame   from the published offer to the first whole key frame
  frames, fps   access units that arrived whole; broken ones lack a packet
  lost          packets that never came, not by retransmission within half a second either
  gap           longest time between two whole frames, or from the last one to the end
  bitrate       H.264 payload, each packet once and without headers";

/// What to watch.
#[derive(Args, Debug, Clone)]
#[command(after_help = FIGURES)]
pub struct WatchArgs {
    /// The broker: mqtt://HOST[:1883], mqtts://HOST[:8883], ws://HOST[:PORT][/PATH] or wss://…
    #[arg(long, value_name = "URL", required_unless_present = "link")]
    pub broker: Option<BrokerUrl>,
    /// The device id, as in `[device] id`
    #[arg(long, value_name = "ID", required_unless_present = "link")]
    pub device: Option<Id>,
    /// A viewing link, as `porthole grant` prints it: signs the offers with its grant and verifies the
    /// answers with the device's key. --broker and --root, if given, win over what it says
    #[arg(long, value_name = "LINK", conflicts_with = "device")]
    pub link: Option<ViewingLink>,
    /// How many viewers, each with its own connection to the broker and to the device
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub viewers: u16,
    /// How long each of them watches, from its offer on
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// The first part of all topics, as in `[mqtt] root`
    #[arg(long, value_name = "TOPIC")]
    pub root: Option<String>,
    /// PEM file with the CA that signed the broker's certificate, when the system does not know it
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The user name at the broker
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// File with the password at the broker
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
}

/// Why watching cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The password's file.
    #[error("cannot read the password from {}: {source}; check --password-file", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// Neither the link nor the arguments name it.
    #[error("the link names no broker; name it with --broker")]
    NoBroker,
    /// What the link calls a broker is none.
    #[error("the broker in the link cannot be used: {0}")]
    Broker(String),
    /// Something about TLS.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// The subcommand: exit code 0 only if every viewer got video.
pub(super) fn main(args: WatchArgs) -> ExitCode {
    super::in_runtime(async move {
        match run(args).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => super::fail(&error),
        }
    })
}

/// Runs the viewers and prints what they counted. True if every one of them got video.
pub async fn run(args: WatchArgs) -> Result<bool, WatchError> {
    let report = measure(&args).await?;
    let text = if args.json { report.json() } else { report.table() };
    println!("{text}");
    Ok(report.all_got_video())
}

/// Runs the viewers until all have watched long enough, or Ctrl-C is pressed.
pub async fn measure(args: &WatchArgs) -> Result<Report, WatchError> {
    let password = args.password_file.as_deref().map(read_password).transpose()?;
    let Place { url, device, root, proof } = place(args)?;
    let (username, password) = credentials(args, &url, password);
    let tasks = TaskGroup::new();
    let plan = Arc::new(Plan {
        url,
        topics: Topics::new(&root, &device),
        device,
        proof,
        username,
        password,
        tls: TlsFiles { ca_file: args.ca_file.clone(), ..TlsFiles::default() },
        watch_for: Duration::from_secs(args.seconds.into()),
        first_picture_only: false,
        tasks: tasks.clone(),
    });
    // Sent when Ctrl-C is pressed.
    let (stop, stopped) = watch::channel(false);
    tasks.spawn("interrupt", async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = stop.send(true);
        } else {
            // Without the signal the sender has to live on: its end means stop.
            std::future::pending::<()>().await;
        }
    });
    let run: u32 = rand::random();
    let mut viewers = JoinSet::new();
    for n in 1..=args.viewers {
        let id = format!("watch-{run:08x}-{n}");
        let (plan, stopped) = (Arc::clone(&plan), stopped.clone());
        viewers.spawn(async move { (n, viewer::watch(&plan, &id, stopped).await) });
    }
    let mut rows = Vec::with_capacity(args.viewers.into());
    while let Some(ended) = viewers.join_next().await {
        match ended {
            Ok((n, row)) => rows.push((n, row?)),
            Err(error) => tracing::error!(%error, "a viewer broke down; please report this"),
        }
    }
    rows.sort_by_key(|(n, _)| *n);
    Ok(Report::new(args.viewers, rows.into_iter().map(|(_, row)| row).collect()))
}

/// A link's grant is also the way into the broker, where nothing else is named: protocol.md section 2.2.
fn credentials(
    args: &WatchArgs,
    url: &BrokerUrl,
    password: Option<String>,
) -> (Option<String>, Option<String>) {
    let grant = args.link.as_ref().and_then(|link| link.grant.as_ref());
    match (&args.username, url.username(), grant) {
        (None, None, Some((name, seed))) => (Some(name.to_string()), Some(seed.bearer())),
        (username, ..) => (username.clone(), password),
    }
}

/// What is watched, from the arguments and the link.
struct Place {
    url: BrokerUrl,
    device: Id,
    root: String,
    proof: Option<Proof>,
}

fn place(args: &WatchArgs) -> Result<Place, WatchError> {
    let link = args.link.as_ref();
    let url = match (&args.broker, link.and_then(|link| link.broker.as_deref())) {
        (Some(url), _) => url.clone(),
        (None, Some(text)) => text.parse().map_err(|error| WatchError::Broker(format!("{text}: {error}")))?,
        (None, None) => return Err(WatchError::NoBroker),
    };
    let device = link.map(|link| link.device.clone()).or_else(|| args.device.clone());
    let root = args.root.clone().or_else(|| link.and_then(|link| link.root.clone()));
    Ok(Place {
        url,
        // One of the two is required by the arguments.
        device: device.ok_or(WatchError::NoBroker)?,
        root: root.unwrap_or_else(|| "porthole".to_owned()),
        proof: link.and_then(Proof::of),
    })
}

/// Where a device is watched, with what its broker wants to see.
pub(super) struct Watched {
    pub url: BrokerUrl,
    pub topics: Topics,
    pub device: Id,
    pub username: Option<String>,
    pub password: Option<String>,
    pub tls: TlsFiles,
}

/// Watches with one viewer until its first picture, for at most `limit` from its offer on. Gives the
/// time from the offer to the first whole key frame, or what went wrong, as code and words.
pub(super) async fn first_frame(watched: Watched, limit: Duration) -> Result<Duration, (String, String)> {
    let Watched { url, topics, device, username, password, tls } = watched;
    let plan = Plan {
        url,
        topics,
        device,
        proof: None,
        username,
        password,
        tls,
        watch_for: limit,
        first_picture_only: true,
        tasks: TaskGroup::new(),
    };
    let id = format!("doctor-{:08x}", rand::random::<u32>());
    // Nobody stops it early; its own limit does.
    let (_stop, stopped) = watch::channel(false);
    let row = viewer::watch(&plan, &id, stopped).await;
    let row = row.map_err(|error| ("broker".to_owned(), error.to_string()))?;
    row.first_frame.ok_or_else(|| {
        let trouble = row.trouble.into_iter().next().map(|trouble| (trouble.code, trouble.message));
        trouble.unwrap_or_else(|| ("no-video".to_owned(), "no picture came in time".to_owned()))
    })
}

fn read_password(path: &Path) -> Result<String, WatchError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| WatchError::PasswordFile { path: path.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
