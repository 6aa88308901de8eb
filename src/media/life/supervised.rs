//! The machine under the worker, on a thread that may hang: a driver or an encoder that does not come back is left alone with its
//! thread, and a new machine takes its place beside it.
//!
//! The worker itself is never held up for longer than a call's limit: it goes on answering, and says what is wrong.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::base::tasks::{EndedEarly, TaskGroup};
use crate::media::capture::camera::CameraInfo;
use crate::media::capture::control::ControlInfo;
use crate::media::encode::choice::EncoderStatus;
use crate::media::error::MediaError;
use crate::media::life::backend::{CaptureBackend, Gauges, PipelineRequest};
use crate::media::life::inbox::{InboxSender, Message};
use crate::media::look::PictureLook;
use crate::media::pipeline::event::PipelineEvent;
use crate::media::pipeline::timeline::StreamFigures;
use crate::media::plan::learnt::Learnt;
use crate::media::plan::planner::Plan;
use crate::media::plan::set_aside::WhyEncoded;
use crate::media::still::snapshot::CapturedPicture;
use crate::stream::{ProfileLevelId, Rendition};

/// The threads' name.
const THREAD: &str = "media-device";
/// Threads that hang at the same time. With one more the process ends, for the service manager to start it afresh.
const MAX_HUNG: usize = 3;
/// One that hangs for this long, while the camera cannot be started beside it, ends the process too: it still has the device.
const HUNG_FOR_GOOD: Duration = Duration::from_mins(1);
/// A pipeline whose last picture is no older works. Whatever else finds out that one hangs takes longer.
const AT_WORK: Duration = Duration::from_millis(800);

/// How long calls may take.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Looking at cameras and trying encoders, on a slow board.
    pub plan: Duration,
    /// Starting a pipeline.
    pub start: Duration,
    /// Stopping one that gave pictures until now: nothing is known to hang, and a slow board closes it slowly while others work on it.
    pub end: Duration,
    /// Stopping one that gave none, and whatever is asked of a running one or of the device. Shorter than the end of the daemon waits.
    pub other: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        let [plan, start, end, other] = [100, 15, 10, 2].map(Duration::from_secs);
        Self { plan, start, end, other }
    }
}

type Job<B> = Box<dyn FnOnce(&mut B) + Send>;

/// A thread with a machine on it.
struct DeviceThread<B> {
    jobs: SyncSender<Job<B>>,
    /// There as long as the thread is.
    life: Weak<()>,
}

impl<B: Send + 'static> DeviceThread<B> {
    fn start(mut machine: B) -> Result<Self, MediaError> {
        let (jobs, next) = sync_channel::<Job<B>>(1);
        let life = Arc::new(());
        let watched = Arc::downgrade(&life);
        let work = move || {
            while let Ok(job) = next.recv() {
                job(&mut machine);
            }
            // Whatever still ran is closed before the thread counts as gone.
            drop(machine);
            drop(life);
        };
        let system = |error: std::io::Error| MediaError::System {
            what: "starting the thread of the devices",
            reason: error.to_string(),
        };
        thread::Builder::new().name(THREAD.into()).spawn(work).map_err(system)?;
        Ok(Self { jobs, life: watched })
    }
}

/// What a machine knows without asking anybody.
#[derive(Clone)]
struct Known {
    has_device: bool,
    device_name: Option<String>,
    planned_encoder: Option<(EncoderStatus, ProfileLevelId)>,
    learnt: Learnt,
}

impl Known {
    fn of(machine: &impl CaptureBackend) -> Self {
        Self {
            has_device: machine.has_device(),
            device_name: machine.device_name(),
            planned_encoder: machine.planned_encoder(),
            learnt: machine.learnt(),
        }
    }
}

/// Size in pixels and rate in pictures per second; `None` lets the board decide.
type Mode = (Option<(u32, u32)>, Option<u32>);

