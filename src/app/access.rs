//! Follows the grants and the clock, so that who is no longer invited goes.

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::access::clock::Clock;
use crate::access::store::{Stamp, Store};
use crate::sessions::Sessions;

/// Looking at one file is cheap, and works on every file system.
const EVERY: Duration = Duration::from_secs(1);

/// Tells `sessions` the time each second, and the grants whenever they are no longer those of `stamp`.
pub(super) fn follow(store: Store, mut stamp: Option<Stamp>, sessions: Sessions) -> AbortHandle {
    let task = tokio::spawn(async move {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let found = store.stamp();
            let mut grants = None;
            if found != stamp {
                stamp = found;
                match store.load() {
                    Ok(loaded) => {
                        tracing::info!(grants = loaded.len(), "the grants were read again");
                        grants = Some(loaded);
                    }
                    Err(error) => tracing::error!(%error, "the grants in force stay as they are"),
                }
            }
            sessions.set_access(Clock::read(), grants).await;
        }
    });
    task.abort_handle()
}
