//! What the capture side would choose by itself, for those who write it down.

use std::time::Duration;

use gstreamer as gst;

use crate::media::encode::choice::EncoderChoice;
use crate::media::error::MediaError;
use crate::media::helper_thread::{HelperFailure, run_for};
use crate::media::plan::config::MediaConfig;
use crate::media::plan::planner::Planner;
use crate::media::plan::source::Source;

/// Longer than every probe that a plan may try, one after the other. A driver may block for ever.
const LIMIT: Duration = Duration::from_mins(1);

/// A choice that was tried on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures per second, rounded.
    pub fps: u32,
    /// The encoder that worked; `Auto` where the camera encodes.
    pub encoder: EncoderChoice,
}

/// Plans as the daemon would, which opens the camera and runs encoders for a moment.
///
/// # Errors
/// No camera, no encoder, or no answer within a minute.
pub fn propose(config: MediaConfig) -> Result<Proposal, MediaError> {
    config.check()?;
    run_for("proposal", LIMIT, move || plan(config)).map_err(|failure| {
        let what = match failure {
            HelperFailure::NotStarted(_) => "starting a thread",
            _ => "trying camera and encoder",
        };
        MediaError::System { what, reason: failure.reason(|| "no answer in time".into()) }
    })?
}

fn plan(config: MediaConfig) -> Result<Proposal, MediaError> {
    gst::init().map_err(|error| MediaError::Framework { reason: error.to_string() })?;
    let plan = Planner::new(config).plan(true)?;
    let (width, height, rate) = match &plan.source {
        Source::Camera { mode } => (mode.width, mode.height, mode.rate.unwrap_or(plan.settings.rate)),
        Source::Test | Source::TestH264(_) => (plan.settings.width, plan.settings.height, plan.settings.rate),
    };
    let encoder = match plan.encoder {
        Some(spec) => spec.name.parse()?,
        None => EncoderChoice::Auto,
    };
    let fps = rate.num.div_ceil(rate.den.max(1)).max(1);
    Ok(Proposal { width, height, fps, encoder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::capture::choice::DeviceChoice;

    #[test]
    fn the_test_picture_is_proposed_with_an_encoder_that_works() {
        let config = MediaConfig { device: DeviceChoice::Test, fps: Some(12), ..MediaConfig::default() };
        let proposal = propose(config).expect("some encoder");
        assert!(proposal.width >= 640 && proposal.height >= 360, "{proposal:?}");
        assert_eq!(proposal.fps, 12);
        assert_ne!(proposal.encoder, EncoderChoice::Auto);
    }

    #[test]
    fn a_camera_that_is_not_there_is_said() {
        let device = DeviceChoice::Path("/dev/v4l/by-id/none".into());
        let refusal = propose(MediaConfig { device, ..MediaConfig::default() });
        assert!(matches!(refusal, Err(MediaError::DeviceMissing { .. })), "{refusal:?}");
    }
}
