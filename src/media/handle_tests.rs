//! The whole capture side with the test picture and a real encoder.

use std::time::Instant;

use futures_util::FutureExt;

use super::*;
use crate::media::encode::choice::{EncoderChoice, EncoderKind};
use crate::media::status::CameraState;
use crate::stream::AccessUnit;
use crate::stream::h264;
use crate::stream::{Subscription, ViewerRendition};

/// Bound on waits for events, never reached on a working machine.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn config() -> MediaConfig {
    MediaConfig {
        device: DeviceChoice::Test,
        width: Some(640),
        height: Some(360),
        fps: Some(30),
        linger: Duration::ZERO,
        encoder: EncoderChoice::X264,
        keyframe_interval_s: 60,
        ..MediaConfig::default()
    }
}

pub(super) async fn until(
    status: &mut watch::Receiver<MediaStatus>,
    wanted: impl Fn(&MediaStatus) -> bool,
) -> MediaStatus {
    let reached = tokio::time::timeout(PATIENCE, status.wait_for(wanted)).await;
    reached.expect("in time").expect("the worker lives").clone()
}

pub(super) async fn next(subscription: &mut Subscription) -> AccessUnit {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("a picture in time")
}

#[tokio::test]
async fn the_first_picture_is_a_key_frame_of_the_promised_profile() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let ready = until(&mut status, |status| status.ready).await;
    assert_eq!(ready.state, CameraState::Idle);
    assert_eq!((ready.width, ready.height), (640, 360));
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    let first = next(&mut subscription).await;
    assert!(first.key_frame);
    let kinds: Vec<u8> = h264::nals(&first.data).map(|nal| nal[0] & 0x1f).collect();
    let at = |kind| kinds.iter().position(|found| *found == kind).unwrap();
    assert!(at(7) < at(8) && at(8) < at(5), "SPS, PPS, IDR in {kinds:?}");
    let sps = h264::find_sps(&first.data).unwrap();
    assert_eq!(sps.profile.as_offered(), ready.profile);
    assert_eq!((sps.width, sps.height), (640, 360));
    assert!(first.captured_at <= first.encoded_at);
    let second = next(&mut subscription).await;
    assert!(!second.key_frame && second.media_time > first.media_time);
    let live = until(&mut status, |status| status.encode_latency.is_some()).await;
    assert_eq!(live.state, CameraState::Live);
    assert_eq!(live.encoder.unwrap().kind, EncoderKind::Software);
    assert!(live.fps > 1.0 && live.bitrate > 1000 && live.key_frames >= 1);
    media.shutdown().await;
}

#[tokio::test]
async fn a_late_joiner_gets_a_key_frame_and_the_first_one_gets_only_one() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    // A camera that is looked for for long has a placeholder meanwhile.
    until(&mut media.status(), |status| status.ready).await;
    let mut first = fanout.subscribe();
    let _demand = fanout.demand();
    assert!(next(&mut first).await.key_frame);
    for _ in 0..20 {
        assert!(!next(&mut first).await.key_frame, "no second key frame without need");
    }
    let mut second = fanout.subscribe();
    assert!(next(&mut second).await.key_frame);
    media.shutdown().await;
}

#[tokio::test]
async fn a_panic_of_the_capture_thread_is_reported_and_is_no_sign_of_life() {
    let tasks = TaskGroup::new();
    let media = Media::start(config(), Fanout::default(), true, &tasks).unwrap();
    media.ping().await;
    media.inner.send(Message::Panic);
    let mut ended = tasks.ended_early();
    let ended = tokio::time::timeout(PATIENCE, ended.wait_for(Option::is_some)).await.expect("in time");
    assert_eq!(ended.unwrap().as_ref().map(|ended| ended.task), Some("media"));
    assert_eq!(media.ping().now_or_never(), Some(false));
    assert!(media.snapshot(None).await.is_err());
}

