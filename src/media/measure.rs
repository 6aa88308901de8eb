//! What `porthole doctor` wants to know of the capture side: what would be used, and what it really does.
//!
//! Everything here opens devices and blocks for seconds: not for a tokio worker. Each call comes back
//! in bounded time, if need be without its thread, which a driver may hold for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc};

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::choice::DeviceChoice;
use crate::media::capture::libcamera;
use crate::media::capture::mode::Handling;
use crate::media::elements::{make, set};
use crate::media::encode::choice::EncoderKind;
use crate::media::encode::encoder::{EncodeSettings, EncoderSpec, order, parse_chain, raw_caps};
use crate::media::error::MediaError;
use crate::media::helper_thread::{HelperFailure, run_for};
use crate::media::pipeline::bus_errors::explain;
use crate::media::pipeline::running::KeyFrameSource;
use crate::media::pipeline::test_source;
use crate::media::pipeline::test_source::Feeder;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::planner::{Plan, Planner};
use crate::media::plan::source::{Source, camera_elements};

/// How long a device or an encoder may take for its first picture; some cameras need seconds.
const FIRST_PICTURE_LIMIT: Duration = Duration::from_secs(10);
/// What closing a device may take on top.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How long planning may take: it probes up to three encoders, and a camera's own H.264.
const PLAN_LIMIT: Duration = Duration::from_mins(1);
/// It is asked for a key frame after this many pictures,
const ASK_AFTER: u64 = 5;
/// and has had the time to hear it when so many have come: some keep three back, and a few more are on their way.
const HEARD_BY: u64 = 20;
/// Different pictures that are encoded in turn: 20 MB at 1280x720.
const PICTURES: usize = 15;
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";
const CORE: &str = "libgstreamer1.0-0";

/// What the daemon would use on this machine, now.
#[derive(Clone, Debug)]
pub struct Chosen {
    plan: Plan,
}

impl Chosen {
    /// The device for people: a path, or `test`.
    pub fn device(&self) -> &str {
        &self.plan.device
    }

    /// The camera; `None` for the test picture.
    pub fn camera(&self) -> Option<&CameraInfo> {
        self.plan.camera.as_deref()
    }

    /// The camera's pixel format; `None` for the test picture.
    pub fn format(&self) -> Option<&str> {
        match &self.plan.source {
            Source::Camera { mode } => Some(&mode.format),
            Source::Test | Source::TestH264(_) => None,
        }
    }

    /// Size, rate and bit rate.
    pub fn settings(&self) -> EncodeSettings {
        self.plan.settings
    }

    /// The encoder that would be used; `None` when the camera encodes, or when none works.
    pub fn encoder(&self) -> Option<&'static EncoderSpec> {
        self.plan.encoder
    }

    /// What of the look that is configured this camera does not give to everybody, in words.
    pub fn look_problem(&self) -> Option<String> {
        self.plan.styling.problem()
    }

    /// Whether the camera's own H.264 goes to viewers as it is.
    pub fn passes_through(&self) -> bool {
        match &self.plan.source {
            Source::Camera { mode } => mode.handling == Handling::PassThrough,
            Source::Test => false,
            Source::TestH264(_) => true,
        }
    }
}

/// The capture side of one configuration, looked at without running it.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// What the daemon would use, or why it has nothing.
    pub chosen: Result<Chosen, MediaError>,
    /// Camera and mode alone, where it is an encoder that is missing, or the camera did not start.
    pub camera_only: Option<Chosen>,
    /// What an encoder would be asked to do where nothing was chosen.
    pub usual: EncodeSettings,
}

/// Looks at cameras and encoders as the daemon does at its start. `may_capture` says whether a
/// camera may run for a moment.
pub fn outlook(config: &MediaConfig, may_capture: bool) -> Result<Outlook, MediaError> {
    let config = config.clone();
    on_a_thread("looking for cameras and encoders", PLAN_LIMIT, move || {
        gst::init().map_err(|error| MediaError::Framework { reason: error.to_string() })?;
        let mut planner = Planner::new(config);
        let chosen = planner.plan(may_capture).map(|plan| Chosen { plan });
        let kind = planner.encoder().map_or(EncoderKind::Software, |(status, _)| status.kind);
        let camera_only = match &chosen {
            Err(MediaError::NoEncoder { .. } | MediaError::Pipeline { .. }) => {
                planner.plan_source(kind).ok().map(|plan| Chosen { plan })
            }
            _ => None,
        };
        Ok(Outlook { chosen, camera_only, usual: planner.usual_settings(kind) })
    })
}

