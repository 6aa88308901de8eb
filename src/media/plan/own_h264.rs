//! Looks at what a camera encodes itself, before anybody is promised it.

use std::time::Duration;

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::driver::shown;
use crate::media::capture::mode::ModeChoice;
use crate::media::encode::encoder::{self, EncodeSettings};
use crate::media::encode::pass_through;
use crate::media::error::MediaError;
use crate::media::plan::source::camera_elements;
use crate::stream::ProfileLevelId;

/// How long a camera may take to show its H.264; some need seconds to start.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Pictures looked at: enough to meet a B frame if there are any.
const PICTURES: usize = 8;
/// One that has just been plugged in may fail once.
const ATTEMPTS: usize = 2;

/// What can be said of a camera's own H.264 in one mode.
pub enum OwnH264Verdict {
    /// Browsers can be sent it, by this profile.
    Fits(ProfileLevelId),
    /// They cannot.
    Unfit,
    /// The camera does not start in this mode, and why.
    NotStarted(String),
    /// Not looked at: the privacy switch is off.
    Unknown,
}

/// Verdicts, each by camera and mode.
#[derive(Default)]
pub struct OwnH264 {
    verdicts: Vec<(String, Option<ProfileLevelId>)>,
}

impl OwnH264 {
    /// Looks, unless that was done before. `may_capture`: whether the privacy switch lets the camera run for a moment; `is_there`:
    /// whether it still is.
    pub fn look(
        &mut self,
        camera: &CameraInfo,
        mode: &ModeChoice,
        settings: &EncodeSettings,
        may_capture: bool,
        is_there: impl Fn() -> bool,
    ) -> Result<OwnH264Verdict, MediaError> {
        let key = key(camera, mode);
        if let Some((_, known)) = self.verdicts.iter().find(|verdict| verdict.0 == key) {
            return Ok(known.map_or(OwnH264Verdict::Unfit, OwnH264Verdict::Fits));
        }
        if !may_capture {
            return Ok(OwnH264Verdict::Unknown);
        }
        let device = shown(&camera.path);
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            let elements = camera_elements(camera, mode, settings, &[])?;
            match encoder::capture(elements, PICTURES, TIMEOUT) {
                Ok(units) if !units.is_empty() => return Ok(self.judge(key, camera, mode, &units)),
                Ok(_) => reason = format!("no picture within {} s", TIMEOUT.as_secs()),
                Err(failure) if failure.is_busy => return Err(MediaError::DeviceBusy { device }),
                Err(failure) => reason = failure.reason,
            }
            if !is_there() {
                return Err(MediaError::DeviceMissing { device });
            }
        }
        Ok(OwnH264Verdict::NotStarted(reason))
    }

    fn judge(
        &mut self,
        key: String,
        camera: &CameraInfo,
        mode: &ModeChoice,
        units: &[Vec<u8>],
    ) -> OwnH264Verdict {
        let verdict = pass_through::offered_profile(units);
        if let Err(reason) = &verdict {
            let device = shown(&camera.path);
            let error = MediaError::PassThroughUnfit { device, reason: reason.clone() };
            tracing::warn!(%mode, %error, "another mode is taken");
        }
        let verdict = verdict.ok();
        self.verdicts.push((key, verdict));
        verdict.map_or(OwnH264Verdict::Unfit, OwnH264Verdict::Fits)
    }
}

/// Names a camera (not its node, which changes) in one mode.
fn key(camera: &CameraInfo, mode: &ModeChoice) -> String {
    format!("{} {mode}", camera.bus_info)
}
