//! The fan-out, as its subscribers see it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;

fn unit(number: u64, key_frame: bool) -> AccessUnit {
    let now = Instant::now();
    AccessUnit::new(Bytes::new(), Duration::from_millis(number), now, now, key_frame)
}

#[tokio::test]
async fn a_subscriber_starts_at_a_key_frame_and_asks_for_one() {
    let fanout = Fanout::default();
    let mut subscription = fanout.subscribe();
    assert_eq!(fanout.key_frame_wanted(Rendition::Full).await, KeyFrameReason::Join);
    fanout.publish(&unit(1, false));
    fanout.publish(&unit(2, true));
    fanout.publish(&unit(3, false));
    assert_eq!(subscription.next().await.media_time, Duration::from_millis(2));
    assert_eq!(subscription.next().await.media_time, Duration::from_millis(3));
}

#[tokio::test]
async fn a_slow_subscriber_skips_to_a_key_frame_and_others_notice_nothing() {
    let fanout = Fanout::default();
    let mut slow = fanout.subscribe();
    let mut fast = fanout.subscribe();
    fanout.key_frame_wanted(Rendition::Full).await;
    fanout.publish(&unit(0, true));
    assert!(fast.next().await.key_frame);
    for number in 1..=30 {
        fanout.publish(&unit(number, false));
        assert_eq!(fast.next().await.media_time, Duration::from_millis(number));
    }
    assert_eq!(fanout.key_frame_wanted(Rendition::Full).await, KeyFrameReason::Loss);
    fanout.publish(&unit(31, true));
    let first = slow.next().await;
    assert!(first.key_frame);
    assert_eq!(first.media_time, Duration::from_millis(31));
    assert_eq!(fanout.dropped(), 21, "of the slow one alone");
}

#[tokio::test]
async fn a_viewer_is_moved_at_a_key_frame_and_its_time_goes_on_rising() {
    let rendition = Arc::new(ViewerRendition::default());
    let fanout = Fanout::default().at(Arc::clone(&rendition));
    let mut subscription = fanout.subscribe();
    fanout.publish(&unit(100, true));
    fanout.publish_to(Rendition::Small, &unit(100, true));
    rendition.want(Rendition::Small);
    fanout.publish(&unit(200, false));
    fanout.publish_to(Rendition::Small, &unit(200, false));
    assert_eq!(subscription.next().await.media_time, Duration::from_millis(100));
    assert_eq!(subscription.next().await.media_time, Duration::from_millis(200));
    assert_eq!(rendition.current(), Rendition::Full);

    fanout.publish(&unit(300, false));
    fanout.publish_to(Rendition::Small, &unit(200, true));
    assert_eq!(rendition.current(), Rendition::Small);
    fanout.publish(&unit(400, true));
    fanout.publish_to(Rendition::Small, &unit(300, false));
    let first = subscription.next().await;
    assert!(first.key_frame, "what waited of the full rendition is left out");
    assert_eq!(first.media_time, Duration::from_millis(300) + MIN_STEP);
    assert_eq!(subscription.next().await.media_time, Duration::from_millis(300) + MIN_STEP * 2);
    assert_eq!(fanout.dropped(), 0);

    rendition.want(Rendition::Full);
    fanout.publish(&unit(500, true));
    fanout.publish_to(Rendition::Small, &unit(500, true));
    assert_eq!(subscription.next().await.media_time, Duration::from_millis(500));
    assert_eq!((rendition.current(), rendition.wanted()), (Rendition::Full, Rendition::Full));
}

#[tokio::test]
async fn key_frames_are_asked_of_the_rendition_that_a_viewer_gets() {
    let fanout = Fanout::default();
    let rendition = Arc::new(ViewerRendition::default());
    let mine = fanout.at(Arc::clone(&rendition));
    rendition.want(Rendition::Small);
    let mut subscription = mine.subscribe();
    assert_eq!(fanout.key_frame_wanted(Rendition::Small).await, KeyFrameReason::Join);
    fanout.publish_to(Rendition::Small, &unit(1, true));
    assert!(subscription.next().await.key_frame);
    mine.request_key_frame();
    assert_eq!(fanout.key_frame_wanted(Rendition::Small).await, KeyFrameReason::Loss);
    fanout.request_key_frame();
    assert_eq!(fanout.key_frame_wanted(Rendition::Full).await, KeyFrameReason::Loss);
}

#[tokio::test]
async fn demand_is_counted_until_the_guard_is_dropped() {
    let fanout = Fanout::default();
    let watch = fanout.watch_demand();
    let first = fanout.demand();
    let second = fanout.demand();
    assert_eq!(*watch.borrow(), 2);
    drop(first);
    drop(second);
    assert_eq!(*watch.borrow(), 0);
}

#[test]
fn a_dropped_subscription_is_forgotten() {
    let fanout = Fanout::default();
    drop(fanout.subscribe());
    fanout.publish(&unit(1, true));
    assert!(lock(&fanout.shared.receivers).rings.is_empty());
}

#[tokio::test]
async fn a_placeholder_reaches_viewers_of_both_renditions_until_the_camera_is_back() {
    let own = Arc::new(ViewerRendition::default());
    let fanout = Fanout::default();
    let (mut full, mut small) = (fanout.subscribe(), fanout.at(Arc::clone(&own)).subscribe());
    own.want(Rendition::Small);
    fanout.publish(&unit(1, true));
    fanout.publish_to(Rendition::Small, &unit(1, true));
    assert!(full.next().await.key_frame && small.next().await.key_frame);
    let counted = fanout.published();

    let number = fanout.begin_placeholder();
    assert!(fanout.publish_placeholder(number, &unit(2, true)));
    fanout.key_frame_wanted(Rendition::Full).await;
    assert!(!fanout.publish_to(Rendition::Full, &unit(3, false)));
    assert_eq!(fanout.key_frame_wanted(Rendition::Full).await, KeyFrameReason::Join, "the camera is back");
    assert!(fanout.publish_placeholder(number, &unit(4, false)));
    assert_eq!(fanout.published(), counted + 1, "words are no pictures of the camera");
    for subscription in [&mut full, &mut small] {
        for at in [2, 4] {
            assert_eq!(subscription.next().await.media_time, Duration::from_millis(at));
        }
    }
    fanout.publish(&unit(5, true));
    fanout.publish_to(Rendition::Small, &unit(5, false));
    fanout.publish_to(Rendition::Small, &unit(6, true));
    assert!(!fanout.publish_placeholder(number, &unit(7, false)) && !fanout.is_placeholder(number));
    assert_eq!(full.next().await.media_time, Duration::from_millis(5));
    assert_eq!(small.next().await.media_time, Duration::from_millis(6), "not a picture it cannot decode");
}
