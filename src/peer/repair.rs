//! Answers NACKs by sending packets again (RFC 4585 section 6.2.1), over RTX where it is negotiated (RFC 4588), within a budget.
//!
//! In place of the library's responder, which answers every request at once and without end, keeps
//! whole packets, and sends repairs that congestion control never hears of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use rtc::interceptor::{Attribute, AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

use super::feedback::Feedback;
use super::rate::repair;

/// Packets kept at most, and how long: nobody waits for older ones.
const KEPT_MOST: usize = 1024;
const KEPT_FOR: Duration = Duration::from_secs(2);
/// What a packet has beside its payload: IPv4, UDP, RTP with extensions, RTX and SRTP.
const OVERHEAD_BYTES: usize = 70;

/// What is needed to send a packet again; its payload is shared with all other viewers.
struct Kept {
    header: rtp::Header,
    payload: Bytes,
    fate: repair::Packet,
}

/// What was negotiated for repairs of the one stream.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    /// SSRC and payload type.
    rtx: Option<(u32, u8)>,
}

/// Keeps what left and sends it again when asked.
pub(super) struct Repair {
    feedback: Arc<Feedback>,
    stream: Option<Stream>,
    kept: VecDeque<Kept>,
    budget: repair::Budget,
    rtx_sequence_number: u16,
    read_queue: VecDeque<TaggedPacket>,
    write_queue: VecDeque<TaggedPacket>,
}

impl Repair {
    /// Repairs as far as `feedback` says that the path has room for it.
    pub fn new(feedback: Arc<Feedback>) -> Self {
        Self {
            feedback,
            stream: None,
            kept: VecDeque::new(),
            budget: repair::Budget::default(),
            rtx_sequence_number: rand::random(),
            read_queue: VecDeque::new(),
            write_queue: VecDeque::new(),
        }
    }

    fn keep(&mut self, now: Instant, packet: &rtp::Packet) {
        if self.stream.is_none_or(|stream| stream.ssrc != packet.header.ssrc) {
            return;
        }
        // Numbers without a gap are what finding one relies on.
        let follows =
            |last: &Kept| last.header.sequence_number.wrapping_add(1) == packet.header.sequence_number;
        if !self.kept.back().is_none_or(follows) {
            self.kept.clear();
        }
        let is_old = |kept: &Kept| now.saturating_duration_since(kept.fate.sent_at) > KEPT_FOR;
        while self.kept.len() >= KEPT_MOST || self.kept.front().is_some_and(is_old) {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept {
            header: packet.header.clone(),
            payload: packet.payload.clone(),
            fate: repair::Packet { sent_at: now, repaired_at: None, tries: 0 },
        });
    }

    fn answer(&mut self, now: Instant, nack: &TransportLayerNack) {
        let Some(stream) = self.stream.filter(|stream| stream.ssrc == nack.media_ssrc) else { return };
        let Some(first) = self.kept.front().map(|kept| kept.header.sequence_number) else { return };
        let on = self.feedback.conditions(now);
        self.budget.fill(now, on);
        let mut bytes = 0;
        for number in nack.nacks.iter().flat_map(NackPair::packet_list) {
            let Some(kept) = self.kept.get_mut(usize::from(number.wrapping_sub(first))) else { continue };
            let size = kept.payload.len() + OVERHEAD_BYTES;
            if !self.budget.allows(now, on, kept.fate, size as f64 * 8.0) {
                continue;
            }
            kept.fate.repaired_at = Some(now);
            kept.fate.tries += 1;
            bytes += size;
            let packet = repaired(kept, stream, &mut self.rtx_sequence_number);
            self.feedback.repaired_packets.fetch_add(1, Ordering::Relaxed);
            self.write_queue.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtp(packet)).with(Attribute::Retransmission),
            });
        }
        if bytes > 0 {
            self.feedback.sent(now, bytes);
        }
    }
}

/// The packet that goes out for `kept`: over RTX a new one around the old payload.
fn repaired(kept: &Kept, stream: Stream, rtx_sequence_number: &mut u16) -> rtp::Packet {
    let Some((ssrc, payload_type)) = stream.rtx else {
        return rtp::Packet { header: kept.header.clone(), payload: kept.payload.clone() };
    };
    let mut payload = BytesMut::with_capacity(2 + kept.payload.len());
    payload.put_u16(kept.header.sequence_number);
    payload.put_slice(&kept.payload);
    let header = rtp::Header {
        version: 2,
        ssrc,
        payload_type,
        sequence_number: *rtx_sequence_number,
        timestamp: kept.header.timestamp,
        marker: kept.header.marker,
        ..Default::default()
    };
    *rtx_sequence_number = rtx_sequence_number.wrapping_add(1);
    rtp::Packet { header, payload: payload.freeze() }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Repair {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                if let Some(nack) = packet.as_any().downcast_ref() {
                    self.answer(message.now, nack);
                }
            }
        }
        self.read_queue.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read_queue.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &message.message.packet {
            self.keep(message.now, packet);
        }
        self.write_queue.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write_queue.pop_front()
    }
}

impl Interceptor for Repair {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        let wants =
            info.rtcp_feedback.iter().any(|feedback| feedback.typ == "nack" && feedback.parameter.is_empty());
        self.stream = wants
            .then_some(Stream { ssrc: info.ssrc, rtx: info.ssrc_rtx.zip(info.payload_type_rtx) })
            .or(self.stream);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        if self.stream.is_some_and(|stream| stream.ssrc == info.ssrc) {
            self.stream = None;
            self.kept.clear();
        }
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

/// An interceptor of the library that takes the repairs for a stream of its own: they are numbered and reported as media is.
pub(super) struct WithRepairs<I>(pub I);

impl<
    I: Protocol<
            TaggedPacket,
            TaggedPacket,
            (),
            Rout = TaggedPacket,
            Wout = TaggedPacket,
            Eout = (),
            Error = Error,
            Time = Instant,
        >,
> Protocol<TaggedPacket, TaggedPacket, ()> for WithRepairs<I>
{
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.0.handle_read(message)
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.0.poll_read()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.0.handle_write(message)
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.0.poll_write()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.0.handle_timeout(now)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

/// The stream of `info`'s repairs.
fn of_repairs(info: &StreamInfo) -> Option<StreamInfo> {
    Some(StreamInfo { ssrc: info.ssrc_rtx?, ssrc_rtx: None, ..info.clone() })
}

impl<I: Interceptor> Interceptor for WithRepairs<I> {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.0.bind_local_stream(info);
        if let Some(repairs) = of_repairs(info) {
            self.0.bind_local_stream(&repairs);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.0.unbind_local_stream(info);
        if let Some(repairs) = of_repairs(info) {
            self.0.unbind_local_stream(&repairs);
        }
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.0.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.0.unbind_remote_stream(info);
    }
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
