//! What the table wants done, and what it gives back of a session that ended.

use std::time::Instant;

use super::proven_offer::ProvenOffer;
use super::session_key::{SessionKey, SessionNumber};
use crate::peer::{AcceptedOffer, EndReason};
use crate::signaling::message::{Candidate, Refusal};
use crate::signaling::topic::Id;

/// What is to be done about a session.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionAction {
    /// Have the SDP of an offer read, and give both back to [`Table::offer_read`].
    Read(Box<ProvenOffer>),
    /// Start one.
    Start {
        /// Its number, to be given back to [`Table::attach`] and [`Table::end`].
        number: SessionNumber,
        /// Whose.
        key: SessionKey,
        /// The offer.
        offer: AcceptedOffer,
        /// Candidates that came before the offer.
        pending: Vec<Option<Candidate>>,
        /// The grant it came in with.
        grant: Option<Id>,
        /// When the offer came.
        offered_at: Instant,
    },
    /// Hand an offer of the same browser-side connection to the running session.
    Renegotiate {
        /// Which.
        number: SessionNumber,
        /// The offer.
        offer: AcceptedOffer,
    },
    /// Hand a candidate to the running session.
    AddCandidate {
        /// Which.
        number: SessionNumber,
        /// `None` for the end of candidates.
        candidate: Option<Candidate>,
    },
    /// End the running session. Comes before a `Start` that replaces it.
    Close {
        /// Which.
        number: SessionNumber,
        /// Why.
        reason: EndReason,
    },
    /// Tell the viewer no.
    Refuse {
        /// Whom, about what.
        key: SessionKey,
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
    pub key: SessionKey,
    /// What it had come in with.
    pub grant: Option<Id>,
    /// No other one has its key.
    pub is_current: bool,
    /// What the edge needed of it.
    pub handle: Option<H>,
}
