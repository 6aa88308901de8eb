//! The camera that is planned for, with its controls: looked for, checked, and set as people want it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::control::ControlInfo;
use crate::media::encode::choice::EncoderKind;
use crate::media::encode::encoder::EncoderSpec;
use crate::media::error::{CameraTrouble, MediaError};
use crate::media::life::backend::{CaptureBackend, Gauges};
use crate::media::life::cause::Cause;
use crate::media::life::control_settings::ControlSettings;
use crate::media::life::device_watch::DeviceWatch;
use crate::media::life::key_frame_limiter::{Hearing, KeyFrameLimiter};
use crate::media::life::lifecycle::DeviceCondition;
use crate::media::look::PictureLook;
use crate::media::plan::planner::Plan;
use crate::media::plan::set_aside::WhyEncoded;
use crate::media::plan::source::Source;
use crate::media::plan::styling::FLIPS;

/// What a look for the camera brought.
#[derive(Debug, PartialEq, Eq)]
pub struct LookOutcome {
    /// For the life cycle.
    pub condition: DeviceCondition,
    /// Whether a pipeline of the plan before has to be replaced.
    pub is_other_plan: bool,
}

/// The plan, and what belongs to its camera.
pub struct PlannedCamera {
    plan: Option<Plan>,
    look: Arc<PictureLook>,
    controls: ControlSettings,
    /// When to look, and how many starts have failed.
    pub watch: DeviceWatch,
}

impl PlannedCamera {
    /// Nothing is planned, and the first look is due at `now`.
    pub fn new(look: PictureLook, now: Instant) -> Self {
        let (look, controls) = (Arc::new(look), ControlSettings::default());
        Self { plan: None, look, controls, watch: DeviceWatch::new(now) }
    }

    /// The plan, if there is one.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The plan's bit rate in kbit/s; 0 without one.
    pub fn planned_kbps(&self) -> u32 {
        self.plan.as_ref().map_or(0, |plan| plan.settings.bitrate_kbps)
    }

