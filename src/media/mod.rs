//! Camera to H.264. The only folder that names gstreamer and v4l.
//!
//! A room knows those left of it, never one to its right:
//!
//! ```text
//! error, board, latency, elements, helper_thread, glib_messages, look ← capture ← test_picture ← encode ← plan ← still ← pipeline ← status ← life ← handle
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `look` | how the picture is to look: turned, cropped, masked, with text |
//! | `capture` | which cameras there are (V4L2, libcamera), their modes and controls |
//! | `test_picture` | the picture that stands in for a camera |
//! | `encode` | the encoders: settings, probing, and what a running one is asked for |
//! | `plan` | which camera, mode and encoder: one plan that the pipeline follows |
//! | `still` | still pictures as JPEG |
//! | `pipeline` | the running pipelines of both renditions, up to the fan-out |
//! | `audio` | sound: the microphone to Opus, and what viewers say to the speaker |
//! | `life` | when the camera runs, and the thread that owns everything that may block |
//!
//! [`Media`] is the handle. Decisions are pure functions and state machines that take the time as an argument.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "a thread of its own, and drivers that block by nature")
)]

pub mod audio;
pub mod board;
mod capture;
mod elements;
mod encode;
pub mod error;
mod glib_messages;
mod handle;
mod helper_thread;
mod latency;
mod life;
pub mod look;
pub mod measure;
mod pipeline;
mod plan;
pub mod status;
mod still;
mod test_picture;

pub use audio::{Audio, AudioConfig, AudioState, AudioStatus};
pub use board::board;
pub use capture::camera::{CameraInfo, CaptureApi};
pub use capture::choice::{DeviceChoice, FormatChoice};
pub use capture::control::{ControlInfo, ControlType};
pub use capture::controls::set_control;
pub use capture::find::cameras;
pub use capture::{camera, controls, mode};
pub use encode::choice::{EncoderChoice, EncoderKind, EncoderStatus};
pub use encode::encoder;
pub use error::MediaError;
pub use glib_messages::GlibMessages;
pub use handle::Media;
pub use latency::Latency;
pub use look::PictureLook;
pub use plan::config::MediaConfig;
pub use plan::planner::USUAL_PROFILE;
pub use plan::proposal::{Proposal, propose};
pub use status::{CameraState, MediaStatus, SmallStatus};
pub use still::snapshot;
pub use still::snapshot::{MAX_WIDTH as MAX_SNAPSHOT_WIDTH, MIN_WIDTH as MIN_SNAPSHOT_WIDTH, Snapshot};

pub use crate::stream::ProfileLevelId;
