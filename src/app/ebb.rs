//! Gives memory back after viewers have left.

use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::base::memory::{Ebb, give_back};
use crate::base::stats;
use crate::sessions::Sessions;

const EVERY: Duration = Duration::from_secs(1);

/// Ends when aborted.
pub(super) fn follow(sessions: Sessions) -> AbortHandle {
    tokio::spawn(async move {
        let (mut ebb, mut ticks) = (Ebb::default(), interval(EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if ebb.is_due(Instant::now(), sessions.live().len()) {
                // Were it to fail, the next time gives back what this one did not.
                let _ = spawn_blocking(give_back_and_tell).await;
            }
        }
    })
    .abort_handle()
}

fn give_back_and_tell() {
    let (before, begin) = (stats::snapshot().rss, Instant::now());
    give_back();
    let (took, after) = (begin.elapsed(), stats::snapshot().rss);
    tracing::debug!(?took, before, after, "memory given back, in bytes");
}
