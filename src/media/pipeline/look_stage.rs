//! Gives the camera's picture its look, between decoding and encoding: masks first, then what is shown of it, how it is turned,
//! and the text last. All of it can change while it runs, but for a turn that lets width and height change places.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::VideoFrameExt;

use crate::media::elements::{as_i32, make, set};
use crate::media::error::MediaError;
use crate::media::look::PictureLook;
use crate::media::look::area::Area;
use crate::media::look::canvas::Layout;
use crate::media::look::lettering::Lettering;
use crate::media::look::overlay::{Corner, Overlay};
use crate::media::look::turn::Turn;
use crate::media::pipeline::event::{EventReporter, PipelineEvent};
use crate::media::plan::planner::Plan;

/// Luma of letters.
const INK: u8 = 235;
/// How much darker it is behind them.
const SHADE: u8 = 4;
/// The middle of a chroma component: no colour.
const GREY: u8 = 128;

/// The elements and what they are told.
pub struct LookStage {
    crop: gst::Element,
    size: gst::Element,
    flip: gst::Element,
    /// The camera's picture in pixels.
    captured: (u32, u32),
    /// Whether the camera turns its picture by itself.
    is_turned_by_camera: bool,
    turn: Mutex<Turn>,
    masks: Arc<Mutex<Vec<Area>>>,
    text: Arc<Mutex<Writing>>,
}

/// The text, and how it was drawn last.
#[derive(Default)]
struct Writing {
    overlay: Option<Overlay>,
    corner: Corner,
    name: String,
    drawn: Option<(String, (u32, u32), Lettering)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LookStage {
    /// Not linked yet; looks as `plan` says. Told by `report` should a mask not be drawn: then no picture passes.
    pub fn new(plan: &Plan, report: EventReporter) -> Result<Self, MediaError> {
        let stage = Self {
            crop: make("videocrop", "gstreamer1.0-plugins-good")?,
            size: make("capsfilter", "libgstreamer1.0-0")?,
            flip: make("videoflip", "gstreamer1.0-plugins-good")?,
            captured: plan.captured_size(),
            is_turned_by_camera: plan.styling.is_turned_by_camera,
            turn: Mutex::new(plan.styling.pipeline_turn()),
            masks: Arc::default(),
            text: Arc::default(),
        };
        set(&stage.flip, "video-direction", lock(&stage.turn).direction());
        stage.mask(report)?;
        stage.write()?;
        stage.apply(&plan.styling.look);
        Ok(stage)
    }

    /// In the order they are linked.
    pub fn elements(&self) -> Result<[gst::Element; 4], MediaError> {
        let scale = make("videoscale", "gstreamer1.0-plugins-base")?;
        set(&scale, "add-borders", "false");
        Ok([self.crop.clone(), scale, self.size.clone(), self.flip.clone()])
    }

    /// Looks so from the next picture on. A turn that changes the size is left to the next start.
    pub fn apply(&self, look: &PictureLook) {
        // Masks are drawn into what the camera delivers, which it may have turned.
        let camera_turn = if self.is_turned_by_camera { look.turn() } else { Turn::default() };
        *lock(&self.masks) = look.masks.iter().map(|mask| camera_turn.to_seen(*mask)).collect();
        {
            let mut text = lock(&self.text);
            text.overlay.clone_from(&look.overlay);
            text.name.clone_from(&look.name);
            text.corner = look.corner;
        }
        self.show(look.crop.map(|crop| camera_turn.to_seen(crop)));
        let turn = look.turn();
        let is_other = {
            let mut now = lock(&self.turn);
            let fits = turn.rotation.swaps_sides() == now.rotation.swaps_sides() && !self.is_turned_by_camera;
            let is_other = fits && *now != turn;
            if is_other {
                *now = turn;
            }
            is_other
        };
        if is_other {
            set(&self.flip, "video-direction", turn.direction());
        }
    }

    /// Cuts out what is shown; it is scaled to the size that all of it has.
    fn show(&self, crop: Option<Area>) {
        let (width, height) = self.captured;
        let mut caps =
            gst::Caps::builder("video/x-raw").field("width", as_i32(width)).field("height", as_i32(height));
        let edges = match crop.map(|crop| crop.in_shape().even(self.captured)) {
            Some(part) => {
                // Rounded to even pixels its shape is another one by a hair: nobody is to be told of that.
                caps = caps.field("pixel-aspect-ratio", self.pixel_shape());
                [part.x, width - part.x - part.w, part.y, height - part.y - part.h]
            }
            None => [0; 4],
        };
        self.size.set_property("caps", caps.build());
        for (edge, pixels) in ["left", "right", "top", "bottom"].into_iter().zip(edges) {
            self.crop.set_property(edge, as_i32(pixels));
        }
    }

    /// How wide the camera's pixels are for their height; before the first picture they count as square.
    fn pixel_shape(&self) -> gst::Fraction {
        let caps = self.crop.static_pad("sink").and_then(|pad| pad.current_caps());
        let shape = caps.and_then(|caps| caps.structure(0)?.get::<gst::Fraction>("pixel-aspect-ratio").ok());
        shape.unwrap_or_else(|| gst::Fraction::new(1, 1))
    }

    /// Makes black what is masked, in every picture before anything else sees it.
    fn mask(&self, report: EventReporter) -> Result<(), MediaError> {
        let (masks, is_told) = (Arc::clone(&self.masks), AtomicBool::new(false));
        on_each_picture(&self.crop, "sink", move |pad, buffer| {
            let masks = lock(&masks).clone();
            if masks.is_empty() {
                return gst::PadProbeReturn::Ok;
            }
            let info = format_of(pad);
            if blacken(buffer, info.as_ref(), &masks) == Some(true) {
                return gst::PadProbeReturn::Ok;
            }
            if !is_told.swap(true, Ordering::Relaxed) {
                let format = info.map_or_else(|| "unknown".to_owned(), |info| info.format().to_string());
                let reason = format!("pictures of the format {format} cannot be drawn into");
                report(PipelineEvent::Failed { error: MediaError::Mask { reason }, by_encoder: false });
            }
            // Rather no picture than one without its masks.
            gst::PadProbeReturn::Handled
        })
    }

    /// Puts the text into every picture, last.
    fn write(&self) -> Result<(), MediaError> {
        let text = Arc::clone(&self.text);
        on_each_picture(&self.flip, "src", move |pad, buffer| {
            let mut writing = lock(&text);
            if writing.overlay.is_some()
                && let Some(info) = format_of(pad)
            {
                // A picture without its text is better than none.
                let _ = letter(buffer, &info, &mut writing);
            }
            gst::PadProbeReturn::Ok
        })
    }
}

/// Has `draw` see each buffer that passes this pad of `element`.
fn on_each_picture(
    element: &gst::Element,
    pad: &str,
    draw: impl Fn(&gst::Pad, &mut gst::Buffer) -> gst::PadProbeReturn + Send + Sync + 'static,
) -> Result<(), MediaError> {
    let no_pad = MediaError::System { what: "drawing into the picture", reason: "no pad".into() };
    let pad = element.static_pad(pad).ok_or(no_pad)?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| match &mut info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => draw(pad, buffer),
        _ => gst::PadProbeReturn::Ok,
    });
    Ok(())
}