#[tokio::test]
async fn nothing_runs_without_viewers() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let demand = fanout.demand();
    until(&mut status, |status| status.state == CameraState::Live).await;
    drop(demand);
    until(&mut status, |status| status.state == CameraState::Idle).await;
    // Stopped is stopped: a subscriber without demand gets nothing.
    let mut subscription = fanout.subscribe();
    let demand = fanout.demand();
    assert!(next(&mut subscription).await.key_frame);
    drop(demand);
    let idle = until(&mut status, |status| status.state == CameraState::Idle).await;
    assert_eq!((idle.bitrate, idle.restarts), (0, 0));
    media.shutdown().await;
}

#[tokio::test]
async fn another_size_is_used_at_once_by_the_same_subscription() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    next(&mut subscription).await;
    media.set_mode(Some((1280, 720)), Some(15));
    let mut unit = next(&mut subscription).await;
    let mut last = unit.media_time;
    while !unit.key_frame {
        unit = next(&mut subscription).await;
        assert!(unit.media_time > last);
        last = unit.media_time;
    }
    let sps = h264::find_sps(&unit.data).unwrap();
    assert_eq!((sps.width, sps.height), (1280, 720));
    let live = until(&mut media.status(), |status| status.width == 1280).await;
    assert_eq!(live.profile.to_string(), sps.profile.as_offered().to_string());
    media.set_mode(Some((320, 240)), None);
    let error = until(&mut media.status(), |status| status.error.is_some()).await.error;
    assert!(error.unwrap().contains("320x240"));
    media.shutdown().await;
}

#[tokio::test]
async fn a_restart_goes_on_in_the_same_subscription_with_rising_time() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    let mut last = next(&mut subscription).await.media_time;
    for _ in 0..5 {
        last = next(&mut subscription).await.media_time;
    }
    media.restart();
    let mut key_frames = 0;
    while key_frames == 0 {
        let unit = next(&mut subscription).await;
        assert!(unit.media_time > last);
        last = unit.media_time;
        key_frames += u32::from(unit.key_frame);
    }
    let mut status = media.status();
    until(&mut status, |status| status.restarts == 1).await;
    media.shutdown().await;
}

#[tokio::test]
async fn it_stops_after_lingering() {
    let fanout = Fanout::default();
    let linger = Duration::from_millis(300);
    let media =
        Media::start(MediaConfig { linger, ..config() }, fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let demand = fanout.demand();
    until(&mut status, |status| status.state == CameraState::Live).await;
    drop(demand);
    until(&mut status, |status| status.state == CameraState::Idle).await;
    media.shutdown().await;
}

#[tokio::test]
async fn the_privacy_switch_stops_and_starts_it() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), false, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let _demand = fanout.demand();
    until(&mut status, |status| status.ready).await;
    assert_eq!(status.borrow().state, CameraState::Off);
    media.set_streaming(true);
    until(&mut status, |status| status.state == CameraState::Live).await;
    media.set_streaming(false);
    until(&mut status, |status| status.state == CameraState::Off).await;
    media.shutdown().await;
}

#[tokio::test]
async fn warm_runs_without_viewers() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    media.warm(Duration::from_mins(10));
    until(&mut media.status(), |status| status.state == CameraState::Live).await;
    media.shutdown().await;
}

#[tokio::test]
async fn a_camera_that_is_not_there_is_lost_and_not_fatal() {
    let device = DeviceChoice::Path("/dev/v4l/by-id/none".into());
    let fanout = Fanout::default();
    let media =
        Media::start(MediaConfig { device, ..config() }, fanout.clone(), true, &TaskGroup::new()).unwrap();
    let _demand = fanout.demand();
    let mut status = media.status();
    let lost = until(&mut status, |status| status.state == CameraState::Lost).await;
    assert!(lost.error.unwrap().contains("/dev/v4l/by-id/none"));
    assert!(!lost.ready);
    media.shutdown().await;
}

#[tokio::test]
async fn the_time_in_the_picture_is_the_time_it_was_made() {
    // Drawn, encoded, published: `captured_at` must be close to the clock in the picture. Only
    // the order is asserted, because a busy machine may be slow.
    let before = Instant::now();
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    let unit = next(&mut subscription).await;
    assert!(unit.captured_at >= before && unit.captured_at <= unit.encoded_at);
    media.shutdown().await;
}

