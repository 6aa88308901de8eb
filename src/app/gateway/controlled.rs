//! What commands act on.

use std::time::{Duration, Instant};

use super::picture::ConfiguredPicture;
use crate::app::audio_switch::AudioSwitch;
use crate::app::persist::{Persist, Saving};
use crate::app::privacy::PrivacySwitch;
use crate::app::runtime_settings::RuntimeSettings;
use crate::app::sound::SoundSide;
use crate::base::clock::now;
use crate::media::Media;
use crate::sessions::Sessions;
use crate::stream::Fanout;

/// Restarts of the pipeline are not worth more often than this.
const RESTART_GAP: Duration = Duration::from_secs(1);
/// What commands act on.
pub(super) struct Controlled {
    pub sessions: Sessions,
    pub media: Media,
    pub fanout: Fanout,
    pub privacy: PrivacySwitch,
    pub audio_switch: AudioSwitch,
    pub sound: SoundSide,
    pub runtime_settings: RuntimeSettings,
    /// Keeps what is set.
    pub persist: Persist,
    /// The configured rate in pictures per second.
    pub fps: Option<u32>,
    /// How the picture is configured to look.
    pub picture: ConfiguredPicture,
    /// When the pipeline was restarted last.
    pub restarted: Option<Instant>,
}

impl Controlled {
    /// Keeps the camera running for `time`.
    pub fn warm(&self, time: Duration) -> Result<(), String> {
        if !self.privacy.is_on() {
            return Err("the privacy switch is off".to_owned());
        }
        self.media.warm(time);
        Ok(())
    }

    /// Has sound captured and played, or not, from now on and over a restart.
    pub fn set_audio(&mut self, on: bool) -> Result<Saving, String> {
        if !self.sound.is_configured() {
            return Err(
                "this device has no sound: [audio] names neither a microphone (device) nor a speaker"
                    .to_owned(),
            );
        }
        // First the cards, then the file: what was asked for must not wait for a slow card.
        self.sound.set_on(on);
        self.audio_switch.set(on);
        Ok(self.audio_switch.save(&self.persist))
    }

    /// Has the pipeline start anew.
    pub fn restart(&mut self) -> Result<(), String> {
        let now = now();
        if self.restarted.is_some_and(|at| now.saturating_duration_since(at) < RESTART_GAP) {
            return Err("it was restarted less than a second ago".to_owned());
        }
        self.restarted = Some(now);
        self.media.restart();
        Ok(())
    }
}
