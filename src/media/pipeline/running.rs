//! The running GStreamer pipeline: built from a plan, feeding the fan-out, reporting by events.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::control::ControlInfo;
use crate::media::capture::libcamera;
use crate::media::capture::mode::Handling;
use crate::media::elements::{bits_per_s, make, set, set_v4l2_controls};
use crate::media::encode::choice::EncoderKind;
use crate::media::encode::encoder::{EncoderSpec, parse_chain};
use crate::media::encode::encoder_bitrate::EncoderBitrate;
use crate::media::encode::encoder_watch;
use crate::media::error::MediaError;
use crate::media::look::PictureLook;
use crate::media::pipeline::bus_errors::listen;
use crate::media::pipeline::copy_probe::CopyProbe;
use crate::media::pipeline::event::{EventReporter, PipelineEvent};
use crate::media::pipeline::fanout_sink::{FanoutSink, app_sink};
use crate::media::pipeline::look_stage::LookStage;
use crate::media::pipeline::test_source;
use crate::media::pipeline::test_source::Feeder;
use crate::media::plan::planner::Plan;
use crate::media::plan::source::{Source, camera_elements};
use crate::media::plan::styling::Styling;

/// A pipeline in state PLAYING. Dropping it closes the device; both may block.
pub struct Pipeline {
    elements: gst::Pipeline,
    key_frames: KeyFrameSource,
    encoder: Option<EncoderBitrate>,
    /// A camera that encodes itself and has a control for its bit rate.
    rated_camera: Option<gst::Element>,
    /// Draws the test picture; stopped first.
    feeder: Option<Feeder>,
    copy_probe: CopyProbe,
    source: Option<gst::Element>,
    /// Gives the picture its look, where it is encoded here and may be changed.
    look: Option<LookStage>,
    camera: Option<Arc<CameraInfo>>,
    /// What the encoder is fed by.
    raw: Option<gst::Pad>,
    /// Where pictures go, with what is left to viewers.
    fanout_sink: Arc<FanoutSink>,
}

