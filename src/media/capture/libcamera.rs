//! Cameras that only libcamera can drive (CSI cameras of current boards), through its GStreamer plugin.
//!
//! Such a sensor delivers raw Bayer data to the kernel; libcamera knows how to make a picture of it. Its plugin
//! tells sizes, but no rates: those are asked for, and what comes is what counts.

use std::path::PathBuf;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::media::capture::camera::CameraInfo;
use crate::media::capture::camera::{CaptureApi, Steps, sizes_within};
use crate::media::capture::control::{ControlInfo, ControlType};
use crate::media::capture::mode::CameraMode;
use crate::media::elements::{make, set};
use crate::media::error::MediaError;

/// The plugin's element.
pub const ELEMENT: &str = "libcamerasrc";
/// The Debian package that has it.
pub const PACKAGE: &str = "gstreamer1.0-libcamera";
/// The plugin's list of cameras.
const PROVIDER: &str = "libcameraprovider";
/// What the plugin calls formats, with V4L2's names. Bayer data is not among them: it is libcamera's to use.
const FORMATS: [(&str, &str); 6] = [
    ("NV12", "NV12"),
    ("I420", "YU12"),
    ("NV21", "NV21"),
    ("YV12", "YV12"),
    ("YUY2", "YUYV"),
    ("UYVY", "UYVY"),
];

/// Whether the plugin is installed.
pub fn is_installed() -> bool {
    gst::init().is_ok() && gst::ElementFactory::find(ELEMENT).is_some()
}

/// All cameras that libcamera knows, USB cameras included. `size` is added to the sizes tried where any is taken.
pub fn cameras(size: Option<(u32, u32)>) -> Result<Vec<CameraInfo>, MediaError> {
    gst::init().map_err(|error| MediaError::System { what: "GStreamer", reason: error.to_string() })?;
    let missing = || MediaError::MissingElement { element: ELEMENT.into(), package: PACKAGE };
    let provider = gst::DeviceProviderFactory::by_name(PROVIDER).ok_or_else(missing)?;
    Ok(provider.devices().iter().map(|device| describe(device, size)).collect())
}

fn describe(device: &gst::Device, size: Option<(u32, u32)>) -> CameraInfo {
    let id = device.display_name().to_string();
    let model = device
        .properties()
        .and_then(|properties| properties.get::<String>("api.libcamera.Model").ok())
        .filter(|model| !model.is_empty());
    CameraInfo {
        api: CaptureApi::Libcamera,
        path: PathBuf::from(&id),
        by_id: None,
        by_path: None,
        card: model.unwrap_or_else(|| id.clone()),
        driver: "libcamera".into(),
        bus_info: id,
        modes: device.caps().map(|caps| modes(&caps, size)).unwrap_or_default(),
        controls: make(ELEMENT, PACKAGE).map(|element| controls(&element)).unwrap_or_default(),
    }
}

/// A USB camera, which V4L2 serves better: libcamera's name of it ends with its vendor's and product's number.
pub fn is_usb(id: &str) -> bool {
    let Some((_, numbers)) = id.rsplit_once('-') else { return false };
    let hexadecimal = |text: &str| text.len() == 4 && text.chars().all(|digit| digit.is_ascii_hexdigit());
    numbers.split_once(':').is_some_and(|(vendor, product)| hexadecimal(vendor) && hexadecimal(product))
}

fn modes(caps: &gst::CapsRef, wanted: Option<(u32, u32)>) -> Vec<CameraMode> {
    let mut modes: Vec<CameraMode> = Vec::new();
    for structure in caps.iter() {
        let Some(format) = format_of(structure) else { continue };
        for (width, height) in sizes(structure, wanted) {
            let mode = CameraMode { format: format.to_owned(), width, height, rates: Vec::new() };
            if !modes.contains(&mode) {
                modes.push(mode);
            }
        }
    }
    modes
}

fn format_of(structure: &gst::StructureRef) -> Option<&'static str> {
    match structure.name().as_str() {
        "image/jpeg" => Some("MJPG"),
        "video/x-raw" => {
            let name = structure.get::<&str>("format").ok()?;
            FORMATS.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
        }
        _ => None,
    }
}

fn sizes(structure: &gst::StructureRef, wanted: Option<(u32, u32)>) -> Vec<(u32, u32)> {
    match (steps(structure, "width"), steps(structure, "height")) {
        (Some(width), Some(height)) => sizes_within(width, height, wanted),
        _ => Vec::new(),
    }
}

