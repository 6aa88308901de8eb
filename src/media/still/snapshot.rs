//! One still picture as JPEG: made from a picture that the running pipeline had anyway, beside it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};

use crate::base::tasks::panic_text;
use crate::media::elements::{as_i32, filter, make, set};
use crate::media::error::MediaError;
use crate::media::look::turn::Turn;

/// The narrowest picture that can be asked for, in pixels.
pub const MIN_WIDTH: u32 = 16;
/// The widest, whatever the camera delivers, in pixels.
pub const MAX_WIDTH: u32 = 8192;
/// The largest JPEG that is handed out, in bytes: brokers and dashboards refuse what is much larger.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Tried in this order until the picture is small enough, in percent of JPEG's scale.
const QUALITIES: [u32; 3] = [85, 65, 40];
/// How long decoding, scaling and encoding one picture may take; emulated boards are slow.
const ENCODE_TIMEOUT: Duration = Duration::from_secs(10);

/// A still picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// A complete JPEG file of at most [`MAX_BYTES`].
    pub jpeg: Bytes,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// When the picture was captured.
    pub taken_at: SystemTime,
}

/// A picture taken out of the pipeline: raw, JPEG or an H.264 key frame, as its caps say.
#[derive(Clone, Debug)]
pub struct CapturedPicture {
    /// A copy, so that the driver has its buffer back at once.
    pub sample: gst::Sample,
    /// When it was captured.
    pub taken_at: SystemTime,
    /// How it still has to be turned.
    pub turn: Turn,
}

/// Makes a JPEG of `picture`, `width` pixels wide or as wide as it is; never larger than it is. Blocks for as long as the
/// work takes.
pub fn encode(picture: &CapturedPicture, width: Option<u32>) -> Result<Snapshot, MediaError> {
    let mut smallest = None;
    for quality in QUALITIES {
        let snapshot = encode_with(picture, width, quality)?;
        if snapshot.jpeg.len() <= MAX_BYTES {
            return Ok(snapshot);
        }
        smallest = Some(snapshot.jpeg.len());
    }
    let bytes = smallest.unwrap_or_default();
    Err(failed(format!("it is still {bytes} bytes at the lowest quality; ask for a smaller width")))
}

/// Does `encode` on a thread of its own and tells `done` the outcome, also where that is a panic.
pub fn on_its_thread(
    encode: impl FnOnce() -> Result<Snapshot, MediaError> + Send + 'static,
    done: impl FnOnce(Result<Snapshot, MediaError>) + Send + 'static,
) -> Result<(), MediaError> {
    let work = move || {
        let outcome = catch_unwind(AssertUnwindSafe(encode)).unwrap_or_else(|panic| {
            let reason = panic_text(panic.as_ref());
            tracing::error!(reason, "the thread of a snapshot failed; the next one gets a new one");
            Err(failed(reason))
        });
        done(outcome);
    };
    let started = thread::Builder::new().name("snapshot".into()).spawn(work);
    let system = |error: std::io::Error| MediaError::System {
        what: "starting the thread of a snapshot",
        reason: error.to_string(),
    };
    started.map(drop).map_err(system)
}

fn failed(reason: impl Into<String>) -> MediaError {
    MediaError::Snapshot { reason: reason.into() }
}

/// Width and height in pixels: in proportion, even, and not above the source's.
fn size((width, height): (u32, u32), wanted: Option<u32>) -> (u32, u32) {
    let Some(wanted) = wanted.filter(|wanted| *wanted < width) else { return (width, height) };
    let scaled = u64::from(height) * u64::from(wanted) / u64::from(width.max(1));
    let even = |value: u32| (value & !1).max(2);
    (even(wanted.max(MIN_WIDTH)), even(u32::try_from(scaled).unwrap_or(height)))
}

