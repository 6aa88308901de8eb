//! What the worker needs of GStreamer, of cameras and of the clock, so that a test can stand in for them.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::control::ControlInfo;
use crate::media::encode::choice::EncoderStatus;
use crate::media::error::MediaError;
use crate::media::life::bitrate::EncodeAt;
use crate::media::look::PictureLook;
use crate::media::pipeline::timeline::StreamFigures;
use crate::media::plan::learnt::Learnt;
use crate::media::plan::planner::Plan;
use crate::media::plan::set_aside::WhyEncoded;
use crate::media::still::snapshot::CapturedPicture;
use crate::stream::{ProfileLevelId, Rendition};

/// What a running pipeline is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineRequest {
    /// Another bit rate, from the next picture on.
    EncodeAt(EncodeAt),
    /// A key frame.
    KeyFrame,
    /// A copy of the next picture that stands alone.
    PictureCopy,
}

/// The clock, and what can be told of the pictures at any time, whatever a driver does. Nothing here blocks.
pub trait Gauges {
    /// The time; only here the worker has it from.
    fn now(&self) -> Instant;

    /// When the full rendition's last picture came out.
    fn last_picture(&self) -> Instant;

    /// New figures of a rendition, if a second has passed since the last ones.
    fn figures(&self, rendition: Rendition, now: Instant) -> Option<StreamFigures>;

    /// Key frames of the full rendition since the process started.
    fn key_frames(&self) -> u64;

    /// No picture of the pipelines that run now is shown any more, whenever it comes.
    fn drop_pictures(&self);
}

/// The machine under the worker. All of it may block, for seconds where a driver does.
pub trait CaptureBackend {
    /// Starts what everything else needs.
    fn initialize(&mut self) -> Result<(), MediaError>;

    /// Looks at cameras and encoders. `may_capture`: whether the privacy switch lets a camera run for a moment.
    fn plan(&mut self, may_capture: bool) -> Result<Plan, MediaError>;

    /// Whether the device of `plan` is still in its place.
    fn is_there(&self, plan: &Plan) -> bool;

    /// Whether there is a device that can come and go.
    fn has_device(&self) -> bool;

    /// The configured device, for people.
    fn device_name(&self) -> Option<String>;

    /// The encoder that would be used, and what it makes, while there is no plan.
    fn planned_encoder(&self) -> Option<(EncoderStatus, ProfileLevelId)>;

    /// The next plan is to have this size in pixels and rate in pictures per second; `None` lets the board decide.
    fn want_mode(&mut self, size: Option<(u32, u32)>, fps: Option<u32>);

    /// The next plan is to look so, and what runs at once as far as it can.
    fn want_look(&mut self, look: &PictureLook);

    /// The next plan is to have this bit rate in kbit/s.
    fn want_bitrate(&mut self, kbps: u32);

    /// `plan` fails to start again and again: the next one is to try another encoder or mode.
    fn give_up(&mut self, plan: &Plan, by_encoder: bool, reason: &str);

    /// Tries what would take over from `plan`'s encoder, before it has to.
    fn prepare_other(&mut self, _plan: &Plan) {}

    /// `plan`'s encoder does not take the camera's own buffers: the next one is to copy them.
    fn give_up_sharing(&mut self, _plan: &Plan, _reason: &str) {}

    /// What `plan` passes through does not do: the next one is to encode.
    fn encode_instead(&mut self, plan: &Plan, why: WhyEncoded);

    /// What was found out about cameras and encoders, those given up among them.
    fn learnt(&self) -> Learnt {
        Learnt::default()
    }

    /// Takes the place of a machine that had found this out.
    fn learn(&mut self, _learnt: Learnt) {}

    /// Starts the pipeline of a rendition; its events carry `run`. The full one first, and `controls` (values by name)
    /// are set on a source that forgets them with each stop.
    fn start(
        &mut self,
        rendition: Rendition,
        plan: &Plan,
        run: u64,
        controls: &BTreeMap<String, i64>,
    ) -> Result<(), MediaError>;

    /// Stops it, if it runs, and closes its device.
    fn stop(&mut self, rendition: Rendition);

    /// Asks a running pipeline for something; whether there is somebody to ask.
    fn request(&mut self, rendition: Rendition, request: PipelineRequest) -> bool;

    /// Sets a control of `camera` as somebody wrote it; the value that it then has, and all controls as they are now.
    fn set_control(
        &mut self,
        camera: &CameraInfo,
        name: &str,
        text: &str,
    ) -> Result<(i64, Vec<ControlInfo>), MediaError>;

    /// Sets controls (values by name) on a camera that has just come; all controls as they are now.
    fn apply_controls(&mut self, camera: &CameraInfo, wanted: &BTreeMap<String, i64>) -> Vec<ControlInfo>;

    /// All controls as they are now, or as they were where they cannot be read.
    fn read_controls(&self, camera: &CameraInfo) -> Vec<ControlInfo>;

    /// Starts making a JPEG of `picture`, `width` pixels wide; the outcome comes as a message.
    fn encode_snapshot(&mut self, picture: CapturedPicture, width: Option<u32>) -> Result<(), MediaError>;
}
