//! The encoder table: hardware first, then x264, then OpenH264, each with low-latency settings and
//! each believed only after it has really encoded a few pictures.

use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;

use crate::media::board::BoardClass;
use crate::media::capture::mode::Rate;
use crate::media::elements::{as_i32, bits_per_s, filter, make, set, set_v4l2_controls, start_refusal};
use crate::media::encode::bitrate_limits::BitrateLimits;
use crate::media::encode::choice::{EncoderChoice, EncoderKind};
use crate::media::error::MediaError;
use crate::media::helper_thread::run_for;
use crate::stream::h264;
use crate::stream::h264::Sps;

/// How long one encoder may take to encode the pictures of its probe; emulated machines are slow.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// Pictures of a probe: enough to see that the encoder goes on after its key frame.
const PROBE_PICTURES: usize = 3;
/// How far the bit rate may be exceeded for a moment: a key frame costs many times a delta frame,
/// and a smaller buffer would make it ugly.
const VBV_MS: u32 = 400;

/// One encoder of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct EncoderSpec {
    /// The GStreamer element.
    pub name: &'static str,
    /// Hardware or software.
    pub kind: EncoderKind,
    /// The Debian package that has it.
    pub package: &'static str,
    choice: EncoderChoice,
    /// Raw formats it is fed with; empty lets it negotiate (hardware knows best).
    formats: &'static [&'static str],
}

/// In the order they are tried.
pub const TABLE: [EncoderSpec; 3] = [
    EncoderSpec {
        name: "v4l2h264enc",
        kind: EncoderKind::Hardware,
        package: "gstreamer1.0-plugins-good (and the board's codec driver)",
        choice: EncoderChoice::V4l2H264,
        formats: &[],
    },
    EncoderSpec {
        name: "x264enc",
        kind: EncoderKind::Software,
        package: "gstreamer1.0-plugins-ugly",
        choice: EncoderChoice::X264,
        formats: &["I420", "NV12"],
    },
    EncoderSpec {
        name: "openh264enc",
        kind: EncoderKind::Software,
        package: "gstreamer1.0-plugins-bad",
        choice: EncoderChoice::OpenH264,
        formats: &["I420"],
    },
];

/// The table with the configured encoder first.
pub fn order(choice: EncoderChoice) -> Vec<&'static EncoderSpec> {
    let mut order: Vec<&EncoderSpec> = TABLE.iter().collect();
    order.sort_by_key(|spec| spec.choice != choice);
    order
}

/// What an encoder is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeSettings {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures per second.
    pub rate: Rate,
    /// Bit rate in kbit/s.
    pub bitrate_kbps: u32,
    /// Longest time between key frames, in seconds.
    pub keyframe_interval_s: u32,
    /// How strong the processor is.
    pub board: BoardClass,
    /// Processor cores.
    pub cores: usize,
}

impl EncodeSettings {
    /// Longest distance between key frames in pictures.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
    pub fn keyframe_interval(&self) -> u32 {
        (self.rate.fps() * f64::from(self.keyframe_interval_s)).clamp(1.0, 1e6) as u32
    }

    /// Threads for a software encoder: more slices than that cost picture quality and memory.
    fn threads(&self) -> u32 {
        u32::try_from(self.cores.clamp(1, 4)).unwrap_or(1)
    }

    /// x264's effort; its slower presets buy little at these bit rates for much processor.
    fn speed_preset(&self) -> &'static str {
        match self.board {
            BoardClass::Strong if self.cores >= 4 => "superfast",
            _ => "ultrafast",
        }
    }

    /// Bcm2835 hardware refuses a stream above its level, and defaults to 4.
    fn level(&self) -> &'static str {
        let blocks = u64::from(self.width.div_ceil(16)) * u64::from(self.height.div_ceil(16));
        let blocks_per_s = blocks as f64 * self.rate.fps();
        if blocks <= 8192 && blocks_per_s <= 245_760.0 { "4" } else { "4.2" }
    }
}

