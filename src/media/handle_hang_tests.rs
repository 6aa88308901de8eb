//! The whole capture side, a thread of whose pipeline stands still.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::tests::{config, next, until};
use super::*;
use crate::media::status::CameraState;
use crate::stream::h264;

/// The thread of the pipeline that runs now stands still until the end of this.
struct Standstill {
    release: SyncSender<()>,
    keeper: JoinHandle<()>,
}

impl Standstill {
    fn of(fanout_sinks: &FanoutSinks) -> Self {
        let gate = Arc::new(Mutex::new(()));
        let (release, released) = sync_channel::<()>(0);
        let (held, is_held) = sync_channel(0);
        let keeper = std::thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                let _gate = gate.lock();
                held.send(()).unwrap();
                let _ = released.recv();
            }
        });
        is_held.recv().unwrap();
        fanout_sinks.of(Rendition::Full).block(&gate);
        Self { release, keeper }
    }

    fn end(self) {
        drop(self.release);
        self.keeper.join().unwrap();
    }
}

#[tokio::test]
async fn a_pipeline_that_hangs_is_said_at_once_and_replaced() {
    let (fanout, tasks) = (Fanout::default(), TaskGroup::new());
    let fanout_sinks = FanoutSinks::new(fanout.clone());
    let limits = CallLimits::default();
    let media =
        Media::start_on(fanout_sinks.clone(), limits, config(), fanout.clone(), true, &tasks).unwrap();
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    next(&mut subscription).await;
    let standstill = Standstill::of(&fanout_sinks);
    let mut status = media.status();
    until(&mut status, |status| status.state == CameraState::Error).await;
    until(&mut status, |status| status.state == CameraState::Live).await;
    // Pictures of the new one, from its first on.
    while !next(&mut subscription).await.key_frame {}
    assert!(media.ping().await);
    standstill.end();
    for _ in 0..10 {
        next(&mut subscription).await;
    }
    assert_eq!(*tasks.ended_early().borrow(), None);
    media.shutdown().await;
}

/// Whatever holds up the camera's pipeline, viewers get pictures of the same size and profile, and time that rises.
#[tokio::test]
async fn a_camera_that_falls_silent_leaves_no_viewer_without_pictures() {
    let (fanout, tasks) = (Fanout::default(), TaskGroup::new());
    let fanout_sinks = FanoutSinks::new(fanout.clone());
    let limits = CallLimits::default();
    let media =
        Media::start_on(fanout_sinks.clone(), limits, config(), fanout.clone(), true, &tasks).unwrap();
    let mut status = media.status();
    until(&mut status, |status| status.has_placeholder && status.ready).await;
    let mut subscription = fanout.subscribe();
    let _demand = fanout.demand();
    let first = next(&mut subscription).await;
    let promised = h264::find_sps(&first.data).unwrap();
    let standstill = Standstill::of(&fanout_sinks);
    // Its pipeline does not even stop; then another one takes its place.
    let (mut last, mut words) = (first.media_time, 0);
    let camera = loop {
        let unit = next(&mut subscription).await;
        assert!(unit.media_time > last, "time goes back");
        last = unit.media_time;
        let Some(sps) = unit.key_frame.then(|| h264::find_sps(&unit.data).unwrap()) else { continue };
        assert_eq!((sps.width, sps.height), (promised.width, promised.height));
        assert_eq!(sps.profile.as_offered().profile_idc, promised.profile.as_offered().profile_idc);
        assert_eq!(sps.profile.as_offered().profile_iop, promised.profile.as_offered().profile_iop);
        let counted = fanout.published();
        if words == 0 {
            words = counted;
        } else if counted > words {
            break unit;
        }
    };
    assert!(camera.key_frame);
    until(&mut status, |status| status.state == CameraState::Live).await;
    standstill.end();
    assert_eq!(*tasks.ended_early().borrow(), None);
    media.shutdown().await;
}
