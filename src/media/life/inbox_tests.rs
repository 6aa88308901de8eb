use super::*;

const RENDITIONS: [Rendition; 2] = [Rendition::Full, Rendition::Small];

/// Everything that waits.
fn take_all(inbox: &Inbox) -> Vec<Message> {
    let now = Instant::now();
    std::iter::from_fn(|| inbox.receive(now)).collect()
}

fn failure(reason: &str) -> PipelineEvent {
    let error = MediaError::Pipeline { device: "test".into(), reason: reason.into() };
    PipelineEvent::Failed { error, by_encoder: false }
}

#[test]
fn a_flood_of_everything_takes_bounded_room_and_the_latest_settings_stay() {
    let (outbox, inbox) = channel();
    let mut answers = Vec::new();
    for round in 0..10_000_u32 {
        outbox.send(Message::Demand(round as usize));
        outbox.send(Message::DeviceChanged);
        outbox.send(Message::Streaming(round % 2 == 0));
        outbox.send(Message::Restart);
        outbox.send(Message::Bitrate(Some(round)));
        outbox.send(Message::Ceiling(Some(round)));
        outbox.send(Message::PlannedBitrate(round));
        outbox.send(Message::SmallBitrate(Some(round)));
        outbox.send(Message::Mode(Some((round, round)), None));
        outbox.send(Message::KeepControls(BTreeMap::from([("gain".to_owned(), i64::from(round))])));
        for rendition in RENDITIONS {
            outbox.send(Message::KeyFrame(rendition, KeyFrameReason::Loss));
            for event in
                [PipelineEvent::KeyFrame, PipelineEvent::FirstPicture { key_frame: true }, failure("x")]
            {
                outbox.send(Message::Pipeline(rendition, u64::from(round), event));
            }
        }
        let (reply, answer) = oneshot::channel();
        outbox.send(Message::Snapshot(None, reply));
        answers.push(answer);
    }
    let left = take_all(&inbox);
    assert!(left.len() <= 18 + 4 + MAX_WAITING, "{} messages wait", left.len());
    let last = |wanted: fn(&Message) -> Option<u32>| left.iter().filter_map(wanted).collect::<Vec<_>>();
    assert_eq!(last(|message| if let Message::Bitrate(kbps) = message { *kbps } else { None }), [9999]);
    assert_eq!(last(|message| if let Message::Ceiling(kbps) = message { *kbps } else { None }), [9999]);
    let demand = left.iter().find_map(|message| match message {
        Message::Demand(count) => Some(*count),
        _ => None,
    });
    assert_eq!(demand, Some(9999));
    assert!(left.iter().any(|message| matches!(message, Message::Streaming(false))));
    let busy = answers.iter_mut().filter_map(|answer| answer.try_recv().ok());
    let busy = busy.filter(|answer| matches!(answer, Err(MediaError::SnapshotBusy))).count();
    assert_eq!(busy, 10_000 - MAX_WAITING, "whoever finds no room is told so at once");
}

#[test]
fn what_is_merged_loses_nothing() {
    let (outbox, inbox) = channel();
    outbox.send(Message::KeyFrame(Rendition::Full, KeyFrameReason::Join));
    outbox.send(Message::KeyFrame(Rendition::Full, KeyFrameReason::Loss));
    outbox.send(Message::Warm(Duration::from_mins(1)));
    outbox.send(Message::Warm(Duration::from_secs(5)));
    outbox.send(Message::Pipeline(Rendition::Full, 1, failure("the bus said why")));
    outbox.send(Message::Pipeline(Rendition::Full, 1, failure("it did not start")));
    let left = take_all(&inbox);
    let [Message::KeyFrame(Rendition::Full, reason), Message::Warm(duration), failed] = &left[..] else {
        panic!("{} messages", left.len());
    };
    assert_eq!((*reason, *duration), (KeyFrameReason::Join, Duration::from_mins(1)));
    let Message::Pipeline(Rendition::Full, 1, PipelineEvent::Failed { error, .. }) = failed else { panic!() };
    assert!(error.to_string().contains("the bus said why"), "{error}");
    outbox.send(Message::Pipeline(Rendition::Full, 1, failure("of the run before")));
    outbox.send(Message::Pipeline(Rendition::Full, 2, failure("of this run")));
    let left = take_all(&inbox);
    assert!(matches!(&left[..], [Message::Pipeline(Rendition::Full, 2, _)]), "{} messages", left.len());
}

#[test]
fn what_is_not_waited_for_any_more_makes_room() {
    let (outbox, inbox) = channel();
    for _ in 0..MAX_CONTROLS + MAX_PINGS {
        outbox.send(Message::Ping(oneshot::channel().0));
        outbox.send(Message::Control("gain".into(), "1".into(), oneshot::channel().0));
    }
    let (reply, _answer) = oneshot::channel();
    outbox.send(Message::Ping(reply));
    let live =
        take_all(&inbox).into_iter().filter(|m| matches!(m, Message::Ping(reply) if !reply.is_closed()));
    assert_eq!(live.count(), 1);
    let mut answers = Vec::new();
    for _ in 0..=MAX_CONTROLS {
        let (reply, answer) = oneshot::channel();
        outbox.send(Message::Control("gain".into(), "1".into(), reply));
        answers.push(answer);
    }
    let refused = answers.iter_mut().filter_map(|answer| answer.try_recv().ok());
    assert_eq!(refused.filter(|answer| matches!(answer, Err(MediaError::Control { .. }))).count(), 1);
}

#[test]
fn the_end_of_the_worker_is_told_to_whoever_waits() {
    let (outbox, inbox) = channel();
    let (before, mut asked_before) = oneshot::channel();
    outbox.send(Message::Ping(before));
    drop(inbox);
    let (after, mut asked_after) = oneshot::channel();
    outbox.send(Message::Ping(after));
    assert_eq!(asked_before.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    assert_eq!(asked_after.try_recv(), Err(oneshot::error::TryRecvError::Closed));
}

#[test]
fn a_reader_wakes_for_what_comes_and_at_its_deadline() {
    let (outbox, inbox) = channel();
    assert!(inbox.receive(Instant::now()).is_none());
    let reader = std::thread::spawn(move || inbox.receive(Instant::now() + Duration::from_mins(1)).is_some());
    outbox.send(Message::Restart);
    assert!(reader.join().unwrap());
}