/// The GStreamer elements that this configuration needs and this machine lacks, each with the
/// Debian package that has it. Of the encoders one is enough.
pub fn missing_elements(config: &MediaConfig, chosen: Option<&Chosen>) -> Vec<(&'static str, &'static str)> {
    let mut needed =
        vec![("capsfilter", CORE), ("queue", CORE), ("videoconvert", BASE), ("videotestsrc", BASE)];
    needed.extend([("videoscale", BASE), ("videocrop", GOOD), ("videoflip", GOOD)]);
    needed.push(("h264parse", BAD));
    if config.device != DeviceChoice::Test {
        let by_libcamera = chosen.and_then(Chosen::camera).is_some_and(CameraInfo::is_libcamera);
        if by_libcamera || matches!(config.device, DeviceChoice::Libcamera(_)) {
            needed.push((libcamera::ELEMENT, libcamera::PACKAGE));
        } else {
            needed.push(("v4l2src", GOOD));
        }
        // Without a camera nobody knows whether it will speak JPEG; most webcams do.
        if chosen.is_none_or(|chosen| matches!(chosen.format(), Some("MJPG" | "JPEG"))) {
            needed.push(("jpegdec", GOOD));
        }
    }
    needed.retain(|(element, _)| !has_element(element));
    let passes_through = chosen.is_some_and(Chosen::passes_through);
    if !passes_through && !order(config.encoder).iter().any(|spec| has_element(spec.name)) {
        needed.push(("x264enc", UGLY));
    }
    needed
}

/// Whether GStreamer knows the element. False as well before [`outlook`] has started GStreamer.
pub fn has_element(name: &str) -> bool {
    gst::ElementFactory::find(name).is_some()
}

/// What a camera really delivers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceRate {
    /// Pictures per second, from the first picture to the last.
    pub fps: f64,
    /// Pictures that came.
    pub pictures: u64,
    /// From the start to the first picture.
    pub first: Duration,
}

/// Really captures for `span` after the first picture, and closes the device again.
pub fn measure_source(chosen: &Chosen, span: Duration) -> Result<SourceRate, MediaError> {
    let plan = chosen.plan.clone();
    let limit = FIRST_PICTURE_LIMIT + span + CLOSE_LIMIT;
    on_a_thread("capturing", limit, move || capture_rate(&plan, span))
}

fn capture_rate(plan: &Plan, span: Duration) -> Result<SourceRate, MediaError> {
    let failed = |reason: String| MediaError::Pipeline { device: plan.device.clone(), reason };
    let mut elements = match (&plan.source, &plan.camera) {
        (Source::Test, _) => vec![test_source::element(&plan.captured_settings())],
        (Source::TestH264(inside), _) => test_source::encoding(inside, &plan.captured_settings())?,
        (Source::Camera { mode }, Some(camera)) => camera_elements(camera, mode, &plan.settings, &[])?,
        (Source::Camera { .. }, None) => return Err(MediaError::NoCamera),
    };
    let source = elements.first().cloned();
    let sink = AppSink::builder().sync(false).max_buffers(2).drop(true).build();
    elements.push(sink.clone().upcast());
    let running = Running::new(&elements).map_err(failed)?;
    let started = Instant::now();
    // Why it does not start is told by the bus, below.
    let playing = running.0.set_state(gst::State::Playing).is_ok();
    let feeder = match (&plan.source, source) {
        (origin, Some(source)) if origin.is_test() => Some(Feeder::start(source, plan.captured_settings())?),
        _ => None,
    };
    let seen = if playing { watch(&sink, started, span) } else { None };
    drop(feeder);
    if let Some(error) = running.error(&plan.device) {
        return Err(error);
    }
    match seen {
        Some(Seen { first, last, pictures }) if pictures > 1 => {
            let fps = (pictures - 1) as f64 / last.duration_since(first).as_secs_f64().max(1e-6);
            Ok(SourceRate { fps, pictures, first: first.duration_since(started) })
        }
        Some(_) => Err(failed("it stopped after one picture".into())),
        None => Err(failed(format!("no picture came within {} s", FIRST_PICTURE_LIMIT.as_secs()))),
    }
}

/// Pictures that came, and when.
struct Seen {
    first: Instant,
    last: Instant,
    pictures: u64,
}

