//! What viewers say that speak HTTP.

use std::net::IpAddr;

use crate::config::Secret;
use crate::signaling::message::{Candidate, Offer};

/// What a viewer that speaks HTTP can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhepMessage {
    /// An offer, the first or one of the same connection.
    Offer(WhepOffer),
    /// A candidate; `None` for their end.
    Candidate(Option<Candidate>),
    /// It leaves.
    Bye,
}

/// An offer over HTTP. Nothing of it is signed: its bearer token belongs to the connection it came by. Its answer waits
/// for all of the device's candidates, as there is no way to send them later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhepOffer {
    /// The offer.
    pub offer: Offer,
    /// The token that came with it, not looked at yet.
    pub token: Option<Secret>,
    /// Where it came from.
    pub from: IpAddr,
}

impl WhepOffer {
    /// The offer `sdp`.
    pub fn new(sdp: String, token: Option<Secret>, from: IpAddr) -> Self {
        Self { offer: Offer { sdp, full_ice: true, auth: None }, token, from }
    }
}
