//! What of a look the camera does by itself, what the pipeline does, and which modes of the camera leave that possible. Pure.

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::driver::shown;
use crate::media::capture::mode::{Handling, ModeChoice};
use crate::media::error::MediaError;
use crate::media::look::PictureLook;
use crate::media::look::turn::Turn;

/// The camera's controls that turn its picture.
pub const FLIPS: [&str; 2] = ["horizontal_flip", "vertical_flip"];

/// A look, and who does which part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Styling {
    /// What is wanted.
    pub look: PictureLook,
    /// Whether the camera turns its picture by its controls, which costs nothing.
    pub is_turned_by_camera: bool,
    /// Whether the camera has such controls, and somebody has said how they are to be.
    sets_flips: bool,
    /// Whether those who watch turn it, because the camera encodes it and does not.
    is_turned_by_viewers: bool,
    /// What of the look there cannot be, in words.
    pub left_out: Option<String>,
}

/// What is said where those who watch have to turn the picture.
const BY_VIEWERS: &str = "the camera's own H.264 cannot be turned here, so whoever watches turns it: Porthole's page does, and browsers that \
     take urn:3gpp:video-orientation turn it without mirroring it; other players show it as the camera gives it";

impl Styling {
    /// For pictures of `camera`, or of the test picture, that are encoded here or not.
    pub fn new(look: &PictureLook, camera: Option<&CameraInfo>, is_encoded_here: bool) -> Self {
        let has_flips = camera.is_some_and(can_flip);
        let sets_flips = has_flips && (look.rotation.is_some() || look.mirror.is_some());
        // Masks are drawn into what comes from the camera: it must not be turned under them.
        let is_turned_by_camera = sets_flips && look.masks.is_empty() && look.turn().as_flips().is_some();
        let is_possible = is_encoded_here || !look.needs_raw();
        let left_out = (!is_possible).then(|| {
            "the camera gives only H.264, which cannot be cropped or written into here; set camera.format to \"raw\" or \
             \"mjpeg\" if it has that, or take another camera"
                .to_owned()
        });
        let is_turned_by_viewers = !is_encoded_here && !is_turned_by_camera && !look.turn().is_identity();
        Self { look: look.clone(), is_turned_by_camera, sets_flips, is_turned_by_viewers, left_out }
    }

    /// What is left to be turned in the pipeline.
    pub fn pipeline_turn(&self) -> Turn {
        let is_left = !self.is_turned_by_camera && !self.is_turned_by_viewers;
        if is_left { self.look.turn() } else { Turn::default() }
    }

    /// What is left to whoever watches.
    pub fn viewers_turn(&self) -> Turn {
        if self.is_turned_by_viewers { self.look.turn() } else { Turn::default() }
    }

    /// What of the look this camera does not give to everybody, in words.
    pub fn problem(&self) -> Option<String> {
        let by_viewers = || self.is_turned_by_viewers.then(|| BY_VIEWERS.to_owned());
        self.left_out.clone().or_else(by_viewers)
    }

    /// Whether the pipeline changes the pictures.
    pub fn is_drawn(&self) -> bool {
        self.look.needs_raw() || !self.pipeline_turn().is_identity()
    }

    /// What the camera's controls are to be, where they are not left alone.
    pub fn flips(&self) -> Vec<(&'static str, i32)> {
        if !self.sets_flips {
            return Vec::new();
        }
        let (horizontal, vertical) =
            self.look.turn().as_flips().filter(|_| self.is_turned_by_camera).unwrap_or_default();
        FLIPS.into_iter().zip([horizontal, vertical].map(i32::from)).collect()
    }
}

fn can_flip(camera: &CameraInfo) -> bool {
    !camera.is_libcamera() && FLIPS.iter().all(|flip| camera.has_control(flip))
}

