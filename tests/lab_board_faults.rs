//! Each way in which a board's encoder fails, in the lab machine: another encoder takes over, and viewers stay on the same session.
//!
//! The encoder is a kernel module behind GStreamer's own `v4l2h264enc` (tests/lab/guest/board); its parameters make it fail. That another
//! one takes over within 3 s is held where the decision is made (`media::life`); an emulated machine beside other work can only print it.

mod support;

use std::time::Instant;

use serde_json::{Value, json};
use support::board::{BOARD, NEXT, assert_sound_driver, doctor, encodes_with, log, restarts, settings};
use support::lab::{HOST, Lab, in_namespace};
use support::viewer::Dashboard;
use support::watcher::Watcher;

/// A fault, and what is said of it.
struct Fault {
    /// As `board set` takes it.
    set: &'static str,
    /// What the daemon's log says of the encoder.
    logged: &'static str,
    /// What doctor says, for two of them: it takes an emulated machine most of a minute.
    found: Option<&'static str>,
}

const WHILE_IT_RUNS: [Fault; 4] = [
    Fault { set: "hang_after=5", logged: "it gave no whole picture for", found: None },
    Fault {
        set: "fail_after=5",
        logged: "it gave no whole picture for",
        found: Some("pictures were damaged"),
    },
    Fault { set: "eio_after=5", logged: "v4l2h264enc", found: None },
    Fault {
        set: "ignore_key=1",
        logged: "it gives no key frame when asked for one",
        found: Some("it gives no key frame when asked for one"),
    },
];

#[test]
#[ignore = "minutes of an emulated machine: `make test-long` runs it"]
fn each_fault_of_the_boards_encoder_ends_in_another_one_while_viewers_stay() {
    if !in_namespace("each_fault_of_the_boards_encoder_ends_in_another_one_while_viewers_stay") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["camera", "on"]);
        lab.run("board on");
        lab.start_broker();
        lab.configure(&settings());
        lab.run("systemctl restart porthole");
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        dashboard.availability("online").await;
        dashboard.state("the board's encoder", encodes_with(BOARD)).await;
        what_can_be_borne_is_borne(&lab, &mut dashboard).await;
        for fault in &WHILE_IT_RUNS {
            it_fails_while_it_runs(&lab, &mut dashboard, fault).await;
        }
        it_does_not_start(&lab, &mut dashboard, "no_memory", "board set no_memory=1").await;
        lab.run("board set no_memory=0");
        let held = "board set single=1 && systemd-run -q --unit=holder -E HOME=/root gst-launch-1.0 -q videotestsrc is-live=true ! \
                    video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! v4l2h264enc ! \
                    'video/x-h264,level=(string)4' ! fakesink && \
                    timeout 30 sh -c 'n=$(cat /sys/module/lab_encoder/parameters/pictures); \
                    while [ $n = $(cat /sys/module/lab_encoder/parameters/pictures) ]; do sleep 0.1; done'";
        it_does_not_start(&lab, &mut dashboard, "single", held).await;
        lab.run("systemctl stop holder");
        it_refuses_slow_cameras(&lab, &mut dashboard).await;
        assert_sound_driver(&lab);
    });
}

/// Three pictures kept back, and parameter sets only before the first key frame.
async fn what_can_be_borne_is_borne(lab: &Lab, dashboard: &mut Dashboard) {
    lab.run("board set latency=3 headers_once=1");
    let first = Watcher::join("first").await;
    first.shows(10, "of an encoder that keeps three back").await;
    // Whoever comes later needs a later key frame, with parameter sets.
    let later = Watcher::join("later").await;
    later.shows(10, "of an encoder that sends parameter sets but once").await;
    for viewer in [first, later] {
        viewer.assert_well("what can be borne");
        viewer.leave().await;
    }
    let state = dashboard.viewers(0).await;
    assert_eq!((&state["encoder"]["name"], restarts(lab)), (&json!(BOARD), 0), "{state:#}");
    dashboard.camera("idle").await;
}

