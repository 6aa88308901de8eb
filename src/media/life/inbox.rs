//! What the capture thread is told, and the bounded queue it is told by.
//!
//! Whoever tells it something never waits. There is one place for each setting, and the latest value takes it; one for each kind
//! of report of a pipeline; and a fixed number of places for questions, beyond which they are refused at once. So a thread that a
//! driver holds up costs a known amount of memory and, once it goes on, one change of each setting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::media::error::MediaError;
use crate::media::look::PictureLook;
use crate::media::pipeline::event::PipelineEvent;
use crate::media::still::queue::{MAX_WAITING, Reply};
use crate::media::still::snapshot::Snapshot;
use crate::stream::{KeyFrameReason, Rendition};

/// Controls that may wait to be set.
const MAX_CONTROLS: usize = 32;
/// Signs of life that may be waited for.
const MAX_PINGS: usize = 8;

/// Where the outcome of setting a control goes: the value that the camera has now.
pub type ControlReply = oneshot::Sender<Result<i64, MediaError>>;

/// What the worker is told.
pub enum Message {
    /// This many sessions need pictures.
    Demand(usize),
    /// A subscriber needs a key frame of this rendition.
    KeyFrame(Rendition, KeyFrameReason),
    /// Something changed under /dev.
    DeviceChanged,
    /// Whether such changes are told.
    DevicesFollowed(bool),
    /// The privacy switch.
    Streaming(bool),
    /// Restart the pipeline.
    Restart,
    /// Somebody cannot play the camera's own H.264.
    EncodeInstead,
    /// Keep running for this long.
    Warm(Duration),
    /// The bit rate in kbit/s that the network bears; `None`: whatever the ceiling is.
    Bitrate(Option<u32>),
    /// The most that a person allows, in kbit/s; `None` goes back to the plan's bit rate.
    Ceiling(Option<u32>),
    /// The configuration names another bit rate, in kbit/s.
    PlannedBitrate(u32),
    /// Viewers need the small rendition at so many kbit/s, or none does.
    SmallBitrate(Option<u32>),
    /// Another size in pixels and rate in pictures per second.
    Mode(Option<(u32, u32)>, Option<u32>),
    /// How the picture is to look; answered when it does.
    Look(Box<PictureLook>, oneshot::Sender<()>),
    /// Controls that were set in an earlier life of the process.
    KeepControls(BTreeMap<String, i64>),
    /// A control's name and the value as somebody wrote it.
    Control(String, String, ControlReply),
    /// Somebody wants a still picture of this width in pixels.
    Snapshot(Option<u32>, Reply),
    /// It was made, or not.
    SnapshotEncoded(Result<Snapshot, MediaError>),
    /// From the threads of this rendition's pipeline; the number tells runs apart.
    Pipeline(Rendition, u64, PipelineEvent),
    /// Answer, as a sign of life.
    Ping(oneshot::Sender<()>),
    /// Stop, answer, end.
    Shutdown(oneshot::Sender<()>),
    /// A defect, to see what comes of one.
    #[cfg(test)]
    Panic,
}

/// The place of a message that replaces, or is merged into, the one that waits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Demand,
    KeyFrame(Rendition),
    DeviceChanged,
    DevicesFollowed,
    Streaming,
    Restart,
    EncodeInstead,
    Warm,
    Bitrate,
    Ceiling,
    PlannedBitrate,
    SmallBitrate,
    Mode,
    Look,
    KeepControls,
    SnapshotEncoded,
    FirstPicture(Rendition),
    KeyFrameOut(Rendition),
    PictureCopied(Rendition),
    EncoderIsLate(Rendition),
    Failed(Rendition),
    Shutdown,
}

impl Message {
    /// `None` for a question: each has its own answer.
    fn slot(&self) -> Option<Slot> {
        Some(match self {
            Self::Demand(_) => Slot::Demand,
            Self::KeyFrame(rendition, _) => Slot::KeyFrame(*rendition),
            Self::DeviceChanged => Slot::DeviceChanged,
            Self::DevicesFollowed(_) => Slot::DevicesFollowed,
            Self::Streaming(_) => Slot::Streaming,
            Self::Restart => Slot::Restart,
            Self::EncodeInstead => Slot::EncodeInstead,
            Self::Warm(_) => Slot::Warm,
            Self::Bitrate(_) => Slot::Bitrate,
            Self::Ceiling(_) => Slot::Ceiling,
            Self::PlannedBitrate(_) => Slot::PlannedBitrate,
            Self::SmallBitrate(_) => Slot::SmallBitrate,
            Self::Mode(..) => Slot::Mode,
            Self::Look(..) => Slot::Look,
            Self::KeepControls(_) => Slot::KeepControls,
            Self::SnapshotEncoded(_) => Slot::SnapshotEncoded,
            Self::Pipeline(rendition, _, PipelineEvent::FirstPicture { .. }) => {
                Slot::FirstPicture(*rendition)
            }
            Self::Pipeline(rendition, _, PipelineEvent::KeyFrame) => Slot::KeyFrameOut(*rendition),
            Self::Pipeline(rendition, _, PipelineEvent::PictureCopied(_)) => Slot::PictureCopied(*rendition),
            Self::Pipeline(rendition, _, PipelineEvent::EncoderIsLate) => Slot::EncoderIsLate(*rendition),
            Self::Pipeline(rendition, _, PipelineEvent::EncoderHangs(_) | PipelineEvent::Failed { .. }) => {
                Slot::Failed(*rendition)
            }
            Self::Shutdown(_) => Slot::Shutdown,
            Self::Control(..) | Self::Snapshot(..) | Self::Ping(_) => return None,
            #[cfg(test)]
            Self::Panic => return None,
        })
    }
}

