//! What a look costs: the processor of a daemon that shows the test picture at 1280x720, 30 a second, to one viewer, turned, mirrored,
//! cropped, masked and written into, beside the same without. `cargo bench --bench looks`, or `make bench`.
//!
//! One daemon and one session in one run. What is looked at is set by topic, and before each a stretch without any look is
//! measured, so that what the machine does meanwhile is in both.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;

/// How long one stretch is measured.
const STRETCH: Duration = Duration::from_secs(6);
/// Until the encoder has settled after a change.
const SETTLE: Duration = Duration::from_secs(1);
/// Stretches of each.
const ROUNDS: usize = 3;

/// What is set.
struct Look {
    name: &'static str,
    set: &'static [(&'static str, &'static str)],
}

const MIRROR: (&str, &str) = ("set/mirror", "ON");
const CROP: (&str, &str) = ("set/crop", "[0.25, 0.25, 0.5, 0.5]");
const MASK: (&str, &str) = ("set/mask", "[[0.1, 0.1, 0.5, 0.5]]");
const OVERLAY: (&str, &str) = ("set/overlay", "%Y-%m-%d %H:%M:%S  {name}");

const LOOKS: [Look; 7] = [
    Look { name: "rotate = 180", set: &[("set/rotate", "180")] },
    Look { name: "rotate = 90", set: &[("set/rotate", "90")] },
    Look { name: "mirror", set: &[MIRROR] },
    Look { name: "crop, a quarter enlarged", set: &[CROP] },
    Look { name: "mask, a quarter", set: &[MASK] },
    Look { name: "overlay, time and name", set: &[OVERLAY] },
    Look {
        name: "all: rotate = 90, mirror, crop, mask, overlay",
        set: &[("set/rotate", "90"), MIRROR, CROP, MASK, OVERLAY],
    },
];

const NONE: [(&str, &str); 5] =
    [("set/rotate", "0"), ("set/mirror", "OFF"), ("set/crop", "[]"), ("set/mask", "[]"), ("set/overlay", "")];

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo test --benches` runs this too, where there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("looks are measured by `cargo bench --bench looks`");
        return ExitCode::SUCCESS;
    }
    let Some(broker) = Mosquitto::start() else { return ExitCode::FAILURE };
    let settings = Settings::new(&broker.url())
        .value("camera.width", 1280)
        .value("camera.height", 720)
        .value("camera.fps", 30)
        .value("video.bitrate_kbps", 2000);
    let daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let span = (STRETCH + SETTLE * 2) * u32::try_from(LOOKS.len() * ROUNDS * 2 + 2).unwrap_or(u32::MAX);
    let (url, seconds) = (broker.url(), span.as_secs().to_string());
    let viewer = ["watch", "--broker", &url, "--device", DEVICE, "--seconds", &seconds, "--json"];
    let mut viewer = tokio::process::Command::from(porthole(&viewer));
    let _viewer = viewer.stdout(std::process::Stdio::null()).kill_on_drop(true).spawn().expect("a viewer");
    dashboard.viewers(1).await;
    dashboard.camera("live").await;
    println!("\nof a core, at 1280x720, 30 pictures a second, median of {ROUNDS} stretches of {STRETCH:?}:");
    for look in LOOKS {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(stretch(&daemon, &mut dashboard, &NONE).await);
            with.push(stretch(&daemon, &mut dashboard, look.set).await);
        }
        let (without, with) = (median(&mut without), median(&mut with));
        println!(
            "{:<46} {with:5.1} %, without {without:5.1} %: {:+5.1} %, {:.2} times",
            look.name,
            with - without,
            with / without
        );
    }
    ExitCode::SUCCESS
}

/// Sets all that, and gives what the daemon takes then, in percent of a core.
async fn stretch(daemon: &Daemon, dashboard: &mut Dashboard, set: &[(&str, &str)]) -> f64 {
    for &(topic, payload) in set {
        let answer = dashboard.ask(topic, payload).await;
        assert_eq!(answer["ok"], true, "{topic} {payload}: {answer}");
    }
    dashboard.camera("live").await;
    tokio::time::sleep(SETTLE).await;
    let (before, start) = (cpu_s(daemon.pid()), Instant::now());
    tokio::time::sleep(STRETCH).await;
    (cpu_s(daemon.pid()) - before) / start.elapsed().as_secs_f64() * 100.0
}

/// User and system time of a process, from /proc, where a tick is 10 ms.
fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
