//! What the table wants done, and what it gives back of a session that ended.

use super::key::{Generation, Key};
use crate::peer::{AcceptedOffer, EndReason};
use crate::signaling::message::{Candidate, Refusal};
use crate::signaling::topic::Id;

/// What is to be done about a session.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionAction {
    /// Start one.
    Start {
        /// Its generation, to be given back to [`Table::attach`] and [`Table::end`].
        generation: Generation,
        /// Whose.
        key: Key,
        /// The offer.
        offer: AcceptedOffer,
        /// Candidates that came before the offer.
        early: Vec<Option<Candidate>>,
        /// The grant it came in with.
        grant: Option<Id>,
    },
    /// Hand an offer of the same browser-side connection to the running session.
    Renegotiate {
        /// Which.
        generation: Generation,
        /// The offer.
        offer: AcceptedOffer,
    },
    /// Hand a candidate to the running session.
    AddCandidate {
        /// Which.
        generation: Generation,
        /// `None` for the end of candidates.
        candidate: Option<Candidate>,
    },
    /// End the running session. Comes before a `Start` that replaces it.
    Close {
        /// Which.
        generation: Generation,
        /// Why.
        reason: EndReason,
    },
    /// Tell the viewer no.
    Refuse {
        /// Whom, about what.
        key: Key,
        /// The grant that the offer named, whoever sent it.
        claimed: Option<String>,
        /// Why.
        refusal: Refusal,
    },
}

/// A session whose task has ended.
#[derive(Debug)]
pub struct EndedSession<H> {
    /// Whose it was.
    pub key: Key,
    /// What it had come in with.
    pub grant: Option<Id>,
    /// No other one has its key.
    pub is_current: bool,
    /// What the edge needed of it.
    pub handle: Option<H>,
}
