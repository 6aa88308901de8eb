//! What a client's handles and its task share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::queue::OutQueue;

/// What handles and the task share.
#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<OutQueue>,
    pub(super) wake: Notify,
    pub(super) closing: AtomicBool,
    /// When the task last got round its loop, since [`STARTED`].
    pub(super) heartbeat_ms: AtomicU64,
}

/// The zero of `Shared::heartbeat_ms`.
pub(super) static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Shared {
    pub(super) fn queue(&self) -> MutexGuard<'_, OutQueue> {
        // No code panics while it holds the lock, and a queue of messages has no broken state anyway.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The task is alive.
    pub(super) fn beat(&self) {
        let since_start = u64::try_from(STARTED.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heartbeat_ms.store(since_start, Ordering::Relaxed);
    }
}
