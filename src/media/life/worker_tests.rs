//! The loop on a machine and a clock that are simulated: it turns for messages and for what is due, and never else.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::media::capture::camera::{CameraInfo, CaptureApi};
use crate::media::capture::control::ControlInfo;
use crate::media::capture::mode::{Handling, ModeChoice, Rate};
use crate::media::encode::choice::EncoderStatus;
use crate::media::encode::encoder::{EncodeSettings, TABLE};
use crate::media::error::MediaError;
use crate::media::life::backend::PipelineRequest;
use crate::media::life::inbox::channel;
use crate::media::life::status_report::first_status;
use crate::media::pipeline::event::PipelineEvent;
use crate::media::pipeline::timeline::StreamFigures;
use crate::media::plan::planner::{Plan, Source};
use crate::media::status::CameraState;
use crate::media::still::snapshot::CapturedPicture;
use crate::stream::{KeyFrameReason, ProfileLevelId};

const MINUTE: Duration = Duration::from_mins(1);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What the simulated machine is like, and what was done to it and when.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that a test sets")]
struct Machine {
    start: Instant,
    now: Instant,
    /// A camera that can be unplugged; without one it is the test picture.
    camera: Option<Arc<CameraInfo>>,
    is_plugged: bool,
    /// Whether a pipeline that is started runs.
    starts: bool,
    /// Which encoder of the table works.
    encoder: usize,
    /// The mode that was given up, and how often.
    modes_given_up: u32,
    /// Whether the camera's own H.264 is passed through.
    passes_through: bool,
    /// Whether pictures come out until now.
    gives_pictures: bool,
    /// How long looking for the camera takes.
    look_time: Duration,
    plans_at: Vec<Duration>,
    starts_at: Vec<Duration>,
    runs: Vec<(Rendition, u64)>,
    requests: Vec<(Rendition, PipelineRequest)>,
    /// The calls that matter to a look, in order.
    done: Vec<&'static str>,
    status: watch::Receiver<MediaStatus>,
    /// What everybody saw while it was planned, and when a pipeline was about to start.
    states_at_plans: Vec<CameraState>,
    states_at_starts: Vec<CameraState>,
}

struct Simulated(Rc<RefCell<Machine>>);

impl Gauges for Simulated {
    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn last_picture(&self) -> Instant {
        let machine = self.0.borrow();
        if machine.gives_pictures { machine.now } else { machine.start }
    }

    fn figures(&self, _rendition: Rendition, _now: Instant) -> Option<StreamFigures> {
        None
    }

    fn key_frames(&self) -> u64 {
        0
    }

    fn drop_pictures(&self) {}
}

impl CaptureBackend for Simulated {
    fn initialize(&mut self) -> Result<(), MediaError> {
        Ok(())
    }

    fn plan(&mut self, _may_capture: bool) -> Result<Plan, MediaError> {
        let mut machine = self.0.borrow_mut();
        let at = machine.now - machine.start;
        machine.plans_at.push(at);
        machine.done.push("plan");
        let state = machine.status.borrow().state;
        machine.states_at_plans.push(state);
        let look_time = machine.look_time;
        machine.now += look_time;
        if machine.camera.is_some() && !machine.is_plugged {
            return Err(MediaError::DeviceMissing { device: "/dev/video0".into() });
        }
        let mut plan = Plan { encoder: Some(&TABLE[machine.encoder]), ..plan(machine.camera.clone()) };
        if let Source::Camera { mode } = &mut plan.source {
            mode.width >>= machine.modes_given_up;
        }
        plan.note = (machine.modes_given_up > 0).then(|| "the bus is full".to_owned());
        if machine.passes_through {
            plan.encoder = None;
        }
        Ok(plan)
    }

    fn is_there(&self, plan: &Plan) -> bool {
        plan.camera.is_none() || self.0.borrow().is_plugged
    }

    fn has_device(&self) -> bool {
        self.0.borrow().camera.is_some()
    }

    fn device_name(&self) -> Option<String> {
        None
    }

    fn planned_encoder(&self) -> Option<(EncoderStatus, ProfileLevelId)> {
        None
    }

    fn want_mode(&mut self, _size: Option<(u32, u32)>, _fps: Option<u32>) {}

    fn want_bitrate(&mut self, _kbps: u32) {}

    fn want_look(&mut self, _look: &crate::media::look::PictureLook) {
        self.0.borrow_mut().done.push("look");
    }

    fn give_up(&mut self, plan: &Plan, by_encoder: bool, _reason: &str) {
        assert_eq!(plan.encoder, Some(&TABLE[self.0.borrow().encoder]), "another one is in use");
        self.0.borrow_mut().encoder += usize::from(by_encoder);
        self.0.borrow_mut().modes_given_up += u32::from(!by_encoder && plan.camera.is_some());
    }

    fn encode_instead(&mut self, plan: &Plan) {
        assert!(plan.encoder.is_none(), "it is encoded already");
        self.0.borrow_mut().passes_through = false;
    }

