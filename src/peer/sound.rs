//! What connections know of sound: where it comes from, where viewers' voices go, and who may speak.

use std::fmt;
use std::sync::Arc;

use crate::signaling::topic::Id;
use crate::stream::{AudioFanout, Talk};

/// Whether a session of this grant may talk now; `None` is a session in open access.
pub type MayTalk = Arc<dyn Fn(Option<&Id>) -> bool + Send + Sync>;

/// The sound of the device.
#[derive(Clone)]
pub struct AudioParts {
    /// The microphone.
    pub fanout: AudioFanout,
    /// The way to the speaker.
    pub talk: Talk,
    /// There is one, so that sound can be sent.
    pub has_microphone: bool,
    /// What it captures has two channels.
    pub is_stereo: bool,
    /// There is one, so that viewers can talk.
    pub has_speaker: bool,
    /// Asked for each offer and each packet of a voice.
    pub may_talk: MayTalk,
}

impl fmt::Debug for AudioParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { has_microphone, has_speaker, .. } = self;
        write!(f, "AudioParts {{ has_microphone: {has_microphone}, has_speaker: {has_speaker} }}")
    }
}
