//! What viewers cost: processor, memory, threads and gaps with 1 to 100 of them, beside a bare loop that encrypts and
//! sends as many packets: `cargo bench --bench viewers`, or `make bench`.
//!
//! Figures, not tests: nothing fails because a machine is slow or busy.

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::UdpSocket;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::Value;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::http::Site;
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;

const COUNTS: [u32; 4] = [1, 10, 50, 100];
/// From the start of the viewers until the processor is looked at, and for how long.
const SETTLE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_secs(12);
const FPS: u32 = 30;
/// RTP header and its extension with a transport-wide number (RFC 3550 section 5.1, RFC 8285).
const HEADER_BYTES: usize = 20;
const BITRATE_KBPS: u32 = 2000;

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo test --benches` runs this too, where there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("viewers are measured by `cargo bench --bench viewers`");
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        println!(
            "this was built without optimisation, which makes the bare loop slow: `cargo bench --bench viewers`"
        );
        return ExitCode::FAILURE;
    }
    let Some(broker) = Mosquitto::start() else { return ExitCode::FAILURE };
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
    let alone = busy(daemon.pid(), LOOK);
    let rss = mib(&daemon);
    println!("nobody watches, camera and encoder run: {:.1} % of a core, {rss:.1} MiB", alone * 100.0);
    println!(
        "| viewers | connected | lost | longest gap | bit rate of each | each, of a core | bare loop | ratio | memory of each | threads |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for count in COUNTS {
        row(&daemon, &broker, count, alone, rss).await;
    }
    joins(&daemon, &broker).await;
    ExitCode::SUCCESS
}

fn watch(broker: &Mosquitto, count: u32, time: Duration) -> tokio::process::Command {
    let (url, count, seconds) = (broker.url(), count.to_string(), time.as_secs().to_string());
    let arguments =
        ["--broker", &url, "--device", DEVICE, "--viewers", &count, "--seconds", &seconds, "--json"];
    let mut command = porthole(&["watch"]);
    command.args(arguments);
    command.into()
}

async fn row(daemon: &Daemon, broker: &Mosquitto, count: u32, alone: f64, rss: f64) {
    let mut command = watch(broker, count, SETTLE + LOOK + Duration::from_secs(2));
    let watching = tokio::spawn(async move { command.output().await });
    tokio::time::sleep(SETTLE).await;
    let pid = daemon.pid();
    let http = Site::of(&daemon.page().await);
    let before = Sent::read(&http).await;
    let busy = tokio::task::spawn_blocking(move || busy(pid, LOOK)).await.unwrap_or(f64::NAN);
    let sent = Sent::read(&http).await.since(before, count);
    let (with, threads) = (mib(daemon), daemon.usage().threads);
    let output = watching.await.ok().and_then(Result::ok);
    let report: Value =
        output.and_then(|output| serde_json::from_slice(&output.stdout).ok()).unwrap_or_default();
    let bits_per_s = report["bitrate"]["p50"].as_f64().unwrap_or(f64::NAN);
    let each = (busy - alone) / f64::from(count);
    let floor = bare(count, sent);
    println!(
        "| {count} | {} | {} | {} ms | {:.2} Mbit/s | {:.2} % | {:.2} % | {:.1} | {:.2} MiB | {threads} |",
        report["connected"],
        report["lost"],
        report["longest_gap_ms"],
        bits_per_s / 1e6,
        each * 100.0,
        floor * 100.0,
        each / floor,
        (with - rss) / f64::from(count),
    );
}

/// What the daemon says that it has sent, payloads only.
#[derive(Clone, Copy)]
struct Sent {
    bytes: f64,
    packets: f64,
}

impl Sent {
    async fn read(http: &Site) -> Self {
        let text = http.get("/metrics").await.text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(f64::NAN)
        };
        Self { bytes: value("porthole_sent_bytes_total"), packets: value("porthole_sent_packets_total") }
    }

    /// For each of `count` viewers since `before`.
    fn since(self, before: Self, count: u32) -> Self {
        let each = |now: f64, before: f64| (now - before) / f64::from(count);
        Self { bytes: each(self.bytes, before.bytes), packets: each(self.packets, before.packets) }
    }
}

/// A core's share that one viewer costs who only encrypts packets and sends them, each with a system call: as many
/// packets as the daemon sent in [`LOOK`], as large as those were, to as many sockets.
fn bare(count: u32, sent: Sent) -> f64 {
    // The first of the profiles that both sides offer (RFC 7714).
    let Ok(key) = UnboundKey::new(&AES_128_GCM, &[7; 16]).map(LessSafeKey::new) else { return f64::NAN };
    let pair = || {
        let (from, to) = (UdpSocket::bind("127.0.0.1:0").ok()?, UdpSocket::bind("127.0.0.1:0").ok()?);
        from.connect(to.local_addr().ok()?).ok()?;
        to.set_nonblocking(true).ok()?;
        Some((from, to))
    };
    let Some(pairs) = (0..count).map(|_| pair()).collect::<Option<Vec<_>>>() else { return f64::NAN };
    let picture = Duration::from_secs(1) / FPS;
    let per_picture = sent.packets / LOOK.as_secs_f64() / f64::from(FPS);
    let payload_bytes = sent.bytes / sent.packets;
    if !(per_picture.is_finite() && (1.0..2000.0).contains(&payload_bytes)) {
        return f64::NAN;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in the range just looked at
    let payload_bytes = payload_bytes as usize;
    let (mut owed, mut packet, mut seen) = (0.0, Vec::with_capacity(2048), [0; 2048]);
    let (mut worked, mut pictures, start) = (Duration::ZERO, 0, Instant::now());
    while start.elapsed() < LOOK / 3 {
        let begin = Instant::now();
        owed += per_picture;
        let packets = f64::floor(owed);
        owed -= packets;
        for (from, _) in &pairs {
            let mut left = packets;
            while left >= 1.0 {
                packet.clear();
                packet.resize(HEADER_BYTES, 0x80);
                packet.resize(HEADER_BYTES + payload_bytes, 1);
                let (header, payload) = packet.split_at_mut(HEADER_BYTES);
                let nonce = Nonce::assume_unique_for_key([3; 12]);
                if let Ok(tag) = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload) {
                    packet.extend_from_slice(tag.as_ref());
                    let _ = from.send(&packet);
                }
                left -= 1.0;
            }
        }
        worked += begin.elapsed();
        // The receivers' work is nobody's here.
        for (_, to) in &pairs {
            while to.recv(&mut seen).is_ok() {}
        }
        pictures += 1;
        sleep((picture * pictures).saturating_sub(start.elapsed()));
    }
    worked.as_secs_f64() / (f64::from(pictures) * picture.as_secs_f64()) / f64::from(count)
}

/// Whether memory grows with those who come and go.
async fn joins(daemon: &Daemon, broker: &Mosquitto) {
    let mut memory = Vec::new();
    for _ in 0..10 {
        let _ = watch(broker, 20, Duration::from_secs(2)).output().await;
        memory.push(format!("{:.1}", mib(daemon)));
    }
    println!("memory after each 20 of 200 joins, in MiB: {}", memory.join(" "));
}

/// The share of one core that a process uses.
fn busy(pid: u32, time: Duration) -> f64 {
    let (before, start) = (run_time_s(pid), Instant::now());
    sleep(time);
    (run_time_s(pid) - before) / start.elapsed().as_secs_f64()
}

/// Time that the process's threads have run.
fn run_time_s(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let run_ns = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<f64>().ok()
    });
    run_ns.sum::<f64>() / 1e9
}

fn mib(daemon: &Daemon) -> f64 {
    daemon.usage().rss_kib as f64 / 1024.0
}
