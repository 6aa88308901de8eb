//! Checks that nominate a pair (USE-CANDIDATE, RFC 8445 section 7.3.1.5) before the library has checked it itself.
//!
//! The library neither answers such a check nor remembers it: it sends its own, and waits for the next nomination, which browsers
//! send some 50 ms later. So the check is kept until the library's own one has succeeded, and then shown to it again. Pure.

use std::net::SocketAddr;

use crate::peer::net::demux::{Class, Stun, TransactionId, attribute};

/// Pairs that wait; a browser nominates one, or a few after another.
const MAX_HELD: usize = 8;
const USE_CANDIDATE: [u8; 2] = [0, 0x25];

/// Where a check came in, and from where.
pub(super) type Pair = (SocketAddr, SocketAddr);

/// The kept checks of one connection, one for each pair.
#[derive(Debug, Default)]
pub(super) struct Nominations(Vec<(Pair, Vec<u8>)>);

/// The transaction of a check that nominates.
pub(super) fn nomination(datagram: &[u8]) -> Option<TransactionId> {
    let stun = Stun::of(datagram).filter(|stun| stun.class == Class::Request)?;
    attribute(datagram, USE_CANDIDATE).map(|_| stun.transaction)
}

impl Nominations {
    /// Keeps a check that was not answered.
    pub fn keep(&mut self, pair: Pair, datagram: &[u8]) {
        self.0.retain(|(held, _)| *held != pair);
        if self.0.len() == MAX_HELD {
            self.0.remove(0);
        }
        self.0.push((pair, datagram.to_vec()));
    }

    /// The check that waited for the library's own one of `pair`, which has succeeded.
    pub fn release(&mut self, pair: Pair) -> Option<Vec<u8>> {
        let at = self.0.iter().position(|(held, _)| *held == pair)?;
        Some(self.0.remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::net::demux::request;

    fn nominating() -> Vec<u8> {
        let mut check = request(b"ours:theirs");
        check.resize(check.len().next_multiple_of(4), 0);
        check.extend([0, 0x25, 0, 0]);
        check
    }

    #[test]
    fn only_a_request_with_the_attribute_nominates() {
        assert_eq!(nomination(&nominating()), Some([7; 12]));
        assert_eq!(nomination(&request(b"ours:theirs")), None);
        let mut response = nominating();
        response[0] = 1;
        response[1] = 1;
        assert_eq!(nomination(&response), None);
        assert_eq!(nomination(&[0xff; 100]), None);
    }

    #[test]
    fn a_check_waits_once_for_its_pair_and_they_stay_bounded() {
        let pair = |port| (SocketAddr::from(([192, 0, 2, 1], 9)), SocketAddr::from(([192, 0, 2, 2], port)));
        let mut nominations = Nominations::default();
        for port in 0..100 {
            nominations.keep(pair(port), &[1]);
            nominations.keep(pair(port), &[2]);
        }
        assert_eq!(nominations.0.len(), MAX_HELD);
        assert_eq!(nominations.release(pair(99)), Some(vec![2]));
        assert_eq!(nominations.release(pair(99)), None);
        assert_eq!(nominations.release(pair(0)), None, "the oldest went");
    }
}
