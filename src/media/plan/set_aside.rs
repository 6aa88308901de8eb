//! What a camera offers and does not keep, until it is plugged in anew, or offers and nobody can play. Pure.

use std::path::{Path, PathBuf};

use crate::media::capture::camera::{CameraInfo, CaptureApi};
use crate::media::capture::mode::{Handling, ModeChoice};
use crate::media::encode::encoder::EncoderSpec;
use crate::media::plan::styling::Styling;
use crate::stream::ProfileLevelId;

/// Why what a camera encodes itself is not passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyEncoded {
    /// Somebody who wants to watch cannot play its profile.
    Unplayable,
    /// Its key frames are so far apart that somebody would wait long for a picture, and it cannot be asked for one.
    RareKeyFrames,
}

/// What is wrong with what a camera encodes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnH264Fault {
    /// Why it is not passed through.
    pub why: WhyEncoded,
    /// Its profile.
    pub profile: ProfileLevelId,
    /// Viewers would have to turn it.
    pub is_turned: bool,
}

/// Modes that are not asked for, and why.
#[derive(Clone, Debug, Default)]
pub struct SetAside {
    /// Where the camera was last.
    node: Option<PathBuf>,
    /// Modes that did not start, each with the reason.
    failed: Vec<Failed>,
    /// Cameras whose own H.264 is not passed through.
    own_h264: Vec<(String, OwnH264Fault)>,
    /// Cameras whose buffers the encoder does not take, by mode: it wants rows and lines laid out in its own way.
    unshareable: Vec<(String, ModeChoice)>,
}

#[derive(Clone, Debug)]
struct Failed {
    camera: String,
    mode: ModeChoice,
    reason: String,
}

impl SetAside {
    /// A camera was found at `node`, or none was. One that was gone, or is at another node, is tried from the beginning: its port
    /// and what shares its bus may be others now.
    pub fn found(&mut self, node: Option<&Path>) {
        if self.node.as_deref() != node {
            // Whoever cannot play its H.264 may still watch, so that stays.
            self.failed.clear();
            self.node = node.map(Path::to_owned);
        }
    }

    /// Other modes are wanted: what failed is tried again.
    pub fn forget_failures(&mut self) {
        self.failed.clear();
    }

    /// `mode` did not start.
    pub fn failed(&mut self, camera: &CameraInfo, mode: &ModeChoice, reason: &str) {
        if !self.is_failed(camera, mode) {
            let (camera, reason) = (camera.bus_info.clone(), reason.to_owned());
            self.failed.push(Failed { camera, mode: mode.clone(), reason });
        }
    }

    /// The camera's own H.264 does not do.
    pub fn encode_instead(&mut self, camera: &CameraInfo, fault: OwnH264Fault) {
        if self.why_encoded(camera).is_none() {
            self.own_h264.push((camera.bus_info.clone(), fault));
        }
    }

    /// The encoder failed on this camera's own buffers.
    pub fn unshareable(&mut self, camera: &CameraInfo, mode: &ModeChoice) {
        if !self.is_unshareable(camera, mode) {
            self.unshareable.push((camera.bus_info.clone(), mode.clone()));
        }
    }

    fn is_unshareable(&self, camera: &CameraInfo, mode: &ModeChoice) -> bool {
        self.unshareable.iter().any(|(of, failed)| (of, failed) == (&camera.bus_info, mode))
    }

    /// Whether the camera's buffers can go to `encoder` without a copy: both know how, and nothing is to be drawn into them.
    pub fn can_share(
        &self,
        camera: &CameraInfo,
        mode: &ModeChoice,
        encoder: Option<&EncoderSpec>,
        styling: &Styling,
    ) -> bool {
        encoder.is_some_and(|spec| spec.takes_buffers_of(&mode.format, mode.width, mode.height))
            && camera.api == CaptureApi::V4l2
            && !styling.is_drawn()
            && !self.is_unshareable(camera, mode)
    }

    /// What of `ranked` is left. Where every mode failed, all begin anew; where none can be encoded, the camera's own H.264 stays.
    pub fn left(&mut self, camera: &CameraInfo, ranked: &[ModeChoice]) -> Vec<ModeChoice> {
        let mut playable: Vec<ModeChoice> = ranked.to_vec();
        if self.why_encoded(camera).is_some() && can_encode(ranked) {
            playable.retain(|mode| mode.handling != Handling::PassThrough);
        }
        if playable.iter().all(|mode| self.is_failed(camera, mode)) {
            self.failed.retain(|failed| failed.camera != camera.bus_info);
        }
        playable.retain(|mode| !self.is_failed(camera, mode));
        playable
    }

