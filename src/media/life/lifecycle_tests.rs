//! The life cycle under simulated time.

use super::*;

const LINGER: Duration = Duration::from_secs(5);

struct World {
    now: Instant,
    life: Lifecycle,
}

impl World {
    fn new() -> Self {
        let mut world = Self { now: Instant::now(), life: Lifecycle::new(LINGER, true) };
        world.expect(Input::Device(DeviceCondition::Ready), &[], CameraState::Idle);
        world
    }

    fn live() -> Self {
        let mut world = Self::new();
        world.expect(Input::Demand(1), &[PipelineAction::Start], CameraState::Starting);
        world.expect(Input::FirstFrame, &[], CameraState::Live);
        world
    }

    #[track_caller]
    fn expect(&mut self, input: Input, actions: &[PipelineAction], state: CameraState) {
        let label = format!("{input:?}");
        assert_eq!(self.life.handle(self.now, input), actions, "{label}");
        assert_eq!(self.life.state(), state, "{label}");
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
    }

    fn secs(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }
}

#[test]
fn the_camera_runs_only_while_somebody_watches_and_lingers() {
    let mut world = World::live();
    world.expect(Input::Demand(2), &[], CameraState::Live);
    world.expect(Input::Demand(0), &[], CameraState::Live);
    assert_eq!(world.life.deadline(), Some(world.now + FRAME_TIMEOUT));
    world.secs(3);
    world.expect(Input::FrameAt(world.now), &[], CameraState::Live);
    assert_eq!(world.life.deadline(), Some(world.now + Duration::from_secs(2)));
    world.secs(2);
    world.expect(Input::Tick, &[PipelineAction::Stop], CameraState::Idle);
    assert_eq!(world.life.deadline(), None);
}

#[test]
fn a_viewer_who_comes_back_while_it_lingers_finds_it_running() {
    let mut world = World::live();
    world.expect(Input::Demand(0), &[], CameraState::Live);
    world.secs(2);
    world.expect(Input::Demand(1), &[], CameraState::Live);
    for _ in 0..10 {
        world.secs(1);
        world.expect(Input::FrameAt(world.now), &[], CameraState::Live);
    }
}

#[test]
fn zero_linger_stops_at_once() {
    let mut life = Lifecycle::new(Duration::ZERO, true);
    let now = Instant::now();
    life.handle(now, Input::Device(DeviceCondition::Ready));
    life.handle(now, Input::Demand(1));
    assert_eq!(life.handle(now, Input::Demand(0)), [PipelineAction::Stop]);
}

#[test]
fn privacy_closes_the_camera_and_keeps_it_closed() {
    let mut world = World::live();
    world.expect(Input::Warm(Duration::from_mins(1)), &[], CameraState::Live);
    world.expect(Input::Streaming(false), &[PipelineAction::Stop], CameraState::Off);
    world.expect(Input::Demand(3), &[], CameraState::Off);
    world.expect(Input::Warm(Duration::from_mins(1)), &[], CameraState::Off);
    world.expect(Input::Restart, &[], CameraState::Off);
    world.expect(Input::Device(DeviceCondition::Absent("gone".into())), &[], CameraState::Off);
    assert_eq!(world.life.error(), None);
    world.expect(Input::Device(DeviceCondition::Ready), &[], CameraState::Off);
    world.expect(Input::Demand(0), &[], CameraState::Off);
    world.expect(Input::Streaming(true), &[], CameraState::Idle);
}

#[test]
fn unplugged_is_lost_and_plugged_in_is_live_again() {
    let mut world = World::live();
    let gone = DeviceCondition::Absent("the camera is not there".into());
    world.expect(Input::Device(gone), &[PipelineAction::Stop], CameraState::Lost);
    assert_eq!(world.life.error(), Some("the camera is not there"));
    world.secs(60);
    world.expect(Input::Tick, &[], CameraState::Lost);
    world.expect(Input::Device(DeviceCondition::Ready), &[PipelineAction::Start], CameraState::Starting);
    world.expect(Input::FirstFrame, &[], CameraState::Live);
    assert_eq!(world.life.error(), None);
}

#[test]
fn attempts_are_repeated_ever_more_slowly_up_to_a_bound() {
    let mut world = World::new();
    world.expect(Input::Demand(1), &[PipelineAction::Start], CameraState::Starting);
    for wait_ms in [500, 1000, 2000, 3000, 3000, 3000] {
        world.expect(Input::Failed("busy".into()), &[PipelineAction::Stop], CameraState::Error);
        assert_eq!(world.life.error(), Some("busy"));
        assert_eq!(world.life.deadline(), Some(world.now + Duration::from_millis(wait_ms)));
        world.pass(Duration::from_millis(wait_ms - 1));
        world.expect(Input::Tick, &[], CameraState::Error);
        world.pass(Duration::from_millis(1));
        world.expect(Input::Tick, &[PipelineAction::Start], CameraState::Error);
    }
    world.expect(Input::FirstFrame, &[], CameraState::Live);
    assert_eq!(world.life.restarts(), 6);
}

