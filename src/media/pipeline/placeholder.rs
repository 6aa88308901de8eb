//! The placeholder's pipeline: words, drawn and encoded in software, for as long as the camera gives no picture.
//!
//! It shares nothing with the camera's pipeline but the way to the viewers, so whatever hangs there does not hold it up; and it leaves
//! the board's encoder alone, which may have room for one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::encode::choice::{EncoderChoice, EncoderKind};
use crate::media::encode::encoder::{self, EncodeSettings, EncoderSpec, parse_chain};
use crate::media::encode::encoder_bitrate::EncoderBitrate;
use crate::media::error::MediaError;
use crate::media::pipeline::bus_errors::listen;
use crate::media::pipeline::event::{EventReporter, PipelineEvent};
use crate::media::pipeline::fanout_sink::{FanoutSink, placeholder_sink};
use crate::media::pipeline::running::KeyFrameSource;
use crate::media::pipeline::test_source;
use crate::media::pipeline::test_source::Feeder;
use crate::media::test_picture::drawing::Drawing;
use crate::media::test_picture::notice::{Notice, NoticePicture};

/// In messages.
const NAME: &str = "placeholder";

/// What it is to be.
pub struct PlaceholderOrder {
    /// Size, rate and bit rate.
    pub settings: EncodeSettings,
    /// The first words.
    pub notice: Notice,
    /// One that [`encoders`] named.
    pub encoder: &'static EncoderSpec,
}

/// A running one. Dropping it ends it, which may block.
pub struct PlaceholderPipeline {
    elements: gst::Pipeline,
    key_frames: KeyFrameSource,
    bitrate: EncoderBitrate,
    words: Arc<Mutex<Notice>>,
    feeder: Option<Feeder>,
    fanout_sink: Arc<FanoutSink>,
    number: u64,
}

/// A picture whose words others change.
struct Told {
    picture: NoticePicture,
    words: Arc<Mutex<Notice>>,
}

impl Drawing for Told {
    fn advance(&mut self, now: SystemTime) -> &[u8] {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.picture.say(words);
        self.picture.advance(now)
    }
}

/// The encoders in software that are installed, the configured one first. GStreamer must have been started.
pub fn encoders(choice: EncoderChoice) -> Vec<&'static EncoderSpec> {
    let is_there = |spec: &&EncoderSpec| {
        spec.kind == EncoderKind::Software && gst::ElementFactory::find(spec.name).is_some()
    };
    encoder::order(choice).into_iter().filter(is_there).collect()
}

impl PlaceholderPipeline {
    /// Starts it. `report` is told of its key frames and of a failure, `over` is called once the camera's pictures are back.
    pub fn start(
        order: PlaceholderOrder,
        fanout_sink: &Arc<FanoutSink>,
        report: impl Fn(PipelineEvent) + Send + Sync + 'static,
        over: impl Fn() + Send + 'static,
    ) -> Result<Self, MediaError> {
        let PlaceholderOrder { settings, notice, encoder } = order;
        let failed = |reason: String| MediaError::Pipeline { device: NAME.into(), reason };
        let report: EventReporter = Arc::new(report);
        let source = test_source::element(&settings);
        let chain = encoder.build(&settings)?;
        let mut elements = vec![source.clone()];
        elements.extend(chain.elements);
        elements.extend(parse_chain()?);
        let number = fanout_sink.begin_placeholder();
        elements.push(placeholder_sink(fanout_sink.clone(), number, report.clone(), over).upcast());
        let words = Arc::new(Mutex::new(notice.clone()));
        // From here on dropping it ends whatever has begun.
        let mut running = Self {
            elements: gst::Pipeline::new(),
            key_frames: KeyFrameSource::of(encoder, chain.encoder.clone()),
            bitrate: EncoderBitrate::new(encoder, chain.encoder.clone()),
            words: Arc::clone(&words),
            feeder: None,
            fanout_sink: fanout_sink.clone(),
            number,
        };
        running.elements.add_many(&elements).map_err(|error| failed(error.to_string()))?;
        gst::Element::link_many(&elements).map_err(|error| failed(error.to_string()))?;
        running.elements.use_clock(Some(&gst::SystemClock::obtain()));
        listen(&running.elements, NAME.into(), Some((encoder, chain.encoder)), report);
        let started = running.elements.set_state(gst::State::Playing);
        started.map_err(|_| failed("the encoder refused to start".into()))?;
        let picture = NoticePicture::new(settings.width, settings.height, notice);
        running.feeder = Some(Feeder::start_with(source, settings, Told { picture, words })?);
        Ok(running)
    }

    /// Other words, from the next picture on.
    pub fn say(&self, notice: Notice) {
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = notice;
    }

    /// Another bit rate in kbit/s, from the next picture on.
    pub fn encode_at(&self, bitrate_kbps: u32) {
        self.bitrate.set(bitrate_kbps, false);
    }

    /// Whether the camera's pictures are back, and none of this is shown any more.
    pub fn has_given_way(&self) -> bool {
        !self.fanout_sink.is_placeholder(self.number)
    }

    /// Asks for a key frame.
    pub fn force_key_frame(&self) {
        self.key_frames.force();
    }
}

impl Drop for PlaceholderPipeline {
    fn drop(&mut self) {
        self.fanout_sink.end_placeholder(self.number);
        self.feeder.take();
        if let Some(bus) = self.elements.bus() {
            bus.unset_sync_handler();
        }
        if let Err(error) = self.elements.set_state(gst::State::Null) {
            tracing::warn!(%error, "the pipeline of the placeholder did not stop cleanly");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::board::BoardClass;
    use crate::media::capture::mode::Rate;
    use crate::stream::Fanout;

    #[test]
    fn one_that_runs_takes_another_bit_rate() {
        gst::init().unwrap();
        let settings = EncodeSettings {
            width: 640,
            height: 360,
            rate: Rate::whole(4),
            bitrate_kbps: 200,
            keyframe_interval_s: 10,
            board: BoardClass::Medium,
            cores: 1,
        };
        let encoder = *encoders(EncoderChoice::X264).first().unwrap();
        let order = PlaceholderOrder { settings, notice: Notice::default(), encoder };
        let sink = Arc::new(FanoutSink::new(Fanout::default()));
        let running = PlaceholderPipeline::start(order, &sink, |_| {}, || {}).unwrap();
        let asked = |running: &PlaceholderPipeline| running.bitrate.encoder.property::<u32>("bitrate");
        assert_eq!(asked(&running), 200);
        running.encode_at(60);
        assert_eq!(asked(&running), 60);
    }
}
