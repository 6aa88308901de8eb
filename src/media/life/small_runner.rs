//! Has done by the backend what the small rendition's state asks for.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::media::encode::encoder::EncoderSpec;
use crate::media::error::MediaError;
use crate::media::life::backend::{CaptureBackend, Gauges, PipelineRequest};
use crate::media::life::small_encoder::SmallEncoder;
use crate::media::life::small_rendition::{SmallAction, SmallRendition};
use crate::media::pipeline::event::PipelineEvent;
use crate::media::pipeline::small;
use crate::media::plan::planner::Plan;
use crate::media::status::SmallStatus;
use crate::stream::{KeyFrameReason, Rendition};

/// The small rendition and its pipeline.
pub struct SmallRunner {
    state: SmallRendition,
    choice: SmallEncoder,
    /// What makes it, or made it last.
    encoder: Option<&'static EncoderSpec>,
}

impl SmallRunner {
    /// It does not run. `is_allowed`: whether the configuration wants two renditions.
    pub fn new(is_allowed: bool) -> Self {
        Self { state: SmallRendition::new(is_allowed), choice: SmallEncoder::default(), encoder: None }
    }

    /// When [`Self::tend`] has something to do next, if it will.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.deadline()
    }

    /// Somebody needs it at this bit rate in kbit/s, or nobody does any more.
    pub fn set_wanted_kbps(&mut self, backend: &mut (impl CaptureBackend + Gauges), kbps: Option<u32>) {
        if let Some(at) = self.state.set_wanted_kbps(kbps) {
            backend.request(Rendition::Small, PipelineRequest::EncodeAt(at));
        }
    }

    /// A viewer needs a key frame.
    pub fn request_key_frame(&mut self, reason: KeyFrameReason) {
        self.state.request_key_frame(reason);
    }

    /// Starts or stops it, and passes requests for key frames on. `is_live`: whether the full rendition is. Whether
    /// what `state` shows of it has changed.
    pub fn tend(
        &mut self,
        backend: &mut (impl CaptureBackend + Gauges),
        plan: Option<&Plan>,
        is_live: bool,
    ) -> bool {
        let now = backend.now();
        let mut is_changed = false;
        match self.state.poll(now, plan.and_then(small::settings).as_ref(), is_live) {
            Some(SmallAction::Start(kbps)) => {
                is_changed = plan.is_some();
                if let Some(plan) = plan {
                    self.start(backend, plan, kbps);
                }
            }
            Some(SmallAction::Stop) => self.stop(backend),
            None => {}
        }
        if self.state.poll_key_frame(now) {
            backend.request(Rendition::Small, PipelineRequest::KeyFrame);
        }
        is_changed
    }

    /// Leaves every other picture out where too few bits are left, and puts them in again. `full_ceiling_kbps` is the
    /// full rendition's ceiling in kbit/s.
    pub fn leave_pictures_out(
        &mut self,
        backend: &mut (impl CaptureBackend + Gauges),
        now: Instant,
        plan: &Plan,
        full_ceiling_kbps: u32,
    ) {
        let Some(settings) = small::settings(plan) else { return };
        if let Some(at) = self.state.step(now, &settings, full_ceiling_kbps) {
            backend.request(Rendition::Small, PipelineRequest::EncodeAt(at));
        }
    }

    fn start(&mut self, backend: &mut (impl CaptureBackend + Gauges), plan: &Plan, kbps: u32) {
        let run = self.state.begin_run();
        self.encoder = plan.encoder.map(|full| self.choice.beside(full));
        let plan = Plan { encoder: self.encoder, ..plan.clone() };
        // It has no source of its own that could be set.
        if let Err(error) = backend.start(Rendition::Small, &plan, run, &BTreeMap::new()) {
            self.failed(backend, &error, true);
            return;
        }
        let at = self.state.started(kbps);
        backend.request(Rendition::Small, PipelineRequest::EncodeAt(at));
        tracing::info!(kbps, encoder = self.encoder_name(), "the small rendition is needed");
    }

    /// The full rendition stops, or nobody needs the small one any more.
    pub fn stop(&mut self, backend: &mut (impl CaptureBackend + Gauges)) {
        backend.stop(Rendition::Small);
        if self.state.stopped() {
            tracing::info!("the small rendition stops");
        }
    }

    fn encoder_name(&self) -> Option<&'static str> {
        self.encoder.map(|spec| spec.name)
    }

    /// Its viewers get the full one, until another encoder has it or it is tried again.
    fn failed(&mut self, backend: &mut (impl CaptureBackend + Gauges), error: &MediaError, by_encoder: bool) {
        self.stop(backend);
        let encoder = self.encoder_name();
        if by_encoder && self.encoder.is_some_and(|spec| self.choice.failed(spec)) {
            tracing::warn!(encoder, %error, "this encoder does not make the small rendition, trying the next one");
            return;
        }
        tracing::warn!(encoder, %error, "the small rendition failed; its viewers get the full one");
        self.state.failed(backend.now());
    }

    /// Its pipeline reports; a run that is over does not count. Whether what `state` shows of it has changed.
    pub fn event(
        &mut self,
        backend: &mut (impl CaptureBackend + Gauges),
        run: u64,
        event: &PipelineEvent,
    ) -> bool {
        if run != self.state.run() {
            return false;
        }
        match event {
            PipelineEvent::KeyFrame => self.state.key_frame_out(backend.now()),
            PipelineEvent::EncoderHangs(error) => self.failed(backend, error, true),
            PipelineEvent::Failed { error, by_encoder } => self.failed(backend, error, *by_encoder),
            PipelineEvent::FirstPicture { .. }
            | PipelineEvent::PictureCopied(_)
            | PipelineEvent::EncoderIsLate => return matches!(event, PipelineEvent::FirstPicture { .. }),
        }
        !matches!(event, PipelineEvent::KeyFrame)
    }

    /// Says once that there will be no small rendition, although it is configured.
    pub fn explain_absence(&mut self, plan: Option<&Plan>) {
        if self.state.poll_explanation(plan.is_some(), plan.and_then(small::settings).as_ref()) {
            tracing::warn!(
                "video.tiers = 2 has no effect: this camera encodes by itself, or its picture is too small to be halved; \
                 camera.format = \"raw\" or \"mjpeg\" leaves the encoding to this machine"
            );
        }
    }

    /// What `state` shows of it; `None` where there cannot be one. `full_ceiling_kbps` is the full rendition's ceiling
    /// in kbit/s.
    pub fn status(
        &mut self,
        backend: &(impl CaptureBackend + Gauges),
        plan: Option<&Plan>,
        full_ceiling_kbps: u32,
    ) -> Option<SmallStatus> {
        let now = backend.now();
        let settings = plan.and_then(small::settings);
        if self.state.is_running()
            && self.state.is_possible(now, settings.as_ref())
            && let Some(figures) = backend.figures(Rendition::Small, now)
        {
            self.state.set_measured(figures.bitrate);
        }
        let encoder = self.encoder_name().filter(|_| self.state.is_running());
        let status = self.state.status(now, settings.as_ref(), full_ceiling_kbps)?;
        Some(SmallStatus { encoder, ..status })
    }
}
