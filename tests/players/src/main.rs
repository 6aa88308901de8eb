//! GStreamer's own `gst-launch-1.0` as far as tests need it, with `whepsrc` and `whepclientsrc` in it: plays the pipeline of its
//! arguments until `PICTURES` decoded pictures have reached the sinks, and ends it in order.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;

/// A guard against hanging.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match play() {
        Ok(pictures) => {
            println!("played {pictures} pictures");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<u64, Box<dyn std::error::Error>> {
    gst::init()?;
    gstrswebrtc::plugin_register_static()?;
    gstwebrtchttp::plugin_register_static()?;
    let wanted: u64 = std::env::var("PICTURES").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|one| !matches!(one.as_str(), "-e" | "-v")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let pipeline = gst::parse::launchv(&arguments)?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "a single element is no pipeline")?;
    let shown = Arc::new(AtomicU64::new(0));
    for sink in pipeline.iterate_sinks().into_iter().flatten() {
        let (Some(pad), counted) = (sink.static_pad("sink"), Arc::clone(&shown)) else { continue };
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
            // What is not decoded is no picture.
            let is_raw = pad
                .current_caps()
                .is_some_and(|caps| caps.structure(0).is_some_and(|one| one.name() == "video/x-raw"));
            counted.fetch_add(u64::from(is_raw), Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }
    let bus = pipeline.bus().ok_or("no bus")?;
    pipeline.set_state(gst::State::Playing)?;
    let (end, mut result) = (Instant::now() + LIMIT, Err("no picture in time".into()));
    while Instant::now() < end {
        if shown.load(Ordering::Relaxed) >= wanted {
            result = Ok(shown.load(Ordering::Relaxed));
            break;
        }
        let message = bus.timed_pop(gst::ClockTime::from_mseconds(20));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => {
                result = Err(format!("{}: {:?}", error.error(), error.debug()).into());
                break;
            }
            Some(gst::MessageView::Eos(_)) if shown.load(Ordering::Relaxed) < wanted => {
                result = Err("the stream ended".into());
                break;
            }
            _ => {}
        }
    }
    // Here the players send their DELETE.
    pipeline.set_state(gst::State::Null)?;
    result
}
