use std::time::SystemTime;

use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;

type Answer = Receiver<Result<Snapshot, MediaError>>;

fn ask(snapshots: &mut SnapshotQueue, now: Instant, width: Option<u32>) -> Answer {
    let (reply, answer) = oneshot::channel();
    snapshots.ask(now, false, width, reply);
    answer
}

fn picture() -> Snapshot {
    Snapshot { jpeg: "jpeg".into(), width: 8, height: 8, taken_at: SystemTime::UNIX_EPOCH }
}

#[test]
fn a_cold_camera_settles_first_and_those_who_ask_together_share() {
    let (mut snapshots, start) = (SnapshotQueue::new(), Instant::now());
    assert!(!snapshots.need_camera());
    let mut first = ask(&mut snapshots, start, None);
    let mut second = ask(&mut snapshots, start, None);
    assert!(snapshots.need_camera());
    assert!(!snapshots.poll(start, None), "nothing runs yet");
    assert!(!snapshots.poll(start + SETTLE / 2, Some(start)));
    assert_eq!(snapshots.deadline(Some(start)), Some(start + SETTLE));
    assert!(snapshots.poll(start + SETTLE, Some(start)));
    assert!(!snapshots.poll(start + SETTLE, Some(start)), "asked once");
    assert_eq!(snapshots.taken(start + SETTLE), Some(Order { width: None }));
    assert!(!snapshots.need_camera(), "the picture is there");
    snapshots.encoded(&Ok(picture()));
    assert!(first.try_recv().unwrap().is_ok() && second.try_recv().unwrap().is_ok());
}

#[test]
fn another_width_is_another_picture_after_the_gap() {
    let (mut snapshots, start) = (SnapshotQueue::new(), Instant::now());
    snapshots.set_settles(false);
    let mut wide = ask(&mut snapshots, start, None);
    let mut narrow = ask(&mut snapshots, start, Some(160));
    assert!(snapshots.poll(start, Some(start)));
    assert_eq!(snapshots.taken(start), Some(Order { width: None }));
    assert!(snapshots.need_camera());
    snapshots.encoded(&Ok(picture()));
    assert!(wide.try_recv().unwrap().is_ok());
    assert_eq!(narrow.try_recv().unwrap_err(), TryRecvError::Empty);
    assert!(!snapshots.poll(start, Some(start)));
    assert!(snapshots.poll(start + MIN_GAP, Some(start)));
    assert_eq!(snapshots.taken(start + MIN_GAP), Some(Order { width: Some(160) }));
    snapshots.encoded(&Ok(picture()));
    assert!(narrow.try_recv().unwrap().is_ok());
}

#[test]
fn too_many_are_told_at_once_and_too_late_ones_why() {
    let (mut snapshots, start) = (SnapshotQueue::new(), Instant::now());
    let mut answers: Vec<Answer> = (0..MAX_WAITING).map(|_| ask(&mut snapshots, start, None)).collect();
    let mut more = ask(&mut snapshots, start, None);
    assert!(matches!(more.try_recv().unwrap(), Err(MediaError::SnapshotBusy)));
    snapshots.expire(start + PATIENCE / 2, "x");
    assert!(snapshots.need_camera());
    snapshots.expire(start + PATIENCE, "the camera is unplugged");
    let error = answers[0].try_recv().unwrap().unwrap_err().to_string();
    assert!(error.contains("unplugged"), "{error}");
    assert!(!snapshots.need_camera());
}

#[test]
fn who_goes_away_is_not_waited_for() {
    let (mut snapshots, start) = (SnapshotQueue::new(), Instant::now());
    drop(ask(&mut snapshots, start, None));
    snapshots.set_settles(false);
    assert!(!snapshots.poll(start, Some(start)));
    assert!(!snapshots.need_camera());
}

#[test]
fn a_picture_from_before_the_privacy_switch_is_for_nobody() {
    let (mut snapshots, start) = (SnapshotQueue::new(), Instant::now());
    snapshots.set_settles(false);
    let mut before = ask(&mut snapshots, start, None);
    assert!(snapshots.poll(start, Some(start)));
    snapshots.taken(start);
    snapshots.refuse_all(&MediaError::Private);
    assert!(matches!(before.try_recv().unwrap(), Err(MediaError::Private)));
    let mut after = ask(&mut snapshots, start, None);
    snapshots.encoded(&Ok(picture()));
    assert_eq!(after.try_recv().unwrap_err(), TryRecvError::Empty);
    assert!(snapshots.poll(start + MIN_GAP, Some(start)));
}

#[test]
fn a_pipeline_that_stops_is_asked_again() {
    let (mut snapshots, start) = (SnapshotQueue::new(), Instant::now());
    snapshots.set_settles(false);
    let _answer = ask(&mut snapshots, start, None);
    assert!(snapshots.poll(start, Some(start)));
    snapshots.pipeline_stopped();
    assert!(snapshots.poll(start, Some(start)));
}