/// Counts pictures for `span` after the first; `None` when none comes.
fn watch(sink: &AppSink, started: Instant, span: Duration) -> Option<Seen> {
    let mut seen: Option<Seen> = None;
    loop {
        let end = seen.as_ref().map_or(started + FIRST_PICTURE_LIMIT, |seen| seen.first + span);
        let left = end.saturating_duration_since(Instant::now());
        let left = gst::ClockTime::try_from(left).unwrap_or(gst::ClockTime::ZERO);
        if sink.try_pull_sample(left).is_none() {
            return seen;
        }
        let now = Instant::now();
        let seen = seen.get_or_insert(Seen { first: now, last: now, pictures: 0 });
        (seen.last, seen.pictures) = (now, seen.pictures + 1);
    }
}

/// What an encoder really does, going as fast as it can.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoded {
    /// Pictures that came out.
    pub pictures: u64,
    /// How long they took.
    pub wall: Duration,
    /// Processor time that they took, in seconds of one core.
    pub cpu_s: f64,
}

impl Encoded {
    /// Pictures per second.
    pub fn fps(&self) -> f64 {
        self.pictures as f64 / self.wall.as_secs_f64().max(1e-6)
    }

    /// Percent of one core at `fps` pictures per second.
    pub fn load_percent(&self, fps: f64) -> f64 {
        self.cpu_s / self.pictures.max(1) as f64 * fps * 100.0
    }
}

/// Really encodes for `span`. `cpu_s` tells how much processor time this process has used.
pub fn measure_encoder(
    spec: &'static EncoderSpec,
    settings: EncodeSettings,
    span: Duration,
    cpu_s: fn() -> f64,
) -> Result<Encoded, MediaError> {
    let limit = span + FIRST_PICTURE_LIMIT + CLOSE_LIMIT;
    let measured = run_for("measure", limit, move || encode_rate(spec, &settings, span, cpu_s));
    measured.map_err(|failure| match failure {
        HelperFailure::Panicked(reason) => MediaError::Encoder { encoder: spec.name, reason },
        _ => MediaError::Encoder { encoder: spec.name, reason: "it hangs".into() },
    })?
}

fn encode_rate(
    spec: &'static EncoderSpec,
    settings: &EncodeSettings,
    span: Duration,
    cpu_s: fn() -> f64,
) -> Result<Encoded, MediaError> {
    let failed = |reason: String| MediaError::Encoder { encoder: spec.name, reason };
    let chain = spec.build(settings)?;
    let source = AppSrc::builder().caps(&raw_caps(settings)).format(gst::Format::Time).block(true).build();
    for (property, value) in [("max-buffers", "2"), ("max-bytes", "0")] {
        set(source.upcast_ref(), property, value);
    }
    let count = Arc::new(Output::default());
    let key_frames = KeyFrameSource::of(spec, chain.encoder.clone());
    let mut elements: Vec<gst::Element> = vec![source.clone().upcast(), make("videoconvert", BASE)?];
    elements.extend(chain.elements);
    elements.extend(parse_chain()?);
    elements.push(counting_sink(&count).upcast());
    count_damaged(&chain.encoder, &count);
    let pictures = pictures(settings);
    let running = Running::new(&elements).map_err(failed)?;
    running.0.set_state(gst::State::Playing).map_err(|error| failed(error.to_string()))?;
    let (started, cpu_before, mut has_asked) = (Instant::now(), cpu_s(), false);
    let interval = gst::ClockTime::from_seconds_f64(1.0 / settings.rate.fps().max(1.0));
    for (number, picture) in (0_u64..).zip(pictures.iter().cycle()) {
        let seen = count.pictures.load(Ordering::Relaxed);
        if seen >= ASK_AFTER && !has_asked {
            has_asked = key_frames.force();
        }
        if has_shown(started.elapsed(), span, seen, count.key_frames.load(Ordering::Relaxed)) {
            break;
        }
        let mut buffer = picture.copy();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(interval * number);
            buffer.set_duration(interval);
        }
        if source.push_buffer(buffer).is_err() {
            break;
        }
    }
    // What is still inside is a picture or two. Ended without an end of stream, because that makes
    // OpenH264 complain aloud.
    let pictures = count.pictures.load(Ordering::Relaxed);
    let (wall, cpu_s) = (started.elapsed(), cpu_s() - cpu_before);
    match running.error(spec.name) {
        Some(MediaError::Pipeline { reason, .. }) => Err(failed(reason)),
        Some(other) => Err(failed(other.to_string())),
        None if pictures == 0 => Err(failed("it gave no picture".into())),
        None if count.damaged.load(Ordering::Relaxed) > 0 => {
            let damaged = count.damaged.load(Ordering::Relaxed);
            Err(failed(format!("{damaged} of its {} pictures were damaged", pictures + damaged)))
        }
        None if has_asked && pictures >= HEARD_BY && count.key_frames.load(Ordering::Relaxed) < 2 => {
            Err(failed("it gives no key frame when asked for one".into()))
        }
        None => Ok(Encoded { pictures, wall, cpu_s }),
    }
}

