//! The worker's part in what people adjust while it runs: the bit rate and its ceiling, and the camera's controls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Worker;
use crate::media::capture::camera::CameraInfo;
use crate::media::capture::control::{ControlInfo, control_value};
use crate::media::capture::controls;
use crate::media::error::MediaError;
use crate::media::life::inbox::ControlReply;
use crate::media::status::CameraState;

/// How often a live camera's controls are read again, for changes that come from elsewhere.
const READ_CONTROLS: Duration = Duration::from_secs(2);

/// What is wanted of the encoder's bit rate, in kbit/s.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BitrateWish {
    /// What the network lets through, as far as anybody knows.
    pub target: Option<u32>,
    /// The most that a person allows; without one it is the plan's bit rate.
    pub ceiling: Option<u32>,
}

impl BitrateWish {
    /// The ceiling in force and the bit rate to ask for.
    pub fn within(self, planned: u32) -> (u32, u32) {
        let ceiling = self.ceiling.unwrap_or(planned);
        (ceiling, self.target.unwrap_or(ceiling).min(ceiling))
    }
}

/// What is known of controls between two cameras and two looks.
pub(super) struct ControlDesk {
    /// What people set, to be set again on a camera that comes back without it.
    wanted: BTreeMap<String, i64>,
    /// The camera that `wanted` was last applied to.
    applied_to: Option<String>,
    next_read: Instant,
}

impl ControlDesk {
    pub fn new(now: Instant) -> Self {
        Self { wanted: BTreeMap::new(), applied_to: None, next_read: now }
    }
}

impl Worker {
    pub(super) fn set_target(&mut self, kbps: Option<u32>) {
        self.bitrate.target = kbps;
        self.apply_bitrate();
    }

    pub(super) fn set_ceiling(&mut self, kbps: Option<u32>) {
        self.bitrate.ceiling = kbps;
        self.apply_bitrate();
    }

    /// The configuration names another bit rate.
    pub(super) fn set_planned_bitrate(&mut self, kbps: u32) {
        self.planner.set_bitrate(kbps);
        if let Some(plan) = &mut self.plan {
            plan.settings.bitrate_kbps = kbps;
        }
        self.apply_bitrate();
    }

    fn apply_bitrate(&mut self) {
        if let (Some(plan), Some(pipeline)) = (&self.plan, &self.pipeline) {
            pipeline.encode_at(self.bitrate.within(plan.settings.bitrate_kbps).1, self.pace.is_halved());
        }
        self.publish();
    }

    /// What people set before, on this camera or before a restart.
    pub(super) fn keep_controls(&mut self, wanted: BTreeMap<String, i64>) {
        self.controls.wanted = wanted;
        self.controls.applied_to = None;
        self.apply_controls();
    }

    pub(super) fn set_control(&mut self, name: &str, text: &str, reply: ControlReply) {
        let result = self.change_control(name, text);
        // Whoever asked may have stopped waiting.
        let _ = reply.send(result);
    }

    fn change_control(&mut self, name: &str, text: &str) -> Result<i64, MediaError> {
        let camera = self.plan.as_ref().and_then(|plan| plan.camera.clone());
        let camera = camera.ok_or_else(|| MediaError::Control {
            control: name.to_owned(),
            reason: "there is no camera that has controls".into(),
        })?;
        let value = if camera.is_libcamera() {
            let control = controls::find(&camera, name)?;
            let value = control_value(control, text)?;
            if let Some(pipeline) = &self.pipeline {
                pipeline.set_source_control(control, value);
            }
            self.note_values(&camera, |known| (known.name == name).then_some(value));
            value
        } else {
            let asked = controls::set_control(&camera, name, text)?;
            self.read_controls();
            let now = self.plan.as_ref().and_then(|plan| plan.camera.clone());
            let read =
                now.and_then(|camera| controls::find(&camera, name).ok().and_then(|found| found.value));
            read.unwrap_or(asked)
        };
        self.controls.wanted.insert(name.to_owned(), value);
        Ok(value)
    }

    /// Sets what is wanted on a camera that has just come.
    pub(super) fn apply_controls(&mut self) {
        let Some(camera) = self.plan.as_ref().and_then(|plan| plan.camera.clone()) else {
            self.controls.applied_to = None;
            return;
        };
        if self.controls.applied_to.as_deref() == Some(camera.bus_info.as_str()) {
            return;
        }
        self.controls.applied_to = Some(camera.bus_info.clone());
        if camera.is_libcamera() {
            let wanted = self.controls.wanted.clone();
            self.note_values(&camera, |known| wanted.get(&known.name).copied());
            return;
        }
        if self.controls.wanted.is_empty() {
            return;
        }
        // Twice: a control that another one overrides (exposure under automatic exposure) takes its value afterwards.
        for round in 0..2 {
            for (name, value) in &self.controls.wanted {
                let result = controls::set_control(&camera, name, &value.to_string());
                if let (1, Err(error)) = (round, result) {
                    tracing::info!(control = name, %error, "not set as it was before");
                }
            }
        }
        self.read_controls();
    }

    /// Hands a started libcamera element what is wanted of it: it forgets with each stop.
    pub(super) fn control_source(&self) {
        let Some(camera) = self.plan.as_ref().and_then(|plan| plan.camera.as_ref()) else { return };
        let (true, Some(pipeline)) = (camera.is_libcamera(), &self.pipeline) else { return };
        for control in &camera.controls {
            if let Some(value) = self.controls.wanted.get(&control.name) {
                pipeline.set_source_control(control, *value);
            }
        }
    }

    /// Looks for changes from elsewhere, now and then while the camera is live anyway.
    pub(super) fn watch_controls(&mut self, now: Instant) {
        if self.life.state() == CameraState::Live && now >= self.controls.next_read {
            self.controls.next_read = now + READ_CONTROLS;
            self.read_controls();
        }
    }

    fn read_controls(&mut self) {
        let Some(camera) = self.plan.as_ref().and_then(|plan| plan.camera.clone()) else { return };
        if camera.is_libcamera() {
            return;
        }
        match controls::read(&camera.path) {
            Ok(found) if !found.is_empty() && found != camera.controls => {
                self.replace_controls(&camera, found);
            }
            // It may be going away at this moment, which others notice.
            Ok(_) | Err(_) => {}
        }
    }

    fn note_values(&mut self, camera: &Arc<CameraInfo>, value: impl Fn(&ControlInfo) -> Option<i64>) {
        let mut known = camera.controls.clone();
        for control in &mut known {
            control.value = value(control).or(control.value);
        }
        if known != camera.controls {
            self.replace_controls(camera, known);
        }
    }

    fn replace_controls(&mut self, camera: &Arc<CameraInfo>, controls: Vec<ControlInfo>) {
        let camera = Arc::new(CameraInfo { controls, ..(**camera).clone() });
        if let Some(plan) = &mut self.plan {
            plan.camera = Some(camera);
        }
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_may_ask_for_less_than_a_person_allows_and_never_for_more() {
        let wish = |target, ceiling| BitrateWish { target, ceiling }.within(2000);
        assert_eq!(wish(None, None), (2000, 2000));
        assert_eq!(wish(Some(900), None), (2000, 900));
        assert_eq!(wish(Some(9000), None), (2000, 2000));
        assert_eq!(wish(Some(900), Some(700)), (700, 700));
        assert_eq!(wish(None, Some(5000)), (5000, 5000));
    }
}
