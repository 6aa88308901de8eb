//! What happened to sessions, told in pairs: whoever hears that one started hears that it ended.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::peer::EndReason;
use crate::sessions::table::SessionKey;
use crate::signaling::message::{ErrorCode, Refusal};
use crate::signaling::topic::Id;

/// Beginnings and ends that may wait for whoever publishes them, those to come of sessions that run included.
const MAX_WAITING: usize = 1024;

/// What happened to sessions, for the `event` topic and the logs.
#[derive(Debug)]
pub enum SessionEvent {
    /// A session began.
    Started {
        /// Whose.
        key: SessionKey,
        /// The grant it came in with.
        grant: Option<Id>,
    },
    /// A session ended. Comes once for each that began.
    Ended {
        /// Whose.
        key: SessionKey,
        /// The grant it had come in with.
        grant: Option<Id>,
        /// The viewer's address, where it was seen.
        address: Option<String>,
        /// Why.
        reason: EndReason,
    },
    /// Somebody was told no.
    Refused {
        /// Whom.
        key: SessionKey,
        /// The grant that the offer named, whoever sent it.
        claimed: Option<String>,
        /// Why.
        refusal: Refusal,
    },
    /// So many more were told no that each of them is not worth an event.
    RefusedMore {
        /// Why.
        code: ErrorCode,
        /// How many.
        count: u64,
    },
}

/// Events on their way out. Bounded: of a session that finds no room when it starts neither beginning nor end is told.
pub(super) struct EventQueue {
    out: mpsc::Sender<SessionEvent>,
    waiting: VecDeque<SessionEvent>,
    /// Sessions whose beginning was told and whose end was not yet.
    open: usize,
}

impl EventQueue {
    pub fn new(out: mpsc::Sender<SessionEvent>) -> Self {
        Self { out, waiting: VecDeque::new(), open: 0 }
    }

    /// A session began; gives whether its end is to be told.
    #[must_use]
    pub fn started(&mut self, key: SessionKey, grant: Option<Id>) -> bool {
        let has_room = self.waiting.len() + self.open + 2 <= MAX_WAITING;
        if has_room {
            self.open += 1;
            self.put(SessionEvent::Started { key, grant });
        }
        has_room
    }

    /// A session ended whose beginning was told.
    pub fn ended(&mut self, event: SessionEvent) {
        self.open = self.open.saturating_sub(1);
        self.put(event);
    }

    /// Somebody was refused; gives whether it will be told. Anybody can have that happen at will, so it is lost where there is
    /// no room.
    #[must_use]
    pub fn refused(&mut self, event: SessionEvent) -> bool {
        self.waiting.is_empty() && self.out.try_send(event).is_ok()
    }

    fn put(&mut self, event: SessionEvent) {
        self.waiting.push_back(event);
        while let Some(event) = self.waiting.pop_front() {
            match self.out.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
                // Nobody listens any more.
                Err(mpsc::error::TrySendError::Closed(_)) => self.waiting.clear(),
            }
        }
    }

    /// Whether some wait for room.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands on one that waits as soon as there is room. Nothing is lost when this is dropped.
    pub async fn hand_on(&mut self) {
        match self.out.reserve().await {
            Ok(permit) => {
                if let Some(event) = self.waiting.pop_front() {
                    permit.send(event);
                }
            }
            Err(_) => self.waiting.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(at: usize) -> SessionKey {
        SessionKey { viewer: Id::new(&format!("v{at}")).unwrap(), session: Id::default_session() }
    }

    fn ended(at: usize) -> SessionEvent {
        SessionEvent::Ended { key: key(at), grant: None, address: None, reason: EndReason::Requested }
    }

    #[tokio::test]
    async fn however_slow_the_publisher_each_beginning_has_its_end() {
        let (out, mut heard) = mpsc::channel(4);
        let mut queue = EventQueue::new(out);
        let announced: Vec<usize> = (0..5000).filter(|at| queue.started(key(*at), None)).collect();
        assert!(announced.len() < 5000 && queue.waiting.len() <= MAX_WAITING);
        for at in announced {
            queue.ended(ended(at));
        }
        assert!(queue.waiting.len() <= MAX_WAITING, "bounded");
        let mut open = Vec::new();
        let mut take = |event| match event {
            SessionEvent::Started { key, .. } => open.push(key),
            SessionEvent::Ended { key, .. } => open.retain(|other| *other != key),
            SessionEvent::Refused { .. } | SessionEvent::RefusedMore { .. } => unreachable!(),
        };
        while queue.is_waiting() {
            heard.try_recv().into_iter().for_each(&mut take);
            queue.hand_on().await;
        }
        while let Ok(event) = heard.try_recv() {
            take(event);
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(queue.started(key(0), None), "there is room again");
    }
}
