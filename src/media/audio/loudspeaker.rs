//! The running pipeline of a voice: jitter buffer, Opus, gain, limiter, speaker.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;

use super::capture::{BASE, GOOD, gain};
use super::config::AudioConfig;
use super::find::{ALSA, PULSE};
use super::source::{SoundDevice, SoundSource};
use super::words;
use crate::media::elements::{as_i32, filter, make, set};
use crate::media::error::MediaError;
use crate::stream::{OPUS_CLOCK_RATE_HZ, SpokenPacket};

/// What networks may be late by without a gap. Later packets are made up.
const JITTER_MS: &str = "60";
/// A dynamic payload type, of no meaning here.
const PAYLOAD_TYPE: u8 = 96;
/// Packets between us and the jitter buffer; what finds no room is lost.
const MAX_PACKETS: &str = "50";

/// Takes what a pipeline fails with, on whatever thread.
pub type FailureReporter = Arc<dyn Fn(MediaError) + Send + Sync>;

/// How well a voice came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoiceFigures {
    /// Packets that were made up.
    pub concealed: u64,
    /// Packets that came too late.
    pub late: u64,
}

/// A pipeline that plays until it is dropped, which may wait for a driver.
pub struct Loudspeaker {
    pipeline: gst::Pipeline,
    source: AppSrc,
    jitter_buffer: gst::Element,
}

impl fmt::Debug for Loudspeaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loudspeaker").finish_non_exhaustive()
    }
}

impl Loudspeaker {
    /// Opens the speaker. May wait for a driver.
    pub fn start(
        device: &SoundDevice,
        config: &AudioConfig,
        report: &FailureReporter,
    ) -> Result<Self, MediaError> {
        gst::init().map_err(|error| MediaError::Framework { reason: error.to_string() })?;
        let sink = sink_element(&device.source)?;
        Self::start_with(sink, device, config, report)
    }

    /// The same with this element at its end.
    pub(super) fn start_with(
        sink: gst::Element,
        device: &SoundDevice,
        config: &AudioConfig,
        report: &FailureReporter,
    ) -> Result<Self, MediaError> {
        let source = source();
        let jitter_buffer = make("rtpjitterbuffer", GOOD)?;
        // Not `do-lost`: the decoder sees gaps by itself and would make up each lost packet twice. Nor `drop-on-latency`: packets of
        // 10 ms are dropped by the dozen.
        set(&jitter_buffer, "latency", JITTER_MS);
        let mut chain = vec![source.clone().upcast(), jitter_buffer.clone()];
        chain.extend(decoding(config)?);
        chain.push(sink);
        let broken = |error: &dyn fmt::Display| MediaError::Audio {
            card: device.card.clone(),
            reason: error.to_string(),
        };
        let pipeline = gst::Pipeline::new();
        pipeline.add_many(&chain).map_err(|error| broken(&error))?;
        gst::Element::link_many(&chain).map_err(|error| broken(&error))?;
        let said = listen(&pipeline, device, report);
        // From here on it is closed however this ends.
        let loudspeaker = Self { pipeline, source, jitter_buffer };
        if loudspeaker.pipeline.set_state(gst::State::Playing).is_err() {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(said.unwrap_or_else(|| broken(&"it does not start")));
        }
        Ok(loudspeaker)
    }

    /// Has this packet played in its turn. Never waits.
    pub fn play(&self, packet: &SpokenPacket) {
        // A pipeline that has failed has said so.
        let _ = self.source.push_buffer(gst::Buffer::from_mut_slice(rtp(packet)));
    }

    /// So far.
    pub fn figures(&self) -> VoiceFigures {
        let stats = self.jitter_buffer.property::<gst::Structure>("stats");
        let figure = |name: &str| stats.get::<u64>(name).unwrap_or(0);
        VoiceFigures { concealed: figure("num-lost"), late: figure("num-late") }
    }

