//! A board's encoder in the lab machine: GStreamer's own `v4l2h264enc` on a driver like the Raspberry Pi's (tests/lab/guest/board).
//!
//! Chosen by itself, seen in a browser, obeying.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::daemon::{DEVICE, Settings};
use support::deb::package;
use support::lab::{GUEST, HOST, Lab, assert_colour_bars_in_motion, in_namespace, watch};
use support::viewer::Dashboard;

const BOARD: &str = "v4l2h264enc";

/// A small picture: an emulated processor has to encode it as well, when the board's encoder is gone.
fn settings() -> Settings {
    Settings::new(&format!("mqtt://{HOST}:1883"))
        .text("camera.device", "auto")
        .value("camera.height", 360)
        .value("camera.fps", 30)
        .text("http.listen", "0.0.0.0:8080")
}

fn encodes_with(name: &str) -> impl Fn(&Value) -> bool {
    move |state| state["encoder"]["name"] == name
}

fn encoded_kbps(state: &Value) -> f64 {
    state["encoder"]["bitrate"].as_f64().unwrap_or_default() / 1000.0
}

/// A parameter of the driver.
fn driver(lab: &Lab, name: &str) -> u64 {
    lab.run(&format!("cat /sys/module/lab_encoder/parameters/{name}")).trim().parse().expect("a number")
}

/// Runs that the daemon began anew since it started.
fn restarts(lab: &Lab) -> usize {
    let log = lab.run("journalctl -u porthole --no-pager -o cat | tac | sed '/ starts device=/q'");
    log.matches(" → error").count() + log.matches("the pipeline failed").count()
}

#[test]
fn the_boards_encoder_is_taken_and_obeys() {
    if !in_namespace("the_boards_encoder_is_taken_and_obeys") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::up();
        lab.must(&["camera", "on"]);
        lab.run("board on");
        lab.start_broker();
        lab.install(&package());
        lab.configure(&settings());
        lab.run("systemctl restart porthole");
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        dashboard.availability("online").await;
        it_is_chosen(&lab, &mut dashboard).await;
        it_is_watched_and_obeys(&lab, &mut dashboard).await;
        let trace = lab.run("dmesg | grep -A20 -E 'cut here|BUG:|INFO: task' || true");
        assert!(trace.is_empty(), "the driver has a defect:\n{trace}");
    });
}

async fn it_is_chosen(lab: &Lab, dashboard: &mut Dashboard) {
    let idle = dashboard.state("the board's encoder", encodes_with(BOARD)).await;
    assert_eq!(idle["encoder"]["kind"], "hardware", "{idle:#}");
    let doctor = lab.run(&format!("PORTHOLE_MQTT_URL=mqtt://{HOST} porthole doctor --json || true"));
    let report: Value = serde_json::from_str(&doctor).expect("JSON");
    let mut findings = report["findings"].as_array().expect("findings").iter();
    let used = findings.find(|finding| finding["figures"]["used"] == true).expect("an encoder that is used");
    assert_eq!(used["figures"]["encoder"], BOARD, "{report:#}");
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
    for (asked, from, to) in [("2000", 900.0, 2800.0), ("300", 60.0, 400.0), ("30000", 600.0, 30_000.0)] {
        assert_eq!(dashboard.ask("set/bitrate", asked).await["ok"], true);
        let near = |state: &Value| (from..to).contains(&encoded_kbps(state));
        dashboard.new_state(&format!("{asked} kbit/s"), near).await;
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