/// Bit rate in kbit/s when the configuration is silent: 0.09 bit per pixel, 830 kbit/s at 640x480
/// and 2500 kbit/s at 1280x720, 30 pictures per second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
pub fn default_bitrate_kbps(width: u32, height: u32, rate: Rate) -> u32 {
    let kbps = f64::from(width) * f64::from(height) * rate.fps().min(60.0) * 0.09 / 1000.0;
    (kbps.clamp(300.0, 8000.0) as u32).div_ceil(10) * 10
}

/// An encoder with what must stand before and after it.
pub struct EncoderChain {
    /// In the order they are linked.
    pub elements: Vec<gst::Element>,
    /// The encoder itself.
    pub encoder: gst::Element,
}

/// What a probe found.
#[derive(Clone, Copy, Debug)]
pub struct EncoderFindings {
    /// Of its stream.
    pub sps: Sps,
    /// What its driver takes as a bit rate, where it says so.
    pub bitrate_limits: Option<BitrateLimits>,
}

/// The plugin with the elements of V4L2. It makes those for encoders only where there is a device.
const V4L2_PLUGIN: &str = "video4linux2";

impl EncoderSpec {
    /// Why there is no such element although its package is installed; `None` where it is the package that is missing.
    pub fn absent(&self) -> Option<MediaError> {
        let is_installed =
            self.kind == EncoderKind::Hardware && gst::Registry::get().find_plugin(V4L2_PLUGIN).is_some();
        is_installed.then(|| MediaError::NoSuchDevice { element: self.name.to_owned() })
    }

    /// Builds this encoder with its settings.
    pub fn build(&self, settings: &EncodeSettings) -> Result<EncoderChain, MediaError> {
        let encoder = make(self.name, self.package).map_err(|missing| self.absent().unwrap_or(missing))?;
        let interval = settings.keyframe_interval().to_string();
        let mut elements = Vec::new();
        if !self.formats.is_empty() {
            let formats = gst::List::new(self.formats);
            elements.push(filter(gst::Caps::builder("video/x-raw").field("format", formats).build())?);
        }
        elements.push(encoder.clone());
        let mut caps = gst::Caps::builder("video/x-h264");
        match self.choice {
            EncoderChoice::V4l2H264 => {
                let controls = [
                    ("repeat_sequence_header", 1),
                    ("h264_i_frame_period", as_i32(settings.keyframe_interval())),
                    ("video_bitrate", bits_per_s(settings.bitrate_kbps)),
                ];
                set_v4l2_controls(&encoder, &controls);
                let profiles = ["constrained-baseline", "baseline", "main", "high"];
                caps = caps.field("profile", gst::List::new(profiles)).field("level", settings.level());
            }
            EncoderChoice::X264 | EncoderChoice::Auto => {
                let threads = settings.threads().to_string();
                for (property, value) in [
                    ("tune", "zerolatency"),
                    ("speed-preset", settings.speed_preset()),
                    ("bframes", "0"),
                    ("key-int-max", interval.as_str()),
                    ("rc-lookahead", "0"),
                    ("sync-lookahead", "0"),
                    ("sliced-threads", "true"),
                    ("threads", threads.as_str()),
                    ("vbv-buf-capacity", &VBV_MS.to_string()),
                    ("byte-stream", "true"),
                    ("aud", "false"),
                    // A cut in the picture must not cost a key frame on top.
                    ("option-string", "scenecut=0"),
                ] {
                    set(&encoder, property, value);
                }
                caps = caps.field("profile", "constrained-baseline");
            }
            EncoderChoice::OpenH264 => {
                for (property, value) in [
                    ("rate-control", "bitrate"),
                    ("scene-change-detection", "false"),
                    ("enable-frame-skip", "true"),
                    ("complexity", "low"),
                    ("gop-size", interval.as_str()),
                    ("multi-thread", &settings.threads().to_string()),
                ] {
                    set(&encoder, property, value);
                }
                caps = caps.field("profile", "constrained-baseline");
            }
        }
        if self.choice != EncoderChoice::V4l2H264 {
            self.set_bitrate(&encoder, settings.bitrate_kbps, false);
        }
        elements.push(filter(caps.build())?);
        Ok(EncoderChain { elements, encoder })
    }

