//! Where connectivity checks (RFC 8445 section 7.2) may go, and how many. Pure.
//!
//! A viewer names the addresses that are checked: without a bound, anybody who may send an offer could have this device send to
//! anybody else, or into its own network (RFC 8445 section 19.5.1). An address counts as the viewer's once it has answered.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::demux::{PeerId, TransactionId};

/// Checks between one of our addresses and one of the viewer's that has not answered; the library would send 500.
const MAX_OF_PAIR: u32 = 40;
/// Checks to one candidate that has not answered, from all of our addresses.
const MAX_OF_CANDIDATE: u32 = 100;
/// Candidates of one generation of ICE whose checks are counted; others are not checked.
const MAX_PAIRS: usize = 512;
/// So many checks of a pair leave as the library has them, as many again at a tenth of a second, and the rest at [`SELDOM`]:
/// together as long as a session may take to connect.
const QUICK: u32 = 10;
const OFTEN: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_millis(500);
/// Unanswered checks of one session at once, whatever it restarts, and one more in [`REFILL`].
const MAX_OF_SESSION: u32 = 1024;
const REFILL: Duration = Duration::from_millis(50);
/// Checks whose answers are recognized: those of several seconds.
const MAX_SENT: usize = 256;
/// Checks that came from an address and wait for ours in return.
const MAX_CREDIT: u32 = 4;

/// What the configuration says of addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::peer) struct CheckPolicy {
    /// Private addresses are checked only in return.
    pub skips_private: bool,
    /// Where a 1:1 NAT has this device.
    pub public_ip: Option<IpAddr>,
}

/// One check that is to leave.
#[derive(Clone, Copy, Debug)]
pub(in crate::peer) struct Check {
    pub peer_id: PeerId,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub transaction: TransactionId,
}

/// All sessions' checks.
#[derive(Debug, Default)]
pub(in crate::peer) struct CheckLimit {
    policy: CheckPolicy,
    peers: HashMap<PeerId, Checks>,
}

/// One session's, most of it of one generation of ICE.
#[derive(Debug)]
struct Checks {
    /// How often, and when last.
    pairs: HashMap<(SocketAddr, SocketAddr), (u32, Instant)>,
    candidates: HashMap<SocketAddr, Candidate>,
    sent: VecDeque<(TransactionId, SocketAddr)>,
    /// What is left of [`MAX_OF_SESSION`] at this time, over all generations.
    left: (u32, Instant),
}

#[derive(Debug, Default)]
struct Candidate {
    checks: u32,
    has_answered: bool,
    credit: u32,
}

impl CheckLimit {
    pub fn new(policy: CheckPolicy) -> Self {
        Self { policy, peers: HashMap::new() }
    }

    /// Another generation of ICE has begun.
    pub fn restart(&mut self, peer_id: PeerId) {
        if let Some(checks) = self.peers.get_mut(&peer_id) {
            checks.pairs.clear();
            checks.candidates.clear();
            checks.sent.clear();
        }
    }

    /// Whether `check` may leave, which counts it. `is_ours`: where it goes to is this device itself.
    pub fn allows(&mut self, check: &Check, is_ours: bool, now: Instant) -> bool {
        let Check { peer_id, from, to, transaction } = *check;
        let address = to.ip().to_canonical();
        let is_public_self = self.policy.public_ip == Some(address) && from.port() == to.port();
        if is_ours || is_public_self || to.port() == 0 || !is_of_one_host(address) {
            return false;
        }
        let is_of_this_machine = address.is_loopback() && !from.ip().is_loopback();
        let is_left_to_viewers = is_of_this_machine || self.policy.skips_private && is_private(address);
        let checks = self.peers.entry(peer_id).or_insert_with(|| Checks::new(now));
        let may = checks.allows(from, to, !is_left_to_viewers, now);
        if may {
            checks.remember(transaction, to);
        }
        may
    }

