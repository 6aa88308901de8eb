//! The running capture pipeline: card, gain, level, Opus, outlet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};

use super::card_clock::CardDelivery;
use super::config::AudioConfig;
use super::find::{ALSA, PULSE};
use super::outlet::{EncodedFrame, Outlet};
use super::source::{SoundDevice, SoundSource};
use super::status::AudioLevel;
use super::test_card::{self, TestCard};
use super::words;
use crate::media::elements::{as_i32, bits_per_s, filter, make, set};
use crate::media::error::MediaError;
use crate::stream::OPUS_CLOCK_RATE_HZ;

/// Where the elements are that every installation has.
pub(super) const BASE: &str = "gstreamer1.0-plugins-base";
/// And those beside them.
pub(super) const GOOD: &str = "gstreamer1.0-plugins-good";
/// One packet's sound. What is spoken is 10 ms earlier at the other end than with the usual 20, for 4 kbyte/s of headers.
const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(10);
/// Loss that the in-band repair is made for; with none, Opus makes none.
const EXPECTED_LOSS_PERCENT: &str = "5";
/// Level messages come so often.
const LEVEL_INTERVAL_NS: &str = "100000000";

/// What becomes of a capture.
#[derive(Debug)]
pub enum CaptureEvent {
    /// The card gives something.
    FirstSound,
    /// How loud it is.
    Level(AudioLevel),
    /// It has ended.
    Failed(MediaError),
}

/// Takes what becomes of it, on whatever thread.
pub type CaptureReporter = Arc<dyn Fn(CaptureEvent) + Send + Sync>;

/// A pipeline that captures until it is dropped, which may wait for a driver.
#[derive(Debug)]
pub struct CapturePipeline {
    pipeline: gst::Pipeline,
    source: gst::Element,
    /// What ends with it.
    test_card: Option<TestCard>,
}

impl CapturePipeline {
    /// Opens `microphone` and has its sound go to `outlet`. May wait for a driver.
    pub fn start(
        microphone: &SoundDevice,
        config: &AudioConfig,
        outlet: &Arc<Outlet>,
        report: &CaptureReporter,
    ) -> Result<Self, MediaError> {
        gst::init().map_err(|error| MediaError::Framework { reason: error.to_string() })?;
        let run = outlet.start_run();
        let source = source_element(&microphone.source)?;
        let pipeline = gst::Pipeline::new();
        // Not the card's: times are made here, see `card_clock`.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let mut chain = vec![source.clone()];
        chain.extend(processing(config)?);
        chain.push(encoder(config, microphone.source != SoundSource::Test)?);
        chain.push(sink(Arc::clone(outlet), run).upcast());
        let broken = |error: &dyn std::fmt::Display| MediaError::Audio {
            card: microphone.card.clone(),
            reason: error.to_string(),
        };
        pipeline.add_many(&chain).map_err(|error| broken(&error))?;
        gst::Element::link_many(&chain).map_err(|error| broken(&error))?;
        let said = listen(&pipeline, microphone, report);
        stamp(&source, outlet, run, Arc::clone(report));
        // From here on it is closed however this ends.
        let mut capture = Self { pipeline, source, test_card: None };
        if capture.pipeline.set_state(gst::State::Playing).is_err() {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(said.unwrap_or_else(|| broken(&"it does not start")));
        }
        if microphone.source == SoundSource::Test {
            capture.test_card = Some(TestCard::start(capture.source.clone())?);
        }
        Ok(capture)
    }

    /// Samples per second that the card gives, and of how many channels, once it gives some.
    pub fn format(&self) -> Option<(u32, u32)> {
        let caps = self.source.static_pad("src")?.current_caps()?;
        let field = |name| u32::try_from(caps.structure(0)?.get::<i32>(name).ok()?).ok();
        Some((field("rate")?, field("channels")?))
    }
}

