//! Encoders of the board that hang, hear nothing, do not take the camera's buffers, or make one stream only.

use super::*;

const BOARD: &str = TABLE[0].name;
const X264: &str = TABLE[1].name;

/// A world whose board has an encoder, which may be handed the camera's own buffers.
fn with_board(is_shared: bool) -> World {
    let mut world = World::new(Some(camera()), true);
    {
        let mut machine = world.machine.borrow_mut();
        (machine.encoder, machine.is_shared) = (0, is_shared);
    }
    world.tell(Message::Mode(None, None));
    world
}

fn hangs() -> PipelineEvent {
    PipelineEvent::EncoderHangs(MediaError::Encoder { encoder: BOARD, reason: "it hangs".into() })
}

fn fails() -> PipelineEvent {
    let error = MediaError::Encoder { encoder: BOARD, reason: "it failed".into() };
    PipelineEvent::Failed { error, by_encoder: true }
}

impl World {
    /// The last run of this rendition says `event`.
    fn says(&mut self, rendition: Rendition, event: PipelineEvent) {
        let runs = self.machine.borrow().runs.clone();
        let (_, run) = *runs.iter().rfind(|(of, _)| *of == rendition).expect("a run");
        self.tell(Message::Pipeline(rendition, run, event));
    }

    fn encoders(&self) -> Vec<&'static str> {
        self.machine.borrow().encoders.clone()
    }
}

#[test]
fn one_that_hangs_is_replaced_at_once_and_what_follows_was_tried_before() {
    for is_shared in [false, true] {
        let mut world = with_board(is_shared);
        world.go_live();
        world.machine.borrow_mut().done.clear();
        world.says(Rendition::Full, PipelineEvent::EncoderIsLate);
        assert_eq!(world.machine.borrow().done, ["prepare"]);
        assert_eq!((world.encoders(), world.state()), (vec![BOARD], CameraState::Live), "it may come back");
        world.says(Rendition::Full, hangs());
        assert_eq!(world.encoders(), [BOARD, X264], "the camera's buffers were taken before: {is_shared}");
    }
}

#[test]
fn one_that_hears_no_requests_has_its_successor_tried_before() {
    let mut world = with_board(false);
    world.go_live();
    world.machine.borrow_mut().done.clear();
    world.tell(Message::KeyFrame(Rendition::Full, KeyFrameReason::Join));
    world.pass(ms(1500));
    assert!(world.machine.borrow().done.contains(&"prepare"));
    assert_eq!(world.encoders(), [BOARD]);
    world.pass(ms(1500));
    assert_eq!(world.encoders(), [BOARD, X264]);
}

#[test]
fn one_that_does_not_take_the_cameras_buffers_gets_copies_at_once() {
    let device =
        || MediaError::Pipeline { device: "/dev/video0".into(), reason: "Internal data stream error".into() };
    for (is_live, event) in [
        (false, hangs()),
        (false, fails()),
        (true, fails()),
        (false, PipelineEvent::Failed { error: device(), by_encoder: false }),
    ] {
        let mut world = with_board(true);
        if is_live {
            world.go_live();
        } else {
            world.tell(Message::Demand(1));
        }
        world.machine.borrow_mut().states_at_plans.clear();
        let what = format!("{is_live} {event:?}");
        world.says(Rendition::Full, event);
        assert_eq!(
            (world.encoders(), world.machine.borrow().is_shared),
            (vec![BOARD, BOARD], false),
            "{what}"
        );
        assert_eq!(world.machine.borrow().starts_at, [Duration::ZERO; 2], "{what}");
        let seen = if is_live { CameraState::Live } else { CameraState::Starting };
        assert_eq!(world.machine.borrow().states_at_plans, [seen], "nobody is told of an error: {what}");
        world.says(Rendition::Full, fails());
        assert_eq!(world.encoders(), [BOARD, BOARD, X264], "that is its own fault: {what}");
    }
}

#[test]
fn a_camera_that_somebody_else_has_is_not_blamed_on_its_buffers() {
    let mut world = with_board(true);
    world.tell(Message::Demand(1));
    let error = MediaError::DeviceBusy { device: "/dev/video0".into() };
    world.says(Rendition::Full, PipelineEvent::Failed { error, by_encoder: false });
    assert!(world.machine.borrow().is_shared);
    assert_eq!(world.state(), CameraState::Error);
}

#[test]
fn the_small_rendition_has_another_encoder_where_the_board_makes_one_stream() {
    for event in [hangs(), fails()] {
        let mut world = with_board(false);
        world.go_live();
        world.tell(Message::SmallBitrate(Some(300)));
        let small = |world: &World| world.status.borrow().small.and_then(|small| small.encoder);
        assert_eq!((world.encoders(), small(&world)), (vec![BOARD, BOARD], Some(BOARD)));
        world.says(Rendition::Small, PipelineEvent::EncoderIsLate);
        world.says(Rendition::Small, event);
        assert_eq!((world.encoders(), small(&world)), (vec![BOARD, BOARD, X264], Some(X264)));
        assert_eq!(world.state(), CameraState::Live, "the big one is not disturbed");
        assert_eq!(world.machine.borrow().encoder, 0);
        // The next one that somebody needs does not begin with what failed.
        world.tell(Message::SmallBitrate(None));
        world.tell(Message::SmallBitrate(Some(300)));
        assert_eq!(world.encoders(), [BOARD, BOARD, X264, X264]);
    }
}

#[test]
fn where_no_encoder_makes_the_small_rendition_there_is_none_for_a_while() {
    let mut world = with_board(false);
    world.go_live();
    world.machine.borrow_mut().starts = false;
    world.tell(Message::SmallBitrate(Some(300)));
    world.pass(ms(5000));
    let all = TABLE.map(|spec| spec.name);
    assert_eq!(world.encoders(), [&[BOARD][..], &all].concat());
    assert_eq!(world.status.borrow().small, None, "its viewers get the full one");
    assert_eq!(world.state(), CameraState::Live);
}
