//! The worker's part in the small rendition: runs it while somebody needs it and the full one is live.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Worker;
use crate::media::encode::frame_decimator::FrameDecimator;
use crate::media::life::inbox::Message;
use crate::media::life::key_frame_limiter::KeyFrameLimiter;
use crate::media::pipeline::flow::{Flow, PipelineEvent};
use crate::media::pipeline::small;
use crate::media::pipeline::small::SmallRenditionPipeline;
use crate::media::status::CameraState;
use crate::media::status::SmallStatus;
use crate::stream::{KeyFrameReason, Rendition};

/// One that failed is not tried again for so long.
const RETRY: Duration = Duration::from_secs(30);

/// What the worker has of the small rendition.
pub(super) struct SmallRendition {
    /// Whether the configuration allows it.
    allowed: bool,
    /// Bit rate in kbit/s that somebody needs it at.
    wanted_kbps: Option<u32>,
    pub(super) gate: KeyFrameLimiter,
    pace: FrameDecimator,
    pub(super) flow: Arc<Flow>,
    pipeline: Option<SmallRenditionPipeline>,
    run: u64,
    not_before: Option<Instant>,
    /// Measured over the last second.
    bitrate: u64,
    /// Whether it was said that the camera leaves nothing to be scaled.
    said: bool,
}

impl SmallRendition {
    pub fn new(allowed: bool, flow: &Flow) -> Self {
        Self {
            allowed,
            wanted_kbps: None,
            gate: KeyFrameLimiter::default(),
            pace: FrameDecimator::default(),
            flow: Arc::new(flow.small_rendition()),
            pipeline: None,
            run: 0,
            not_before: None,
            bitrate: 0,
            said: false,
        }
    }

    pub fn is_running(&self) -> bool {
        self.pipeline.is_some()
    }
}

impl Worker {
    /// Somebody needs it at this bit rate in kbit/s, or nobody does any more.
    pub(super) fn want_small(&mut self, kbps: Option<u32>) {
        self.smaller.wanted_kbps = kbps;
        if let (Some(kbps), Some(pipeline)) = (kbps, &self.smaller.pipeline) {
            pipeline.encode_at(kbps, self.smaller.pace.is_halved());
        }
        self.tend_small(Instant::now());
        self.publish();
    }

    /// Leaves every other picture out of what has too few bits, and puts them in again.
    pub(super) fn keep_pace(&mut self, now: Instant) {
        let (Some(plan), Some(pipeline)) = (&self.plan, &self.pipeline) else { return };
        let (ceiling, target) = self.bitrate.within(plan.settings.bitrate_kbps);
        let was_halved = self.pace.is_halved();
        let is_halved = self.pace.step(now, &plan.settings, target, ceiling);
        if is_halved != was_halved {
            pipeline.encode_at(target, is_halved);
        }
        let (Some(settings), Some(kbps)) = (small::settings(plan), self.smaller.wanted_kbps) else { return };
        let was_halved = self.smaller.pace.is_halved();
        let is_halved = self.smaller.pace.step(now, &settings, kbps, ceiling / small::SHARE);
        if let (true, Some(pipeline)) = (is_halved != was_halved, &self.smaller.pipeline) {
            pipeline.encode_at(kbps, is_halved);
        }
    }

    /// Starts or stops it, and passes requests for key frames on.
    pub(super) fn tend_small(&mut self, now: Instant) {
        let (allowed, live) = (self.small_is_possible(now), self.life.state() == CameraState::Live);
        match (&self.smaller.pipeline, self.smaller.wanted_kbps) {
            (None, Some(kbps)) if allowed && live => self.start_small(kbps),
            (Some(_), None) => self.stop_small(),
            _ => {}
        }
        if let Some(pipeline) = &self.smaller.pipeline
            && self.smaller.gate.poll(now)
        {
            pipeline.force_key_frame();
        }
    }

    /// Says once that there will be no small rendition, although it is configured.
    pub(super) fn note_tiers(&mut self) {
        let without = self.plan.as_ref().is_some_and(|plan| small::settings(plan).is_none());
        if self.smaller.allowed && without && !self.smaller.said {
            self.smaller.said = true;
            tracing::warn!(
                "video.tiers = 2 has no effect: this camera encodes by itself, or its picture is too small to be halved; \
                 camera.format = \"raw\" or \"mjpeg\" leaves the encoding to this machine"
            );
        }
    }

    fn small_is_possible(&self, now: Instant) -> bool {
        let trouble = self.smaller.not_before.is_some_and(|at| now < at);
        self.smaller.allowed
            && !trouble
            && self.plan.as_ref().is_some_and(|plan| small::settings(plan).is_some())
    }

    fn start_small(&mut self, kbps: u32) {
        let (Some(main), Some(plan)) = (&self.pipeline, &self.plan) else { return };
        self.smaller.run += 1;
        self.smaller.gate.reset();
        let (run, outbox) = (self.smaller.run, self.outbox.clone());
        let report = move |event| {
            outbox.send(Message::Pipeline(Rendition::Small, run, event));
        };
        match SmallRenditionPipeline::start(main, plan, &self.smaller.flow, report) {
            Ok(pipeline) => {
                pipeline.encode_at(kbps, false);
                self.smaller.pipeline = Some(pipeline);
                tracing::info!(kbps, "the small rendition is needed");
            }
            Err(error) => self.small_failed(&error),
        }
    }

    /// The full rendition stops, or nobody needs the small one any more.
    pub(super) fn stop_small(&mut self) {
        self.smaller.run += 1;
        self.smaller.gate.reset();
        self.smaller.pace = FrameDecimator::default();
        if self.smaller.pipeline.take().is_some() {
            tracing::info!("the small rendition stops");
        }
        self.smaller.bitrate = 0;
    }

    fn small_failed(&mut self, error: &dyn std::fmt::Display) {
        tracing::warn!(%error, "the small rendition failed; its viewers get the full one");
        self.stop_small();
        self.smaller.not_before = Some(Instant::now() + RETRY);
        self.publish();
    }

    pub(super) fn small_event(&mut self, run: u64, event: PipelineEvent) {
        if run != self.smaller.run {
            return;
        }
        match event {
            PipelineEvent::KeyFrame => self.smaller.gate.key_frame_out(Instant::now()),
            PipelineEvent::Failed { error, .. } => self.small_failed(&error),
            PipelineEvent::FirstPicture { .. } => self.publish(),
            PipelineEvent::PictureCopied(_) => {}
        }
    }

    pub(super) fn small_key_frame(&mut self, reason: KeyFrameReason) {
        self.smaller.gate.request(reason);
    }

    /// What `state` shows of it; `None` where there cannot be one.
    pub(super) fn small_status(&mut self, ceiling_kbps: u32) -> Option<SmallStatus> {
        if !self.small_is_possible(Instant::now()) {
            return None;
        }
        let settings = small::settings(self.plan.as_ref()?)?;
        let running = self.smaller.is_running();
        if running && let Some(figures) = self.smaller.flow.meter().figures(Instant::now()) {
            self.smaller.bitrate = figures.bitrate;
        }
        Some(SmallStatus {
            width: settings.width,
            height: settings.height,
            bitrate: if running { self.smaller.bitrate } else { 0 },
            target: if running { u64::from(self.smaller.wanted_kbps.unwrap_or(0)) * 1000 } else { 0 },
            ceiling: u64::from((ceiling_kbps / small::SHARE).max(1)) * 1000,
            is_running: running,
        })
    }
}
