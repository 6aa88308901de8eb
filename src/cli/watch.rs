//! `porthole watch`: its arguments and its exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::process::{fail, in_runtime};
use crate::access::link::ViewingLink;
use crate::base::text;
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::topic::Id;
use crate::tools::watch::{self, WatchOptions};
pub use crate::tools::watch::{WatchError, WatchReport, count};

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
    #[arg(long, value_name = "LINK")]
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

impl WatchArgs {
    fn options(&self) -> WatchOptions {
        let args = self.clone();
        WatchOptions {
            broker: args.broker,
            device: args.device,
            link: args.link,
            viewers: args.viewers,
            watch_for: Duration::from_secs(args.seconds.into()),
            root: args.root,
            ca_file: args.ca_file,
            username: args.username,
            password_file: args.password_file,
        }
    }
}

/// The subcommand: exit code 0 only if every viewer got video.
pub(super) fn main(args: WatchArgs) -> ExitCode {
    in_runtime(async move {
        match run(args).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&error),
        }
    })
}

/// Runs the viewers and prints what they counted. True if every one of them got video.
pub async fn run(args: WatchArgs) -> Result<bool, WatchError> {
    let report = measure(&args).await?;
    let written = if args.json { text::json_text(&report.json()) } else { report.table() };
    println!("{written}");
    Ok(report.all_got_video())
}

/// Runs the viewers until all have watched long enough, or Ctrl-C is pressed.
pub async fn measure(args: &WatchArgs) -> Result<WatchReport, WatchError> {
    watch::measure(&args.options()).await
}
