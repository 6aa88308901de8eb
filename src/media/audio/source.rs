//! Where sound comes from or goes to, found and ready to be opened.

use super::cards::PcmNode;

/// What is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoundSource {
    /// The test tone.
    Test,
    /// What PulseAudio or PipeWire takes by itself.
    Server,
    /// A device of ALSA's.
    Alsa {
        /// Its name: `hw:CARD=Device,DEV=0`.
        device: String,
    },
}

/// A microphone or a speaker that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundDevice {
    /// What is opened.
    pub source: SoundSource,
    /// In words for people.
    pub card: String,
    /// The kernel's device behind it, where that is known.
    pub node: Option<PcmNode>,
}

impl SoundDevice {
    /// No microphone.
    pub fn test_tone() -> Self {
        Self { source: SoundSource::Test, card: "test tone".to_owned(), node: None }
    }

    /// The same card through ALSA's own conversion, for one whose formats `GStreamer` cannot take as they are; `None` where that is no
    /// other.
    pub fn converted(&self) -> Option<Self> {
        let SoundSource::Alsa { device } = &self.source else { return None };
        let hardware = device.strip_prefix("hw:")?;
        Some(Self { source: SoundSource::Alsa { device: format!("plughw:{hardware}") }, ..self.clone() })
    }
}
