//! What the capture side is told: which camera, which encoder, how long to stay warm.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::media::capture::choice::{DeviceChoice, FormatChoice};
use crate::media::encode::choice::EncoderChoice;
use crate::media::error::MediaError;
use crate::media::look::PictureLook;
use crate::media::test_picture;

/// The `[camera]` and `[video]` sections of the configuration, already parsed.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// Which camera.
    pub device: DeviceChoice,
    /// Wanted width in pixels; `None` lets the board decide ([`super::rank::default_wish`]).
    pub width: Option<u32>,
    /// Wanted height in pixels; `None` lets the board decide.
    pub height: Option<u32>,
    /// Wanted pictures per second; the nearest rate the camera lists is taken.
    pub fps: Option<u32>,
    /// Which of the camera's pixel formats.
    pub format: FormatChoice,
    /// How the picture is to look.
    pub look: PictureLook,
    /// Which encoder to try first.
    pub encoder: EncoderChoice,
    /// Bit rate asked of the encoder in kbit/s; `None` follows size and rate.
    pub bitrate_kbps: Option<u32>,
    /// Renditions of the picture: 1, or 2 with a smaller one for slow paths.
    pub tiers: u32,
    /// Longest time between two key frames, in seconds.
    pub keyframe_interval_s: u32,
    /// How long the camera keeps running after the last viewer left.
    pub linger: Duration,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            width: None,
            height: None,
            fps: None,
            format: FormatChoice::Auto,
            look: PictureLook::default(),
            encoder: EncoderChoice::Auto,
            bitrate_kbps: None,
            tiers: 1,
            keyframe_interval_s: 10,
            linger: Duration::from_secs(5),
        }
    }
}

impl MediaConfig {
    /// What `camera.width` and `camera.height` may be.
    pub const SIDE_PX: RangeInclusive<u32> = 64..=4096;
    /// What `camera.fps` may be.
    pub const FPS: RangeInclusive<u32> = 1..=240;
    /// What `video.bitrate_kbps` and `video.min_bitrate_kbps` may be.
    pub const BITRATE_KBPS: RangeInclusive<u32> = 50..=50_000;
    /// What `video.tiers` may be.
    pub const TIERS: RangeInclusive<u32> = 1..=2;
    /// What `video.keyframe_interval_s` may be.
    pub const KEYFRAME_INTERVAL_S: RangeInclusive<u32> = 1..=600;
    /// What `video.linger_s` may be: up to a day.
    pub const LINGER_S: RangeInclusive<u32> = 0..=86_400;

    /// Refuses what can be known to be impossible before anything is opened. The test picture
    /// needs 640 pixels of width for its time blocks, so a smaller one is refused here.
    pub fn check(&self) -> Result<(), MediaError> {
        in_range("camera.width", self.width, Self::SIDE_PX)?;
        in_range("camera.height", self.height, Self::SIDE_PX)?;
        in_range("camera.fps", self.fps, Self::FPS)?;
        in_range("video.bitrate_kbps", self.bitrate_kbps, Self::BITRATE_KBPS)?;
        in_range("video.tiers", Some(self.tiers), Self::TIERS)?;
        in_range("video.keyframe_interval_s", Some(self.keyframe_interval_s), Self::KEYFRAME_INTERVAL_S)?;
        if self.device == DeviceChoice::Test {
            let (width, height) = self.size_or((640, 480));
            test_picture::check_size(width, height)?;
        }
        Ok(())
    }

    /// The wanted size in pixels. One configured dimension implies the other at 16:9.
    pub(crate) fn size_or(&self, default: (u32, u32)) -> (u32, u32) {
        match (self.width, self.height) {
            (Some(width), Some(height)) => (width, height),
            (Some(width), None) => (width, (width * 9 / 16) & !1),
            (None, Some(height)) => ((height * 16 / 9) & !7, height),
            (None, None) => default,
        }
    }
}

fn in_range(setting: &'static str, value: Option<u32>, range: RangeInclusive<u32>) -> Result<(), MediaError> {
    match value {
        Some(value) if !range.contains(&value) => {
            Err(MediaError::OutOfRange { setting, value, from: *range.start(), to: *range.end() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_picture_too_narrow_for_its_clock_is_refused() {
        let narrow = MediaConfig {
            device: DeviceChoice::Test,
            width: Some(320),
            height: Some(240),
            ..MediaConfig::default()
        };
        assert!(matches!(narrow.check(), Err(MediaError::TestPictureSize { width: 320, .. })));
        assert!(MediaConfig { width: Some(1280), height: Some(720), ..narrow }.check().is_ok());
    }

    #[test]
    fn nonsense_numbers_are_refused() {
        let zero = MediaConfig { fps: Some(0), ..MediaConfig::default() };
        assert!(matches!(zero.check(), Err(MediaError::OutOfRange { setting: "camera.fps", .. })));
    }
}
