//! What follows a mode that does not start or that somebody cannot play, and an encoder that fails.

use super::*;

#[test]
fn a_mode_that_fails_twice_is_followed_by_the_next_at_once_and_said() {
    let mut world = World::new(Some(camera()), true);
    world.machine.borrow_mut().starts = false;
    world.tell(Message::Demand(1));
    world.pass(ms(499));
    assert_eq!(world.machine.borrow().starts_at.len(), 1);
    assert_eq!(world.status.borrow().note, None);
    world.pass(ms(1));
    let at: Vec<Duration> = world.machine.borrow().starts_at.clone();
    assert_eq!(at, [0, 500, 500].map(ms), "the next mode has nothing to wait for");
    assert_eq!(world.status.borrow().note.as_deref(), Some("the bus is full"));
    world.machine.borrow_mut().starts = true;
    world.pass(ms(500));
    let (_, run) = *world.machine.borrow().runs.last().unwrap();
    world.tell(Message::Pipeline(Rendition::Full, run, PipelineEvent::FirstPicture { key_frame: true }));
    assert_eq!(world.state(), CameraState::Live);
}

#[test]
fn what_a_viewer_cannot_play_is_encoded_from_then_on() {
    let mut world = World::new(Some(camera()), true);
    world.machine.borrow_mut().passes_through = true;
    world.tell(Message::Mode(None, None));
    let kind = |world: &World| world.status.borrow().encoder.as_ref().map(|encoder| encoder.kind);
    world.go_live();
    assert!(world.status.borrow().could_be_encoded_instead());
    let starts = world.machine.borrow().starts_at.len();
    for _ in 0..2 {
        world.tell(Message::EncodeInstead);
        assert_ne!(kind(&world), Some(crate::media::EncoderKind::Passthrough));
    }
    assert_eq!(world.machine.borrow().starts_at.len(), starts + 1, "once for both who ask");
    assert_eq!(world.state(), CameraState::Starting);
}

/// A live camera that encodes itself and cannot be asked for a key frame.
fn with_own_h264() -> World {
    let mut world = World::new(Some(camera()), true);
    world.machine.borrow_mut().passes_through = true;
    world.tell(Message::Mode(None, None));
    world.go_live();
    key_frame(&mut world);
    world
}

fn key_frame(world: &mut World) {
    let (_, run) = *world.machine.borrow().runs.last().unwrap();
    world.tell(Message::Pipeline(Rendition::Full, run, PipelineEvent::KeyFrame));
}

#[test]
fn who_would_wait_long_for_a_cameras_own_key_frame_is_encoded_for() {
    for reason in [KeyFrameReason::Join, KeyFrameReason::Loss] {
        let mut world = with_own_h264();
        let starts = world.machine.borrow().starts_at.len();
        world.pass(ms(1000));
        world.tell(Message::KeyFrame(Rendition::Full, reason));
        world.pass(ms(1900));
        assert_eq!(world.machine.borrow().starts_at.len(), starts, "one may come yet");
        world.pass(ms(1200));
        assert_eq!(world.machine.borrow().starts_at.len(), starts + 1, "{reason:?}");
        assert!(!world.machine.borrow().passes_through);
        assert_eq!(world.state(), CameraState::Starting, "nobody is told of an error");
    }
}

#[test]
fn whoever_comes_when_it_is_known_that_key_frames_are_rare_waits_no_more() {
    let mut world = with_own_h264();
    world.pass(ms(9000));
    assert!(world.machine.borrow().passes_through, "nobody wants one");
    world.tell(Message::KeyFrame(Rendition::Full, KeyFrameReason::Join));
    world.pass(ms(40));
    assert!(!world.machine.borrow().passes_through);
}

#[test]
fn a_camera_with_a_key_frame_each_two_seconds_is_left_alone() {
    let mut world = with_own_h264();
    let starts = world.machine.borrow().starts_at.len();
    for _ in 0..10 {
        world.tell(Message::KeyFrame(Rendition::Full, KeyFrameReason::Join));
        world.pass(ms(2000));
        key_frame(&mut world);
    }
    // One that gives no pictures is not helped by an encoder.
    world.machine.borrow_mut().gives_pictures = false;
    world.tell(Message::KeyFrame(Rendition::Full, KeyFrameReason::Join));
    world.pass(ms(2900));
    assert!(world.machine.borrow().passes_through);
    assert_eq!(world.machine.borrow().starts_at.len(), starts);
}

/// A world whose board has an encoder, and the failure of its pipeline.
fn with_board_encoder() -> (World, impl Fn(u64) -> Message) {
    let mut world = World::new(Some(camera()), true);
    world.machine.borrow_mut().encoder = 0;
    world.tell(Message::Mode(None, None));
    let failure = |run| {
        let error = MediaError::Encoder { encoder: TABLE[0].name, reason: "it hangs".into() };
        Message::Pipeline(Rendition::Full, run, PipelineEvent::Failed { error, by_encoder: true })
    };
    (world, failure)
}

#[test]
fn another_encoder_follows_at_once_where_the_boards_fails() {
    for is_live in [true, false] {
        let (mut world, failure) = with_board_encoder();
        if is_live {
            world.go_live();
        } else {
            world.tell(Message::Demand(1));
        }
        let (_, run) = *world.machine.borrow().runs.last().unwrap();
        world.machine.borrow_mut().states_at_plans.clear();
        world.tell(failure(run));
        let seen = if is_live { CameraState::Live } else { CameraState::Starting };
        assert_eq!(
            world.machine.borrow().states_at_plans,
            [seen],
            "an error sends those away who wait for a picture"
        );
        assert_eq!(
            (world.machine.borrow().encoder, world.machine.borrow().starts_at.len()),
            (1, 2),
            "{is_live}"
        );
        assert_eq!(world.state(), CameraState::Starting);
        assert_eq!(world.status.borrow().encoder.as_ref().unwrap().name, TABLE[1].name);
    }
}

#[test]
fn a_software_encoder_is_tried_again() {
    let mut world = World::new(Some(camera()), true);
    world.go_live();
    let (_, run) = *world.machine.borrow().runs.last().unwrap();
    let error = MediaError::Encoder { encoder: TABLE[1].name, reason: "it failed".into() };
    world.tell(Message::Pipeline(Rendition::Full, run, PipelineEvent::Failed { error, by_encoder: true }));
    world.pass(ms(500));
    assert_eq!((world.machine.borrow().encoder, world.machine.borrow().starts_at.len()), (1, 2));
}

#[test]
fn an_encoder_that_gives_no_key_frames_is_replaced_for_the_viewer_who_waits() {
    for (encoder, after) in [(0, (1, 2)), (1, (1, 1))] {
        let (mut world, _) = with_board_encoder();
        world.machine.borrow_mut().encoder = encoder;
        world.tell(Message::Mode(None, None));
        world.go_live();
        world.tell(Message::KeyFrame(Rendition::Full, KeyFrameReason::Join));
        world.pass(ms(2900));
        assert_eq!((world.machine.borrow().encoder, world.machine.borrow().starts_at.len()), after);
    }
}
