//! `[camera.scene.NAME]`

use std::collections::BTreeMap;

use super::value::{Checked, Text, problem};

/// Values for the camera's controls, by their names, as a dashboard would write them.
pub type Scene = BTreeMap<String, String>;

/// Scenes that there may be.
const MAX_SCENES: usize = 16;
/// Controls in one.
const MAX_CONTROLS: usize = 64;
/// The longest name of a scene or a control, and the longest value, in characters.
const MAX_CHARS: usize = 64;

pub(super) type RawScenes = BTreeMap<String, BTreeMap<String, Text>>;

pub(super) fn checked(raw: &RawScenes) -> Checked<BTreeMap<String, Scene>> {
    if raw.len() > MAX_SCENES {
        return Err(problem("camera.scene", raw.len(), format!("write at most {MAX_SCENES} scenes")));
    }
    raw.iter().map(|(name, controls)| Ok((name.clone(), scene(name, controls)?))).collect()
}

fn scene(name: &str, controls: &BTreeMap<String, Text>) -> Checked<Scene> {
    // Home Assistant takes the word for "not known".
    if !is_word(name) || name == "none" {
        let expected = "name scenes by up to 64 of the characters a to z, 0 to 9, _ and -, as \"night\"";
        return Err(problem("camera.scene", name, expected));
    }
    let key = format!("camera.scene.{name}");
    if !(1..=MAX_CONTROLS).contains(&controls.len()) {
        return Err(problem(
            &key,
            controls.len(),
            format!("write 1 to {MAX_CONTROLS} controls of the camera"),
        ));
    }
    let mut scene = Scene::new();
    for (control, Text(value)) in controls {
        let key = format!("{key}.{control}");
        if !is_word(control) {
            return Err(problem(&key, value, "name a control as `porthole cameras` does, as \"exposure\""));
        }
        if value.is_empty() || value.chars().count() > MAX_CHARS {
            return Err(problem(&key, value, "write a number, true, false, or the text of a menu entry"));
        }
        let value = match value.as_str() {
            "true" => "ON",
            "false" => "OFF",
            other => other,
        };
        scene.insert(control.clone(), value.to_owned());
    }
    Ok(scene)
}

fn is_word(text: &str) -> bool {
    (1..=MAX_CHARS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(name: &str, controls: &[(&str, &str)]) -> RawScenes {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), Text((*value).to_owned()));
        BTreeMap::from([(name.to_owned(), controls.iter().map(text).collect())])
    }

    #[test]
    fn a_scene_has_values_as_dashboards_write_them() {
        let scenes =
            checked(&raw("night", &[("exposure", "500"), ("auto_gain", "true"), ("hz", "60 Hz")])).unwrap();
        let expected = [("auto_gain", "ON"), ("exposure", "500"), ("hz", "60 Hz")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(scenes["night"], Scene::from(expected));
    }

    #[test]
    fn what_is_no_scene_names_its_key() {
        let long = "x".repeat(65);
        for (name, controls, key) in [
            ("Night", &[("gain", "1")][..], "camera.scene"),
            ("", &[("gain", "1")], "camera.scene"),
            ("none", &[("gain", "1")], "camera.scene"),
            ("night", &[], "camera.scene.night"),
            ("night", &[("Gain", "1")], "camera.scene.night.Gain"),
            ("night", &[("gain", "")], "camera.scene.night.gain"),
            ("night", &[("gain", &long)], "camera.scene.night.gain"),
        ] {
            assert_eq!(checked(&raw(name, controls)).unwrap_err().key, key);
        }
    }
}
