//! A board's encoder in the lab machine: GStreamer's own `v4l2h264enc` on a driver like the Raspberry Pi's (tests/lab/guest/board).
//!
//! Chosen by itself, seen in a browser, obeying; two streams of it, and pictures that reach it without a copy.

mod support;

use serde_json::{Value, json};
use support::board::{
    BOARD, NEXT, assert_sound_driver, doctor, driver, encodes_with, log, restarts, settings,
};
use support::browser::Browser;
use support::daemon::DEVICE;
use support::lab::{GUEST, HOST, Lab, assert_colour_bars_in_motion, in_namespace, watch};
use support::relay::{CLEAN, Link};
use support::remote::Remote;
use support::viewer::{Dashboard, Viewer};

fn encoded_kbps(state: &Value) -> f64 {
    state["encoder"]["bitrate"].as_f64().unwrap_or_default() / 1000.0
}

#[test]
fn the_boards_encoder_is_taken_and_obeys() {
    if !in_namespace("the_boards_encoder_is_taken_and_obeys") {
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
        it_is_chosen(&lab, &mut dashboard).await;
        it_is_watched_and_obeys(&lab, &mut dashboard).await;
        assert_sound_driver(&lab);
    });
}

async fn it_is_chosen(lab: &Lab, dashboard: &mut Dashboard) {
    let idle = dashboard.state("the board's encoder", encodes_with(BOARD)).await;
    assert_eq!(idle["encoder"]["kind"], "hardware", "{idle:#}");
    let found = doctor(lab, BOARD);
    assert_eq!(found["figures"]["used"], true, "{found:#}");
}

async fn it_is_watched_and_obeys(lab: &Lab, dashboard: &mut Dashboard) {
    let watching = tokio::spawn(watch(30));
    dashboard.camera("live").await;
    let browser = Browser::start().await;
    if let Some(browser) = &browser {
        browser.open(&format!("http://{GUEST}:8080/#broker=ws://{HOST}:9001&device={DEVICE}")).await;
        browser.phase("live").await;
        browser.frames_advance(20).await;
        assert_colour_bars_in_motion(browser).await;
    }
    // Its control ends at 25 Mbit/s; what is more is no reason to stop.
    for (asked, target, from, to) in [
        ("2000", 2_000_000, 900.0, 2800.0),
        ("300", 300_000, 60.0, 400.0),
        ("25000", 25_000_000, 600.0, 30_000.0),
        ("30000", 25_000_000, 600.0, 30_000.0),
    ] {
        assert_eq!(dashboard.ask("set/bitrate", asked).await["ok"], true);
        let near =
            |state: &Value| (from..to).contains(&encoded_kbps(state)) && state["encoder"]["target"] == target;
        let state = dashboard.new_state(&format!("{asked} kbit/s"), near).await;
        assert_eq!(state["encoder"]["name"], BOARD, "{state:#}");
    }
    assert_eq!(dashboard.ask("set/bitrate", "700").await["ok"], true);
    let (asked, given) = (driver(lab, "key_requests"), dashboard.camera("live").await);
    dashboard.publish("do/keyframe", "").await;
    let more =
        |state: &Value| state["encoder"]["keyframes"].as_u64() > given["encoder"]["keyframes"].as_u64();
    dashboard.new_state("a key frame", more).await;
    assert!(driver(lab, "key_requests") > asked, "nobody asked the driver for one");
    let report = watching.await.expect("a report");
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 30), "{report:#}");
    assert_eq!((report["errors"].clone(), restarts(lab)), (json!([]), 0), "{report:#}");
    assert_eq!(dashboard.ask("set/resolution", "320x180").await["ok"], true);
    let smaller = |state: &Value| state["camera"]["width"] == 320 && state["camera"]["state"] == "live";
    if let Some(browser) = browser {
        let state = dashboard.new_state("the other size", smaller).await;
        assert_eq!(state["encoder"]["name"], BOARD, "{state:#}");
        // Vivid's lines of text cover most of its colour bars at this size.
        browser.frames_advance(20).await;
        browser.close().await;
    }
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}

