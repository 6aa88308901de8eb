//! What the capture side says of itself, watched by `state`, the sessions and the logs.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::mode::{self, Mode};
use super::{CameraInfo, test_picture};

/// The camera's condition (protocol.md section 3.2, `camera.state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CameraState {
    /// Nobody watches: the device is closed.
    Idle,
    /// The pipeline is being started; no picture has come yet.
    Starting,
    /// Pictures flow.
    Live,
    /// The device is not there (unplugged or never plugged in); watched for.
    Lost,
    /// The device is there but does not deliver (busy, refused, no fitting mode); retried.
    Error,
    /// The privacy switch is off: the device stays closed.
    Off,
}

impl CameraState {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Idle, Self::Starting, Self::Live, Self::Lost, Self::Error, Self::Off];
}

impl std::fmt::Display for CameraState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Lost => "lost",
            Self::Error => "error",
            Self::Off => "off",
        })
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

/// H.264 `profile-level-id` (RFC 6184 section 8.1), e.g. `42e01f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileLevelId {
    /// `profile_idc` of the SPS.
    pub profile_idc: u8,
    /// The constraint flags byte that follows it (`profile-iop`).
    pub profile_iop: u8,
    /// `level_idc` of the SPS.
    pub level_idc: u8,
}

impl ProfileLevelId {
    /// The form browsers offer. Encoders mark the same profile with different constraint flags
    /// (x264 writes Constrained Baseline as `42c0..`, browsers as `42e0..`), and an answer is
    /// compared with the offer byte by byte, the level aside.
    #[must_use]
    pub fn as_offered(self) -> Self {
        let set0 = self.profile_iop & 0x80 != 0;
        let set1 = self.profile_iop & 0x40 != 0;
        let (profile_idc, profile_iop) = match self.profile_idc {
            0x42 if set1 => (0x42, 0xe0),
            0x4d if set0 => (0x42, 0xe0),
            0x64 if self.profile_iop & 0x0c == 0x0c => (0x64, 0x0c),
            other => (other, 0x00),
        };
        Self { profile_idc, profile_iop, level_idc: self.level_idc }
    }
}

/// How long pictures take over a part of their way, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the pictures were faster.
    #[serde(rename = "p50")]
    pub p50_ms: f64,
    /// 95 of 100 pictures were faster.
    #[serde(rename = "p95")]
    pub p95_ms: f64,
}

impl Latency {
    /// Of these times in microseconds; `None` if there are none.
    pub fn of(mut times_us: Vec<u32>) -> Option<Self> {
        times_us.sort_unstable();
        let last = times_us.len().checked_sub(1)?;
        let at_ms = |percent: usize| f64::from(times_us[(times_us.len() * percent / 100).min(last)]) / 1e3;
        Some(Self { p50_ms: at_ms(50), p95_ms: at_ms(95) })
    }
}

impl std::fmt::Display for ProfileLevelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}{:02x}{:02x}", self.profile_idc, self.profile_iop, self.level_idc)
    }
}

/// The second, smaller rendition of the picture (`video.tiers = 2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallStatus {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bit/s measured over the last second; 0 while it does not run.
    pub bitrate: u64,
    /// Bit/s asked of its encoder; 0 while it does not run.
    pub target: u64,
    /// The most that may be asked of its encoder, in bit/s.
    pub ceiling: u64,
    /// Whether somebody needs it.
    pub is_running: bool,
}

/// A snapshot of the capture side. Sent on a watch channel on every change.
#[derive(Clone, Debug)]
pub struct MediaStatus {
    /// The camera's condition.
    pub state: CameraState,
    /// The device that is, or was last, used: a path, or `test`. `None` when no camera was found.
    pub device: Option<String>,
    /// Picture size and nominal rate of the running, or of the last chosen, mode.
    pub width: u32,
    /// See `width`.
    pub height: u32,
    /// Pictures per second: measured while live, else nominal.
    pub fps: f64,
    /// The encoder chosen; `None` before one was found.
    pub encoder: Option<EncoderStatus>,
    /// Whether `encoder`, `profile` and the size are those of the next (or running) pipeline.
    /// False while cameras and encoders are being probed, and while there is no camera.
    pub ready: bool,
    /// The camera as enumerated; `None` for the test picture and when there is none.
    pub camera: Option<Arc<CameraInfo>>,
    /// What an answer must promise; what the encoder really makes, read from its SPS. Constrained
    /// Baseline is written `42e0..` as browsers do. Right before the first start once `ready`.
    pub profile: ProfileLevelId,
    /// Bit/s measured over the last second; 0 when idle.
    pub bitrate: u64,
    /// Bit/s asked of the encoder; 0 for pass-through.
    pub target: u64,
    /// The most that may be asked of the encoder, in bit/s: what a person set, or the configured bit rate.
    pub ceiling: u64,
    /// The smaller rendition; `None` where there cannot be one.
    pub small: Option<SmallStatus>,
    /// Key frames since the process started.
    pub key_frames: u64,
    /// Capture to encoder output, over the last ten seconds or so; `None` when idle.
    pub encode_latency: Option<Latency>,
    /// Pipeline runs that were ended by a failure or on request, since the process started.
    pub restarts: u64,
    /// Why the camera is not delivering, in words for people; `None` when all is well.
    pub error: Option<String>,
    /// When `state` last changed.
    pub since: SystemTime,
}

impl MediaStatus {
    /// What the capture side can be asked to deliver: the usable modes of the camera, or those of the test picture.
    pub fn modes(&self) -> Vec<Mode> {
        match &self.camera {
            Some(camera) => camera.modes.iter().filter(|mode| mode::is_usable(mode)).cloned().collect(),
            None if self.device.as_deref() == Some("test") => test_picture::modes(),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
impl MediaStatus {
    /// A capture side that is ready and in `state`, for tests of what depends on it.
    pub(crate) fn sample(state: CameraState) -> Self {
        Self {
            state,
            device: Some("test".to_owned()),
            width: 640,
            height: 480,
            fps: 30.0,
            encoder: Some(EncoderStatus { name: "x264enc".to_owned(), kind: EncoderKind::Software }),
            ready: true,
            camera: None,
            profile: ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f },
            bitrate: 0,
            target: 1_000_000,
            ceiling: 1_000_000,
            small: None,
            key_frames: 0,
            encode_latency: None,
            restarts: 0,
            error: None,
            since: SystemTime::UNIX_EPOCH,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_written_as_browsers_offer_them() {
        for (made, offered) in [
            ([0x42, 0xc0, 0x1e], "42e01e"),
            ([0x42, 0x00, 0x1f], "42001f"),
            ([0x4d, 0x40, 0x28], "4d0028"),
            ([0x4d, 0x80, 0x28], "42e028"),
            ([0x64, 0x00, 0x28], "640028"),
            ([0x64, 0x0c, 0x28], "640c28"),
        ] {
            let [profile_idc, profile_iop, level_idc] = made;
            let profile = ProfileLevelId { profile_idc, profile_iop, level_idc };
            assert_eq!(profile.as_offered().to_string(), offered);
        }
    }
}