/// See the module.
pub struct Supervised<B, G> {
    make: Box<dyn Fn() -> B + Send>,
    gauges: G,
    limits: CallLimits,
    /// For what becomes of the pipeline.
    inbox: InboxSender,
    /// Where the end of the process is asked for.
    tasks: TaskGroup,
    /// `None`: the system gave no thread.
    device: RefCell<Option<DeviceThread<B>>>,
    /// Threads that were given up, since when, and whether they still are.
    hung: RefCell<Vec<(Instant, Weak<()>)>>,
    has_asked_for_the_end: Cell<bool>,
    known: RefCell<Known>,
    mode: Option<Mode>,
    bitrate_kbps: Option<u32>,
    look: Option<PictureLook>,
    /// The full rendition's last run.
    run: u64,
}

impl<B: CaptureBackend + Send + 'static, G: Gauges> Supervised<B, G> {
    /// A first machine of `make`, on its thread.
    pub fn start(
        make: impl Fn() -> B + Send + 'static,
        gauges: G,
        limits: CallLimits,
        inbox: InboxSender,
        tasks: TaskGroup,
    ) -> Result<Self, MediaError> {
        let machine = make();
        let known = RefCell::new(Known::of(&machine));
        let device = RefCell::new(Some(DeviceThread::start(machine)?));
        Ok(Self {
            make: Box::new(make),
            gauges,
            limits,
            inbox,
            tasks,
            device,
            hung: RefCell::default(),
            has_asked_for_the_end: Cell::new(false),
            known,
            mode: None,
            bitrate_kbps: None,
            look: None,
            run: 0,
        })
    }

    /// Has `work` done on the machine's thread and waits for it, for `limit` at most. `what`: as in "it does not come back from …".
    fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        limit: Duration,
        work: impl FnOnce(&mut B) -> T + Send + 'static,
    ) -> Result<T, MediaError> {
        let (outcome, done) = sync_channel::<Result<T, Box<dyn Any + Send>>>(1);
        let job: Job<B> = Box::new(move |machine| {
            let result = catch_unwind(AssertUnwindSafe(|| work(machine)));
            // Nobody waits any more when sending fails.
            let _ = outcome.send(result);
        });
        let sent = match self.device.borrow().as_ref() {
            // There is room: the call before was waited for.
            Some(device) => device.jobs.try_send(job).map_err(|error| matches!(error, TrySendError::Full(_))),
            None => Err(false),
        };
        match sent.map(|()| done.recv_timeout(limit)) {
            Ok(Ok(Ok(done))) => Ok(done),
            // As if it had happened here: the daemon is told that its capture side is gone.
            Ok(Ok(Err(panic))) => resume_unwind(panic),
            Ok(Err(RecvTimeoutError::Timeout)) | Err(true) => Err(self.give_up_thread(what)),
            Ok(Err(RecvTimeoutError::Disconnected)) | Err(false) => {
                self.renew();
                Err(MediaError::Hung { what })
            }
        }
    }

    /// [`Self::ask`], for what changes what is known.
    fn ask_and_know<T: Send + 'static>(
        &self,
        what: &'static str,
        limit: Duration,
        work: impl FnOnce(&mut B) -> T + Send + 'static,
    ) -> Result<T, MediaError> {
        let (done, known) = self.ask(what, limit, move |machine| {
            let done = work(machine);
            (done, Known::of(machine))
        })?;
        *self.known.borrow_mut() = known;
        Ok(done)
    }

    /// Leaves the thread to whatever holds it, and has a new one take its place.
    fn give_up_thread(&self, what: &'static str) -> MediaError {
        let error = MediaError::Hung { what };
        // Nothing of what it may still deliver reaches a viewer.
        self.gauges.drop_pictures();
        if let Some(device) = self.device.borrow_mut().take() {
            self.hung.borrow_mut().push((Instant::now(), device.life));
        }
        tracing::error!(
            what,
            hung = self.count_hung(),
            "a driver or an encoder hangs; the camera is started anew beside it"
        );
        self.renew();
        // What ran on it is gone; of a run that was stopped already nobody hears.
        let failed = PipelineEvent::Failed { error: error.clone(), by_encoder: false };
        self.inbox.send(Message::Pipeline(Rendition::Full, self.run, failed));
        self.look_at_hung(false);
        error
    }

    fn renew(&self) {
        let mut machine = (self.make)();
        // Else it would take the very encoder that was given up before its pipeline did not end.
        machine.learn(self.known.borrow().learnt.clone());
        if let Some((size, fps)) = self.mode {
            machine.want_mode(size, fps);
        }
        if let Some(kbps) = self.bitrate_kbps {
            machine.want_bitrate(kbps);
        }
        if let Some(look) = &self.look {
            machine.want_look(look);
        }
        *self.known.borrow_mut() = Known::of(&machine);
        let device = DeviceThread::start(machine);
        *self.device.borrow_mut() =
            device.inspect_err(|error| tracing::error!(%error, "the camera cannot be used")).ok();
    }

    fn count_hung(&self) -> usize {
        let mut hung = self.hung.borrow_mut();
        hung.retain(|(_, life)| life.strong_count() > 0);
        hung.len()
    }

    /// Asks for the end of the process where only that helps. `is_in_vain`: the camera could not be started beside what hangs.
    fn look_at_hung(&self, is_in_vain: bool) {
        let count = self.count_hung();
        let since = self.hung.borrow().first().map(|(since, _)| *since);
        let is_for_good = since.is_some_and(|since| since.elapsed() >= HUNG_FOR_GOOD);
        let is_hopeless = count >= MAX_HUNG || (is_in_vain && is_for_good);
        if is_hopeless && !self.has_asked_for_the_end.replace(true) {
            let reason = format!("{count} calls to drivers or encoders hang, and only a new process helps");
            self.tasks.report(EndedEarly { task: THREAD, reason });
        }
    }
}

