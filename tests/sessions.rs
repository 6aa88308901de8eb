//! Sessions of the real daemon: shared encoder, cap, repetition, replacement, and every way to end.

mod support;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER, Viewer, offer_of};
use support::{PATIENCE, signal};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// A broker, a daemon that has come up, and its dashboard.
async fn world(settings: impl Fn(Settings) -> Settings) -> Option<(Mosquitto, Daemon, Dashboard)> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(settings(Settings::new(&broker.url()).value("video.linger_s", 1)));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    Some((broker, daemon, dashboard))
}

fn watch(broker: &Mosquitto, viewers: u32, seconds: u32) -> Child {
    let (url, viewers, seconds) = (broker.url(), viewers.to_string(), seconds.to_string());
    let arguments = [
        "watch",
        "--broker",
        &url,
        "--device",
        DEVICE,
        "--viewers",
        &viewers,
        "--seconds",
        &seconds,
        "--json",
    ];
    let mut command = Command::from(porthole(&arguments));
    command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("start porthole watch")
}

async fn report(watching: Child) -> Value {
    let output = watching.wait_with_output().await.expect("an end");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success(), "{report:#}");
    report
}

fn sessions(state: &Value) -> &[Value] {
    state["viewers"]["sessions"].as_array().map_or(&[], Vec::as_slice)
}

/// Every session has got something since the last look, and the path it takes is known.
fn all_flow(state: &Value) -> bool {
    sessions(state).iter().all(|session| session["bitrate"].as_f64().is_some_and(|rate| rate > 0.0))
        && sessions(state).iter().all(|session| session["path"].is_string() && session["rtt"].is_number())
}

