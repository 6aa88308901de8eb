//! Bad networks, through the tests' relay: what the encoder, the device and the viewer do over time, as a table and
//! as plots in `docs/plots`: `cargo bench --bench impaired`, or `make bench`.
//!
//! Figures, not tests: nothing fails because a machine is slow or busy.

#[path = "parts/plot.rs"]
mod plot;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use plot::{Line, Panel, svg};
use support::browser::Browser;
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::relay::{CLEAN, Link};
use support::relayed_browser::RelayedBrowser;
use support::remote::{Remote, Seen};
use support::viewer::Dashboard;
use tokio::time::sleep;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Over this bit rates are taken.
const WINDOW: Duration = ms(500);
/// How long the connection and the first key frame are left out of the figures.
const SETTLE: Duration = Duration::from_secs(3);
const GOOD: usize = 5;
const FULL_RATE: f64 = 5e6;
const DROP: &str = "drop";
/// Runs of a real browser over a path that loses, each with losses of its own.
const STILL: &str = "still";
const STILL_RUNS: u64 = 20;
const STILL_FOR: Duration = Duration::from_secs(12);
/// What was wanted: nobody sees a longer one.
const STILL_MOST_MS: f64 = 400.0;

/// A network over time: each link with how long it lasts.
struct Scenario {
    name: &'static str,
    title: &'static str,
    bitrate_kbps: u32,
    steps: Vec<(Duration, Link)>,
}