/// The daemon, which gives up an encoder until it starts again, and a driver without faults.
async fn start_afresh(lab: &Lab, dashboard: &mut Dashboard) {
    lab.run("systemctl stop porthole && board off && board on");
    dashboard.availability("offline").await;
    lab.run("systemctl start porthole");
    dashboard.availability("online").await;
    dashboard.new_state("the board's encoder", encodes_with(BOARD)).await;
}

/// Both viewers stay: the one who has seen pictures, and the one who waited for the first when it failed.
async fn assert_stayed(dashboard: &mut Dashboard, fault: &str, since: Instant, viewers: [Watcher; 2]) {
    for viewer in viewers {
        viewer.shows(5, &format!("of another encoder after {fault}")).await;
        viewer.assert_well(fault);
        let (gap, first) = (viewer.longest_gap(since), viewer.first_picture_after());
        eprintln!("{fault}: no picture for {gap:.1?} at most, the first one after {first:.1?}");
        viewer.leave().await;
    }
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}

/// That the daemon says what it did, in `state` and in its log.
async fn assert_replaced(lab: &Lab, dashboard: &mut Dashboard, fault: &str, reason: &str) {
    let state = dashboard.state(&format!("another encoder after {fault}"), encodes_with(NEXT)).await;
    assert_eq!(state["encoder"]["kind"], "software", "{fault}: {state:#}");
    let changed = |event: &Value| event["type"] == "encoder-changed" && event["to"]["name"] == NEXT;
    dashboard.event("another encoder", changed).await;
    let log = log(lab);
    let given_up = log.lines().find(|line| line.contains("encoder given up")).unwrap_or_default();
    assert!(given_up.contains(BOARD) && given_up.contains(reason), "{fault}: {log}");
    assert!(log.contains(&format!("encoder chosen encoder=\"{NEXT}\"")), "{fault}: {log}");
}

async fn it_fails_while_it_runs(lab: &Lab, dashboard: &mut Dashboard, fault: &Fault) {
    start_afresh(lab, dashboard).await;
    let first = Watcher::join("first").await;
    first.shows(3, "of the board's encoder").await;
    let since = Instant::now();
    lab.run(&format!("board set {}", fault.set));
    // A second viewer needs a key frame.
    let second = Watcher::join("second").await;
    assert_replaced(lab, dashboard, fault.set, fault.logged).await;
    assert_stayed(dashboard, fault.set, since, [first, second]).await;
    if let Some(words) = fault.found {
        let found = doctor(lab, BOARD);
        assert_eq!(found["figures"]["used"], false, "{}: {found:#}", fault.set);
        assert!(found.to_string().contains(words), "{}: {found:#}", fault.set);
    }
}

/// It has worked when the daemon tried it.
async fn it_does_not_start(lab: &Lab, dashboard: &mut Dashboard, fault: &str, command: &str) {
    start_afresh(lab, dashboard).await;
    lab.run(command);
    let since = Instant::now();
    let both = tokio::join!(Watcher::join("first"), Watcher::join("second"));
    assert_replaced(lab, dashboard, fault, "").await;
    assert_stayed(dashboard, fault, since, [both.0, both.1]).await;
}

/// A camera with five pictures a second: whichever encoder takes it, it is seen.
async fn it_refuses_slow_cameras(lab: &Lab, dashboard: &mut Dashboard) {
    lab.run("systemctl stop porthole && board off && board on min_rate=8");
    dashboard.availability("offline").await;
    lab.configure(&settings().value("camera.fps", 5));
    lab.run("systemctl start porthole");
    dashboard.availability("online").await;
    let state = dashboard.new_state("an encoder", |state| state["encoder"].is_object()).await;
    eprintln!("min_rate: {} takes a camera with five pictures a second", state["encoder"]["name"]);
    let viewer = Watcher::join("slow").await;
    viewer.shows(5, "of a slow camera").await;
    viewer.assert_well("min_rate");
    viewer.leave().await;
    assert_eq!(restarts(lab), 0, "{}", log(lab));
    dashboard.viewers(0).await;
}