    /// Why the last of this camera's modes that failed did.
    pub fn reason<'a>(&'a self, camera: &'a CameraInfo) -> Option<&'a str> {
        self.failures(camera).last().map(|failed| failed.reason.as_str())
    }

    /// Why `mode` is taken and not a better one, in words for people.
    pub fn note(&self, camera: &CameraInfo, mode: &ModeChoice) -> Option<String> {
        let failed: Vec<String> = self.failures(camera).map(|failed| failed.mode.to_string()).collect();
        if let Some(reason) = self.reason(camera) {
            let failed = failed.join(", ");
            return Some(format!(
                "{mode} is taken until the camera is plugged in anew, as it does not start in {failed}: {reason}"
            ));
        }
        let fault = self.why_encoded(camera).filter(|_| mode.handling != Handling::PassThrough)?;
        let (profile, or_turn) = (fault.profile, if fault.is_turned { " or cannot turn it" } else { "" });
        Some(match fault.why {
            WhyEncoded::Unplayable => format!(
                "somebody who watches cannot play the camera's own H.264 (profile {profile}){or_turn}: {mode} is encoded here instead"
            ),
            WhyEncoded::RareKeyFrames => format!(
                "the key frames of the camera's own H.264 are so far apart that whoever comes would wait for a picture: {mode} is \
                 encoded here instead; camera.format = \"h264\" keeps the camera's own"
            ),
        })
    }

    fn failures<'a>(&'a self, camera: &'a CameraInfo) -> impl Iterator<Item = &'a Failed> {
        self.failed.iter().filter(|failed| failed.camera == camera.bus_info)
    }

    fn is_failed(&self, camera: &CameraInfo, mode: &ModeChoice) -> bool {
        self.failures(camera).any(|failed| failed.mode == *mode)
    }

    fn why_encoded(&self, camera: &CameraInfo) -> Option<OwnH264Fault> {
        self.own_h264.iter().find(|(of, _)| *of == camera.bus_info).map(|(_, fault)| *fault)
    }
}

