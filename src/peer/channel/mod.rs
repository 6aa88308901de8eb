//! A viewer's data channel (docs/protocol.md, section 6), as the rest of the daemon has it: what to send, and what was asked.
//!
//! Every request gets one answer. While [`MAX_UNANSWERED`] of them wait, no more are read: SCTP's flow control (RFC 9260 section 6.2)
//! then holds back a viewer that asks faster than it listens, and nothing has to be thrown away.

mod news;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use news::About;
use news::SendQueue;

use super::stats::SessionStats;

/// What a viewer calls the channel.
pub const LABEL: &str = "porthole";
/// The longest message that is read, in bytes, as answers say it (`a=max-message-size`, RFC 8841 section 6).
pub const MAX_MESSAGE_BYTES: u32 = 16 * 1024;
/// Requests that are read and not answered yet, or whose answers have not left.
pub const MAX_UNANSWERED: usize = 32;

/// What happens on the channels of all viewers.
#[derive(Debug)]
pub enum ChannelEvent {
    /// One is there. Its end is seen by [`ViewerChannel::is_open`].
    Opened(Arc<ViewerChannel>),
    /// A viewer said this. It is owed one answer.
    Said(Arc<ViewerChannel>, Said),
}

/// A message of a viewer.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// At most [`MAX_MESSAGE_BYTES`].
    Text(String),
    /// Bytes that are no text.
    Binary,
}

/// One viewer's channel.
pub struct ViewerChannel {
    /// Whose it is.
    pub live: Arc<SessionStats>,
    waiting: Mutex<Waiting>,
    is_closed: AtomicBool,
    /// Has the thread of all connections look at `waiting`; does not wait.
    wake: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Waiting {
    queue: SendQueue,
    /// Requests that were handed out and are not answered yet.
    asked: usize,
}

impl fmt::Debug for ViewerChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewerChannel").field("viewer", &self.live.viewer).finish_non_exhaustive()
    }
}

impl ViewerChannel {
    /// That of the session `live`; `wake` is called, wherever something is said, when there is something to send.
    pub(in crate::peer) fn new(live: Arc<SessionStats>, wake: Arc<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { live, waiting: Mutex::default(), is_closed: AtomicBool::new(false), wake })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything that is said still goes somewhere.
    pub fn is_open(&self) -> bool {
        !self.is_closed.load(Ordering::Relaxed)
    }

    /// Says what is new. Of what waits for a slow reader the newest of each kind is kept.
    pub fn tell(&self, about: About, text: String) {
        self.waiting().queue.tell(about, text);
        (self.wake)();
    }

    /// Answers one request. Answers are never left out.
    pub fn answer(&self, text: String) {
        let mut waiting = self.waiting();
        waiting.asked = waiting.asked.saturating_sub(1);
        waiting.queue.answer(text);
        drop(waiting);
        (self.wake)();
    }

    /// Whether one more request may be read.
    pub(in crate::peer) fn has_room(&self) -> bool {
        let waiting = self.waiting();
        waiting.asked + waiting.queue.answers() < MAX_UNANSWERED
    }

    /// A request was read.
    pub(in crate::peer) fn is_asked(&self) {
        self.waiting().asked += 1;
    }

    /// What is to be sent next.
    pub(in crate::peer) fn next(&self) -> Option<String> {
        self.waiting().queue.next()
    }

    /// Nothing goes over it any more.
    pub(in crate::peer) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        *self.waiting() = Waiting::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::topic::Id;

    #[test]
    fn who_does_not_listen_is_not_heard_until_it_does() {
        let live = SessionStats::new(Id::new("tab-1").unwrap(), Id::default_session(), 1, None);
        let woken = Arc::new(Mutex::new(0));
        let count = Arc::clone(&woken);
        let channel = ViewerChannel::new(Arc::new(live), Arc::new(move || *count.lock().unwrap() += 1));
        for _ in 0..MAX_UNANSWERED {
            assert!(channel.has_room());
            channel.is_asked();
        }
        assert!(!channel.has_room(), "none is answered");
        (0..MAX_UNANSWERED).for_each(|at| channel.answer(at.to_string()));
        assert!(!channel.has_room(), "no answer has left");
        assert_eq!(*woken.lock().unwrap(), MAX_UNANSWERED);
        assert_eq!(channel.next().as_deref(), Some("0"));
        assert!(channel.has_room());
        let left: Vec<_> = std::iter::from_fn(|| channel.next()).collect();
        assert_eq!(left.len(), MAX_UNANSWERED - 1, "and no answer is lost");
        channel.close();
        channel.tell(About::Stats, "late".to_owned());
        assert!(!channel.is_open());
    }
}
