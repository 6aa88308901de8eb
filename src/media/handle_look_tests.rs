//! What is masked is black wherever the picture goes.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};

use super::tests::{config, next, until};
use super::*;
use crate::media::look::area::Area;
use crate::media::status::CameraState;
use crate::stream::{AccessUnit, Orientation, Subscription, ViewerRendition, h264};

/// A picture in I420.
struct Decoded {
    size: (usize, usize),
    luma: Vec<u8>,
}

impl Decoded {
    /// What `decoder` makes of one picture.
    fn of(data: &[u8], caps: &str, decoder: &str) -> Self {
        let text = format!(
            "appsrc name=in caps=\"{caps}\" ! {decoder} ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("in").unwrap().downcast::<AppSrc>().unwrap();
        let sink = pipeline.by_name("out").unwrap().downcast::<AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        source.push_buffer(gst::Buffer::from_slice(data.to_vec())).unwrap();
        source.end_of_stream().unwrap();
        let sample = sink.pull_sample().unwrap();
        let info = gstreamer_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let map = sample.buffer().unwrap().map_readable().unwrap();
        let (width, height) = (info.width() as usize, info.height() as usize);
        let stride = usize::try_from(info.stride()[0]).unwrap();
        let luma = (0..height).flat_map(|y| map[y * stride..y * stride + width].to_vec()).collect();
        pipeline.set_state(gst::State::Null).unwrap();
        Self { size: (width, height), luma }
    }

    fn of_unit(unit: &AccessUnit) -> Self {
        Self::of(&unit.data, "video/x-h264,stream-format=byte-stream,alignment=au", "h264parse ! openh264dec")
    }

    /// The brightest sample of the left and of the right half, the seam left out.
    fn brightest(&self) -> (u8, u8) {
        let (width, _) = self.size;
        let most = |columns: std::ops::Range<usize>| {
            self.luma.chunks(width).flat_map(|row| row[columns.clone()].iter().copied()).max().unwrap_or(0)
        };
        (most(0..width / 2 - 16), most(width / 2 + 16..width))
    }
}

/// The next key frame of this size.
async fn key_frame(subscription: &mut Subscription, size: (u32, u32)) -> AccessUnit {
    loop {
        let unit = next(subscription).await;
        let found = h264::find_sps(&unit.data).map(|sps| (sps.width, sps.height));
        if unit.key_frame && found == Some(size) {
            return unit;
        }
    }
}

#[tokio::test]
async fn a_mask_is_black_in_both_renditions_and_in_snapshots() {
    let fanout = Fanout::default();
    let right = Area::try_from([0.5, 0.0, 0.5, 1.0]).unwrap();
    let masked = PictureLook { masks: vec![right], ..PictureLook::default() };
    let config = MediaConfig { tiers: 2, look: masked.clone(), ..config() };
    let media = Media::start(config, fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let place = Arc::new(ViewerRendition::default());
    let (mut full, mut moved) = (fanout.subscribe(), fanout.at(Arc::clone(&place)).subscribe());
    let _demand = fanout.demand();
    until(&mut status, |status| status.state == CameraState::Live).await;
    place.want(Rendition::Small);
    media.want_small_kbps(Some(150));
    let is_masked = |picture: &Decoded| {
        let (left, right) = picture.brightest();
        assert!(left > 150, "{left}");
        right < 32
    };
    let large = Decoded::of_unit(&key_frame(&mut full, (640, 360)).await);
    let small = Decoded::of_unit(&key_frame(&mut moved, (320, 180)).await);
    assert!(is_masked(&large) && is_masked(&small), "{:?} {:?}", large.brightest(), small.brightest());
    let jpeg = media.snapshot(None).await.unwrap().jpeg;
    assert!(is_masked(&Decoded::of(&jpeg, "image/jpeg", "jpegdec")));

    // Taken away, and put back while it runs.
    media.set_look(PictureLook::default()).await;
    fanout.request_key_frame();
    fanout.request_key_frame_of(Rendition::Small);
    while is_masked(&Decoded::of_unit(&key_frame(&mut moved, (320, 180)).await)) {
        fanout.request_key_frame_of(Rendition::Small);
    }
    let jpeg = media.snapshot(None).await.unwrap().jpeg;
    assert!(!is_masked(&Decoded::of(&jpeg, "image/jpeg", "jpegdec")));
    media.set_look(masked).await;
    // It was in force when that came back: so it is in every picture that is taken from now on.
    let jpeg = media.snapshot(None).await.unwrap().jpeg;
    assert!(is_masked(&Decoded::of(&jpeg, "image/jpeg", "jpegdec")));
    assert_eq!(status.borrow().restarts, 0);
    media.shutdown().await;
}

/// What a camera has encoded is left as it is, and each picture tells how whoever shows it has to turn it.
#[tokio::test]
async fn what_the_camera_encodes_is_left_to_viewers_and_snapshots_are_turned() {
    let fanout = Fanout::default();
    let config = MediaConfig { format: "h264".parse().unwrap(), keyframe_interval_s: 1, ..config() };
    let media = Media::start(config, fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let mut viewer = fanout.subscribe();
    let _demand = fanout.demand();
    let live = until(&mut status, |status| status.state == CameraState::Live).await;
    assert_eq!((live.width, live.height, &live.look_problem), (640, 360, &None));
    assert!(live.viewers_turn.is_identity() && !live.could_be_encoded_instead());
    assert_eq!(key_frame(&mut viewer, (640, 360)).await.orientation, Orientation::UPRIGHT);
    for degrees in [90_u16, 180, 270, 0] {
        let rotation = degrees.try_into().unwrap();
        media.set_look(PictureLook { rotation: Some(rotation), ..PictureLook::default() }).await;
        let turned = Orientation::of_quarters(rotation.quarters());
        while next(&mut viewer).await.orientation != turned {}
        let is_upright = rotation.swaps_sides();
        let size = if is_upright { (360, 640) } else { (640, 360) };
        let told = status.borrow_and_update().clone();
        assert_eq!((told.width, told.height), size);
        assert_eq!((told.viewers_turn.rotation, told.look_problem.is_some()), (rotation, degrees != 0));
        // The stream itself is as it was.
        let unit = key_frame(&mut viewer, (640, 360)).await;
        assert_eq!(unit.orientation, turned);
        let snapshot = media.snapshot(None).await.unwrap();
        assert_eq!((snapshot.width, snapshot.height), size);
    }
    assert_eq!(status.borrow().restarts, 0);
    media.shutdown().await;
}

#[tokio::test]
async fn an_upright_picture_has_an_upright_small_rendition() {
    let fanout = Fanout::default();
    let look = PictureLook { rotation: 90.try_into().ok(), ..PictureLook::default() };
    let config = MediaConfig { tiers: 2, look, ..config() };
    let media = Media::start(config, fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let place = Arc::new(ViewerRendition::default());
    let mut moved = fanout.at(Arc::clone(&place)).subscribe();
    let _demand = fanout.demand();
    let live = until(&mut status, |status| status.state == CameraState::Live).await;
    assert_eq!((live.width, live.height), (360, 640));
    place.want(Rendition::Small);
    media.want_small_kbps(Some(150));
    let small = Decoded::of_unit(&key_frame(&mut moved, (180, 320)).await);
    assert_eq!(small.size, (180, 320));
    media.shutdown().await;
}
