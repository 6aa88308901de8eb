//! Calls that a driver may hold up, each on a thread that is given up after a limit; so many of them at most.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::tasks::blocking;
use crate::media::error::MediaError;
use crate::media::helper_thread::{HelperFailure, run_for};

/// Threads that drivers hold at the same time; with so many nothing is opened any more.
const MAX_HUNG: usize = 3;

/// One owner's.
#[derive(Debug)]
pub struct Helpers {
    thread: &'static str,
    /// Those that were given up, as long as they are there.
    hung: Vec<Weak<()>>,
}

impl Helpers {
    /// On threads of this name.
    pub fn new(thread: &'static str) -> Self {
        Self { thread, hung: Vec::new() }
    }

    /// Whether drivers hold as many threads as may be.
    pub fn are_exhausted(&mut self) -> bool {
        self.hung.retain(|thread| thread.strong_count() > 0);
        self.hung.len() >= MAX_HUNG
    }

    /// Has `work` done at `card` and waits for it, for `limit` at most. `what`: as in "it does not come back from …".
    pub async fn run<T: Send + 'static>(
        &mut self,
        card: &str,
        what: &'static str,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, MediaError> {
        let life = Arc::new(());
        let (thread, watched) = (self.thread, Arc::downgrade(&life));
        let work = move || {
            let done = work();
            drop(life);
            done
        };
        let done = blocking(move || run_for(thread, limit, work)).await;
        let card = card.to_owned();
        done.map_err(|failure| match failure {
            HelperFailure::TimedOut => {
                self.hung.push(watched);
                MediaError::AudioHung { card, what }
            }
            other => MediaError::Audio { card, reason: other.reason(String::new) },
        })
    }

    /// [`Self::run`], for what opens a card: not with too many threads held already.
    pub async fn open<T: Send + 'static>(
        &mut self,
        card: &str,
        limit: Duration,
        work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
    ) -> Result<T, MediaError> {
        if self.are_exhausted() {
            return Err(MediaError::AudioHung { card: card.to_owned(), what: "earlier calls" });
        }
        self.run(card, "being opened", limit, work).await?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_card_is_opened_only_while_few_threads_are_held() {
        let mut helpers = Helpers::new("held");
        let mut held = Vec::new();
        for _ in 0..MAX_HUNG {
            let (sender, let_go) = mpsc::sync_channel::<()>(0);
            held.push(sender);
            let hangs = helpers.open("x", Duration::ZERO, move || Ok(let_go.recv().is_err())).await;
            assert!(matches!(hangs, Err(MediaError::AudioHung { what: "being opened", .. })));
        }
        let refused = helpers.open("x", Duration::from_mins(1), || Ok(())).await;
        assert!(matches!(refused, Err(MediaError::AudioHung { what: "earlier calls", .. })));
        assert_eq!(helpers.run("x", "being closed", Duration::from_mins(1), || 7).await.unwrap(), 7);
        drop(held);
        // They end by themselves.
        while helpers.are_exhausted() {
            tokio::task::yield_now().await;
        }
        assert!(helpers.open("x", Duration::from_mins(1), || Ok(())).await.is_ok());
    }
}
