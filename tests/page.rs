//! The viewer page in a real Chromium: the picture, its content, and the words when there is none.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::free_ports;
use support::mosquitto::{Mosquitto, Options};
use support::viewer::{Dashboard, OFFER, Viewer};

/// Mosquitto with a WebSocket listener.
fn broker() -> Option<Mosquitto> {
    Mosquitto::start_with(&Options { websocket: true, ..Options::default() })
}

/// The link to a daemon of `porthole run`, whose broker the page cannot know by itself.
async fn link(daemon: &Daemon, broker: &Mosquitto) -> String {
    format!("{}#broker={}&device={DEVICE}", daemon.page().await, broker.ws_url())
}

async fn assert_live_picture(browser: &Browser) {
    browser.phase("live").await;
    browser.frames_advance(20).await;
    browser.assert_test_picture_is_live().await;
}

/// A viewer of another kind gets video too.
async fn assert_another_viewer_gets_video(broker: &str) {
    assert_gets_video(&["--broker", broker, "--device", DEVICE]).await;
}

async fn assert_gets_video(place: &[&str]) {
    let arguments = [&["watch", "--seconds", "3", "--json"], place].concat();
    let mut command = tokio::process::Command::from(porthole(&arguments));
    let output = command.output().await.expect("run porthole watch");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["connected"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_link_opens_the_live_picture() {
    let Some(browser) = Browser::start().await else { return };
    let [mqtt_port] = free_ports();
    let mut daemon = Daemon::demo(mqtt_port);
    let link = daemon.link().await;
    browser.open(&link).await;
    assert_live_picture(&browser).await;
    let stats = browser.run_async("return await window.porthole.stats()").await;
    assert_eq!(stats["mimeType"], "video/H264", "{stats:#}");
    let mut dashboard = Dashboard::invited(mqtt_port, &link.parse().expect("a link")).await;
    let device = dashboard.viewers(1).await;
    assert_eq!(device["camera"]["state"], "live", "{device:#}");
    assert_eq!(
        device["viewers"]["sessions"][0].get("grant"),
        None,
        "whoever may watch reads this: {device:#}"
    );
    assert_gets_video(&["--link", &link]).await;
    daemon.assert_unharmed();
    // Leaving the page frees the session: pagehide says bye, and the will would.
    browser.open("about:blank").await;
    dashboard.viewers(0).await;

    // The bare address shows nothing, and says in plain words what to do.
    let (page, _) = link.split_once('#').expect("a fragment");
    browser.open(page).await;
    let refused = browser.phase("refused").await;
    assert_eq!(
        (&refused["code"], &refused["brokerConnected"]),
        (&json!("no-invitation"), &json!(false)),
        "{refused:#}"
    );
    let words = browser.words().await;
    for part in ["Test camera can only be watched with a link", "sudo porthole grant NAME", "Ask the owner"] {
        assert!(words.contains(part), "{part:?} is not in: {words}");
    }
    // The camera's own broker knows what became of a link.
    let (before, secret) = link.split_once("secret=").expect("a secret");
    let rest = secret.find('&').map_or("", |end| &secret[end..]);
    browser.open(&format!("{before}secret=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE{rest}")).await;
    let words = "This link does not open this camera.";
    browser.until(words, |state| state["text"] == words).await;
    browser.open(&link).await;
    assert_live_picture(&browser).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_on_a_broker_of_ones_own_does_not_notice_its_restart() {
    let (Some(mut broker), Some(browser)) = (broker(), Browser::start().await) else { return };
    let daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    browser.open(&link(&daemon, &broker).await).await;
    assert_live_picture(&browser).await;
    let before = browser.state().await;

    broker.kill();
    let alone = browser.until("that its broker is gone", |state| state["brokerConnected"] == false).await;
    browser.frames_advance(30).await;
    browser.assert_test_picture_is_live().await;
    let during = browser.state().await;
    assert_eq!((&during["phase"], &during["attempt"]), (&json!("live"), &before["attempt"]), "{alone:#}");
    assert!(browser.words().await.contains("goes on without it"), "{}", browser.words().await);

    broker.start_again();
    // This broker has forgotten everything: whatever is retained now was published again.
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.info("its id", |info| info["device"] == DEVICE).await;
    let state = dashboard.viewers(1).await;
    assert_eq!(state["camera"]["state"], "live", "{state:#}");
    let event = dashboard.ask("do/keyframe", "").await;
    assert_eq!(event["ok"], true, "{event}");
    assert_another_viewer_gets_video(&broker.url()).await;
    let after = browser.until("its broker again", |state| state["brokerConnected"] == true).await;
    assert_eq!((&after["phase"], &after["attempt"]), (&json!("live"), &before["attempt"]));
    browser.frames_advance(10).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_outlives_a_killed_daemon_and_says_so_meanwhile() {
    let (Some(broker), Some(browser)) = (broker(), Browser::start().await) else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    browser.open(&link(&daemon, &broker).await).await;
    assert_live_picture(&browser).await;
    daemon.kill();
    browser.phase("device-offline").await;
    let words = browser.words().await;
    assert!(words.contains("Test camera is offline"), "{words}");
    daemon.start_again();
    assert_live_picture(&browser).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_h264_is_told_so() {
    let (Some(broker), Some(browser)) = (broker(), Browser::start().await) else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    browser
        .before_each_page(
            "const set = RTCRtpTransceiver.prototype.setCodecPreferences;
             const others = RTCRtpReceiver.getCapabilities('video').codecs.filter((codec) => codec.mimeType !== 'video/H264');
             RTCRtpTransceiver.prototype.setCodecPreferences = function () { set.call(this, others); };",
        )
        .await;
    browser.open(&link(&daemon, &broker).await).await;
    let state = browser.phase("refused").await;
    assert_eq!(state["code"], "no-h264", "{state:#}");
    let words = browser.words().await;
    assert!(words.contains("cannot play H.264"), "{words}");
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_and_privacy_are_said_in_words_and_end_by_themselves() {
    let (Some(broker), Some(browser)) = (broker(), Browser::start().await) else { return };
    let daemon = Daemon::run(Settings::new(&broker.url()).value("viewers.max", 1));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let mut first = Viewer::connect(broker.port(), "first").await;
    first.offer("one", OFFER).await;
    first.expect("answer").await;

    browser.open(&link(&daemon, &broker).await).await;
    browser.until("busy", |state| state["code"] == "busy").await;
    let words = browser.words().await;
    assert!(words.contains("already has as many viewers"), "{words}");
    first.say(json!({"type": "bye", "session": "one"})).await;
    assert_live_picture(&browser).await;

    assert_eq!(dashboard.ask("set/streaming", "OFF").await["ok"], true);
    browser
        .until("privacy", |state| state["text"].as_str().is_some_and(|text| text.contains("privacy")))
        .await;
    assert_eq!(dashboard.ask("set/streaming", "ON").await["ok"], true);
    assert_live_picture(&browser).await;
    browser.close().await;
}

/// Of the video's rows, the share in which something bright is written.
const WRITTEN_ROWS: &str = "
    const context = window.grab();
    if (!context) return null;
    const { width, height } = context.canvas;
    let rows = 0;
    for (let y = 0; y < height; y++) {
        const pixels = context.getImageData(0, y, width, 1).data;
        for (let at = 0; at < pixels.length; at += 4) if (pixels[at] > 200) { rows++; break; }
    }
    return rows / height;";

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_camera_is_said_in_the_picture() {
    let (Some(broker), Some(browser)) = (broker(), Browser::start().await) else { return };
    let settings = Settings::new(&broker.url()).text("camera.device", "/dev/video99");
    let mut daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("lost").await;
    browser.open(&link(&daemon, &broker).await).await;
    browser.phase("live").await;
    let before = dashboard.viewers(1).await;
    browser.frames_advance(20).await;
    let written = browser.run(WRITTEN_ROWS).await;
    assert!(
        written.as_f64().is_some_and(|share| (0.02..0.5).contains(&share)),
        "words on a dark ground: {written}"
    );
    let after = dashboard.new_state("the same viewer", |state| state["viewers"]["count"] == 1).await;
    let session = |state: &Value| state["viewers"]["sessions"][0]["session"].clone();
    assert_eq!(session(&before), session(&after), "it is another session: {after:#}");
    // For a look with one's own eyes.
    if let Some(directory) = std::env::var_os("PORTHOLE_TEST_SCREENSHOTS") {
        let png = browser.client.screenshot().await.expect("a screenshot");
        std::fs::write(std::path::Path::new(&directory).join("placeholder.png"), png).expect("write it");
    }
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_out_of_reach_is_said_in_words() {
    let (Some(mut broker), Some(browser)) = (broker(), Browser::start().await) else { return };
    let daemon = Daemon::run(Settings::new(&broker.url()));
    let link = link(&daemon, &broker).await;
    broker.kill();
    browser.open(&link).await;
    browser.phase("broker-waiting").await;
    let words = browser.words().await;
    assert!(words.contains("cannot be reached"), "{words}");
    broker.start_again();
    assert_live_picture(&browser).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_knows_how_old_a_picture_is_when_it_is_shown() {
    let (Some(broker), Some(browser)) = (broker(), Browser::start().await) else { return };
    let daemon = Daemon::run(Settings::new(&broker.url()));
    browser.open(&link(&daemon, &broker).await).await;
    assert_live_picture(&browser).await;
    browser.delay_fits_the_picture().await;
    let title = browser.run("return inPage('.name').title").await;
    let ms: f64 = title
        .as_str()
        .and_then(|title| title.strip_suffix(" ms from the camera to the screen"))
        .and_then(|ms| ms.parse().ok())
        .unwrap_or_else(|| panic!("the name has the title {title}"));
    assert!((0.0..10_000.0).contains(&ms), "{ms} ms");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints the offer that tests/support/chromium-offer.sdp holds; candidates and addresses go"]
async fn an_offer_of_this_chromium() {
    let Some(browser) = Browser::start().await else { return };
    let offer = browser
        .run_async(
            "const pc = new RTCPeerConnection();
             pc.addTransceiver('video', { direction: 'recvonly' });
             await pc.setLocalDescription();
             return pc.localDescription.sdp;",
        )
        .await;
    println!("{}", offer.as_str().expect("text"));
    browser.close().await;
}
