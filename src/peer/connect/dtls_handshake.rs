//! A DTLS handshake over a network that loses packets: lost flights go out again soon, and no repeat stalls it.
//!
//! The library repeats a flight after a whole second. Worse, it forgets that timer when any
//! handshake message arrives that does not complete the peer's flight, such as the peer's repeat of
//! an earlier one; if our flight was lost too, both sides then wait for ever. [`DtlsHandshake`] looks at
//! the datagrams of one connection and says what to send again, byte by byte as it was, and which of the
//! peer's repeats to keep from the library. A record that did arrive is dropped by its receiver
//! (RFC 6347 section 4.1.2.6), so repeating costs only the datagrams.

use std::time::{Duration, Instant};

/// The first repeat; each later one waits twice as long. Browsers begin with 50 ms too.
pub(in crate::peer) const FIRST_REPEAT: Duration = Duration::from_millis(50);
/// Repeats of one flight: 50 ms to 3.2 s, together 6.35 s. What is left is for the library's timer.
const MAX_REPEATS: u32 = 7;
/// Datagrams of one flight; a flight with a certificate has two to six.
const MAX_DATAGRAMS: usize = 16;

const RECORD_HEADER_BYTES: usize = 13;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// What to do with a datagram that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::peer) enum FlightVerdict {
    /// It is for the library.
    Keep,
    /// The peer repeats what was answered already; the answer is being repeated too.
    Stale,
}

/// Who began: the side that sends a ClientHello is the client.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Role {
    #[default]
    Server,
    Client,
}

/// The handshake of one connection.
#[derive(Debug, Default)]
pub(in crate::peer) struct DtlsHandshake {
    flight: Vec<Vec<u8>>,
    /// The peer said something since our last flight began: what we send next is a new flight.
    answered: bool,
    role: Role,
    /// Our last flight is out: it ends with the first encrypted record.
    finished_sent: bool,
    repeats: u32,
    next_repeat: Option<Instant>,
    done: bool,
}

impl DtlsHandshake {
    /// Whether it is over, so that nobody has to look any more.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// When [`Self::repeat`] will have something to send, if no answer comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_repeat
    }

    /// Media leaves, which it does only once this side is through. A client is the last to know; a server's last flight may
    /// still be lost.
    pub fn media_sent(&mut self) {
        if self.role == Role::Client {
            self.finish();
        }
    }

    /// The viewer's reports came. It has the keys only when a server's last flight arrived.
    pub fn media_received(&mut self) {
        if self.role == Role::Server && self.finished_sent {
            self.finish();
        }
    }

    /// Sees what is sent.
    pub fn sent(&mut self, datagram: &[u8], now: Instant) {
        if self.done || !is_handshake(datagram) {
            return;
        }
        let repeated_by_library = self.flight.first().is_some_and(|first| begins_same(first, datagram));
        if self.answered || repeated_by_library {
            self.flight.clear();
        }
        if self.answered {
            self.repeats = 0;
        }
        self.answered = false;
        if message_type(datagram) == Some(CLIENT_HELLO) {
            self.role = Role::Client;
        }
        self.finished_sent |= records(datagram).any(|record| record.epoch > 0);
        if self.flight.len() < MAX_DATAGRAMS {
            self.flight.push(datagram.to_vec());
        }
        self.schedule(now);
    }

    /// Sees what arrived.
    pub fn received(&mut self, datagram: &[u8]) -> FlightVerdict {
        if self.done || !is_handshake(datagram) {
            return FlightVerdict::Keep;
        }
        // After its last flight a client waits for ChangeCipherSpec and an encrypted record only.
        let is_plain_message = |record: Record| record.content_type == HANDSHAKE && record.epoch == 0;
        if self.role == Role::Client && self.finished_sent && records(datagram).all(is_plain_message) {
            return FlightVerdict::Stale;
        }
        self.answered = true;
        FlightVerdict::Keep
    }

    /// The flight that was not answered in time, to be sent as it was.
    pub fn repeat(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.done || self.next_repeat.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.repeats += 1;
        self.schedule(now);
        self.flight.clone()
    }

    fn schedule(&mut self, now: Instant) {
        self.next_repeat = (self.repeats < MAX_REPEATS).then(|| now + FIRST_REPEAT * 2_u32.pow(self.repeats));
    }

    fn finish(&mut self) {
        *self = Self { done: true, ..Self::default() };
    }
}

/// A record of DTLS.
pub(super) struct Record<'a> {
    pub content_type: u8,
    pub epoch: u16,
    pub body: &'a [u8],
}

/// The records of a datagram (RFC 6347 section 4.1), as far as they are whole.
pub(super) fn records(mut datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let header = datagram.first_chunk::<RECORD_HEADER_BYTES>()?;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let body = datagram.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length)?;
        datagram = datagram.get(RECORD_HEADER_BYTES + length..)?;
        Some(Record { content_type: header[0], epoch: u16::from_be_bytes([header[3], header[4]]), body })
    })
}

/// Whether a datagram belongs to a handshake: RFC 7983 section 7 tells it from STUN and media.
fn is_handshake(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(&(CHANGE_CIPHER_SPEC | HANDSHAKE)))
        && datagram.len() > RECORD_HEADER_BYTES
}

/// The type of the first message, where it can be read.
fn message_type(datagram: &[u8]) -> Option<u8> {
    let record = records(datagram).next()?;
    let plain = record.content_type == HANDSHAKE && record.epoch == 0;
    datagram.get(RECORD_HEADER_BYTES).copied().filter(|_| plain)
}

