//! What the worker says of itself: the status on its watch channel, and the log of its changes.

use std::time::{Instant, SystemTime};

use super::Worker;
use super::adjust::BitrateWish;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::planner::{Plan, Planner, USUAL_PROFILE};
use crate::media::status::{CameraState, MediaStatus};

/// The status before anything is known.
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
        profile: USUAL_PROFILE,
        bitrate: 0,
        target: 0,
        ceiling: 0,
        small: None,
        key_frames: 0,
        encode_latency: None,
        restarts: 0,
        error: None,
        since: SystemTime::now(),
    }
}

impl Worker {
    /// Publishes if anything but figures changed, and logs changes of the state.
    pub(super) fn publish_changes(&mut self) {
        let state = self.life.state();
        let (same, from) = {
            let status = self.status.borrow();
            let same = status.state == state
                && status.error.as_deref() == self.life.error()
                && status.restarts == self.life.restarts()
                && status.ready == self.is_ready();
            (same, status.state)
        };
        if same {
            return;
        }
        if from != state {
            let device = self.shown_device();
            if let Some(error) = self.life.error() {
                tracing::warn!(device, error, "camera: {from} → {state}");
            } else {
                tracing::info!(device, "camera: {from} → {state}");
            }
        }
        self.publish();
    }

    fn is_ready(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.profile.is_some())
    }

    pub(super) fn publish(&mut self) {
        let state = self.life.state();
        let mut meter = self.flow.meter();
        let figures = if state == CameraState::Live { meter.figures(Instant::now()) } else { None };
        let key_frames = meter.key_frames();
        drop(meter);
        let (ready, planned) = (self.is_ready(), self.planner.encoder());
        let planned_kbps = self.plan.as_ref().map_or(0, |plan| plan.settings.bitrate_kbps);
        let small = self.small_status(self.bitrate.within(planned_kbps).0);
        self.status.send_modify(|status| {
            if status.state != state {
                (status.state, status.since) = (state, SystemTime::now());
            }
            status.ready = ready;
            status.key_frames = key_frames;
            status.small = small;
            status.restarts = self.life.restarts();
            status.error = self.life.error().map(ToOwned::to_owned);
            if let Some(plan) = &self.plan {
                describe_plan(status, plan, self.bitrate);
            } else if let Some((encoder, profile)) = planned {
                (status.encoder, status.profile) = (Some(encoder), profile);
            }
            match (figures, state) {
                (Some(figures), _) => {
                    status.fps = figures.fps;
                    status.bitrate = figures.bitrate;
                    status.encode_latency = figures.latency;
                }
                (None, CameraState::Live) => {}
                (None, _) => {
                    (status.bitrate, status.encode_latency) = (0, None);
                    if let Some(plan) = &self.plan {
                        status.fps = plan.settings.rate.fps();
                    }
                }
            }
        });
    }
}

fn describe_plan(status: &mut MediaStatus, plan: &Plan, bitrate: BitrateWish) {
    status.device = Some(plan.device.clone());
    status.camera.clone_from(&plan.camera);
    status.width = plan.settings.width;
    status.height = plan.settings.height;
    status.encoder = Some(plan.encoder_status());
    let (ceiling_kbps, target_kbps) = bitrate.within(plan.settings.bitrate_kbps);
    status.ceiling = u64::from(ceiling_kbps) * 1000;
    status.target = if plan.encoder.is_some() { u64::from(target_kbps) * 1000 } else { 0 };
    if let Some(profile) = plan.profile {
        status.profile = profile;
    }
}
