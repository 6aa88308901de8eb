//! How the camera's picture is to look: turned, cropped, with masks and with text in it. Pure, but for the lettering's font.
//!
//! Rectangles are fractions of the picture ([`Area`]), so they stay right at every resolution. People write them as they see the
//! whole picture, turned and not cropped; they are kept as the camera delivers it ([`Turn::to_camera`]), so a mask stays on what
//! it covers, however the picture is turned or cropped afterwards.

pub mod area;
pub mod canvas;
pub mod lettering;
pub mod overlay;
pub mod turn;

use serde_json::Value;

use area::Area;
use overlay::{Corner, Overlay};
use turn::{Rotation, Turn};

/// Masks that there may be.
pub const MAX_MASKS: usize = 16;

/// What is wanted of the picture, all in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PictureLook {
    /// How far it is turned; `None`: nobody said anything, so a camera's own setting is left alone.
    pub rotation: Option<Rotation>,
    /// Whether left and right change places, once it is turned; `None` as for `rotation`.
    pub mirror: Option<bool>,
    /// The part that is shown, as the camera delivers it; `None` for all of it.
    pub crop: Option<Area>,
    /// What is black, as the camera delivers it.
    pub masks: Vec<Area>,
    /// The text that stands in it.
    pub overlay: Option<Overlay>,
    /// Where it stands.
    pub corner: Corner,
    /// The device's name for people, which the text may hold.
    pub name: String,
    /// The set of camera controls that was chosen last; told, and acted on elsewhere.
    pub scene: Option<String>,
}

impl PictureLook {
    /// How the picture is turned.
    pub fn turn(&self) -> Turn {
        Turn { rotation: self.rotation.unwrap_or_default(), mirror: self.mirror.unwrap_or(false) }
    }

    /// Whether only a picture that is not encoded yet can look so, the turn left aside.
    pub fn needs_raw(&self) -> bool {
        !self.masks.is_empty() || self.crop.is_some() || self.overlay.is_some()
    }
}

/// The masks that somebody wrote, as he sees the picture: `[x, y, width, height]`, or a list of such.
pub fn masks_from(value: &Value) -> Result<Vec<Area>, String> {
    let wrong = || "write [x, y, width, height] as fractions of the picture, or a list of such; [] for none";
    let list = value.as_array().ok_or_else(wrong)?;
    if list.first().is_some_and(Value::is_number) {
        return Ok(vec![Area::from_json(value)?]);
    }
    if list.len() > MAX_MASKS {
        return Err(format!("there are {} masks; at most {MAX_MASKS} are drawn", list.len()));
    }
    list.iter().map(Area::from_json).collect()
}

/// The crop that somebody wrote, as he sees the picture; `None` for `[]`.
pub fn crop_from(value: &Value) -> Result<Option<Area>, String> {
    if value.as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let area = Area::from_json(value)?;
    if !area.is_worth_showing() {
        return Err(format!("{area} is too small to be shown; at least a twentieth of width and height is"));
    }
    Ok(Some(area))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn masks_are_one_rectangle_or_a_list() {
        let half = Area::new(0, 0, 500_000, 1_000_000).unwrap();
        assert_eq!(masks_from(&json!([0, 0, 0.5, 1])), Ok(vec![half]));
        assert_eq!(masks_from(&json!([[0, 0, 0.5, 1], [0, 0, 0.5, 1]])), Ok(vec![half, half]));
        assert_eq!(masks_from(&json!([])), Ok(vec![]));
        for wrong in [
            json!("all"),
            json!({}),
            json!(7),
            json!([[]]),
            json!([1]),
            json!([[0, 0, 1]]),
            json!([0, 0, 2, 1]),
            json!([[0.9, 0, 0.2, 1]]),
            json!(vec![json!([0, 0, 1, 1]); 17]),
        ] {
            let error = masks_from(&wrong).unwrap_err();
            assert!(error.len() > 20 && !error.contains('\n'), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_crop_is_a_part_that_can_be_seen_or_nothing() {
        assert_eq!(crop_from(&json!([])), Ok(None));
        assert_eq!(
            crop_from(&json!([0.25, 0.25, 0.5, 0.5])),
            Ok(Area::new(250_000, 250_000, 500_000, 500_000))
        );
        for wrong in [json!([0, 0, 0.001, 0.5]), json!([0, 0, 0, 0]), json!([0.5, 0.5, 0.6, 0.1]), json!("x")]
        {
            assert!(crop_from(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_wanted_needs_nothing() {
        assert!(!PictureLook::default().needs_raw() && PictureLook::default().turn().is_identity());
        let masked = PictureLook { masks: vec![Area::ALL], ..PictureLook::default() };
        assert!(masked.needs_raw());
    }
}
