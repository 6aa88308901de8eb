//! Which camera, and which of its pixel formats, as the configuration names them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::mode::{Handling, handling};
use crate::media::error::MediaError;

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

impl DeviceChoice {
    /// Whether it comes and goes with a node right below /dev.
    pub fn is_in_dev(&self) -> bool {
        match self {
            Self::Test => false,
            Self::Auto | Self::AutoOrTest | Self::Libcamera(_) => true,
            Self::Path(path) => path.parent() == Some(Path::new("/dev")) || path.starts_with("/dev/v4l"),
        }
    }
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
        matches!(self, Self::Fourcc(fourcc) if handling(fourcc) == Some(Handling::PassThrough))
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
        if handling(&fourcc).is_some() {
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
    }
}
