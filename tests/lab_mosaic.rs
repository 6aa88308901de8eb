//! The stream of the lab's board encoder, tried on this machine.

use std::path::Path;
use std::process::Command;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;

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
