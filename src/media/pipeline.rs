//! The running GStreamer pipeline: built from a plan, feeding the fan-out, reporting by events.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use gstreamer_video as gst_video;

use super::controls::ControlInfo;
use super::encoder::{
    EncodeSettings, EncoderSpec, as_i32, bits_per_s, filter, make, parse_chain, set, set_v4l2_controls,
};
use super::h264;
use super::mode::{Handling, ModeChoice};
use super::planner::{Plan, Source};
use super::snapshot::Still;
use super::tap::Tap;
use super::test_source::{self, Feeder};
use super::timeline::{Meter, Timeline};
use super::trouble::listen;
use super::{AccessUnit, CameraInfo, MediaError, libcamera};
use crate::fanout::Fanout;

/// What a pipeline says of itself, from its own threads.
#[derive(Debug)]
pub enum PipelineEvent {
    /// The first picture of this run came out.
    FirstPicture {
        /// Whether decoders can start at it.
        key_frame: bool,
    },
    /// A key frame is about to be published.
    KeyFrame,
    /// The picture that [`Pipeline::take_still`] asked for.
    Still(Still),
    /// The pipeline cannot go on.
    Failed {
        /// Why.
        error: MediaError,
        /// Whether the encoder, not the camera, is the cause.
        by_encoder: bool,
    },
}

/// What outlives single pipelines: where pictures go and what is counted.
pub struct Flow {
    fanout: Fanout,
    epoch: Instant,
    timeline: Mutex<Timeline>,
    meter: Mutex<Meter>,
    /// Time of the last picture in milliseconds since `epoch`.
    last_picture_ms: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flow {
    /// Media time starts now.
    pub fn new(fanout: Fanout) -> Self {
        let epoch = Instant::now();
        Self {
            fanout,
            epoch,
            timeline: Mutex::new(Timeline::new(epoch)),
            meter: Mutex::default(),
            last_picture_ms: AtomicU64::new(0),
        }
    }

    /// When the last picture came out.
    pub fn last_picture(&self) -> Instant {
        self.epoch + Duration::from_millis(self.last_picture_ms.load(Ordering::Relaxed))
    }

    /// The figures of the stream.
    pub fn meter(&self) -> MutexGuard<'_, Meter> {
        lock(&self.meter)
    }

    fn start_run(&self) {
        lock(&self.timeline).start_run();
        self.meter().start_run();
    }

    fn picture(&self, picture: Picture, report: &dyn Fn(PipelineEvent), first: bool) {
        let Picture { data, stamp, age } = picture;
        let now = Instant::now();
        let key_frame = h264::is_key_frame(&data);
        let captured_at = now.checked_sub(age).unwrap_or(now);
        let media_time = lock(&self.timeline).media_time(stamp, captured_at);
        self.meter().frame(now, data.len(), key_frame, age);
        let since_epoch = now.saturating_duration_since(self.epoch).as_millis();
        self.last_picture_ms.store(u64::try_from(since_epoch).unwrap_or(0), Ordering::Relaxed);
        if first {
            report(PipelineEvent::FirstPicture { key_frame });
        }
        if key_frame {
            // Before publishing: a subscriber that comes in between gets one key frame too many;
            // the other way round it would get none.
            report(PipelineEvent::KeyFrame);
        }
        self.fanout.publish(&AccessUnit::new(data, media_time, captured_at, now, key_frame));
    }
}

/// One encoded picture with its times.
struct Picture {
    data: Bytes,
    /// Running time at capture.
    stamp: Option<Duration>,
    /// Time since capture.
    age: Duration,
}

