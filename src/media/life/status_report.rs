//! What the capture side says of itself: the status on its watch channel, and the log of its changes.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::media::encode::choice::EncoderStatus;
use crate::media::life::backend::{CaptureBackend, Gauges};
use crate::media::life::bitrate::BitrateControl;
use crate::media::life::lifecycle::Lifecycle;
use crate::media::life::planned_camera::PlannedCamera;
use crate::media::life::small_runner::SmallRunner;
use crate::media::look::PictureLook;
use crate::media::pipeline::timeline::StreamFigures;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::planner::{Plan, Planner, USUAL_PROFILE};
use crate::media::status::{CameraState, MediaStatus, SmallStatus};
use crate::stream::{ProfileLevelId, Rendition};

/// The status before anything was looked at.
pub fn first_status(config: &MediaConfig, streaming: bool) -> MediaStatus {
    let (width, height) = config.size_or((640, 480));
    MediaStatus {
        state: if streaming { CameraState::Idle } else { CameraState::Off },
        device: Planner::new(config.clone()).device_name(),
        width,
        height,
        fps: f64::from(config.fps.unwrap_or(30)),
        encoder: None,
        ready: false,
        camera: None,
        look: Arc::new(config.look.clone()),
        look_problem: None,
        profile: USUAL_PROFILE,
        bitrate: 0,
        target: 0,
        ceiling: 0,
        small: None,
        key_frames: 0,
        encode_latency: None,
        restarts: 0,
        error: None,
        trouble: None,
        has_placeholder: false,
        note: None,
        could_encode: false,
        since: SystemTime::now(),
    }
}

/// What a status is made of.
pub struct StatusFacts<'a> {
    /// State, error and restarts.
    pub life: &'a Lifecycle,
    /// The plan, if there is one.
    pub plan: Option<&'a Plan>,
    /// How the picture is to look.
    pub look: &'a Arc<PictureLook>,
    /// The encoder that would be used, and what it makes, while there is no plan.
    pub planned_encoder: Option<(EncoderStatus, ProfileLevelId)>,
    /// Target and ceiling.
    pub bitrate: &'a BitrateControl,
    /// New figures of the full rendition while it is live.
    pub figures: Option<StreamFigures>,
    /// Key frames since the process started.
    pub key_frames: u64,
    /// The small rendition, where there can be one.
    pub small: Option<SmallStatus>,
}

impl<'a> StatusFacts<'a> {
    /// Asks each part for its own.
    pub fn gather(
        backend: &(impl CaptureBackend + Gauges),
        life: &'a Lifecycle,
        camera: &'a PlannedCamera,
        bitrate: &'a BitrateControl,
        small: &mut SmallRunner,
    ) -> Self {
        let is_live = life.state() == CameraState::Live;
        let figures = is_live.then(|| backend.figures(Rendition::Full, backend.now())).flatten();
        let (ceiling_kbps, _) = bitrate.within(camera.planned_kbps());
        Self {
            life,
            plan: camera.plan(),
            look: camera.wanted_look(),
            planned_encoder: backend.planned_encoder(),
            bitrate,
            figures,
            key_frames: backend.key_frames(),
            small: small.status(backend, camera.plan(), ceiling_kbps),
        }
    }
}

/// The writing end of the status.
pub struct StatusPublisher {
    status: watch::Sender<MediaStatus>,
}

impl StatusPublisher {
    /// Writes to `status`.
    pub fn new(status: watch::Sender<MediaStatus>) -> Self {
        Self { status }
    }

    /// Whether the status published last says all of this but figures.
    pub fn is_current(&self, life: &Lifecycle, is_ready: bool) -> bool {
        let status = self.status.borrow();
        status.state == life.state()
            && status.error.as_deref() == life.error()
            && status.trouble.as_ref() == life.trouble()
            && status.restarts == life.restarts()
            && status.ready == is_ready
    }

    /// Logs the state if it is another one than the status says.
    pub fn log_change(&self, life: &Lifecycle, device: &str) {
        let (from, state) = (self.status.borrow().state, life.state());
        if from == state {
            return;
        }
        if let Some(error) = life.error() {
            tracing::warn!(device, error, "camera: {from} → {state}");
        } else {
            tracing::info!(device, "camera: {from} → {state}");
        }
    }

    /// Publishes a status of `facts`.
    pub fn publish(&self, facts: &StatusFacts<'_>) {
        let state = facts.life.state();
        self.status.send_modify(|status| {
            if status.state != state {
                (status.state, status.since) = (state, SystemTime::now());
            }
            status.ready = facts.plan.is_some_and(|plan| plan.profile.is_some());
            status.key_frames = facts.key_frames;
            status.look.clone_from(facts.look);
            status.look_problem = facts.plan.and_then(|plan| plan.styling.left_out.clone());
            status.small = facts.small;
            status.restarts = facts.life.restarts();
            status.error = facts.life.error().map(ToOwned::to_owned);
            status.trouble = facts.life.trouble().cloned();
            status.note = facts.plan.and_then(|plan| plan.note.clone());
            if let Some(plan) = facts.plan {
                describe_plan(status, plan, facts.bitrate);
            } else if let Some((encoder, profile)) = &facts.planned_encoder {
                (status.encoder, status.profile) = (Some(encoder.clone()), *profile);
            }
            match (facts.figures, state) {
                (Some(figures), _) => {
                    status.fps = figures.fps;
                    status.bitrate = figures.bitrate;
                    status.encode_latency = figures.latency;
                }
                (None, CameraState::Live) => {}
                (None, _) => {
                    (status.bitrate, status.encode_latency) = (0, None);
                    if let Some(plan) = facts.plan {
                        status.fps = plan.settings.rate.fps();
                    }
                }
            }
        });
    }
}

fn describe_plan(status: &mut MediaStatus, plan: &Plan, bitrate: &BitrateControl) {
    status.device = Some(plan.device.clone());
    status.camera.clone_from(&plan.camera);
    status.width = plan.settings.width;
    status.height = plan.settings.height;
    status.encoder = Some(plan.encoder_status());
    status.could_encode = plan.could_encode;
    let (ceiling_kbps, target_kbps) = bitrate.within(plan.settings.bitrate_kbps);
    status.ceiling = u64::from(ceiling_kbps) * 1000;
    status.target = if plan.encoder.is_some() { u64::from(target_kbps) * 1000 } else { 0 };
    if let Some(profile) = plan.profile {
        status.profile = profile;
    }
}
