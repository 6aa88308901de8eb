//! The stage alone, on pictures of four quarters of different brightness.

use std::sync::mpsc;

use gstreamer_app::{AppSink, AppSrc};

use super::*;
use crate::media::capture::choice::DeviceChoice;
use crate::media::look::turn::Rotation;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::planner::Planner;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;
/// Luma of the quarters: upper left, upper right, lower left, lower right.
const QUARTERS: [u8; 4] = [60, 100, 140, 180];

fn plan(look: PictureLook) -> Plan {
    gst::init().unwrap();
    let config = MediaConfig {
        device: DeviceChoice::Test,
        width: Some(WIDTH),
        height: Some(HEIGHT),
        look,
        ..MediaConfig::default()
    };
    Planner::new(config).plan(true).unwrap()
}

/// A stage between a source and a sink.
struct Bench {
    pipeline: gst::Pipeline,
    source: AppSrc,
    sink: AppSink,
    stage: LookStage,
    said: mpsc::Receiver<PipelineEvent>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A picture as it came out: its size, and its luma.
struct Seen {
    size: (u32, u32),
    luma: Vec<u8>,
}

impl Seen {
    /// The middle of each quarter.
    fn quarters(&self) -> [u8; 4] {
        let (width, height) = self.size;
        let at = |x: u32, y: u32| self.luma[((y * height / 4) * width + x * width / 4) as usize];
        [at(1, 1), at(3, 1), at(1, 3), at(3, 3)]
    }

    /// Samples of this value in the rows from this percentage of the height to that one.
    fn count(&self, value: u8, (from, to): (u32, u32)) -> usize {
        let (width, height) = self.size;
        let row = |percent: u32| (height * percent / 100 * width) as usize;
        self.luma[row(from)..row(to)].iter().map(|luma| usize::from(*luma == value)).sum()
    }
}

impl Bench {
    fn new(look: PictureLook, format: &str) -> Self {
        let plan = plan(look);
        let (sender, said) = mpsc::channel();
        let stage = LookStage::new(&plan, Arc::new(move |event| drop(sender.send(event)))).unwrap();
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", format)
            .field("width", as_i32(WIDTH))
            .field("height", as_i32(HEIGHT))
            .field("framerate", gst::Fraction::new(30, 1))
            .build();
        let source = AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
        let sink = AppSink::builder().sync(false).build();
        let pipeline = gst::Pipeline::new();
        let mut chain: Vec<gst::Element> = vec![source.clone().upcast()];
        chain.extend(stage.elements().unwrap());
        chain.push(sink.clone().upcast());
        pipeline.add_many(&chain).unwrap();
        gst::Element::link_many(&chain).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, source, sink, stage, said }
    }

    fn push(&self) {
        let info = gst_video::VideoInfo::from_caps(&self.source.caps().unwrap()).unwrap();
        let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
        each_component(&mut buffer, &info, |component, layout, plane| {
            let (w, h) = (WIDTH / 2, HEIGHT / 2);
            [(0, 0), (w, 0), (0, h), (w, h)].into_iter().zip(QUARTERS).all(|((x, y), luma)| {
                let value = if component > 0 && info.is_yuv() { GREY + 20 } else { luma };
                layout.fill(plane, crate::media::look::area::PixelArea { x, y, w, h }, value)
            })
        });
        self.source.push_buffer(buffer).unwrap();
    }

    fn see(&self) -> Seen {
        self.push();
        let sample = self.sink.pull_sample().unwrap();
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let frame =
            gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer().unwrap(), &info).unwrap();
        let positive = |value: i32| usize::try_from(value).unwrap();
        let (plane, step) = (frame.comp_plane(0), positive(frame.comp_pstride(0)));
        let (offset, stride) = (frame.comp_poffset(0) as usize, positive(frame.comp_stride(0)));
        let data = frame.plane_data(plane).unwrap();
        let size = (info.width(), info.height());
        let luma = (0..size.1 as usize)
            .flat_map(|y| (0..size.0 as usize).map(move |x| offset + y * stride + x * step))
            .map(|at| data[at])
            .collect();
        Seen { size, luma }
    }
}

fn turned(rotation: Rotation, mirror: bool) -> PictureLook {
    PictureLook { rotation: Some(rotation), mirror: Some(mirror), ..PictureLook::default() }
}

fn area(numbers: [f64; 4]) -> Area {
    Area::try_from(numbers).unwrap()
}

#[test]
fn the_picture_is_turned_as_it_is_wanted() {
    let [a, b, c, d] = QUARTERS;
    for (rotation, mirror, expected) in [
        (Rotation::None, false, [a, b, c, d]),
        (Rotation::Quarter, false, [c, a, d, b]),
        (Rotation::Half, false, [d, c, b, a]),
        (Rotation::ThreeQuarters, false, [b, d, a, c]),
        (Rotation::None, true, [b, a, d, c]),
        (Rotation::Quarter, true, [a, c, b, d]),
        (Rotation::Half, true, [c, d, a, b]),
        (Rotation::ThreeQuarters, true, [d, b, c, a]),
    ] {
        let seen = Bench::new(turned(rotation, mirror), "I420").see();
        assert_eq!(seen.quarters(), expected, "{rotation:?} {mirror}");
        assert_eq!(seen.size == (HEIGHT, WIDTH), rotation.swaps_sides(), "{rotation:?}");
    }
}

