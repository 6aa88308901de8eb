//! Alerts of DTLS that end an association (RFC 5246 section 7.2, RFC 6347), seen from outside of the library. Pure.
//!
//! The library answers a peer's alert with the same one, and sends its own when a handshake fails, but tells nobody: an
//! encrypted alert that leaves is the sign that an authentic one has come, or that this side has given up.

use super::dtls_handshake::records;

const ALERT: u8 = 21;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
/// Whoever can forge the peer's address can provoke this one while a handshake is under way.
const DECODE_ERROR: u8 = 50;

/// Whether there is no more to come once `sent` has left this side.
pub(in crate::peer) fn ends_association(sent: &[u8]) -> bool {
    sent.first() == Some(&ALERT)
        && records(sent).any(|record| match (record.content_type, record.epoch, record.body) {
            (ALERT, 0, [FATAL, description]) => *description != DECODE_ERROR,
            (ALERT, 0, [_, description]) => *description == CLOSE_NOTIFY,
            // What it says cannot be read. Warnings but close_notify are sent by no peer that speaks WebRTC.
            (ALERT, 1.., _) => true,
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content_type: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).unwrap();
        [&[content_type, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 9, 0, length], body].concat()
    }

    #[test]
    fn alerts_that_end_an_association_are_told_from_those_that_do_not() {
        const BAD_CERTIFICATE: u8 = 42;
        const NO_RENEGOTIATION: u8 = 100;
        for (datagram, expected) in [
            (record(ALERT, 1, &[7; 26]), true),
            (record(ALERT, 0, &[1, CLOSE_NOTIFY]), true),
            (record(ALERT, 0, &[FATAL, BAD_CERTIFICATE]), true),
            (record(ALERT, 0, &[FATAL, DECODE_ERROR]), false),
            (record(ALERT, 0, &[1, NO_RENEGOTIATION]), false),
            (record(ALERT, 0, &[]), false),
            (record(22, 1, &[7; 26]), false),
            (record(23, 1, &[7; 26]), false),
            ([record(ALERT, 0, &[1, NO_RENEGOTIATION]), record(ALERT, 0, &[FATAL, 40])].concat(), true),
            (record(ALERT, 1, &[7; 26])[..20].to_vec(), false),
            (vec![ALERT], false),
            (vec![], false),
        ] {
            assert_eq!(ends_association(&datagram), expected, "{datagram:?}");
        }
    }
}