/// Whether one of `modes` is not encoded by the camera.
pub fn can_encode(modes: &[ModeChoice]) -> bool {
    modes.iter().any(|mode| mode.handling != Handling::PassThrough)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::encode::encoder::TABLE;
    use crate::media::look::PictureLook;
    use crate::media::look::area::Area;

    const HIGH: ProfileLevelId = ProfileLevelId { profile_idc: 0x64, profile_iop: 0, level_idc: 0x28 };

    fn camera() -> CameraInfo {
        CameraInfo {
            api: CaptureApi::V4l2,
            path: "/dev/video0".into(),
            by_id: None,
            by_path: None,
            card: "webcam".into(),
            driver: "uvcvideo".into(),
            bus_info: "usb-1".into(),
            modes: Vec::new(),
            controls: Vec::new(),
        }
    }

    fn modes() -> Vec<ModeChoice> {
        let mode = |format: &str, handling, width, height| ModeChoice {
            format: format.to_owned(),
            handling,
            width,
            height,
            rate: None,
        };
        vec![
            mode("H264", Handling::PassThrough, 1280, 720),
            mode("MJPG", Handling::Jpeg, 1280, 720),
            mode("YUYV", Handling::Raw("YUY2"), 640, 480),
        ]
    }

    #[test]
    fn the_next_mode_is_taken_and_said() {
        let (mut aside, camera, modes) = (SetAside::default(), camera(), modes());
        assert_eq!(aside.left(&camera, &modes), modes);
        assert_eq!(aside.note(&camera, &modes[0]), None);
        aside.failed(&camera, &modes[0], "its bus is full");
        aside.failed(&camera, &modes[1], "its bus is full");
        assert_eq!(aside.left(&camera, &modes), modes[2..]);
        let note = aside.note(&camera, &modes[2]).unwrap();
        assert!(note.starts_with("YUYV 640x480"), "what is taken outlives a note that is cut short: {note}");
        for part in ["H264 1280x720, MJPG 1280x720", "its bus is full", "YUYV 640x480 is taken"] {
            assert!(note.contains(part), "{note}");
        }
        let other = CameraInfo { bus_info: "usb-2".into(), ..camera.clone() };
        assert_eq!((aside.left(&other, &modes), aside.note(&other, &modes[0])), (modes.clone(), None));
    }

    #[test]
    fn only_what_nobody_draws_into_goes_to_the_boards_encoder_without_a_copy() {
        let (mut aside, camera, modes) = (SetAside::default(), camera(), modes());
        let plain = Styling::new(&PictureLook::default(), Some(&camera), true);
        let masked = PictureLook { masks: vec![Area::ALL], ..PictureLook::default() };
        let masked = Styling::new(&masked, Some(&camera), true);
        let (board, software) = (Some(&TABLE[0]), Some(&TABLE[1]));
        assert!(aside.can_share(&camera, &modes[2], board, &plain));
        assert!(!aside.can_share(&camera, &modes[2], board, &masked));
        assert!(!aside.can_share(&camera, &modes[2], software, &plain));
        assert!(!aside.can_share(&camera, &modes[1], board, &plain), "it is decoded first");
        assert!(!aside.can_share(&camera, &modes[0], None, &plain));
        for (width, height) in [(640, 360), (1920, 1080), (848, 480), (160, 120)] {
            let odd = ModeChoice { width, height, ..modes[2].clone() };
            assert!(!aside.can_share(&camera, &odd, board, &plain), "its rows are laid out in another way");
        }
        let other = CameraInfo { api: CaptureApi::Libcamera, ..camera.clone() };
        assert!(!aside.can_share(&other, &modes[2], board, &plain));
        aside.unshareable(&camera, &modes[2]);
        assert!(!aside.can_share(&camera, &modes[2], board, &plain));
        let taller = ModeChoice { height: 720, ..modes[2].clone() };
        assert!(aside.can_share(&camera, &taller, board, &plain), "its lines may fit");
    }

    #[test]
    fn where_all_modes_fail_they_begin_anew() {
        let (mut aside, camera, modes) = (SetAside::default(), camera(), modes());
        for mode in &modes {
            aside.failed(&camera, mode, "its bus is full");
        }
        assert_eq!(aside.left(&camera, &modes), modes);
        assert_eq!(aside.note(&camera, &modes[0]), None);
    }

    #[test]
    fn a_camera_that_was_gone_or_is_elsewhere_is_tried_from_the_beginning() {
        for back in [vec![None, Some("/dev/video0")], vec![Some("/dev/video2")]] {
            let (mut aside, camera, modes) = (SetAside::default(), camera(), modes());
            aside.found(Some(Path::new("/dev/video0")));
            aside.failed(&camera, &modes[0], "its bus is full");
            aside.found(Some(Path::new("/dev/video0")));
            assert_eq!(aside.left(&camera, &modes), modes[1..], "it was there all the time");
            for node in back {
                aside.found(node.map(Path::new));
            }
            assert_eq!(aside.left(&camera, &modes), modes);
        }
    }

    #[test]
    fn no_mode_with_the_cameras_own_encoder_is_left_where_somebody_cannot_play_it() {
        let (mut aside, camera, modes) = (SetAside::default(), camera(), modes());
        let mut turned = aside.clone();
        let fault = OwnH264Fault { why: WhyEncoded::Unplayable, profile: HIGH, is_turned: true };
        turned.encode_instead(&camera, fault);
        assert!(turned.note(&camera, &modes[1]).is_some_and(|note| note.contains("cannot turn it: MJPG")));
        aside.encode_instead(&camera, OwnH264Fault { is_turned: false, ..fault });
        assert_eq!(aside.left(&camera, &modes), modes[1..]);
        let note = aside.note(&camera, &modes[1]).unwrap();
        assert!(note.contains("profile 640028") && note.contains("MJPG 1280x720 is encoded"), "{note}");
        aside.failed(&camera, &modes[1], "its bus is full");
        assert_eq!(aside.left(&camera, &modes), modes[2..]);
        aside.failed(&camera, &modes[2], "its bus is full");
        assert_eq!(aside.left(&camera, &modes), modes[1..], "what failed begins anew, and that alone");
        assert_eq!(aside.left(&camera, &modes[..1]), modes[..1], "there is nothing else");
        aside.found(None);
        aside.found(Some(Path::new("/dev/video2")));
        assert_eq!(aside.left(&camera, &modes), modes[1..], "whoever cannot play it may still watch");
    }

    #[test]
    fn a_camera_whose_key_frames_are_rare_is_encoded_and_the_owner_told_how_not() {
        let (mut aside, camera, modes) = (SetAside::default(), camera(), modes());
        let fault = OwnH264Fault { why: WhyEncoded::RareKeyFrames, profile: HIGH, is_turned: false };
        aside.encode_instead(&camera, fault);
        aside.encode_instead(&camera, OwnH264Fault { why: WhyEncoded::Unplayable, ..fault });
        assert_eq!(aside.left(&camera, &modes), modes[1..]);
        let note = aside.note(&camera, &modes[1]).unwrap();
        for part in ["key frames", "MJPG 1280x720 is encoded", "camera.format = \"h264\""] {
            assert!(note.contains(part), "{note}");
        }
        assert_eq!(aside.left(&camera, &modes[..1]), modes[..1], "there is nothing else");
        assert_eq!(aside.note(&camera, &modes[0]), None);
    }
}
