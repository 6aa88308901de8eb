//! A USB webcam in the lab machine: the guest's own `uvcvideo` drives a camera made of software (tests/lab/webcam).
//!
//! What is held here: what it says of itself, its raw and its JPEG pictures to a viewer, a control that has one value only, and a node
//! that does not open.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use support::lab::{HOST, Lab, in_namespace};
use support::viewer::Dashboard;
use support::watcher::Watcher;
use support::webcam::{self, LINK};

#[test]
fn a_usb_webcam_is_known_and_watched() {
    if !in_namespace("a_usb_webcam_is_known_and_watched") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["webcam", "fix", "gain"]);
        lab.must(&["webcam", "plug"]);
        lab.start_broker();
        it_is_listed_with_all_it_has(&lab);
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        for (format, fourcc) in [("mjpeg", "MJPG"), ("raw", "YUYV")] {
            webcam::start_with(&lab, &mut dashboard, &webcam::settings(format)).await;
            its_format_is_watched(&lab, &mut dashboard, fourcc).await;
        }
        a_control_with_one_value_does_no_harm(&mut dashboard).await;
        a_node_that_does_not_open_is_said_and_tried_again(&lab, &mut dashboard).await;
        webcam::log(&lab);
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
    let viewer = Watcher::join("viewer").await;
    viewer.shows(6, fourcc).await;
    let camera = webcam::tell(lab, "status");
    assert!(
        camera.contains(&format!(" {fourcc} 640x480")),
        "the camera was asked for something else: {camera}"
    );
    viewer.assert_well(fourcc);
    viewer.leave().await;
    webcam::over(dashboard).await;
}

/// It was plugged in so. Its only value may be set.
async fn a_control_with_one_value_does_no_harm(dashboard: &mut Dashboard) {
    let info = dashboard.info("a camera", |info| info["controls"].is_array()).await;
    let mut controls = info["controls"].as_array().expect("controls").iter();
    let gain = controls.find(|control| control["name"] == "gain").expect("the control");
    assert_eq!((&gain["min"], &gain["max"]), (&json!(16), &json!(16)), "{gain:#}");
    for (value, is_taken) in [("16", true), ("17", false)] {
        let answer = dashboard.ask("set/control/gain", value).await;
        assert_eq!(answer["ok"], is_taken, "{answer:#}");
    }
}

/// The node's place is taken by one that the kernel answers with EIO: the other end of a terminal that is closed. (A real one does so
/// where its hub does not answer; the camera of the lab cannot, because opening asks nothing of it.)
async fn a_node_that_does_not_open_is_said_and_tried_again(lab: &Lab, dashboard: &mut Dashboard) {
    let node = lab.run(&format!("readlink -f {LINK}"));
    let node = node.trim();
    lab.run(&format!("mv {node} /dev/lab-camera && mknod -m 666 {node} c 136 4000"));
    let says = lab.run(&format!("cat {node} 2>&1 || true"));
    assert!(says.contains("Input/output error"), "{says}");
    lab.run("systemctl restart porthole");
    let said = |state: &Value| {
        state["camera"]["state"] == "error"
            && state["camera"]["error"].as_str().is_some_and(|error| error.contains("Input/output error"))
    };
    let state = dashboard.new_state("a camera that does not open", said).await;
    assert!(!state["camera"]["error"].to_string().contains("cannot be used as a camera"), "{state:#}");
    lab.run(&format!("mv -f /dev/lab-camera {node}"));
    dashboard.camera("idle").await;
    its_format_is_watched(lab, dashboard, "YUYV").await;
}
