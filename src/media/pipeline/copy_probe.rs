//! A place in the running pipeline where one picture can be copied out when somebody wants it. Costs one look at a flag
//! for each picture otherwise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::error::MediaError;
use crate::media::look::turn::Turn;
use crate::media::pipeline::event::{EventReporter, PipelineEvent};
use crate::media::still::snapshot::CapturedPicture;

/// The probe on one pad.
pub struct CopyProbe {
    wanted: Arc<AtomicBool>,
    /// How whoever shows the pictures has to turn them.
    turn: Arc<Mutex<Turn>>,
}

impl CopyProbe {
    /// Watches what leaves `element`.
    pub fn on(element: Option<&gst::Element>, report: EventReporter) -> Result<Self, MediaError> {
        let pad = element.and_then(|element| element.static_pad("src"));
        let pad = pad.ok_or(MediaError::System { what: "tapping the pipeline", reason: "no pad".into() })?;
        let wanted = Arc::new(AtomicBool::new(false));
        let turn = Arc::new(Mutex::new(Turn::default()));
        let (armed, of_pictures) = (wanted.clone(), turn.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if armed.load(Ordering::Relaxed)
                && let Some(buffer) = info.buffer()
                && is_whole(buffer)
                && armed.swap(false, Ordering::Relaxed)
                && let Some(picture) =
                    copy(pad, buffer, *of_pictures.lock().unwrap_or_else(PoisonError::into_inner))
            {
                report(PipelineEvent::PictureCopied(picture));
            }
            gst::PadProbeReturn::Ok
        });
        Ok(Self { wanted, turn })
    }

    /// Pictures are to be turned so by whoever shows them.
    pub fn turn(&self, turn: Turn) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }

    /// The next picture that can stand alone is wanted.
    pub fn arm(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }
}

/// A picture that needs no other one to be decoded, and that the camera did not mark as damaged.
fn is_whole(buffer: &gst::BufferRef) -> bool {
    !buffer.flags().intersects(gst::BufferFlags::DELTA_UNIT | gst::BufferFlags::CORRUPTED)
}

/// A driver has only a few buffers, so its own must not be held while a JPEG is made.
fn copy(pad: &gst::Pad, buffer: &gst::BufferRef, turn: Turn) -> Option<CapturedPicture> {
    let caps = pad.current_caps()?;
    let buffer = buffer.copy_deep().ok()?;
    let sample = gst::Sample::builder().buffer(&buffer).caps(&caps).build();
    Some(CapturedPicture { sample, taken_at: SystemTime::now(), turn })
}