impl Message {
    /// How many questions of this kind may wait.
    fn most_waiting(&self) -> usize {
        match self {
            Self::Control(..) => MAX_CONTROLS,
            Self::Snapshot(..) => MAX_WAITING,
            _ => MAX_PINGS,
        }
    }

    /// Whether it is a question whose answer nobody waits for any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Control(_, _, reply) => reply.is_closed(),
            Self::Snapshot(_, reply) => reply.is_closed(),
            Self::Ping(reply) => reply.is_closed(),
            _ => false,
        }
    }

    /// Tells whoever asked that there is no room. A ping is not answered: the worker gave no sign of life.
    fn refuse(self) {
        // Whoever asked may have stopped waiting.
        match self {
            Self::Control(control, _, reply) => {
                let reason = "too many changes wait for the camera; try again".to_owned();
                let _ = reply.send(Err(MediaError::Control { control, reason }));
            }
            Self::Snapshot(_, reply) => {
                let _ = reply.send(Err(MediaError::SnapshotBusy));
            }
            _ => {}
        }
    }
}

/// What waits, in order.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    is_closed: bool,
}

impl Queue {
    /// Takes `message` in; gives back what is not needed any more.
    fn push(&mut self, message: Message) -> Option<Message> {
        let Some(slot) = message.slot() else { return self.push_question(message) };
        let Some(at) = self.messages.iter().position(|waiting| waiting.slot() == Some(slot)) else {
            self.messages.push_back(message);
            return None;
        };
        match (&mut self.messages[at], message) {
            // Whoever has no picture yet goes before damage.
            (Message::KeyFrame(_, KeyFrameReason::Join), less) => Some(less),
            (Message::Warm(longest), Message::Warm(duration)) => {
                *longest = duration.max(*longest);
                None
            }
            // The first report of a run says most: later failures are its consequences.
            (Message::Pipeline(_, run, _), Message::Pipeline(rendition, of_run, event)) => {
                if *run == of_run {
                    return Some(Message::Pipeline(rendition, of_run, event));
                }
                let old = self.messages.remove(at);
                self.messages.push_back(Message::Pipeline(rendition, of_run, event));
                old
            }
            (Message::Shutdown(_), second) => Some(second),
            (waiting, latest) => Some(std::mem::replace(waiting, latest)),
        }
    }

    fn push_question(&mut self, question: Message) -> Option<Message> {
        // Those that nobody waits for any more make room.
        self.messages.retain(|waiting| !waiting.is_abandoned());
        let kind = std::mem::discriminant(&question);
        let waiting = self.messages.iter().filter(|waiting| std::mem::discriminant(*waiting) == kind).count();
        if waiting >= question.most_waiting() {
            return Some(question);
        }
        self.messages.push_back(question);
        None
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that is written to. Clones are the same.
#[derive(Clone)]
pub struct InboxSender {
    shared: Arc<Shared>,
}

/// The end that the worker reads. When it is dropped, whoever waits for an answer learns that none will come.
pub struct Inbox {
    shared: Arc<Shared>,
}

/// An empty queue.
pub fn channel() -> (InboxSender, Inbox) {
    let shared = Arc::<Shared>::default();
    (InboxSender { shared: Arc::clone(&shared) }, Inbox { shared })
}

impl InboxSender {
    /// Never blocks. After the worker's end there is nothing left to be done, and the message is dropped.
    pub fn send(&self, message: Message) {
        let mut queue = self.shared.queue();
        if queue.is_closed {
            drop(queue);
            drop(message);
            return;
        }
        let left_over = queue.push(message);
        drop(queue);
        self.shared.filled.notify_one();
        if let Some(message) = left_over {
            message.refuse();
        }
    }
}

impl Inbox {
    /// The next message; `None` when there is none until `deadline`.
    pub fn receive(&self, deadline: Instant) -> Option<Message> {
        let mut queue = self.shared.queue();
        loop {
            if let Some(message) = queue.messages.pop_front() {
                return Some(message);
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return None;
            }
            let woken = self.shared.filled.wait_timeout(queue, wait);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Inbox {
    /// Refuses everything for this reason until told to shut down. Wakes each `interval`.
    pub fn refuse_until_shutdown(&self, reason: &str, interval: Duration) {
        loop {
            let message = self.receive(Instant::now() + interval);
            // Whoever asked may have stopped waiting.
            match message {
                Some(Message::Shutdown(done)) => {
                    let _ = done.send(());
                    return;
                }
                Some(Message::Ping(done)) => {
                    let _ = done.send(());
                }
                Some(Message::Snapshot(_, reply)) => {
                    let _ = reply.send(Err(MediaError::Snapshot { reason: reason.to_owned() }));
                }
                Some(Message::Control(control, _, reply)) => {
                    let _ = reply.send(Err(MediaError::Control { control, reason: reason.to_owned() }));
                }
                _ => {}
            }
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_closed = true;
        let left = std::mem::take(&mut queue.messages);
        drop(queue);
        drop(left);
    }
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
