//! The sessions that run, as everybody sees them: the table, what steers each task, and the sums.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::entry::LastHeard;
use super::outbox::SessionOutbox;
use super::session_key::SessionNumber;
use super::table::{EndedSession, Table};
use super::totals::Totals;
use crate::peer::{EndReason, SessionCommand, SessionStats};

/// The sessions that there are, and the sums over those that there were. Kept together, so that a session which ends is
/// never missing from the sums.
pub(super) struct Registry {
    pub table: Table<Handle>,
    /// Without what running sessions have sent.
    pub totals: Totals,
}

/// What a session's task is steered with.
pub(super) struct Handle {
    pub live: Arc<SessionStats>,
    pub outbox: Arc<SessionOutbox>,
    pub commands: mpsc::Sender<SessionCommand>,
    pub close: Option<oneshot::Sender<EndReason>>,
    /// Its beginning was told, so its end is to be told.
    pub is_announced: bool,
}

impl LastHeard for Handle {
    fn last_heard(&self) -> Option<Instant> {
        self.live.last_heard()
    }
}

impl Registry {
    /// Takes a session out whose task has ended; what it has sent counts among the sums from now on.
    pub fn end(&mut self, number: SessionNumber) -> Option<EndedSession<Handle>> {
        let ended = self.table.end(number)?;
        self.totals.ended += 1;
        if let Some(handle) = &ended.handle {
            self.totals.add(&handle.live);
        }
        Some(ended)
    }
}

/// Nobody waits while holding it, and each change of the table is one step.
pub(super) fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}