/// A pipeline in state PLAYING. Dropping it closes the device; both may block.
pub struct Pipeline {
    elements: gst::Pipeline,
    key_frames: KeyFrameSource,
    encoder: Option<(&'static EncoderSpec, gst::Element)>,
    /// A camera that encodes itself and has a control for its bit rate.
    rated_camera: Option<gst::Element>,
    /// Draws the test picture; stopped first.
    feeder: Option<Feeder>,
    tap: Tap,
    source: Option<gst::Element>,
}

/// Where key frames are asked for.
enum KeyFrameSource {
    Encoder(gst::Element),
    /// A hardware encoder, or a camera that encodes itself and has a control for it.
    Control(gst::Element),
    /// A camera that cannot be asked: its own interval must do.
    None,
}

impl Pipeline {
    /// Builds and starts what `plan` says. Details of a refusal may follow by `report`.
    pub fn start(
        plan: &Plan,
        flow: &Arc<Flow>,
        report: impl Fn(PipelineEvent) + Send + Sync + 'static,
    ) -> Result<Self, MediaError> {
        let report: Arc<dyn Fn(PipelineEvent) + Send + Sync> = Arc::new(report);
        let mut elements = source_elements(plan)?;
        let source = elements.first().cloned();
        // The camera's own pictures, before anything may drop one.
        let before_encoder = elements.get(1).or(elements.first()).cloned();
        let mut encoder = None;
        if let Some(spec) = plan.encoder {
            let chain = spec.build(&plan.settings)?;
            encoder = Some((spec, chain.encoder));
            elements.extend(chain.elements);
        }
        elements.extend(parse_chain()?);
        let after_parser = elements.last().cloned();
        let tapped = if plan.encoder.is_some() { before_encoder } else { after_parser };
        let tap = Tap::on(tapped.as_ref(), report.clone())?;
        // Frames of hardware live in a driver's few buffers, which viewers must not hold.
        let copy = !matches!(plan.encoder, Some(spec) if spec.kind == super::EncoderKind::Software);
        flow.start_run();
        elements.push(sink(flow.clone(), report.clone(), copy).upcast());

        let pipeline = gst::Pipeline::new();
        let failed = |reason: String| MediaError::Pipeline { device: plan.device.clone(), reason };
        pipeline.add_many(&elements).map_err(|error| failed(error.to_string()))?;
        gst::Element::link_many(&elements).map_err(|error| failed(error.to_string()))?;
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let encoder_element = encoder.as_ref().map(|found| found.1.clone());
        listen(&pipeline, plan.device.clone(), encoder_element.clone(), report);

        let key_frames = key_frame_source(plan, source.as_ref(), encoder_element);
        let rated = plan.camera.as_ref().is_some_and(|info| info.has_control("video_bitrate"));
        let rated_camera = source.clone().filter(|_| rated);
        let mut running = Self {
            rated_camera,
            elements: pipeline,
            key_frames,
            encoder,
            feeder: None,
            tap,
            source: source.clone(),
        };
        running
            .elements
            .set_state(gst::State::Playing)
            .map_err(|_| failed("the device or the encoder refused to start".into()))?;
        if let (Source::Test, Some(source)) = (&plan.source, source) {
            running.feeder = Some(Feeder::start(source, plan.settings)?);
        }
        Ok(running)
    }

    /// Asks for a key frame; returns whether there is somebody to ask.
    pub fn force_key_frame(&self) -> bool {
        match &self.key_frames {
            KeyFrameSource::Encoder(encoder) => {
                let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
                encoder.static_pad("src").is_some_and(|pad| pad.send_event(event))
            }
            KeyFrameSource::Control(element) => {
                set_v4l2_controls(element, &[("force_key_frame", 1)]);
                true
            }
            KeyFrameSource::None => false,
        }
    }

    /// Has the next picture reported as [`PipelineEvent::Still`]. Of a camera that encodes itself it is the next key
    /// frame, which is asked for where that is possible.
    pub fn take_still(&self) {
        self.tap.arm();
        if self.encoder.is_none() {
            self.force_key_frame();
        }
    }

    /// Sets a control of a camera that libcamera drives.
    pub fn set_source_control(&self, control: &ControlInfo, value: i64) {
        if let Some(source) = &self.source {
            libcamera::set_control(source, control, value);
        }
    }

