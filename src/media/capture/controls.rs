//! Reading and setting what can be adjusted on a camera (V4L2 controls).

use std::path::Path;

use v4l::Device;
use v4l::control::{Control, Value};

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::control::{ControlInfo, ControlType, control_value, list};
use crate::media::capture::driver::{guarded, shown};
use crate::media::error::MediaError;

/// All controls of the device at `path`, opened for a moment; that does not disturb who streams from it.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<ControlInfo>> {
    Ok(list(&Device::with_path(path)?))
}

/// The control of this name.
pub(crate) fn find<'a>(camera: &'a CameraInfo, name: &str) -> Result<&'a ControlInfo, MediaError> {
    camera.controls.iter().find(|control| control.name == name).ok_or_else(|| MediaError::Control {
        control: name.to_owned(),
        reason: format!("{} has no such control", camera.card),
    })
}

/// Sets a control of `camera` by name; works while it streams. Blocks on the driver, so not for
/// an async worker. Returns the value that was set.
pub fn set_control(camera: &CameraInfo, name: &str, text: &str) -> Result<i64, MediaError> {
    let refuse = |reason: String| MediaError::Control { control: name.to_owned(), reason };
    let control = find(camera, name)?;
    let number = control_value(control, text)?;
    let value = match control.kind {
        ControlType::Bool => Value::Boolean(number != 0),
        _ => Value::Integer(number),
    };
    let path: &Path = &camera.path;
    guarded(|| Device::with_path(path)?.set_control(Control { id: control.id, value }))
        .map_err(|error| refuse(format!("{}: {error}", shown(path))))?;
    Ok(number)
}