    /// A check of the viewer came from `from` and was found to be its own: one may go there in return.
    pub fn was_checked(&mut self, peer_id: PeerId, from: SocketAddr, now: Instant) {
        let checks = self.peers.entry(peer_id).or_insert_with(|| Checks::new(now));
        if let Some(candidate) = checks.candidate(from) {
            candidate.credit = (candidate.credit + 1).min(MAX_CREDIT);
        }
    }

    /// A signed answer of `from` came: no more is counted there.
    pub fn answered(&mut self, peer_id: PeerId, from: SocketAddr, transaction: TransactionId) {
        if let Some(checks) = self.peers.get_mut(&peer_id)
            && checks.sent.contains(&(transaction, from))
            && let Some(candidate) = checks.candidates.get_mut(&from)
        {
            candidate.has_answered = true;
        }
    }

    /// Forgets all of `peer_id`.
    pub fn leave(&mut self, peer_id: PeerId) {
        self.peers.remove(&peer_id);
    }
}

impl Checks {
    fn new(now: Instant) -> Self {
        Self {
            pairs: HashMap::new(),
            candidates: HashMap::new(),
            sent: VecDeque::new(),
            left: (MAX_OF_SESSION, now),
        }
    }

    fn allows(&mut self, from: SocketAddr, to: SocketAddr, is_begun: bool, now: Instant) -> bool {
        self.refill(now);
        if !self.pairs.contains_key(&(from, to)) && self.pairs.len() >= MAX_PAIRS {
            return false;
        }
        let (sent, last) = self.pairs.get(&(from, to)).copied().unwrap_or((0, now));
        let left = self.left.0;
        let Some(candidate) = self.candidate(to) else { return false };
        if candidate.has_answered {
            return true;
        }
        let is_due = now.saturating_duration_since(last) >= pause(sent);
        let is_within = sent < MAX_OF_PAIR && candidate.checks < MAX_OF_CANDIDATE;
        if is_begun && is_due && is_within && left > 0 {
            candidate.checks += 1;
            self.left.0 -= 1;
        } else if let Some(credit) = candidate.credit.checked_sub(1) {
            candidate.credit = credit;
        } else {
            return false;
        }
        self.pairs.insert((from, to), (sent.saturating_add(1), now));
        true
    }

    /// What is known of the one at `address`, if there is room for it.
    fn candidate(&mut self, address: SocketAddr) -> Option<&mut Candidate> {
        let has_room = self.candidates.len() < MAX_PAIRS || self.candidates.contains_key(&address);
        has_room.then(|| self.candidates.entry(address).or_default())
    }

    fn remember(&mut self, transaction: TransactionId, to: SocketAddr) {
        if self.sent.len() == MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((transaction, to));
    }

    fn refill(&mut self, now: Instant) {
        let (left, since) = self.left;
        let more = now.saturating_duration_since(since).as_millis() / REFILL.as_millis();
        if let Ok(more) = u32::try_from(more)
            && more > 0
        {
            self.left = (left.saturating_add(more).min(MAX_OF_SESSION), since + REFILL * more);
        }
    }
}

/// How long to wait after so many checks of a pair.
fn pause(sent: u32) -> Duration {
    match sent {
        0..QUICK => Duration::ZERO,
        sent if sent < 2 * QUICK => OFTEN,
        _ => SELDOM,
    }
}

/// Neither many hosts nor none. A network's own broadcast address is refused by the system, which knows its networks.
fn is_of_one_host(address: IpAddr) -> bool {
    match address {
        // RFC 6890: "this network" and the reserved block, which ends in the limited broadcast address.
        IpAddr::V4(address) => {
            !(address.is_multicast() || address.octets()[0] == 0 || address.octets()[0] >= 240)
        }
        IpAddr::V6(address) => !(address.is_multicast() || address.is_unspecified()),
    }
}

/// Of a network that the internet does not route to (RFC 1918, RFC 3927, RFC 4193, RFC 6598).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            address.is_private() || address.is_link_local() || is_shared || address == Ipv4Addr::LOCALHOST
        }
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_unicast_link_local() || address == Ipv6Addr::LOCALHOST
        }
    }
}

#[cfg(test)]
#[path = "check_limit_tests.rs"]
mod tests;
