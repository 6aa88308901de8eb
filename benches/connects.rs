//! How long it takes to connect, for each kind of peer: from the offer to the connection and to the first picture, over WHEP with a
//! grant as go2rtc and other players do it, with all candidates in offer and answer: `cargo bench --bench connects`, or `make bench`.
//!
//! Figures, not tests: nothing fails because a machine is slow or busy. Who took long is shown with the device's own steps.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use porthole::cli::watch::count::{CountedPacket, Counter};
use porthole::peer::receiver::{PacketSink, Received, Receiver, ReceiverEvent};
use support::daemon::{Daemon, Settings};
use support::http::Site;
use support::invited;
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;
use tokio::sync::watch;
use tokio::time::timeout;

/// What was wanted: nobody takes longer on a clean network. `--over=40` looks for others.
const MOST_MS: f64 = 100.0;
/// A guard against hanging.
const LIMIT: Duration = Duration::from_secs(20);
/// The daemon tells the steps of connecting at this level only.
const LOG: &str = "info,porthole::peer=debug";
const STEPS: &str = "the steps to the connection";

/// A kind of peer.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// It only answers checks, so that the device controls ICE (RFC 8445 section 6.1.1).
    lite: bool,
    /// Of its offer (RFC 4145 section 4).
    setup: &'static str,
    connects: usize,
    at_once: usize,
}

const KINDS: [Kind; 7] = [
    Kind { name: "full ICE, actpass", lite: false, setup: "actpass", connects: 200, at_once: 1 },
    Kind { name: "full ICE, passive", lite: false, setup: "passive", connects: 200, at_once: 1 },
    Kind { name: "full ICE, active", lite: false, setup: "active", connects: 200, at_once: 1 },
    Kind { name: "ICE-lite, actpass", lite: true, setup: "actpass", connects: 200, at_once: 1 },
    Kind { name: "ICE-lite, active", lite: true, setup: "active", connects: 200, at_once: 1 },
    Kind { name: "four at once, actpass", lite: false, setup: "actpass", connects: 600, at_once: 4 },
    Kind { name: "four at once, active", lite: false, setup: "active", connects: 600, at_once: 4 },
];

