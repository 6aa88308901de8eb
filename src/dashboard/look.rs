//! How the picture looks, for dashboards: what they may ask of it, what `state` tells, and Home Assistant's entities. Pure.

use serde_json::{Value, json};

use crate::base::text::shown;
use crate::media::look::area::Area;
use crate::media::look::overlay::{MAX_CHARS, Overlay};
use crate::media::look::turn::Rotation;
use crate::media::look::{crop_from, masks_from};
use crate::media::{CameraState, MediaStatus};

/// One thing that somebody wants otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookChange {
    /// `set/rotate`
    Rotate(Rotation),
    /// `set/mirror`
    Mirror(bool),
    /// `set/crop`, of the picture as it is seen; `None` for all of it.
    Crop(Option<Area>),
    /// `set/mask`, the same; all masks that there are to be.
    Masks(Vec<Area>),
    /// `set/overlay`
    Overlay(Option<Overlay>),
}

/// Reads `set/<setting>`; `None` where that is about something else.
pub fn change(setting: &str, value: &str) -> Option<Result<LookChange, String>> {
    let allowed = Rotation::ALLOWED;
    Some(match setting {
        "rotate" => {
            let rotation = value.parse::<u16>().ok().and_then(|degrees| Rotation::try_from(degrees).ok());
            rotation
                .map(LookChange::Rotate)
                .ok_or_else(|| format!("\"{}\" is no rotation; set/rotate takes {allowed}", shown(value)))
        }
        "mirror" => match value {
            "ON" => Ok(LookChange::Mirror(true)),
            "OFF" => Ok(LookChange::Mirror(false)),
            other => Err(format!("\"{}\" is neither ON nor OFF, which set/mirror takes", shown(other))),
        },
        "crop" => json_of(setting, value).and_then(|value| crop_from(&value)).map(LookChange::Crop),
        "mask" => json_of(setting, value).and_then(|value| masks_from(&value)).map(LookChange::Masks),
        "overlay" => Overlay::new(value)
            .map(LookChange::Overlay)
            .map_err(|error| format!("set/overlay cannot take this: {error}")),
        _ => return None,
    })
}

/// What a payload that is too long to be read is told, beside its length.
pub fn longest(setting: &str) -> Option<String> {
    (setting == "overlay").then(|| format!("set/overlay takes one line of at most {MAX_CHARS} characters"))
}

fn json_of(setting: &str, value: &str) -> Result<Value, String> {
    serde_json::from_str(value).map_err(|_| {
        format!(
            "\"{}\" is no JSON; set/{setting} takes [x, y, width, height] as fractions of the picture, or []",
            shown(value)
        )
    })
}

/// `state.picture`: rectangles as they are seen.
pub fn document(media: &MediaStatus) -> Value {
    let look = &media.look;
    let turn = look.turn();
    let masks: Vec<Area> = look.masks.iter().map(|mask| turn.to_seen(*mask)).collect();
    json!({
        "rotate": turn.rotation,
        "mirror": turn.mirror,
        "crop": look.crop.map(|crop| turn.to_seen(crop)),
        "mask": masks,
        "overlay": look.overlay.as_ref().map_or("", Overlay::text),
        "scene": look.scene,
        "problem": media.look_problem,
        "viewer_turn": viewer_turn(media),
    })
}

/// What whoever shows the stream has to do with it: `null` where it is upright, as a placeholder always is.
fn viewer_turn(media: &MediaStatus) -> Option<Value> {
    let turn = media.viewers_turn;
    let is_left = media.state == CameraState::Live && !turn.is_identity();
    is_left.then(|| json!({ "rotate": turn.rotation, "mirror": turn.mirror }))
}

/// An entity of Home Assistant.
pub struct Entity {
    /// Its platform.
    pub platform: &'static str,
    /// Its key, which is also the setting that it writes.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// Its icon.
    pub icon: &'static str,
    /// What it shows, of `state`.
    pub template: &'static str,
    /// The fields of its platform.
    pub fields: Value,
}

