//! A session as the table keeps it.

use std::time::Instant;

use super::places::Place;
use super::session_key::{SessionKey, SessionNumber};
use crate::access::offer_authorizer::Pass;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes messages.
    Open,
    /// Told to end: nothing that comes now is for it any more.
    Closing,
    /// Told to end, and another one has its key now.
    Replaced,
}

/// When something was last heard of a session's viewer, as what is kept with the session knows it.
pub trait LastHeard {
    /// `None`: nothing yet.
    fn last_heard(&self) -> Option<Instant>;
}

pub(super) struct SessionEntry<H> {
    pub key: SessionKey,
    /// The `o=` session id of its browser-side peer connection.
    pub origin: String,
    /// What it came in with; renewed by each offer.
    pub pass: Pass,
    /// When it began.
    pub since: Instant,
    /// Its connection has come about once.
    pub is_connected: bool,
    pub phase: Phase,
    /// It came over HTTP, and only from there it is steered.
    pub is_whep: bool,
    pub handle: Option<H>,
}

impl<H: LastHeard> SessionEntry<H> {
    /// When its viewer was last heard; its offer is the first word.
    pub fn last_heard(&self) -> Instant {
        let heard = self.handle.as_ref().and_then(LastHeard::last_heard);
        heard.map_or(self.since, |heard| heard.max(self.since))
    }

    /// The place that it takes up.
    pub fn place(&self, number: SessionNumber) -> Place<'_> {
        Place {
            number,
            viewer: &self.key.viewer,
            grant: self.pass.grant.as_ref(),
            since: self.since,
            last_heard: self.last_heard(),
            is_connected: self.is_connected,
            is_open: self.phase == Phase::Open,
        }
    }
}

#[cfg(test)]
impl LastHeard for () {
    fn last_heard(&self) -> Option<Instant> {
        None
    }
}

#[cfg(test)]
impl LastHeard for Instant {
    fn last_heard(&self) -> Option<Instant> {
        Some(*self)
    }
}
