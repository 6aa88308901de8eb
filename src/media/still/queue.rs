//! Who waits for a still picture, and when the next one is taken: a pure queue, without clock and pipeline.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::media::error::MediaError;
use crate::media::still::snapshot::Snapshot;

/// How many may wait at once.
pub const MAX_WAITING: usize = 16;
/// Least time between two pictures that are taken.
const MIN_GAP: Duration = Duration::from_millis(500);
/// A camera that was just started needs a moment for its exposure; its first pictures are often dark.
const SETTLE: Duration = Duration::from_millis(800);
/// Longer than a camera's start and a few attempts at it may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// Where a picture goes.
pub type Reply = oneshot::Sender<Result<Snapshot, MediaError>>;

struct Waiting {
    width: Option<u32>,
    since: Instant,
    reply: Reply,
}

/// What is to be made of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Pixels; `None` for as wide as it is.
    pub width: Option<u32>,
}

/// What happens to the picture being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    None,
    /// Asked of the pipeline at this time.
    Asked(Instant),
    /// Being made into a JPEG of this width.
    Encoding(Option<u32>),
    /// Being made, but nobody may have it any more.
    Void,
}

/// The queue.
pub struct SnapshotQueue {
    waiting: Vec<Waiting>,
    work: Work,
    last_taken: Option<Instant>,
    /// Whether a fresh start needs time until its pictures are good.
    settles: bool,
}

impl SnapshotQueue {
    /// Nobody waits.
    pub fn new() -> Self {
        Self { waiting: Vec::new(), work: Work::None, last_taken: None, settles: true }
    }

    /// Whether pictures are good only a moment after the start, as those of real cameras are.
    pub fn set_settles(&mut self, settles: bool) {
        self.settles = settles;
    }

    /// Somebody wants a picture. `is_private`: the privacy switch is off.
    pub fn ask(&mut self, now: Instant, is_private: bool, width: Option<u32>, reply: Reply) {
        if is_private || self.waiting.len() >= MAX_WAITING {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(Err(if is_private { MediaError::Private } else { MediaError::SnapshotBusy }));
            return;
        }
        self.waiting.push(Waiting { width, since: now, reply });
    }

    /// Whether the camera has to run for them: nothing runs for a picture that is already taken.
    pub fn need_camera(&self) -> bool {
        match self.work {
            Work::Encoding(width) => self.waiting.iter().any(|waiting| waiting.width != width),
            _ => !self.waiting.is_empty(),
        }
    }

    /// When to look again.
    pub fn deadline(&self, live_since: Option<Instant>) -> Option<Instant> {
        let give_up = self.waiting.iter().map(|waiting| waiting.since + PATIENCE).min();
        let take = match self.work {
            Work::None if !self.waiting.is_empty() => self.due(live_since),
            _ => None,
        };
        [give_up, take].into_iter().flatten().min()
    }

    fn due(&self, live_since: Option<Instant>) -> Option<Instant> {
        let settled = live_since? + if self.settles { SETTLE } else { Duration::ZERO };
        Some(self.last_taken.map_or(settled, |last| settled.max(last + MIN_GAP)))
    }

    /// Whether to take a picture now; saying yes counts as having asked for it.
    pub fn poll(&mut self, now: Instant, live_since: Option<Instant>) -> bool {
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
        let due = self.work == Work::None
            && !self.waiting.is_empty()
            && self.due(live_since).is_some_and(|at| now >= at);
        if due {
            self.work = Work::Asked(now);
        }
        due
    }

    /// The pipeline that was asked is gone.
    pub fn pipeline_stopped(&mut self) {
        if let Work::Asked(_) = self.work {
            self.work = Work::None;
        }
    }

    /// A picture was taken. What is to be made of it, if anybody still wants it.
    pub fn taken(&mut self, now: Instant) -> Option<Order> {
        let Work::Asked(_) = self.work else { return None };
        self.last_taken = Some(now);
        let first = self.waiting.first().map(|waiting| waiting.width);
        self.work = first.map_or(Work::None, Work::Encoding);
        first.map(|width| Order { width })
    }

    /// The JPEG is made, or not. Goes to everybody who wanted that width.
    pub fn encoded(&mut self, result: &Result<Snapshot, MediaError>) {
        let Work::Encoding(width) = std::mem::replace(&mut self.work, Work::None) else { return };
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.width == width {
                // Whoever asked may have stopped waiting.
                let _ = waiting.reply.send(result.clone());
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    /// Everybody is told `error`; a picture that is being made is for nobody any more.
    pub fn refuse_all(&mut self, error: &MediaError) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.reply.send(Err(error.clone()));
        }
        self.work = match self.work {
            // Its end is still to come and must not be taken for the end of the next one.
            Work::Encoding(_) | Work::Void => Work::Void,
            _ => Work::None,
        };
    }

    /// Those who have waited too long are told why there is no picture.
    pub fn expire(&mut self, now: Instant, why: &str) {
        for waiting in std::mem::take(&mut self.waiting) {
            if now.saturating_duration_since(waiting.since) < PATIENCE {
                self.waiting.push(waiting);
            } else {
                let reason = format!("{why}; no picture within {} s", PATIENCE.as_secs());
                let _ = waiting.reply.send(Err(MediaError::Snapshot { reason }));
            }
        }
        if let Work::Asked(at) = self.work
            && now.saturating_duration_since(at) >= PATIENCE
        {
            self.work = Work::None;
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
