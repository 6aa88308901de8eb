//! Still pictures on the broker: when a dashboard asks, and on a schedule; one at a time.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::{Map, json};

use super::publisher::{Answer, Publisher};
use crate::config::Snapshots;
use crate::dashboard::events;
use crate::media::{Media, MediaError, Snapshot};

/// Commands that can share one picture.
const MAX_SHARED: usize = 64;
/// A schedule that failed is tried again after this at the earliest.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// A picture that comes, or the reason why none does.
type Picture = Result<Snapshot, MediaError>;

/// The picture that is being taken.
struct Taking {
    width: Option<u32>,
    /// Nobody for one of the schedule.
    answers: Vec<Answer>,
    picture: Pin<Box<dyn Future<Output = Picture> + Send>>,
}

/// Takes pictures, and knows which one the broker keeps.
pub(super) struct SnapshotTaker {
    media: Media,
    policy: Snapshots,
    taking: Option<Taking>,
    /// When the schedule's next one is due.
    next: Option<Instant>,
    /// The picture that the broker keeps.
    published: Option<Bytes>,
    /// What was taken before this shows more than may be seen now.
    not_before: Option<SystemTime>,
}

impl SnapshotTaker {
    pub fn new(media: Media, policy: Snapshots, now: Instant) -> Self {
        let mut taker = Self { media, policy, taking: None, next: None, published: None, not_before: None };
        taker.schedule(now);
        taker
    }

    /// Whether pictures may be kept by the broker.
    pub fn is_allowed(&self) -> bool {
        self.policy.allowed
    }

    /// Follows the configuration.
    pub fn set_policy(&mut self, policy: Snapshots, now: Instant) {
        if self.policy != policy {
            self.policy = policy;
            self.schedule(now);
        }
    }

    fn schedule(&mut self, now: Instant) {
        self.next = self.policy.interval.filter(|_| self.policy.allowed).map(|interval| now + interval);
    }

    /// When [`Self::take_due`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.taking.is_none())
    }

    /// A dashboard wants one.
    pub fn ask(&mut self, width: Option<u32>, answer: Answer, publisher: &mut Publisher) {
        match &mut self.taking {
            None => self.take(width, vec![answer]),
            Some(taking) if taking.width == width && taking.answers.len() < MAX_SHARED => {
                taking.answers.push(answer);
            }
            Some(_) => {
                let error = "another snapshot is being taken; try again in a moment".to_owned();
                publisher.answer(answer, &Err(error));
            }
        }
    }

    /// Takes the schedule's picture if it is time, and if it `may` be: somebody could get it, and the switch is on.
    pub fn take_due(&mut self, now: Instant, is_allowed: bool) {
        if self.due().is_some_and(|at| at <= now) {
            self.schedule(now);
            if is_allowed {
                self.take(None, Vec::new());
            }
        }
    }

    fn take(&mut self, width: Option<u32>, answers: Vec<Answer>) {
        let media = self.media.clone();
        let picture = Box::pin(async move { media.snapshot(width).await });
        self.taking = Some(Taking { width, answers, picture });
    }

    /// Resolves when the picture that is being taken has come, or will not; [`Self::finish`] follows. Can be cancelled.
    pub async fn taken(&mut self) -> Picture {
        match &mut self.taking {
            Some(taking) => taking.picture.as_mut().await,
            None => pending().await,
        }
    }

    /// Publishes what was taken and answers those who asked. `streaming` is the privacy switch.
    pub fn finish(&mut self, picture: Picture, streaming: bool, now: Instant, publisher: &mut Publisher) {
        let Some(Taking { answers, .. }) = self.taking.take() else { return };
        let result = picture.map_err(|error| error.to_string()).and_then(|snapshot| {
            // It may have been on its way when the switch was turned.
            if !streaming {
                return Err(MediaError::Private.to_string());
            }
            if self.not_before.is_some_and(|at| snapshot.taken_at < at) {
                return Err(
                    "the privacy masks were changed while the picture was taken; ask again".to_owned()
                );
            }
            self.publish(&snapshot, answers.is_empty(), publisher)
        });
        publisher.changed();
        if let (Err(error), true) = (&result, answers.is_empty()) {
            tracing::info!(error, "no scheduled snapshot");
            self.next = self.next.map(|next| next.max(now + AFTER_FAILURE));
        }
        for answer in answers {
            publisher.answer(answer, &result);
        }
    }

    /// No picture comes any more: those who asked are told.
    pub fn give_up(&mut self, reason: &str, publisher: &mut Publisher) {
        for answer in self.taking.take().into_iter().flat_map(|taking| taking.answers) {
            publisher.answer(answer, &Err(reason.to_owned()));
        }
    }

    fn publish(&mut self, snapshot: &Snapshot, scheduled: bool, publisher: &Publisher) -> Result<(), String> {
        let jpeg = snapshot.jpeg.clone();
        let is_queued = if self.policy.allowed {
            publisher.retain("snapshot", jpeg.clone())
        } else {
            // Asked for by somebody who is trusted with everything; nobody who comes later sees it.
            publisher.signal("snapshot", jpeg.clone())
        };
        if !is_queued {
            return Err("the picture was taken, but the broker takes nothing more at the moment".to_owned());
        }
        if self.policy.allowed {
            self.published = Some(jpeg);
            publisher.set_snapshot(Some(snapshot.taken_at));
        }
        let mut fields = Map::new();
        fields.insert("width".to_owned(), snapshot.width.into());
        fields.insert("height".to_owned(), snapshot.height.into());
        fields.insert("bytes".to_owned(), snapshot.jpeg.len().into());
        fields.insert("taken".to_owned(), events::rfc3339(snapshot.taken_at).into());
        fields.insert("scheduled".to_owned(), json!(scheduled));
        publisher.event(&events::event(SystemTime::now(), "snapshot", fields));
        Ok(())
    }

    /// Nobody may see the last picture any more.
    pub fn clear(&mut self, publisher: &Publisher) {
        self.published = None;
        publisher.set_snapshot(None);
        publisher.retain("snapshot", "");
    }

    /// The masks are others: what was taken before may show what they cover, so it is not kept.
    pub fn masks_changed(&mut self, publisher: &Publisher) {
        self.not_before = Some(SystemTime::now());
        if self.policy.allowed {
            self.clear(publisher);
        }
    }

    /// The broker may have forgotten the picture, or may still have one that it should not. `streaming` is the privacy
    /// switch.
    pub fn refresh(&mut self, streaming: bool, publisher: &Publisher) {
        if !self.policy.allowed || !streaming {
            self.clear(publisher);
        } else if let Some(jpeg) = self.published.clone() {
            publisher.retain("snapshot", jpeg);
        }
    }
}