impl<B: CaptureBackend + Send + 'static, G: Gauges> CaptureBackend for Supervised<B, G> {
    fn initialize(&mut self) -> Result<(), MediaError> {
        self.ask_and_know("starting GStreamer", self.limits.plan, CaptureBackend::initialize)?
    }

    fn plan(&mut self, may_capture: bool) -> Result<Plan, MediaError> {
        let planned =
            self.ask_and_know("looking at it", self.limits.plan, move |machine| machine.plan(may_capture));
        let planned = planned.and_then(|planned| planned);
        self.look_at_hung(planned.is_err());
        planned
    }

    fn is_there(&self, plan: &Plan) -> bool {
        let plan = plan.clone();
        // One that hangs is there.
        self.ask("looking for it", self.limits.other, move |machine| machine.is_there(&plan)).unwrap_or(true)
    }

    fn has_device(&self) -> bool {
        self.known.borrow().has_device
    }

    fn device_name(&self) -> Option<String> {
        self.known.borrow().device_name.clone()
    }

    fn planned_encoder(&self) -> Option<(EncoderStatus, ProfileLevelId)> {
        self.known.borrow().planned_encoder.clone()
    }

    fn want_mode(&mut self, size: Option<(u32, u32)>, fps: Option<u32>) {
        self.mode = Some((size, fps));
        // A machine that takes its place is told as well.
        let _ =
            self.ask("a change of its size", self.limits.other, move |machine| machine.want_mode(size, fps));
    }

    fn want_look(&mut self, look: &PictureLook) {
        self.look = Some(look.clone());
        let look = look.clone();
        // The same.
        let _ = self.ask("a change of its look", self.limits.other, move |machine| machine.want_look(&look));
    }

    fn want_bitrate(&mut self, kbps: u32) {
        self.bitrate_kbps = Some(kbps);
        // The same.
        let _ = self
            .ask("a change of its bit rate", self.limits.other, move |machine| machine.want_bitrate(kbps));
    }

    fn give_up(&mut self, plan: &Plan, by_encoder: bool, reason: &str) {
        let (plan, reason) = (plan.clone(), reason.to_owned());
        // One that hangs here cannot tell that it has given up something.
        let _ = self.ask_and_know("another plan", self.limits.other, move |machine| {
            machine.give_up(&plan, by_encoder, &reason);
        });
    }

    fn prepare_other(&mut self, plan: &Plan) {
        let plan = plan.clone();
        // The same; what was not tried now is tried when it is needed.
        let _ =
            self.ask_and_know("another plan", self.limits.plan, move |machine| machine.prepare_other(&plan));
    }

    fn give_up_sharing(&mut self, plan: &Plan, reason: &str) {
        let (plan, reason) = (plan.clone(), reason.to_owned());
        // The same.
        let _ = self.ask_and_know("another plan", self.limits.other, move |machine| {
            machine.give_up_sharing(&plan, &reason);
        });
    }

    fn encode_instead(&mut self, plan: &Plan, why: WhyEncoded) {
        let plan = plan.clone();
        // The same.
        let _ = self.ask_and_know("another plan", self.limits.other, move |machine| {
            machine.encode_instead(&plan, why);
        });
    }

    fn start(
        &mut self,
        rendition: Rendition,
        plan: &Plan,
        run: u64,
        controls: &BTreeMap<String, i64>,
    ) -> Result<(), MediaError> {
        if rendition == Rendition::Full {
            self.run = run;
        }
        let (plan, controls) = (plan.clone(), controls.clone());
        let started = self.ask("its start", self.limits.start, move |machine| {
            machine.start(rendition, &plan, run, &controls)
        });
        let started = started.and_then(|started| started);
        self.look_at_hung(started.is_err());
        started
    }

    fn stop(&mut self, rendition: Rendition) {
        let silent = self.gauges.now().saturating_duration_since(self.gauges.last_picture());
        let limit = if silent < AT_WORK { self.limits.end } else { self.limits.other };
        // One that hangs is left alone, which is the end of it here.
        let _ = self.ask("its end", limit, move |machine| machine.stop(rendition));
    }

    fn request(&mut self, rendition: Rendition, request: PipelineRequest) -> bool {
        let asked =
            self.ask("a request", self.limits.other, move |machine| machine.request(rendition, request));
        asked.unwrap_or(false)
    }

    fn set_control(
        &mut self,
        camera: &CameraInfo,
        name: &str,
        text: &str,
    ) -> Result<(i64, Vec<ControlInfo>), MediaError> {
        let (camera, name, text) = (camera.clone(), name.to_owned(), text.to_owned());
        self.ask("a control", self.limits.other, move |machine| machine.set_control(&camera, &name, &text))?
    }

    fn apply_controls(&mut self, camera: &CameraInfo, wanted: &BTreeMap<String, i64>) -> Vec<ControlInfo> {
        let (asked, wanted) = (camera.clone(), wanted.clone());
        let applied = self
            .ask("its controls", self.limits.start, move |machine| machine.apply_controls(&asked, &wanted));
        applied.unwrap_or_else(|_| camera.controls.clone())
    }

    fn read_controls(&self, camera: &CameraInfo) -> Vec<ControlInfo> {
        let asked = camera.clone();
        let read = self.ask("its controls", self.limits.other, move |machine| machine.read_controls(&asked));
        read.unwrap_or_else(|_| camera.controls.clone())
    }

    fn encode_snapshot(&mut self, picture: CapturedPicture, width: Option<u32>) -> Result<(), MediaError> {
        self.ask("a snapshot", self.limits.other, move |machine| machine.encode_snapshot(picture, width))?
    }
}

impl<B, G: Gauges> Gauges for Supervised<B, G> {
    fn now(&self) -> Instant {
        self.gauges.now()
    }

    fn last_picture(&self) -> Instant {
        self.gauges.last_picture()
    }

    fn figures(&self, rendition: Rendition, now: Instant) -> Option<StreamFigures> {
        self.gauges.figures(rendition, now)
    }

    fn key_frames(&self) -> u64 {
        self.gauges.key_frames()
    }

    fn drop_pictures(&self) {
        self.gauges.drop_pictures();
    }
}

#[cfg(test)]
#[path = "supervised_tests.rs"]
mod tests;
