//! Turns retransmissions (RFC 4588) back into the packets they repeat, before the NACK generator.
//!
//! The library does so only behind its interceptors, whose NACK generator therefore never learns that a
//! packet came again and asks for it again and again.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// The one video stream of a viewer, and its RTX stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    ssrc: u32,
    payload_type: u8,
    rtx_ssrc: u32,
}

/// The interceptor.
#[derive(Default)]
pub(super) struct RtxUnwrapper {
    pair: Option<Pair>,
    read_queue: VecDeque<TaggedPacket>,
    write_queue: VecDeque<TaggedPacket>,
}

/// Rewrites `packet` if it is a retransmission. False if it repeats nothing (padding to probe with).
fn restore(packet: &mut rtc::rtp::Packet, pair: Pair) -> bool {
    if packet.header.ssrc != pair.rtx_ssrc {
        return true;
    }
    let Some(original) = packet.payload.first_chunk::<2>().copied() else { return false };
    packet.header.sequence_number = u16::from_be_bytes(original);
    packet.header.ssrc = pair.ssrc;
    packet.header.payload_type = pair.payload_type;
    packet.header.padding = false;
    packet.payload = packet.payload.slice(2..);
    true
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for RtxUnwrapper {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut message: TaggedPacket) -> Result<(), Error> {
        if let (Packet::Rtp(packet), Some(pair)) = (&mut message.message.packet, self.pair)
            && !restore(packet, pair)
        {
            return Ok(());
        }
        self.read_queue.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read_queue.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.write_queue.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write_queue.pop_front()
    }
}

impl Interceptor for RtxUnwrapper {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if let Some(rtx_ssrc) = info.ssrc_rtx {
            self.pair = Some(Pair { ssrc: info.ssrc, payload_type: info.payload_type, rtx_ssrc });
        }
    }

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Pair = Pair { ssrc: 1, payload_type: 102, rtx_ssrc: 2 };

    fn packet(ssrc: u32, payload: &'static [u8]) -> rtc::rtp::Packet {
        let header = rtc::rtp::Header {
            version: 2,
            ssrc,
            payload_type: 103,
            sequence_number: 9,
            ..Default::default()
        };
        rtc::rtp::Packet { header, payload: payload.into() }
    }

    #[test]
    fn a_retransmission_becomes_what_it_repeats() {
        let mut packet = packet(2, &[0x12, 0x34, 0x65, 7]);
        assert!(restore(&mut packet, PAIR));
        let header = &packet.header;
        assert_eq!((header.ssrc, header.payload_type, header.sequence_number), (1, 102, 0x1234));
        assert_eq!(&packet.payload[..], &[0x65, 7]);
    }

    #[test]
    fn other_packets_stay_and_probes_go() {
        let mut media = packet(1, &[0x65]);
        assert!(restore(&mut media, PAIR));
        assert_eq!(media, packet(1, &[0x65]));
        assert!(!restore(&mut packet(2, &[0]), PAIR));
        assert!(!restore(&mut packet(2, &[]), PAIR));
    }
}
