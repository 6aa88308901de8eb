//! When the camera runs, and likewise the microphone: a pure state machine over demand, the privacy switch, the device and what
//! the pipeline reports. It takes `now` and gives actions and deadlines; it owns no clock.

use std::time::{Duration, Instant};

use crate::media::error::CameraTrouble;
use crate::media::life::cause::Cause;
use crate::media::status::CameraState;

/// Time from a start to its first picture. Generous: emulated machines need most of it.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// A live camera without a picture for this long is restarted: an unplugged UVC camera may give
/// no error at all.
const FRAME_TIMEOUT: Duration = Duration::from_secs(3);
/// First wait before another attempt; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// Longest wait between attempts: with the time of a start, a camera that works again is live within five seconds.
const MAX_BACKOFF: Duration = Duration::from_secs(3);
/// A run this long proves the camera healthy: the next failure starts at the shortest wait.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// What there is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceCondition {
    /// A plan exists: the pipeline can be started.
    Ready,
    /// No device; its arrival is watched for.
    Absent(Cause),
    /// A device or an encoder that cannot be used, and why.
    Unusable(Cause),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// This many sessions need pictures.
    Demand(usize),
    /// The privacy switch.
    Streaming(bool),
    /// The outcome of looking for a device.
    Device(DeviceCondition),
    /// The first picture of the current run.
    FirstFrame,
    /// The latest picture of the current run came at this time.
    FrameAt(Instant),
    /// The current run failed or ended, and why.
    Failed(Cause),
    /// Somebody wants the pipeline restarted now.
    Restart,
    /// Something else is about to take over from what failed, and why it has to: the state says nothing of it, the picture does.
    Replaced(Cause),
    /// Keep running for this long from now.
    Warm(Duration),
    /// Whether somebody waits for a still picture.
    Snapshot(bool),
    /// Time passed.
    Tick,
}

/// What the owner of the pipeline has to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineAction {
    /// Stop the pipeline and close the device.
    Stop,
    /// Start the pipeline.
    Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Starting {
        since: Instant,
    },
    Live {
        since: Instant,
        last_frame: Instant,
    },
    /// Failed; the next attempt comes at this time.
    Waiting {
        until: Instant,
    },
}

/// The state machine.
#[derive(Debug)]
pub struct Lifecycle {
    /// What the device gives, in a word: a picture.
    gives: &'static str,
    linger: Duration,
    streaming: bool,
    demand: usize,
    snapshot_wanted: bool,
    device: DeviceCondition,
    phase: Phase,
    linger_until: Option<Instant>,
    warm_until: Option<Instant>,
    backoff: Duration,
    /// Why the last run failed; cleared by the next first picture.
    failure: Option<Cause>,
    /// Why something else takes over; cleared in the same way.
    replaced: Option<Cause>,
    restarts: u64,
}

impl Lifecycle {
    /// Nothing runs, and nothing is known of the device yet.
    pub fn new(linger: Duration, streaming: bool) -> Self {
        Self {
            gives: "picture",
            linger,
            streaming,
            demand: 0,
            snapshot_wanted: false,
            device: DeviceCondition::Absent("the camera is being looked for".to_owned().into()),
            phase: Phase::Down,
            linger_until: None,
            warm_until: None,
            backoff: MIN_BACKOFF,
            failure: None,
            replaced: None,
            restarts: 0,
        }
    }

    /// The same of a device that gives sound.
    pub fn of_sound(linger: Duration, streaming: bool) -> Self {
        let device = DeviceCondition::Absent("the microphone is being looked for".to_owned().into());
        Self { gives: "sound", device, ..Self::new(linger, streaming) }
    }

