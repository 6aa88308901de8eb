//! Every error code of the protocol that is not about access, provoked; and what is refused changes nothing.

mod support;

use std::net::{Ipv4Addr, UdpSocket};

use serde_json::{Value, json};
use support::daemon::{DEVICE, Daemon, Settings, porthole, without_plugins};
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER, Viewer, offer_of};

async fn world(settings: impl Fn(Settings) -> Settings) -> Option<(Mosquitto, Daemon, Dashboard)> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(settings(Settings::new(&broker.url()).value("video.linger_s", 1)));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    Some((broker, daemon, dashboard))
}

/// Messages that are refused, and with which code.
fn refused() -> Vec<(Vec<u8>, &'static str)> {
    let message = |value: Value| value.to_string().into_bytes();
    let offer = |sdp: &str| json!({"type": "offer", "session": "s", "sdp": sdp}).to_string().into_bytes();
    vec![
        (b"hello".to_vec(), "bad-message"),
        (Vec::new(), "bad-message"),
        (message(json!([1, 2])), "bad-message"),
        (message(json!({"type": "greeting"})), "bad-message"),
        (message(json!({"type": "offer", "session": "s"})), "bad-message"),
        (message(json!({"type": "offer", "session": "a/b", "sdp": OFFER})), "bad-message"),
        (
            message(json!({"type": "offer", "session": "s", "sdp": OFFER, "pad": "x".repeat(70_000)})),
            "too-large",
        ),
        (message(json!({"type": "offer", "session": "s", "sdp": OFFER, "v": 2})), "unsupported-version"),
        (offer("this is no SDP"), "bad-offer"),
        (offer("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"), "bad-offer"),
        (offer(&OFFER.replace("m=video", "m=audio")), "bad-offer"),
        (offer(&OFFER.replace("a=recvonly", "a=sendonly")), "bad-offer"),
        (offer(&OFFER.replace("a=fingerprint:", "a=x-fingerprint:")), "bad-offer"),
        (offer(&OFFER.replace("H264/90000", "VP8/90000")), "no-h264"),
        (offer(&OFFER.replace("packetization-mode=1", "packetization-mode=0")), "no-h264"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    let Some((broker, mut daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let (url, seconds) = (broker.url(), "20");
    let arguments = ["watch", "--broker", &url, "--device", DEVICE, "--seconds", seconds, "--json"];
    let watching = tokio::process::Command::from(porthole(&arguments)).kill_on_drop(true).output();
    let watching = tokio::spawn(watching);
    let flows =
        |state: &Value| state["viewers"]["sessions"][0]["bitrate"].as_f64().is_some_and(|rate| rate > 0.0);
    let before = dashboard.state("a viewer with video", flows).await;
    let usage = daemon.usage();

    let mut viewer = Viewer::connect(broker.port(), "bad").await;
    for (payload, code) in refused() {
        viewer.raw(payload).await;
        viewer.refused(code).await;
    }
    // No code is given twice, none is left out: the next reply is that to the next offer.
    let after = dashboard.new_state("the same viewer", flows).await;
    assert_eq!(after["viewers"]["count"], 1, "{after:#}");
    assert_eq!(before["viewers"]["sessions"][0]["since"], after["viewers"]["sessions"][0]["since"]);
    let now = daemon.usage();
    assert!(now.files <= usage.files && now.threads <= usage.threads + 1, "{usage:?} became {now:?}");
    let output = watching.await.expect("a task").expect("an end");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["errors"], json!([]), "{report:#}");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_without_an_offer_is_told_that_there_is_no_session() {
    let Some((broker, mut daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "lonely").await;
    let candidate = json!({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"});
    viewer.say(json!({"type": "candidate", "session": "s", "candidate": candidate})).await;
    let error = viewer.refused("no-session").await;
    assert_eq!(error["session"], "s", "{error}");
    let state = dashboard.new_state("a state", |_| true).await;
    assert_eq!(
        (&state["viewers"]["count"], &state["camera"]["state"]),
        (&json!(0), &json!("idle")),
        "{state:#}"
    );
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_offers_are_slowed_down() {
    let Some((broker, mut daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "eager").await;
    for _ in 0..60 {
        viewer.offer("s", OFFER).await;
    }
    let (mut answers, mut slowed) = (0, 0);
    for _ in 0..60 {
        let reply = viewer.reply("60 replies").await;
        if reply["type"] == "answer" {
            answers += 1;
        } else {
            assert_eq!(reply["code"], "rate-limited", "{reply}");
            assert!(reply["retryAfter"].as_u64().is_some_and(|seconds| seconds >= 1), "{reply}");
            slowed += 1;
        }
    }
    assert!(answers >= 20 && slowed >= 1, "{answers} answers, {slowed} slowed down");
    // Somebody else is served all the same.
    let mut other = Viewer::connect(broker.port(), "patient").await;
    other.offer("s", OFFER).await;
    other.expect("answer").await;
    dashboard.viewers(2).await;
    daemon.assert_unharmed();
}

fn missing(settings: Settings) -> Settings {
    settings.text("camera.device", "/dev/video99")
}

/// Whoever watches sees words instead; for programs it is lost all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_camera_is_said_in_the_picture_until_the_privacy_switch_ends_it() {
    let Some((broker, mut daemon, mut dashboard)) = world(missing).await else { return };
    dashboard.camera("lost").await;
    let url = broker.url();
    let arguments = ["watch", "--broker", &url, "--device", DEVICE, "--seconds", "4", "--json"];
    let watched = tokio::process::Command::from(porthole(&arguments)).output().await.expect("porthole watch");
    let report: Value = serde_json::from_slice(&watched.stdout).expect("a report");
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 4), "{report:#}");
    assert_eq!((&report["connected"], &report["errors"]), (&json!(1), &json!([])), "{report:#}");

    let snapshot = dashboard.ask("do/snapshot", "").await;
    assert_eq!(snapshot["ok"], false, "words are no picture of the camera: {snapshot}");
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    let state = dashboard.viewers(1).await;
    assert_eq!(
        (&state["camera"]["state"], &state["encoder"]["bitrate"]),
        (&json!("lost"), &json!(0)),
        "{state:#}"
    );
    assert_eq!(dashboard.ask("set/streaming", "OFF").await["ok"], true);
    let bye = viewer.expect("bye").await;
    assert!(bye["reason"].as_str().is_some_and(|reason| reason.contains("privacy")), "{bye}");
    dashboard.viewers(0).await;
    daemon.assert_unharmed();
}

/// No encoder, so nothing can be shown at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_camera_is_unavailable_where_no_words_can_be_shown() {
    let Some(broker) = Mosquitto::start() else { return };
    let nothing = tempfile::tempdir().expect("a folder");
    let environment = without_plugins(nothing.path());
    let mut daemon = Daemon::run_with(missing(Settings::new(&broker.url())), environment);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.camera("lost").await;
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.offer("s", OFFER).await;
    let error = viewer.refused("camera-unavailable").await;
    assert!(error["message"].as_str().is_some_and(|text| text.contains("/dev/video99")), "{error}");
    assert!(error["retryAfter"].is_number(), "{error}");
    dashboard.viewers(0).await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_privacy_switch_nobody_watches() {
    let Some((broker, mut daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    assert_eq!(dashboard.ask("set/streaming", "OFF").await["ok"], true);
    viewer.expect("bye").await;
    viewer.offer("s", &offer_of(2)).await;
    viewer.refused("privacy").await;
    let state = dashboard.camera("off").await;
    assert_eq!(state["streaming"], "OFF", "{state:#}");
    assert_eq!(dashboard.ask("set/streaming", "ON").await["ok"], true);
    viewer.offer("s", &offer_of(3)).await;
    viewer.expect("answer").await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_free_port_is_the_devices_own_trouble() {
    let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    let port = holder.local_addr().expect("an address").port();
    let one = |settings: Settings| settings.text("ice.port_range", format!("{port}-{port}"));
    let Some((broker, mut daemon, mut dashboard)) = world(one).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.offer("s", OFFER).await;
    let error = viewer.refused("internal").await;
    assert!(error["message"].as_str().is_some_and(|text| text.contains("ice.port_range")), "{error}");
    dashboard.viewers(0).await;
    // The port is free again: the same daemon serves.
    drop(holder);
    viewer.say(json!({"type": "offer", "session": "s", "sdp": OFFER, "ice": "full"})).await;
    let answer = viewer.expect("answer").await;
    let candidates: Vec<&str> = answer["sdp"]
        .as_str()
        .expect("text")
        .lines()
        .filter(|line| line.starts_with("a=candidate:"))
        .collect();
    assert!(
        !candidates.is_empty() && candidates.iter().all(|line| line.contains(&format!(" {port} typ "))),
        "{candidates:#?}"
    );
    daemon.assert_unharmed();
}