    #[cfg(test)]
    pub(super) fn end(&self) {
        let _ = self.source.end_of_stream();
    }
}

impl Drop for Loudspeaker {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

/// The packet with a header again (RFC 3550 section 5.1), for the jitter buffer.
fn rtp(packet: &SpokenPacket) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + packet.payload.len());
    bytes.extend([0x80, PAYLOAD_TYPE | u8::from(packet.marker) << 7]);
    bytes.extend(packet.sequence_number.to_be_bytes());
    bytes.extend(packet.timestamp.to_be_bytes());
    // One voice is one pipeline: which number it has is all the same.
    bytes.extend([0, 0, 0, 1]);
    bytes.extend_from_slice(&packet.payload);
    bytes
}

fn source() -> AppSrc {
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", "audio")
        .field("clock-rate", as_i32(OPUS_CLOCK_RATE_HZ))
        .field("encoding-name", "OPUS")
        .field("payload", i32::from(PAYLOAD_TYPE))
        .build();
    let source = AppSrc::builder().caps(&caps).format(gst::Format::Time).is_live(true).do_timestamp(true);
    let source = source.block(false).build();
    for (property, value) in [("max-buffers", MAX_PACKETS), ("max-bytes", "0"), ("leaky-type", "downstream")]
    {
        set(source.upcast_ref(), property, value);
    }
    source
}

/// From RTP to what a card takes: what is lost is made up, what is too loud limited.
fn decoding(config: &AudioConfig) -> Result<Vec<gst::Element>, MediaError> {
    let decoder = make("opusdec", BASE)?;
    for (property, value) in [
        ("plc", "true"),
        ("use-inband-fec", "true"),
        // Garbage is passed over, however much of it comes.
        ("max-errors", "-1"),
    ] {
        set(&decoder, property, value);
    }
    let floats = gst::Caps::builder("audio/x-raw").field("format", "F32LE").build();
    let mut chain = vec![make("rtpopusdepay", GOOD)?, decoder, make("audioconvert", BASE)?, filter(floats)?];
    if config.speaker_gain_db != 0 {
        let gain = gain(config.speaker_gain_db)?;
        // The limiter's work.
        set(&gain, "clipping-method", "none");
        chain.push(gain);
    }
    // Bends what is within 6 dB of the loudest, and lets nothing beyond.
    chain.extend([make("rglimiter", GOOD)?, make("audioconvert", BASE)?, make("audioresample", BASE)?]);
    Ok(chain)
}

fn sink_element(source: &SoundSource) -> Result<gst::Element, MediaError> {
    let sink = match source {
        SoundSource::Test => make("fakesink", "libgstreamer1.0-0")?,
        SoundSource::Server => make("pulsesink", PULSE)?,
        SoundSource::Alsa { device } => {
            let sink = make("alsasink", ALSA)?;
            set(&sink, "device", device);
            sink
        }
    };
    for (property, value) in [
        ("sync", "true"),
        // What the card has before it plays: little is a short way to the ear.
        ("buffer-time", "40000"),
        ("latency-time", "10000"),
        ("processing-deadline", "0"),
        ("client-name", "porthole"),
    ] {
        set(&sink, property, value);
    }
    Ok(sink)
}

/// Passes errors on; what it gives keeps the first one.
fn listen(
    pipeline: &gst::Pipeline,
    device: &SoundDevice,
    report: &FailureReporter,
) -> Arc<Mutex<Option<MediaError>>> {
    let said = Arc::new(Mutex::new(None));
    let Some(bus) = pipeline.bus() else { return said };
    let (device, report, first) = (device.clone(), Arc::clone(report), Arc::clone(&said));
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            let error = words::explain(&device, &error.error(), error.debug().as_deref());
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
            report(error);
        }
        gst::BusSyncReply::Drop
    });
    said
}

#[cfg(test)]
#[path = "loudspeaker_tests.rs"]
mod tests;