    /// Whether it can be handed buffers of a camera's driver with pictures of this format (V4L2's four characters) and size in pixels.
    /// Such encoders lay rows out in steps of 32 and pictures in steps of 16 lines: of another size they would take colours for
    /// lines. Whether it takes these very buffers is seen when it does.
    pub fn takes_buffers_of(&self, format: &str, width: u32, height: u32) -> bool {
        let is_aligned = width.is_multiple_of(32) && height.is_multiple_of(16);
        self.choice == EncoderChoice::V4l2H264 && is_aligned && matches!(format, "YUYV" | "YU12" | "NV12")
    }

    /// Has `encoder` take the buffers of a camera's driver as they are.
    pub fn import_buffers(encoder: &gst::Element) {
        set(encoder, "output-io-mode", "dmabuf-import");
    }

    /// The same encoder, taken for one of a board.
    #[cfg(test)]
    #[must_use]
    pub const fn on_board(&self) -> Self {
        Self { kind: EncoderKind::Hardware, ..*self }
    }

    /// Whether its rate control is known to bear half of the pictures that were announced.
    pub fn can_halve(&self) -> bool {
        self.choice != EncoderChoice::V4l2H264
    }

    /// Changes the bit rate, also while running; no key frame comes of it. `is_halved`: only every other picture comes.
    pub fn set_bitrate(&self, encoder: &gst::Element, bitrate_kbps: u32, is_halved: bool) {
        match self.choice {
            EncoderChoice::V4l2H264 => {
                set_v4l2_controls(encoder, &[("video_bitrate", bits_per_s(bitrate_kbps))]);
            }
            EncoderChoice::X264 | EncoderChoice::Auto => {
                // It counts pictures, and not time: half of them would get half of the bits.
                let pictures = if is_halved { 2 } else { 1 };
                set(encoder, "vbv-buf-capacity", &(VBV_MS / pictures).to_string());
                set(encoder, "bitrate", &bitrate_kbps.saturating_mul(pictures).to_string());
            }
            EncoderChoice::OpenH264 => {
                let bits = bitrate_kbps.saturating_mul(1000);
                set(encoder, "bitrate", &bits.to_string());
                set(encoder, "max-bitrate", &bits.saturating_mul(2).to_string());
            }
        }
    }

    /// Whether a key frame is asked for by a V4L2 control instead of an event: `v4l2h264enc` of
    /// GStreamer 1.22 does not pass the event on to its driver.
    pub fn key_frame_by_control(&self) -> bool {
        self.choice == EncoderChoice::V4l2H264
    }

    /// Really encodes a few pictures with these settings and reads what came out. Runs on a thread
    /// of its own: a driver that hangs is given up after its time-out, thread and all.
    pub fn probe(&'static self, settings: EncodeSettings) -> Result<EncoderFindings, MediaError> {
        let failed = |reason: String| MediaError::Encoder { encoder: self.name, reason };
        let limit = PROBE_TIMEOUT + Duration::from_secs(2);
        let outcome = run_for("encoder-probe", limit, move || self.probe_here(&settings));
        outcome.map_err(|failure| failed(failure.reason(|| "it hangs".into())))?
    }

