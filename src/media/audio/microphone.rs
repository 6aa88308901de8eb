//! The loop that has the microphone run while somebody listens. When is `life::lifecycle`'s to say; this carries it out, and waits for a
//! driver only as long as is bearable.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::capture::{CaptureEvent, CaptureReporter};
use super::helpers::Helpers;
use super::machine::CaptureMachine;
use super::outlet::Outlet;
use super::source::SoundDevice;
use super::status::{AudioState, AudioStatus};
use crate::media::life::lifecycle::{DeviceCondition, Input, Lifecycle, PipelineAction};
use crate::media::status::CameraState;

/// The helpers' name.
const THREAD: &str = "audio-device";
/// A card that nobody listens to any more is closed after this.
const LINGER: Duration = Duration::from_secs(2);
/// A card that is not there is looked for so often while somebody wants to listen: a sound server says nothing when it comes.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// Looking, opening and closing may take so long.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
const OPEN_LIMIT: Duration = Duration::from_secs(10);
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// What becomes of pipelines and is not taken note of yet.
const MAX_EVENTS: usize = 16;

/// What the loop is told.
#[derive(Debug)]
pub struct MicrophoneInputs {
    /// How many listen.
    pub demand: watch::Receiver<usize>,
    /// Whether sound may be captured.
    pub is_on: watch::Receiver<bool>,
    /// A card has come or gone.
    pub cards_changed: Arc<Notify>,
}

/// What has become of the capture of this number.
type Reported = (u64, CaptureEvent);

/// See the module.
pub struct MicrophoneLoop<M: CaptureMachine> {
    machine: Arc<M>,
    outlet: Arc<Outlet>,
    status: watch::Sender<AudioStatus>,
    life: Lifecycle,
    microphone: Option<SoundDevice>,
    capture: Option<M::Capture>,
    /// The capture's number, to tell events of earlier ones.
    run: u64,
    starts: u64,
    report: mpsc::Sender<Reported>,
    reported: mpsc::Receiver<Reported>,
    helpers: Helpers,
    look_at: Option<Instant>,
}

impl<M: CaptureMachine> MicrophoneLoop<M> {
    /// Nothing is open yet.
    pub fn new(machine: M, outlet: Arc<Outlet>, status: watch::Sender<AudioStatus>, is_on: bool) -> Self {
        let (report, reported) = mpsc::channel(MAX_EVENTS);
        Self {
            machine: Arc::new(machine),
            outlet,
            status,
            life: Lifecycle::of_sound(LINGER, is_on),
            microphone: None,
            capture: None,
            run: 0,
            starts: 0,
            report,
            reported,
            helpers: Helpers::new(THREAD),
            look_at: None,
        }
    }

    /// Until `cancelled`; then the card is closed.
    pub async fn run(mut self, mut inputs: MicrophoneInputs, cancelled: impl Future<Output = ()>) {
        let mut cancelled = pin!(cancelled);
        inputs.demand.mark_changed();
        inputs.is_on.mark_changed();
        self.look().await;
        loop {
            let due = [self.life.deadline().map(Instant::from_std), self.look_at].into_iter().flatten().min();
            let sleep = async move {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut cancelled => break,
                Ok(()) = inputs.is_on.changed() => {
                    let is_on = *inputs.is_on.borrow_and_update();
                    self.take(Input::Streaming(is_on)).await;
                }
                Ok(()) = inputs.demand.changed() => {
                    let count = *inputs.demand.borrow_and_update();
                    self.take(Input::Demand(count)).await;
                }
                Some((run, event)) = self.reported.recv() => self.event(run, event).await,
                () = inputs.cards_changed.notified() => self.look().await,
                () = sleep => {
                    if self.look_at.is_some_and(|at| at <= Instant::now()) {
                        self.look().await;
                    }
                    self.take(Input::Tick).await;
                }
            }
        }
        self.close().await;
    }

    async fn event(&mut self, run: u64, event: CaptureEvent) {
        if run != self.run {
            return;
        }
        match event {
            CaptureEvent::FirstSound => self.take(Input::FirstFrame).await,
            CaptureEvent::Failed(error) => {
                tracing::warn!(%error, "the microphone gives nothing");
                self.take(Input::Failed(error.to_string().into())).await;
            }
            // Goes to the status by itself.
            CaptureEvent::Level(_) => {}
        }
    }

    /// Looks whether the microphone is there.
    async fn look(&mut self) {
        let captured = self.microphone.clone().filter(|_| self.capture.is_some());
        let condition = self.find().await;
        let is_other =
            captured.is_some() && condition == DeviceCondition::Ready && captured != self.microphone;
        self.take(Input::Device(condition)).await;
        if is_other {
            self.take(Input::Restart).await;
        }
    }

