//! A machine whose calls hang when the test wants it.

use std::sync::{Condvar, Mutex};

use super::*;
use crate::media::life::inbox::{Inbox, channel};

/// Long enough for a call that does not hang.
const LIMIT: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_mins(1);
const LIMITS: CallLimits = CallLimits { plan: PATIENCE, start: PATIENCE, end: PATIENCE, other: LIMIT };

/// What all machines of a test have in common.
#[derive(Default)]
struct Bench {
    machines: Mutex<u32>,
    calls: Mutex<Vec<String>>,
    is_held: Mutex<bool>,
    released: Condvar,
    drops: Mutex<u32>,
    /// Whether pictures come all the time.
    is_at_work: Mutex<bool>,
    /// What each machine was told by its predecessor.
    learnt: Mutex<Vec<String>>,
}

impl Bench {
    fn hold(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.released.notify_all();
    }
}

struct Machine(u32, Arc<Bench>);

impl Machine {
    fn call(&self, what: &str) {
        self.1.calls.lock().unwrap().push(format!("{} {what}", self.0));
    }
}

impl CaptureBackend for Machine {
    fn initialize(&mut self) -> Result<(), MediaError> {
        Ok(())
    }

    fn plan(&mut self, _may_capture: bool) -> Result<Plan, MediaError> {
        self.call("plan");
        Err(MediaError::NoCamera)
    }

    fn is_there(&self, _plan: &Plan) -> bool {
        true
    }

    fn has_device(&self) -> bool {
        true
    }

    fn device_name(&self) -> Option<String> {
        Some(format!("machine {}", self.0))
    }

    fn planned_encoder(&self) -> Option<(EncoderStatus, ProfileLevelId)> {
        None
    }

    fn want_mode(&mut self, size: Option<(u32, u32)>, fps: Option<u32>) {
        self.call(&format!("mode {size:?} {fps:?}"));
    }

    fn want_look(&mut self, _look: &crate::media::look::PictureLook) {}

    fn want_bitrate(&mut self, kbps: u32) {
        self.call(&format!("bitrate {kbps}"));
    }

    fn give_up(&mut self, _plan: &Plan, _by_encoder: bool, _reason: &str) {}

    fn encode_instead(&mut self, _plan: &Plan, _why: WhyEncoded) {}

    fn learnt(&self) -> Learnt {
        Learnt::of_bad_encoder(&format!("of machine {}", self.0))
    }

    fn learn(&mut self, learnt: Learnt) {
        self.1.learnt.lock().unwrap().push(format!("{learnt:?}"));
    }

    fn start(
        &mut self,
        _rendition: Rendition,
        _plan: &Plan,
        _run: u64,
        _controls: &BTreeMap<String, i64>,
    ) -> Result<(), MediaError> {
        Ok(())
    }

    fn stop(&mut self, _rendition: Rendition) {
        self.call("stop");
        drop(self.1.released.wait_while(self.1.is_held.lock().unwrap(), |is_held| *is_held).unwrap());
    }

    fn request(&mut self, _rendition: Rendition, _request: PipelineRequest) -> bool {
        panic!("a driver with a defect")
    }

    fn set_control(
        &mut self,
        _camera: &CameraInfo,
        _name: &str,
        _text: &str,
    ) -> Result<(i64, Vec<ControlInfo>), MediaError> {
        Err(MediaError::NoCamera)
    }

    fn apply_controls(&mut self, _camera: &CameraInfo, _wanted: &BTreeMap<String, i64>) -> Vec<ControlInfo> {
        Vec::new()
    }

    fn read_controls(&self, _camera: &CameraInfo) -> Vec<ControlInfo> {
        Vec::new()
    }

    fn encode_snapshot(&mut self, _picture: CapturedPicture, _width: Option<u32>) -> Result<(), MediaError> {
        Ok(())
    }
}

struct Needles(Arc<Bench>);

impl Gauges for Needles {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn last_picture(&self) -> Instant {
        let is_at_work = *self.0.is_at_work.lock().unwrap();
        let ago = if is_at_work { Duration::ZERO } else { AT_WORK * 2 };
        Instant::now().checked_sub(ago).expect("a machine that has been up for longer")
    }

    fn figures(&self, _rendition: Rendition, _now: Instant) -> Option<StreamFigures> {
        None
    }

    fn key_frames(&self) -> u64 {
        0
    }

    fn drop_pictures(&self) {
        *self.0.drops.lock().unwrap() += 1;
    }
}

fn supervised(tasks: &TaskGroup) -> (Supervised<Machine, Needles>, Arc<Bench>, Inbox) {
    supervised_within(LIMITS, tasks)
}

