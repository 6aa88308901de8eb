//! What repairs that come unasked (FlexFEC) are worth to a real Chromium behind the tests' relay:
//! `cargo bench --bench repairs`, or `make bench`.
//!
//! Figures, not tests: nothing fails because a machine is slow or busy.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use support::browser::Browser;
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::relay::{CLEAN, Link};
use support::relayed_browser::RelayedBrowser;
use support::viewer::Dashboard;
use tokio::time::sleep;

/// From the beginning of the loss until the policy has made up its mind.
const SETTLE: Duration = Duration::from_secs(8);
const WATCH_FOR: Duration = Duration::from_secs(30);

const fn far(round_trip_ms: u64, loss: f64, burst: f64) -> Link {
    Link { round_trip: Duration::from_millis(round_trip_ms), loss, burst, ..CLEAN }
}

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo test --benches` runs this too, where there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("repairs are measured by `cargo bench --bench repairs`");
        return ExitCode::SUCCESS;
    }
    let (Some(broker), Some(browser)) = (Mosquitto::start(), Browser::start().await) else {
        return ExitCode::FAILURE;
    };
    println!(
        "| network | repairs unasked | sent | pictures shown a second | gaps over 200 ms | longest gap | held | sent again |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    // `cargo bench --bench repairs -- '1 Mbit/s'`: only those.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|part| name.contains(part));
    for (name, link) in [
        ("5 % loss, 50 ms", far(50, 0.05, 1.0)),
        ("5 % loss, 100 ms", far(100, 0.05, 1.0)),
        ("2.5 % loss, 200 ms", far(200, 0.025, 1.0)),
        ("5 % loss, 200 ms", far(200, 0.05, 1.0)),
        ("10 % loss, 200 ms", far(200, 0.10, 1.0)),
        ("5 % loss in bursts of 2, 200 ms", far(200, 0.05, 2.0)),
        ("5 % loss, 200 ms, 1 Mbit/s", Link { rate: 1e6, ..far(200, 0.05, 1.0) }),
    ]
    .into_iter()
    .filter(|(name, _)| is_wanted(name))
    {
        for offered in [false, true] {
            measure(&broker, &browser, name, link, offered).await;
        }
    }
    browser.close().await;
    ExitCode::SUCCESS
}

async fn measure(broker: &Mosquitto, browser: &Browser, name: &str, link: Link, offered: bool) {
    let settings = Settings::new(&broker.url()).value("camera.fps", 30).value("video.bitrate_kbps", 2000);
    let mut daemon = Daemon::run(settings);
    Dashboard::connect(broker.port()).await.availability("online").await;
    let edit = |sdp: &str| if offered { sdp.to_owned() } else { sdp.replace("flexfec-03/", "x-unknown/") };
    let watching = RelayedBrowser::watch(browser, broker.port(), CLEAN, edit).await;
    watching.relay.set(link);
    sleep(SETTLE).await;
    watching.shown_ms().await;
    let (begin, sent, before) = (Instant::now(), sent_bytes(&watching), watching.stats().await);
    sleep(WATCH_FOR).await;
    let (shown, after) = (watching.shown_ms().await, watching.stats().await);
    let (seconds, sent) = (begin.elapsed().as_secs_f64(), sent_bytes(&watching) - sent);
    let more = |key: &str| after[key].as_f64().unwrap_or(0.0) - before[key].as_f64().unwrap_or(0.0);
    let gaps: Vec<f64> = shown.windows(2).map(|two| two[1] - two[0]).collect();
    println!(
        "| {name} | {:.0} | {:.2} Mbit/s | {:.1} | {} | {:.0} ms | {:.0} ms | {:.0} |",
        more("fecPacketsReceived"),
        sent as f64 * 8e-6 / seconds,
        shown.len() as f64 / seconds,
        gaps.iter().filter(|gap| **gap > 200.0).count(),
        gaps.iter().copied().fold(0.0, f64::max),
        more("jitterBufferDelay") / more("jitterBufferEmittedCount").max(1.0) * 1e3,
        more("retransmittedPacketsReceived"),
    );
    browser.open("about:blank").await;
    daemon.kill();
}

fn sent_bytes(watching: &RelayedBrowser<'_>) -> usize {
    watching.relay.sent().iter().map(|(_, bytes)| bytes).sum()
}