    /// Changes the encoder's bit rate, where there is one that can be told.
    pub fn set_bitrate(&self, bitrate_kbps: u32) {
        match (&self.encoder, &self.rated_camera) {
            (Some((spec, encoder)), _) => spec.set_bitrate(encoder, bitrate_kbps),
            (None, Some(camera)) => {
                set_v4l2_controls(camera, &[("video_bitrate", bits_per_s(bitrate_kbps))]);
            }
            (None, None) => {}
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.feeder.take();
        if let Some(bus) = self.elements.bus() {
            bus.unset_sync_handler();
        }
        if let Err(error) = self.elements.set_state(gst::State::Null) {
            tracing::warn!(%error, "the pipeline did not stop cleanly");
        }
    }
}

fn key_frame_source(
    plan: &Plan,
    source: Option<&gst::Element>,
    encoder: Option<gst::Element>,
) -> KeyFrameSource {
    let askable = plan.camera.as_ref().is_some_and(|info| info.has_control("force_key_frame"));
    match (encoder, source) {
        (Some(encoder), _) if plan.encoder.is_some_and(EncoderSpec::key_frame_by_control) => {
            KeyFrameSource::Control(encoder)
        }
        (Some(encoder), _) => KeyFrameSource::Encoder(encoder),
        (None, Some(source)) if askable => KeyFrameSource::Control(source.clone()),
        (None, _) => KeyFrameSource::None,
    }
}

fn source_elements(plan: &Plan) -> Result<Vec<gst::Element>, MediaError> {
    let Source::Camera { mode } = &plan.source else {
        return Ok(vec![test_source::element(&plan.settings)]);
    };
    let Some(camera) = &plan.camera else { return Err(MediaError::NoCamera) };
    let mut elements = camera_elements(camera, mode, &plan.settings)?;
    elements.extend(conversion(mode.handling)?);
    Ok(elements)
}

/// What stands between the camera and the encoder.
fn conversion(handling: Handling) -> Result<Vec<gst::Element>, MediaError> {
    let convert = || make("videoconvert", "gstreamer1.0-plugins-base");
    Ok(match handling {
        Handling::PassThrough => Vec::new(),
        Handling::Raw(_) => vec![leaky_queue()?, convert()?],
        Handling::Jpeg => {
            let decoder = make("jpegdec", "gstreamer1.0-plugins-good")?;
            // Webcams cut a picture short now and then; that is no reason to stop.
            set(&decoder, "max-errors", "-1");
            // Decoding and encoding run side by side, at the price of one picture in between.
            vec![leaky_queue()?, decoder, leaky_queue()?, convert()?]
        }
    })
}

/// A queue of one picture. Old pictures are dropped before the encoder, never after it.
fn leaky_queue() -> Result<gst::Element, MediaError> {
    let queue = make("queue", "libgstreamer1.0-0")?;
    for (property, value) in
        [("leaky", "downstream"), ("max-size-buffers", "1"), ("max-size-bytes", "0"), ("max-size-time", "0")]
    {
        set(&queue, property, value);
    }
    Ok(queue)
}

/// The camera's element and the caps of `mode`.
pub fn camera_elements(
    camera: &CameraInfo,
    mode: &ModeChoice,
    settings: &EncodeSettings,
) -> Result<Vec<gst::Element>, MediaError> {
    if camera.is_libcamera() {
        let source = make(libcamera::ELEMENT, libcamera::PACKAGE)?;
        source.set_property("camera-name", &camera.bus_info);
        // It lists no rates, but takes one.
        let rate = mode.rate.unwrap_or(settings.rate);
        return Ok(vec![source, filter(camera_caps(&ModeChoice { rate: Some(rate), ..mode.clone() }))?]);
    }
    let source = make("v4l2src", "gstreamer1.0-plugins-good")?;
    source.set_property("device", camera.path.display().to_string());
    if mode.handling == Handling::PassThrough {
        // Cameras with an encoder of the Raspberry Pi's kind; others ignore what they lack.
        let wanted = [
            ("repeat_sequence_header", 1),
            ("h264_profile", 1), // constrained baseline: what every browser takes
            ("h264_i_frame_period", as_i32(settings.keyframe_interval())),
            // The Pi's default is 10 Mbit/s.
            ("video_bitrate", bits_per_s(settings.bitrate_kbps)),
        ];
        let known: Vec<_> = wanted.into_iter().filter(|(name, _)| camera.has_control(name)).collect();
        set_v4l2_controls(&source, &known);
    }
    Ok(vec![source, filter(camera_caps(mode))?])
}

fn camera_caps(mode: &ModeChoice) -> gst::Caps {
    let caps = match mode.handling {
        Handling::PassThrough => gst::Caps::builder("video/x-h264"),
        Handling::Jpeg => gst::Caps::builder("image/jpeg"),
        Handling::Raw(format) => gst::Caps::builder("video/x-raw").field("format", format),
    };
    let caps = caps.field("width", as_i32(mode.width)).field("height", as_i32(mode.height));
    let rate = mode.rate.map(|rate| gst::Fraction::new(as_i32(rate.num), as_i32(rate.den)));
    caps.field_if_some("framerate", rate).build()
}

fn sink(flow: Arc<Flow>, report: Arc<dyn Fn(PipelineEvent) + Send + Sync>, copy: bool) -> AppSink {
    let first = AtomicBool::new(true);
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let picture = picture(sink, &sample, copy).ok_or(gst::FlowError::Error)?;
            flow.picture(picture, &*report, first.swap(false, Ordering::Relaxed));
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    let sink = AppSink::builder().sync(false).async_(false).max_buffers(4).callbacks(callbacks);
    sink.build()
}

fn picture(sink: &AppSink, sample: &gst::Sample, copy: bool) -> Option<Picture> {
    let buffer = sample.buffer_owned()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let stamp = segment.to_running_time(buffer.pts());
    let age = match (sink.current_running_time(), stamp) {
        (Some(now), Some(stamp)) => now.saturating_sub(stamp).into(),
        _ => Duration::ZERO,
    };
    let map = buffer.into_mapped_buffer_readable().ok()?;
    let data = if copy { Bytes::copy_from_slice(&map) } else { Bytes::from_owner(map) };
    Some(Picture { data, stamp: stamp.map(Duration::from), age })
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