/// Whether two datagrams begin with the same message of the handshake (its type and sequence number).
fn begins_same(one: &[u8], other: &[u8]) -> bool {
    let head = |datagram: &[u8]| {
        message_type(datagram)?;
        let message = datagram.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + 9)?;
        // Type, message_seq and fragment_offset (RFC 6347 section 4.2.2).
        Some((message[0], [message[4], message[5]], [message[6], message[7], message[8]]))
    };
    head(one).is_some() && head(one) == head(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUN: &[u8] = &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0];
    const SERVER_HELLO: u8 = 2;
    const CERTIFICATE: u8 = 11;

    fn record(content_type: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
        let mut record = vec![content_type, 254, 253];
        record.extend(epoch.to_be_bytes());
        record.extend([0; 6]);
        record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        record.extend(body);
        record
    }

    fn message(typ: u8, sequence: u8) -> Vec<u8> {
        record(HANDSHAKE, 0, &[typ, 0, 0, 0, 0, sequence, 0, 0, 0, 0, 0, 0])
    }

    fn finished() -> Vec<u8> {
        [record(CHANGE_CIPHER_SPEC, 0, &[1]), record(HANDSHAKE, 1, &[7; 40])].concat()
    }

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// A client whose last flight is out.
    fn client(now: Instant) -> DtlsHandshake {
        let mut handshake = DtlsHandshake::default();
        handshake.sent(&message(CLIENT_HELLO, 0), now);
        assert_eq!(handshake.received(&message(SERVER_HELLO, 0)), FlightVerdict::Keep);
        handshake.sent(&message(CERTIFICATE, 1), now);
        handshake.sent(&finished(), now);
        handshake
    }

    #[test]
    fn an_unanswered_flight_is_repeated_whole_ever_more_rarely_and_not_for_ever() {
        let start = Instant::now();
        let mut handshake = client(start);
        let mut times = Vec::new();
        for ms in 0..60_000 {
            let repeated = handshake.repeat(after(start, ms));
            if !repeated.is_empty() {
                assert_eq!(repeated, [message(CERTIFICATE, 1), finished()]);
                times.push(ms);
            }
        }
        assert_eq!(times, [50, 150, 350, 750, 1550, 3150, 6350]);
        assert_eq!(handshake.poll_timeout(), None);
    }

    #[test]
    fn an_answer_begins_the_next_flight() {
        let start = Instant::now();
        let mut handshake = DtlsHandshake::default();
        handshake.sent(&message(CLIENT_HELLO, 0), start);
        assert_eq!(handshake.repeat(after(start, 50)), [message(CLIENT_HELLO, 0)]);
        handshake.received(&message(SERVER_HELLO, 0));
        handshake.sent(&message(CERTIFICATE, 1), after(start, 60));
        assert!(handshake.repeat(after(start, 109)).is_empty());
        assert_eq!(handshake.repeat(after(start, 110)), [message(CERTIFICATE, 1)]);
    }

    #[test]
    fn the_librarys_own_repeat_takes_the_flights_place() {
        let start = Instant::now();
        let mut handshake = client(start);
        handshake.sent(&message(CERTIFICATE, 1), after(start, 1000));
        handshake.sent(&finished(), after(start, 1000));
        assert_eq!(handshake.repeat(after(start, 2000)).len(), 2);
    }

    #[test]
    fn a_servers_repeat_does_not_reach_a_client_that_answered_it() {
        let mut handshake = client(Instant::now());
        assert_eq!(handshake.received(&message(SERVER_HELLO, 5)), FlightVerdict::Stale);
        assert_eq!(handshake.received(&finished()), FlightVerdict::Keep);
        assert_eq!(handshake.received(STUN), FlightVerdict::Keep);
    }

    #[test]
    fn a_clients_repeat_reaches_a_server_that_answered_it() {
        let start = Instant::now();
        let mut server = DtlsHandshake::default();
        server.received(&message(CLIENT_HELLO, 0));
        server.sent(&message(SERVER_HELLO, 0), start);
        server.received(&message(CERTIFICATE, 1));
        server.received(&finished());
        server.sent(&finished(), start);
        assert_eq!(server.received(&message(CERTIFICATE, 1)), FlightVerdict::Keep);
    }

    #[test]
    fn media_shows_that_the_other_side_is_through() {
        let start = Instant::now();
        let mut handshake = client(start);
        handshake.media_received();
        assert!(!handshake.is_done(), "a server may send before the client knows");
        handshake.media_sent();
        assert!(handshake.is_done());
        assert!(handshake.repeat(after(start, 50)).is_empty());

        let mut server = DtlsHandshake::default();
        server.received(&message(CLIENT_HELLO, 0));
        server.sent(&finished(), start);
        server.media_sent();
        assert!(!server.is_done(), "its last flight may be lost");
        server.media_received();
        assert!(server.is_done());
    }

    #[test]
    fn whatever_comes_it_stays_bounded() {
        let start = Instant::now();
        let mut handshake = DtlsHandshake::default();
        for length in 0..200 {
            handshake.received(&vec![HANDSHAKE; length]);
            handshake.received(&finished()[..length.min(60)]);
        }
        for sequence in 0..200 {
            handshake.answered = false;
            handshake.sent(&message(CERTIFICATE, sequence), start);
        }
        assert_eq!(handshake.flight.len(), MAX_DATAGRAMS);
    }
}
