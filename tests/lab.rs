//! The daemon in the lab machine, with real V4L2 devices: vivid, and loopback cameras for JPEG and H.264.
//!
//! Speed means nothing under emulation, so nothing here judges it. The test starts itself again in a
//! network namespace of its own, in which the guest, the broker and the viewers meet.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::browser::Browser;
use support::daemon::{DEVICE, Settings};
use support::lab::{GUEST, HOST, Lab, assert_colour_bars_in_motion, in_namespace, look, watch};
use support::viewer::Dashboard;

#[test]
fn a_real_camera_from_its_device_to_the_browser() {
    if !in_namespace("a_real_camera_from_its_device_to_the_browser") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["camera", "on"]);
        lab.start_broker();
        the_camera_is_listed(&lab);
        the_doctor_sees_it_and_who_has_it(&lab);
        let settings = Settings::new(&format!("mqtt://{HOST}:1883"))
            .text("camera.device", "auto")
            .value("camera.height", 360)
            .text("http.listen", "0.0.0.0:8080");
        lab.configure(&settings);
        lab.run("systemctl restart porthole");
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        dashboard.availability("online").await;
        dashboard.camera("idle").await;
        vivid_is_watched(&lab, &mut dashboard).await;
        a_browser_shows_vivid_and_forgives_a_loose_plug(&lab, &mut dashboard).await;
        a_session_outlives_its_camera(&lab, &mut dashboard).await;
        a_camera_that_encodes_is_used_as_it_is(&lab, &mut dashboard).await;
        a_sensor_is_driven_through_libcamera(&lab, &mut dashboard).await;
    });
}

fn the_camera_is_listed(lab: &Lab) {
    let listed: Value = serde_json::from_str(&lab.run("porthole cameras --json")).expect("JSON");
    let cameras = listed.as_array().expect("a list");
    assert_eq!(cameras.len(), 1, "{listed:#}");
    assert_eq!(
        (&cameras[0]["driver"], &cameras[0]["path"]),
        (&json!("vivid"), &json!("/dev/video0")),
        "{listed:#}"
    );
    assert!(cameras[0]["modes"].as_array().is_some_and(|modes| modes.len() > 3), "{listed:#}");
}

fn the_doctor_sees_it_and_who_has_it(lab: &Lab) {
    let doctor = |before: &str| -> Value {
        let command = format!("{before} PORTHOLE_MQTT_URL=mqtt://{HOST} porthole doctor --json || true");
        serde_json::from_str(&lab.run(&command)).expect("JSON")
    };
    let camera = |report: &Value| -> Vec<Value> {
        let findings = report["findings"].as_array().expect("findings").iter();
        findings.filter(|finding| finding["area"] == "camera").cloned().collect()
    };
    let seen = camera(&doctor(""));
    assert!(seen.iter().all(|finding| finding["verdict"] != "fail"), "{seen:#?}");
    assert!(seen.iter().any(|finding| finding["figures"]["fps"].as_f64() > Some(0.0)), "{seen:#?}");
    // It prints a character for each picture, and ends with the shell that started it.
    let holder = "v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=9000 >/tmp/holder 2>&1 & \
                  trap \"kill $!\" EXIT; until [ -s /tmp/holder ]; do sleep 0.1; done;";
    let busy = doctor(holder);
    assert_eq!(busy["video"], false, "{busy:#}");
    let named = camera(&busy).into_iter().find(|finding| finding["verdict"] == "fail").expect("a failure");
    assert!(named["what"].as_str().is_some_and(|what| what.contains("v4l2-ctl (pid ")), "{named:#}");
}

async fn vivid_is_watched(lab: &Lab, dashboard: &mut Dashboard) {
    let report = watch(10).await;
    // How many there are says how busy the machine is that emulates this one.
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 2), "{report:#}");
    let info = dashboard.info("the camera", |info| info["camera"]["driver"] == "vivid").await;
    assert!(info["camera"]["modes"].as_array().is_some_and(|modes| !modes.is_empty()), "{info:#}");
    // It was idle before, too.
    dashboard.camera("live").await;
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
    assert_eq!(lab.camera_holders(), [""; 0], "nobody watches, but the camera is open");
}