    async fn find(&mut self) -> DeviceCondition {
        let (machine, current) = (Arc::clone(&self.machine), self.microphone.clone());
        let current = current.filter(|_| self.capture.is_some());
        let (card, look) = (self.card(), move || machine.find(current.as_ref()));
        let found = self.helpers.run(&card, "being looked for", LOOK_LIMIT, look).await;
        match found.and_then(|found| found) {
            Ok(microphone) => {
                self.look_at = None;
                self.microphone = Some(microphone);
                DeviceCondition::Ready
            }
            Err(error) => {
                self.look_at = Some(Instant::now() + LOOK_INTERVAL).filter(|_| self.life.is_wanted());
                DeviceCondition::Absent(error.to_string().into())
            }
        }
    }

    /// Does what `input` asks for.
    async fn take(&mut self, input: Input) {
        let mut inputs = VecDeque::from([Input::FrameAt(self.outlet.last_sound()), input]);
        // Ends: a failed start makes the life cycle wait.
        while let Some(input) = inputs.pop_front() {
            for action in self.life.handle(Instant::now().into_std(), input) {
                match action {
                    PipelineAction::Stop => self.close().await,
                    PipelineAction::Start => inputs.extend(self.open().await),
                }
            }
        }
        if self.look_at.is_none() && self.life.is_wanted() && self.life.state() == CameraState::Lost {
            self.look_at = Some(Instant::now() + LOOK_INTERVAL);
        }
        if !self.life.is_wanted() {
            self.look_at = None;
        }
        self.tell();
    }

    /// What kept it from starting.
    async fn open(&mut self) -> Option<Input> {
        self.run += 1;
        // It may have gone since it was seen last.
        let condition = self.find().await;
        if condition != DeviceCondition::Ready {
            return Some(Input::Device(condition));
        }
        let microphone = self.microphone.clone()?;
        let (machine, outlet, report) =
            (Arc::clone(&self.machine), Arc::clone(&self.outlet), self.reporter());
        let (card, open) = (microphone.card.clone(), move || machine.open(&microphone, &outlet, &report));
        let opened = self.helpers.open(&card, OPEN_LIMIT, open).await;
        match opened {
            Ok(capture) => {
                self.capture = Some(capture);
                self.starts += 1;
                None
            }
            Err(error) => {
                // What it still says is known.
                self.run += 1;
                self.outlet.end_run();
                tracing::warn!(%error, "the microphone does not open");
                Some(Input::Failed(error.to_string().into()))
            }
        }
    }

    fn reporter(&self) -> CaptureReporter {
        let (events, status, run) = (self.report.clone(), self.status.clone(), self.run);
        Arc::new(move |event| match event {
            CaptureEvent::Level(level) => {
                status.send_if_modified(|status| {
                    let is_live = status.state == AudioState::Live;
                    if is_live {
                        status.level = Some(level);
                    }
                    is_live
                });
            }
            // Without room there is an earlier one of the same run.
            event => drop(events.try_send((run, event))),
        })
    }

    async fn close(&mut self) {
        self.run += 1;
        self.outlet.end_run();
        let Some(capture) = self.capture.take() else { return };
        let card = self.card();
        if let Err(error) = self.helpers.run(&card, "being closed", CLOSE_LIMIT, move || drop(capture)).await
        {
            tracing::error!(%error, "a sound card is left to its driver");
        }
    }

    fn card(&self) -> String {
        self.microphone.as_ref().map_or_else(|| "of this machine".to_owned(), |found| found.card.clone())
    }

    fn tell(&self) {
        let state = match self.life.state() {
            CameraState::Off => AudioState::Off,
            CameraState::Idle => AudioState::Idle,
            CameraState::Starting => AudioState::Starting,
            CameraState::Live => AudioState::Live,
            CameraState::Lost => AudioState::Lost,
            CameraState::Error => AudioState::Error,
        };
        let (error, gaps) = (self.life.error().map(ToOwned::to_owned), self.outlet.gaps());
        let card = self.microphone.as_ref().map(|microphone| microphone.card.clone());
        self.status.send_if_modified(|status| {
            let old = status.clone();
            let level = status.level.filter(|_| state == AudioState::Live);
            (status.state, status.card, status.error, status.level) = (state, card, error, level);
            (status.starts, status.gaps) = (self.starts, gaps);
            *status != old
        });
    }
}

#[cfg(test)]
#[path = "microphone_tests.rs"]
mod tests;
