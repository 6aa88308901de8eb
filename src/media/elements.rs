//! Making and setting GStreamer's elements.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::error::MediaError;

/// Makes the element; a missing one is an error that names its package.
pub fn make(element: &str, package: &'static str) -> Result<gst::Element, MediaError> {
    gst::ElementFactory::make(element)
        .build()
        .map_err(|_| MediaError::MissingElement { element: element.to_owned(), package })
}

/// A capsfilter for `caps`.
pub fn filter(caps: gst::Caps) -> Result<gst::Element, MediaError> {
    let element = make("capsfilter", "libgstreamer1.0-0")?;
    element.set_property("caps", caps);
    Ok(element)
}

/// Sets a property if this version of the element has it: an unknown one would panic.
pub fn set(element: &gst::Element, property: &str, value: &str) {
    if element.has_property(property) {
        element.set_property_from_str(property, value);
    }
}

/// GStreamer counts in `i32`.
pub fn as_i32(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Sets V4L2 controls through a GStreamer element, at once if its device is open. Unknown ones are
/// skipped by the element. The property holds the last call's controls only, so that a key frame
/// asked for once is not asked for again with the next change of the bit rate.
pub fn set_v4l2_controls(element: &gst::Element, controls: &[(&str, i32)]) {
    if !element.has_property("extra-controls") {
        return;
    }
    let mut structure = gst::Structure::new_empty("controls");
    for (name, value) in controls {
        structure.set(*name, *value);
    }
    element.set_property("extra-controls", structure);
}

/// The encoder's bit rate in the unit of V4L2.
pub fn bits_per_s(bitrate_kbps: u32) -> i32 {
    as_i32(bitrate_kbps.saturating_mul(1000))
}

/// What is behind GStreamer's "Failed to allocate required memory" when a camera does not start to stream; its `debug` text is in
/// no other language.
pub fn start_refusal(debug: &str) -> Option<&'static str> {
    debug.contains("Buffer pool activation failed").then_some(
        "it does not start: its USB bus has no room left for this mode, which another port or a smaller size may have, or the \
         camera refuses it",
    )
}