/// One number, or any of a range.
fn steps(structure: &gst::StructureRef, field: &str) -> Option<Steps> {
    let natural = |value: i32| u32::try_from(value).ok();
    if let Ok(range) = structure.get::<gst::IntRange<i32>>(field) {
        return Some(Steps::new(natural(range.min())?, natural(range.max())?, natural(range.step())?));
    }
    let value = natural(structure.get::<i32>(field).ok()?)?;
    Some(Steps::new(value, value, 1))
}

/// What can be adjusted: the plugin's properties that may change while it runs, but for fractions.
fn controls(element: &gst::Element) -> Vec<ControlInfo> {
    let adjustable = gst::PARAM_FLAG_CONTROLLABLE;
    let own = element.type_();
    element
        .list_properties()
        .iter()
        .filter(|property| property.owner_type() == own && property.flags().contains(adjustable))
        .filter_map(|property| control(element, property))
        .collect()
}

fn control(element: &gst::Element, property: &glib::ParamSpec) -> Option<ControlInfo> {
    let readable = property.flags().contains(glib::ParamFlags::READABLE);
    let mut info = ControlInfo {
        id: 0,
        name: property.name().replace('-', "_"),
        kind: ControlType::Int,
        min: 0,
        max: 1,
        step: 1,
        default: 0,
        value: None,
        menu: std::collections::BTreeMap::new(),
        read_only: !property.flags().contains(glib::ParamFlags::WRITABLE),
        inactive: false,
    };
    if let Some(switch) = property.downcast_ref::<glib::ParamSpecBoolean>() {
        info.kind = ControlType::Bool;
        info.default = i64::from(switch.default_value());
        info.value = readable.then(|| i64::from(element.property::<bool>(property.name())));
    } else if let Some(number) = property.downcast_ref::<glib::ParamSpecInt>() {
        (info.min, info.max) = (i64::from(number.minimum()), i64::from(number.maximum()));
        info.default = i64::from(number.default_value());
        info.value = readable.then(|| i64::from(element.property::<i32>(property.name())));
    } else if let Some(menu) = property.downcast_ref::<glib::ParamSpecEnum>() {
        info.kind = ControlType::Menu;
        let entries = menu.enum_class();
        info.menu = entries
            .values()
            .iter()
            .map(|entry| (i64::from(entry.value()), entry.nick().to_owned()))
            .collect();
        (info.min, info.max) = (*info.menu.keys().next()?, *info.menu.keys().next_back()?);
        info.default = i64::from(menu.default_value_as_i32());
    } else {
        return None;
    }
    Some(info)
}

/// Sets a control on the running element, at once.
pub fn set_control(element: &gst::Element, control: &ControlInfo, value: i64) {
    let text = match control.kind {
        ControlType::Bool => (value != 0).to_string(),
        ControlType::Int | ControlType::Menu => value.to_string(),
    };
    set(element, &control.name.replace('_', "-"), &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usb_cameras_are_left_to_v4l2() {
        assert!(is_usb("/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1.2:1.0-046d:0825"));
        assert!(!is_usb("/base/soc/i2c0mux/i2c@1/imx219@10"));
        assert!(!is_usb("Virtual0"));
    }

    #[test]
    fn sizes_come_from_what_the_plugin_tells() {
        gst::init().unwrap();
        let ranged = gst::Caps::builder("video/x-raw")
            .field("format", "NV12")
            .field("width", gst::IntRange::with_step(32, 3280, 2))
            .field("height", gst::IntRange::with_step(32, 2464, 2))
            .build();
        let found = modes(&ranged, Some((1296, 730)));
        assert!(found.iter().any(|mode| (mode.width, mode.height) == (1296, 730)), "{found:?}");
        assert!(found.iter().all(|mode| mode.format == "NV12" && mode.rates.is_empty()));
        let one = gst::Caps::builder("video/x-raw")
            .field("format", "YUY2")
            .field("width", 640)
            .field("height", 480);
        let found = modes(&one.build(), None);
        assert_eq!(
            found.iter().map(|mode| (mode.format.as_str(), mode.width)).collect::<Vec<_>>(),
            [("YUYV", 640)]
        );
        let bayer = gst::Caps::builder("video/x-bayer").field("width", 640).field("height", 480).build();
        assert_eq!(modes(&bayer, None), []);
    }

    #[test]
    fn without_the_plugin_its_package_is_named() {
        if is_installed() {
            assert!(cameras(None).is_ok());
            return;
        }
        let error = cameras(None).unwrap_err().to_string();
        assert!(error.contains("gstreamer1.0-libcamera"), "{error}");
    }
}