fn supervised_within(
    limits: CallLimits,
    tasks: &TaskGroup,
) -> (Supervised<Machine, Needles>, Arc<Bench>, Inbox) {
    let (bench, (sender, inbox)) = (Arc::<Bench>::default(), channel());
    let on = Arc::clone(&bench);
    let make = move || {
        let mut machines = on.machines.lock().unwrap();
        *machines += 1;
        Machine(*machines, Arc::clone(&on))
    };
    let gauges = Needles(Arc::clone(&bench));
    let supervised = Supervised::start(make, gauges, limits, sender, tasks.clone()).unwrap();
    (supervised, bench, inbox)
}

#[test]
fn what_hangs_is_left_alone_and_a_new_machine_knows_what_was_wanted() {
    let tasks = TaskGroup::new();
    let (mut supervised, bench, inbox) = supervised(&tasks);
    supervised.want_mode(Some((640, 480)), None);
    supervised.want_bitrate(900);
    bench.hold(true);
    supervised.stop(Rendition::Full);
    assert_eq!(supervised.device_name().as_deref(), Some("machine 2"));
    assert_eq!((supervised.count_hung(), *bench.drops.lock().unwrap()), (1, 1));
    let learnt = bench.learnt.lock().unwrap().clone();
    assert!(matches!(&learnt[..], [one] if one.contains("of machine 1")), "{learnt:?}");
    let told = inbox.receive(Instant::now() + PATIENCE);
    assert!(matches!(told, Some(Message::Pipeline(Rendition::Full, 0, PipelineEvent::Failed { .. }))));
    // It works beside the other.
    assert!(matches!(supervised.plan(true), Err(MediaError::NoCamera)));
    let calls = bench.calls.lock().unwrap().clone();
    let wanted =
        |machine| [format!("{machine} mode Some((640, 480)) None"), format!("{machine} bitrate 900")];
    let expected =
        [wanted(1).to_vec(), vec!["1 stop".into()], wanted(2).to_vec(), vec!["2 plan".into()]].concat();
    assert_eq!(calls, expected);
    // What comes back after all is gone without a trace.
    bench.hold(false);
    let deadline = Instant::now() + PATIENCE;
    while supervised.count_hung() > 0 {
        assert!(Instant::now() < deadline, "its thread is still there");
        thread::yield_now();
    }
    supervised.stop(Rendition::Full);
    assert_eq!(bench.calls.lock().unwrap().last().map(String::as_str), Some("2 stop"));
    assert_eq!(*tasks.ended_early().borrow(), None);
}

#[test]
fn one_that_gave_pictures_until_now_may_take_its_time_to_stop() {
    let tasks = TaskGroup::new();
    let (mut supervised, bench, _inbox) =
        supervised_within(CallLimits { other: Duration::ZERO, ..LIMITS }, &tasks);
    *bench.is_at_work.lock().unwrap() = true;
    bench.hold(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let is_stopping = || bench.calls.lock().unwrap().iter().any(|call| call == "1 stop");
            while !is_stopping() {
                thread::yield_now();
            }
            // For longer than whatever else may take.
            thread::sleep(Duration::from_millis(50));
            bench.hold(false);
        });
        supervised.stop(Rendition::Full);
    });
    assert_eq!(
        (supervised.count_hung(), *bench.machines.lock().unwrap()),
        (0, 1),
        "a slow one counts as hung"
    );
}

#[test]
fn of_many_that_hang_only_a_new_process_is_the_end() {
    let tasks = TaskGroup::new();
    let (mut supervised, bench, _inbox) = supervised(&tasks);
    bench.hold(true);
    for hung in 1..=MAX_HUNG {
        assert_eq!(*tasks.ended_early().borrow(), None, "{hung}");
        supervised.stop(Rendition::Full);
        assert_eq!(supervised.count_hung(), hung);
    }
    let ended = tasks.ended_early().borrow().clone().unwrap().to_string();
    assert!(ended.contains("3 calls to drivers or encoders hang"), "{ended}");
    bench.hold(false);
}

#[test]
fn one_that_keeps_the_device_is_not_borne_for_ever() {
    let tasks = TaskGroup::new();
    let (mut supervised, bench, _inbox) = supervised(&tasks);
    bench.hold(true);
    supervised.stop(Rendition::Full);
    assert!(supervised.plan(true).is_err());
    assert_eq!(*tasks.ended_early().borrow(), None);
    // As if that had begun earlier.
    supervised.hung.borrow_mut()[0].0 -= HUNG_FOR_GOOD;
    assert!(supervised.plan(true).is_err());
    assert!(tasks.ended_early().borrow().is_some());
    bench.hold(false);
}

#[test]
fn a_panic_there_is_one_here() {
    let tasks = TaskGroup::new();
    // A panic takes its time: it is told with all that led there.
    let limits = CallLimits { other: PATIENCE, ..LIMITS };
    let (mut supervised, ..) = supervised_within(limits, &tasks);
    let asked =
        catch_unwind(AssertUnwindSafe(|| supervised.request(Rendition::Full, PipelineRequest::KeyFrame)));
    assert!(asked.is_err());
}
