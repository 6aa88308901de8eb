//! Where pictures come from, and the elements by which a camera delivers what a plan asks of it.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::libcamera;
use crate::media::capture::mode::{Handling, ModeChoice};
use crate::media::elements::{as_i32, bits_per_s, filter, make, set_v4l2_controls};
use crate::media::encode::encoder::{EncodeSettings, EncoderSpec};
use crate::media::error::MediaError;

/// A camera that cannot be asked for a key frame is to give one this often, in seconds.
const UNASKED_KEY_FRAMES_S: u32 = 2;

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The test picture.
    Test,
    /// The test picture as of a camera that encodes by itself, with this encoder inside.
    TestH264(&'static EncoderSpec),
    /// The camera of the plan, in this mode.
    Camera {
        /// What it is asked to deliver.
        mode: ModeChoice,
    },
}

impl Source {
    /// Whether it is the test picture.
    pub fn is_test(&self) -> bool {
        !matches!(self, Self::Camera { .. })
    }
}

/// The camera's element and the caps of `mode`; `flips` are controls that turn its picture.
pub fn camera_elements(
    camera: &CameraInfo,
    mode: &ModeChoice,
    settings: &EncodeSettings,
    flips: &[(&'static str, i32)],
) -> Result<Vec<gst::Element>, MediaError> {
    if camera.is_libcamera() {
        let source = make(libcamera::ELEMENT, libcamera::PACKAGE)?;
        source.set_property("camera-name", &camera.bus_info);
        // It lists no rates, but takes one.
        let rate = mode.rate.unwrap_or(settings.rate);
        return Ok(vec![source, filter(camera_caps(&ModeChoice { rate: Some(rate), ..mode.clone() }))?]);
    }
    let source = make("v4l2src", "gstreamer1.0-plugins-good")?;
    source.set_property("device", camera.path.display().to_string());
    let mut controls = flips.to_vec();
    if mode.handling == Handling::PassThrough {
        // Cameras with an encoder of the Raspberry Pi's kind; others ignore what they lack.
        let wanted = [
            ("repeat_sequence_header", 1),
            ("h264_profile", 1), // constrained baseline: what every browser takes
            ("h264_i_frame_period", as_i32(key_frame_interval(camera, settings))),
            // The Pi's default is 10 Mbit/s.
            ("video_bitrate", bits_per_s(settings.bitrate_kbps)),
        ];
        controls.extend(wanted.into_iter().filter(|(name, _)| camera.has_control(name)));
    }
    if !controls.is_empty() {
        set_v4l2_controls(&source, &controls);
    }
    Ok(vec![source, filter(camera_caps(mode))?])
}

/// Pictures from one key frame to the next. Where none can be asked for, whoever comes waits for it.
fn key_frame_interval(camera: &CameraInfo, settings: &EncodeSettings) -> u32 {
    let wanted = settings.keyframe_interval();
    if camera.has_control("force_key_frame") {
        return wanted;
    }
    let unasked = EncodeSettings { keyframe_interval_s: UNASKED_KEY_FRAMES_S, ..*settings };
    wanted.min(unasked.keyframe_interval())
}

fn camera_caps(mode: &ModeChoice) -> gst::Caps {
    let caps = match mode.handling {
        Handling::PassThrough => gst::Caps::builder("video/x-h264"),
        Handling::Jpeg => gst::Caps::builder("image/jpeg"),
        Handling::Raw(format) => gst::Caps::builder("video/x-raw").field("format", format),
    };
    let caps = caps.field("width", as_i32(mode.width)).field("height", as_i32(mode.height));
    let rate = mode.rate.map(|rate| gst::Fraction::new(as_i32(rate.num), as_i32(rate.den)));
    caps.field_if_some("framerate", rate).build()
}
