//! Which encoder, as the configuration names it and as the status tells it.

use std::str::FromStr;

use serde::Serialize;

use crate::media::error::MediaError;

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

/// Which kind of encoder makes the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderKind {
    /// An encoder block of the board (V4L2 memory-to-memory).
    Hardware,
    /// An encoder on the processor.
    Software,
    /// The camera itself encodes.
    Passthrough,
}

/// The encoder in use, or chosen for the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EncoderStatus {
    /// GStreamer element name, or `camera` for pass-through.
    pub name: String,
    /// Hardware, software or pass-through.
    pub kind: EncoderKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_encoders_are_read() {
        assert_eq!("x264enc".parse::<EncoderChoice>().unwrap(), EncoderChoice::X264);
        let error = "nvenc".parse::<EncoderChoice>().unwrap_err().to_string();
        assert!(error.contains("video.encoder") && error.contains("x264enc"), "{error}");
    }
}
