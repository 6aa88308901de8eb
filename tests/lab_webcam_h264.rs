//! A USB webcam with an encoder of its own, and one whose bus is full, in the lab machine with its own `uvcvideo` (tests/lab/webcam):
//! whose H.264 is passed through, whose is not, and which mode is taken instead of one that does not start.

mod support;

use serde_json::{Value, json};
use support::lab::{HOST, Lab, in_namespace};
use support::viewer::{Dashboard, Viewer, baseline_offer};
use support::watcher::Watcher;
use support::webcam::{self, tell};

#[test]
fn the_mode_that_viewers_can_have_is_taken_and_said() {
    if !in_namespace("the_mode_that_viewers_can_have_is_taken_and_said") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["webcam", "plug"]);
        lab.start_broker();
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        parameter_sets_come_before_each_key_frame(&lab, &mut dashboard).await;
        who_comes_late_does_not_wait_for_a_rare_key_frame(&lab, &mut dashboard).await;
        what_a_viewer_cannot_play_is_encoded(&lab, &mut dashboard).await;
        for plug in ["isoc", "bulk"] {
            the_next_mode_is_taken(&lab, &mut dashboard, plug).await;
        }
    });
}

fn note(state: &Value) -> &str {
    state["camera"]["note"].as_str().unwrap_or_default()
}

fn is_passed_through(state: &Value) -> bool {
    state["encoder"]["kind"] == "passthrough"
}

/// The camera gives them once, at its start.
async fn parameter_sets_come_before_each_key_frame(lab: &Lab, dashboard: &mut Dashboard) {
    tell(lab, "h264 sparse");
    let settings = webcam::settings("h264").value("camera.fps", 15);
    webcam::start_with(lab, dashboard, &settings).await;
    let viewer = Watcher::join("viewer").await;
    viewer.until("a second key frame", |figures| figures.key_frames > 1).await;
    let state = dashboard.state("its own H.264", is_passed_through).await;
    assert_eq!(note(&state), "", "the configuration leaves no choice: {state:#}");
    viewer.assert_well("the camera's own H.264");
    viewer.leave().await;
    webcam::over(dashboard).await;
}

/// There is a key frame each ten seconds.
async fn who_comes_late_does_not_wait_for_a_rare_key_frame(lab: &Lab, dashboard: &mut Dashboard) {
    let settings = webcam::settings("auto").value("camera.fps", 15);
    let state = webcam::start_with(lab, dashboard, &settings).await;
    assert!(is_passed_through(&state), "{state:#}");
    let first = Watcher::join("first").await;
    first.shows(5, "of the camera's own H.264").await;
    let (mut late, mut encoded) = (Vec::new(), false);
    // The one who comes right after a key frame waits longest, and not all do.
    while !encoded {
        assert!(late.len() < 4, "nobody has waited for a key frame");
        let viewer = Watcher::join(&format!("late-{}", late.len())).await;
        viewer.shows(3, "of either").await;
        late.push(viewer);
        encoded = dashboard.new_state("any", |_| true).await["encoder"]["kind"] == "software";
    }
    let state = dashboard.new_state("encoded instead", |state| !is_passed_through(state)).await;
    assert!(note(&state).contains("key frames"), "{state:#}");
    let later = Watcher::join("later").await;
    later.shows(3, "of what is encoded").await;
    first.shows(1, "of what is encoded").await;
    late.extend([first, later]);
    for viewer in late {
        viewer.assert_well("rare key frames");
        eprintln!("rare key frames: the first picture came after {:.1?}", viewer.first_picture_after());
        viewer.leave().await;
    }
    webcam::over(dashboard).await;
}

/// High profile, and somebody with a browser that plays only the constrained baseline.
async fn what_a_viewer_cannot_play_is_encoded(lab: &Lab, dashboard: &mut Dashboard) {
    tell(lab, "h264 high");
    let settings = webcam::settings("auto").value("camera.fps", 15);
    webcam::start_with(lab, dashboard, &settings).await;
    let viewer = Watcher::join("viewer").await;
    viewer.shows(3, "in the High profile").await;
    let before = dashboard.new_state("the live webcam", |state| state["camera"]["state"] == "live").await;
    assert!(is_passed_through(&before) && note(&before).is_empty(), "{before:#}");
    let key_frames = viewer.figures().key_frames;
    let mut firefox = Viewer::at(HOST, 1883, "firefox").await;
    firefox.offer("aaaaaaaaaaaaaaaaaaaaaa", &baseline_offer()).await;
    let answer = firefox.expect("answer").await;
    let sdp = answer["sdp"].as_str().unwrap_or_default();
    assert!(sdp.contains("profile-level-id=42e0"), "{sdp}");
    let state = dashboard.state("encoded instead", |state| !is_passed_through(state)).await;
    assert!(note(&state).contains("640028"), "{state:#}");
    viewer.until("a key frame of the other encoder", |figures| figures.key_frames > key_frames).await;
    viewer.shows(3, "of the other encoder").await;
    viewer.assert_well("the High profile");
    viewer.leave().await;
    firefox.say(json!({"type": "bye", "session": "aaaaaaaaaaaaaaaaaaaaaa"})).await;
    tell(lab, "h264 plain");
    webcam::over(dashboard).await;
}

/// From 1280 pixels on, STREAMON fails: with ENOSPC where the bus is full (`isoc`), with EIO where the camera refuses (`bulk`).
async fn the_next_mode_is_taken(lab: &Lab, dashboard: &mut Dashboard, plug: &str) {
    tell(lab, "unplug");
    tell(lab, &format!("plug {plug}"));
    tell(lab, if plug == "isoc" { "full on" } else { "refuse 1280" });
    let settings = webcam::settings("auto").value("camera.width", 1280).value("camera.height", 720);
    webcam::start_with(lab, dashboard, &settings.value("camera.fps", 15)).await;
    let viewer = Watcher::join("viewer").await;
    let smaller = |state: &Value| {
        let camera = &state["camera"];
        camera["state"] == "live" && (&camera["width"], &camera["height"]) == (&json!(640), &json!(480))
    };
    let state = dashboard.state("a mode that starts", smaller).await;
    viewer.shows(3, "in another mode").await;
    for part in ["does not start in", "1280x720", "640x480@15 is taken"] {
        assert!(note(&state).contains(part), "{part} is not said: {state:#}");
    }
    let log = webcam::log(lab);
    assert!(log.contains("mode given up, trying the next one"), "{log}");
    viewer.assert_well(plug);
    viewer.leave().await;
    tell(lab, "well");
    webcam::over(dashboard).await;
}