/// Whether an encoder has shown how fast it is and, however slow that is, whether it hears the request for a key frame.
fn has_shown(elapsed: Duration, span: Duration, pictures: u64, key_frames: u64) -> bool {
    let is_known = key_frames > 1 || pictures >= HEARD_BY;
    elapsed >= if is_known { span } else { FIRST_PICTURE_LIMIT.max(span) }
}

/// What came out of an encoder.
#[derive(Default)]
struct Output {
    pictures: AtomicU64,
    damaged: AtomicU64,
    key_frames: AtomicU64,
}

/// Pictures that the driver marks as damaged reach nobody, here as in the daemon.
fn count_damaged(encoder: &gst::Element, count: &Arc<Output>) {
    let (Some(pad), count) = (encoder.static_pad("src"), Arc::clone(count)) else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let is_damaged =
            info.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        if !is_damaged {
            return gst::PadProbeReturn::Ok;
        }
        count.damaged.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Handled // not `Drop`: see `EncoderBitrate::new`
    });
}

fn counting_sink(count: &Arc<Output>) -> AppSink {
    let count = Arc::clone(count);
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let flags = sample.buffer().map_or(gst::BufferFlags::empty(), gst::BufferRef::flags);
            let is_key_frame = !flags.contains(gst::BufferFlags::DELTA_UNIT);
            count.key_frames.fetch_add(u64::from(is_key_frame), Ordering::Relaxed);
            count.pictures.fetch_add(1, Ordering::Relaxed);
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    AppSink::builder().sync(false).callbacks(callbacks).build()
}

/// Pictures of I420 with detail that moves, so that the encoder has real work; any size.
fn pictures(settings: &EncodeSettings) -> Vec<gst::Buffer> {
    let (width, height) = (settings.width as usize, settings.height as usize);
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    let picture = |number: usize| {
        let mut data = Vec::with_capacity(width * height + 2 * chroma);
        for y in 0..height {
            // Stripes of texture and of smooth ground, each moving at its own speed.
            let speed = 1 + y / 64 % 4;
            let textured = (y / 32) % 2 == 0;
            data.extend((0..width).map(|x| {
                let x = x + number * speed * 2;
                let texture =
                    if textured { ((x.wrapping_mul(2_654_435_761) >> 7) ^ (y * 31)) & 0x1f } else { 0 };
                // Masked to a byte.
                #[allow(clippy::cast_possible_truncation)]
                let luma = ((x / 4 + y / 4) & 0x7f) as u8;
                48 + luma + u8::try_from(texture).unwrap_or(0)
            }));
        }
        data.resize(width * height + 2 * chroma, 128);
        gst::Buffer::from_mut_slice(data)
    };
    (0..PICTURES).map(picture).collect()
}

/// A short pipeline; whatever happens, its devices are closed.
struct Running(gst::Pipeline);

impl Running {
    fn new(elements: &[gst::Element]) -> Result<Self, String> {
        let running = Self(gst::Pipeline::new());
        running.0.add_many(elements).map_err(|error| error.to_string())?;
        gst::Element::link_many(elements).map_err(|error| error.to_string())?;
        Ok(running)
    }

    /// An error that was reported so far.
    fn error(&self, device: &str) -> Option<MediaError> {
        let message = self.0.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(explain(device, &error.error(), error.debug().as_deref())),
            _ => None,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing can be done about a device that does not close.
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// Runs `work` on a thread of its own and gives it up after `limit`.
fn on_a_thread<T: Send + 'static>(
    what: &'static str,
    limit: Duration,
    work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
) -> Result<T, MediaError> {
    let late = || format!("a driver did not come back within {} s", limit.as_secs());
    let outcome = run_for("measure", limit, work);
    outcome.map_err(|failure| MediaError::System { what, reason: failure.reason(late) })?
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
