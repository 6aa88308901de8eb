//! What the sound side is told: which microphone, which speaker, how it is encoded.

use std::ops::RangeInclusive;

use super::choice::{AudioChoice, SpeakerChoice};

/// The `[audio]` section of the configuration, already parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioConfig {
    /// Which microphone.
    pub device: AudioChoice,
    /// What Opus is encoded with, in kbit/s.
    pub bitrate_kbps: u32,
    /// 1 or 2: mono or stereo.
    pub channels: u32,
    /// What the microphone is amplified by, in dB.
    pub gain_db: i32,
    /// Which speaker plays what viewers say.
    pub speaker: SpeakerChoice,
    /// What viewers' voices are amplified by, in dB; they are limited afterwards.
    pub speaker_gain_db: i32,
}

impl Default for AudioConfig {
    fn default() -> Self {
        Self {
            device: AudioChoice::Off,
            bitrate_kbps: 32,
            channels: 1,
            gain_db: 0,
            speaker: SpeakerChoice::Off,
            speaker_gain_db: 0,
        }
    }
}

impl AudioConfig {
    /// What `audio.bitrate_kbps` may be (RFC 7587 section 6.1 has 6 to 510).
    pub const BITRATE_KBPS: RangeInclusive<u32> = 6..=510;
    /// What `audio.channels` may be.
    pub const CHANNELS: RangeInclusive<u32> = 1..=2;
    /// What `audio.gain_db` and `audio.speaker_gain_db` may be.
    pub const GAIN_DB: RangeInclusive<i32> = -40..=40;

    /// Whether the device has a microphone.
    pub fn has_microphone(&self) -> bool {
        self.device != AudioChoice::Off
    }

    /// Whether viewers can talk to it.
    pub fn has_speaker(&self) -> bool {
        self.speaker != SpeakerChoice::Off
    }
}