#[test]
fn it_changes_while_it_runs_and_keeps_its_size() {
    let [a, b, c, d] = QUARTERS;
    let bench = Bench::new(PictureLook::default(), "I420");
    assert_eq!(bench.see().quarters(), QUARTERS);
    bench.stage.apply(&turned(Rotation::Half, false));
    assert_eq!(bench.see().quarters(), [d, c, b, a]);
    bench.stage.apply(&turned(Rotation::None, true));
    assert_eq!(bench.see().quarters(), [b, a, d, c]);
    let corner = PictureLook { crop: Some(area([0.0, 0.0, 0.5, 0.5])), ..PictureLook::default() };
    bench.stage.apply(&corner);
    let seen = bench.see();
    assert_eq!((seen.quarters(), seen.size), ([a; 4], (WIDTH, HEIGHT)), "one quarter fills the picture");
    bench.stage.apply(&turned(Rotation::Quarter, false));
    let seen = bench.see();
    assert_eq!((seen.quarters(), seen.size), (QUARTERS, (WIDTH, HEIGHT)), "that takes another start");
}

#[test]
fn masks_are_black_in_every_format_and_nothing_else_is() {
    let mask = area([0.5, 0.0, 0.5, 0.5]);
    for format in ["I420", "YV12", "NV12", "NV21", "YUY2", "UYVY", "BGR", "BGRx", "RGB", "GRAY8"] {
        let bench = Bench::new(PictureLook { masks: vec![mask], ..PictureLook::default() }, format);
        let seen = bench.see();
        let [a, b, c, d] = seen.quarters();
        assert!(b <= 16, "{format}: {b}");
        assert_eq!([a, c, d], [QUARTERS[0], QUARTERS[2], QUARTERS[3]], "{format}");
        let black = seen.luma.iter().filter(|luma| **luma <= 16).count();
        assert_eq!(black, (WIDTH * HEIGHT / 4) as usize, "{format}");
        bench.stage.apply(&PictureLook::default());
        assert_eq!(bench.see().quarters(), QUARTERS, "{format}: taken away");
    }
}

#[test]
fn a_mask_stays_on_what_it_covers() {
    let mask = area([0.5, 0.0, 0.5, 0.5]);
    let bench = Bench::new(PictureLook { masks: vec![mask], ..PictureLook::default() }, "I420");
    bench.stage.apply(&PictureLook { masks: vec![mask], ..turned(Rotation::Half, false) });
    let [a, _, c, d] = QUARTERS;
    let seen = bench.see().quarters();
    assert_eq!([seen[0], seen[1], seen[3]], [d, c, a]);
    assert!(seen[2] <= 16, "{seen:?}");
    let zoomed = PictureLook { masks: vec![mask], crop: Some(mask), ..PictureLook::default() };
    bench.stage.apply(&zoomed);
    let seen = bench.see();
    assert!(seen.luma.iter().all(|luma| *luma <= 16), "only what is masked is shown");
}

#[test]
fn what_cannot_be_masked_is_not_shown() {
    let bench = Bench::new(PictureLook { masks: vec![Area::ALL], ..PictureLook::default() }, "I420");
    // Ten bits for each sample.
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "Y42B")
        .field("width", as_i32(WIDTH))
        .field("height", as_i32(HEIGHT))
        .field("framerate", gst::Fraction::new(30, 1));
    let odd = gst_video::VideoInfo::builder(gst_video::VideoFormat::I42010le, WIDTH, HEIGHT).build().unwrap();
    let mut buffer = gst::Buffer::with_size(odd.size()).unwrap();
    assert_eq!(blacken(&mut buffer, Some(&odd), &[Area::ALL]), None);
    assert_eq!(blacken(&mut buffer, None, &[Area::ALL]), None);
    // A buffer that is shorter than its format says.
    bench.source.set_caps(Some(&caps.build()));
    bench.source.push_buffer(gst::Buffer::with_size(100).unwrap()).unwrap();
    let PipelineEvent::Failed { error, by_encoder } =
        bench.said.recv_timeout(std::time::Duration::from_secs(30)).unwrap()
    else {
        panic!("another event");
    };
    assert!(!by_encoder && error.to_string().contains("mask"), "{error}");
    assert!(bench.sink.try_pull_sample(gst::ClockTime::from_mseconds(50)).is_none());
}

#[test]
fn the_text_stands_upright_in_its_corner_however_the_picture_is_turned() {
    let text = Overlay::new("%Y  {name}").unwrap();
    for rotation in Rotation::ALL {
        let look = PictureLook {
            overlay: text.clone(),
            name: "Garden".into(),
            corner: Corner::BottomRight,
            ..turned(rotation, true)
        };
        let bench = Bench::new(look.clone(), "NV12");
        let seen = bench.see();
        let bright = seen.count(INK, (90, 100));
        assert!(bright > 300, "{rotation:?}: {bright} bright pixels");
        assert_eq!(seen.count(INK, (0, 90)), 0, "{rotation:?}");
        bench.stage.apply(&PictureLook { overlay: None, ..look });
        let seen = bench.see();
        assert!(seen.luma.iter().all(|luma| *luma < INK), "{rotation:?}: taken away");
    }
}
