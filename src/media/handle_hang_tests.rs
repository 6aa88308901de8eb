//! The whole capture side, a thread of whose pipeline stands still.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use super::tests::{config, next, until};
use super::*;
use crate::media::status::CameraState;

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
    let mut status = media.status();
    until(&mut status, |status| status.state == CameraState::Error).await;
    until(&mut status, |status| status.state == CameraState::Live).await;
    // Pictures of the new one, from its first on.
    while !next(&mut subscription).await.key_frame {}
    assert!(media.ping().await);
    drop(release);
    keeper.join().unwrap();
    for _ in 0..10 {
        next(&mut subscription).await;
    }
    assert_eq!(*tasks.ended_early().borrow(), None);
    media.shutdown().await;
}
