//! An offer between the proof of its sender and the reading of its SDP.

use std::time::Instant;

use super::session_key::SessionKey;
use crate::access::offer_authorizer::Pass;
use crate::signaling::message::Offer;

/// An offer whose sender may watch, as far as is known without its SDP, which nobody has looked at yet.
#[derive(Debug, PartialEq, Eq)]
pub struct ProvenOffer {
    /// Whose session it is for.
    pub key: SessionKey,
    /// As it came.
    pub offer: Offer,
    /// What its sender may have.
    pub pass: Pass,
    /// The grant that it named, where it came over the broker.
    pub claimed: Option<String>,
    /// It came over HTTP.
    pub is_whep: bool,
    /// When it came.
    pub came: Instant,
}
