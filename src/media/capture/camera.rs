//! Which cameras there are and what they can do: a thin edge over `v4l`, which only enumerates.
//!
//! Drivers are outside: `v4l` 0.14 panics on some of what they may answer (a menu with step 0, a
//! control type newer than itself, a name that is not UTF-8), so every call into it is guarded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use v4l::capability::Flags;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::{Device, FourCC};

use crate::media::capture::choice::DeviceChoice;
use crate::media::capture::control::{self, ControlInfo};
use crate::media::capture::driver::{guarded, shown};
use crate::media::capture::mode::{CameraMode, Rate, handling};
use crate::media::error::MediaError;

/// Where the kernel puts device nodes.
const DEV: &str = "/dev";
/// Drivers whose capture nodes are not cameras: image processors and codecs of the Raspberry Pi, and its receiver
/// of CSI data, which lists formats that no sensor behind it has.
const NOT_CAMERAS: [&str; 6] =
    ["bcm2835-isp", "bcm2835-codec", "bcm2835-codec-decode", "pispbe", "rpivid", "rp1-cfe"];
/// `V4L2_CID_PRIVACY`: while it is set the camera takes no picture, though it may deliver black ones.
pub const PRIVACY_CONTROL: u32 = 0x009a_0910;
/// Sizes picked out of a driver's "any size from … to …".
const COMMON_SIZES: [(u32, u32); 9] = [
    (320, 240),
    (640, 360),
    (640, 480),
    (800, 600),
    (1024, 768),
    (1280, 720),
    (1280, 960),
    (1920, 1080),
    (2592, 1944),
];
/// Rates picked out of a driver's "any rate from … to …".
const COMMON_RATES_FPS: [u32; 10] = [5, 10, 15, 20, 24, 25, 30, 50, 60, 90];

/// How a camera is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureApi {
    /// A device node of the kernel.
    V4l2,
    /// The library that makes pictures of what a bare sensor delivers.
    Libcamera,
}

/// One camera as its driver describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraInfo {
    /// How it is reached.
    #[serde(skip)]
    pub api: CaptureApi,
    /// The device node, e.g. `/dev/video0`, which changes when cameras are plugged differently; or libcamera's name.
    pub path: PathBuf,
    /// The stable link that names the camera itself, if udev made one.
    pub by_id: Option<PathBuf>,
    /// The stable link that names the socket it is plugged into, if udev made one.
    pub by_path: Option<PathBuf>,
    /// The camera's name.
    pub card: String,
    /// The kernel driver's name.
    pub driver: String,
    /// Where it is attached, in the kernel's words.
    pub bus_info: String,
    /// What it can deliver.
    pub modes: Vec<CameraMode>,
    /// What can be adjusted.
    pub controls: Vec<ControlInfo>,
}

impl CameraInfo {
    /// Whether its own privacy switch is on, a shutter or a button; `None` where it has none.
    pub fn is_shuttered(&self) -> Option<bool> {
        let switch = self.controls.iter().find(|control| control.id == PRIVACY_CONTROL)?;
        Some(switch.value == Some(1))
    }

    /// Whether it is reached through libcamera.
    pub(crate) fn is_libcamera(&self) -> bool {
        self.api == CaptureApi::Libcamera
    }

    /// The `camera.device` that means this camera for as long as possible.
    pub fn lasting_choice(&self) -> DeviceChoice {
        if self.is_libcamera() {
            return DeviceChoice::Libcamera(Some(self.bus_info.clone()));
        }
        DeviceChoice::Path(self.by_id.as_ref().or(self.by_path.as_ref()).unwrap_or(&self.path).clone())
    }

    /// Whether any of its formats can be used.
    pub fn is_usable(&self) -> bool {
        self.modes.iter().any(|mode| handling(&mode.format).is_some())
    }

    /// Whether it has a control of this name.
    pub(crate) fn has_control(&self, name: &str) -> bool {
        self.controls.iter().any(|control| control.name == name && !control.read_only)
    }
}

/// All cameras of V4L2, sorted by node number. Metadata nodes, codecs and nodes that do not answer are
/// left out. Opens each node for a moment, without streaming.
pub fn cameras() -> Result<Vec<CameraInfo>, MediaError> {
    let nodes = video_nodes()?;
    Ok(nodes.iter().filter_map(|node| inspect(node, None).ok()).collect())
}

