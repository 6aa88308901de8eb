//! The JSON of `info` (protocol.md, "info"). Pure.

use serde_json::{Value, json};

use crate::media::{CameraInfo, ControlInfo, MediaStatus};
use crate::signaling::message::VERSION;

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The device id.
    pub id: String,
    /// The name for people.
    pub name: String,
    /// The board.
    pub model: String,
    /// First level of all topics.
    pub root: String,
    /// The key that signs its answers.
    pub key: String,
    /// Who may watch: `open` or `grants`.
    pub access: &'static str,
    /// The scenes that can be chosen.
    pub scenes: Vec<String>,
    /// Whether it is configured to hear.
    pub has_microphone: bool,
    /// Whether it is configured to be talked to.
    pub has_speaker: bool,
    /// Where WHEP players find the camera; `None` where nothing is served over HTTP.
    pub whep: Option<String>,
}

/// The `info` document.
pub fn info(device: &DeviceInfo, media: &MediaStatus) -> Value {
    let camera = media.camera.as_deref();
    json!({
        "v": VERSION,
        "device": device.id,
        "name": device.name,
        "version": env!("CARGO_PKG_VERSION"),
        "model": device.model,
        "key": device.key,
        "camera": camera.map_or_else(|| stand_in(media), camera_document),
        "controls": camera.map_or_else(Vec::new, |camera| camera.controls.iter().map(control_document).collect()),
        "codecs": [format!("video/H264;profile-level-id={};packetization-mode=1", media.profile)],
        "audio": device.has_microphone,
        "access": device.access,
        "features": features(device),
        "scenes": device.scenes,
        "whep": device.whep,
        "root": device.root,
    })
}

fn features(device: &DeviceInfo) -> Vec<&'static str> {
    let mut features = vec![
        "trickle", "rtx", "ice-full", "privacy", "warm", "snapshot", "settings", "channel", "rotate",
        "mirror", "crop", "mask", "overlay",
    ];
    if !device.scenes.is_empty() {
        features.push("scene");
    }
    if device.has_microphone {
        features.push("audio");
    }
    if device.has_speaker {
        features.push("talk");
    }
    features
}

fn camera_document(camera: &CameraInfo) -> Value {
    json!({ "card": camera.card, "driver": camera.driver, "modes": camera.modes })
}

/// The test picture has no name and no driver, but sizes to choose from.
fn stand_in(media: &MediaStatus) -> Value {
    let modes = media.modes();
    if modes.is_empty() {
        return Value::Null;
    }
    json!({ "card": "Test picture", "driver": "porthole", "modes": modes })
}

/// What a control is; what it is set to is in `state`.
fn control_document(control: &ControlInfo) -> Value {
    let mut document = json!(control);
    if let Some(fields) = document.as_object_mut() {
        fields.remove("value");
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::CameraState;

    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> =
            value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn info_has_every_field_of_the_contract() {
        let device = DeviceInfo {
            id: "cam".into(),
            name: "Cam".into(),
            model: "board".into(),
            root: "porthole".into(),
            key: "k".into(),
            access: "grants",
            scenes: vec!["night".into()],
            has_microphone: true,
            has_speaker: false,
            whep: None,
        };
        let info = info(&device, &MediaStatus::sample(CameraState::Idle));
        assert_eq!(
            keys(&info).join(" "),
            "access audio camera codecs controls device features key model name root scenes v version whep"
        );
        assert_eq!(
            (&info["device"], &info["key"], &info["access"]),
            (&json!("cam"), &json!("k"), &json!("grants"))
        );
        let has = |info: &Value, feature: &str| {
            info["features"].as_array().is_some_and(|all| all.contains(&json!(feature)))
        };
        assert_eq!((&info["audio"], has(&info, "audio"), has(&info, "talk")), (&json!(true), true, false));
        let deaf = DeviceInfo { has_microphone: false, has_speaker: true, ..device };
        let told = super::info(&deaf, &MediaStatus::sample(CameraState::Idle));
        assert_eq!((&told["audio"], has(&told, "audio"), has(&told, "talk")), (&json!(false), false, true));
        assert_eq!(info["scenes"], json!(["night"]));
        assert!(info["features"].as_array().is_some_and(|all| all.contains(&json!("scene"))));
        assert_eq!(info["codecs"][0], "video/H264;profile-level-id=42e01f;packetization-mode=1");
    }
}