/// What the pictures that pass are made of.
fn format_of(pad: &gst::Pad) -> Option<gst_video::VideoInfo> {
    let caps = pad.current_caps()?;
    gst_video::VideoInfo::from_caps(&caps).ok()
}

/// Draws the masks. Anything but `Some(true)`: they are not, or not all of them, in the picture.
fn blacken(buffer: &mut gst::Buffer, info: Option<&gst_video::VideoInfo>, masks: &[Area]) -> Option<bool> {
    let info = info?;
    let black = if info.colorimetry().range() == gst_video::VideoColorRange::Range0_255 { 0 } else { 16 };
    let values = if info.is_yuv() { [black, GREY, GREY] } else { [black; 3] };
    each_component(buffer, info, |component, layout, plane| {
        masks
            .iter()
            .all(|mask| layout.fill(plane, mask.covering((info.width(), info.height())), values[component]))
    })
}

/// Draws the text.
fn letter(buffer: &mut gst::Buffer, info: &gst_video::VideoInfo, writing: &mut Writing) -> Option<bool> {
    let overlay = writing.overlay.as_ref()?;
    let (text, size) = (overlay.expanded(&writing.name, local_time), (info.width(), info.height()));
    let is_drawn = writing.drawn.as_ref().is_some_and(|(old, of, _)| *old == text && *of == size);
    if !is_drawn {
        let lettering = Lettering::new(&text, writing.corner, size);
        writing.drawn = Some((text, size, lettering));
    }
    let (_, _, lettering) = writing.drawn.as_ref()?;
    each_component(buffer, info, |component, layout, plane| {
        if component > 0 && info.is_yuv() {
            return layout.letter(plane, lettering, |_| GREY, None);
        }
        layout.letter(plane, lettering, |sample| sample / SHADE, Some(INK))
    })
}

/// Has `draw` see the samples of each component of the picture, but for transparency. `None` where they are not bytes.
fn each_component(
    buffer: &mut gst::Buffer,
    info: &gst_video::VideoInfo,
    draw: impl Fn(usize, &Layout, &mut [u8]) -> bool,
) -> Option<bool> {
    let format = info.format_info();
    let is_plain = !format.is_complex() && !format.is_tiled() && !format.has_palette();
    let components = info.n_components().min(3);
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), info).ok()?;
    for component in 0..u8::try_from(components).ok()? {
        if !is_plain || info.comp_depth(component) != 8 {
            return None;
        }
        let (plane, at) = (frame.comp_plane(component.into()), usize::from(component));
        let positive = |value: i32| usize::try_from(value).ok();
        let layout = Layout {
            offset: usize::try_from(frame.comp_poffset(component.into())).ok()?,
            step: positive(frame.comp_pstride(component.into()))?,
            stride: positive(frame.comp_stride(component.into()))?,
            halved_x: *format.w_sub().get(at)?,
            halved_y: *format.h_sub().get(at)?,
            columns: frame.comp_width(component.into()),
            rows: frame.comp_height(component.into()),
        };
        if !draw(at, &layout, frame.plane_data_mut(plane).ok()?) {
            return Some(false);
        }
    }
    Some(components > 0)
}

/// The time now, here, as strftime would have it.
fn local_time(text: &str) -> String {
    let now = glib::DateTime::now_local().and_then(|now| now.format(text));
    now.map_or_else(|_| text.to_owned(), Into::into)
}

#[cfg(test)]
#[path = "look_stage_tests.rs"]
mod tests;
