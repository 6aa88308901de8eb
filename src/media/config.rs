//! What the capture side is told: which camera, which encoder, how long to stay warm.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::MediaError;
use super::test_picture;

/// The `[camera]` and `[video]` sections of the configuration, already parsed.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// Which camera.
    pub device: DeviceChoice,
    /// Wanted width in pixels; `None` lets the board decide ([`super::mode::default_wish`]).
    pub width: Option<u32>,
    /// Wanted height in pixels; `None` lets the board decide.
    pub height: Option<u32>,
    /// Wanted pictures per second; the nearest rate the camera lists is taken.
    pub fps: Option<u32>,
    /// Which of the camera's pixel formats.
    pub format: FormatChoice,
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

/// `camera.device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first camera found.
    Auto,
    /// The test picture, no camera.
    Test,
    /// A camera if there is one when the pipeline is planned, else the test picture (the demo).
    AutoOrTest,
    /// A device node or, better, a stable link under `/dev/v4l/by-id`.
    Path(PathBuf),
    /// A camera that libcamera drives (CSI): the first, or the first whose name holds this text.
    Libcamera(Option<String>),
}

impl FromStr for DeviceChoice {
    type Err = MediaError;

    fn from_str(text: &str) -> Result<Self, MediaError> {
        match text {
            "auto" => Ok(Self::Auto),
            "test" => Ok(Self::Test),
            "libcamera" => Ok(Self::Libcamera(None)),
            name if name.strip_prefix("libcamera:").is_some_and(|name| !name.is_empty()) => {
                Ok(Self::Libcamera(Some(name["libcamera:".len()..].to_owned())))
            }
            path if path.starts_with('/') => Ok(Self::Path(PathBuf::from(path))),
            other => Err(MediaError::UnknownSetting {
                setting: "camera.device",
                value: other.to_owned(),
                allowed: "\"auto\", \"libcamera\", \"libcamera:NAME\", \"test\" or a path such as \"/dev/video0\"",
            }),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Test => f.write_str("test"),
            Self::AutoOrTest => f.write_str("auto, or the test picture"),
            Self::Libcamera(None) => f.write_str("libcamera"),
            Self::Libcamera(Some(name)) => write!(f, "libcamera:{name}"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// `camera.format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatChoice {
    /// Whatever needs least work.
    Auto,
    /// Any uncompressed format.
    Raw,
    /// One V4L2 format by its four characters, e.g. `YUYV`.
    Fourcc(String),
}

impl FormatChoice {
    /// Whether it leaves nothing to encode.
    pub fn is_encoded(&self) -> bool {
        matches!(self, Self::Fourcc(fourcc) if super::mode::handling(fourcc) == Some(super::mode::Handling::PassThrough))
    }
}

impl FromStr for FormatChoice {
    type Err = MediaError;

    fn from_str(text: &str) -> Result<Self, MediaError> {
        let lower = text.to_ascii_lowercase();
        let fourcc = match lower.as_str() {
            "auto" => return Ok(Self::Auto),
            "raw" => return Ok(Self::Raw),
            "mjpeg" | "jpeg" => "MJPG".to_owned(),
            "i420" => "YU12".to_owned(),
            "yuy2" => "YUYV".to_owned(),
            other => other.to_ascii_uppercase(),
        };
        if super::mode::handling(&fourcc).is_some() {
            return Ok(Self::Fourcc(fourcc));
        }
        Err(MediaError::UnknownSetting {
            setting: "camera.format",
            value: text.to_owned(),
            allowed: "\"auto\", \"raw\", \"h264\", \"mjpeg\", \"yuyv\", \"uyvy\", \"nv12\" or \"i420\"",
        })
    }
}

impl std::fmt::Display for FormatChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Raw => f.write_str("raw"),
            Self::Fourcc(fourcc) => f.write_str(fourcc),
        }
    }
}

/// `video.encoder`: the one to try first. The others follow when it does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderChoice {
    /// The order of the table: hardware first.
    Auto,
    /// The board's encoder (`v4l2h264enc`).
    V4l2H264,
    /// x264 (`x264enc`).
    X264,
    /// Cisco's OpenH264 (`openh264enc`).
    OpenH264,
}

impl std::fmt::Display for EncoderChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::V4l2H264 => "v4l2h264enc",
            Self::X264 => "x264enc",
            Self::OpenH264 => "openh264enc",
        })
    }
}

impl FromStr for EncoderChoice {
    type Err = MediaError;

    fn from_str(text: &str) -> Result<Self, MediaError> {
        match text {
            "auto" => Ok(Self::Auto),
            "v4l2h264enc" => Ok(Self::V4l2H264),
            "x264enc" => Ok(Self::X264),
            "openh264enc" => Ok(Self::OpenH264),
            other => Err(MediaError::UnknownSetting {
                setting: "video.encoder",
                value: other.to_owned(),
                allowed: "\"auto\", \"v4l2h264enc\", \"x264enc\" or \"openh264enc\"",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_configuration_are_read() {
        assert_eq!("auto".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        assert_eq!("test".parse::<DeviceChoice>().unwrap(), DeviceChoice::Test);
        let by_id = "/dev/v4l/by-id/usb-cam-index0";
        assert_eq!(by_id.parse::<DeviceChoice>().unwrap(), DeviceChoice::Path(by_id.into()));
        assert!("video0".parse::<DeviceChoice>().is_err());
        for text in ["libcamera", "libcamera:imx219"] {
            let choice = text.parse::<DeviceChoice>().unwrap();
            assert_eq!(
                (choice.to_string().as_str(), matches!(choice, DeviceChoice::Libcamera(_))),
                (text, true)
            );
        }
        assert!("libcamera:".parse::<DeviceChoice>().is_err());
        assert_eq!("MJPEG".parse::<FormatChoice>().unwrap(), FormatChoice::Fourcc("MJPG".into()));
        assert_eq!("h264".parse::<FormatChoice>().unwrap(), FormatChoice::Fourcc("H264".into()));
        assert_eq!("raw".parse::<FormatChoice>().unwrap(), FormatChoice::Raw);
        let is_encoded =
            ["h264", "raw", "mjpeg", "auto"].map(|text| text.parse::<FormatChoice>().unwrap().is_encoded());
        assert_eq!(is_encoded, [true, false, false, false]);
        assert!("vp8".parse::<FormatChoice>().is_err());
        assert_eq!("x264enc".parse::<EncoderChoice>().unwrap(), EncoderChoice::X264);
        let error = "nvenc".parse::<EncoderChoice>().unwrap_err().to_string();
        assert!(error.contains("video.encoder") && error.contains("x264enc"), "{error}");
    }

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
