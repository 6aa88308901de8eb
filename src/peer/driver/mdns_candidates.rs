//! Candidates of one viewer whose addresses are hidden behind names of multicast DNS.

use std::net::IpAddr;
use std::time::Instant;

use rtc::peer_connection::transport::RTCIceCandidateInit;

use crate::peer::connect::candidate::{mdns_name, with_address};
use crate::peer::net::demux::PeerId;
use crate::peer::net::mdns::MdnsResolver;

/// Names that one viewer may have asked for in one generation of ICE.
const MAX_NAMES: usize = 16;

/// Those of this generation that are asked for.
#[derive(Debug, Default)]
pub(super) struct MdnsCandidates(Vec<RTCIceCandidateInit>);

impl MdnsCandidates {
    /// Another generation of ICE has begun.
    pub fn restart(&mut self) {
        self.0.clear();
    }

    /// Asks for the address of `candidate`, which it gives back if that is not hidden.
    pub fn ask(
        &mut self,
        peer_id: PeerId,
        candidate: RTCIceCandidateInit,
        mdns: &mut MdnsResolver,
        now: Instant,
    ) -> Option<RTCIceCandidateInit> {
        let Some(name) = mdns_name(&candidate.candidate) else { return Some(candidate) };
        if self.0.len() < MAX_NAMES {
            mdns.ask(peer_id, name, now);
            self.0.push(candidate);
        }
        None
    }

    /// The candidates behind `name`, which is at `address`.
    pub fn found(&mut self, name: &str, address: IpAddr) -> Vec<RTCIceCandidateInit> {
        let found = self.0.extract_if(.., |candidate| mdns_name(&candidate.candidate) == Some(name));
        let plain = |candidate: RTCIceCandidateInit| RTCIceCandidateInit {
            candidate: with_address(&candidate.candidate, address),
            ..candidate
        };
        found.map(plain).collect()
    }
}