fn encode_with(picture: &CapturedPicture, width: Option<u32>, quality: u32) -> Result<Snapshot, MediaError> {
    let caps = picture.sample.caps().ok_or_else(|| failed("the picture has no format"))?.to_owned();
    let structure = caps.structure(0).ok_or_else(|| failed("the picture has no format"))?;
    let dimension = |name| structure.get::<i32>(name).ok().and_then(|value| u32::try_from(value).ok());
    let (Some(from_width), Some(from_height)) = (dimension("width"), dimension("height")) else {
        return Err(failed("the picture has no size"));
    };
    let (to_width, to_height) = size(picture.turn.size((from_width, from_height)), width);
    let mut elements: Vec<gst::Element> = decoder(structure.name())?;
    elements.push(make("videoconvert", "gstreamer1.0-plugins-base")?);
    if !picture.turn.is_identity() {
        let flip = make("videoflip", "gstreamer1.0-plugins-good")?;
        set(&flip, "video-direction", picture.turn.direction());
        elements.push(flip);
    }
    elements.push(make("videoscale", "gstreamer1.0-plugins-base")?);
    let raw = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", as_i32(to_width))
        .field("height", as_i32(to_height))
        // Cameras' pixels need not be square; a JPEG says nothing of it.
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    elements.push(filter(raw.build())?);
    let encoder = make("jpegenc", "gstreamer1.0-plugins-good")?;
    set(&encoder, "quality", &quality.to_string());
    elements.push(encoder);
    let jpeg = run(&caps, &picture.sample, elements)?;
    Ok(Snapshot { jpeg, width: to_width, height: to_height, taken_at: picture.taken_at })
}

/// What turns the picture into a raw one.
fn decoder(media_type: &str) -> Result<Vec<gst::Element>, MediaError> {
    match media_type {
        "video/x-raw" => Ok(Vec::new()),
        "image/jpeg" => {
            let decoder = make("jpegdec", "gstreamer1.0-plugins-good")?;
            set(&decoder, "max-errors", "-1");
            Ok(vec![decoder])
        }
        "video/x-h264" => {
            // Both want whole pictures; which one is there depends on what is installed.
            let one = make("openh264dec", "gstreamer1.0-plugins-bad");
            Ok(vec![one.or_else(|missing| make("avdec_h264", "gstreamer1.0-libav").map_err(|_| missing))?])
        }
        other => Err(failed(format!("pictures of the kind {other} cannot be decoded"))),
    }
}

/// Sends one picture through a pipeline of its own and waits for what comes out.
fn run(caps: &gst::Caps, sample: &gst::Sample, elements: Vec<gst::Element>) -> Result<Bytes, MediaError> {
    let source = AppSrc::builder().caps(caps).format(gst::Format::Time).build();
    let sink = AppSink::builder().sync(false).build();
    let mut chain: Vec<gst::Element> = vec![source.clone().upcast()];
    chain.extend(elements);
    chain.push(sink.clone().upcast());
    let pipeline = gst::Pipeline::new();
    let words = |error: gst::glib::BoolError| failed(error.to_string());
    pipeline.add_many(&chain).map_err(words)?;
    gst::Element::link_many(&chain).map_err(words)?;
    let result = feed(&pipeline, &source, &sink, sample);
    let said = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::warn!(%error, "the pipeline of a snapshot did not stop cleanly");
    }
    result.ok_or_else(|| match said.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => failed(error.error().message()),
        _ => failed("no picture came out in time"),
    })
}

