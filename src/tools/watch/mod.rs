//! `porthole watch`: viewers without a browser. They count what arrives, they do not decode it.

pub mod count;
mod proof;
mod report;
mod viewer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access::link::ViewingLink;
use crate::base::tasks::TaskGroup;
use crate::base::text;
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::mqtt::{MqttError, TlsFiles};
use crate::signaling::topic::{Id, Topics};
use proof::Proof;
pub use report::WatchReport;
use viewer::WatchPlan;

/// What to watch, and how.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// The broker; `None`: the link names it.
    pub broker: Option<BrokerUrl>,
    /// The device; `None`: the link names it.
    pub device: Option<Id>,
    /// Signs the offers with its grant and verifies the answers with the device's key.
    pub link: Option<ViewingLink>,
    /// How many viewers, each with its own connection to the broker and to the device.
    pub viewers: u16,
    /// How long each of them watches, from its offer on.
    pub watch_for: Duration,
    /// The first part of all topics.
    pub root: Option<String>,
    /// PEM file with the CA that signed the broker's certificate.
    pub ca_file: Option<PathBuf>,
    /// The user name at the broker.
    pub username: Option<String>,
    /// File with the password at the broker.
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
    /// The link is for another one.
    #[error(
        "the link is for the device `{link}`, and --device says `{named}`: leave --device out, or take the other's link"
    )]
    OtherDevice {
        /// What the link says.
        link: Id,
        /// What was asked for.
        named: Id,
    },
    /// What the link calls a broker is none.
    #[error("the broker in the link cannot be used: {0}")]
    Broker(String),
    /// Something about TLS.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
}

/// Runs the viewers until all have watched long enough, or Ctrl-C is pressed.
pub async fn measure(options: &WatchOptions) -> Result<WatchReport, WatchError> {
    let password = options.password_file.as_deref().map(read_password).transpose()?;
    let Target { url, device, root, proof } = target(options)?;
    let (username, password) = credentials(options, &url, password);
    let tasks = TaskGroup::new();
    let plan = Arc::new(WatchPlan {
        url,
        topics: Topics::new(&root, &device),
        device,
        proof,
        username,
        password,
        tls: TlsFiles { ca_file: options.ca_file.clone(), ..TlsFiles::default() },
        watch_for: options.watch_for,
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
    for n in 1..=options.viewers {
        let id = format!("watch-{run:08x}-{n}");
        let (plan, stopped) = (Arc::clone(&plan), stopped.clone());
        viewers.spawn(async move { (n, viewer::watch(&plan, &id, stopped).await) });
    }
    let mut rows = Vec::with_capacity(options.viewers.into());
    while let Some(ended) = viewers.join_next().await {
        match ended {
            Ok((n, row)) => rows.push((n, row?)),
            Err(error) => tracing::error!(%error, "a viewer broke down; please report this"),
        }
    }
    rows.sort_by_key(|(n, _)| *n);
    Ok(WatchReport::new(options.viewers, rows.into_iter().map(|(_, row)| row).collect()))
}

/// A link's grant is also the way into the broker, where nothing else is named: protocol.md section 2.2.
fn credentials(
    options: &WatchOptions,
    url: &BrokerUrl,
    password: Option<String>,
) -> (Option<String>, Option<String>) {
    let grant = options.link.as_ref().and_then(|link| link.grant.as_ref());
    match (&options.username, url.username(), grant) {
        (None, None, Some((name, seed))) => (Some(name.to_string()), Some(seed.bearer())),
        (username, ..) => (username.clone(), password),
    }
}

/// What is watched, from the arguments and the link.
struct Target {
    url: BrokerUrl,
    device: Id,
    root: String,
    proof: Option<Proof>,
}

fn target(options: &WatchOptions) -> Result<Target, WatchError> {
    let link = options.link.as_ref();
    let url = match (&options.broker, link.and_then(|link| link.broker.as_deref())) {
        (Some(url), _) => url.clone(),
        (None, Some(text)) => {
            text.parse().map_err(|error| WatchError::Broker(format!("{}: {error}", text::shown(text))))?
        }
        (None, None) => return Err(WatchError::NoBroker),
    };
    let device = match (link.map(|link| &link.device), &options.device) {
        (Some(link), Some(named)) if link != named => {
            return Err(WatchError::OtherDevice { link: link.clone(), named: named.clone() });
        }
        (Some(one), _) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    };
    let root = options.root.clone().or_else(|| link.and_then(|link| link.root.clone()));
    Ok(Target {
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
    let plan = WatchPlan {
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
