//! A USB webcam in the lab machine: the guest's own `uvcvideo` drives a camera made of software (tests/lab/webcam).
//!
//! What is held here: what it says of itself, and its raw and its JPEG pictures to a viewer.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use support::daemon::Settings;
use support::lab::{HOST, Lab, in_namespace, watch};
use support::viewer::Dashboard;

const LINK: &str = "/dev/v4l/by-id/usb-Lab_USB_Webcam_0001-video-index0";

/// `camera.format = format` from now on, at 640x480.
fn configure(lab: &Lab, format: &str) {
    let settings = Settings::new(&format!("mqtt://{HOST}:1883"))
        .text("camera.device", LINK)
        .text("camera.format", format)
        .text("http.listen", "0.0.0.0:8080");
    lab.configure(&settings);
    lab.run("systemctl restart porthole");
}

#[test]
fn a_usb_webcam_is_known_and_watched() {
    if !in_namespace("a_usb_webcam_is_known_and_watched") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["webcam", "plug"]);
        lab.start_broker();
        it_is_listed_with_all_it_has(&lab);
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        for (format, fourcc) in [("mjpeg", "MJPG"), ("raw", "YUYV")] {
            configure(&lab, format);
            its_format_is_watched(&lab, &mut dashboard, fourcc).await;
        }
    });
}

/// Its metadata node is no camera.
fn it_is_listed_with_all_it_has(lab: &Lab) {
    assert_eq!(lab.run("ls /sys/class/video4linux").split_whitespace().count(), 2, "picture and metadata");
    let listed: Value = serde_json::from_str(&lab.run("porthole cameras --json")).expect("JSON");
    let cameras = listed.as_array().expect("a list");
    assert_eq!(cameras.len(), 1, "{listed:#}");
    let camera = &cameras[0];
    assert_eq!((&camera["driver"], &camera["by_id"]), (&json!("uvcvideo"), &json!(LINK)), "{camera:#}");
    let mode = |mode: &Value| {
        format!("{} {}x{}", mode["format"].as_str().unwrap_or(""), mode["width"], mode["height"])
    };
    let modes: BTreeSet<String> = camera["modes"].as_array().expect("modes").iter().map(mode).collect();
    let expected = [
        "H264 1280x720",
        "H264 640x480",
        "MJPG 1280x720",
        "MJPG 1920x1080",
        "MJPG 640x480",
        "YUYV 1280x720",
        "YUYV 640x480",
    ];
    assert_eq!(modes.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{camera:#}");
    let controls = camera["controls"].as_array().expect("controls").iter();
    let inactive: BTreeMap<&str, bool> = controls
        .filter_map(|control| Some((control["name"].as_str()?, control["inactive"].as_bool()?)))
        .collect();
    for name in ["brightness", "contrast", "auto_exposure", "power_line_frequency", "pan_speed"] {
        assert_eq!(inactive.get(name), Some(&false), "{name}: {camera:#}");
    }
    for name in ["exposure_time_absolute", "focus_absolute", "white_balance_temperature"] {
        assert_eq!(inactive.get(name), Some(&true), "{name} is left to the camera: {camera:#}");
    }
}

async fn its_format_is_watched(lab: &Lab, dashboard: &mut Dashboard, fourcc: &str) {
    let ready = |state: &Value| state["camera"]["state"] == "idle" && state["encoder"].is_object();
    dashboard.new_state("the idle camera", ready).await;
    let report = watch(20).await;
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 5), "{report:#}");
    assert_eq!(report["errors"], json!([]), "{report:#}");
    let camera = lab.must(&["webcam", "status"]);
    assert!(
        camera.contains(&format!(" {fourcc} 640x480")),
        "the camera was asked for something else: {camera}"
    );
    let log = lab.run("journalctl -u porthole --no-pager -o cat");
    assert!(!log.contains("panicked"), "{log}");
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}