/// How long one took, from its offer.
#[derive(Clone, Copy)]
struct Joined {
    connected: Duration,
    picture: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo test --benches` runs this too, where there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("connecting is measured by `cargo bench --bench connects`");
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        println!("this was built without optimisation: no figure of it says anything about a release build");
    }
    // `cargo bench --bench connects -- lite` measures those alone.
    let over = std::env::args().find_map(|argument| argument.strip_prefix("--over=")?.parse().ok());
    let most = over.unwrap_or(MOST_MS);
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let Some(broker) = Mosquitto::start() else { return ExitCode::FAILURE };
    // The camera stays on, so that each first picture is one of a running camera.
    let settings = Settings::new(&broker.url())
        .text("access.mode", "grants")
        .value("video.linger_s", 600)
        .value("viewers.max", 50);
    let daemon = Daemon::run_with(settings, vec![("PORTHOLE_LOG".to_owned(), LOG.to_owned())]);
    Dashboard::connect(broker.port()).await.availability("online").await;
    let site = Site::of(&daemon.page().await);
    // It waits for the camera and is none of the others.
    let first = Kind { name: "", lite: false, setup: "actpass", connects: 1, at_once: 1 };
    rows(&daemon, &site, "first", first).await;
    println!(
        "{:24} {:>8} {:>22} {:>22} {:>6}",
        "", "connects", "connected: median p95 max", "first picture, in ms", "slow"
    );
    for (at, kind) in KINDS.iter().enumerate() {
        if named.is_empty() || named.iter().any(|named| kind.name.contains(named.as_str())) {
            measure(&daemon, &site, at, *kind, most).await;
        }
    }
    ExitCode::SUCCESS
}

/// All that connect: how long each took, or why it came to nothing.
async fn rows(daemon: &Daemon, site: &Site, name: &str, kind: Kind) -> Vec<Result<Joined, String>> {
    // One grant may begin 200 sessions at once and 20 a second, so each row of viewers has its own.
    let mut rows = Vec::new();
    for row in 0..kind.at_once {
        let link = invited::grant(daemon, &format!("{name}-{row}"), &["--rights", "view"]).await;
        let token = link.grant.expect("a grant").1.bearer();
        let site = site.clone();
        rows.push(tokio::spawn(async move {
            let mut joined = Vec::new();
            for _ in 0..kind.connects / kind.at_once {
                joined.push(join(&site, &token, kind).await);
            }
            joined
        }));
    }
    let mut all = Vec::new();
    for row in rows {
        all.extend(row.await.expect("a row of viewers"));
    }
    all
}

async fn measure(daemon: &Daemon, site: &Site, at: usize, kind: Kind, most: f64) {
    let told = daemon.count(STEPS);
    let (mut joined, mut failed) = (Vec::new(), Vec::new());
    for one in rows(daemon, site, &format!("kind-{at}"), kind).await {
        match one {
            Ok(one) => joined.push(one),
            Err(error) => failed.push(error),
        }
    }
    let connected = sorted(&joined, |one| one.connected);
    let pictures = sorted(&joined, |one| one.picture);
    let slow = connected.iter().filter(|took| ms(**took) > most).count();
    println!(
        "{:24} {:>8} {:>22} {:>22} {slow:>6}",
        kind.name,
        joined.len(),
        summary(&connected),
        summary(&pictures)
    );
    for error in failed {
        println!("    came to nothing: {error}");
    }
    let log = daemon.log();
    for line in log.lines().filter(|line| line.contains(STEPS)).skip(told).filter(|line| is_slow(line, most))
    {
        println!("    {line}");
    }
}

/// Whether the device's own steps took longer than `most` milliseconds.
fn is_slow(line: &str, most: f64) -> bool {
    let finished =
        line.rsplit("finished ").next().and_then(|ms| ms.trim_end_matches('"').trim().parse().ok());
    finished.is_some_and(|ms: f64| ms > most)
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

fn sorted(joined: &[Joined], of: fn(&Joined) -> Duration) -> Vec<Duration> {
    let mut all: Vec<Duration> = joined.iter().map(of).collect();
    all.sort_unstable();
    all
}

/// Median, 95th percentile and the longest, in ms.
fn summary(sorted: &[Duration]) -> String {
    let at = |part: usize| {
        let index = (sorted.len() * part / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(f64::NAN, |took| ms(*took))
    };
    format!("{:.0} {:.0} {:.0}", at(50), at(95), at(100))
}

async fn join(site: &Site, token: &str, kind: Kind) -> Result<Joined, String> {
    let (seen, mut first) = watch::channel(None);
    let sink = Arc::new(FirstPicture { counter: Mutex::default(), seen });
    let offered = if kind.lite { Receiver::offer_lite(sink).await } else { Receiver::offer(sink).await };
    let (mut viewer, offer) = offered.map_err(|error| error.to_string())?;
    let joined = timeout(LIMIT, connect(&mut viewer, offer, site, token, kind, &mut first)).await;
    viewer.close().await;
    joined.unwrap_or_else(|_| Err(format!("nothing within {LIMIT:?}")))
}

async fn connect(
    viewer: &mut Receiver,
    mut offer: String,
    site: &Site,
    token: &str,
    kind: Kind,
    first: &mut watch::Receiver<Option<Instant>>,
) -> Result<Joined, String> {
    while let Some(ReceiverEvent::Candidate(Some(candidate))) = viewer.next().await {
        offer.push_str(&format!("a={}\r\n", candidate.candidate));
    }
    offer.push_str("a=end-of-candidates\r\n");
    let offer = offer.replace("a=setup:actpass", &format!("a=setup:{}", kind.setup));
    let bearer = format!("Bearer {token}");
    let headers = [("Content-Type", "application/sdp"), ("Authorization", bearer.as_str())];
    let begun = Instant::now();
    let answer = site.request("POST", "/whep", &headers, &offer).await;
    if answer.status != 201 {
        return Err(format!("refused with {}: {}", answer.status, answer.text()));
    }
    viewer.accept(answer.text()).await.map_err(|error| error.to_string())?;
    while !matches!(viewer.next().await.ok_or("no more events")?, ReceiverEvent::Connected) {}
    let connected = begun.elapsed();
    let picture = *first.wait_for(Option::is_some).await.map_err(|_| "the end before a picture")?;
    Ok(Joined { connected, picture: picture.map_or(LIMIT, |at| at.saturating_duration_since(begun)) })
}

/// Looks out for the first whole key frame.
struct FirstPicture {
    counter: Mutex<Counter>,
    seen: watch::Sender<Option<Instant>>,
}

impl PacketSink for FirstPicture {
    fn packet(&self, packet: Received<'_>) {
        let Received { sequence, timestamp, marker, payload } = packet;
        let mut counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        counter.packet(Instant::now(), CountedPacket { sequence, timestamp, marker, payload });
        let first = counter.first_key_frame();
        self.seen.send_if_modified(|seen| first.is_some() && std::mem::replace(seen, first).is_none());
    }
}
