//! `[camera]`

use serde::Deserialize;
use serde_json::Value;

use super::flavour::Flavour;
use super::scene::RawScenes;
use super::value::{Checked, Text, in_range, media_word, or_auto, problem};
use crate::base::text::shown;
use crate::media::look::area::Area;
use crate::media::look::overlay::{Corner, Overlay};
use crate::media::look::turn::Rotation;
use crate::media::look::{crop_from, masks_from};
use crate::media::{DeviceChoice, MediaConfig, PictureLook};

/// Pixels across that the test picture needs to carry its time.
const MIN_TEST_WIDTH: u32 = 640;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCamera {
    device: Option<Text>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<u32>,
    format: Option<Text>,
    rotate: Option<Text>,
    mirror: Option<bool>,
    crop: Option<Value>,
    mask: Option<Value>,
    overlay: Option<Text>,
    overlay_corner: Option<Text>,
    pub(super) scene: RawScenes,
}

/// What the section says of the capture side; the rest as it is when left out.
pub(super) fn checked(raw: &RawCamera, flavour: Flavour) -> Checked<MediaConfig> {
    let device = match &raw.device {
        Some(device) => media_word("camera.device", device)?,
        None if flavour == Flavour::Demo => DeviceChoice::AutoOrTest,
        None => DeviceChoice::Auto,
    };
    if raw.width.is_some() != raw.height.is_some() {
        let missing = if raw.width.is_some() { "camera.height" } else { "camera.width" };
        return Err(problem(missing, "(not set)", "width and height belong together"));
    }
    for (key, value) in [("camera.width", raw.width), ("camera.height", raw.height)] {
        if let Some(value) = value {
            in_range(key, value, MediaConfig::SIDE_PX)?;
            if value % 2 != 0 {
                return Err(problem(key, value, "write an even number (4:2:0 video has no half pixels)"));
            }
        }
    }
    if let Some(width) = raw.width.filter(|width| device == DeviceChoice::Test && *width < MIN_TEST_WIDTH) {
        let expected =
            format!("write at least {MIN_TEST_WIDTH}: the test picture carries its time in 640 pixels");
        return Err(problem("camera.width", width, expected));
    }
    if let Some(fps) = raw.fps {
        in_range("camera.fps", fps, MediaConfig::FPS)?;
    }
    Ok(MediaConfig {
        device,
        width: raw.width,
        height: raw.height,
        fps: raw.fps,
        format: media_word("camera.format", &or_auto(raw.format.as_ref()))?,
        look: look(raw)?,
        ..MediaConfig::default()
    })
}

/// How the picture is to look. Rectangles are written as the picture is seen.
fn look(raw: &RawCamera) -> Checked<PictureLook> {
    let rotation = raw.rotate.as_ref().map(rotation).transpose()?;
    let mut look = PictureLook { rotation, mirror: raw.mirror, ..PictureLook::default() };
    let turn = look.turn();
    let wrong = |key: &'static str, value: &Value| {
        let written = shown(&value.to_string());
        move |expected: String| problem(key, written, expected)
    };
    if let Some(value) = &raw.crop {
        look.crop = crop_from(value).map_err(wrong("camera.crop", value))?.map(|crop| turn.to_camera(crop));
    }
    if let Some(value) = &raw.mask {
        let masks = masks_from(value).map_err(wrong("camera.mask", value))?;
        look.masks = masks.into_iter().map(|mask: Area| turn.to_camera(mask)).collect();
    }
    if let Some(text) = &raw.overlay {
        look.overlay =
            Overlay::new(&text.0).map_err(|error| problem("camera.overlay", shown(&text.0), error))?;
    }
    if let Some(corner) = &raw.overlay_corner {
        look.corner = corner
            .0
            .parse::<Corner>()
            .map_err(|error| problem("camera.overlay_corner", shown(&corner.0), error))?;
    }
    Ok(look)
}

fn rotation(text: &Text) -> Checked<Rotation> {
    let rotation = text.0.parse::<u16>().ok().and_then(|degrees| Rotation::try_from(degrees).ok());
    let expected = || format!("write {}: degrees, clockwise", Rotation::ALLOWED);
    rotation.ok_or_else(|| problem("camera.rotate", shown(&text.0), expected()))
}