    fn start(
        &mut self,
        rendition: Rendition,
        _plan: &Plan,
        run: u64,
        _controls: &std::collections::BTreeMap<String, i64>,
    ) -> Result<(), MediaError> {
        let mut machine = self.0.borrow_mut();
        let at = machine.now - machine.start;
        machine.starts_at.push(at);
        let state = machine.status.borrow().state;
        machine.states_at_starts.push(state);
        machine.runs.push((rendition, run));
        let reason = || "the device or the encoder refused to start".to_owned();
        let refused = || MediaError::Pipeline { device: "/dev/video0".into(), reason: reason() };
        machine.starts.then_some(()).ok_or_else(refused)
    }

    fn stop(&mut self, _rendition: Rendition) {
        self.0.borrow_mut().done.push("stop");
    }

    fn request(&mut self, rendition: Rendition, request: PipelineRequest) -> bool {
        self.0.borrow_mut().requests.push((rendition, request));
        true
    }

    fn set_control(
        &mut self,
        camera: &CameraInfo,
        _name: &str,
        _text: &str,
    ) -> Result<(i64, Vec<ControlInfo>), MediaError> {
        Ok((0, camera.controls.clone()))
    }

    fn apply_controls(
        &mut self,
        camera: &CameraInfo,
        _wanted: &std::collections::BTreeMap<String, i64>,
    ) -> Vec<ControlInfo> {
        camera.controls.clone()
    }

    fn read_controls(&self, camera: &CameraInfo) -> Vec<ControlInfo> {
        let machine = self.0.borrow();
        machine.camera.as_ref().map_or_else(|| camera.controls.clone(), |camera| camera.controls.clone())
    }

    fn encode_snapshot(&mut self, _picture: CapturedPicture, _width: Option<u32>) -> Result<(), MediaError> {
        Ok(())
    }
}

fn camera() -> Arc<CameraInfo> {
    Arc::new(CameraInfo {
        api: CaptureApi::V4l2,
        path: "/dev/video0".into(),
        by_id: None,
        by_path: None,
        card: "simulated".into(),
        driver: "simulated".into(),
        bus_info: "usb-1".into(),
        modes: Vec::new(),
        controls: Vec::new(),
    })
}

fn plan(camera: Option<Arc<CameraInfo>>) -> Plan {
    let rate = Rate::whole(30);
    let mode = ModeChoice {
        format: "YUYV".into(),
        handling: Handling::Raw("YUY2"),
        width: 640,
        height: 480,
        rate: Some(rate),
    };
    Plan {
        source: if camera.is_some() { Source::Camera { mode } } else { Source::Test },
        device: "/dev/video0".into(),
        styling: crate::media::plan::styling::Styling::default(),
        camera,
        encoder: Some(&TABLE[1]),
        settings: EncodeSettings {
            width: 640,
            height: 480,
            rate,
            bitrate_kbps: 830,
            keyframe_interval_s: 10,
            board: crate::media::board::BoardClass::Medium,
            cores: 2,
        },
        profile: Some(ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f }),
        note: None,
        could_encode: true,
    }
}

/// The worker and the world around it.
struct World {
    worker: Worker<Simulated>,
    machine: Rc<RefCell<Machine>>,
    sender: InboxSender,
    status: watch::Receiver<MediaStatus>,
    /// Turns for a message, and turns because something was due.
    turns: (usize, usize),
}

impl World {
    /// A worker that has looked once.
    fn new(camera: Option<Arc<CameraInfo>>, is_plugged: bool) -> Self {
        let start = Instant::now();
        let config = MediaConfig { linger: Duration::ZERO, ..MediaConfig::default() };
        let (status_sender, status) = watch::channel(first_status(&config, true));
        let machine = Rc::new(RefCell::new(Machine {
            start,
            now: start,
            camera,
            is_plugged,
            starts: true,
            gives_pictures: true,
            encoder: 1,
            modes_given_up: 0,
            passes_through: false,
            look_time: Duration::ZERO,
            plans_at: Vec::new(),
            starts_at: Vec::new(),
            runs: Vec::new(),
            requests: Vec::new(),
            done: Vec::new(),
            status: status.clone(),
            states_at_plans: Vec::new(),
            states_at_starts: Vec::new(),
        }));
        let (sender, inbox) = channel();
        let backend = Simulated(Rc::clone(&machine));
        let mut worker = Worker::new(backend, &config, true, (sender.clone(), inbox), status_sender);
        worker.capture.begin().unwrap();
        Self { worker, machine, sender, status, turns: (0, 0) }
    }

    /// Handles messages, and what becomes due within `span`.
    fn pass(&mut self, span: Duration) {
        let end = self.machine.borrow().now + span;
        loop {
            let message = self.worker.inbox.receive(self.machine.borrow().start);
            if message.is_some() {
                self.turns.0 += 1;
            } else {
                let Some(due) = self.worker.due_at().filter(|due| *due <= end) else { break };
                let mut machine = self.machine.borrow_mut();
                // Due in the past: the loop does not sleep at all.
                machine.now = machine.now.max(due);
                self.turns.1 += 1;
            }
            assert!(self.turns.0 + self.turns.1 < 1000, "the loop spins");
            self.worker.turn(message);
        }
        self.machine.borrow_mut().now = end;
    }

