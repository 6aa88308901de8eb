//! The worker's machine: pipelines of GStreamer, cameras of V4L2 and libcamera, and the system's clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use gstreamer as gst;

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::control::{ControlInfo, control_value};
use crate::media::capture::controls;
use crate::media::encode::choice::EncoderStatus;
use crate::media::error::MediaError;
use crate::media::glib_messages;
use crate::media::life::backend::{CaptureBackend, Gauges, PipelineRequest};
use crate::media::life::inbox::{InboxSender, Message};
use crate::media::look::PictureLook;
use crate::media::pipeline::event::PipelineEvent;
use crate::media::pipeline::fanout_sink::FanoutSink;
use crate::media::pipeline::running::Pipeline;
use crate::media::pipeline::small::SmallRenditionPipeline;
use crate::media::pipeline::timeline::StreamFigures;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::learnt::Learnt;
use crate::media::plan::planner::{Plan, Planner};
use crate::media::still::snapshot;
use crate::media::still::snapshot::CapturedPicture;
use crate::stream::{Fanout, ProfileLevelId, Rendition};

/// Where the pictures of both renditions go: outlives pipelines, and threads that hang.
#[derive(Clone)]
pub struct FanoutSinks {
    full: Arc<FanoutSink>,
    small: Arc<FanoutSink>,
}

impl FanoutSinks {
    /// To the viewers of `fanout`.
    pub fn new(fanout: Fanout) -> Self {
        let full = FanoutSink::new(fanout);
        Self { small: Arc::new(full.small_rendition()), full: Arc::new(full) }
    }

    /// Of one rendition.
    pub fn of(&self, rendition: Rendition) -> &Arc<FanoutSink> {
        match rendition {
            Rendition::Full => &self.full,
            Rendition::Small => &self.small,
        }
    }
}

impl Gauges for FanoutSinks {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn last_picture(&self) -> Instant {
        self.full.last_picture()
    }

    fn figures(&self, rendition: Rendition, now: Instant) -> Option<StreamFigures> {
        self.of(rendition).meter().figures(now)
    }

    fn key_frames(&self) -> u64 {
        self.full.meter().key_frames()
    }

    fn drop_pictures(&self) {
        self.full.end_run();
        self.small.end_run();
    }
}

/// Planner and pipelines.
pub struct GstBackend {
    planner: Planner,
    /// For the pipelines' callbacks.
    inbox: InboxSender,
    fanout_sinks: FanoutSinks,
    /// Before `pipeline`, whose pictures it takes: fields are dropped in this order.
    small: Option<SmallRenditionPipeline>,
    pipeline: Option<Pipeline>,
}

impl GstBackend {
    /// Nothing runs, and nothing was looked at.
    pub fn new(config: MediaConfig, fanout_sinks: FanoutSinks, inbox: InboxSender) -> Self {
        Self { planner: Planner::new(config), inbox, fanout_sinks, small: None, pipeline: None }
    }

    /// What hands events of this run to the worker.
    fn reporter(
        &self,
        rendition: Rendition,
        run: u64,
    ) -> impl Fn(PipelineEvent) + Send + Sync + 'static + use<> {
        let inbox = self.inbox.clone();
        move |event| inbox.send(Message::Pipeline(rendition, run, event))
    }
}

impl CaptureBackend for GstBackend {
    fn initialize(&mut self) -> Result<(), MediaError> {
        glib_messages::listen();
        gst::init().map_err(|error| MediaError::Framework { reason: error.to_string() })
    }

    fn plan(&mut self, may_capture: bool) -> Result<Plan, MediaError> {
        timed("looking for the camera", || self.planner.plan(may_capture))
    }

    fn is_there(&self, plan: &Plan) -> bool {
        self.planner.is_there(plan)
    }

    fn has_device(&self) -> bool {
        self.planner.has_device()
    }

    fn device_name(&self) -> Option<String> {
        self.planner.device_name()
    }

    fn planned_encoder(&self) -> Option<(EncoderStatus, ProfileLevelId)> {
        self.planner.encoder()
    }

    fn want_mode(&mut self, size: Option<(u32, u32)>, fps: Option<u32>) {
        self.planner.want(size, fps);
    }

    fn want_look(&mut self, look: &PictureLook) {
        // Pictures that run first: a mask is not to wait.
        if let Some(pipeline) = &self.pipeline {
            pipeline.restyle(look);
        }
        self.planner.set_look(look.clone());
    }

    fn want_bitrate(&mut self, kbps: u32) {
        self.planner.set_bitrate(kbps);
    }

    fn give_up(&mut self, plan: &Plan, by_encoder: bool, reason: &str) {
        self.planner.demote(plan, by_encoder, reason);
    }

    fn encode_instead(&mut self, plan: &Plan) {
        self.planner.encode_instead(plan);
    }

    fn learnt(&self) -> Learnt {
        self.planner.learnt()
    }