/// `/dev/video0`, `/dev/video1`, … as there are, in the order of their numbers.
pub fn video_nodes() -> Result<Vec<PathBuf>, MediaError> {
    let entries = fs::read_dir(DEV)
        .map_err(|error| MediaError::System { what: "listing /dev", reason: error.to_string() })?;
    let number = |entry: io::Result<fs::DirEntry>| {
        entry.ok()?.file_name().to_str()?.strip_prefix("video")?.parse::<u32>().ok()
    };
    let mut numbers: Vec<u32> = entries.filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(|number| PathBuf::from(format!("{DEV}/video{number}"))).collect())
}

/// Asks one node what it is. `size` is added to the sizes tried where the driver takes any.
pub fn inspect(path: &Path, size: Option<(u32, u32)>) -> Result<CameraInfo, MediaError> {
    let unusable = |reason: String| MediaError::NotACamera { device: shown(path), reason };
    let device = Device::with_path(path).map_err(|error| refused(path, &error))?;
    let caps = guarded(|| device.query_caps()).map_err(|error| unusable(error.to_string()))?;
    // `v4l` gives `device_caps`: what this very node can, not the whole device.
    // An output besides is no reason to refuse: v4l2loopback has both.
    let m2m = Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE;
    if !caps.capabilities.contains(Flags::VIDEO_CAPTURE) || caps.capabilities.intersects(m2m) {
        return Err(unusable("it is not a capture node (metadata or codec)".into()));
    }
    if NOT_CAMERAS.contains(&caps.driver.as_str()) {
        return Err(unusable(format!("{} is an image processor of the board", caps.driver)));
    }
    let modes = modes(&device, size);
    if modes.is_empty() {
        return Err(unusable("it lists no picture formats".into()));
    }
    let node = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Ok(CameraInfo {
        api: CaptureApi::V4l2,
        by_id: link_to(&node, "/dev/v4l/by-id"),
        by_path: link_to(&node, "/dev/v4l/by-path"),
        path: node,
        card: caps.card,
        driver: caps.driver,
        bus_info: caps.bus,
        modes,
        controls: control::list(&device),
    })
}

fn refused(path: &Path, error: &io::Error) -> MediaError {
    let device = shown(path);
    match error.kind() {
        io::ErrorKind::NotFound => MediaError::DeviceMissing { device },
        io::ErrorKind::PermissionDenied => MediaError::DeviceDenied { device },
        io::ErrorKind::ResourceBusy => MediaError::DeviceBusy { device },
        _ if error.raw_os_error() == Some(6) || error.raw_os_error() == Some(19) => {
            // ENXIO, ENODEV: the node is still there but its device is going.
            MediaError::DeviceMissing { device }
        }
        _ => MediaError::NotACamera { device, reason: error.to_string() },
    }
}

fn link_to(node: &Path, folder: &str) -> Option<PathBuf> {
    let mut links: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|link| fs::canonicalize(link).is_ok_and(|target| target == node))
        .collect();
    links.sort();
    links.into_iter().next()
}

fn modes(device: &Device, wanted_size: Option<(u32, u32)>) -> Vec<CameraMode> {
    let formats = guarded(|| device.enum_formats()).unwrap_or_default();
    let mut modes: Vec<CameraMode> = Vec::new();
    for format in formats {
        let Ok(name) = format.fourcc.str() else { continue };
        if modes.iter().any(|mode| mode.format == name) {
            continue;
        }
        for (width, height) in sizes(device, format.fourcc, wanted_size) {
            let rates = rates(device, format.fourcc, width, height);
            modes.push(CameraMode { format: name.to_owned(), width, height, rates });
        }
    }
    modes
}

fn sizes(device: &Device, fourcc: FourCC, wanted: Option<(u32, u32)>) -> Vec<(u32, u32)> {
    let listed = guarded(|| device.enum_framesizes(fourcc)).unwrap_or_default();
    if listed.is_empty() {
        // Some drivers list no sizes at all: the current one is then the only one known.
        let current = guarded(|| device.format());
        return current.map(|format| (format.width, format.height)).into_iter().collect();
    }
    let mut sizes = Vec::new();
    for size in listed {
        match size.size {
            FrameSizeEnum::Discrete(size) => sizes.push((size.width, size.height)),
            FrameSizeEnum::Stepwise(range) => {
                let width = Steps::new(range.min_width, range.max_width, range.step_width);
                let height = Steps::new(range.min_height, range.max_height, range.step_height);
                sizes.extend(sizes_within(width, height, wanted));
            }
        }
    }
    sizes.dedup();
    sizes
}

