//! A viewer's first flight of DTLS that comes before ICE has selected a pair here.
//!
//! The library drops it. A viewer that begins the handshake (it offered `setup:active`, or is ICE-lite) then waits for its own
//! repeat, which is half a second or a whole one later for many. Pure.

use bytes::BytesMut;
use rtc::shared::TransportContext;

/// Datagrams of one flight: a ClientHello has one, or several where it is large.
const MAX_CACHED: usize = 8;

/// What waits for the pair.
#[derive(Debug, Default)]
pub(super) struct CachedClientHello(Vec<(TransportContext, BytesMut)>);

/// DTLS by its first byte (RFC 7983 section 7).
pub(super) fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

impl CachedClientHello {
    /// Keeps a datagram. A repeat of one that is kept already changes nothing.
    pub fn cache(&mut self, transport: TransportContext, datagram: &[u8]) {
        if self.0.len() < MAX_CACHED && !self.0.iter().any(|(_, cached)| cached == datagram) {
            self.0.push((transport, BytesMut::from(datagram)));
        }
    }

    /// All of it, in its order.
    pub fn take(&mut self) -> Vec<(TransportContext, BytesMut)> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_is_kept_once_in_its_order_and_bounded() {
        let mut cached = CachedClientHello::default();
        for _ in 0..2 {
            for byte in [22, 23] {
                cached.cache(TransportContext::default(), &[byte; 40]);
            }
        }
        let kept: Vec<u8> = cached.take().iter().map(|(_, datagram)| datagram[0]).collect();
        assert_eq!((kept, cached.take().len()), (vec![22, 23], 0));
        for byte in 0..100 {
            cached.cache(TransportContext::default(), &[22, byte]);
        }
        assert_eq!(cached.take().len(), MAX_CACHED);
    }

    #[test]
    fn dtls_is_told_from_checks_and_media() {
        assert!(is_dtls(&[22, 254, 253]) && is_dtls(&[20]) && is_dtls(&[63]));
        assert!(!is_dtls(&[]) && !is_dtls(&[0, 1]) && !is_dtls(&[64]) && !is_dtls(&[0x80, 201]));
    }
}