/// For longer than ICE lives without packets.
async fn a_session_outlives_its_camera(lab: &Lab, dashboard: &mut Dashboard) {
    let watching = tokio::spawn(watch(40));
    let flows = |state: &Value| {
        state["viewers"]["sessions"][0]["bitrate"].as_f64().is_some_and(|bitrate| bitrate > 0.0)
    };
    let state = dashboard.state("a viewer who gets something", flows).await;
    lab.must(&["camera", "unplug"]);
    let lost = dashboard.camera("lost").await;
    assert!(lost["camera"]["error"].as_str().is_some_and(|error| error.len() > 10), "{lost:#}");
    tokio::time::sleep(Duration::from_secs(17)).await;
    lab.must(&["camera", "plug"]);
    dashboard.camera("live").await;
    let back = dashboard.new_state("a viewer who gets something again", flows).await;
    let session = |state: &Value| state["viewers"]["sessions"][0]["since"].clone();
    assert_eq!(session(&back), session(&state), "it is not the same session: {back:#}");
    let report = watching.await.expect("a report");
    let gap = report["longest_gap_ms"].as_u64();
    // Without words it is longer than the camera is away.
    assert!(gap.is_some_and(|gap| gap < 15_000), "neither camera nor words: {report:#}");
    assert_eq!(report["errors"], json!([]), "{report:#}");
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}

async fn a_browser_shows_vivid_and_forgives_a_loose_plug(lab: &Lab, dashboard: &mut Dashboard) {
    let Some(browser) = Browser::start().await else { return };
    browser.open(&format!("http://{GUEST}:8080/#broker=ws://{HOST}:9001&device={DEVICE}")).await;
    browser.phase("live").await;
    browser.frames_advance(20).await;
    assert_colour_bars_in_motion(&browser).await;
    a_slider_of_the_page_changes_the_picture(&browser, dashboard).await;
    lab.must(&["camera", "unplug"]);
    dashboard.camera("lost").await;
    dashboard.event("that it is lost", |event| event["type"] == "camera-lost").await;
    lab.must(&["camera", "plug"]);
    dashboard.camera("live").await;
    dashboard.event("that it is found", |event| event["type"] == "camera-found").await;
    browser.phase("live").await;
    browser.frames_advance(20).await;
    assert_colour_bars_in_motion(&browser).await;
    browser.close().await;
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}

/// Brightness, from the page's settings over the data channel to the driver, and back in the video's pixels.
async fn a_slider_of_the_page_changes_the_picture(browser: &Browser, dashboard: &mut Dashboard) {
    const SLIDER: &str = "const bar = document.querySelector('porthole-camera').shadowRoot;
        const slider = bar.querySelector('.ui-settings input[type=range][data-name=\"control/brightness\"]');";
    // Of the columns that the picture is looked at in, from 0 to 255.
    let brightness_of = async || {
        let (columns, _) = look(browser).await;
        columns.iter().flatten().sum::<f64>() / (columns.len() * 3) as f64
    };
    let deadline = Instant::now() + support::PATIENCE;
    let opened = format!(
        "{SLIDER} if (slider && !slider.disabled && slider.getClientRects().length) return [slider.min, slider.max, slider.value].map(Number);
         if (!slider?.getClientRects().length) bar.querySelector('[data-name=settings][aria-expanded=false]')?.click();
         return null"
    );
    let range = loop {
        if let Ok(range) = serde_json::from_value::<[f64; 3]>(browser.run(&opened).await) {
            break range;
        }
        assert!(Instant::now() < deadline, "the page has no slider of the camera's brightness");
        browser.a_moment().await;
    };
    let [least, most, at_first] = range;
    let before = brightness_of().await;
    let mut seen = Vec::new();
    for wanted in [least, most, at_first] {
        let slide =
            format!("{SLIDER} slider.value = '{wanted}'; slider.dispatchEvent(new Event('input')); return 0");
        browser.run(&slide).await;
        dashboard
            .state("the slider's value", |state| state["controls"]["brightness"].as_f64() == Some(wanted))
            .await;
        let fits = |now: f64| match seen.len() {
            0 => now < before - 30.0,
            1 => now > before + 30.0,
            _ => (now - before).abs() < 15.0,
        };
        let deadline = Instant::now() + support::PATIENCE;
        loop {
            let now = brightness_of().await;
            if fits(now) {
                break seen.push(now);
            }
            assert!(Instant::now() < deadline, "brightness {wanted}: {now} after {before} and {seen:?}");
            browser.a_moment().await;
        }
    }
    eprintln!("brightness {range:?}: {before:.0}, then {seen:.0?}");
    browser.run("document.querySelector('porthole-camera').shadowRoot.querySelector('[data-name=settings][aria-expanded=true]').click(); return 0").await;
}

