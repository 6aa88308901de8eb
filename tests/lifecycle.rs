//! The daemon's life: start, what it says of itself, what it is asked, and its end.

mod support;

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::{Value, json};
use support::certificates::Certificates;
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::mosquitto::{Mosquitto, Options};
use support::viewer::{Dashboard, OFFER, Viewer, offer_of};
use tokio::process::{Child, Command};

async fn world() -> Option<(Mosquitto, Daemon, Dashboard)> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(Settings::new(&broker.url()).value("video.linger_s", 1));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    Some((broker, daemon, dashboard))
}

/// A viewer with video, until it is dropped.
async fn watching(broker: &Mosquitto, dashboard: &mut Dashboard) -> Child {
    let url = broker.url();
    let mut command = Command::from(porthole(&[
        "watch",
        "--broker",
        &url,
        "--device",
        DEVICE,
        "--seconds",
        "120",
        "--json",
    ]));
    let child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("start porthole watch");
    let flows = |state: &Value| {
        let session = &state["viewers"]["sessions"][0];
        session["bitrate"].as_f64().is_some_and(|rate| rate > 0.0) && session["rtt"].is_number()
    };
    dashboard.state("a viewer with video", flows).await;
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_tells_the_viewers_and_the_broker() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    let watching = watching(&broker, &mut dashboard).await;
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    let status = daemon.terminate().await;
    assert_eq!(status.code(), Some(0));
    let bye = viewer.expect("bye").await;
    assert!(bye["reason"].as_str().is_some_and(|reason| reason.contains("stops")), "{bye}");
    dashboard.availability("offline").await;
    let mut late = Dashboard::connect(broker.port()).await;
    late.availability("offline").await;
    assert!(late.retained, "offline is not kept for those who come later");
    // It said goodbye to the broker instead of just going.
    assert!(broker.log().contains(&format!("Client {DEVICE} disconnected.")), "no goodbye");
    let report = watching.wait_with_output().await.expect("an end");
    let report: Value = serde_json::from_slice(&report.stdout).expect("a report");
    assert_eq!(report["connected"], 1, "{report:#}");
    let log = daemon.log();
    assert!(log.contains("stopped") && !log.contains("did not"), "it did not drain in time");
    assert!(!log.contains("ERROR"), "an orderly stop is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_every_session_is_told_to_have_ended_before_offline() {
    const VIEWERS: usize = 12;
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()).value("viewers.max", VIEWERS));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let mut viewers = Vec::new();
    for n in 0..VIEWERS {
        let mut viewer = Viewer::connect(broker.port(), &format!("viewer-{n}")).await;
        viewer.offer("s", OFFER).await;
        viewer.expect("answer").await;
        viewers.push(viewer);
    }
    let leaves = ["event", "availability"].map(|leaf| format!("porthole/{DEVICE}/{leaf}"));
    let mut listener = Client::connect(broker.port(), "listener", &leaves).await;
    assert_eq!(daemon.terminate().await.code(), Some(0));
    let mut ended = BTreeSet::new();
    loop {
        let message = listener.next("the end of the daemon").await;
        if message.topic.ends_with("/availability") {
            // What is kept comes first: `online`.
            if message.text() == "offline" {
                break;
            }
        } else if message.json()["type"] == "session-ended" {
            ended.insert(message.json()["viewer"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(ended.len(), VIEWERS, "{ended:?}");
    assert!(!daemon.log().contains("did not end in time"), "it did not drain in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_the_will_says_offline() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    daemon.kill();
    dashboard.availability("offline").await;
    let mut late = Dashboard::connect(broker.port()).await;
    late.availability("offline").await;
    assert!(late.retained, "the will is not kept for those who come later");
    daemon.start_again();
    dashboard.availability("online").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_before_its_broker() {
    let Some(mut broker) = Mosquitto::start() else { return };
    broker.kill();
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    daemon.logged("no connection to the broker").await;
    broker.start_again();
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    // SIGTERM also ends one that has no broker.
    broker.kill();
    assert_eq!(daemon.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_before_its_camera() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()).text("camera.device", "/dev/video99"));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let state = dashboard.camera("lost").await;
    assert!(
        state["camera"]["error"].as_str().is_some_and(|error| error.contains("/dev/video99")),
        "{state:#}"
    );
    daemon.assert_unharmed();
    assert_eq!(daemon.terminate().await.code(), Some(0));
}

/// The keys and types of a document: `s` text, `n` number, `b` bool, `o` object, `a` list, `0` null.
fn assert_shape(document: &Value, shape: &[(&str, &str)]) {
    for (pointer, types) in shape {
        let value = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing: {document:#}"));
        let is = match value {
            Value::String(_) => 's',
            Value::Number(_) => 'n',
            Value::Bool(_) => 'b',
            Value::Object(_) => 'o',
            Value::Array(_) => 'a',
            Value::Null => '0',
        };
        assert!(types.contains(is), "{pointer} is {value}, not one of {types:?}: {document:#}");
    }
}

const INFO: &[(&str, &str)] = &[
    ("/v", "n"),
    ("/device", "s"),
    ("/name", "s"),
    ("/version", "s"),
    ("/model", "s"),
    ("/key", "s0"),
    ("/camera", "o0"),
    ("/controls", "a"),
    ("/codecs", "a"),
    ("/codecs/0", "s"),
    ("/audio", "b"),
    ("/access", "s"),
    ("/features", "a"),
    ("/whep", "s0"),
    ("/root", "s"),
];

const STATE: &[(&str, &str)] = &[
    ("/v", "n"),
    ("/time", "s"),
    ("/uptime", "n"),
    ("/streaming", "s"),
    ("/camera/state", "s"),
    ("/camera/device", "s0"),
    ("/camera/width", "n"),
    ("/camera/height", "n"),
    ("/camera/fps", "n"),
    ("/camera/error", "s0"),
    ("/camera/since", "s"),
    ("/encoder/name", "s"),
    ("/encoder/kind", "s"),
    ("/encoder/bitrate", "n"),
    ("/encoder/target", "n"),
    ("/encoder/keyframes", "n"),
    ("/viewers/count", "n"),
    ("/viewers/max", "n"),
    ("/viewers/sessions", "a"),
    ("/latency", "o"),
    ("/latency/encode", "o0"),
    ("/latency/send", "o0"),
    ("/controls", "o"),
    ("/system/cpu", "n"),
    ("/system/rss", "n"),
    ("/system/temperature", "n0"),
];

const LIVE: &[(&str, &str)] = &[
    ("/latency/encode/p50", "n"),
    ("/latency/encode/p95", "n"),
    ("/latency/send/p50", "n"),
    ("/latency/send/p95", "n"),
    ("/viewers/sessions/0/viewer", "s"),
    ("/viewers/sessions/0/session", "s"),
    ("/viewers/sessions/0/grant", "s0"),
    ("/viewers/sessions/0/since", "s"),
    ("/viewers/sessions/0/path", "s"),
    ("/viewers/sessions/0/protocol", "s"),
    ("/viewers/sessions/0/rtt", "n"),
    ("/viewers/sessions/0/loss", "n"),
    ("/viewers/sessions/0/bitrate", "n"),
    ("/viewers/sessions/0/first_frame", "n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn info_state_and_event_are_as_documented() {
    let Some((broker, _daemon, mut dashboard)) = world().await else { return };
    let info = dashboard.info("info", |_| true).await;
    assert_shape(&info, INFO);
    assert_eq!(
        (&info["device"], &info["name"], &info["root"]),
        (&json!("cam"), &json!("Test camera"), &json!("porthole"))
    );
    assert_eq!((&info["access"], &info["v"]), (&json!("open"), &json!(1)), "{info:#}");
    let idle = dashboard.state("an encoder", |state| state["encoder"].is_object()).await;
    assert_shape(&idle, STATE);
    let watching = watching(&broker, &mut dashboard).await;
    let live = dashboard.state("latencies", |state| state["latency"]["encode"].is_object()).await;
    assert_shape(&live, STATE);
    assert_shape(&live, LIVE);
    assert_eq!((&live["camera"]["width"], &live["camera"]["height"]), (&json!(640), &json!(480)), "{live:#}");
    let started = dashboard.event("the start", |event| event["type"] == "session-started").await;
    let who = [("/v", "n"), ("/time", "s"), ("/viewer", "s"), ("/session", "s"), ("/grant", "s0")];
    assert_shape(&started, &who);
    drop(watching);
    let ended = dashboard.event("the end", |event| event["type"] == "session-ended").await;
    assert_shape(&ended, &who);
    assert_shape(&ended, &[("/reason", "s"), ("/address", "s0")]);
    // Whoever comes later is told the latest at once.
    let mut late = Dashboard::connect(broker.port()).await;
    late.info("info", |_| true).await;
    assert!(late.retained, "info is not retained");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_privacy_switch_survives_a_restart() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    let event = dashboard.ask("set/streaming", "OFF").await;
    assert_eq!((&event["ok"], &event["error"]), (&json!(true), &Value::Null), "{event}");
    for life in ["ended in order", "killed"] {
        if life == "killed" {
            daemon.kill();
        } else {
            assert_eq!(daemon.terminate().await.code(), Some(0));
        }
        dashboard.availability("offline").await;
        daemon.start_again();
        dashboard.availability("online").await;
        let state = dashboard.new_state("the switch", |_| true).await;
        assert_eq!(
            (&state["streaming"], &state["camera"]["state"]),
            (&json!("OFF"), &json!("off")),
            "{state:#}"
        );
        let mut viewer = Viewer::connect(broker.port(), "viewer").await;
        viewer.offer("s", OFFER).await;
        viewer.refused("privacy").await;
        dashboard.ask("do/warm", "").await;
    }
    dashboard.new_state("a camera that stays off", |state| state["camera"]["state"] == "off").await;
    assert_eq!(daemon.count("→ live"), 0, "the camera ran behind the privacy switch");
    assert_eq!(dashboard.ask("set/streaming", "ON").await["ok"], true);
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.offer("s", offer_of(2).as_str()).await;
    viewer.expect("answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dashboard_asks_is_done_and_confirmed() {
    let Some((broker, daemon, mut dashboard)) = world().await else { return };
    dashboard.camera("idle").await;
    let event = dashboard.ask("do/warm", json!({"seconds": 3600, "id": 7}).to_string()).await;
    assert_eq!((&event["ok"], &event["id"]), (&json!(true), &json!(7)), "{event}");
    let live = dashboard.camera("live").await;
    assert_eq!(live["viewers"]["count"], 0, "{live:#}");

    let frames = dashboard.new_state("key frames", |state| state["encoder"]["keyframes"].is_u64()).await;
    let before = frames["encoder"]["keyframes"].as_u64().expect("a number");
    assert_eq!(dashboard.ask("do/keyframe", "").await["ok"], true);
    dashboard.state("another key frame", |state| state["encoder"]["keyframes"].as_u64() > Some(before)).await;

    let runs = daemon.count("→ live");
    assert_eq!(dashboard.ask("do/restart", "").await["ok"], true);
    daemon.find("a second run", |log| (log.matches("→ live").count() > runs).then_some(())).await;
    dashboard.camera("live").await;

    let mut viewers = Vec::new();
    for (id, session) in [("one", "a"), ("one", "b"), ("two", "a"), ("three", "c")] {
        let mut viewer = Viewer::connect(broker.port(), &format!("{id}-{session}")).await;
        viewer.offer(session, OFFER).await;
        viewer.expect("answer").await;
        viewers.push(viewer);
    }
    for (wanted, payload, left) in [
        ("one-b", json!({"viewer": "one-b"}).to_string(), 3),
        ("three-c", json!({"session": "c"}).to_string(), 2),
        ("one-a", json!({"viewer": "one-a", "session": "a"}).to_string(), 1),
        ("two-a", String::new(), 0),
    ] {
        assert_eq!(dashboard.ask("do/close", payload).await["ok"], true);
        let at = viewers.iter().position(|viewer| viewer.id == wanted).expect("a viewer");
        let bye = viewers[at].expect("bye").await;
        assert!(bye["reason"].as_str().is_some_and(|reason| reason.contains("dashboard")), "{bye}");
        dashboard.viewers(left).await;
    }
    let event = dashboard.ask("do/dance", "").await;
    assert_eq!(event["ok"], false, "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_connection_to_the_broker() {
    let certificates = Certificates::new();
    let options = Options {
        websocket: true,
        tls: Some(&certificates),
        client_certificates: true,
        ..Options::default()
    };
    let Some(broker) = Mosquitto::start_with(&options) else { return };
    for url in [broker.mqtts_url(), broker.wss_url(), broker.ws_url(), broker.url()] {
        let mut settings = Settings::new(&url);
        if url.starts_with("mqtts") || url.starts_with("wss") {
            settings = settings
                .path("mqtt.ca_file", &certificates.path("ca.pem"))
                .path("mqtt.client_cert_file", &certificates.path("client.pem"))
                .path("mqtt.client_key_file", &certificates.path("client.key"));
        }
        let mut daemon = Daemon::run(settings);
        let mut dashboard = Dashboard::connect(broker.port()).await;
        dashboard.availability("online").await;
        let mut viewer = Viewer::connect(broker.port(), "viewer").await;
        viewer.offer("s", OFFER).await;
        viewer.expect("answer").await;
        assert_eq!(daemon.terminate().await.code(), Some(0), "{url}");
        dashboard.availability("offline").await;
    }
    // Without its certificate it is not let in, says so, and goes on trying.
    let settings = Settings::new(&broker.mqtts_url()).path("mqtt.ca_file", &certificates.path("ca.pem"));
    let mut daemon = Daemon::run(settings);
    daemon.logged("no connection to the broker").await;
    assert!(daemon.is_running());
    assert_eq!(daemon.count("connected to the broker"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_the_broker() {
    let Some(broker) = Mosquitto::start_with(&Options { users: &[("cam", "secret")], ..Options::default() })
    else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    for (password, expected) in
        [("secret\n", "connected to the broker"), ("wrong", "no connection to the broker")]
    {
        std::fs::write(&file, password).expect("write the password");
        let settings =
            Settings::new(&broker.url()).text("mqtt.username", "cam").path("mqtt.password_file", &file);
        let mut daemon = Daemon::run(settings);
        daemon.logged(expected).await;
        assert!(daemon.is_running());
        assert!(!daemon.log().contains("secret"), "the password is in the log");
        assert_eq!(daemon.terminate().await.code(), Some(0));
    }
}