    fn probe_here(&self, settings: &EncodeSettings) -> Result<EncoderFindings, MediaError> {
        let failed = |reason: String| MediaError::Encoder { encoder: self.name, reason };
        let chain = self.build(settings)?;
        let source = make("videotestsrc", "gstreamer1.0-plugins-base")?;
        set(&source, "pattern", "black");
        source.set_property("num-buffers", 30_i32);
        let mut elements = vec![source, filter(raw_caps(settings))?];
        elements.push(make("videoconvert", "gstreamer1.0-plugins-base")?);
        elements.extend(chain.elements);
        let units =
            capture(elements, PROBE_PICTURES, PROBE_TIMEOUT).map_err(|failure| failed(failure.reason))?;
        let first = units.first().ok_or_else(|| failed("it gave no picture".into()))?;
        if units.len() < PROBE_PICTURES {
            return Err(failed(format!("it stopped after {} pictures", units.len())));
        }
        if !h264::is_key_frame(first) {
            return Err(failed("its first picture is no key frame".into()));
        }
        let sps = h264::find_sps(first).ok_or_else(|| failed("its stream has no readable SPS".into()))?;
        Ok(EncoderFindings { sps, bitrate_limits: BitrateLimits::of(&chain.encoder) })
    }
}

/// Raw video of this size and rate.
pub fn raw_caps(settings: &EncodeSettings) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", as_i32(settings.width))
        .field("height", as_i32(settings.height))
        .field("framerate", gst::Fraction::new(as_i32(settings.rate.num), as_i32(settings.rate.den)))
        .build()
}

/// Why a short pipeline gave nothing.
#[derive(Debug)]
pub struct CaptureFailure {
    /// For people.
    pub reason: String,
    /// Another program has the device.
    pub is_busy: bool,
}

impl From<String> for CaptureFailure {
    fn from(reason: String) -> Self {
        Self { reason, is_busy: false }
    }
}

/// Runs a short pipeline of `elements` and gives up to `count` access units of its H.264, or
/// GStreamer's words of why there are none. The device is closed again when this returns.
pub fn capture(
    elements: Vec<gst::Element>,
    count: usize,
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, CaptureFailure> {
    let pipeline = gst::Pipeline::new();
    let outcome = capture_with(&pipeline, elements, count, timeout);
    let said = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    let closed = pipeline.set_state(gst::State::Null);
    let units = outcome?;
    if let (true, Some(message)) = (units.is_empty(), &said)
        && let gst::MessageView::Error(error) = message.view()
    {
        let (error, debug) = (error.error(), error.debug());
        let debug = debug.as_deref().unwrap_or_default();
        let is_busy = error.matches(gst::ResourceError::Busy) || debug.contains("Device or resource busy");
        let words = start_refusal(debug).unwrap_or(error.message());
        return Err(CaptureFailure { reason: words.to_owned(), is_busy });
    }
    closed.map_err(|error| error.to_string())?;
    Ok(units)
}

fn capture_with(
    pipeline: &gst::Pipeline,
    mut elements: Vec<gst::Element>,
    count: usize,
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    elements.extend(parse_chain().map_err(|error| words(&error))?);
    let sink = AppSink::builder().sync(false).build();
    elements.push(sink.clone().upcast());
    pipeline.add_many(&elements).map_err(|error| words(&error))?;
    gst::Element::link_many(&elements).map_err(|error| words(&error))?;
    // The bus carries the details of a refusal, so this error is looked at only afterwards.
    let started = pipeline.set_state(gst::State::Playing);
    let deadline = Instant::now() + timeout;
    let mut units = Vec::new();
    while started.is_ok() && units.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = gst::ClockTime::try_from(left).unwrap_or(gst::ClockTime::ZERO);
        let Some(sample) = sink.try_pull_sample(left) else { break };
        let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
        units.extend(map.map(|map| map.to_vec()));
    }
    Ok(units)
}

/// What every stream passes before it is looked at: whole access units in byte-stream format,
/// with parameter sets before each key frame.
pub fn parse_chain() -> Result<[gst::Element; 2], MediaError> {
    let parse = make("h264parse", "gstreamer1.0-plugins-bad")?;
    parse.set_property("config-interval", -1_i32);
    let caps = gst::Caps::builder("video/x-h264")
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .build();
    Ok([parse, filter(caps)?])
}

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
