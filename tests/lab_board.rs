//! The board's encoder of the lab: its stream on this machine, then GStreamer's own element for such encoders in the guest.

mod support;

use std::path::Path;
use std::process::Command;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use serde_json::{Value, json};
use support::daemon::{DEVICE, Settings, porthole};
use support::lab::{HOST, Lab, in_namespace, package};
use support::viewer::Dashboard;

/// What a decoder makes of the stream, as I420 without padding.
fn decoded(stream: &Path) -> Option<Vec<u8>> {
    gst::init().expect("GStreamer");
    let text = format!(
        "filesrc location={} ! h264parse ! openh264dec ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false",
        stream.display()
    );
    let pipeline = gst::parse::launch(&text).ok()?.downcast::<gst::Pipeline>().expect("a pipeline");
    let sink = pipeline.by_name("out").and_then(|sink| sink.downcast::<AppSink>().ok()).expect("the sink");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let mut pictures = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        pictures.extend_from_slice(&sample.buffer().expect("a buffer").map_readable().expect("its bytes"));
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    Some(pictures)
}

/// The sizes have no padding in GStreamer's I420. 360 lines are no whole macroblocks.
#[test]
fn the_labs_encoder_makes_a_stream_that_a_decoder_shows_as_it_was_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/mosaic_test.c");
    match Command::new("cc").args(["-O2", "-Wall", "-Werror", "-o"]).arg(at("test")).arg(source).status() {
        Ok(compiled) => assert!(compiled.success(), "it does not compile"),
        Err(error) => {
            eprintln!("SKIPPED: no C compiler: {error}");
            return;
        }
    }
    for (size, format, kbps) in [
        ((640, 360), "I420", 1000),
        ((640, 360), "NV12", 300),
        ((1280, 720), "YUYV", 2500),
        ((1920, 1080), "I420", 25_000),
    ] {
        let (width, height): (u32, u32) = size;
        let arguments = [&width.to_string(), &height.to_string(), format, "45", &kbps.to_string()];
        let (stream, expected) = (at("stream.h264"), at("expected.yuv"));
        let made = Command::new(at("test")).args(arguments).args([&stream, &expected]).status();
        assert!(made.expect("it runs").success(), "{size:?} {format}");
        let Some(pictures) = decoded(&stream) else {
            eprintln!("SKIPPED: no decoder for H.264");
            return;
        };
        let expected = std::fs::read(expected).expect("what it should be");
        assert!(pictures == expected, "{size:?} {format}: {} bytes of {}", pictures.len(), expected.len());
        let bits = std::fs::metadata(stream).expect("the stream").len() * 8;
        // One and a half seconds.
        let made = bits * 2 / 3 / 1000;
        assert!(made > kbps * 9 / 10 && made < kbps * 12 / 10, "{size:?} {format}: {made} kbit/s for {kbps}");
    }
}

/// Whether the daemon's encoder is this one.
fn encodes_with(name: &str) -> impl Fn(&Value) -> bool {
    move |state| state["encoder"]["name"] == name
}

/// Counts what a viewer without a browser gets.
async fn watch(seconds: u32) -> Value {
    let (broker, seconds) = (format!("mqtt://{HOST}:1883"), seconds.to_string());
    let command =
        porthole(&["watch", "--broker", &broker, "--device", DEVICE, "--seconds", &seconds, "--json"]);
    let output = tokio::process::Command::from(command).output().await.expect("run porthole watch");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success(), "{report:#}");
    report
}

#[test]
fn the_boards_encoder_is_taken_obeyed_and_replaced_when_it_fails() {
    if !in_namespace("the_boards_encoder_is_taken_obeyed_and_replaced_when_it_fails") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::up();
        lab.must(&["camera", "on"]);
        lab.run("board on");
        lab.start_broker();
        lab.install(&package());
        let settings = Settings::new(&format!("mqtt://{HOST}:1883"))
            .text("camera.device", "auto")
            .value("camera.height", 360);
        lab.configure(&settings);
        lab.run("systemctl restart porthole");
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        dashboard.availability("online").await;
        it_is_taken_and_obeys(&lab, &mut dashboard).await;
        for fault in ["hang_after=20", "fail_after=20", "eio_after=20", "ignore_key=1"] {
            it_fails(&lab, &mut dashboard, fault).await;
        }
    });
}

async fn it_is_taken_and_obeys(lab: &Lab, dashboard: &mut Dashboard) {
    let idle = dashboard.state("the board's encoder", encodes_with("v4l2h264enc")).await;
    assert_eq!(idle["encoder"]["kind"], "hardware", "{idle:#}");
    let watching = tokio::spawn(watch(30));
    dashboard.camera("live").await;
    for kbps in [2000.0, 300.0] {
        assert_eq!(dashboard.ask("set/bitrate", format!("{kbps}")).await["ok"], true);
        let near = |state: &Value| {
            let made = state["encoder"]["bitrate"].as_f64().unwrap_or_default() / 1000.0;
            // An emulated machine loses pictures, and their bits with them.
            made < kbps * 1.3 && made > kbps * 0.2
        };
        dashboard.new_state(&format!("{kbps} kbit/s"), near).await;
    }
    let report = watching.await.expect("a report");
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 30), "{report:#}");
    let state = dashboard.viewers(0).await;
    assert_eq!(state["encoder"]["name"], "v4l2h264enc", "{state:#}");
    let log = lab.run("board status");
    assert!(!log.contains("pictures:0 "), "the device has encoded nothing: {log}");
}

/// From one session before the fault to the same session with another encoder.
async fn it_fails(lab: &Lab, dashboard: &mut Dashboard, fault: &str) {
    lab.run("systemctl stop porthole && board off && board on && systemctl start porthole");
    dashboard.new_state("the board's encoder", encodes_with("v4l2h264enc")).await;
    let watching = tokio::spawn(watch(40));
    dashboard.camera("live").await;
    lab.run(&format!("board set {fault}"));
    // A second viewer needs a key frame.
    let other = tokio::spawn(watch(20));
    let state = dashboard.state(&format!("another encoder after {fault}"), encodes_with("x264enc")).await;
    assert_eq!(state["encoder"]["kind"], "software", "{state:#}");
    dashboard.camera("live").await;
    for report in [watching.await, other.await] {
        let report = report.expect("a report");
        assert_eq!(report["errors"], json!([]), "{fault}: {report:#}");
        assert!(report["frames"].as_u64().is_some_and(|frames| frames > 20), "{fault}: {report:#}");
    }
    dashboard.viewers(0).await;
}
