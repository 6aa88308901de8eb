//! Whose a datagram is, on a socket that all viewers share: by ICE user name, transaction or address. Pure.
//!
//! A Binding request names its session (USERNAME begins with our user fragment) and thereby claims the
//! address it comes from. A response belongs to whoever asked. Everything else, which is DTLS and media,
//! is known by its address alone. What none of these knows is nobody's.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One session's share of one socket.
pub(in crate::peer) type PeerId = u64;

/// User fragments of one session: a new one comes with each ICE restart.
const MAX_UFRAGS: usize = 4;
/// Addresses that one session may be heard from; a browser has a handful, one for each network and kind.
const MAX_ADDRESSES: usize = 32;
/// Requests of one session whose answers are still known; checks go out every 20 ms while it connects.
const MAX_TRANSACTIONS: usize = 128;
/// An address that its session was not heard from for so long may be claimed by another one. Until then it may not:
/// whoever may watch could otherwise take away another viewer's packets with a forged sender.
const SILENT: Duration = Duration::from_secs(5);

/// Media to an address that was silent for so long is withheld. A machine that left the network at once would otherwise
/// fill the socket's send buffer, in the kernel's queue for neighbours that do not answer, and hold up all viewers.
const GONE: Duration = Duration::from_secs(6);
/// Checks of one session to addresses that have not answered: one in this time on average, for the same reason. Each
/// address gets its first one at once.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// Addresses that one session may check in one ICE generation: more than it may have of them.
const MAX_CHECKED: usize = 256;

/// What a STUN request is known by (RFC 8489 section 5).
pub(in crate::peer) type TransactionId = [u8; 12];

/// The table of one socket; bounded by its peers, and empty when they are gone.
#[derive(Debug, Default)]
pub(in crate::peer) struct Routes {
    ufrags: HashMap<String, PeerId>,
    addresses: HashMap<SocketAddr, Claim>,
    transactions: HashMap<TransactionId, PeerId>,
    by_peer: HashMap<PeerId, PeerRoutes>,
}

#[derive(Debug)]
struct Claim {
    peer_id: PeerId,
    heard: Instant,
}

/// What leaves with a session, each oldest first.
#[derive(Debug, Default)]
struct PeerRoutes {
    ufrags: VecDeque<String>,
    addresses: VecDeque<SocketAddr>,
    transactions: VecDeque<TransactionId>,
    /// When each address that is not its own yet was last checked, in this ICE generation.
    checked: HashMap<SocketAddr, Instant>,
}

impl Routes {
    /// Requests for `ufrag` are `peer_id`'s from now on. A new one begins an ICE generation (RFC 8445 section 9): what was
    /// checked before it counts no more, or a viewer that goes from network to network would use up its addresses.
    pub fn add_ufrag(&mut self, peer_id: PeerId, ufrag: &str) {
        let held = self.by_peer.entry(peer_id).or_default();
        if held.ufrags.iter().any(|known| known == ufrag) {
            return;
        }
        if held.ufrags.len() == MAX_UFRAGS
            && let Some(oldest) = held.ufrags.pop_front()
        {
            self.ufrags.remove(&oldest);
        }
        held.ufrags.push_back(ufrag.to_owned());
        held.checked.clear();
        self.ufrags.insert(ufrag.to_owned(), peer_id);
    }

    /// Sees what `peer_id` sends, and remembers whose the answer is. `false`: it must not go out now.
    pub fn sends(&mut self, peer_id: PeerId, datagram: &[u8], to: SocketAddr, now: Instant) -> bool {
        let claim = self.addresses.get(&to);
        let Some(stun) = Stun::of(datagram) else {
            return claim.is_none_or(|claim| now.saturating_duration_since(claim.heard) < GONE);
        };
        if stun.class != Class::Request {
            return true;
        }
        let is_own = claim.is_some_and(|claim| claim.peer_id == peer_id);
        let held = self.by_peer.entry(peer_id).or_default();
        if !is_own && !held.may_check(to, now) {
            return false;
        }
        if held.transactions.len() == MAX_TRANSACTIONS
            && let Some(oldest) = held.transactions.pop_front()
        {
            self.transactions.remove(&oldest);
        }
        held.transactions.push_back(stun.transaction);
        self.transactions.insert(stun.transaction, peer_id);
        true
    }

    /// Whose a datagram from `from` is.
    pub fn received(&mut self, datagram: &[u8], from: SocketAddr, now: Instant) -> Option<PeerId> {
        let named = match Stun::of(datagram) {
            Some(Stun { class: Class::Request, .. }) => Some(*self.ufrags.get(local_ufrag(datagram)?)?),
            Some(Stun { class: Class::Response, transaction }) => {
                self.transactions.get(&transaction).copied()
            }
            _ => None,
        };
        let Some(peer_id) = named else {
            let claim = self.addresses.get_mut(&from)?;
            claim.heard = now;
            return Some(claim.peer_id);
        };
        self.claim(peer_id, from, now);
        Some(peer_id)
    }

