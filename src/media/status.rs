//! What the capture side says of itself, watched by `state`, the sessions and the logs.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::mode;
use crate::media::capture::mode::CameraMode;
use crate::media::encode::choice::{EncoderKind, EncoderStatus};
use crate::media::error::CameraTrouble;
use crate::media::latency::Latency;
use crate::media::look::PictureLook;
use crate::media::plan::styling::Styling;
use crate::media::test_picture;
use crate::stream::ProfileLevelId;

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
    /// How the picture is to look.
    pub look: Arc<PictureLook>,
    /// What of that there cannot be, in words for people.
    pub look_problem: Option<String>,
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
    /// The same for those who watch; also while something else takes over from what failed.
    pub trouble: Option<CameraTrouble>,
    /// Whether those who watch see words while the camera gives no picture: an encoder in software is there to make them.
    pub has_placeholder: bool,
    /// Why this mode is used and not a better one, in words for people; `None` when all is well.
    pub note: Option<String>,
    /// Whether the camera has modes that it does not encode itself.
    pub could_encode: bool,
    /// When `state` last changed.
    pub since: SystemTime,
}

impl MediaStatus {
    /// Why the picture cannot look so, in words, where the camera is known to encode in any case.
    pub fn refusal(&self, look: &PictureLook) -> Option<String> {
        let camera = self.camera.as_deref()?;
        let encodes = |mode: &CameraMode| mode::handling(&mode.format) == Some(mode::Handling::PassThrough);
        let modes = self.modes();
        let only_encodes = !modes.is_empty() && modes.iter().all(encodes);
        if only_encodes { Styling::new(look, Some(camera), false).left_out } else { None }
    }

    /// Whether viewers get what the camera encodes, although it could be encoded here.
    pub fn could_be_encoded_instead(&self) -> bool {
        let kind = self.encoder.as_ref().map(|encoder| encoder.kind);
        self.could_encode && kind == Some(EncoderKind::Passthrough)
    }

    /// What the capture side can be asked to deliver: the usable modes of the camera, or those of the test picture.
    pub fn modes(&self) -> Vec<CameraMode> {
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
            encoder: Some(EncoderStatus {
                name: "x264enc".to_owned(),
                kind: crate::media::EncoderKind::Software,
            }),
            ready: true,
            camera: None,
            look: Arc::default(),
            look_problem: None,
            profile: ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f },
            bitrate: 0,
            target: 1_000_000,
            ceiling: 1_000_000,
            small: None,
            key_frames: 0,
            encode_latency: None,
            restarts: 0,
            error: None,
            trouble: None,
            has_placeholder: false,
            note: None,
            could_encode: false,
            since: SystemTime::UNIX_EPOCH,
        }
    }
}
