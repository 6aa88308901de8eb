//! Repairs that come unasked (FlexFEC), as a real Chromium takes them.

mod support;

use std::time::{Duration, Instant};

use support::PATIENCE;
use support::browser::Browser;
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::relay::{CLEAN, Link};
use support::relayed_browser::RelayedBrowser;
use support::viewer::Dashboard;

/// Without asking for packets again there is nothing but repairs that come unasked, and key frames.
fn without_nack(sdp: &str) -> String {
    sdp.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(" nack")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_a_long_path_is_repaired_without_asking() {
    let (Some(broker), Some(browser)) = (Mosquitto::start(), Browser::start().await) else { return };
    let settings = Settings::new(&broker.url()).value("camera.fps", 30).value("video.bitrate_kbps", 2000);
    let mut daemon = Daemon::run(settings);
    Dashboard::connect(broker.port()).await.availability("online").await;
    let far = Link { round_trip: Duration::from_millis(200), media_lost_every: 23, ..CLEAN };
    let watching = RelayedBrowser::watch(&browser, broker.port(), far, without_nack).await;
    let deadline = Instant::now() + PATIENCE;
    while watching.stats().await["fecPacketsReceived"].as_u64().unwrap_or(0) < 50 {
        assert!(Instant::now() < deadline, "no repairs: {:#}", watching.stats().await);
        browser.a_moment().await;
    }
    let before = watching.stats().await;
    browser.frames_advance(150).await;
    let after = watching.stats().await;
    let more = |key: &str| after[key].as_i64().unwrap_or(0) - before[key].as_i64().unwrap_or(0);
    assert!(more("packetsLost") > 5, "nothing was lost: {after:#}");
    assert_eq!(
        (more("retransmittedPacketsReceived"), more("pliCount")),
        (0, 0),
        "not repaired unasked: {after:#}"
    );
    daemon.assert_unharmed();
}
