//! The page comes back by itself after its machine has slept, after its network was gone, and at another address.

mod support;

use std::time::Instant;

use support::PATIENCE;
use support::browser::{Browser, now_ms};
use support::daemon::{DEVICE, Daemon, Settings};
use support::mosquitto::{Mosquitto, Options};
use support::namespace::{HOST, Neighbour, inside, run};
use support::viewer::Dashboard;

async fn assert_live_picture(browser: &Browser) {
    browser.phase("live").await;
    browser.frames_advance(20).await;
    browser.assert_test_picture_is_live().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_slept_shows_the_picture_again() {
    let options = Options { websocket: true, ..Options::default() };
    let (Some(broker), Some(browser)) = (Mosquitto::start_with(&options), Browser::start().await) else {
        return;
    };
    let mut daemon = Daemon::run(Settings::new(&broker.url()).value("video.linger_s", 1));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    browser.open(&format!("{}#broker={}&device={DEVICE}", daemon.page().await, broker.ws_url())).await;
    assert_live_picture(&browser).await;
    let before = dashboard.viewers(1).await;
    browser.sleep();
    // Long enough that the device has given it up.
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
    browser.wake();
    let after = dashboard.viewers(1).await;
    assert_live_picture(&browser).await;
    let session =
        |field: &str| (&before["viewers"]["sessions"][0][field], &after["viewers"]["sessions"][0][field]);
    assert_eq!(session("viewer").0, session("viewer").1, "it is another page");
    assert_ne!(session("since").0, session("since").1, "the session never ended");
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_was_gone_brings_the_picture_back() {
    if !inside("a_network_that_was_gone_brings_the_picture_back", &[]) {
        return;
    }
    let Some(browser) = Browser::start().await else { return };
    let settings = Settings::new("embedded")
        .text("access.mode", "open")
        .text("broker.listen", "0.0.0.0:1883")
        .text("broker.websocket", "0.0.0.0:9001")
        .text("http.listen", "0.0.0.0:8080");
    let mut daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(1883).await;
    dashboard.availability("online").await;
    browser.open(&format!("http://{HOST}:8080/")).await;
    assert_live_picture(&browser).await;
    dashboard.viewers(1).await;

    run("ip address flush dev br0");
    browser.phase("network-lost").await;
    let words = browser.words().await;
    assert!(words.contains("no network") && words.contains("comes back by itself"), "{words}");
    dashboard.viewers(0).await;

    run(&format!("ip address add {HOST}/24 dev br0"));
    assert_live_picture(&browser).await;
    dashboard.viewers(1).await;
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_at_another_address_goes_on_watching() {
    if !inside("a_viewer_at_another_address_goes_on_watching", &[]) {
        return;
    }
    let camera = "10.78.0.9";
    let neighbour = Neighbour::join(camera);
    let settings = Settings::new("embedded")
        .text("access.mode", "open")
        .text("broker.listen", "0.0.0.0:1883")
        .text("broker.websocket", "0.0.0.0:9001")
        .text("http.listen", "0.0.0.0:8080");
    let mut daemon = Daemon::run_at(&neighbour, settings);
    daemon.page().await;
    let Some(browser) = Browser::start().await else { return };
    browser.open(&format!("http://{camera}:8080/")).await;
    assert_live_picture(&browser).await;

    // As Wi-Fi does it on the way through a house: no word of farewell, and nothing reaches the old address.
    let (from, to) = (HOST, "10.78.0.3");
    run(&format!("ip address flush dev br0 && ip address add {to}/24 dev br0"));
    let moved = Instant::now();
    let moved_ms = now_ms();
    while browser.picture_time().await.wrapping_sub(moved_ms).cast_signed() < 0 {
        assert!(moved.elapsed() < PATIENCE, "no picture that was taken since");
        browser.a_moment().await;
    }
    eprintln!("from {from} to {to}: a picture again after {} ms", moved.elapsed().as_millis());
    assert_live_picture(&browser).await;
    daemon.assert_unharmed();
    browser.close().await;
}
