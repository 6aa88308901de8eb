//! The sound of one viewer: numbered and reported by itself, beside the picture's packets.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::packet::write_packet;
use super::rtp_header::{Extensions, PacketSequencer, RtpHeader};
use super::sender_report::SenderReports;
use super::srtp::Srtp;
use crate::peer::bwe::send_history::SendHistory;
use crate::peer::error::PeerError;
use crate::peer::net::batch::Batch;
use crate::stream::OPUS_CLOCK_RATE_HZ;

/// What was negotiated for one viewer's sound.
#[derive(Clone, Copy, Debug)]
pub(in crate::peer) struct NegotiatedAudio {
    pub ssrc: u32,
    pub payload_type: u8,
    pub extensions: Extensions,
}

/// One packet of sound.
#[derive(Clone, Debug)]
pub(in crate::peer) struct AudioRtpPacket {
    pub payload: Bytes,
    pub timestamp: u32,
    pub marker: bool,
    /// As the extension has it.
    pub capture_time: Option<u64>,
}

/// One viewer's sound.
pub(in crate::peer) struct AudioStream {
    numbers: PacketSequencer,
    extensions: Extensions,
    reports: SenderReports,
}

impl AudioStream {
    pub fn new(negotiated: &NegotiatedAudio) -> Self {
        Self {
            numbers: PacketSequencer::new(negotiated.ssrc, negotiated.payload_type),
            extensions: negotiated.extensions,
            reports: SenderReports::new(negotiated.ssrc, OPUS_CLOCK_RATE_HZ),
        }
    }

    /// A later offer has other numbers for it. Its own go on: under one key no two packets may have the same.
    pub fn renegotiate(&mut self, negotiated: &NegotiatedAudio) {
        self.numbers.payload_type = negotiated.payload_type;
        self.extensions = negotiated.extensions;
    }

    /// Adds a packet. Gives its bytes. It is not kept: sound that comes again comes too late.
    pub fn add(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        packet: &AudioRtpPacket,
        history: &mut SendHistory,
        srtp: &mut Srtp,
    ) -> Result<usize, PeerError> {
        let bytes = packet.payload.len();
        let (index, sequence_number) = self.numbers.take();
        let header = RtpHeader {
            ssrc: self.numbers.ssrc,
            payload_type: self.numbers.payload_type,
            sequence_number,
            timestamp: packet.timestamp,
            marker: packet.marker,
            transport_cc: self
                .extensions
                .transport_cc
                .map(|_| history.number(now, RtpHeader::BYTES + bytes, None)),
            capture_time: packet.capture_time,
            ..Default::default()
        };
        write_packet(self.extensions, batch, srtp, &header, index, &[&packet.payload])?;
        self.reports.sent(bytes);
        Ok(bytes)
    }

    /// Its packets have numbers for congestion control.
    pub fn is_numbered(&self) -> bool {
        self.extensions.transport_cc.is_some()
    }

    /// It is time for [`Self::report`].
    pub fn is_report_due(&self, now: Instant) -> bool {
        self.reports.is_due(now)
    }

    /// A sender report: `timestamp` is that of a packet captured `age` ago, and `ntp` is now.
    pub fn report(&mut self, now: Instant, ntp: u64, timestamp: u32, age: Duration) -> Vec<u8> {
        self.reports.make(now, ntp, timestamp, age)
    }
}
