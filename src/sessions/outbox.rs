//! Where a session's messages leave: the one place that knows whether it still is the current one of its key.

use std::sync::{Arc, Mutex, PoisonError};

use crate::peer::Replies;
use crate::signaling::message::{Down, Refusal};
use crate::signaling::topic::Id;

/// One session's way to its viewer. Once [`SessionOutbox::close`] has returned, nothing more of that session leaves: the viewer would
/// take it for a word of the session after it.
pub(super) struct SessionOutbox {
    replies: Arc<dyn Replies>,
    is_open: Mutex<bool>,
    /// Hears of each refusal that leaves: whoever counts them hears nothing else of a session that goes on.
    refused: Box<dyn Fn(Refusal) + Send + Sync>,
}

impl SessionOutbox {
    /// An open one; `refused` does not wait.
    pub fn new(replies: Arc<dyn Replies>, refused: impl Fn(Refusal) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { replies, is_open: Mutex::new(true), refused: Box::new(refused) })
    }

    /// The session is no longer the current one, or ends.
    pub fn close(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Where its messages went, for what the table has to say of its end.
    pub fn replies(&self) -> &Arc<dyn Replies> {
        &self.replies
    }
}

impl Replies for SessionOutbox {
    fn send(&self, viewer: &Id, session: &Id, message: Down) {
        // Held until the message is handed on, so that none slips through while it is being closed.
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_open {
            if let Down::Error(refusal) = &message {
                (self.refused)(refusal.clone());
            }
            self.replies.send(viewer, session, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct RecordedReplies(Mutex<usize>);

    impl Replies for RecordedReplies {
        fn send(&self, _: &Id, _: &Id, _: Down) {
            *self.0.lock().unwrap() += 1;
        }
    }

    #[test]
    fn nothing_leaves_a_closed_one() {
        let replies = Arc::new(RecordedReplies::default());
        let outbox = SessionOutbox::new(Arc::clone(&replies) as Arc<dyn Replies>, |_| ());
        let say = || outbox.send(&Id::default_session(), &Id::default_session(), Down::Candidate(None));
        say();
        outbox.close();
        say();
        assert_eq!(*replies.0.lock().unwrap(), 1);
    }
}
