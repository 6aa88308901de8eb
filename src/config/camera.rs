//! `[camera]`

use serde::Deserialize;

use super::flavour::Flavour;
use super::value::{Checked, Text, in_range, media_word, or_auto, problem};
use crate::media::{DeviceChoice, MediaConfig};

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
        ..MediaConfig::default()
    })
}
