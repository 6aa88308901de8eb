//! The second, smaller rendition: what the encoder is fed with, scaled and encoded once more by a pipeline of its own.
//!
//! It has no camera: it is handed the running pipeline's raw pictures, so whatever happens to it does not touch them.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;

use crate::media::elements::{as_i32, filter, make, set};
use crate::media::encode::choice::EncoderKind;
use crate::media::encode::encoder::{EncodeSettings, parse_chain};
use crate::media::encode::encoder_bitrate::EncoderBitrate;
use crate::media::encode::encoder_watch;
use crate::media::error::MediaError;
use crate::media::pipeline::bus_errors::listen;
use crate::media::pipeline::event::{EventReporter, PipelineEvent};
use crate::media::pipeline::fanout_sink::{FanoutSink, app_sink};
use crate::media::pipeline::running::{KeyFrameSource, Pipeline};
use crate::media::plan::planner::Plan;

/// What it gets of the full rendition's bit rate: a quarter of the pixels needs somewhat more than a quarter of the bits.
pub const SHARE: u32 = 3;
/// Pixels below which nothing is left to be seen.
const LEAST: (u32, u32) = (160, 90);

/// The rendition's size and rate of a plan, where there can be one: not of a camera that encodes by itself.
pub fn settings(plan: &Plan) -> Option<EncodeSettings> {
    plan.encoder?;
    let half = |pixels: u32| (pixels / 2) & !1;
    let (width, height) = (half(plan.settings.width), half(plan.settings.height));
    let bitrate_kbps = (plan.settings.bitrate_kbps / SHARE).max(1);
    let settings = EncodeSettings { width, height, bitrate_kbps, ..plan.settings };
    (width >= LEAST.0 && height >= LEAST.1).then_some(settings)
}

/// The rendition while it runs. It ends when this is dropped, which may block.
pub struct SmallRenditionPipeline {
    elements: gst::Pipeline,
    encoder: EncoderBitrate,
    key_frames: KeyFrameSource,
    feed: Option<Feed>,
}

/// The place in the other pipeline where pictures are taken.
struct Feed {
    pad: gst::Pad,
    probe: gst::PadProbeId,
}

impl Drop for SmallRenditionPipeline {
    fn drop(&mut self) {
        if let Some(Feed { pad, probe }) = self.feed.take() {
            pad.remove_probe(probe);
        }
        if let Some(bus) = self.elements.bus() {
            bus.unset_sync_handler();
        }
        if let Err(error) = self.elements.set_state(gst::State::Null) {
            tracing::warn!(%error, "the pipeline of the small rendition did not stop cleanly");
        }
    }
}

impl SmallRenditionPipeline {
    /// Starts it on the pictures of `main`, which runs and was made of `plan`.
    pub fn start(
        main: &Pipeline,
        plan: &Plan,
        fanout_sink: &Arc<FanoutSink>,
        report: impl Fn(PipelineEvent) + Send + Sync + 'static,
    ) -> Result<Self, MediaError> {
        let failed = |reason: &str| MediaError::Small { reason: reason.to_owned() };
        let spec = plan.encoder.ok_or_else(|| failed("the camera encodes by itself"))?;
        let settings = settings(plan).ok_or_else(|| failed("the picture is too small for it"))?;
        let (pad, base_time) = main.raw().ok_or_else(|| failed("there are no raw pictures"))?;
        let caps = pad.current_caps().ok_or_else(|| failed("no picture has come yet"))?;
        let report: EventReporter = Arc::new(report);

        let source = source(&caps);
        let scale = make("videoscale", "gstreamer1.0-plugins-base")?;
        let size = gst::Caps::builder("video/x-raw")
            .field("width", as_i32(settings.width))
            .field("height", as_i32(settings.height));
        // Its encoder may be another one than what the pictures were negotiated with.
        let convert = make("videoconvert", "gstreamer1.0-plugins-base")?;
        let mut elements = vec![source.clone().upcast(), scale, filter(size.build())?, convert];
        let chain = spec.build(&settings)?;
        elements.extend(chain.elements);
        elements.extend(parse_chain()?);
        let copy = spec.kind != EncoderKind::Software;
        elements.push(app_sink(fanout_sink.clone(), report.clone(), copy).upcast());

        let pipeline = gst::Pipeline::new();
        pipeline.add_many(&elements).map_err(|error| failed(&error.to_string()))?;
        gst::Element::link_many(&elements).map_err(|error| failed(&error.to_string()))?;
        // The pictures are stamped by the other pipeline's clock, and both tell their age by it.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.set_start_time(gst::ClockTime::NONE);
        if let Some(base_time) = base_time {
            pipeline.set_base_time(base_time);
        }
        let (reporter, fed_by) = (report.clone(), source.upcast_ref());
        encoder_watch::watch(spec, &chain.encoder, Some(fed_by), move |trouble| {
            reporter(trouble.into());
        });
        listen(&pipeline, plan.device.clone(), Some((spec, chain.encoder.clone())), report);
        let mut running = Self {
            elements: pipeline,
            key_frames: KeyFrameSource::of(spec, chain.encoder.clone()),
            encoder: EncoderBitrate::new(spec, chain.encoder),
            feed: None,
        };
        let started = running.elements.set_state(gst::State::Playing);
        started.map_err(|_| failed("its encoder refused to start"))?;
        running.feed = feed(pad, source);
        if running.feed.is_none() {
            return Err(failed("the pictures cannot be had"));
        }
        Ok(running)
    }

    /// Asks for a key frame.
    pub fn force_key_frame(&self) -> bool {
        self.key_frames.force()
    }

    /// Has its encoder give nothing any more.
    #[cfg(test)]
    pub fn swallow_pictures(&self) {
        let pad = self.encoder.encoder.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, |_, _| gst::PadProbeReturn::Handled);
    }

    /// Changes its bit rate; `is_halved` leaves every other picture out.
    pub fn encode_at(&self, bitrate_kbps: u32, is_halved: bool) {
        self.encoder.set(bitrate_kbps, is_halved);
    }
}

/// Holds one picture, the newest: whoever pushes never waits.
fn source(caps: &gst::Caps) -> AppSrc {
    let source = AppSrc::builder().caps(caps).format(gst::Format::Time).is_live(true).block(false).build();
    for (property, value) in [("max-buffers", "1"), ("max-bytes", "0"), ("leaky-type", "downstream")] {
        set(source.upcast_ref(), property, value);
    }
    source
}

/// Hands every picture that passes `pad` to `source` as well; not a copy of it, because it is only read.
fn feed(pad: gst::Pad, source: AppSrc) -> Option<Feed> {
    let probe = pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
            // What went wrong is told by the pipeline that it goes to.
            let _ = source.push_buffer(buffer.clone());
        }
        gst::PadProbeReturn::Ok
    })?;
    Some(Feed { pad, probe })
}