    /// Takes note of `input` and says what to do.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<PipelineAction> {
        let mut actions = Vec::new();
        match input {
            Input::Demand(count) => self.set_demand(now, count),
            Input::Streaming(on) => {
                self.streaming = on;
                if !on {
                    (self.linger_until, self.warm_until) = (None, None);
                    self.forget_failure();
                }
            }
            Input::Device(device) => self.set_device(device),
            Input::FirstFrame => {
                if let Phase::Starting { .. } = self.phase {
                    self.phase = Phase::Live { since: now, last_frame: now };
                    (self.failure, self.replaced) = (None, None);
                }
            }
            Input::FrameAt(at) => {
                if let Phase::Live { last_frame, .. } = &mut self.phase {
                    *last_frame = at.max(*last_frame);
                }
            }
            Input::Failed(reason) => self.fail(now, reason, &mut actions),
            Input::Restart => {
                if self.is_up() {
                    actions.push(PipelineAction::Stop);
                    self.restarts += 1;
                }
                self.phase = Phase::Down;
                (self.failure, self.backoff) = (None, MIN_BACKOFF);
            }
            Input::Replaced(cause) => self.replaced = Some(cause),
            // Not while the switch is off: turning it on must not start the camera by itself.
            Input::Warm(duration) if self.streaming => {
                let until = now + duration;
                self.warm_until = Some(self.warm_until.map_or(until, |old| old.max(until)));
            }
            Input::Snapshot(wanted) => self.snapshot_wanted = wanted,
            Input::Warm(_) | Input::Tick => {}
        }
        self.watch_frames(now, &mut actions);
        self.settle(now, &mut actions);
        actions
    }

    fn set_demand(&mut self, now: Instant, count: usize) {
        if count == 0 && self.demand > 0 && self.is_up() {
            self.linger_until = Some(now + self.linger);
        }
        if count > 0 && self.demand == 0 && self.failure.is_some() {
            // A new viewer does not wait for an old backoff.
            self.backoff = MIN_BACKOFF;
            if let Phase::Waiting { .. } = self.phase {
                self.phase = Phase::Down;
            }
        }
        if count > 0 {
            self.linger_until = None;
        }
        self.demand = count;
    }

    fn set_device(&mut self, device: DeviceCondition) {
        if device == DeviceCondition::Ready && self.device != DeviceCondition::Ready {
            self.backoff = MIN_BACKOFF;
            (self.failure, self.replaced) = (None, None);
            if let Phase::Waiting { .. } = self.phase {
                self.phase = Phase::Down;
            }
        }
        self.device = device;
    }

    fn fail(&mut self, now: Instant, reason: Cause, actions: &mut Vec<PipelineAction>) {
        let (Phase::Starting { since } | Phase::Live { since, .. }) = self.phase else { return };
        let was_live = matches!(self.phase, Phase::Live { .. });
        actions.push(PipelineAction::Stop);
        self.restarts += 1;
        if was_live && now.saturating_duration_since(since) >= HEALTHY_AFTER {
            self.backoff = MIN_BACKOFF;
        }
        self.phase = Phase::Waiting { until: now + self.backoff };
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
        self.failure = Some(reason);
        // Lingering is a courtesy of a working camera.
        self.linger_until = None;
    }

    fn watch_frames(&mut self, now: Instant, actions: &mut Vec<PipelineAction>) {
        if self.watchdog_at().is_none_or(|at| now < at) {
            return;
        }
        let reason = if matches!(self.phase, Phase::Live { .. }) {
            format!("no {} for {} s", self.gives, FRAME_TIMEOUT.as_secs())
        } else {
            format!("no {} within {} s of the start", self.gives, START_TIMEOUT.as_secs())
        };
        self.fail(now, reason.into(), actions);
    }

    /// Brings the pipeline to where demand, privacy and device want it.
    fn settle(&mut self, now: Instant, actions: &mut Vec<PipelineAction>) {
        for until in [&mut self.linger_until, &mut self.warm_until] {
            if until.is_some_and(|at| now >= at) {
                *until = None;
            }
        }
        if !self.is_wanted() || self.device != DeviceCondition::Ready {
            if self.is_up() {
                actions.push(PipelineAction::Stop);
            }
            self.phase = Phase::Down;
            if !self.is_wanted() {
                self.forget_failure();
            }
            return;
        }
        let due = match self.phase {
            Phase::Down => true,
            Phase::Waiting { until } => now >= until,
            Phase::Starting { .. } | Phase::Live { .. } => false,
        };
        if due {
            self.phase = Phase::Starting { since: now };
            actions.push(PipelineAction::Start);
        }
    }

    fn forget_failure(&mut self) {
        (self.failure, self.replaced) = (None, None);
        self.backoff = MIN_BACKOFF;
    }

    /// Whether pictures are needed now.
    pub fn is_wanted(&self) -> bool {
        let kept = self.linger_until.is_some() || self.warm_until.is_some();
        self.streaming && (self.demand > 0 || self.snapshot_wanted || kept)
    }

    /// Whether the privacy switch lets the camera be opened.
    pub fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Since when pictures flow, if they do.
    pub fn live_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Live { since, .. } => Some(since),
            _ => None,
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. } | Phase::Live { .. })
    }

    fn watchdog_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { since } => Some(since + START_TIMEOUT),
            Phase::Live { last_frame, .. } => Some(last_frame + FRAME_TIMEOUT),
            Phase::Down | Phase::Waiting { .. } => None,
        }
    }

    /// When to call [`Self::handle`] with [`Input::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let retry = match self.phase {
            Phase::Waiting { until } => Some(until),
            _ => None,
        };
        [retry, self.watchdog_at(), self.linger_until, self.warm_until].into_iter().flatten().min()
    }

    /// The camera's condition for people and dashboards. While attempts are repeated it stays
    /// `Error`, so that nobody sees a flicker of `starting`.
    pub fn state(&self) -> CameraState {
        match (&self.device, self.phase) {
            _ if !self.streaming => CameraState::Off,
            (DeviceCondition::Absent(_), _) => CameraState::Lost,
            (DeviceCondition::Unusable(_), _) => CameraState::Error,
            (DeviceCondition::Ready, Phase::Live { .. }) => CameraState::Live,
            _ if self.failure.is_some() => CameraState::Error,
            (DeviceCondition::Ready, Phase::Starting { .. }) => CameraState::Starting,
            (DeviceCondition::Ready, _) => CameraState::Idle,
        }
    }

    /// Why the state is `Lost` or `Error`, in words for people.
    pub fn error(&self) -> Option<&str> {
        self.cause().map(|cause| cause.text.as_str())
    }

    /// The same for those who watch, who see it until there is a picture again.
    pub fn trouble(&self) -> Option<&CameraTrouble> {
        self.cause().or(self.replaced.as_ref()).map(|cause| &cause.trouble)
    }

    fn cause(&self) -> Option<&Cause> {
        match (&self.device, self.state()) {
            (
                DeviceCondition::Absent(why) | DeviceCondition::Unusable(why),
                CameraState::Lost | CameraState::Error,
            ) => Some(why),
            (_, CameraState::Error) => self.failure.as_ref(),
            _ => None,
        }
    }

    /// Runs that were ended by a failure or on request, since the start.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
