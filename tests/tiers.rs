//! Two renditions: who has a slow network gets the small one, without renegotiation, and the others notice nothing.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::relay::{CLEAN, Link, Relay};
use support::remote::{Remote, candidate_of, host_address, without_candidates};
use support::viewer::{Dashboard, Viewer};

/// What the encoder is configured for, bit/s, and a network that carries a fraction of it.
const FULL: u64 = 1_500_000;
const NARROW: Link = Link { rate: 400e3, ..CLEAN };
const FULL_SIZE: (u32, u32) = (1280, 720);
const SMALL_SIZE: (u32, u32) = (640, 360);

async fn world(broker: &Mosquitto) -> (Daemon, Dashboard) {
    let settings = Settings::new(&broker.url())
        .value("camera.fps", 30)
        .value("camera.width", FULL_SIZE.0)
        .value("camera.height", FULL_SIZE.1)
        .value("video.bitrate_kbps", FULL / 1000)
        .value("video.min_bitrate_kbps", 150)
        .value("video.tiers", 2);
    let daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    (daemon, dashboard)
}

fn tier<'a>(state: &'a Value, viewer: &str) -> Option<&'a str> {
    let sessions = state["viewers"]["sessions"].as_array()?;
    sessions.iter().find(|session| session["viewer"] == viewer)?["tier"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_with_a_slow_network_gets_the_small_rendition_and_the_others_lose_nothing() {
    let Some(broker) = Mosquitto::start() else { return };
    let (mut daemon, mut dashboard) = world(&broker).await;
    let good = Remote::join(broker.port(), "good", CLEAN).await;
    let slow = Remote::join(broker.port(), "slow", CLEAN).await;
    slow.pictures(30).await;
    let state = dashboard.new_state("both", |state| tier(state, "slow") == Some("full")).await;
    assert_eq!(state["encoder"]["small"]["running"], false, "{state:#}");

    slow.relay.set(NARROW);
    let moved = |state: &Value| {
        let small = &state["encoder"]["small"];
        tier(state, "slow") == Some("small") && small["viewers"] == 1 && small["bitrate"].as_u64() > Some(0)
    };
    let state = dashboard.new_state("the small rendition", moved).await;
    assert_eq!(tier(&state, "good"), Some("full"), "{state:#}");
    slow.size(SMALL_SIZE).await;
    slow.pictures(60).await;

    slow.relay.set(CLEAN);
    slow.size(FULL_SIZE).await;
    slow.pictures(30).await;
    assert_eq!(slow.seen().sizes.first(), Some(&FULL_SIZE));
    let back =
        |state: &Value| state["encoder"]["small"]["running"] == false && tier(state, "slow") == Some("full");
    dashboard.new_state("that nobody needs it", back).await;
    good.pictures(30).await;
    let seen = good.seen();
    assert_eq!((seen.broken, seen.sizes), (0, vec![FULL_SIZE]));
    let skipped = |state: &Value| {
        let sessions = state["viewers"]["sessions"].as_array().cloned().unwrap_or_default();
        sessions.iter().find(|session| session["viewer"] == "good").map(|session| session["skipped"].clone())
    };
    let state = dashboard.new_state("the good one", |state| skipped(state).is_some()).await;
    assert_eq!(skipped(&state), Some(json!(0)), "{state:#}");
    daemon.assert_unharmed();
}

/// A page with one peer connection that shows its video.
const PAGE: &str = "
    window.pc = new RTCPeerConnection();
    pc.addTransceiver('video', { direction: 'recvonly' });
    window.video = document.createElement('video');
    video.muted = true; video.autoplay = true;
    document.body.append(video);
    window.negotiations = 0;
    pc.onnegotiationneeded = () => { negotiations++; };
    pc.ontrack = (event) => { video.srcObject = new MediaStream([event.track]); };
    await pc.setLocalDescription();
    window.porthole = { stats: async () => {
        for (const entry of (await pc.getStats()).values()) if (entry.type === 'inbound-rtp') return entry;
        return { framesDecoded: 0 };
    } };
    return pc.localDescription.sdp;";

/// Waits until the browser shows pictures so wide.
async fn width(browser: &Browser, wanted: u32) {
    let deadline = std::time::Instant::now() + support::PATIENCE;
    loop {
        let width = browser.run("return video.videoWidth").await;
        if width == wanted {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "the browser shows pictures {width} wide");
        browser.a_moment().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_shows_the_other_size_without_a_word_said() {
    let (Some(broker), Some(browser)) = (Mosquitto::start(), Browser::start().await) else { return };
    let (mut daemon, mut dashboard) = world(&broker).await;
    let mut mailbox = Viewer::connect(broker.port(), "chromium").await;
    browser.open("about:blank").await;
    let offer = browser.run_async(PAGE).await;
    // All is to go through the relay.
    mailbox.offer("raw", &without_candidates(offer.as_str().expect("text"))).await;
    let (mut answer, mut at) = (None, None);
    while answer.is_none() || at.is_none() {
        let message = mailbox.next("an answer and a candidate").await;
        if message["type"] == "answer" {
            answer = message["sdp"].as_str().map(without_candidates);
        } else if at.is_none() {
            at = message["candidate"]["candidate"].as_str().and_then(host_address);
        }
    }
    let relay = Relay::before(at.expect("a candidate"), CLEAN).await;
    let description = json!({ "type": "answer", "sdp": answer });
    let candidate = json!({ "candidate": candidate_of(relay.address), "sdpMid": "0" });
    let script = format!(
        "await pc.setRemoteDescription({description}); await pc.addIceCandidate({candidate}); negotiations = 0; return 0"
    );
    browser.run_async(&script).await;
    width(&browser, FULL_SIZE.0).await;
    relay.set(NARROW);
    width(&browser, SMALL_SIZE.0).await;
    browser.frames_advance(30).await;
    relay.set(CLEAN);
    width(&browser, FULL_SIZE.0).await;
    browser.frames_advance(30).await;
    assert_eq!(browser.run("return negotiations").await, 0);
    dashboard.new_state("it", |state| tier(state, "chromium") == Some("full")).await;
    daemon.assert_unharmed();
    browser.close().await;
}
