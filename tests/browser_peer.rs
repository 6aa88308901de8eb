//! A peer connection of a real Chromium, its signals carried by the test: ICE restart, and a silent end. And the whole viewer that
//! docs/protocol.md prints.

mod support;

use serde_json::{Value, json};
use support::browser::{Browser, PEER_PAGE, PLAYER_PAGE};
use support::daemon::{DEVICE, Daemon, Settings};
use support::mosquitto::{Mosquitto, Options};
use support::recipes::{doc, fenced};
use support::viewer::{Dashboard, Viewer};

struct World {
    browser: Browser,
    viewer: Viewer,
    dashboard: Dashboard,
    daemon: Daemon,
    broker: Mosquitto,
}

/// A browser that sees the test picture.
async fn watching() -> Option<World> {
    let (broker, browser) = (Mosquitto::start()?, Browser::start().await?);
    let daemon = Daemon::run(Settings::new(&broker.url()).value("video.linger_s", 1));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let viewer = Viewer::connect(broker.port(), "chromium").await;
    browser.open("about:blank").await;
    browser.run(PEER_PAGE).await;
    let mut world = World { browser, viewer, dashboard, daemon, broker };
    world.call().await;
    world.browser.frames_advance(10).await;
    world.browser.assert_test_picture_is_live().await;
    Some(world)
}

impl World {
    /// One offer with all its candidates, one answer with all of the device's. Returns the answer.
    async fn call(&mut self) -> String {
        let offer = self.browser.run_async("return await window.offer()").await;
        self.viewer.say(json!({"type": "offer", "session": "raw", "sdp": offer, "ice": "full"})).await;
        let answer = self.viewer.expect("answer").await;
        let sdp = answer["sdp"].as_str().expect("text").to_owned();
        let apply =
            format!("await pc.setRemoteDescription({}); return 0", json!({"type": "answer", "sdp": sdp}));
        self.browser.run_async(&apply).await;
        sdp
    }

    /// The user name of the ICE generation that carries the media on the browser's side.
    async fn local_ufrag(&self) -> Value {
        self.browser
            .run_async(
                "const stats = await pc.getStats();
                 for (const transport of stats.values()) if (transport.type === 'transport') return transport.iceLocalUsernameFragment;
                 return null",
            )
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_keeps_the_session_and_the_picture() {
    let Some(mut world) = watching().await else { return };
    let before = world.dashboard.viewers(1).await;
    let old = world.local_ufrag().await;
    world.browser.run("pc.restartIce(); return 0").await;
    world.call().await;
    world.browser.frames_advance(30).await;
    assert_ne!(world.local_ufrag().await, old, "the browser did not restart ICE");
    world.browser.assert_test_picture_is_live().await;
    let connected = world.browser.run("return pc.connectionState").await;
    assert_eq!(connected, "connected");
    let after = world.dashboard.new_state("the session", |state| state["viewers"]["count"] == 1).await;
    let since = |state: &Value| state["viewers"]["sessions"][0]["since"].clone();
    assert_eq!(since(&before), since(&after), "the session was replaced");
    assert_eq!(world.daemon.count("session ended"), 0);
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_cannot_be_used_leaves_the_running_session_alone() {
    let Some(mut world) = watching().await else { return };
    let offer = world.browser.run_async("return await window.offer()").await;
    let offer = offer.as_str().expect("text");
    // The same peer connection by its o= line, but with nothing that fits.
    for (sdp, code) in [
        (offer.replace("H264/90000", "H265/90000"), "no-h264"),
        (offer.replace("m=video", "m=audio"), "bad-offer"),
        (offer.replace("a=ice-pwd:", "a=ice-odd:"), "bad-offer"),
        (offer.replace("a=fingerprint:", "a=finger:"), "bad-offer"),
    ] {
        world.viewer.offer("raw", &sdp).await;
        world.viewer.refused(code).await;
    }
    world.browser.frames_advance(30).await;
    world.browser.assert_test_picture_is_live().await;
    world.dashboard.new_state("the session", |state| state["viewers"]["count"] == 1).await;
    assert_eq!(world.daemon.count("session ended"), 0);
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_vanishes_is_reaped_without_a_word() {
    let Some(mut world) = watching().await else { return };
    // kill -9, and the test's own MQTT client, which is the viewer to the broker, stays.
    drop(world.browser);
    let bye = world.viewer.expect("bye").await;
    assert_eq!(bye["session"], "raw", "{bye}");
    let ended = world.dashboard.event("the end", |event| event["type"] == "session-ended").await;
    assert!(ended["reason"].as_str().is_some_and(|reason| reason.contains("gone")), "{ended}");
    world.dashboard.viewers(0).await;
    world.dashboard.camera("idle").await;
    world.daemon.assert_unharmed();
    drop(world.broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_that_the_protocol_prints_shows_the_picture() {
    let library =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("viewer/node_modules/mqtt/dist/mqtt.min.js");
    let Ok(library) = std::fs::read_to_string(&library) else {
        eprintln!("SKIPPED: there is no {}; `make viewer` installs it", library.display());
        return;
    };
    let Some(broker) = Mosquitto::start_with(&Options { websocket: true, ..Options::default() }) else {
        return;
    };
    let Some(browser) = Browser::start().await else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()).value("video.linger_s", 1));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let text =
        doc("docs/protocol.md").replace("ws://BROKER:9001", &broker.ws_url()).replace("front-door", DEVICE);
    let [viewer] = &fenced(&text, "js")[..] else { panic!("one viewer is printed") };
    browser.open("about:blank").await;
    browser.run(PLAYER_PAGE).await;
    browser.run(&format!("{library}\nwindow.mqtt = mqtt; return 0;")).await;
    browser.run(&format!("const video = document.querySelector('video');\n{viewer}\nreturn 0;")).await;
    browser.frames_advance(20).await;
    browser.assert_test_picture_is_live().await;
    dashboard.viewers(1).await;
    // It says goodbye by its will.
    drop(browser);
    dashboard.viewers(0).await;
    daemon.assert_unharmed();
}
