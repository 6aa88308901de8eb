//! Which camera the configuration means, over both ways to a camera: V4L2 first, then libcamera.

use std::fs;
use std::path::{Path, PathBuf};

use crate::media::capture::camera;
use crate::media::capture::camera::CameraInfo;
use crate::media::capture::choice::DeviceChoice;
use crate::media::capture::driver::shown;
use crate::media::capture::libcamera;
use crate::media::error::MediaError;

/// Every camera of this machine once: those of V4L2, then what only libcamera can drive. Opens each for a moment,
/// without streaming.
pub fn cameras() -> Result<Vec<CameraInfo>, MediaError> {
    let mut cameras = camera::cameras()?;
    if libcamera::is_installed() {
        let more = libcamera::cameras(None)?;
        cameras.extend(more.into_iter().filter(|camera| !libcamera::is_usb(&camera.bus_info)));
    }
    Ok(cameras)
}

/// The camera that `choice` means; `None` means the test picture. `size` (pixels) is tried where any is taken.
pub fn find(choice: &DeviceChoice, size: Option<(u32, u32)>) -> Result<Option<CameraInfo>, MediaError> {
    match choice {
        DeviceChoice::Test => Ok(None),
        DeviceChoice::Path(path) => inspect_link(path, size).map(Some),
        DeviceChoice::Libcamera(name) => libcamera_named(name.as_deref(), size).map(Some),
        DeviceChoice::AutoOrTest => Ok(first(size).ok()),
        DeviceChoice::Auto => first(size).map(Some),
    }
}

/// Whether `camera` is still where `choice` means it. What libcamera drives has no node of its own: that it is
/// gone shows when it is used.
pub fn is_there(choice: &DeviceChoice, camera: &CameraInfo) -> bool {
    match choice {
        _ if camera.is_libcamera() => true,
        DeviceChoice::Path(path) => fs::canonicalize(path).is_ok_and(|node| node == camera.path),
        _ => camera.path.exists(),
    }
}

fn first(size: Option<(u32, u32)>) -> Result<CameraInfo, MediaError> {
    let (mut refusal, mut sensor) = (None, None);
    for node in camera::video_nodes()? {
        match camera::inspect(&node, size) {
            Ok(info) if info.is_usable() => return Ok(info),
            // A node that may not be opened or is going away says more than "none found".
            Err(
                error @ (MediaError::DeviceDenied { .. }
                | MediaError::DeviceBusy { .. }
                | MediaError::DeviceFails { .. }),
            ) => {
                refusal.get_or_insert(error);
            }
            Ok(info) => {
                sensor.get_or_insert(info);
            }
            Err(_) => {}
        }
    }
    if libcamera::is_installed() {
        let found = libcamera::cameras(size)?.into_iter().find(CameraInfo::is_usable);
        return found.ok_or_else(|| refusal.unwrap_or(MediaError::NoCamera));
    }
    let bare = |sensor: CameraInfo| MediaError::BareSensor { device: shown(&sensor.path) };
    Err(refusal.or(sensor.map(bare)).unwrap_or(MediaError::NoCamera))
}

fn libcamera_named(name: Option<&str>, size: Option<(u32, u32)>) -> Result<CameraInfo, MediaError> {
    let all = libcamera::cameras(size)?;
    let names = all.iter().map(|camera| camera.bus_info.as_str()).collect::<Vec<_>>().join(", ");
    let wanted = |camera: &CameraInfo| {
        name.is_none_or(|name| camera.bus_info.contains(name) || camera.card.contains(name))
    };
    all.iter().find(|camera| camera.is_usable() && wanted(camera)).cloned().ok_or_else(|| match name {
        Some(name) if !names.is_empty() => MediaError::NotACamera {
            device: format!("libcamera:{name}"),
            reason: format!("libcamera knows only {names}"),
        },
        _ => MediaError::DeviceMissing { device: "libcamera".into() },
    })
}

fn inspect_link(path: &Path, size: Option<(u32, u32)>) -> Result<CameraInfo, MediaError> {
    let missing = |_| MediaError::DeviceMissing { device: shown(path) };
    let node: PathBuf = fs::canonicalize(path).map_err(missing)?;
    camera::inspect(&node, size)
}
