//! One pipeline with the test picture and a real encoder.

use std::sync::mpsc;
use std::time::Duration;

use gstreamer::glib;

use super::*;
use crate::media::capture::camera::CameraInfo;
use crate::media::capture::choice::DeviceChoice;
use crate::media::capture::mode::ModeChoice;
use crate::media::elements::filter;
use crate::media::encode::choice::EncoderChoice;
use crate::media::encode::encoder::{EncodeSettings, TABLE};
use crate::media::pipeline::bus_errors::explain;
use crate::media::pipeline::small::SmallRenditionPipeline;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::planner::Planner;
use crate::stream::Fanout;
use crate::stream::h264;

const PATIENCE: Duration = Duration::from_mins(1);

fn plan(encoder: EncoderChoice) -> Plan {
    gst::init().unwrap();
    let config = MediaConfig {
        device: DeviceChoice::Test,
        width: Some(640),
        height: Some(360),
        encoder,
        keyframe_interval_s: 60,
        ..MediaConfig::default()
    };
    Planner::new(config).plan(true).unwrap()
}

fn start(plan: &Plan, fanout: &Fanout) -> (Pipeline, mpsc::Receiver<PipelineEvent>) {
    let fanout_sink = Arc::new(FanoutSink::new(fanout.clone()));
    let (sender, events) = mpsc::channel();
    let report = move |event| drop(sender.send(event));
    (Pipeline::start(plan, &fanout_sink, report).unwrap(), events)
}

fn await_key_frame(events: &mpsc::Receiver<PipelineEvent>) {
    while !matches!(events.recv_timeout(PATIENCE).unwrap(), PipelineEvent::KeyFrame) {}
}

#[test]
fn a_forced_key_frame_comes_long_before_the_interval() {
    for encoder in [EncoderChoice::X264, EncoderChoice::OpenH264] {
        let (pipeline, events) = start(&plan(encoder), &Fanout::default());
        await_key_frame(&events);
        assert!(pipeline.force_key_frame());
        await_key_frame(&events);
    }
}

/// The small rendition's watch sees what its encoder is offered, not what the full one's is.
#[test]
fn an_encoder_of_the_small_rendition_that_hangs_is_told_of() {
    static BOARD: EncoderSpec = TABLE[1].on_board();
    let plan = plan(EncoderChoice::X264);
    let fanout_sink = FanoutSink::new(Fanout::default());
    let (full, events) = start(&plan, &Fanout::default());
    await_key_frame(&events);
    let (sender, small_events) = mpsc::channel();
    let small = SmallRenditionPipeline::start(
        &full,
        &Plan { encoder: Some(&BOARD), ..plan },
        &Arc::new(fanout_sink.small_rendition()),
        move |event| drop(sender.send(event)),
    )
    .unwrap();
    await_key_frame(&small_events);
    small.swallow_pictures();
    let hangs = |event: &PipelineEvent| matches!(event, PipelineEvent::EncoderHangs(_));
    while !hangs(&small_events.recv_timeout(PATIENCE).unwrap()) {}
    assert!(!events.try_iter().any(|event| hangs(&event)), "the full one is not concerned");
}

#[test]
fn stopping_releases_everything() {
    let (pipeline, events) = start(&plan(EncoderChoice::X264), &Fanout::default());
    await_key_frame(&events);
    let elements = pipeline.elements.downgrade();
    let encoder = pipeline.encoder.as_ref().unwrap().encoder.downgrade();
    drop(pipeline);
    assert!(elements.upgrade().is_none() && encoder.upgrade().is_none());
    // The sender went with the callbacks, so the channel ends once it is drained.
    while events.recv_timeout(PATIENCE).is_ok() {}
    assert!(matches!(events.try_recv(), Err(mpsc::TryRecvError::Disconnected)));
}

/// A camera that is not there, in one mode.
fn camera_plan(format: &str) -> Plan {
    let mode = ModeChoice {
        format: format.into(),
        handling: crate::media::mode::handling(format).unwrap(),
        width: 640,
        height: 480,
        rate: Some(crate::media::mode::Rate::whole(30)),
    };
    let camera = CameraInfo {
        api: crate::media::CaptureApi::V4l2,
        path: "/dev/video-none".into(),
        by_id: None,
        by_path: None,
        card: "none".into(),
        driver: "none".into(),
        bus_info: "none".into(),
        modes: Vec::new(),
        controls: Vec::new(),
    };
    let plan = plan(EncoderChoice::X264);
    let encoder = plan.encoder.filter(|_| mode.handling != Handling::PassThrough);
    let device = "/dev/video-none".into();
    Plan { source: Source::Camera { mode }, camera: Some(Arc::new(camera)), encoder, device, ..plan }
}