    fn learn(&mut self, learnt: Learnt) {
        self.planner.learn(learnt);
    }

    fn start(
        &mut self,
        rendition: Rendition,
        plan: &Plan,
        run: u64,
        controls: &BTreeMap<String, i64>,
    ) -> Result<(), MediaError> {
        let report = self.reporter(rendition, run);
        match rendition {
            Rendition::Full => {
                let pipeline = timed("starting the pipeline", || {
                    Pipeline::start(plan, self.fanout_sinks.of(rendition), report)
                })?;
                let camera = plan.camera.as_ref().filter(|camera| camera.is_libcamera());
                for control in camera.iter().flat_map(|camera| &camera.controls) {
                    if let Some(value) = controls.get(&control.name) {
                        pipeline.set_source_control(control, *value);
                    }
                }
                self.pipeline = Some(pipeline);
            }
            Rendition::Small => {
                let no_pictures = || MediaError::Small { reason: "there are no raw pictures".to_owned() };
                let full = self.pipeline.as_ref().ok_or_else(no_pictures)?;
                let small =
                    SmallRenditionPipeline::start(full, plan, self.fanout_sinks.of(rendition), report)?;
                self.small = Some(small);
            }
        }
        Ok(())
    }

    fn stop(&mut self, rendition: Rendition) {
        match rendition {
            Rendition::Full => timed("ending the pipeline", || self.pipeline = None),
            Rendition::Small => self.small = None,
        }
    }

    fn request(&mut self, rendition: Rendition, request: PipelineRequest) -> bool {
        match (rendition, &self.pipeline, &self.small) {
            (Rendition::Full, Some(pipeline), _) => match request {
                PipelineRequest::KeyFrame => return pipeline.force_key_frame(),
                PipelineRequest::EncodeAt(at) => pipeline.encode_at(at.bitrate_kbps, at.is_halved),
                PipelineRequest::PictureCopy => pipeline.copy_picture(),
            },
            (Rendition::Small, _, Some(pipeline)) => match request {
                PipelineRequest::KeyFrame => return pipeline.force_key_frame(),
                PipelineRequest::EncodeAt(at) => pipeline.encode_at(at.bitrate_kbps, at.is_halved),
                // Pictures are copied before they are scaled.
                PipelineRequest::PictureCopy => return false,
            },
            _ => return false,
        }
        true
    }

    fn set_control(
        &mut self,
        camera: &CameraInfo,
        name: &str,
        text: &str,
    ) -> Result<(i64, Vec<ControlInfo>), MediaError> {
        if camera.is_libcamera() {
            let control = controls::find(camera, name)?;
            let value = control_value(control, text)?;
            if let Some(pipeline) = &self.pipeline {
                pipeline.set_source_control(control, value);
            }
            let value_of = |control: &ControlInfo| (control.name == name).then_some(value);
            return Ok((value, with_values(camera, value_of)));
        }
        let asked = controls::set_control(camera, name, text)?;
        let now = self.read_controls(camera);
        let read = now.iter().find(|control| control.name == name).and_then(|control| control.value);
        Ok((read.unwrap_or(asked), now))
    }

    fn apply_controls(&mut self, camera: &CameraInfo, wanted: &BTreeMap<String, i64>) -> Vec<ControlInfo> {
        if camera.is_libcamera() {
            // Its element is handed them at each start.
            return with_values(camera, |control| wanted.get(&control.name).copied());
        }
        // Twice: a control that another one overrides (exposure under automatic exposure) takes its value afterwards.
        for round in 0..2 {
            for (name, value) in wanted {
                let result = controls::set_control(camera, name, &value.to_string());
                if let (1, Err(error)) = (round, result) {
                    tracing::info!(control = name, %error, "not set as it was before");
                }
            }
        }
        self.read_controls(camera)
    }

    fn read_controls(&self, camera: &CameraInfo) -> Vec<ControlInfo> {
        if camera.is_libcamera() {
            return camera.controls.clone();
        }
        match controls::read(&camera.path) {
            Ok(found) if !found.is_empty() => found,
            // It may be going away at this moment, which others notice.
            Ok(_) | Err(_) => camera.controls.clone(),
        }
    }

    fn encode_snapshot(&mut self, picture: CapturedPicture, width: Option<u32>) -> Result<(), MediaError> {
        let inbox = self.inbox.clone();
        let encode = move || snapshot::encode(&picture, width);
        snapshot::on_its_thread(encode, move |result| inbox.send(Message::SnapshotEncoded(result)))
    }
}

/// Does it, and tells the log what it took: drivers differ.
fn timed<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    tracing::debug!(ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), "{what}");
    done
}

/// The camera's controls, with these values where there is one.
fn with_values(camera: &CameraInfo, value: impl Fn(&ControlInfo) -> Option<i64>) -> Vec<ControlInfo> {
    let mut controls = camera.controls.clone();
    for control in &mut controls {
        control.value = value(control).or(control.value);
    }
    controls
}
