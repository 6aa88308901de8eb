//! What viewers cost: processor, memory, threads and gaps with 1 to 100 of them, beside a bare loop that encrypts and
//! sends as many packets, and beside Debian's Janus where it is installed: `cargo bench --bench viewers`, or `make bench`.
//!
//! Figures, not tests: nothing fails because a machine is slow or busy.

#[path = "parts/janus.rs"]
mod janus;
#[path = "parts/load.rs"]
mod load;
#[path = "parts/receiver.rs"]
mod receiver;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use janus::{Janus, Trouble, Watcher};
use load::{Busy, FPS, Sent, bare, busy, mib, threads};
use porthole::cli::watch::count::ViewerFigures;
use serde_json::Value;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::http::Site;
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;

const COUNTS: [u32; 4] = [1, 10, 50, 100];
/// From the start of the viewers until the processor is looked at, and for how long.
const SETTLE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_secs(12);
/// From the last viewer's end until its memory is given back.
const EBB: Duration = Duration::from_secs(15);
const BITRATE_KBPS: u32 = 2000;

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo test --benches` runs this too, where there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("viewers are measured by `cargo bench --bench viewers`");
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        println!("this was built without optimisation: no figure of it says anything about a release build");
    }
    // `cargo bench --bench viewers -- janus` measures that one alone.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|named| named == name);
    if is_wanted("porthole") {
        let Some(broker) = Mosquitto::start() else { return ExitCode::FAILURE };
        measure_daemon(&broker).await;
        println!();
    }
    if is_wanted("janus") {
        match janus::program() {
            None => println!("Janus is not installed: apt-get install janus"),
            Some(program) => {
                if let Err(trouble) = measure_janus(&program).await {
                    println!("Janus could not be measured: {trouble}");
                }
            }
        }
    }
    ExitCode::SUCCESS
}

async fn measure_daemon(broker: &Mosquitto) {
    let settings = Settings::new(&broker.url())
        .value("camera.width", 1280)
        .value("camera.height", 720)
        .value("camera.fps", FPS)
        .value("video.bitrate_kbps", BITRATE_KBPS)
        .value("viewers.max", 200);
    let daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.ask("do/warm", r#"{"seconds":600}"#).await;
    dashboard.camera("live").await;
    let alone = Used::look(daemon.pid()).await;
    println!("porthole, nobody watches, camera and encoder run: {alone}");
    head();
    for count in COUNTS {
        row(&daemon, broker, count, &alone).await;
    }
    tokio::time::sleep(EBB).await;
    println!("memory after all have left: {:.1} MiB", mib(daemon.pid()));
    joins(&daemon, broker).await;
}

/// What a process uses: of a core over [`LOOK`], and then.
struct Used {
    busy: Busy,
    rss_mib: f64,
    threads: usize,
}

impl Used {
    async fn look(pid: u32) -> Self {
        let none = Busy { process: f64::NAN, connections: f64::NAN };
        let busy = tokio::task::spawn_blocking(move || busy(pid, LOOK)).await.unwrap_or(none);
        Self { busy, rss_mib: mib(pid), threads: threads(pid) }
    }

    /// One line of a table: what `count` viewers add to what `alone` is, each of whom was sent `sent` meanwhile.
    fn print(&self, alone: &Self, count: u32, sent: Sent, seen: &Seen) {
        let each = (self.busy.process - alone.busy.process) / f64::from(count);
        let connections = self.busy.connections / f64::from(count);
        let floor = bare(count, sent, LOOK);
        println!(
            "| {count} | {} | {} | {} ms | {:.2} Mbit/s | {:.2} % | {:.2} % | {:.2} % | {:.1} | {:.1} | {:.2} MiB | {} |",
            seen.connected,
            seen.lost,
            seen.longest_gap_ms,
            seen.bits_per_s / 1e6,
            each * 100.0,
            connections * 100.0,
            floor * 100.0,
            each / floor,
            connections / floor,
            (self.rss_mib - alone.rss_mib) / f64::from(count),
            self.threads,
        );
    }
}

impl std::fmt::Display for Used {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} % of a core, {:.1} MiB", self.busy.process * 100.0, self.rss_mib)
    }
}

/// What the viewers of one line saw from their first picture to the end.
struct Seen {
    connected: u64,
    lost: u64,
    longest_gap_ms: u64,
    /// Of payload, the median viewer's.
    bits_per_s: f64,
}

fn head() {
    println!(
        "| viewers | connected | lost | longest gap | bit rate of each | each, of a core | of it the connections' thread | bare loop | ratio | that thread's | memory of each | threads |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
}

async fn row(daemon: &Daemon, broker: &Mosquitto, count: u32, alone: &Used) {
    let mut command = watch(broker, count, SETTLE + LOOK + Duration::from_secs(2));
    let watching = tokio::spawn(async move { command.output().await });
    tokio::time::sleep(SETTLE).await;
    let http = Site::of(&daemon.page().await);
    let before = sent(&http).await;
    let used = Used::look(daemon.pid()).await;
    let sent = sent(&http).await.since(before, count);
    let output = watching.await.ok().and_then(Result::ok);
    let report: Value =
        output.and_then(|output| serde_json::from_slice(&output.stdout).ok()).unwrap_or_default();
    let seen = Seen {
        connected: report["connected"].as_u64().unwrap_or_default(),
        lost: report["lost"].as_u64().unwrap_or_default(),
        longest_gap_ms: report["longest_gap_ms"].as_u64().unwrap_or_default(),
        bits_per_s: report["bitrate"]["p50"].as_f64().unwrap_or(f64::NAN),
    };
    used.print(alone, count, sent, &seen);
}

fn watch(broker: &Mosquitto, count: u32, time: Duration) -> tokio::process::Command {
    let (url, count, seconds) = (broker.url(), count.to_string(), time.as_secs().to_string());
    let arguments =
        ["--broker", &url, "--device", DEVICE, "--viewers", &count, "--seconds", &seconds, "--json"];
    let mut command = porthole(&["watch"]);
    command.args(arguments);
    command.into()
}

/// What the daemon says that it has sent, payloads only.
async fn sent(http: &Site) -> Sent {
    let text = http.get("/metrics").await.text();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(f64::NAN)
    };
    Sent { bytes: value("porthole_sent_bytes_total"), packets: value("porthole_sent_packets_total") }
}

/// Whether memory grows with those who come and go.
async fn joins(daemon: &Daemon, broker: &Mosquitto) {
    let mut memory = Vec::new();
    for _ in 0..10 {
        let _ = watch(broker, 20, Duration::from_secs(2)).output().await;
        memory.push(format!("{:.1}", mib(daemon.pid())));
    }
    println!("memory after each 20 of 200 joins, in MiB: {}", memory.join(" "));
    tokio::time::sleep(EBB).await;
    println!("and after all have left: {:.1} MiB", mib(daemon.pid()));
}

/// Janus with the same picture size, rate and bit rate, its encoder in this process and not in its own.
async fn measure_janus(program: &Path) -> Result<(), Trouble> {
    let janus = Janus::start(program, BITRATE_KBPS).await?;
    tokio::time::sleep(SETTLE).await;
    let alone = Used::look(janus.pid()).await;
    println!("Janus, nobody watches, packets come in: {alone}");
    head();
    for count in COUNTS {
        janus_row(&janus, count, &alone).await?;
    }
    Ok(())
}

async fn janus_row(janus: &Janus, count: u32, alone: &Used) -> Result<(), Trouble> {
    let mut watching = Vec::new();
    for _ in 0..count {
        watching.push(janus.watch().await?);
    }
    tokio::time::sleep(SETTLE).await;
    let before = received(&watching);
    let used = Used::look(janus.pid()).await;
    let sent = received(&watching).since(before, count);
    let figures: Vec<ViewerFigures> =
        watching.iter().map(|watcher| watcher.receiver.tally.figures()).collect();
    let mut bits_per_s: Vec<f64> = figures.iter().map(|figures| figures.bits_per_second).collect();
    bits_per_s.sort_by(f64::total_cmp);
    let longest = figures.iter().map(|figures| figures.longest_gap).max().unwrap_or_default();
    let seen = Seen {
        connected: watching.iter().map(|watcher| u64::from(watcher.receiver.tally.is_connected())).sum(),
        lost: figures.iter().map(|figures| figures.lost).sum(),
        longest_gap_ms: u64::try_from(longest.as_millis())?,
        bits_per_s: bits_per_s.get(bits_per_s.len() / 2).copied().unwrap_or(f64::NAN),
    };
    for watcher in watching {
        janus.leave(watcher).await;
    }
    used.print(alone, count, sent, &seen);
    Ok(())
}

/// What all of them together have got.
fn received(watching: &[Watcher]) -> Sent {
    let all = watching.iter().map(|watcher| watcher.receiver.tally.received());
    let (packets, bytes) =
        all.fold((0, 0), |(packets, bytes), (more, longer)| (packets + more, bytes + longer));
    Sent { bytes: bytes as f64, packets: packets as f64 }
}
