//! `[video]`

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::value::{Checked, Text, in_range, media_word, or_auto, problem};
use crate::base::bitrate::Bitrate;
use crate::media::MediaConfig;

/// What of the section is not for the capture side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Video {
    /// The lowest bit rate that the adaptation may ask for.
    pub min_bitrate: Bitrate,
    /// How long viewers hold a picture before they show it.
    pub playout_delay_ms: u32,
}

impl Video {
    /// What `video.playout_delay_ms` may be.
    pub const PLAYOUT_DELAY_MS: RangeInclusive<u32> = 0..=10_000;
    const DEFAULT_MIN_BITRATE: Bitrate = Bitrate::from_kbps(300);
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawVideo {
    encoder: Option<Text>,
    bitrate_kbps: Option<u32>,
    min_bitrate_kbps: Option<u32>,
    tiers: Option<u32>,
    keyframe_interval_s: Option<u32>,
    linger_s: Option<u32>,
    playout_delay_ms: Option<u32>,
}

/// What the section says, `media` being what `[camera]` has said.
pub(super) fn checked(raw: &RawVideo, media: MediaConfig) -> Checked<(MediaConfig, Video)> {
    let bitrate_kbps = within("video.bitrate_kbps", raw.bitrate_kbps, MediaConfig::BITRATE_KBPS)?;
    let min_kbps = within("video.min_bitrate_kbps", raw.min_bitrate_kbps, MediaConfig::BITRATE_KBPS)?;
    if let (Some(min), Some(max)) = (min_kbps, bitrate_kbps)
        && min > max
    {
        let expected = format!("write at most video.bitrate_kbps, which is {max}");
        return Err(problem("video.min_bitrate_kbps", min, expected));
    }
    let encoder = media_word("video.encoder", &or_auto(raw.encoder.as_ref()))?;
    let tiers = within("video.tiers", raw.tiers, MediaConfig::TIERS)?;
    let keyframe_interval_s =
        within("video.keyframe_interval_s", raw.keyframe_interval_s, MediaConfig::KEYFRAME_INTERVAL_S)?;
    let linger_s = within("video.linger_s", raw.linger_s, MediaConfig::LINGER_S)?;
    let playout_delay_ms = within("video.playout_delay_ms", raw.playout_delay_ms, Video::PLAYOUT_DELAY_MS)?;
    let media = MediaConfig {
        encoder,
        bitrate_kbps,
        tiers: tiers.unwrap_or(media.tiers),
        keyframe_interval_s: keyframe_interval_s.unwrap_or(media.keyframe_interval_s),
        linger: linger_s.map_or(media.linger, |seconds| Duration::from_secs(seconds.into())),
        ..media
    };
    let video = Video {
        min_bitrate: min_kbps.map_or(Video::DEFAULT_MIN_BITRATE, Bitrate::from_kbps),
        playout_delay_ms: playout_delay_ms.unwrap_or(0),
    };
    Ok((media, video))
}

fn within(key: &str, value: Option<u32>, range: RangeInclusive<u32>) -> Checked<Option<u32>> {
    value.map(|value| in_range(key, value, range)).transpose()
}
