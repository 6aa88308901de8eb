//! Bad networks: the bit rate follows them, and one of them among good ones is served by itself.

mod support;

use serde_json::Value;
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::relay::{CLEAN, Link};
use support::remote::Remote;
use support::viewer::Dashboard;

/// What the encoder is configured for, bit/s, and a network that carries a fraction of it.
const FULL: u64 = 1_500_000;
const NARROW: Link = Link { rate: 400e3, ..CLEAN };

async fn world() -> Option<(Mosquitto, Daemon, Dashboard)> {
    let broker = Mosquitto::start()?;
    let settings = Settings::new(&broker.url())
        .value("camera.fps", 30)
        .value("camera.width", 1280)
        .value("camera.height", 720)
        .value("video.bitrate_kbps", FULL / 1000)
        .value("video.min_bitrate_kbps", 150);
    let daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    Some((broker, daemon, dashboard))
}

fn target(state: &Value) -> u64 {
    state["encoder"]["target"].as_u64().unwrap_or(0)
}

fn session<'a>(state: &'a Value, viewer: &str) -> Option<&'a Value> {
    state["viewers"]["sessions"].as_array()?.iter().find(|session| session["viewer"] == viewer)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bit_rate_follows_one_viewers_network_down_and_up() {
    let Some((broker, _daemon, mut dashboard)) = world().await else { return };
    let viewer = Remote::join(broker.port(), "narrow", CLEAN).await;
    viewer.pictures(30).await;
    dashboard.new_state("the full rate", |state| target(state) == FULL).await;
    viewer.relay.set(NARROW);
    dashboard.new_state("a lower rate", |state| (1..500_000).contains(&target(state))).await;
    viewer.pictures(60).await;
    viewer.relay.set(CLEAN);
    dashboard.new_state("the full rate again", |state| target(state) == FULL).await;
    viewer.pictures(60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_network_among_good_ones_gets_fewer_pictures_and_the_others_all() {
    let Some((broker, _daemon, mut dashboard)) = world().await else { return };
    let good = [
        Remote::join(broker.port(), "good-1", CLEAN).await,
        Remote::join(broker.port(), "good-2", CLEAN).await,
    ];
    let bad = Remote::join(broker.port(), "bad", NARROW).await;
    let skips = |state: &Value| session(state, "bad").is_some_and(|bad| bad["skipped"].as_u64() > Some(20));
    let state = dashboard.new_state("pictures left out for the bad one", skips).await;
    assert_eq!(target(&state), FULL, "the others keep their picture: {state:#}");
    bad.pictures(5).await;
    for good in good {
        good.pictures(30).await;
        assert_eq!(good.seen().broken, 0, "{}", good.id);
        let state = dashboard.new_state("both", |state| session(state, &good.id).is_some()).await;
        assert_eq!(
            session(&state, &good.id).map(|session| &session["skipped"]),
            Some(&0.into()),
            "{state:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_was_away_gets_the_picture_back() {
    let Some((broker, _daemon, mut dashboard)) = world().await else { return };
    let viewer = Remote::join(broker.port(), "tunnel", CLEAN).await;
    viewer.pictures(30).await;
    viewer.relay.set(Link { loss: 1.0, ..CLEAN });
    let is_silent =
        |state: &Value| session(state, "tunnel").is_some_and(|tunnel| tunnel["estimate"].is_number());
    dashboard.new_state("that nothing is heard", is_silent).await;
    viewer.relay.set(CLEAN);
    viewer.pictures(60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loss_in_bursts_and_jitter_leave_a_moving_picture() {
    let Some((broker, _daemon, _dashboard)) = world().await else { return };
    let ms = std::time::Duration::from_millis;
    let link = Link { loss: 0.05, burst: 5.0, round_trip: ms(80), jitter: ms(20), ..CLEAN };
    let viewer = Remote::join(broker.port(), "radio", link).await;
    viewer.pictures(150).await;
}

/// In media time, so that a busy machine does not fail it: the second key frame is of a picture taken at most 150 ms later.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_first_key_frame_is_followed_by_another_at_once() {
    let Some((broker, _daemon, _dashboard)) = world().await else { return };
    // Somebody watches already, so that the newcomer's requests are not the only ones and the gap between them counts.
    let other = Remote::join(broker.port(), "other", CLEAN).await;
    other.pictures(30).await;
    let viewer = Remote::join(broker.port(), "unlucky", Link { is_first_picture_lost: true, ..CLEAN }).await;
    viewer.pictures(5).await;
    let lost = viewer.relay.first_picture().expect("a first picture");
    let shown = *viewer.seen().key_frames.first().expect("a key frame");
    let later_ms = shown.wrapping_sub(lost) / 90;
    assert!((1..=150).contains(&later_ms), "the next key frame came {later_ms} ms after the lost one");
}