impl Drop for CapturePipeline {
    fn drop(&mut self) {
        drop(self.test_card.take());
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

fn source_element(source: &SoundSource) -> Result<gst::Element, MediaError> {
    let element = match source {
        SoundSource::Test => return Ok(test_card::element()),
        SoundSource::Server => make("pulsesrc", PULSE)?,
        SoundSource::Alsa { device } => {
            let element = make("alsasrc", ALSA)?;
            set(&element, "device", device);
            // Its samples are counted; the driver's stamps have a jitter.
            set(&element, "use-driver-timestamps", "false");
            element
        }
    };
    for (property, value) in [
        // As long as a packet: what is heard is sent as soon as a packet is full.
        ("latency-time", "10000"),
        // What the system may hold us up for without a gap. Costs no latency.
        ("buffer-time", "100000"),
        // No sample is left out or made up to follow another clock: `card_clock` does.
        ("slave-method", "none"),
        ("client-name", "porthole"),
    ] {
        set(&element, property, value);
    }
    Ok(element)
}

/// What is asked of a card first, where it can: what needs no conversion.
fn preferred(channels: u32) -> gst::Caps {
    let any = gst::Structure::new_empty("audio/x-raw");
    let rate = gst::Structure::builder("audio/x-raw").field("rate", as_i32(OPUS_CLOCK_RATE_HZ)).build();
    let mut both = rate.clone();
    both.set("channels", as_i32(channels));
    [both, rate, any].into_iter().collect()
}

/// From whatever a card gives to what Opus takes.
fn processing(config: &AudioConfig) -> Result<Vec<gst::Element>, MediaError> {
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", as_i32(OPUS_CLOCK_RATE_HZ))
        .field("channels", as_i32(config.channels))
        .build();
    let mut chain = vec![filter(preferred(config.channels))?];
    chain.extend([make("audioconvert", BASE)?, make("audioresample", BASE)?, filter(caps)?]);
    if config.gain_db != 0 {
        chain.push(gain(config.gain_db)?);
    }
    let level = make("level", GOOD)?;
    set(&level, "interval", LEVEL_INTERVAL_NS);
    chain.push(level);
    Ok(chain)
}

/// Amplifies by so many decibels; what would be louder than loudest is clipped.
pub(super) fn gain(gain_db: i32) -> Result<gst::Element, MediaError> {
    let amplifier = make("audioamplify", GOOD)?;
    set(&amplifier, "amplification", &10_f64.powf(f64::from(gain_db) / 20.0).to_string());
    Ok(amplifier)
}

/// `may_pause`: nothing is sent of what Opus takes for silence, as it does a tone that goes on and on.
fn encoder(config: &AudioConfig, may_pause: bool) -> Result<gst::Element, MediaError> {
    let encoder = make("opusenc", BASE)?;
    let bitrate = bits_per_s(config.bitrate_kbps).to_string();
    // Voice has in-band repair at a bit rate as ours is; two channels are for what is more than a voice.
    let audio_type = if config.channels == 1 { "voice" } else { "generic" };
    for (property, value) in [
        ("bitrate", bitrate.as_str()),
        ("bitrate-type", "constrained-vbr"),
        ("audio-type", audio_type),
        ("frame-size", "10"),
        ("inband-fec", "true"),
        ("packet-loss-percentage", EXPECTED_LOSS_PERCENT),
        ("dtx", if may_pause { "true" } else { "false" }),
        // What a packet of the path carries, RFC 7587 section 4.2.
        ("max-payload-size", "1275"),
    ] {
        set(&encoder, property, value);
    }
    Ok(encoder)
}

/// Has each buffer of the card carry its position as its time.
fn stamp(source: &gst::Element, outlet: &Arc<Outlet>, run: u64, report: CaptureReporter) {
    let Some(pad) = source.static_pad("src") else { return };
    let (outlet, is_first) = (Arc::clone(outlet), AtomicBool::new(true));
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let now = Instant::now();
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let Some((frame_bytes, rate_hz)) = format_of(pad) else { return gst::PadProbeReturn::Ok };
        let samples = buffer.size() as u64 / frame_bytes.max(1);
        let offset = Some(buffer.offset()).filter(|offset| *offset != u64::MAX);
        let Some(arrived) = outlet.arrived(run, CardDelivery { offset, samples, rate_hz }, now) else {
            // It hung and was given up; another one captures.
            return gst::PadProbeReturn::Drop;
        };
        let buffer = buffer.make_mut();
        buffer.set_pts(gst::ClockTime::from_nseconds(arrived.position_ns));
        if arrived.is_gap {
            buffer.set_flags(gst::BufferFlags::DISCONT);
        } else {
            buffer.unset_flags(gst::BufferFlags::DISCONT);
        }
        if is_first.swap(false, Ordering::Relaxed) {
            report(CaptureEvent::FirstSound);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Bytes of a sample of all channels, and samples per second.
fn format_of(pad: &gst::Pad) -> Option<(u64, u32)> {
    let caps = pad.current_caps()?;
    let structure = caps.structure(0)?;
    let rate = u32::try_from(structure.get::<i32>("rate").ok()?).ok()?;
    let channels = u64::try_from(structure.get::<i32>("channels").ok()?).ok()?;
    let bytes = words::sample_bytes(structure.get::<&str>("format").ok()?)?;
    Some((bytes * channels, rate))
}

fn sink(outlet: Arc<Outlet>, run: u64) -> AppSink {
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
            // Positions are times of the stream; the segment begins at zero and is never changed.
            let Some(pts) = buffer.pts() else { return Ok(gst::FlowSuccess::Ok) };
            // The encoder looks ahead, and has that begin before what it was given: the first packet counts from there, by its length.
            let end_ns = (pts + buffer.duration().unwrap_or_default()).nseconds();
            let position_ns = end_ns.saturating_sub(FRAME.nseconds());
            let map = buffer.into_mapped_buffer_readable().map_err(|_| gst::FlowError::Error)?;
            let payload = Bytes::copy_from_slice(&map);
            let frame = EncodedFrame { payload, position_ns, length: FRAME.into() };
            if outlet.encoded(run, frame) { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Eos) }
        })
        .build();
    AppSink::builder().sync(false).async_(false).max_buffers(8).callbacks(callbacks).build()
}

/// Passes on what the pipeline says, from whatever thread it is said on. What it gives keeps the first error.
fn listen(
    pipeline: &gst::Pipeline,
    microphone: &SoundDevice,
    report: &CaptureReporter,
) -> Arc<Mutex<Option<MediaError>>> {
    let said = Arc::new(Mutex::new(None));
    let Some(bus) = pipeline.bus() else { return said };
    let (microphone, report, first) = (microphone.clone(), Arc::clone(report), Arc::clone(&said));
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                let error = words::explain(&microphone, &error.error(), error.debug().as_deref());
                first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
                report(CaptureEvent::Failed(error));
            }
            gst::MessageView::Eos(_) => {
                let (card, reason) = (microphone.card.clone(), "the sound ended".to_owned());
                report(CaptureEvent::Failed(MediaError::Audio { card, reason }));
            }
            gst::MessageView::Element(element) => {
                if let Some(level) = element.structure().and_then(level) {
                    report(CaptureEvent::Level(level));
                }
            }
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
    said
}

/// The louder channel's.
fn level(structure: &gst::StructureRef) -> Option<AudioLevel> {
    if structure.name() != "level" {
        return None;
    }
    let loudest = |field: &str| {
        let channels = structure.get::<glib::ValueArray>(field).ok()?;
        channels.iter().filter_map(|value| value.get::<f64>().ok()).reduce(f64::max)
    };
    // Silence is minus infinity, which no JSON knows.
    let bounded =
        |decibels: f64| if decibels.is_nan() { FLOOR_DBFS } else { decibels.clamp(FLOOR_DBFS, 0.0) };
    Some(AudioLevel { rms_dbfs: bounded(loudest("rms")?), peak_dbfs: bounded(loudest("peak")?) })
}

/// Less than this is silence; 16 bits reach -96.
const FLOOR_DBFS: f64 = -100.0;
