//! What follows a run that fails or does not do: another attempt, another encoder, or another mode of the camera.

use std::time::Duration;

use super::CaptureSide;
use crate::media::error::MediaError;
use crate::media::life::backend::{CaptureBackend, Gauges};
use crate::media::life::lifecycle::Input;
use crate::media::plan::set_aside::WhyEncoded;
use crate::media::status::CameraState;

/// Somebody may wait so long for a key frame of a camera that encodes itself and cannot be asked for one; where they are further apart, it
/// is encoded here. Most cameras have one each second or two.
const RARE_KEY_FRAMES: Duration = Duration::from_secs(3);

impl<B: CaptureBackend + Gauges> CaptureSide<B> {
    pub(super) fn failed(&mut self, error: &MediaError, by_encoder: bool) {
        tracing::warn!(%error, "the pipeline failed");
        let was_live = self.life.state() == CameraState::Live;
        if self.camera.is_gone(&self.backend) {
            // Unplugged: lost, not broken.
            self.look();
            return;
        }
        if by_encoder && self.camera.encoder_failed(&mut self.backend, &error.to_string()) {
            self.replace_encoder(error);
            return;
        }
        self.feed(Input::Failed(error.into()));
        // Another mode would not be opened either.
        let is_refused = matches!(
            error,
            MediaError::DeviceBusy { .. } | MediaError::DeviceDenied { .. } | MediaError::DeviceFails { .. }
        );
        if !was_live && !is_refused {
            self.start_failed(by_encoder, &error.to_string());
        }
    }

    /// Another encoder takes over without a wait. Nobody is told of an error first: whoever waits for a first picture would be
    /// sent away.
    fn replace_encoder(&mut self, error: &MediaError) {
        let run = self.run;
        let is_other_plan = self.look();
        if self.run == run {
            // It did not run yet, or there is no other.
            self.feed(if is_other_plan { Input::Restart } else { Input::Failed(error.into()) });
        }
    }

    /// A viewer who needs a key frame would wait for the interval of an encoder that hears no requests.
    pub(super) fn watch_deaf_encoder(&mut self) {
        if self.is_up
            && self.limiter.is_ignored(self.backend.last_picture())
            && let Some(spec) = self.camera.board_encoder()
        {
            let reason = "it gives no key frame when asked for one".into();
            self.failed(&MediaError::Encoder { encoder: spec.name, reason }, true);
        }
    }

    /// A viewer who needs a key frame would wait for that of a camera which encodes itself.
    pub(super) fn watch_rare_key_frames(&mut self) {
        let waited = self.limiter.waited_for(self.backend.last_picture());
        if self.is_up && waited.is_some_and(|waited| waited >= RARE_KEY_FRAMES) {
            self.encode_instead(WhyEncoded::RareKeyFrames);
        }
    }

    pub(super) fn start_failed(&mut self, by_encoder: bool, reason: &str) {
        let before = self.camera.plan().map(|plan| plan.source.clone());
        if self.camera.start_failed(&mut self.backend, by_encoder, reason) {
            self.look();
            if self.camera.is_second_choice(before.as_ref()) {
                self.feed(Input::Restart);
            }
        }
    }

    /// The camera's own H.264 does not do.
    pub fn encode_instead(&mut self, why: WhyEncoded) {
        if self.camera.encode_instead(&mut self.backend, why) {
            self.look();
            // Waited for by a viewer.
            self.publish();
        }
    }
}