    /// Whether the plan is complete: what will come out is known.
    pub fn is_ready(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.profile.is_some())
    }

    /// The device for people.
    pub fn device_name(&self, backend: &impl CaptureBackend) -> String {
        let planned = self.plan.as_ref().map(|plan| plan.device.clone());
        planned.or_else(|| backend.device_name()).unwrap_or_else(|| "auto".into())
    }

    /// Whether the plan's device is not in its place any more.
    pub fn is_gone(&self, backend: &impl CaptureBackend) -> bool {
        self.plan.as_ref().is_some_and(|plan| !backend.is_there(plan))
    }

    /// Drops the plan of a device that is gone; what the life cycle has to know then.
    pub fn drop_if_gone(&mut self, backend: &impl CaptureBackend) -> Option<DeviceCondition> {
        if !self.is_gone(backend) {
            return None;
        }
        let gone = MediaError::DeviceMissing { device: self.device_name(backend) };
        self.plan = None;
        let condition = DeviceCondition::Absent((&gone).into());
        self.watch.went(&condition);
        Some(condition)
    }

    /// Plans anew. `may_capture`: whether the privacy switch lets a camera run for a moment.
    pub fn look(&mut self, backend: &mut (impl CaptureBackend + Gauges), may_capture: bool) -> LookOutcome {
        let (plan, failure) = match backend.plan(may_capture) {
            // Kept: its controls can still be set, that switch among them.
            Ok(plan) if is_shuttered(&plan) => {
                let device = plan.device.clone();
                (Some(plan), Some(MediaError::Shuttered { device }))
            }
            Ok(plan) => (Some(plan), None),
            Err(error) => (None, Some(error)),
        };
        let before = std::mem::replace(&mut self.plan, plan);
        let is_same = |plan: &Plan| {
            before.as_ref().is_some_and(|old| {
                (&old.source, &old.settings, old.encoder) == (&plan.source, &plan.settings, plan.encoder)
                    && old.styling.is_turned_by_camera == plan.styling.is_turned_by_camera
                    && old.is_shared == plan.is_shared
            })
        };
        let is_other_plan = self.plan.as_ref().is_some_and(|plan| !is_same(plan));
        // Planning may have taken seconds.
        LookOutcome { condition: self.watch.looked(backend.now(), failure.as_ref()), is_other_plan }
    }

    /// Checks that the device is in its place. Whether to look anew: it is not, its privacy switch was on, or a camera may have
    /// come that the test picture stands in for while nothing runs.
    pub fn check(&mut self, backend: &(impl CaptureBackend + Gauges), is_up: bool) -> bool {
        let plan = self.plan.as_ref();
        let is_there = plan.is_some_and(|plan| backend.is_there(plan));
        let is_stand_in = plan.is_some_and(|plan| plan.source.is_test()) && !is_up;
        let is_shuttered = plan.is_some_and(is_shuttered);
        if !is_there || is_shuttered || (is_stand_in && backend.has_device()) {
            return true;
        }
        self.watch.found_in_place(backend.now());
        false
    }

    /// A run failed before its first picture. After a few in a row the plan is given up, and another look is due.
    pub fn start_failed(
        &mut self,
        backend: &mut impl CaptureBackend,
        by_encoder: bool,
        reason: &str,
    ) -> bool {
        let Some(plan) = &self.plan else { return false };
        let is_given_up = self.watch.start_failed();
        if is_given_up {
            backend.give_up(plan, by_encoder, reason);
        }
        is_given_up
    }

    /// Whether another mode than that of `before` is planned, since that one failed: it need not wait as long as that did. Where all
    /// have failed, it is the first one again.
    pub fn is_second_choice(&self, before: Option<&Source>) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.note.is_some() && Some(&plan.source) != before)
    }

    /// What the camera encodes does not do. Whether another look is due.
    pub fn encode_instead(&mut self, backend: &mut impl CaptureBackend, why: WhyEncoded) -> bool {
        let passed_through = self.plan.as_ref().filter(|plan| plan.encoder.is_none() && plan.could_encode);
        passed_through.inspect(|plan| backend.encode_instead(plan, why)).is_some()
    }

    /// The encoder may have to be replaced.
    pub fn prepare_other(&self, backend: &mut impl CaptureBackend) {
        if let Some(plan) = &self.plan {
            backend.prepare_other(plan);
        }
    }

    /// An encoder of the board that hears no requests for key frames, in words; whoever needs one would wait for its interval.
    pub fn deafness(
        &self,
        backend: &mut (impl CaptureBackend + Gauges),
        requests: &KeyFrameLimiter,
    ) -> Option<MediaError> {
        let spec = self.board_encoder()?;
        match requests.hearing(backend.last_picture()) {
            Hearing::Good => None,
            Hearing::Doubtful => {
                self.prepare_other(backend);
                None
            }
            Hearing::None => {
                let reason = "it gives no key frame when asked for one".into();
                Some(MediaError::Encoder { encoder: spec.name, reason })
            }
        }
    }

    /// A run failed, by its encoder or not. Whether something else is to follow at once, for which another look is due. `is_silent`: the
    /// encoder gave nothing.
    pub fn is_replaced(
        &self,
        backend: &mut impl CaptureBackend,
        error: &MediaError,
        by_encoder: bool,
        is_silent: bool,
    ) -> bool {
        let Some(plan) = &self.plan else { return false };
        let is_of_device = matches!(error, MediaError::DeviceBusy { .. } | MediaError::DeviceDenied { .. });
        // One that gave pictures before can be handed the camera's own buffers: that is not why it is silent now.
        let is_by_sharing = plan.is_shared && !is_of_device && !(is_silent && self.watch.saw_picture());
        // One of the board is given up at once, because what its driver refuses or where its firmware hangs does not change with another
        // start.
        let is_given_up = by_encoder && self.board_encoder().is_some();
        if is_by_sharing {
            backend.give_up_sharing(plan, &error.to_string());
        } else if is_given_up {
            backend.give_up(plan, true, &error.to_string());
        }
        is_by_sharing || is_given_up
    }

    /// The encoder of the board, where one is planned.
    fn board_encoder(&self) -> Option<&'static EncoderSpec> {
        self.plan.as_ref()?.encoder.filter(|spec| spec.kind == EncoderKind::Hardware)
    }

    /// The configuration names another bit rate, in kbit/s.
    pub fn set_planned_kbps(&mut self, backend: &mut impl CaptureBackend, kbps: u32) {
        backend.want_bitrate(kbps);
        if let Some(plan) = &mut self.plan {
            plan.settings.bitrate_kbps = kbps;
        }
    }

    /// How the picture is to look.
    pub fn wanted_look(&self) -> &Arc<PictureLook> {
        &self.look
    }

    /// The picture is to look so. What the life cycle has to know where what runs now must not be shown any more: it goes from the
    /// camera to viewers, or to the encoder, without the masks.
    pub fn set_look(
        &mut self,
        backend: &mut impl CaptureBackend,
        look: PictureLook,
    ) -> Option<DeviceCondition> {
        backend.want_look(&look);
        self.look = Arc::new(look);
        let cannot_be_drawn = |plan: &Plan| plan.encoder.is_none() || plan.is_shared;
        let is_hidden = !self.look.masks.is_empty() && self.plan.as_ref().is_some_and(cannot_be_drawn);
        is_hidden.then(|| {
            let text = "a mode that privacy masks can be drawn into is looked for".into();
            DeviceCondition::Unusable(Cause { text, trouble: CameraTrouble::Unusable })
        })
    }

    /// Whether it is the test picture, which is good from its first one on.
    pub fn is_test(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.source.is_test())
    }

    /// What is wanted of the camera's controls, by their names.
    pub fn wanted_controls(&self) -> &BTreeMap<String, i64> {
        self.controls.wanted()
    }

    /// What people set before a restart of the process.
    pub fn restore_controls(&mut self, wanted: BTreeMap<String, i64>) {
        self.controls.restore(wanted);
    }

    /// Sets a control as somebody wrote it; the value that it then has, and whether the camera's description changed.
    pub fn set_control(
        &mut self,
        backend: &mut impl CaptureBackend,
        name: &str,
        text: &str,
    ) -> Result<(i64, bool), MediaError> {
        let camera = self.camera().ok_or_else(|| MediaError::Control {
            control: name.to_owned(),
            reason: "there is no camera that has controls".into(),
        })?;
        if FLIPS.contains(&name) && !self.look.masks.is_empty() {
            let reason =
                "it would turn the picture under its privacy masks; set/rotate and set/mirror turn both"
                    .into();
            return Err(MediaError::Control { control: name.to_owned(), reason });
        }
        let (value, controls) = backend.set_control(&camera, name, text)?;
        self.controls.set(name, value);
        Ok((value, self.replace_controls(&camera, controls)))
    }

    /// Sets what is wanted on a camera that has just come. Whether its description changed.
    pub fn apply_controls(&mut self, backend: &mut impl CaptureBackend) -> bool {
        let camera = self.camera();
        let bus_info = camera.as_ref().map(|camera| camera.bus_info.as_str());
        if !self.controls.poll_apply(bus_info) {
            return false;
        }
        let Some(camera) = camera else { return false };
        let controls = backend.apply_controls(&camera, self.controls.wanted());
        self.replace_controls(&camera, controls)
    }

    /// Looks for changes from elsewhere, now and then. Whether its privacy switch is on.
    pub fn read_controls(&mut self, backend: &impl CaptureBackend, now: Instant) -> bool {
        let camera = self.camera();
        let has_switch = camera.as_ref().is_some_and(|camera| camera.is_shuttered().is_some());
        if self.controls.poll_read(now, has_switch)
            && let Some(camera) = camera
        {
            let controls = backend.read_controls(&camera);
            self.replace_controls(&camera, controls);
        }
        self.plan.as_ref().is_some_and(is_shuttered)
    }

    fn camera(&self) -> Option<Arc<CameraInfo>> {
        self.plan.as_ref()?.camera.clone()
    }

    fn replace_controls(&mut self, camera: &CameraInfo, controls: Vec<ControlInfo>) -> bool {
        let is_other = controls != camera.controls;
        if let Some(plan) = self.plan.as_mut().filter(|_| is_other) {
            plan.camera = Some(Arc::new(CameraInfo { controls, ..camera.clone() }));
        }
        is_other
    }
}

fn is_shuttered(plan: &Plan) -> bool {
    plan.camera.as_ref().and_then(|camera| camera.is_shuttered()).unwrap_or(false)
}