async fn a_camera_that_encodes_is_used_as_it_is(lab: &Lab, dashboard: &mut Dashboard) {
    for (camera, kind, format) in [("mjpeg", "software", "MJPG"), ("h264", "passthrough", "H264")] {
        lab.must(&["camera", camera]);
        dashboard.state(&format!("the {camera} camera"), |state| state["camera"]["state"] == "idle").await;
        let browser = Browser::start().await.expect("it was there before");
        browser.open(&format!("http://{GUEST}:8080/#broker=ws://{HOST}:9001&device={DEVICE}")).await;
        browser.phase("live").await;
        browser.frames_advance(20).await;
        let first = look(&browser).await.1;
        let deadline = Instant::now() + support::PATIENCE;
        while (look(&browser).await.1 - first).abs() < f64::EPSILON {
            assert!(Instant::now() < deadline, "the picture of the {camera} camera stands still");
            browser.a_moment().await;
        }
        let state = dashboard.camera("live").await;
        assert_eq!(state["encoder"]["kind"], kind, "{state:#}");
        if kind == "passthrough" {
            let changed = |event: &Value| event["type"] == "encoder-changed" && event["to"]["kind"] == kind;
            dashboard.event("another encoder", changed).await;
        }
        let log = lab.run("journalctl -u porthole --no-pager -o cat");
        assert!(log.contains(format), "the log does not name {format}");
        browser.close().await;
        dashboard.viewers(0).await;
        dashboard.camera("idle").await;
    }
    tokio::time::timeout(Duration::from_mins(1), watch(5)).await.expect("an end");
}

/// A camera of libcamera's own "virtual" kind: no sensor, but all of libcamera and of its plugin.
async fn a_sensor_is_driven_through_libcamera(lab: &Lab, dashboard: &mut Dashboard) {
    lab.run("systemctl stop porthole");
    lab.must(&["camera", "off"]);
    lab.run(
        "mkdir -p /usr/share/libcamera/pipeline/virtual && cd /usr/share/libcamera/pipeline/virtual && \
         printf '%s\\n' '\"Virtual0\":' '  supported_formats:' '  - width: 640' '    height: 480' \
         '    frame_rates: [15, 30]' '  test_pattern: \"bars\"' '  location: \"CameraLocationFront\"' >virtual.yaml && \
         chgrp video /dev/dma_heap/system && chmod 660 /dev/dma_heap/system && systemctl start porthole",
    );
    let ours = |state: &Value| state["camera"]["device"] == "Virtual0" && state["camera"]["state"] == "idle";
    dashboard.state("the camera of libcamera", ours).await;
    let browser = Browser::start().await.expect("it was there before");
    browser.open(&format!("http://{GUEST}:8080/#broker=ws://{HOST}:9001&device={DEVICE}")).await;
    browser.phase("live").await;
    browser.frames_advance(20).await;
    assert_colour_bars_in_motion(&browser).await;
    let info = dashboard.info("libcamera", |info| info["camera"]["driver"] == "libcamera").await;
    assert_eq!(info["camera"]["modes"][0]["format"], "NV12", "{info:#}");
    browser.close().await;
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}