#[tokio::test]
async fn the_bit_rate_changes_without_a_key_frame() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    assert!(next(&mut subscription).await.key_frame);
    media.set_bitrate_kbps(Some(300));
    until(&mut media.status(), |status| status.target == 300_000).await;
    for _ in 0..10 {
        assert!(!next(&mut subscription).await.key_frame);
    }
    media.set_bitrate_kbps(None);
    until(&mut media.status(), |status| status.target > 300_000).await;
    media.shutdown().await;
}

#[tokio::test]
async fn an_impossible_configuration_is_refused_at_once() {
    let small = MediaConfig { width: Some(320), height: Some(240), ..config() };
    assert!(Media::start(small, Fanout::default(), true, &TaskGroup::new()).is_err());
}

#[tokio::test]
async fn a_snapshot_starts_an_idle_camera_for_a_moment() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let (whole, small) = tokio::join!(media.snapshot(None), media.snapshot(Some(160)));
    let (whole, small) = (whole.unwrap(), small.unwrap());
    assert_eq!((whole.width, whole.height), (640, 360));
    assert_eq!((small.width, small.height), (160, 90));
    assert!(whole.jpeg.starts_with(&[0xff, 0xd8]));
    until(&mut status, |status| status.state == CameraState::Idle && status.key_frames > 0).await;
    media.shutdown().await;
}

#[tokio::test]
async fn a_snapshot_of_a_running_camera_costs_viewers_nothing() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    assert!(next(&mut subscription).await.key_frame);
    let mut snapshot = Box::pin(media.snapshot(None));
    // Pictures go on, without a key frame and without a restart, until it is there.
    let snapshot = loop {
        tokio::select! {
            snapshot = &mut snapshot => break snapshot,
            unit = next(&mut subscription) => assert!(!unit.key_frame),
        }
    };
    assert_eq!(snapshot.unwrap().width, 640);
    assert_eq!(media.status().borrow().restarts, 0);
    media.shutdown().await;
}

#[tokio::test]
async fn no_snapshot_behind_the_privacy_switch_or_without_a_camera() {
    let media = Media::start(config(), Fanout::default(), false, &TaskGroup::new()).unwrap();
    assert!(matches!(media.snapshot(None).await, Err(MediaError::Private)));
    media.shutdown().await;
    assert!(media.snapshot(None).await.is_err(), "after the end");
}

