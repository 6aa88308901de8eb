//! What the last offer of a connection and this side agreed on, and what later offers may change of it.

use std::net::IpAddr;

use rtc::peer_connection::transport::RTCIceCandidateInit;

use crate::peer::connect::answer::{AnswerOrigin, LocalTransport};
use crate::peer::connect::candidate::with_public_address;
use crate::peer::connect::fingerprint::Fingerprint;
use crate::peer::connect::negotiation::Negotiation;
use crate::peer::connect::track::Ssrcs;
use crate::peer::error::PeerError;
use crate::signaling::message::Candidate;

/// One connection's.
#[derive(Default)]
pub(super) struct Agreement {
    last: Option<Negotiation>,
    origin: AnswerOrigin,
    /// Mid and index of the section that our candidates belong to.
    place: (Option<String>, Option<u16>),
    /// Our candidates, as viewers are told.
    own: Vec<Candidate>,
}

impl Agreement {
    /// The last one.
    pub fn last(&self) -> Option<&Negotiation> {
        self.last.as_ref()
    }

    /// What viewers hear of one of our candidates: itself, and the public address of a 1:1 NAT too.
    pub fn found(&mut self, candidate: RTCIceCandidateInit, public_ip: Option<IpAddr>) -> Vec<Candidate> {
        let (sdp_mid, sdp_mline_index) = self.place.clone();
        let RTCIceCandidateInit { candidate, username_fragment, .. } = candidate;
        let candidate = Candidate { candidate, sdp_mid, sdp_mline_index, username_fragment };
        let public = public_ip.and_then(|ip| with_public_address(&candidate, ip));
        let told: Vec<Candidate> = public.into_iter().chain([candidate]).collect();
        self.own.extend(told.iter().cloned());
        told
    }

    /// The first offer is there, so that candidates that are found before its answer know where they belong.
    pub fn expect(&mut self, negotiation: &Negotiation) {
        if self.last.is_none() {
            self.place = negotiation.place();
        }
    }

    /// Has a later offer go on with the handshake of the first one, or refuses it: there is one for each connection. `shown` is the
    /// certificate that the viewer has shown in it.
    pub fn keep_handshake(&self, new: &mut Negotiation, shown: Option<&[u8]>) -> Result<(), PeerError> {
        let Some(former) = &self.last else { return Ok(()) };
        let is_other = shown.is_some_and(|shown| !Fingerprint::any_matches(&new.fingerprints, shown));
        if is_other || (new.is_dtls_client != former.is_dtls_client && !new.leaves_role) {
            return Err(PeerError::OtherHandshake);
        }
        new.is_dtls_client = former.is_dtls_client;
        // The library's sections stay.
        new.sctp = new.sctp.or(former.sctp);
        Ok(())
    }

    /// The text of the next answer, with our candidates that are known.
    pub fn answer(&mut self, negotiation: Negotiation, local: &LocalTransport, ssrcs: &Ssrcs) -> String {
        let answer = self.origin.answer(&negotiation, local, ssrcs, &self.own);
        self.place = negotiation.place();
        self.last = Some(negotiation);
        answer
    }

    /// Whether the certificate that the viewer has shown is one that its offer names.
    pub fn verifies(&self, shown: Option<&[u8]>) -> bool {
        let named = self.last.as_ref().map(|last| last.fingerprints.as_slice());
        shown.zip(named).is_some_and(|(shown, named)| Fingerprint::any_matches(named, shown))
    }
}
