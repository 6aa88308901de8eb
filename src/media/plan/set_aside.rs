//! What a camera offers and does not keep, until it is plugged in anew, or offers and nobody can play. Pure.

use std::path::{Path, PathBuf};

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::mode::{Handling, ModeChoice};
use crate::stream::ProfileLevelId;

/// Why what a camera encodes itself is not passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyEncoded {
    /// Somebody who wants to watch cannot play its profile.
    Unplayable,
    /// Its key frames are so far apart that somebody would wait long for a picture, and it cannot be asked for one.
    RareKeyFrames,
}

/// Modes that are not asked for, and why.
#[derive(Clone, Debug, Default)]
pub struct SetAside {
    /// Where the camera was last.
    node: Option<PathBuf>,
    /// Modes that did not start, each with the reason.
    failed: Vec<Failed>,
    /// Cameras whose own H.264 is not passed through: why, and its profile.
    own_h264: Vec<(String, WhyEncoded, ProfileLevelId)>,
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

    /// The camera's own H.264, which has this profile, does not do.
    pub fn encode_instead(&mut self, camera: &CameraInfo, why: WhyEncoded, profile: ProfileLevelId) {
        if self.why_encoded(camera).is_none() {
            self.own_h264.push((camera.bus_info.clone(), why, profile));
        }
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
                "the camera does not start in {failed} ({reason}): {mode} is taken until it is plugged in anew"
            ));
        }
        let (why, profile) = self.why_encoded(camera).filter(|_| mode.handling != Handling::PassThrough)?;
        Some(match why {
            WhyEncoded::Unplayable => format!(
                "somebody who watches cannot play the camera's own H.264 (profile {profile}): {mode} is encoded here instead"
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

    fn why_encoded(&self, camera: &CameraInfo) -> Option<(WhyEncoded, ProfileLevelId)> {
        self.own_h264.iter().find(|(of, ..)| *of == camera.bus_info).map(|(_, why, profile)| (*why, *profile))
    }
}

/// Whether one of `modes` is not encoded by the camera.
pub fn can_encode(modes: &[ModeChoice]) -> bool {
    modes.iter().any(|mode| mode.handling != Handling::PassThrough)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::capture::camera::CaptureApi;

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
        for part in ["H264 1280x720, MJPG 1280x720", "its bus is full", "YUYV 640x480 is taken"] {
            assert!(note.contains(part), "{note}");
        }
        let other = CameraInfo { bus_info: "usb-2".into(), ..camera.clone() };
        assert_eq!((aside.left(&other, &modes), aside.note(&other, &modes[0])), (modes.clone(), None));
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
        aside.encode_instead(&camera, WhyEncoded::Unplayable, HIGH);
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
        aside.encode_instead(&camera, WhyEncoded::RareKeyFrames, HIGH);
        aside.encode_instead(&camera, WhyEncoded::Unplayable, HIGH);
        assert_eq!(aside.left(&camera, &modes), modes[1..]);
        let note = aside.note(&camera, &modes[1]).unwrap();
        for part in ["key frames", "MJPG 1280x720 is encoded", "camera.format = \"h264\""] {
            assert!(note.contains(part), "{note}");
        }
        assert_eq!(aside.left(&camera, &modes[..1]), modes[..1], "there is nothing else");
        assert_eq!(aside.note(&camera, &modes[0]), None);
    }
}
