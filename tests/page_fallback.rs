//! A browser that cannot have live video gets single pictures over HTTP, is told so in words, and goes on trying: a real Chromium.

mod support;

use serde_json::json;
use support::browser::Browser;
use support::daemon::{Daemon, Settings};
use support::invited::grant;
use support::mosquitto::{Mosquitto, Options};
use support::{daemon::DEVICE, viewer::Dashboard};

/// As in a browser that is old, or in which somebody has turned it off.
const NO_WEBRTC: &str = "delete window.RTCPeerConnection;";

/// The helpers of the browser look at the picture in place of the video.
const LOOK_AT_THE_PICTURE: &str = "
    window.grab = () => {
        const picture = document.getElementById('picture');
        if (!picture.complete || !picture.naturalWidth) return null;
        const canvas = document.createElement('canvas');
        canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
        const context = canvas.getContext('2d', { willReadFrequently: true });
        context.drawImage(picture, 0, 0);
        return context;
    };";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_webrtc_shows_pictures_one_after_another() {
    let options = Options { websocket: true, ..Options::default() };
    let (Some(broker), Some(browser)) = (Mosquitto::start_with(&options), Browser::start().await) else {
        return;
    };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    browser.before_each_page(NO_WEBRTC).await;
    browser.open(&format!("{}#broker={}&device={DEVICE}", daemon.page().await, broker.ws_url())).await;
    let state = browser.phase("pictures").await;
    assert_eq!((&state["code"], &state["retry"]), (&json!("no-webrtc"), &json!(true)), "{state:#}");
    browser.run(LOOK_AT_THE_PICTURE).await;
    browser.assert_test_picture_is_live().await;
    let words = browser.words().await;
    for part in ["Single pictures", "has no WebRTC", "tried again by itself"] {
        assert!(words.contains(part), "{part:?} is not in: {words}");
    }

    // The owner turns the camera off: the last picture doesn't stay.
    assert_eq!(dashboard.ask("set/streaming", "OFF").await["ok"], true);
    browser.until("that there is no picture", |state| state["phase"] != "pictures").await;
    assert_eq!(browser.run("return document.getElementById('picture').hidden").await, true);
    assert_eq!(dashboard.ask("set/streaming", "ON").await["ok"], true);
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_without_the_right_to_pictures_gets_none_and_is_told_so() {
    let options = Options { websocket: true, ..Options::default() };
    let (Some(broker), Some(browser)) = (Mosquitto::start_with(&options), Browser::start().await) else {
        return;
    };
    let daemon = Daemon::run(Settings::new(&broker.url()).text("access.mode", "grants"));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let (page, ws_url) = (daemon.page().await, broker.ws_url());
    let place = ["--page", &page, "--broker", &ws_url];
    browser.before_each_page(NO_WEBRTC).await;
    browser
        .before_each_page(
            "window.asked = []; const real = fetch;
             window.fetch = (what, how) => { asked.push([String(what), how?.headers?.authorization]); return real(what, how); };",
        )
        .await;
    let may_both = grant(&daemon, "may-both", &[&["--rights", "view,snapshot"], &place[..]].concat()).await;
    browser.open(&may_both.to_string()).await;
    browser.phase("pictures").await;
    browser.run(LOOK_AT_THE_PICTURE).await;
    browser.assert_test_picture_is_live().await;

    let link = grant(&daemon, "watcher", &place).await;
    browser.open(&link.to_string()).await;
    browser
        .until("that the right is missing", |state| {
            state["hint"].as_str().is_some_and(|hint| hint.contains("no right to single pictures"))
        })
        .await;
    let state = browser.state().await;
    assert_eq!((&state["phase"], &state["code"]), (&json!("refused"), &json!("no-webrtc")), "{state:#}");
    let asked = browser.run("return asked.filter(([what]) => what.includes('snapshot.jpg'))").await;
    let asked = asked.as_array().expect("requests");
    assert_eq!(asked.len(), 1, "it was asked once, and not again at once: {asked:?}");
    assert!(asked[0][1].as_str().is_some_and(|token| token.starts_with("Bearer ")), "{asked:?}");
    browser.close().await;
}