/// Crop and masks have none: Home Assistant knows no rectangles.
pub fn entities(scenes: &[String]) -> Vec<Entity> {
    let mut entities = vec![
        Entity {
            platform: "select",
            key: "rotate",
            name: "Rotation",
            icon: "mdi:rotate-right",
            template: "value_json.picture.rotate",
            fields: json!({ "options": Rotation::ALL.map(|rotation| rotation.degrees().to_string()) }),
        },
        Entity {
            platform: "switch",
            key: "mirror",
            name: "Mirror",
            icon: "mdi:flip-horizontal",
            template: "'ON' if value_json.picture.mirror else 'OFF'",
            fields: json!({}),
        },
        Entity {
            platform: "text",
            key: "overlay",
            name: "Text in the picture",
            icon: "mdi:format-text",
            template: "value_json.picture.overlay",
            fields: json!({ "max": MAX_CHARS }),
        },
    ];
    if !scenes.is_empty() {
        entities.push(Entity {
            platform: "select",
            key: "scene",
            name: "Scene",
            icon: "mdi:theme-light-dark",
            template: "value_json.picture.scene",
            fields: json!({ "options": scenes }),
        });
    }
    entities
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::media::PictureLook;
    use crate::media::look::turn::Turn;

    fn asked(setting: &str, value: &str) -> Result<LookChange, String> {
        change(setting, value).unwrap()
    }

    #[test]
    fn each_setting_is_read() {
        assert_eq!(asked("rotate", "270"), Ok(LookChange::Rotate(Rotation::ThreeQuarters)));
        assert_eq!(asked("mirror", "ON"), Ok(LookChange::Mirror(true)));
        assert_eq!(asked("crop", "[]"), Ok(LookChange::Crop(None)));
        let half = Area::try_from([0.0, 0.0, 0.5, 0.5]).unwrap();
        assert_eq!(asked("crop", "[0,0,0.5,0.5]"), Ok(LookChange::Crop(Some(half))));
        assert_eq!(asked("mask", "[[0,0,0.5,0.5]]"), Ok(LookChange::Masks(vec![half])));
        assert_eq!(asked("mask", "[]"), Ok(LookChange::Masks(Vec::new())));
        assert_eq!(asked("overlay", ""), Ok(LookChange::Overlay(None)));
        assert!(matches!(asked("overlay", "%H:%M {name}"), Ok(LookChange::Overlay(Some(_)))));
        assert!(change("hue", "7").is_none() && change("masks", "[]").is_none());
    }

    #[test]
    fn what_is_wrong_names_the_setting_and_what_is_right() {
        let long = "x".repeat(4000);
        for (setting, value, right) in [
            ("rotate", "45", "set/rotate takes 0, 90, 180 or 270"),
            ("rotate", "-90", "0, 90, 180 or 270"),
            ("rotate", "", "0, 90, 180 or 270"),
            ("mirror", "true", "ON nor OFF"),
            ("crop", "half", "set/crop takes [x, y, width, height]"),
            ("crop", "[0,0,0.5]", "[x, y, width, height]"),
            ("mask", "[0.5,0.5,0.8,0.1]", "at most 1"),
            ("mask", "{\"x\":1}", "[x, y, width, height]"),
            ("mask", "[1e999,0,1,1]", "set/mask takes"),
            ("overlay", &long, "at most 100"),
            ("overlay", "%Q", "strftime"),
        ] {
            let error = asked(setting, value).unwrap_err();
            assert!(
                error.contains(right) && error.len() < 400 && !error.contains('\n'),
                "{setting}: {error}"
            );
        }
        assert!(longest("overlay").is_some() && longest("bitrate").is_none());
    }

    #[test]
    fn state_tells_rectangles_as_they_are_seen() {
        let seen = Area::try_from([0.1, 0.2, 0.3, 0.4]).unwrap();
        let mut look =
            PictureLook { rotation: Some(Rotation::Quarter), mirror: Some(true), ..PictureLook::default() };
        look.masks = vec![look.turn().to_camera(seen)];
        look.crop = Some(look.turn().to_camera(seen));
        look.overlay = Overlay::new("{name}").unwrap();
        let media = MediaStatus { look: Arc::new(look), ..MediaStatus::sample(CameraState::Live) };
        let told = document(&media);
        assert_eq!((&told["rotate"], &told["mirror"]), (&json!(90), &json!(true)));
        assert_eq!(
            (&told["crop"], &told["mask"]),
            (&json!([0.1, 0.2, 0.3, 0.4]), &json!([[0.1, 0.2, 0.3, 0.4]]))
        );
        assert_eq!((&told["overlay"], &told["scene"]), (&json!("{name}"), &Value::Null));
        let nothing = document(&MediaStatus::sample(CameraState::Live));
        assert_eq!(
            (&nothing["crop"], &nothing["mask"], &nothing["overlay"]),
            (&Value::Null, &json!([]), &json!(""))
        );
    }

    #[test]
    fn state_tells_what_is_left_to_viewers_while_the_camera_is_seen() {
        let viewers_turn = Turn { rotation: Rotation::Quarter, mirror: true };
        let told = |state| document(&MediaStatus { viewers_turn, ..MediaStatus::sample(state) });
        assert_eq!(told(CameraState::Live)["viewer_turn"], json!({ "rotate": 90, "mirror": true }));
        for state in CameraState::ALL.into_iter().filter(|state| *state != CameraState::Live) {
            assert_eq!(told(state)["viewer_turn"], Value::Null, "a placeholder is upright: {state}");
        }
        assert_eq!(document(&MediaStatus::sample(CameraState::Live))["viewer_turn"], Value::Null);
    }

    #[test]
    fn a_scene_can_be_chosen_where_there_are_any() {
        let keys = |scenes: &[String]| entities(scenes).iter().map(|entity| entity.key).collect::<Vec<_>>();
        assert_eq!(keys(&[]), ["rotate", "mirror", "overlay"]);
        assert_eq!(keys(&["night".to_owned()]), ["rotate", "mirror", "overlay", "scene"]);
    }
}