/// Whether the look takes pictures that the camera has not encoded, in every viewer. Rotated, what the camera encoded is cheapest:
/// most browsers turn it themselves, and for one that does not it is encoded here from then on ([`crate::peer`] asks for that).
/// Hardly anyone can be told to mirror it.
fn wants_raw(look: &PictureLook, camera: &CameraInfo) -> bool {
    let turn = look.turn();
    let turns_itself = turn.as_flips().is_some() && can_flip(camera);
    look.needs_raw() || (turn.mirror && !turns_itself)
}

/// Those of `ranked` that a look is possible with. Where there is none, a turn is left to the viewers, and a crop or a text left out; a
/// mask never is.
pub fn fitting(
    ranked: Vec<ModeChoice>,
    look: &PictureLook,
    camera: &CameraInfo,
) -> Result<Vec<ModeChoice>, MediaError> {
    if !wants_raw(look, camera) {
        return Ok(ranked);
    }
    let is_raw = |mode: &&ModeChoice| mode.handling != Handling::PassThrough;
    let raw: Vec<ModeChoice> = ranked.iter().filter(is_raw).cloned().collect();
    if raw.is_empty() && !look.masks.is_empty() && !ranked.is_empty() {
        return Err(MediaError::Unmaskable { device: shown(&camera.path) });
    }
    Ok(if raw.is_empty() { ranked } else { raw })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::capture::camera::CaptureApi;
    use crate::media::capture::control::{ControlInfo, ControlType};
    use crate::media::capture::mode::{Rate, handling};
    use crate::media::look::area::Area;
    use crate::media::look::overlay::Overlay;
    use crate::media::look::turn::Rotation;

    fn camera(controls: &[&str]) -> CameraInfo {
        let control = |name: &&str| ControlInfo {
            id: 1,
            name: (*name).to_owned(),
            kind: ControlType::Bool,
            min: 0,
            max: 1,
            step: 1,
            default: 0,
            value: Some(0),
            menu: std::collections::BTreeMap::new(),
            read_only: false,
            inactive: false,
        };
        CameraInfo {
            api: CaptureApi::V4l2,
            path: "/dev/video0".into(),
            by_id: None,
            by_path: None,
            card: "Cam".into(),
            driver: "uvcvideo".into(),
            bus_info: "usb-1".into(),
            modes: Vec::new(),
            controls: controls.iter().map(control).collect(),
        }
    }

    fn modes(formats: &[&str]) -> Vec<ModeChoice> {
        let mode = |format: &&str| ModeChoice {
            format: (*format).to_owned(),
            handling: handling(format).unwrap(),
            width: 640,
            height: 480,
            rate: Some(Rate::whole(30)),
        };
        formats.iter().map(mode).collect()
    }

    fn turned(rotation: Rotation) -> PictureLook {
        PictureLook { rotation: Some(rotation), ..PictureLook::default() }
    }

    fn masked(look: PictureLook) -> PictureLook {
        PictureLook { masks: vec![Area::ALL], ..look }
    }

    #[test]
    fn a_camera_that_can_turns_its_picture_itself_unless_there_are_masks() {
        let camera = camera(&FLIPS);
        let half = turned(Rotation::Half);
        let styling = Styling::new(&half, Some(&camera), true);
        assert_eq!(styling.flips(), [("horizontal_flip", 1), ("vertical_flip", 1)]);
        assert!(styling.pipeline_turn().is_identity());
        let styling = Styling::new(&masked(half.clone()), Some(&camera), true);
        assert_eq!(styling.flips(), [("horizontal_flip", 0), ("vertical_flip", 0)], "not under the masks");
        assert_eq!(styling.pipeline_turn(), half.turn());
        let quarter = Styling::new(&turned(Rotation::Quarter), Some(&camera), true);
        assert_eq!(quarter.flips(), [("horizontal_flip", 0), ("vertical_flip", 0)]);
        assert!(quarter.pipeline_turn().rotation.swaps_sides());
        let back = Styling::new(&turned(Rotation::None), Some(&camera), true);
        assert_eq!(back.flips(), [("horizontal_flip", 0), ("vertical_flip", 0)], "turned back");
        assert_eq!(Styling::new(&PictureLook::default(), Some(&camera), true).flips(), [], "left alone");
        assert_eq!(Styling::new(&half, None, true).flips(), [], "the test picture has none");
    }

    #[test]
    fn what_the_camera_encoded_is_left_where_it_cannot_look_so() {
        let (plain, flipping) = (camera(&[]), camera(&FLIPS));
        let text = Overlay::new("%H:%M").unwrap();
        let crop = Area::try_from([0.1, 0.1, 0.5, 0.5]).ok();
        let all = modes(&["H264", "YUYV", "MJPG"]);
        let formats = |look: &PictureLook, camera: &CameraInfo| -> Vec<String> {
            let fitting = fitting(all.clone(), look, camera).unwrap();
            fitting.into_iter().map(|mode| mode.format).collect()
        };
        let raw = ["YUYV", "MJPG"];
        assert_eq!(formats(&PictureLook::default(), &plain), ["H264", "YUYV", "MJPG"]);
        assert_eq!(formats(&turned(Rotation::None), &plain), ["H264", "YUYV", "MJPG"]);
        for camera in [&plain, &flipping] {
            for rotation in [Rotation::Half, Rotation::Quarter] {
                assert_eq!(formats(&turned(rotation), camera), ["H264", "YUYV", "MJPG"], "viewers turn it");
            }
        }
        let mirrored = |rotation| PictureLook { mirror: Some(true), ..turned(rotation) };
        assert_eq!(formats(&mirrored(Rotation::None), &plain), raw);
        assert_eq!(
            formats(&mirrored(Rotation::Half), &flipping),
            ["H264", "YUYV", "MJPG"],
            "the camera does"
        );
        assert_eq!(formats(&mirrored(Rotation::Quarter), &flipping), raw);
        for look in [
            masked(PictureLook::default()),
            PictureLook { overlay: text, ..PictureLook::default() },
            PictureLook { crop, ..PictureLook::default() },
        ] {
            assert_eq!(formats(&look, &flipping), raw, "{look:?}");
        }
    }

    #[test]
    fn what_the_camera_encoded_is_turned_by_whoever_watches() {
        let (plain, flipping) = (camera(&[]), camera(&FLIPS));
        for rotation in Rotation::ALL {
            for mirror in [false, true] {
                let look = PictureLook { mirror: Some(mirror), ..turned(rotation) };
                let here = Styling::new(&look, Some(&plain), true);
                assert_eq!((here.pipeline_turn(), here.viewers_turn()), (look.turn(), Turn::default()));
                assert_eq!(here.problem(), None);
                let passed = Styling::new(&look, Some(&plain), false);
                assert_eq!((passed.pipeline_turn(), passed.viewers_turn()), (Turn::default(), look.turn()));
                assert_eq!(passed.problem().is_none(), look.turn().is_identity(), "and that is said");
                let flips = Styling::new(&look, Some(&flipping), false);
                let is_left = rotation.swaps_sides();
                assert_eq!(flips.viewers_turn(), if is_left { look.turn() } else { Turn::default() });
                assert!(flips.flips().iter().all(|(_, on)| !is_left || *on == 0), "not turned twice");
            }
        }
    }

    #[test]
    fn a_mask_is_never_left_out() {
        let (only, camera) = (modes(&["H264"]), camera(&[]));
        let error = fitting(only.clone(), &masked(PictureLook::default()), &camera).unwrap_err().to_string();
        assert!(error.contains("/dev/video0") && error.contains("mask"), "{error}");
        let half = turned(Rotation::Half);
        let text = PictureLook { overlay: Overlay::new("%H:%M").unwrap(), ..half.clone() };
        assert_eq!(fitting(only, &text, &camera).unwrap().len(), 1, "but a text is");
        let said = |look: &PictureLook, here| Styling::new(look, Some(&camera), here).left_out;
        assert!(said(&text, false).is_some_and(|words| words.contains("H.264")));
        assert_eq!((said(&text, true), said(&half, false)), (None, None));
        assert_eq!(
            fitting(Vec::new(), &masked(PictureLook::default()), &camera).unwrap(),
            [],
            "no mode at all is told elsewhere"
        );
    }
}
