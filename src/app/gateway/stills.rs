//! Still pictures on the broker: when a dashboard asks, and on a schedule; one at a time.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::{Map, json};

use super::commands::{Answer, Done};
use super::router::Router;
use crate::config::Snapshots;
use crate::dashboard::events;
use crate::media::{MediaError, Snapshot};
use crate::signaling::mqtt::Outgoing;

/// Commands that can share one picture.
const MAX_SHARED: usize = 64;
/// A schedule that failed is tried again after this at the earliest.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// The picture that is being taken.
struct Taking {
    width: Option<u32>,
    answers: Vec<Answer>,
}

/// What is known of pictures on the broker.
pub(super) struct Stills {
    taking: Option<Taking>,
    /// When the schedule's next one is due.
    next: Option<Instant>,
    /// The picture that the broker keeps.
    published: Option<Bytes>,
}

impl Stills {
    pub fn new() -> Self {
        Self { taking: None, next: None, published: None }
    }

    /// Follows the configuration.
    pub fn schedule(&mut self, settings: Snapshots, now: Instant) {
        self.next = settings.interval.filter(|_| settings.allowed).map(|interval| now + interval);
    }

    /// When a picture is to be taken without anybody asking.
    pub fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.taking.is_none())
    }
}

impl Router {
    /// A dashboard wants one.
    pub(super) fn ask_snapshot(&mut self, width: Option<u32>, answer: Answer) {
        match &mut self.stills.taking {
            None => self.take_snapshot(width, vec![answer]),
            Some(taking) if taking.width == width && taking.answers.len() < MAX_SHARED => {
                taking.answers.push(answer);
            }
            Some(_) => {
                let error = "another snapshot is being taken; try again in a moment".to_owned();
                self.answer(answer, &Err(error));
            }
        }
    }

    /// The schedule wants one.
    pub(super) fn take_scheduled(&mut self, now: Instant) {
        self.stills.schedule(self.parts.settings.snapshots, now);
        if self.parts.privacy.is_on() && self.stills.taking.is_none() {
            self.take_snapshot(None, Vec::new());
        }
    }

    fn take_snapshot(&mut self, width: Option<u32>, answers: Vec<Answer>) {
        self.stills.taking = Some(Taking { width, answers });
        let (media, done) = (self.parts.media.clone(), self.done.clone());
        tokio::spawn(async move {
            let result = media.snapshot(width).await;
            // Fails only while the daemon ends.
            let _ = done.send(Done::Snapshot(result)).await;
        });
    }

    pub(super) fn snapshot_taken(&mut self, result: Result<Snapshot, MediaError>) {
        let Some(taking) = self.stills.taking.take() else { return };
        let result = result.map_err(|error| error.to_string()).and_then(|snapshot| {
            // It may have been on its way when the switch was turned.
            if !self.parts.privacy.is_on() {
                return Err(MediaError::Private.to_string());
            }
            self.publish_snapshot(&snapshot, taking.answers.is_empty())
        });
        if let (Err(error), true) = (&result, taking.answers.is_empty()) {
            tracing::info!(error, "no scheduled snapshot");
            let later = Instant::now() + AFTER_FAILURE;
            self.stills.next = self.stills.next.map(|next| next.max(later));
        }
        for answer in taking.answers {
            self.answer(answer, &result);
        }
    }

    fn publish_snapshot(&mut self, snapshot: &Snapshot, scheduled: bool) -> Result<(), String> {
        let topic = self.topics.leaf("snapshot");
        let keep = self.parts.settings.snapshots.allowed;
        let message = if keep {
            Outgoing::retained(topic, snapshot.jpeg.clone())
        } else {
            // Asked for by somebody who is trusted with everything; nobody who comes later sees it.
            Outgoing::signal(topic, snapshot.jpeg.clone())
        };
        if !self.link.publish(message) {
            return Err("the picture was taken, but the broker takes nothing more at the moment".to_owned());
        }
        if keep {
            self.stills.published = Some(snapshot.jpeg.clone());
        }
        let mut fields = Map::new();
        fields.insert("width".to_owned(), snapshot.width.into());
        fields.insert("height".to_owned(), snapshot.height.into());
        fields.insert("bytes".to_owned(), snapshot.jpeg.len().into());
        fields.insert("taken".to_owned(), events::rfc3339(snapshot.taken_at).into());
        fields.insert("scheduled".to_owned(), json!(scheduled));
        self.publish_event(&events::event(SystemTime::now(), "snapshot", fields));
        Ok(())
    }

    /// Nobody may see the last picture any more.
    pub(super) fn clear_snapshot(&mut self) {
        self.stills.published = None;
        self.link.publish(Outgoing::retained(self.topics.leaf("snapshot"), ""));
    }

    /// The broker may have forgotten the picture, or may still have one that it should not.
    pub(super) fn refresh_snapshot(&mut self) {
        if !self.parts.settings.snapshots.allowed || !self.parts.privacy.is_on() {
            self.clear_snapshot();
        } else if let Some(jpeg) = self.stills.published.clone() {
            self.link.publish(Outgoing::retained(self.topics.leaf("snapshot"), jpeg));
        }
    }
}