#[test]
fn the_boards_encoder_makes_two_streams_and_is_handed_the_cameras_own_buffers() {
    if !in_namespace("the_boards_encoder_makes_two_streams_and_is_handed_the_cameras_own_buffers") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["camera", "on"]);
        lab.run("board on");
        lab.start_broker();
        let rates = settings().value("video.bitrate_kbps", 1500).value("video.min_bitrate_kbps", 150);
        lab.configure(&rates.value("video.tiers", 2));
        lab.run("systemctl restart porthole");
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        dashboard.availability("online").await;
        dashboard.new_state("the board's encoder", encodes_with(BOARD)).await;
        let watching = tokio::spawn(watch(100));
        dashboard.camera("live").await;
        assert!(are_copied(&lab), "the encoder lays pictures out in steps of 16 lines: {}", log(&lab));
        two_renditions_are_made_by_whatever_makes_them(&lab, &mut dashboard).await;
        buffers_are_copied_only_where_something_is_drawn(&lab, &mut dashboard).await;
        // Where a mask is set the picture goes away for a moment, on purpose; nothing has failed, and the viewer is there still.
        let state = dashboard.new_state("the board's encoder", |_| true).await;
        let seen = (&state["encoder"]["name"], &state["viewers"]["count"]);
        assert_eq!(seen, (&json!(BOARD), &json!(1)), "{state:#}");
        assert!(!log(&lab).contains("the pipeline failed"), "{}", log(&lab));
        watching.abort();
    });
}

async fn two_renditions_are_made_by_whatever_makes_them(lab: &Lab, dashboard: &mut Dashboard) {
    let narrow = Link { rate: 400e3, ..CLEAN };
    let slow = Remote::join_by(Viewer::connect_at(HOST, 1883, "slow").await, CLEAN).await;
    slow.pictures(10).await;
    let tier = |state: &Value| {
        let sessions = state["viewers"]["sessions"].as_array()?;
        let found = sessions.iter().find(|session| session["viewer"] == "slow")?;
        Some(found["tier"].as_str()?.to_owned())
    };
    for (single, name) in [(0, BOARD), (1, NEXT)] {
        lab.run(&format!("board set single={single}"));
        slow.relay.set(narrow);
        let small = |state: &Value| {
            let small = &state["encoder"]["small"];
            small["name"] == name && small["viewers"] == 1 && tier(state).as_deref() == Some("small")
        };
        let state = dashboard.new_state(&format!("a small rendition by {name}"), small).await;
        assert_eq!(state["encoder"]["name"], BOARD, "the big one is not disturbed: {state:#}");
        slow.size((320, 180)).await;
        slow.pictures(20).await;
        slow.relay.set(CLEAN);
        let full = |state: &Value| tier(state).as_deref() == Some("full");
        dashboard.new_state("the full rendition", full).await;
        let stopped = |state: &Value| state["encoder"]["small"]["running"] == false;
        dashboard.new_state("no small rendition", stopped).await;
    }
    assert!(log(lab).contains("does not make the small rendition, trying the next one"), "{}", log(lab));
    lab.run("board set single=0");
}

/// Whether the pipeline that runs copies the camera's pictures.
fn are_copied(lab: &Lab) -> bool {
    let log = log(lab);
    log.lines().rfind(|line| line.contains("camera mode chosen")).expect("a mode").contains("copies=true")
}

/// Percent of a processor that the daemon takes.
fn measured_cpu(lab: &Lab) -> f64 {
    let used = "pid=$(systemctl show -P MainPID porthole); used() { set -- $(cut -d' ' -f14,15 /proc/$pid/stat); echo $(($1 + $2)); }; \
                from=$(used); sleep 10; echo $(($(used) - from))";
    lab.run(used).trim().parse::<f64>().expect("ticks") / 10.0
}

async fn buffers_are_copied_only_where_something_is_drawn(lab: &Lab, dashboard: &mut Dashboard) {
    assert_eq!(dashboard.ask("set/resolution", "1280x720").await["ok"], true);
    let large = |state: &Value| state["camera"]["width"] == 1280 && state["camera"]["state"] == "live";
    dashboard.new_state("the large size", large).await;
    assert!(!are_copied(lab), "{}", log(lab));
    let as_they_are = measured_cpu(lab);
    // A small one: next to nothing is drawn.
    assert_eq!(dashboard.ask("set/mask", "[0, 0, 0.01, 0.01]").await["ok"], true);
    dashboard.new_state("the same with a mask", large).await;
    assert!(are_copied(lab), "nothing can be drawn into them: {}", log(lab));
    let copied = measured_cpu(lab);
    eprintln!("1280x720: {as_they_are} % of a processor without a copy, {copied} % with");
    assert_eq!(dashboard.ask("set/mask", "[]").await["ok"], true);
    dashboard.new_state("the same without", large).await;
    assert!(!are_copied(lab), "{}", log(lab));
}