    fn claim(&mut self, peer_id: PeerId, from: SocketAddr, now: Instant) {
        if let Some(claim) = self.addresses.get_mut(&from) {
            if claim.peer_id == peer_id {
                claim.heard = now;
                return;
            }
            if now.saturating_duration_since(claim.heard) < SILENT {
                return;
            }
            if let Some(former) = self.by_peer.get_mut(&claim.peer_id) {
                former.addresses.retain(|address| *address != from);
            }
        }
        let held = &mut self.by_peer.entry(peer_id).or_default().addresses;
        if held.len() == MAX_ADDRESSES {
            // The one that was silent for longest, which is never the one in use.
            let heard = |address: &SocketAddr| self.addresses.get(address).map(|claim| claim.heard);
            if let Some(stale) = (0..held.len()).min_by_key(|at| held.get(*at).and_then(heard))
                && let Some(address) = held.remove(stale)
            {
                self.addresses.remove(&address);
            }
        }
        held.push_back(from);
        self.addresses.insert(from, Claim { peer_id, heard: now });
        if let Some(held) = self.by_peer.get_mut(&peer_id) {
            held.checked.remove(&from);
        }
    }

    /// Forgets everything of `peer_id`.
    pub fn leave(&mut self, peer_id: PeerId) {
        let Some(held) = self.by_peer.remove(&peer_id) else { return };
        for ufrag in held.ufrags {
            self.ufrags.remove(&ufrag);
        }
        for address in held.addresses {
            self.addresses.remove(&address);
        }
        for transaction in held.transactions {
            self.transactions.remove(&transaction);
        }
    }

    /// Whether nobody has anything here.
    pub fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
            && self.ufrags.is_empty()
            && self.addresses.is_empty()
            && self.transactions.is_empty()
    }
}

impl PeerRoutes {
    fn may_check(&mut self, to: SocketAddr, now: Instant) -> bool {
        let known = self.checked.len();
        let pause = CHECK_EVERY * u32::try_from(known).unwrap_or(u32::MAX);
        let may = match self.checked.get(&to) {
            Some(last) => now.saturating_duration_since(*last) >= pause,
            None => known < MAX_CHECKED,
        };
        if may {
            self.checked.insert(to, now);
        }
        may
    }
}

/// What a STUN message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::peer) enum Class {
    Request,
    Response,
    Indication,
}

/// The head of a STUN message (RFC 8489 section 5).
pub(in crate::peer) struct Stun {
    pub class: Class,
    pub transaction: TransactionId,
}

impl Stun {
    pub fn of(datagram: &[u8]) -> Option<Self> {
        const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
        let head = datagram.first_chunk::<20>()?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        if kind >> 14 != 0 || head[4..8] != MAGIC_COOKIE {
            return None;
        }
        let class = match kind & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            _ => Class::Response,
        };
        let mut transaction = TransactionId::default();
        transaction.copy_from_slice(&head[8..]);
        Some(Self { class, transaction })
    }
}

pub(in crate::peer) fn is_stun(datagram: &[u8]) -> bool {
    Stun::of(datagram).is_some()
}

/// SRTP and SRTCP by their first byte (RFC 7983 section 7).
pub(in crate::peer) fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(128..=191))
}

/// The value of the first attribute of `kind` in a STUN message.
pub(in crate::peer) fn attribute(message: &[u8], kind: [u8; 2]) -> Option<&[u8]> {
    Stun::of(message)?;
    let mut attributes = message.get(20..)?;
    while let Some(&[kind_high, kind_low, length_high, length_low]) = attributes.first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let value = attributes.get(4..4 + length)?;
        if [kind_high, kind_low] == kind {
            return Some(value);
        }
        attributes = attributes.get(4 + length.next_multiple_of(4)..)?;
    }
    None
}

/// Whether a STUN message claims to be made by who knows a password (RFC 8489 section 14.5); a STUN server's answer does not.
pub(in crate::peer) fn is_signed(message: &[u8]) -> bool {
    const MESSAGE_INTEGRITY: [u8; 2] = [0, 8];
    attribute(message, MESSAGE_INTEGRITY).is_some()
}

/// Our user fragment out of a STUN Binding request: USERNAME is `ours:theirs` (RFC 8445 section 7.2.2).
pub(in crate::peer) fn local_ufrag(request: &[u8]) -> Option<&str> {
    const BINDING_REQUEST: [u8; 2] = [0, 1];
    const USERNAME: [u8; 2] = [0, 6];
    if request.get(..2)? != BINDING_REQUEST {
        return None;
    }
    let (ours, _) = std::str::from_utf8(attribute(request, USERNAME)?).ok()?.split_once(':')?;
    Some(ours)
}

/// A Binding request with this USERNAME, for tests.
#[cfg(test)]
pub(in crate::peer) fn request(username: &[u8]) -> Vec<u8> {
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend([7; 12]);
    // An unknown attribute of odd length comes first.
    request.extend([0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]);
    request.extend([0, 6, 0, u8::try_from(username.len()).unwrap()]);
    request.extend(username);
    request
}

#[cfg(test)]
#[path = "demux_tests.rs"]
mod tests;