#[tokio::test]
async fn the_network_stays_below_what_a_person_allows() {
    let media = Media::start(config(), Fanout::default(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    media.set_ceiling_kbps(Some(700));
    until(&mut status, |status| status.ceiling == 700_000 && status.target == 700_000).await;
    media.set_bitrate_kbps(Some(400));
    until(&mut status, |status| status.ceiling == 700_000 && status.target == 400_000).await;
    media.set_bitrate_kbps(Some(900));
    until(&mut status, |status| status.target == 700_000).await;
    media.set_configured_bitrate_kbps(800);
    media.set_ceiling_kbps(None);
    until(&mut status, |status| status.ceiling == 800_000 && status.target == 800_000).await;
    media.shutdown().await;
}

#[tokio::test]
async fn the_test_picture_has_modes_but_no_controls() {
    let media = Media::start(config(), Fanout::default(), true, &TaskGroup::new()).unwrap();
    let ready = until(&mut media.status(), |status| status.ready).await;
    assert!(ready.modes().iter().any(|mode| (mode.width, mode.height) == (1280, 720)));
    let error = media.set_control("brightness".into(), "7".into()).await.unwrap_err().to_string();
    assert!(error.contains("brightness"), "{error}");
    media.shutdown().await;
}

fn size(unit: &AccessUnit) -> Option<(u32, u32)> {
    h264::find_sps(&unit.data).map(|sps| (sps.width, sps.height))
}

/// The next unit of another size, and that time rises up to it.
async fn next_of_size(
    subscription: &mut Subscription,
    wanted: (u32, u32),
    last: &mut Duration,
) -> AccessUnit {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let unit = next(subscription).await;
        assert!(unit.media_time > *last, "{:?} after {last:?}", unit.media_time);
        *last = unit.media_time;
        if size(&unit) == Some(wanted) {
            assert!(unit.key_frame);
            return unit;
        }
        assert!(Instant::now() < deadline, "no {wanted:?} but {:?}", size(&unit));
    }
}

#[tokio::test]
async fn the_small_rendition_is_of_the_same_pictures_and_runs_only_while_it_is_needed() {
    let fanout = Fanout::default();
    let media =
        Media::start(MediaConfig { tiers: 2, ..config() }, fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut status = media.status();
    let place = Arc::new(ViewerRendition::default());
    let (mut full, mut moved) = (fanout.subscribe(), fanout.at(Arc::clone(&place)).subscribe());
    let _demand = fanout.demand();
    let mut last = Duration::ZERO;
    next_of_size(&mut moved, (640, 360), &mut last).await;
    let live = until(&mut status, |status| status.state == CameraState::Live).await;
    let small = live.small.expect("it can be had");
    assert!(!small.is_running && small.ceiling < live.ceiling);

    place.want(Rendition::Small);
    media.want_small_kbps(Some(150));
    let first = next_of_size(&mut moved, (320, 180), &mut last).await;
    let sps = h264::find_sps(&first.data).unwrap();
    let profile = sps.profile.as_offered();
    assert_eq!(
        (profile.profile_idc, profile.profile_iop),
        (live.profile.profile_idc, live.profile.profile_iop)
    );
    assert!(profile.level_idc <= live.profile.level_idc);
    // The one in turn may have waited for the other: whatever is still there of both counts.
    let (mut times, mut small_times) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        times.push(next(&mut full).await.media_time);
        small_times.push(next(&mut moved).await.media_time);
    }
    let common = small_times.iter().filter(|time| times.contains(time)).count();
    assert!(common > 5, "{common} of 60 pictures have the same time in both renditions");
    let running = until(&mut status, |status| status.small.is_some_and(|small| small.bitrate > 0)).await;
    assert_eq!(running.small.map(|small| (small.is_running, small.target)), Some((true, 150_000)));
    last = *small_times.last().unwrap();
    fanout.request_key_frame_of(Rendition::Small);
    next_of_size(&mut moved, (320, 180), &mut last).await;
    media.restart();
    until(&mut status, |status| status.restarts == 1).await;
    next_of_size(&mut moved, (320, 180), &mut last).await;

    place.want(Rendition::Full);
    fanout.request_key_frame_of(Rendition::Full);
    next_of_size(&mut moved, (640, 360), &mut last).await;
    media.want_small_kbps(None);
    until(&mut status, |status| status.small.is_some_and(|small| !small.is_running)).await;
    media.shutdown().await;
}

#[tokio::test]
async fn there_is_no_small_rendition_unless_it_is_configured() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let _demand = fanout.demand();
    media.want_small_kbps(Some(150));
    let live = until(&mut media.status(), |status| status.state == CameraState::Live).await;
    assert_eq!(live.small, None);
    media.shutdown().await;
}

#[tokio::test]
async fn with_few_bits_every_other_picture_is_left_out() {
    let fanout = Fanout::default();
    let media = Media::start(config(), fanout.clone(), true, &TaskGroup::new()).unwrap();
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    next(&mut subscription).await;
    // Half of 30 and all of 30: what comes in between tells on which side of it a busy machine is.
    let step = |units: &[AccessUnit]| {
        let mut steps: Vec<Duration> =
            units.windows(2).map(|pair| pair[1].media_time.saturating_sub(pair[0].media_time)).collect();
        steps.sort();
        steps[steps.len() / 4]
    };
    for (kbps, is_halved) in [(Some(60), true), (None, false)] {
        media.set_bitrate_kbps(kbps);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut units = Vec::new();
            for _ in 0..20 {
                units.push(next(&mut subscription).await);
            }
            if (step(&units) > Duration::from_millis(50)) == is_halved {
                break;
            }
            assert!(Instant::now() < deadline, "{:?} between pictures", step(&units));
        }
    }
    media.shutdown().await;
}