fn ufrag(sdp: &Value) -> String {
    let line = sdp.as_str().and_then(|sdp| sdp.lines().find(|line| line.starts_with("a=ice-ufrag:")));
    line.expect("an ICE user name").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_viewers_share_one_encoder_which_stops_after_them() {
    let Some((broker, mut daemon, mut dashboard)) = world(|settings| settings).await else { return };
    dashboard.camera("idle").await;
    let watching = watch(&broker, 2, 8);
    let encodes = |state: &Value| state["encoder"]["bitrate"].as_u64().is_some_and(|bitrate| bitrate > 0);
    let fits = |state: &Value| sessions(state).len() == 2 && all_flow(state) && encodes(state);
    let state = dashboard.state("two viewers with video", fits).await;
    assert_eq!(state["camera"]["state"], "live", "{state:#}");
    for session in sessions(&state) {
        assert!(["host", "prflx"].contains(&session["path"].as_str().expect("a path")), "{session}");
        assert_eq!(session["protocol"], "udp", "{session}");
        assert!(session["first_frame"].is_number(), "{session}");
    }
    let report = report(watching).await;
    assert_eq!((&report["viewers"], &report["connected"]), (&json!(2), &json!(2)), "{report:#}");
    dashboard.viewers(0).await;
    let idle = dashboard.camera("idle").await;
    assert_eq!(idle["encoder"]["bitrate"], 0, "{idle:#}");
    assert_eq!(daemon.count("idle → starting"), 1, "the camera was started more than once");
    assert_eq!(daemon.count("starting → live"), 1, "the pipeline ran more than once");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_refuses_until_somebody_leaves() {
    let Some((broker, _daemon, mut dashboard)) = world(|settings| settings.value("viewers.max", 2)).await
    else {
        return;
    };
    let mut viewers = Vec::new();
    for id in ["first", "second", "third"] {
        viewers.push(Viewer::connect(broker.port(), id).await);
    }
    for viewer in &mut viewers[..2] {
        viewer.offer("s", OFFER).await;
        viewer.expect("answer").await;
    }
    viewers[2].offer("s", OFFER).await;
    let error = viewers[2].refused("busy").await;
    assert!(error["retryAfter"].as_u64().is_some_and(|seconds| seconds >= 1), "{error}");
    let event = dashboard.event("a refusal", |event| event["type"] == "session-refused").await;
    assert_eq!((&event["viewer"], &event["code"]), (&json!("third"), &json!("busy")), "{event}");
    viewers[0].say(json!({"type": "bye", "session": "s", "reason": "enough"})).await;
    let ended = dashboard.event("the first's end", |event| event["type"] == "session-ended").await;
    assert_eq!(ended["viewer"], "first", "{ended}");
    viewers[2].offer("s", OFFER).await;
    viewers[2].expect("answer").await;
    dashboard.viewers(2).await;
}

/// Dashboards count who came and who went: whoever came has to go.
#[tokio::test(flavor = "multi_thread")]
async fn an_odd_line_is_passed_over_and_whoever_came_goes() {
    let Some((broker, _daemon, mut dashboard)) = world(|settings| settings).await else { return };
    dashboard.camera("idle").await;
    let mut viewer = Viewer::connect(broker.port(), "odd").await;
    viewer.offer("s", &format!("{OFFER}x=1\r\n")).await;
    viewer.expect("answer").await;
    let of = |kind: &'static str| move |event: &Value| event["type"] == kind && event["viewer"] == "odd";
    dashboard.event("its start", of("session-started")).await;
    // What cannot be read leaves the session as it is; it ends when its viewer says so.
    viewer.offer("s", "v=0\r\n").await;
    viewer.refused("bad-offer").await;
    let refused = dashboard.event("its refusal", of("session-refused")).await;
    assert_eq!(refused["code"], "bad-offer", "{refused}");
    viewer.say(json!({"type": "bye", "session": "s"})).await;
    dashboard.event("its end", of("session-ended")).await;
    dashboard.viewers(0).await;
    viewer.offer("t", OFFER).await;
    viewer.expect("answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_is_killed_frees_its_session_through_its_will() {
    let Some((broker, daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let mut watching = watch(&broker, 1, 120);
    dashboard.state("a viewer with video", |state| sessions(state).len() == 1 && all_flow(state)).await;
    watching.kill().await.expect("kill -9");
    dashboard.viewers(0).await;
    let ended = dashboard.event("its end", |event| event["type"] == "session-ended").await;
    assert!(ended["reason"].as_str().is_some_and(|reason| reason.contains("vanished")), "{ended}");
    dashboard.camera("idle").await;
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_freezes_is_reaped() {
    let Some((broker, _daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let watching = watch(&broker, 1, 120);
    dashboard.state("a viewer with video", |state| sessions(state).len() == 1 && all_flow(state)).await;
    // Its connections stay open, and nothing comes over them any more.
    signal(watching.id().expect("a running viewer"), "-STOP");
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_never_connects_is_closed_with_a_bye() {
    let Some((broker, _daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "silent").await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    dashboard.viewers(1).await;
    let bye = viewer.expect("bye").await;
    assert_eq!(bye["session"], "s");
    assert!(bye["reason"].as_str().is_some_and(|reason| reason.contains("no connection")), "{bye}");
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_comes_first_and_the_end_of_candidates_last() {
    let Some((broker, _daemon, _dashboard)) = world(|settings| settings).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "small").await;
    // The smallest offer: exactly JSON.stringify(pc.localDescription).
    viewer.say(json!({"type": "offer", "sdp": OFFER})).await;
    let answer = viewer.next("the answer").await;
    assert_eq!((&answer["type"], &answer["session"]), (&json!("answer"), &json!("default")), "{answer}");
    let sdp = answer["sdp"].as_str().expect("text");
    assert!(sdp.contains("a=setup:active") && sdp.contains("packetization-mode=1"), "{sdp}");
    assert!(sdp.contains(" H264/90000") && !sdp.contains("VP8"), "{sdp}");
    assert!(sdp.contains("a=sendonly"), "{sdp}");
    let mut candidates = 0;
    loop {
        let message = viewer.next("a candidate").await;
        assert_eq!(
            (&message["type"], &message["session"]),
            (&json!("candidate"), &json!("default")),
            "{message}"
        );
        if message["candidate"].is_null() {
            break;
        }
        assert!(
            message["candidate"]["candidate"].as_str().is_some_and(|text| text.contains(" typ ")),
            "{message}"
        );
        candidates += 1;
    }
    assert!(candidates > 0, "no candidate before the end of candidates");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_answer_holds_the_candidates() {
    let Some((broker, _daemon, _dashboard)) = world(|settings| settings).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "full").await;
    viewer.say(json!({"type": "offer", "session": "s", "sdp": OFFER, "ice": "full"})).await;
    let answer = viewer.expect("answer").await;
    let sdp = answer["sdp"].as_str().expect("text");
    assert!(sdp.contains("a=candidate:"), "{sdp}");
    assert!(sdp.contains("a=end-of-candidates"), "{sdp}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_offer_gives_the_same_answer_and_another_one_starts_anew() {
    let Some((broker, _daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "twice").await;
    viewer.offer("s", OFFER).await;
    let first = viewer.expect("answer").await;
    viewer.offer("s", OFFER).await;
    let again = viewer.expect("answer").await;
    assert_eq!(first["sdp"], again["sdp"]);
    let before = dashboard.viewers(1).await;
    // A page that was loaded again: the same names, but another peer connection.
    viewer.offer("s", &offer_of(4711)).await;
    let anew = viewer.expect("answer").await;
    assert_ne!(ufrag(&first["sdp"]), ufrag(&anew["sdp"]));
    let ended = dashboard.event("the end of the first", |event| event["type"] == "session-ended").await;
    assert!(ended["reason"].as_str().is_some_and(|reason| reason.contains("anew")), "{ended}");
    let after = dashboard.new_state("one session", |state| sessions(state).len() == 1).await;
    assert_ne!(sessions(&before)[0]["since"], sessions(&after)[0]["since"]);
    // A viewer makes one connection after the other, and this one has not come about.
    viewer.offer("t", OFFER).await;
    let refused = viewer.refused("rate-limited").await;
    assert_eq!((&refused["session"], refused["retryAfter"].is_number()), (&json!("t"), true), "{refused}");
    dashboard.viewers(1).await;
}

/// An address of this machine that the daemon can send to.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    match socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)) {
        Ok(()) => socket.local_addr().expect("an address").ip(),
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_that_come_before_their_offer_are_used() {
    let Some((broker, _daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let socket = tokio::net::UdpSocket::bind((own_address(), 0)).await.expect("a socket");
    let address = socket.local_addr().expect("an address");
    let mut viewer = Viewer::connect(broker.port(), "early").await;
    let candidate = format!("candidate:1 1 udp 2122194687 {} {} typ host", address.ip(), address.port());
    let candidate = json!({"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0});
    viewer.say(json!({"type": "candidate", "session": "s", "candidate": candidate})).await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    // The daemon asks whether the candidate's address really is the viewer: STUN, with both user names.
    let mut packet = [0; 1500];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut packet)).await;
    let length = received.expect("a connectivity check").expect("a packet");
    assert_eq!(packet[..2], [0, 1], "no binding request");
    assert_eq!(packet[4..8], [0x21, 0x12, 0xa4, 0x42], "no STUN");
    let text = String::from_utf8_lossy(&packet[..length]).into_owned();
    assert!(text.contains("mhyC:"), "the check does not name the offer's user");
    dashboard.viewers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_viewers_that_have_left_is_given_back() {
    let settings = |settings: Settings| settings.value("viewers.max", 60).value("video.linger_s", 300);
    let Some((broker, daemon, mut dashboard)) = world(settings).await else { return };
    // Camera and encoder stay after the first one.
    report(watch(&broker, 1, 2)).await;
    let before = daemon.usage().rss_kib;
    let watching = watch(&broker, 60, 4);
    dashboard.new_state("sixty viewers", |state| sessions(state).len() == 60 && all_flow(state)).await;
    let with = daemon.usage().rss_kib;
    report(watching).await;
    let half = before + (with - before) / 2;
    let fell = timeout(PATIENCE, async {
        while daemon.usage().rss_kib > half {
            sleep(Duration::from_millis(200)).await;
        }
    });
    let fell = fell.await.is_ok();
    let after = daemon.usage().rss_kib;
    eprintln!("{before} KiB before sixty viewers, {with} with them, {after} afterwards");
    assert!(fell, "{before} KiB before sixty viewers, {with} with them, and still {after} afterwards");
}
