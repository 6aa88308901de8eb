//! A running encoder, asked for less: another bit rate, and every other picture left out before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::encode::encoder::EncoderSpec;

/// The encoder and what goes in.
pub struct EncoderBitrate {
    /// The encoder.
    pub encoder: gst::Element,
    spec: &'static EncoderSpec,
    is_halved: Arc<AtomicBool>,
}

impl EncoderBitrate {
    /// Of `encoder`, before it runs.
    pub fn new(spec: &'static EncoderSpec, encoder: gst::Element) -> Self {
        let is_halved = Arc::new(AtomicBool::new(false));
        if let Some(pad) = encoder.static_pad("sink").filter(|_| spec.can_halve()) {
            let (halved, was_passed) = (Arc::clone(&is_halved), AtomicBool::new(false));
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let pass = !halved.load(Ordering::Relaxed) || !was_passed.load(Ordering::Relaxed);
                was_passed.store(pass, Ordering::Relaxed);
                // Not `Drop`: the binding has taken the buffer by then, and GStreamer 1.22 complains about its absence.
                if pass { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Handled }
            });
        }
        Self { encoder, spec, is_halved }
    }

    /// From the next picture on: bit/s in kbit/s, and whether every other picture is left out.
    pub fn set(&self, bitrate_kbps: u32, is_halved: bool) {
        let is_halved = is_halved && self.spec.can_halve();
        self.is_halved.store(is_halved, Ordering::Relaxed);
        self.spec.set_bitrate(&self.encoder, bitrate_kbps, is_halved);
    }
}