fn feed(pipeline: &gst::Pipeline, source: &AppSrc, sink: &AppSink, sample: &gst::Sample) -> Option<Bytes> {
    pipeline.set_state(gst::State::Playing).ok()?;
    let mut buffer = sample.buffer()?.copy();
    {
        let buffer = buffer.get_mut()?;
        buffer.set_pts(gst::ClockTime::ZERO);
        buffer.set_dts(gst::ClockTime::NONE);
        buffer.set_duration(gst::ClockTime::NONE);
    }
    source.push_buffer(buffer).ok()?;
    // A decoder that holds pictures back gives them when nothing more will come.
    source.end_of_stream().ok()?;
    let limit = gst::ClockTime::try_from(ENCODE_TIMEOUT).unwrap_or(gst::ClockTime::MAX);
    let jpeg = sink.try_pull_sample(limit)?;
    let map = jpeg.buffer()?.map_readable().ok()?;
    Some(Bytes::copy_from_slice(&map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::elements;
    use crate::media::encode::encoder;
    use crate::media::look::turn::Rotation;

    /// Pictures of GStreamer's test source, through `middle`.
    fn captured(middle: Vec<gst::Element>, width: i32) -> CapturedPicture {
        gst::init().unwrap();
        let source = elements::make("videotestsrc", "x").unwrap();
        source.set_property("num-buffers", 30_i32);
        let raw = gst::Caps::builder("video/x-raw").field("width", width).field("height", width / 2).build();
        let sink = AppSink::builder().sync(false).build();
        let mut chain = vec![source, elements::filter(raw).unwrap()];
        chain.extend(middle);
        chain.push(sink.clone().upcast());
        let pipeline = gst::Pipeline::new();
        pipeline.add_many(&chain).unwrap();
        gst::Element::link_many(&chain).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let sample = sink.pull_sample().unwrap();
        let sample = gst::Sample::builder()
            .caps(&sample.caps().unwrap().to_owned())
            .buffer(&sample.buffer().unwrap().copy_deep().unwrap())
            .build();
        pipeline.set_state(gst::State::Null).unwrap();
        CapturedPicture { sample, taken_at: SystemTime::UNIX_EPOCH, turn: Turn::default() }
    }

    #[test]
    fn a_panic_of_the_thread_is_an_outcome_too() {
        let (sender, outcome) = std::sync::mpsc::channel();
        let encode = || panic!("an encoder with a defect");
        on_its_thread(encode, move |result| sender.send(result).unwrap()).unwrap();
        let outcome = outcome.recv().expect("whoever waits is told");
        assert!(outcome.unwrap_err().to_string().contains("an encoder with a defect"));
    }

    fn assert_is_jpeg(snapshot: &Snapshot) {
        assert!(snapshot.jpeg.starts_with(&[0xff, 0xd8, 0xff]) && snapshot.jpeg.ends_with(&[0xff, 0xd9]));
    }

    #[test]
    fn raw_pictures_become_jpegs_of_the_wanted_width() {
        let picture = captured(Vec::new(), 640);
        let whole = encode(&picture, None).unwrap();
        assert_is_jpeg(&whole);
        assert_eq!((whole.width, whole.height), (640, 320));
        let small = encode(&picture, Some(160)).unwrap();
        assert_eq!((small.width, small.height), (160, 80));
        assert!(small.jpeg.len() < whole.jpeg.len());
        assert_eq!(encode(&picture, Some(5000)).unwrap().width, 640, "never larger than it is");
    }

    #[test]
    fn jpeg_and_h264_are_decoded_first() {
        gst::init().unwrap();
        let jpeg = captured(vec![elements::make("jpegenc", "x").unwrap()], 320);
        assert_is_jpeg(&encode(&jpeg, Some(160)).unwrap());
        let x264 = elements::make("x264enc", "x").unwrap();
        elements::set(&x264, "tune", "zerolatency");
        let mut chain = vec![elements::make("videoconvert", "x").unwrap(), x264];
        let baseline = gst::Caps::builder("video/x-h264").field("profile", "constrained-baseline").build();
        chain.push(elements::filter(baseline).unwrap());
        chain.extend(encoder::parse_chain().unwrap());
        let snapshot = encode(&captured(chain, 320), None).unwrap();
        assert_is_jpeg(&snapshot);
        assert_eq!((snapshot.width, snapshot.height), (320, 160));
    }

    #[test]
    fn what_was_left_to_viewers_is_turned_here() {
        let turn = Turn { rotation: Rotation::Quarter, mirror: false };
        let picture = CapturedPicture { turn, ..captured(Vec::new(), 640) };
        let whole = encode(&picture, None).unwrap();
        assert_is_jpeg(&whole);
        assert_eq!((whole.width, whole.height), (320, 640));
        assert_eq!(encode(&picture, Some(160)).unwrap().height, 320);
    }

    #[test]
    fn sizes_stay_in_proportion_even_and_within_the_source() {
        assert_eq!(size((1280, 720), Some(640)), (640, 360));
        assert_eq!(size((1280, 720), Some(333)), (332, 186));
        assert_eq!(size((1280, 720), Some(1)), (16, 2));
        assert_eq!(size((1280, 720), Some(4000)), (1280, 720));
        assert_eq!(size((640, 2), None), (640, 2));
    }

    #[test]
    fn what_is_no_picture_is_refused_in_words() {
        gst::init().unwrap();
        let caps = gst::Caps::builder("image/jpeg").field("width", 64).field("height", 64).build();
        let sample = gst::Sample::builder().caps(&caps).buffer(&gst::Buffer::from_slice([7; 64])).build();
        let picture = CapturedPicture { sample, taken_at: SystemTime::UNIX_EPOCH, turn: Turn::default() };
        assert!(matches!(encode(&picture, None), Err(MediaError::Snapshot { .. })));
    }
}
