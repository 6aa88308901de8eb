//! What a camera can be asked to deliver, and what has to be done with it. Pure.

use serde::{Serialize, Serializer};

/// Pictures per second as the fraction that the driver lists (30000/1001 is not 30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Pictures.
    pub num: u32,
    /// Per this many seconds.
    pub den: u32,
}

impl Rate {
    /// A whole number of pictures per second.
    pub const fn whole(fps: u32) -> Self {
        Self { num: fps, den: 1 }
    }

    /// Pictures per second.
    pub fn fps(self) -> f64 {
        f64::from(self.num) / f64::from(self.den.max(1))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fps = (self.fps() * 100.0).round() / 100.0;
        serializer.serialize_f64(fps)
    }
}

/// One pixel format at one size, with the rates the camera lists for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CameraMode {
    /// V4L2's four characters, e.g. `YUYV`.
    pub format: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures per second; empty when the driver does not say.
    #[serde(rename = "fps")]
    pub rates: Vec<Rate>,
}

/// What has to be done with a format before viewers can have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// H.264 already: nothing.
    PassThrough,
    /// Uncompressed: (conversion and) encoding. Holds GStreamer's name of the format.
    Raw(&'static str),
    /// JPEG: decoding, conversion and encoding.
    Jpeg,
}

/// How a V4L2 format is handled; `None` for one that cannot be used.
pub fn handling(fourcc: &str) -> Option<Handling> {
    Some(match fourcc {
        "H264" => Handling::PassThrough,
        "MJPG" | "JPEG" => Handling::Jpeg,
        "YU12" => Handling::Raw("I420"),
        "YV12" => Handling::Raw("YV12"),
        "NV12" => Handling::Raw("NV12"),
        "NV21" => Handling::Raw("NV21"),
        "YUYV" => Handling::Raw("YUY2"),
        "YVYU" => Handling::Raw("YVYU"),
        "UYVY" => Handling::Raw("UYVY"),
        "RGB3" => Handling::Raw("RGB"),
        "BGR3" => Handling::Raw("BGR"),
        "GREY" => Handling::Raw("GRAY8"),
        _ => return None,
    })
}

/// Whether the mode can be used at all: 4:2:0 needs even dimensions, and the time to crop is before the camera, not here.
pub fn is_usable(mode: &CameraMode) -> bool {
    let even = mode.width.is_multiple_of(2) && mode.height.is_multiple_of(2);
    even && mode.width >= 16 && mode.height >= 16 && handling(&mode.format).is_some()
}

/// Whether `modes` hold this size (pixels), at this rate (pictures per second) if one is given. A mode without rates is
/// of a camera that takes any; 29.97 counts as 30.
pub fn offers(modes: &[CameraMode], (width, height): (u32, u32), fps: Option<u32>) -> bool {
    let has_rate = |mode: &CameraMode, fps: u32| {
        mode.rates.is_empty() || mode.rates.iter().any(|rate| (rate.fps() - f64::from(fps)).abs() < 0.5)
    };
    modes.iter().any(|mode| {
        is_usable(mode)
            && (mode.width, mode.height) == (width, height)
            && fps.is_none_or(|fps| has_rate(mode, fps))
    })
}

/// One mode with everything the pipeline must know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChoice {
    /// V4L2's four characters.
    pub format: String,
    /// What is to be done with it.
    pub handling: Handling,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `None` when the driver lists no rates: then none is asked for.
    pub rate: Option<Rate>,
}

impl std::fmt::Display for ModeChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}", self.format, self.width, self.height)?;
        let Some(rate) = self.rate else { return Ok(()) };
        let fps = format!("{:.4}", rate.fps());
        write!(f, "@{}", fps.trim_end_matches('0').trim_end_matches('.'))
    }
}