    fn tell(&mut self, message: Message) {
        self.sender.send(message);
        self.pass(Duration::ZERO);
    }

    /// Somebody watches, and the first picture has come.
    fn go_live(&mut self) {
        self.tell(Message::Demand(1));
        let (_, run) = *self.machine.borrow().runs.last().expect("a run");
        for event in [PipelineEvent::FirstPicture { key_frame: true }, PipelineEvent::KeyFrame] {
            self.tell(Message::Pipeline(Rendition::Full, run, event));
        }
        assert_eq!(self.state(), CameraState::Live);
        self.turns = (0, 0);
    }

    fn state(&self) -> CameraState {
        self.status.borrow().state
    }
}

#[test]
fn an_idle_minute_with_the_test_picture_has_no_turn() {
    let mut world = World::new(None, true);
    world.pass(MINUTE);
    assert_eq!(world.turns, (0, 0));
    assert_eq!(world.worker.due_at(), None);
    assert_eq!(world.state(), CameraState::Idle);
}

#[test]
fn an_idle_camera_is_only_checked_for_having_gone() {
    let mut world = World::new(Some(camera()), true);
    world.pass(MINUTE);
    assert_eq!(world.turns, (0, 12), "once in five seconds");
    assert_eq!(world.machine.borrow().plans_at, [Duration::ZERO], "and not planned for anew");
}

#[test]
fn a_lost_camera_is_looked_for_once_a_second_and_found_where_it_comes_back() {
    let mut world = World::new(Some(camera()), true);
    world.go_live();
    world.machine.borrow_mut().is_plugged = false;
    world.tell(Message::DeviceChanged);
    assert_eq!(world.state(), CameraState::Lost);
    world.machine.borrow_mut().plans_at.clear();
    world.turns = (0, 0);
    world.pass(MINUTE);
    let looks: Vec<Duration> = (1..=60).map(Duration::from_secs).collect();
    assert_eq!(world.machine.borrow().plans_at, looks);
    assert_eq!(world.turns, (0, 60), "each turn is a look");
    world.machine.borrow_mut().is_plugged = true;
    world.tell(Message::DeviceChanged);
    assert_eq!(world.state(), CameraState::Starting, "its viewer still waits");
}

#[test]
fn a_look_that_takes_long_is_not_followed_by_another_at_once() {
    let mut world = World::new(Some(camera()), false);
    world.machine.borrow_mut().look_time = Duration::from_secs(17);
    world.machine.borrow_mut().plans_at.clear();
    world.pass(MINUTE);
    assert_eq!(world.machine.borrow().plans_at, [1, 19, 37, 55].map(Duration::from_secs));
    assert_eq!(world.turns, (0, 4));
}

#[test]
fn a_camera_that_does_not_start_is_tried_ever_more_slowly() {
    let mut world = World::new(None, true);
    world.machine.borrow_mut().starts = false;
    world.tell(Message::Demand(1));
    world.turns = (0, 0);
    world.pass(ms(20_000));
    let at = [0, 500, 1500, 3500, 6500, 9500, 12_500, 15_500, 18_500].map(ms);
    assert_eq!(world.machine.borrow().starts_at, at);
    assert_eq!(world.turns, (8, 8), "one for each attempt, and one for its report");
    assert_eq!(world.state(), CameraState::Error);
}

#[test]
fn a_live_minute_turns_for_its_figures_alone() {
    let mut world = World::new(None, true);
    world.go_live();
    world.pass(MINUTE);
    assert_eq!(world.turns, (0, 60));
}

#[test]
fn a_key_frame_that_is_asked_for_within_the_gap_costs_one_turn_at_its_end() {
    let mut world = World::new(None, true);
    world.go_live();
    world.pass(ms(100));
    world.tell(Message::KeyFrame(Rendition::Full, KeyFrameReason::Loss));
    assert_eq!((world.turns, world.machine.borrow().requests.len()), ((1, 0), 0));
    world.pass(ms(900));
    assert_eq!(world.machine.borrow().requests, [(Rendition::Full, PipelineRequest::KeyFrame)]);
    assert!(world.turns.1 <= 2, "{:?}: the request and the figures", world.turns);
}

#[test]
fn a_silent_camera_is_restarted_after_three_seconds() {
    let mut world = World::new(None, true);
    world.go_live();
    world.machine.borrow_mut().gives_pictures = false;
    world.pass(ms(3000));
    assert_eq!(world.state(), CameraState::Error);
    assert_eq!(world.machine.borrow().starts_at.len(), 1);
    world.pass(ms(500));
    assert_eq!(world.machine.borrow().starts_at.len(), 2);
}

#[path = "worker_look_tests.rs"]
mod look;
#[path = "other_plan_tests.rs"]
mod other_plan;
#[path = "worker_trouble_tests.rs"]
mod trouble;