#[test]
fn a_long_healthy_run_forgives_earlier_failures_and_a_short_one_does_not() {
    let mut world = World::live();
    world.expect(Input::Failed("x".into()), &[PipelineAction::Stop], CameraState::Error);
    world.pass(MIN_BACKOFF);
    world.expect(Input::Tick, &[PipelineAction::Start], CameraState::Error);
    world.expect(Input::FirstFrame, &[], CameraState::Live);
    world.secs(1);
    world.expect(Input::Failed("x".into()), &[PipelineAction::Stop], CameraState::Error);
    assert_eq!(world.life.deadline(), Some(world.now + 2 * MIN_BACKOFF));
    world.secs(1);
    world.expect(Input::Tick, &[PipelineAction::Start], CameraState::Error);
    world.expect(Input::FirstFrame, &[], CameraState::Live);
    for _ in 0..5 {
        world.secs(2);
        world.expect(Input::FrameAt(world.now), &[], CameraState::Live);
    }
    world.expect(Input::Failed("x".into()), &[PipelineAction::Stop], CameraState::Error);
    assert_eq!(world.life.deadline(), Some(world.now + MIN_BACKOFF));
}

#[test]
fn nobody_waiting_ends_the_attempts_and_a_new_viewer_starts_one_at_once() {
    let mut world = World::new();
    world.expect(Input::Demand(1), &[PipelineAction::Start], CameraState::Starting);
    world.expect(Input::Failed("busy".into()), &[PipelineAction::Stop], CameraState::Error);
    world.expect(Input::Demand(0), &[], CameraState::Idle);
    assert_eq!(world.life.deadline(), None);
    world.expect(Input::Demand(1), &[PipelineAction::Start], CameraState::Starting);
}

#[test]
fn a_silent_camera_is_restarted() {
    let mut world = World::live();
    world.secs(3);
    world.expect(Input::Tick, &[PipelineAction::Stop], CameraState::Error);
    assert_eq!(world.life.error(), Some("no picture for 3 s"));
    let mut world = World::new();
    world.expect(Input::Demand(1), &[PipelineAction::Start], CameraState::Starting);
    world.secs(15);
    world.expect(Input::Tick, &[PipelineAction::Stop], CameraState::Error);
    assert_eq!(world.life.error(), Some("no picture within 15 s of the start"));
}

#[test]
fn a_picture_that_came_in_time_is_counted_even_when_the_clock_is_read_late() {
    let mut world = World::live();
    let frame = world.now + Duration::from_secs(2);
    world.secs(3);
    world.life.handle(frame, Input::FrameAt(frame));
    world.expect(Input::Tick, &[], CameraState::Live);
}

#[test]
fn warm_keeps_it_running_without_viewers() {
    let mut world = World::new();
    let start = &[PipelineAction::Start];
    world.expect(Input::Warm(Duration::from_secs(2)), start, CameraState::Starting);
    world.expect(Input::FirstFrame, &[], CameraState::Live);
    world.expect(Input::Demand(1), &[], CameraState::Live);
    world.secs(2);
    world.expect(Input::FrameAt(world.now), &[], CameraState::Live);
    world.expect(Input::Warm(Duration::from_secs(1)), &[], CameraState::Live);
    world.secs(1);
    world.expect(Input::Tick, &[], CameraState::Live);
}

#[test]
fn restart_stops_and_starts() {
    let mut world = World::live();
    world.expect(Input::Restart, &[PipelineAction::Stop, PipelineAction::Start], CameraState::Starting);
    assert_eq!(world.life.restarts(), 1);
    let mut idle = World::new();
    idle.expect(Input::Restart, &[], CameraState::Idle);
}

#[test]
fn an_unusable_device_says_so_even_when_nobody_watches() {
    let mut world = World::new();
    let unusable = DeviceCondition::Unusable("no H.264 encoder works".into());
    world.expect(Input::Device(unusable), &[], CameraState::Error);
    world.expect(Input::Demand(1), &[], CameraState::Error);
    assert_eq!(world.life.error(), Some("no H.264 encoder works"));
}

#[test]
fn reports_of_a_run_that_is_over_change_nothing() {
    let mut world = World::new();
    world.expect(Input::FirstFrame, &[], CameraState::Idle);
    world.expect(Input::Failed("late".into()), &[], CameraState::Idle);
    assert_eq!(world.life.restarts(), 0);
}
