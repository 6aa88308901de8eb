//! What sessions need for sound.

use crate::stream::{AudioFanout, Talk};

/// The two ends of sound, and what is behind them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AudioParts {
    /// What the microphone hears.
    pub fanout: AudioFanout,
    /// The way to the speaker.
    pub talk: Talk,
    /// There is a microphone, so that viewers may be sent sound.
    pub has_microphone: bool,
    /// There is a speaker, so that viewers with the right to talk may send sound.
    pub has_speaker: bool,
}
