//! Camera to H.264. The only folder that names gstreamer and v4l.
//!
//! ```text
//! camera, libcamera ─→ find ─→ mode (pure) ─→ planner ─Plan→ worker ─→ pipeline ─AccessUnit→ fanout
//!                  encoder (probe) ───┘            ↑↓
//!                                     lifecycle, key_frame_gate (pure)
//! ```
//!
//! With `video.tiers = 2` the pipeline's raw pictures also go to `small`, which has an encoder of its own.
//! `pace` (pure) decides when an encoder gets only every other picture.
//!
//! [`Media`] is the handle; one thread (`worker`) owns everything that may block: GStreamer's
//! state changes and the camera's ioctls. Decisions are pure functions and state machines that
//! take the time as an argument.

pub mod access_unit;
pub mod board;
pub mod camera;
pub mod config;
pub mod controls;
pub mod encoder;
pub mod error;
mod find;
mod flow;
mod font;
pub mod h264;
mod handle;
mod inbox;
pub mod key_frame_gate;
mod libcamera;
pub mod lifecycle;
pub mod measure;
pub mod mode;
mod pace;
pub mod pass_through;
mod pipeline;
mod planner;
mod proposal;
mod small;
pub mod snapshot;
pub mod status;
mod stills;
mod tap;
pub mod test_picture;
mod test_source;
mod throttle;
mod timeline;
mod trouble;
mod worker;

pub use access_unit::AccessUnit;
pub use board::board;
pub use camera::{CameraInfo, CaptureApi};
pub use config::{DeviceChoice, EncoderChoice, FormatChoice, MediaConfig};
pub use controls::{ControlInfo, ControlType, set_control};
pub use error::MediaError;
pub use find::cameras;
pub use handle::Media;
pub use proposal::{Proposal, propose};
pub use snapshot::{MAX_WIDTH as MAX_SNAPSHOT_WIDTH, MIN_WIDTH as MIN_SNAPSHOT_WIDTH, Snapshot};
pub use status::{
    CameraState, EncoderKind, EncoderStatus, Latency, MediaStatus, ProfileLevelId, SmallStatus,
};
