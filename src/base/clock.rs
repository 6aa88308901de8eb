//! The time that loops go by: the runtime's, which tests can stop and set.

use std::time::Instant;

/// Now, as the timers of the runtime see it. What compares instants and then sleeps until one of them has to ask here:
/// with two clocks it would wake before it is due, again and again.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
