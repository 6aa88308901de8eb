//! Work that a driver may hold up for ever, on a thread that is given up after a limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::base::tasks::panic_text;

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelperFailure {
    /// The system gave no thread, in its words.
    NotStarted(String),
    /// The work panicked, in the panic's words.
    Panicked(String),
    /// It did not come back within the limit.
    TimedOut,
}

impl HelperFailure {
    /// In words for people; `on_time_out` where a driver holds the thread.
    pub fn reason(self, on_time_out: impl FnOnce() -> String) -> String {
        match self {
            Self::NotStarted(reason) | Self::Panicked(reason) => reason,
            Self::TimedOut => on_time_out(),
        }
    }
}

/// Does `work` on a thread called `name` and waits for it for `limit` at most; then the thread is left to its driver.
pub fn run_for<T: Send + 'static>(
    name: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HelperFailure> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || {
        let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(panic.as_ref()));
        // Nobody waits any more when sending fails.
        drop(sender.send(outcome));
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|error| HelperFailure::NotStarted(error.to_string()))?;
    match receiver.recv_timeout(limit) {
        Ok(outcome) => outcome.map_err(HelperFailure::Panicked),
        Err(RecvTimeoutError::Timeout) => Err(HelperFailure::TimedOut),
        Err(RecvTimeoutError::Disconnected) => Err(HelperFailure::Panicked("the thread is gone".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_a_panic_and_a_hanging_driver_are_told_apart() {
        let limit = Duration::from_mins(1);
        assert_eq!(run_for("helper", limit, || 7), Ok(7));
        let panicked = run_for("helper", limit, || panic!("a driver with a defect"));
        assert_eq!(panicked, Err::<(), _>(HelperFailure::Panicked("panic: a driver with a defect".into())));
        let (held, released) = mpsc::sync_channel::<()>(0);
        let hangs = run_for("helper", Duration::ZERO, move || released.recv().is_err());
        assert_eq!(hangs, Err(HelperFailure::TimedOut));
        drop(held);
    }
}
