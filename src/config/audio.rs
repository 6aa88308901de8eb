//! `[audio]`

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::value::{Checked, Text, in_range, media_word, problem};
use crate::media::AudioConfig;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAudio {
    device: Option<Text>,
    bitrate_kbps: Option<u32>,
    channels: Option<u32>,
    gain_db: Option<i32>,
    speaker: Option<Text>,
    speaker_gain_db: Option<i32>,
}

/// What the section says.
pub(super) fn checked(raw: &RawAudio) -> Checked<AudioConfig> {
    let default = AudioConfig::default();
    let word = |text: &Option<Text>| text.clone().unwrap_or_else(|| Text(String::new()));
    Ok(AudioConfig {
        device: media_word("audio.device", &word(&raw.device))?,
        bitrate_kbps: in_range(
            "audio.bitrate_kbps",
            raw.bitrate_kbps.unwrap_or(default.bitrate_kbps),
            AudioConfig::BITRATE_KBPS,
        )?,
        channels: in_range(
            "audio.channels",
            raw.channels.unwrap_or(default.channels),
            AudioConfig::CHANNELS,
        )?,
        gain_db: decibels("audio.gain_db", raw.gain_db.unwrap_or(default.gain_db))?,
        speaker: media_word("audio.speaker", &word(&raw.speaker))?,
        speaker_gain_db: decibels(
            "audio.speaker_gain_db",
            raw.speaker_gain_db.unwrap_or(default.speaker_gain_db),
        )?,
    })
}

fn decibels(key: &str, value: i32) -> Checked<i32> {
    const RANGE: RangeInclusive<i32> = AudioConfig::GAIN_DB;
    let expected = || format!("write a number of decibels from {} to {}", RANGE.start(), RANGE.end());
    if RANGE.contains(&value) { Ok(value) } else { Err(problem(key, value, expected())) }
}