fn scenarios() -> Vec<Scenario> {
    let (short, long) = (Duration::from_secs(12), Duration::from_secs(20));
    let steady = |name, title, link| Scenario { name, title, bitrate_kbps: 2000, steps: vec![(short, link)] };
    let near = Link { round_trip: ms(20), ..CLEAN };
    let wide = Link { rate: FULL_RATE, ..near };
    let narrow = Link { rate: 0.5e6, ..near };
    vec![
        steady("loss-1", "1 % loss, 20 ms", Link { loss: 0.01, ..near }),
        steady("loss-5", "5 % loss, 20 ms", Link { loss: 0.05, ..near }),
        steady("loss-20", "20 % loss, 20 ms", Link { loss: 0.20, ..near }),
        steady("bursts", "5 % loss in bursts of 8, 20 ms", Link { loss: 0.05, burst: 8.0, ..near }),
        steady("delay-20", "20 ms, jitter 10 ms", Link { jitter: ms(10), ..near }),
        steady("delay-200", "200 ms, jitter 40 ms", Link { round_trip: ms(200), jitter: ms(40), ..CLEAN }),
        Scenario {
            name: DROP,
            title: "5 → 0.5 → 5 Mbit/s, 20 ms",
            bitrate_kbps: 5000,
            steps: vec![(long, wide), (long, narrow), (Duration::from_secs(25), wide)],
        },
    ]
}

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo test --benches` runs this too, where there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("networks are measured by `cargo bench --bench impaired`");
        return ExitCode::SUCCESS;
    }
    let Some(broker) = Mosquitto::start() else { return ExitCode::FAILURE };
    println!(
        "| network | beside | received | fps | longest gap | gaps over 200 ms | spoilt | the others' longest gap |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    // `cargo bench --bench impaired -- drop loss-5`: only these.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |scenario: &Scenario| named.is_empty() || named.iter().any(|name| name == scenario.name);
    for scenario in scenarios().into_iter().filter(is_wanted) {
        for good in [0, GOOD] {
            measure(&broker, &scenario, good).await;
        }
        if scenario.name == DROP {
            in_chromium(&broker, &scenario).await;
        }
    }
    if named.is_empty() || named.iter().any(|name| name == STILL) {
        still_in_chromium(&broker).await;
    }
    ExitCode::SUCCESS
}

/// The longest gaps that a real browser shows over a path that loses.
async fn still_in_chromium(broker: &Mosquitto) {
    let Some(browser) = Browser::start().await else { return };
    let link = Link { loss: 0.05, round_trip: ms(50), ..CLEAN };
    let scenario = Scenario { name: STILL, title: "5 % loss, 50 ms", bitrate_kbps: 2000, steps: vec![] };
    let mut longest_of_runs = Vec::new();
    for seed in 1..=STILL_RUNS {
        let mut daemon = Daemon::run(settings(broker, &scenario));
        let mut dashboard = Dashboard::connect(broker.port()).await;
        dashboard.availability("online").await;
        let watching =
            RelayedBrowser::watch(&browser, broker.port(), Link { seed, ..CLEAN }, str::to_owned).await;
        sleep(SETTLE).await;
        watching.relay.set(Link { seed, ..link });
        watching.shown_ms().await;
        let asked = browser.run("return performance.now()").await.as_f64().unwrap_or_default();
        let begin = Instant::now();
        let before = watching.stats().await;
        sleep(STILL_FOR).await;
        let (shown, after) = (watching.shown_ms().await, watching.stats().await);
        let gaps: Vec<(f64, f64)> = shown.windows(2).map(|two| (two[0] - asked, two[1] - two[0])).collect();
        longest_of_runs.push(longest(&gaps));
        let more = |key: &str| after[key].as_f64().unwrap_or(0.0) - before[key].as_f64().unwrap_or(0.0);
        println!(
            "({STILL}, losses {seed}: longest gap {:.0} ms, {:.1} pictures a second, {:.0} key frames, {:.0} asked for, {:.0} packets asked for, {:.0} repaired)",
            longest(&gaps),
            shown.len() as f64 / STILL_FOR.as_secs_f64(),
            more("keyFramesDecoded"),
            more("pliCount"),
            more("nackCount"),
            more("retransmittedPacketsReceived"),
        );
        for (at, gap) in gaps.iter().filter(|(_, gap)| *gap > STILL_MOST_MS) {
            println!(
                "  still for {gap:.0} ms from {at:.0} ms on; kB that left in each 50 ms:{}",
                left(&watching, begin, *at)
            );
        }
        browser.open("about:blank").await;
        daemon.kill();
    }
    let over = longest_of_runs.iter().filter(|gap| **gap > STILL_MOST_MS).count();
    println!("({STILL}: over {STILL_MOST_MS:.0} ms in {over} of {STILL_RUNS} runs)");
    browser.close().await;
}

/// What the device sent around a gap that began `at_ms` after `begin`.
fn left(watching: &RelayedBrowser<'_>, begin: Instant, at_ms: f64) -> String {
    const STEP_MS: f64 = 50.0;
    let sent = watching.relay.sent();
    let kilobytes = |step: i32| {
        let from = at_ms + f64::from(step) * STEP_MS;
        let span = from..from + STEP_MS;
        let within =
            |when: &Instant| span.contains(&(when.saturating_duration_since(begin).as_secs_f64() * 1e3));
        let bytes: usize = sent.iter().filter(|(when, _)| within(when)).map(|(_, bytes)| bytes).sum();
        format!(" {:.1}", bytes as f64 / 1e3)
    };
    (-6..30).map(kilobytes).collect()
}

fn settings(broker: &Mosquitto, scenario: &Scenario) -> Settings {
    Settings::new(&broker.url())
        .value("camera.width", 1280)
        .value("camera.height", 720)
        .value("camera.fps", 30)
        .value("video.bitrate_kbps", scenario.bitrate_kbps)
        .value("video.min_bitrate_kbps", 200)
}

/// What a real browser presents after the drop.
async fn in_chromium(broker: &Mosquitto, scenario: &Scenario) {
    let (Some(browser), [(before, wide), (after, narrow), ..]) =
        (Browser::start().await, scenario.steps.as_slice())
    else {
        return;
    };
    let mut daemon = Daemon::run(settings(broker, scenario));
    Dashboard::connect(broker.port()).await.availability("online").await;
    let watching = RelayedBrowser::watch(&browser, broker.port(), *wide, str::to_owned).await;
    sleep(*before).await;
    watching.shown_ms().await;
    let dropped = browser.run("return performance.now()").await.as_f64().unwrap_or_default();
    watching.relay.set(*narrow);
    sleep(*after).await;
    let shown = watching.shown_ms().await;
    let gaps = shown.windows(2).map(|two| (two[1] - dropped, two[1] - two[0]));
    let long: Vec<_> = gaps.filter(|(at, gap)| *at > 0.0 && *gap > 200.0).collect();
    println!(
        "(in Chromium: {:.1} pictures a second, last gap over 200 ms {:.1} s after the drop, {} of them, the longest {:.0} ms)",
        shown.len() as f64 / after.as_secs_f64(),
        long.last().map_or(0.0, |(at, _)| at / 1e3),
        long.len(),
        longest(&long),
    );
    browser.open("about:blank").await;
    browser.close().await;
    daemon.kill();
}

async fn measure(broker: &Mosquitto, scenario: &Scenario, good: usize) {
    let mut daemon = Daemon::run(settings(broker, scenario));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let mut others = Vec::new();
    for number in 0..good {
        others.push(Remote::join(broker.port(), &format!("good-{number}"), CLEAN).await);
    }
    let Some((_, first)) = scenario.steps.first() else { return };
    let viewer = Remote::join(broker.port(), "impaired", *first).await;
    let begin = Instant::now();
    let (mut targets, mut changes) = (Vec::new(), Vec::new());
    for (lasts, link) in &scenario.steps {
        viewer.relay.set(*link);
        changes.push(begin.elapsed().as_secs_f64());
        let until = Instant::now() + *lasts;
        while Instant::now() < until {
            tokio::select! {
                state = dashboard.new_state("a state", |_| true) => {
                    let target = state["encoder"]["target"].as_f64().unwrap_or(0.0);
                    targets.push((begin.elapsed().as_secs_f64(), target / 1e6));
                }
                () = sleep(until.saturating_duration_since(Instant::now())) => {}
            }
        }
    }
    let end = Instant::now();
    let span = Span { begin, end };
    let seen = viewer.seen();
    report(scenario, good, &span, &seen, &others.iter().map(Remote::seen).collect::<Vec<_>>());
    if scenario.name == DROP {
        recovery(&span, &seen, &changes);
    }
    let panels = [
        Panel {
            unit: "Mbit/s",
            bars: false,
            lines: vec![
                Line { name: "target", color: "#999", points: targets },
                Line { name: "sent", color: "#c60", points: span.rate(&viewer.relay.sent()) },
                Line { name: "received", color: "#06c", points: span.rate(&seen.received) },
            ],
        },
        Panel {
            unit: "gap, ms",
            bars: true,
            lines: vec![Line { name: "between two pictures", color: "#333", points: span.gaps(&seen.shown) }],
        },
    ];
    let beside = if good == 0 { "alone" } else { "beside-5" };
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/plots/{}-{beside}.svg", scenario.name));
    let title = format!("{}, {}", scenario.title, if good == 0 { "alone" } else { "beside 5 good viewers" });
    let written = std::fs::create_dir_all(file.parent().unwrap_or(&file))
        .and_then(|()| std::fs::write(&file, svg(&title, &panels)));
    if let Err(error) = written {
        eprintln!("{}: {error}", file.display());
    }
    drop((viewer, others));
    daemon.kill();
}

/// The time that is looked at.
struct Span {
    begin: Instant,
    end: Instant,
}

impl Span {
    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.begin).as_secs_f64()
    }

    /// Mbit/s in windows of [`WINDOW`].
    fn rate(&self, bytes: &[(Instant, usize)]) -> Vec<(f64, f64)> {
        let window = WINDOW.as_secs_f64();
        let mut points = Vec::new();
        let mut at = 0.0;
        while at + window <= self.seconds(self.end) {
            let within = bytes.iter().filter(|(when, _)| (at..at + window).contains(&self.seconds(*when)));
            let sum: usize = within.map(|(_, bytes)| bytes).sum();
            points.push((at + window / 2.0, sum as f64 * 8e-6 / window));
            at += window;
        }
        points
    }

    /// Times between two pictures in ms, at the second one's time; the end counts as a picture.
    fn gaps(&self, shown: &[Instant]) -> Vec<(f64, f64)> {
        let ends = shown.iter().skip(1).copied().chain([self.end]);
        let gaps = shown.iter().zip(ends);
        let settled = self.begin + SETTLE;
        gaps.filter(|(_, second)| *second >= settled)
            .map(|(first, second)| {
                (self.seconds(second), second.saturating_duration_since(*first).as_secs_f64() * 1e3)
            })
            .collect()
    }
}

fn longest(gaps: &[(f64, f64)]) -> f64 {
    gaps.iter().map(|(_, gap)| *gap).fold(0.0, f64::max)
}

fn report(scenario: &Scenario, good: usize, span: &Span, seen: &Seen, others: &[Seen]) {
    let gaps = span.gaps(&seen.shown);
    let settled = span.seconds(span.end) - SETTLE.as_secs_f64();
    let rate = span.rate(&seen.received);
    let mean = rate.iter().map(|(_, rate)| rate).sum::<f64>() / rate.len().max(1) as f64;
    let others = others.iter().map(|seen| longest(&span.gaps(&seen.shown))).fold(0.0, f64::max);
    println!(
        "| {} | {} | {mean:.2} Mbit/s | {:.1} | {:.0} ms | {} | {} | {} |",
        scenario.title,
        if good == 0 { "nobody".to_owned() } else { format!("{good} good ones") },
        gaps.len() as f64 / settled,
        longest(&gaps),
        gaps.iter().filter(|(_, gap)| *gap > 200.0).count(),
        seen.broken,
        if good == 0 { "–".to_owned() } else { format!("{others:.0} ms") },
    );
}

/// After the drop: until pictures move again; after the return: until 90 % of the link is used.
fn recovery(span: &Span, seen: &Seen, changes: &[f64]) {
    let [_, drop, back] = changes else { return };
    let slow = span.gaps(&seen.shown);
    let still = slow.iter().filter(|(at, gap)| (*drop..*back).contains(at) && *gap > 200.0);
    let moves = still.map(|(at, _)| at - drop).fold(0.0, f64::max);
    let full =
        span.rate(&seen.received).into_iter().find(|(at, rate)| at > back && rate * 1e6 >= 0.9 * FULL_RATE);
    let full = full.map_or("never".to_owned(), |(at, _)| format!("{:.1} s", at - back));
    println!("(last gap over 200 ms {moves:.1} s after the drop; 90 % of the link {full} after its return)");
}
