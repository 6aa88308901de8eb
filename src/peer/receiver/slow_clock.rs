//! A clock for tests, on which no timer of the library comes due while a connection is made.

use std::time::{Duration, Instant};

/// Waits up to this are as long as they say: the library turns its loop with them.
const TURN: Duration = Duration::from_millis(1);

/// Time that passes `slowness` times slower than it does.
#[derive(Clone, Copy, Debug)]
pub(in crate::peer) struct SlowClock {
    start: Instant,
    slowness: u32,
}

impl Default for SlowClock {
    fn default() -> Self {
        Self::new(1)
    }
}

impl SlowClock {
    pub fn new(slowness: u32) -> Self {
        Self { start: Instant::now(), slowness }
    }

    pub fn now(&self) -> Instant {
        self.start + self.start.elapsed() / self.slowness
    }

    /// How long a wait of `duration` takes.
    pub fn real(&self, duration: Duration) -> Duration {
        if duration <= TURN { duration } else { duration.saturating_mul(self.slowness) }
    }
}