#[test]
fn a_camera_that_is_gone_is_named_whatever_its_mode() {
    for format in ["YUYV", "NV12", "GREY", "RGB3", "MJPG", "H264"] {
        let plan = camera_plan(format);
        let fanout_sink = Arc::new(FanoutSink::new(Fanout::default()));
        let (sender, events) = mpsc::channel();
        let started = Pipeline::start(&plan, &fanout_sink, move |event| drop(sender.send(event)));
        assert!(started.is_err(), "{format}");
        let PipelineEvent::Failed { error, by_encoder } = events.recv().unwrap() else {
            panic!("{format}: not a failure");
        };
        assert!(matches!(error, MediaError::DeviceMissing { .. }), "{format}: {error}");
        assert!(!by_encoder);
    }
}

#[test]
fn what_the_camera_has_encoded_cannot_be_scaled() {
    let small = |format| crate::media::pipeline::small::settings(&camera_plan(format));
    assert_eq!(small("H264"), None);
    let raw = small("YUYV").unwrap();
    assert_eq!((raw.width, raw.height, raw.rate), (320, 180, camera_plan("YUYV").settings.rate));
    let tiny = plan(EncoderChoice::X264);
    let tiny = Plan { settings: EncodeSettings { width: 256, height: 192, ..tiny.settings }, ..tiny };
    assert_eq!(crate::media::pipeline::small::settings(&tiny), None);
}

#[test]
fn what_cameras_deliver_is_decoded_converted_and_encoded() {
    for (handling, caps, encode) in [
        (Handling::Raw("YUY2"), "video/x-raw,format=YUY2", None),
        (Handling::Raw("BGR"), "video/x-raw,format=BGR", None),
        (Handling::Raw("GRAY8"), "video/x-raw,format=GRAY8", None),
        (Handling::Jpeg, "video/x-raw,format=I420", Some("jpegenc")),
        (Handling::Jpeg, "video/x-raw,format=Y42B", Some("jpegenc")),
    ] {
        for encoder in [EncoderChoice::X264, EncoderChoice::OpenH264] {
            let plan = plan(encoder);
            let source = make("videotestsrc", "x").unwrap();
            source.set_property("is-live", true);
            let caps: gst::Caps = caps.parse().unwrap();
            let mut elements = vec![source, filter(caps).unwrap()];
            elements.extend(encode.map(|name| make(name, "x").unwrap()));
            elements.extend(conversion(handling).unwrap());
            elements.extend(plan.encoder.unwrap().build(&plan.settings).unwrap().elements);
            let units = crate::media::encoder::capture(elements, 3, PATIENCE).unwrap();
            assert_eq!(units.len(), 3, "{handling:?}");
            assert!(h264::is_key_frame(&units[0]), "{handling:?}");
        }
    }
}

#[test]
fn pictures_outlive_their_pipeline() {
    let fanout = Fanout::default();
    let mut subscription = fanout.subscribe();
    let (pipeline, events) = start(&plan(EncoderChoice::X264), &fanout);
    await_key_frame(&events);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let unit = runtime.block_on(subscription.next());
    drop(pipeline);
    assert!(h264::is_key_frame(&unit.data));
}

#[test]
fn errors_of_elements_are_told_in_words_that_help() {
    let device = "/dev/video0";
    let busy = glib::Error::new(gst::ResourceError::Busy, "busy");
    assert!(matches!(explain(device, &busy, None), MediaError::DeviceBusy { .. }));
    let open = glib::Error::new(gst::ResourceError::OpenReadWrite, "Could not open device");
    let denied = "gstv4l2.c(1): open:\nsystem error: Permission denied";
    assert!(matches!(explain(device, &open, Some(denied)), MediaError::DeviceDenied { .. }));
    let gone = glib::Error::new(gst::ResourceError::NotFound, "Cannot identify device");
    assert!(matches!(explain(device, &gone, None), MediaError::DeviceMissing { .. }));
    let full = glib::Error::new(gst::ResourceError::Settings, "Failed to allocate required memory.");
    let debug = "gstv4l2src.c(1): decide_allocation ():\nBuffer pool activation failed";
    let text = explain(device, &full, Some(debug)).to_string();
    assert!(text.contains("USB bus") && !text.contains("memory"), "{text}");
    let stopped = glib::Error::new(gst::StreamError::Failed, "Internal data stream error.");
    let debug = "gstbasesrc.c(1): loop ():\nstreaming stopped, reason not-negotiated (-4)";
    let text = explain(device, &stopped, Some(debug)).to_string();
    assert!(text.contains("Internal data stream error (streaming stopped"), "{text}");
}