/// Where key frames are asked for.
pub enum KeyFrameSource {
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
        fanout_sink: &Arc<FanoutSink>,
        report: impl Fn(PipelineEvent) + Send + Sync + 'static,
    ) -> Result<Self, MediaError> {
        let report: EventReporter = Arc::new(report);
        let mut elements = source_elements(plan)?;
        let source = elements.first().cloned();
        // The camera's own pictures, before anything may drop one.
        let before_encoder = elements.get(1).or(elements.first()).cloned();
        let (mut encoder, mut raw, mut look, mut finished) = (None, None, None, None);
        if let Some(spec) = plan.encoder {
            if !plan.is_shared {
                let stage = LookStage::new(plan, report.clone())?;
                elements.extend(stage.elements()?);
                look = Some(stage);
            }
            let chain = spec.build(&plan.settings)?;
            if plan.is_shared {
                EncoderSpec::import_buffers(&chain.encoder);
            }
            encoder = Some(EncoderBitrate::new(spec, chain.encoder));
            finished = elements.last().cloned();
            raw = finished.as_ref().and_then(|element| element.static_pad("src"));
            elements.extend(chain.elements);
        }
        elements.extend(parse_chain()?);
        // What viewers see: with its look, and with its masks above all.
        let probed = finished.or_else(|| elements.last().cloned());
        let copy_probe = CopyProbe::on(probed.as_ref(), report.clone())?;
        let viewers_turn = plan.styling.viewers_turn();
        copy_probe.turn(viewers_turn);
        fanout_sink.orient(viewers_turn.rotation);
        // Frames of hardware live in a driver's few buffers, which viewers must not hold.
        let copy = !matches!(plan.encoder, Some(spec) if spec.kind == EncoderKind::Software);
        elements.push(app_sink(fanout_sink.clone(), report.clone(), copy).upcast());

        let pipeline = gst::Pipeline::new();
        let failed = |reason: String| MediaError::Pipeline { device: plan.device.clone(), reason };
        pipeline.add_many(&elements).map_err(|error| failed(error.to_string()))?;
        gst::Element::link_many(&elements).map_err(|error| failed(error.to_string()))?;
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let encoder_element = encoder.as_ref().map(|found| found.encoder.clone());
        if let Some((spec, element)) = plan.encoder.zip(encoder_element.as_ref()) {
            let report = report.clone();
            encoder_watch::watch(spec, element, before_encoder.as_ref(), move |trouble| {
                report(trouble.into());
            });
        }
        listen(&pipeline, plan.device.clone(), plan.encoder.zip(encoder_element.clone()), report);

        let key_frames = key_frame_source(plan, source.as_ref(), encoder_element);
        let rated = plan.camera.as_ref().is_some_and(|info| info.has_control("video_bitrate"));
        let rated_camera = source.clone().filter(|_| rated);
        let mut running = Self {
            rated_camera,
            elements: pipeline,
            key_frames,
            encoder,
            feeder: None,
            copy_probe,
            source: source.clone(),
            look,
            camera: plan.camera.clone(),
            raw,
            fanout_sink: Arc::clone(fanout_sink),
        };
        running
            .elements
            .set_state(gst::State::Playing)
            .map_err(|_| failed("the device or the encoder refused to start".into()))?;
        if let (true, Some(source)) = (plan.source.is_test(), source) {
            running.feeder = Some(Feeder::start(source, plan.captured_settings())?);
        }
        Ok(running)
    }

    /// Asks for a key frame; returns whether there is somebody to ask.
    pub fn force_key_frame(&self) -> bool {
        self.key_frames.force()
    }

    /// Where the pictures can be had before they are encoded, and the clock that they are stamped by; `None` where the
    /// camera encodes.
    pub fn raw(&self) -> Option<(gst::Pad, Option<gst::ClockTime>)> {
        self.raw.clone().map(|pad| (pad, self.elements.base_time()))
    }

    /// Has the next picture reported as [`PipelineEvent::PictureCopied`]. Of a camera that encodes itself it is the next key
    /// frame, which is asked for where that is possible.
    pub fn copy_picture(&self) {
        self.copy_probe.arm();
        if self.encoder.is_none() {
            self.force_key_frame();
        }
    }

    /// Has the picture look so from now on, as far as that takes no other plan.
    pub fn restyle(&self, look: &PictureLook) {
        if let Some(stage) = &self.look {
            stage.apply(look);
        }
        let styling = Styling::new(look, self.camera.as_deref(), self.encoder.is_some());
        if let (Some(source), true) = (&self.source, styling.is_turned_by_camera) {
            set_v4l2_controls(source, &styling.flips());
        }
        self.copy_probe.turn(styling.viewers_turn());
        self.fanout_sink.orient(styling.viewers_turn().rotation);
    }

    /// Sets a control of a camera that libcamera drives.
    pub fn set_source_control(&self, control: &ControlInfo, value: i64) {
        if let Some(source) = &self.source {
            libcamera::set_control(source, control, value);
        }
    }

    /// Changes the encoder's bit rate, where there is one that can be told; `is_halved` leaves every other picture out.
    pub fn encode_at(&self, bitrate_kbps: u32, is_halved: bool) {
        match (&self.encoder, &self.rated_camera) {
            (Some(encoder), _) => encoder.set(bitrate_kbps, is_halved),
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

impl KeyFrameSource {
    /// Of an encoder of the table.
    pub fn of(spec: &EncoderSpec, encoder: gst::Element) -> Self {
        if spec.key_frame_by_control() { Self::Control(encoder) } else { Self::Encoder(encoder) }
    }

    /// Asks; returns whether there is somebody to ask.
    pub fn force(&self) -> bool {
        match self {
            Self::Encoder(encoder) => {
                let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
                encoder.static_pad("src").is_some_and(|pad| pad.send_event(event))
            }
            Self::Control(element) => {
                set_v4l2_controls(element, &[("force_key_frame", 1)]);
                true
            }
            Self::None => false,
        }
    }
}

fn key_frame_source(
    plan: &Plan,
    source: Option<&gst::Element>,
    encoder: Option<gst::Element>,
) -> KeyFrameSource {
    let askable = plan.camera.as_ref().is_some_and(|info| info.has_control("force_key_frame"));
    match (plan.encoder.zip(encoder), source) {
        (Some((spec, encoder)), _) => KeyFrameSource::of(spec, encoder),
        (None, Some(source)) if askable => KeyFrameSource::Control(source.clone()),
        (None, _) => KeyFrameSource::None,
    }
}

fn source_elements(plan: &Plan) -> Result<Vec<gst::Element>, MediaError> {
    let settings = plan.captured_settings();
    let mode = match &plan.source {
        Source::Camera { mode } => mode,
        Source::Test => return Ok(vec![test_source::element(&settings)]),
        Source::TestH264(inside) => return test_source::encoding(inside, &settings),
    };
    let Some(camera) = &plan.camera else { return Err(MediaError::NoCamera) };
    let mut elements = camera_elements(camera, mode, &plan.settings, &plan.styling.flips())?;
    if plan.is_shared {
        // Nothing between the two looks at the pictures; some elements would copy them.
        elements.iter().take(1).for_each(|source| set(source, "io-mode", "dmabuf"));
        elements.push(leaky_queue()?);
    } else {
        elements.extend(conversion(mode.handling)?);
    }
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

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;
