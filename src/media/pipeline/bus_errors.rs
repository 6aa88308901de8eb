//! What a pipeline complains about, in words for the person who has to act on it.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::media::elements::start_refusal;
use crate::media::encode::encoder::EncoderSpec;
use crate::media::error::MediaError;
use crate::media::pipeline::event::{EventReporter, PipelineEvent};

/// Passes errors on from whatever thread they occur on; everything else is of no interest.
pub fn listen(
    pipeline: &gst::Pipeline,
    device: String,
    encoder: Option<(&'static EncoderSpec, gst::Element)>,
    report: EventReporter,
) {
    let Some(bus) = pipeline.bus() else { return };
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                let is_source =
                    |element: &gst::Element| message.src() == Some(element.upcast_ref::<gst::Object>());
                let by = encoder.as_ref().filter(|(_, element)| is_source(element));
                let (words, debug) = (error.error(), error.debug());
                let error = match by {
                    // It has a device of its own, which may be busy while the camera is not.
                    Some((spec, _)) => {
                        let reason = reason(words.message(), debug.as_deref().unwrap_or_default());
                        MediaError::Encoder { encoder: spec.name, reason }
                    }
                    None => explain(&device, &words, debug.as_deref()),
                };
                report(PipelineEvent::Failed { error, by_encoder: by.is_some() });
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
    if error.matches(gst::ResourceError::OpenReadWrite) || error.matches(gst::ResourceError::OpenRead) {
        return MediaError::DeviceFails { device, reason: reason(error.message(), debug) };
    }
    let words = start_refusal(debug).map_or_else(|| reason(error.message(), debug), ToOwned::to_owned);
    MediaError::Pipeline { device, reason: words }
}

/// What GStreamer says, with the last line of the debug text, which is the cause ("reason not-negotiated (-4)").
fn reason(message: &str, debug: &str) -> String {
    let cause = debug.lines().last().map(str::trim).filter(|cause| !cause.is_empty());
    cause.map_or_else(|| message.to_owned(), |cause| format!("{} ({cause})", message.trim_end_matches('.')))
}
