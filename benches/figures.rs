//! The figures that Porthole promises, measured on the machine at hand and printed as a table:
//! `cargo bench --bench figures`, or `make bench`.
//!
//! A real daemon, a real mosquitto, a real Chromium. These are figures, not tests: nothing fails
//! because a machine is slow or busy.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::browser::Browser;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::mosquitto::{Mosquitto, Options};
use support::viewer::Dashboard;

/// Pages opened for each first-frame figure.
const ROUNDS: usize = 10;
/// How long an idle daemon and one with a viewer are watched.
const WATCH_FOR: Duration = Duration::from_secs(20);

/// A picture that runs for this long is looked at.
const STEADY_AFTER: Duration = Duration::from_secs(3);

struct Row {
    what: String,
    measured: String,
    wanted: &'static str,
    reached: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo test --benches` runs this too, where there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("figures are measured by `cargo bench --bench figures`");
        return ExitCode::SUCCESS;
    }
    let options = Options { websocket: true, ..Options::default() };
    let (Some(broker), Some(browser)) = (Mosquitto::start_with(&options), Browser::start().await) else {
        return ExitCode::FAILURE;
    };
    let mut rows = Vec::new();
    for (size, width, height) in [("640x480", 640, 480), ("1280x720", 1280, 720)] {
        let settings = Settings::new(&broker.url())
            .value("camera.width", width)
            .value("camera.height", height)
            .value("camera.fps", 30)
            .value("video.linger_s", 0);
        // The steps of connecting are told at this level only.
        let environment = vec![("PORTHOLE_LOG".to_owned(), "info,porthole::peer=debug".to_owned())];
        let daemon = Daemon::run_with(settings, environment);
        let mut dashboard = Dashboard::connect(broker.port()).await;
        dashboard.availability("online").await;
        let link = format!("{}#broker={}&device={DEVICE}", daemon.page().await, broker.ws_url());
        if width == 640 {
            rows.push(idle(&daemon, &mut dashboard).await);
        }
        for warm in [false, true] {
            let before = daemon.log().len();
            rows.push(first_frame(&browser, &mut dashboard, &link, size, warm).await);
            rows.push(steps(daemon.log().get(before..).unwrap_or_default(), size, warm));
        }
        rows.extend(delay(&browser, &mut dashboard, &link, size).await);
        rows.push(watched(&daemon, &broker, size).await);
    }
    browser.close().await;
    print(&rows);
    ExitCode::SUCCESS
}

/// Offer published to first frame shown, from a closed camera (cold) or a running one (warm).
async fn first_frame(
    browser: &Browser,
    dashboard: &mut Dashboard,
    link: &str,
    size: &str,
    warm: bool,
) -> Row {
    let mut times_ms = Vec::new();
    for round in 0..=ROUNDS {
        if warm {
            dashboard.ask("do/warm", r#"{"seconds":60}"#).await;
            dashboard.camera("live").await;
        } else {
            dashboard.camera("idle").await;
        }
        browser.open("about:blank").await;
        browser.open(link).await;
        browser.phase("live").await;
        let timings = browser.run("return window.porthole.timings").await;
        // The first page of a browser also loads its decoder; it is shown to nobody twice.
        if round > 0
            && let (Some(from), Some(to)) =
                (timings["offerPublished"].as_f64(), timings["firstFrame"].as_f64())
        {
            times_ms.push(to - from);
        }
        browser.open("about:blank").await;
        dashboard.viewers(0).await;
    }
    if warm {
        // Ends the warmth, so that the next figure begins with a closed camera.
        dashboard.ask("set/streaming", "OFF").await;
        dashboard.ask("set/streaming", "ON").await;
    }
    times_ms.sort_by(f64::total_cmp);
    let (wanted_ms, wanted) = if warm { (150.0, "median < 150 ms") } else { (300.0, "median < 300 ms") };
    let median = percentile(&times_ms, 50);
    let kind = if warm { "warm" } else { "cold" };
    Row {
        what: format!("offer → first frame in Chromium, {kind}, {size}"),
        measured: format!(
            "{median:.0} ms median, {:.0} ms p95, n = {}",
            percentile(&times_ms, 95),
            times_ms.len()
        ),
        wanted,
        reached: median < wanted_ms,
    }
}

/// Where the time to a first picture went: what the daemon's log tells of each connection, since its offer came.
fn steps(log: &str, size: &str, warm: bool) -> Row {
    let mut steps: Vec<(&str, Vec<f64>)> = Vec::new();
    let mut add = |name, ms| match steps.iter_mut().find(|(known, _)| *known == name) {
        Some((_, values)) => values.push(ms),
        None => steps.push((name, vec![ms])),
    };
    for line in log.lines() {
        if let Some((_, told)) = line.split_once("the steps to the connection ms=") {
            for (name, ms) in told.split(", ").filter_map(|step| step.rsplit_once(' ')) {
                ms.trim().parse().into_iter().for_each(|ms| add(name, ms));
            }
        } else if let Some((_, ms)) = line.split_once("first picture sent ms=") {
            ms.trim().parse().into_iter().for_each(|ms| add("first picture out", ms));
        }
    }
    let told = steps.into_iter().map(|(name, mut values)| {
        values.sort_by(f64::total_cmp);
        format!("{name} {:.0}", percentile(&values, 50))
    });
    let kind = if warm { "warm" } else { "cold" };
    Row {
        what: format!("offer → each step, {kind}, {size}, median ms"),
        measured: told.collect::<Vec<_>>().join(", "),
        wanted: "",
        reached: true,
    }
}

/// Camera to screen by the capture times that the stream carries, and what the browser held pictures back for.
async fn delay(browser: &Browser, dashboard: &mut Dashboard, link: &str, size: &str) -> Vec<Row> {
    let (mut delays_ms, mut held_ms, mut freezes) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..ROUNDS {
        browser.open(link).await;
        browser.phase("live").await;
        tokio::time::sleep(STEADY_AFTER).await;
        let stats = browser.run("return window.porthole.stats()").await;
        delays_ms.extend(stats["glassToGlassMs"].as_f64());
        if let (Some(held_s), Some(pictures)) =
            (stats["jitterBufferDelay"].as_f64(), stats["jitterBufferEmittedCount"].as_f64())
        {
            held_ms.push(held_s / pictures * 1e3);
        }
        freezes += stats["freezeCount"].as_f64().unwrap_or(0.0);
        browser.open("about:blank").await;
        dashboard.viewers(0).await;
    }
    let row = |what: &str, values: &mut Vec<f64>, wanted, most: f64| {
        values.sort_by(f64::total_cmp);
        let (median, p95) = (percentile(values, 50), percentile(values, 95));
        Row {
            what: format!("{what} in Chromium, {size}"),
            measured: if values.is_empty() {
                "not measured: the browser told none".to_owned()
            } else {
                format!(
                    "{median:.1} ms median, {p95:.1} ms p95, n = {}, {freezes} freezes in all",
                    values.len()
                )
            },
            wanted,
            reached: median <= most,
        }
    };
    vec![
        row("camera → screen by capture time", &mut delays_ms, "", f64::INFINITY),
        row("held in the jitter buffer", &mut held_ms, "median <= 2 ms", 2.0),
    ]
}

/// The daemon with nobody watching.
async fn idle(daemon: &Daemon, dashboard: &mut Dashboard) -> Row {
    dashboard.camera("idle").await;
    let before = cpu_s(daemon.pid());
    let start = Instant::now();
    tokio::time::sleep(WATCH_FOR).await;
    let percent = (cpu_s(daemon.pid()) - before) / start.elapsed().as_secs_f64() * 100.0;
    Row {
        what: "nobody watches: camera closed, processor".to_owned(),
        measured: format!("{percent:.2} % of a core, {:.1} MiB", mib(daemon)),
        wanted: "< 0.5 % of a core",
        reached: percent < 0.5,
    }
}

/// The daemon with one viewer that does not decode.
async fn watched(daemon: &Daemon, broker: &Mosquitto, size: &str) -> Row {
    let seconds = WATCH_FOR.as_secs().to_string();
    let url = broker.url();
    let arguments = ["watch", "--broker", &url, "--device", DEVICE, "--seconds", &seconds, "--json"];
    let before = cpu_s(daemon.pid());
    let start = Instant::now();
    let mut viewer = tokio::process::Command::from(porthole(&arguments));
    let viewer = viewer.output();
    let mut peak = 0.0_f64;
    tokio::pin!(viewer);
    let output = loop {
        tokio::select! {
            output = &mut viewer => break output,
            () = tokio::time::sleep(Duration::from_millis(500)) => peak = peak.max(mib(daemon)),
        }
    };
    let percent = (cpu_s(daemon.pid()) - before) / start.elapsed().as_secs_f64() * 100.0;
    let report: Value =
        output.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok()).unwrap_or_default();
    Row {
        what: format!("one viewer, {size}@30: memory"),
        measured: format!(
            "{peak:.1} MiB, {percent:.1} % of a core with the encoder, {} fps, {} lost, first frame {} ms",
            report["fps"]["p50"], report["lost"], report["first_frame_ms"]["p50"]
        ),
        wanted: if size == "640x480" { "< 40 MiB" } else { "" },
        reached: peak < 40.0,
    }
}

fn mib(daemon: &Daemon) -> f64 {
    daemon.usage().rss_kib as f64 / 1024.0
}

/// User and system time of a process, from /proc, where a tick is 10 ms.
fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn print(rows: &[Row]) {
    let width = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
    println!();
    for row in rows {
        let verdict = match (row.wanted, row.reached) {
            ("", _) => String::new(),
            (wanted, true) => format!("  wanted {wanted}: reached"),
            (wanted, false) => format!("  wanted {wanted}: NOT reached"),
        };
        println!("{:<width$}  {}{verdict}", row.what, row.measured);
    }
    println!();
}
