//! What a pipeline complains about, in words for the person who has to act on it.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::media::error::MediaError;
use crate::media::pipeline::event::{EventReporter, PipelineEvent};

/// Passes errors on from whatever thread they occur on; everything else is of no interest.
pub fn listen(
    pipeline: &gst::Pipeline,
    device: String,
    encoder: Option<gst::Element>,
    report: EventReporter,
) {
    let Some(bus) = pipeline.bus() else { return };
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                let by_encoder = encoder
                    .as_ref()
                    .is_some_and(|encoder| message.src() == Some(encoder.upcast_ref::<gst::Object>()));
                let error = explain(&device, &error.error(), error.debug().as_deref());
                report(PipelineEvent::Failed { error, by_encoder });
            }
            gst::MessageView::Eos(_) => {
                let error =
                    MediaError::Pipeline { device: device.clone(), reason: "the stream ended".into() };
                report(PipelineEvent::Failed { error, by_encoder: false });
            }
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
}

/// GStreamer's error in words that say what to do.
pub fn explain(device: &str, error: &glib::Error, debug: Option<&str>) -> MediaError {
    let debug = debug.unwrap_or_default();
    let device = device.to_owned();
    if error.matches(gst::ResourceError::Busy) || debug.contains("Device or resource busy") {
        return MediaError::DeviceBusy { device };
    }
    if debug.contains("Permission denied") {
        return MediaError::DeviceDenied { device };
    }
    if error.matches(gst::ResourceError::NotFound) || debug.contains("No such file") {
        return MediaError::DeviceMissing { device };
    }
    // The last line of the debug text is the cause ("reason not-negotiated (-4)").
    let cause = debug.lines().last().map(str::trim).filter(|cause| !cause.is_empty());
    let reason = cause.map_or_else(
        || error.message().to_owned(),
        |cause| format!("{} ({cause})", error.message().trim_end_matches('.')),
    );
    MediaError::Pipeline { device, reason }
}