/// A range of numbers with a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    min: u32,
    max: u32,
    step: u32,
}

impl Steps {
    /// A step of 0 means "any".
    pub(super) fn new(min: u32, max: u32, step: u32) -> Self {
        Self { min, max, step: step.max(1) }
    }

    fn has(self, value: u32) -> bool {
        (self.min..=self.max).contains(&value) && (value - self.min).is_multiple_of(self.step)
    }
}

pub(super) fn sizes_within(width: Steps, height: Steps, wanted: Option<(u32, u32)>) -> Vec<(u32, u32)> {
    let mut sizes: Vec<(u32, u32)> = COMMON_SIZES
        .into_iter()
        .chain(wanted)
        .filter(|size| width.has(size.0) && height.has(size.1))
        .collect();
    if sizes.is_empty() {
        sizes.push((width.max, height.max));
    }
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn rates(device: &Device, fourcc: FourCC, width: u32, height: u32) -> Vec<Rate> {
    let listed = guarded(|| device.enum_frameintervals(fourcc, width, height)).unwrap_or_default();
    let mut rates = Vec::new();
    for interval in listed {
        match interval.interval {
            FrameIntervalEnum::Discrete(interval) => {
                rates.extend(rate_of(interval.numerator, interval.denominator));
            }
            FrameIntervalEnum::Stepwise(range) => {
                let fastest = rate_of(range.min.numerator, range.min.denominator);
                let slowest = rate_of(range.max.numerator, range.max.denominator);
                rates.extend(rates_within(slowest, fastest));
            }
        }
    }
    rates.dedup();
    rates
}

/// The rate of an interval of `seconds / parts`. Nonsense (a zero) is left out.
fn rate_of(seconds: u32, parts: u32) -> Option<Rate> {
    (seconds > 0 && parts > 0).then_some(Rate { num: parts, den: seconds })
}

fn rates_within(slowest: Option<Rate>, fastest: Option<Rate>) -> Vec<Rate> {
    let low = slowest.map_or(0.0, Rate::fps);
    let Some(fastest) = fastest else { return Vec::new() };
    let within = |fps: &u32| (low..=fastest.fps()).contains(&f64::from(*fps));
    let mut rates: Vec<Rate> = COMMON_RATES_FPS.into_iter().filter(within).map(Rate::whole).collect();
    if rates.is_empty() {
        rates.push(fastest);
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_size_and_any_rate_are_reduced_to_common_ones() {
        let (width, height) = (Steps::new(32, 1920, 2), Steps::new(32, 1080, 0));
        let sizes = sizes_within(width, height, Some((1296, 730)));
        assert!(sizes.contains(&(1280, 720)) && sizes.contains(&(1296, 730)));
        assert!(!sizes.contains(&(2592, 1944)));
        let tiny = Steps::new(10, 20, 1);
        assert_eq!(sizes_within(tiny, tiny, None), [(20, 20)]);
        let rates = rates_within(rate_of(1, 1), rate_of(1, 30));
        assert_eq!(rates.last(), Some(&Rate::whole(30)));
        assert_eq!(rates_within(rate_of(1, 2), rate_of(1, 3)), [Rate::whole(3)]);
        assert_eq!(rates_within(None, rate_of(0, 30)), []);
    }

    #[test]
    fn something_that_is_no_camera_is_refused_in_words() {
        let missing = inspect(Path::new("/dev/video-that-is-not-there"), None).unwrap_err();
        assert!(matches!(missing, MediaError::DeviceMissing { .. }), "{missing}");
        let null = inspect(Path::new("/dev/null"), None).unwrap_err();
        assert!(matches!(null, MediaError::NotACamera { .. }), "{null}");
    }

    #[test]
    fn listing_cameras_works_where_there_are_none() {
        assert!(cameras().is_ok());
    }
}
