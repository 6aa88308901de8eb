//! What one viewer's packets are made with: numbered, kept, protected, and their parity.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::crypto::RTCCryptoProvider;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::fec::{Fec, Full, Group, Parity};
use super::keys::SrtpKeys;
use super::packet::{Extensions, Head, Numbers};
use super::rtx_cache::{Kept, RtxCache};
use super::sender_report::SenderReports;
use super::srtp::Srtp;
use crate::peer::bwe::Report;
use crate::peer::bwe::rtx_budget::Conditions;
use crate::peer::bwe::send_history::SendHistory;
use crate::peer::error::PeerError;
use crate::peer::net::batch::Batch;

/// What was negotiated for one viewer.
#[derive(Clone, Debug)]
pub(in crate::peer) struct Negotiated {
    pub ssrc: u32,
    pub payload_type: u8,
    /// SSRC and payload type of what is sent again (RFC 4588).
    pub rtx: Option<(u32, u8)>,
    /// Repairs that come unasked.
    pub fec: Option<Fec>,
    /// The viewer may ask for packets again.
    pub nack: bool,
    pub extensions: Extensions,
}

/// One packet of a picture.
#[derive(Debug)]
pub(in crate::peer) struct Packet {
    pub payload: Bytes,
    pub timestamp: u32,
    pub marker: bool,
    /// As the extension has it.
    pub playout_delay: Option<[u8; 3]>,
    /// As the extension has it.
    pub capture_time: Option<u64>,
}

/// What one viewer's packets are made with.
pub(in crate::peer) struct Stream {
    writer: Writer,
    history: SendHistory,
    repairs: RtxCache,
    reports: SenderReports,
    srtp: Srtp,
    protection: Option<Protecting>,
}

/// What repairs that come unasked are made with.
struct Protecting {
    numbers: Numbers,
    group: Group,
    parity: Parity,
    /// Where one part of a packet after another is written.
    scratch: Vec<u8>,
}

struct Writer {
    media: Numbers,
    rtx: Option<Numbers>,
    nack: bool,
    extensions: Extensions,
}

impl Stream {
    /// With what was negotiated and what the handshake agreed on.
    pub fn new(
        negotiated: &Negotiated,
        keys: &SrtpKeys,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Self, PeerError> {
        let Negotiated { ssrc, payload_type, rtx, fec, nack, extensions } = negotiated.clone();
        // Only reports on single packets tell when they pay.
        let fec = fec.filter(|_| extensions.transport_cc.is_some());
        let protection = fec.map(|fec| Protecting {
            numbers: Numbers::new(fec.ssrc, fec.payload_type),
            group: Group::default(),
            parity: Parity::default(),
            scratch: Vec::new(),
        });
        let writer = Writer {
            media: Numbers::new(ssrc, payload_type),
            rtx: rtx.map(|(ssrc, payload_type)| Numbers::new(ssrc, payload_type)),
            nack,
            extensions,
        };
        Ok(Self {
            writer,
            history: SendHistory::default(),
            repairs: RtxCache::default(),
            reports: SenderReports::new(ssrc),
            srtp: Srtp::new(keys, provider.crypto())?,
            protection,
        })
    }

    /// Of its pictures.
    pub fn ssrc(&self) -> u32 {
        self.writer.media.ssrc
    }

    /// Repairs may come unasked.
    pub fn can_protect(&self) -> bool {
        self.protection.is_some()
    }

    /// Takes the viewer's report of packets that left.
    pub fn departed(&mut self, feedback: &TransportLayerCc) -> Vec<Report> {
        self.history.reported(feedback)
    }

    /// Opens the viewer's RTCP.
    pub fn open_rtcp(&mut self, datagram: &[u8]) -> Result<Bytes, PeerError> {
        self.srtp.open_rtcp(datagram)
    }

    /// It is time for [`Self::report`].
    pub fn is_report_due(&self, now: Instant) -> bool {
        self.reports.is_due(now)
    }

    /// Adds a sender report: `timestamp` is that of a picture captured `age` ago, and `ntp` is now.
    pub fn report(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        ntp: u64,
        timestamp: u32,
        age: Duration,
    ) -> Result<(), PeerError> {
        let report = self.reports.make(now, ntp, timestamp, age);
        let report = self.srtp.protect_rtcp(&report)?;
        batch.packet(|bytes| {
            bytes.extend_from_slice(&report);
            Ok(())
        })
    }

    /// Adds those packets that are asked for and may be sent again now. Gives how many, and their bytes.
    pub fn asked_again(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        on: Conditions,
        nack: &TransportLayerNack,
    ) -> (u64, usize) {
        let Self { repairs, writer, history, srtp, .. } = self;
        let mut packets = 0;
        let bytes = repairs.asked(now, on, nack, |kept| {
            packets += 1;
            log_failure(writer.again(batch, now, kept, history, srtp));
        });
        (packets, bytes)
    }

    /// Adds the last packets once more, so many that they have `bits`. Gives how many, and their bytes.
    pub fn newest_again(&mut self, batch: &mut Batch, now: Instant, bits: f64) -> (u64, usize) {
        let Self { repairs, writer, history, srtp, .. } = self;
        let mut added = (0, 0);
        for kept in repairs.newest(bits) {
            added = (added.0 + 1, added.1 + kept.payload.len());
            log_failure(writer.again(batch, now, kept, history, srtp));
        }
        added
    }

    /// The viewer may ask for these.
    pub fn asks(&self, nack: &TransportLayerNack) -> bool {
        self.writer.nack && self.writer.media.ssrc == nack.media_ssrc
    }

    /// Over RTX, a packet that comes twice is known as one, and each is reported by itself.
    pub fn can_probe(&self) -> bool {
        self.writer.rtx.is_some() && self.writer.extensions.transport_cc.is_some()
    }

    /// Adds a new packet.
    pub fn media(&mut self, batch: &mut Batch, now: Instant, packet: Packet) -> Result<(), PeerError> {
        let Packet { payload, timestamp, marker, playout_delay, capture_time } = packet;
        let (index, sequence_number) = self.writer.media.take();
        let head = Head {
            ssrc: self.writer.media.ssrc,
            payload_type: self.writer.media.payload_type,
            sequence_number,
            timestamp,
            marker,
            transport_cc: self.writer.number(now, &mut self.history, payload.len()),
            playout_delay,
            capture_time,
        };
        self.writer.write(batch, &mut self.srtp, &head, index, &[&payload])?;
        self.reports.sent(payload.len());
        if self.writer.nack || self.protection.is_some() {
            self.repairs.keep(now, head, index, payload);
        }
        Ok(())
    }

    /// Adds repairs that come unasked, if that is due after the packet that was added last. Gives how many, and their bytes.
    pub fn protect(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        is_last: bool,
        spacing: Option<u8>,
    ) -> (u64, usize) {
        let Self { writer, history, repairs, srtp, protection: Some(protection), .. } = self else {
            return (0, 0);
        };
        let Some(full) = protection.group.count(now, is_last, spacing) else { return (0, 0) };
        let mut added = (0, 0);
        for number in 0..full.repairs {
            let Some(timestamp) = protection.repair(writer, repairs, full, number) else { continue };
            let transport_cc = writer.number(now, history, protection.scratch.len());
            let Numbers { ssrc, payload_type, .. } = protection.numbers;
            let (index, sequence_number) = protection.numbers.take();
            let head =
                Head { ssrc, payload_type, sequence_number, timestamp, transport_cc, ..Default::default() };
            log_failure(writer.write(batch, srtp, &head, index, &[&protection.scratch]));
            added = (added.0 + 1, added.1 + protection.scratch.len());
        }
        added
    }
}

impl Protecting {
    /// Makes a repair of the last packets, in `scratch`. Gives the newest packet's time.
    fn repair(&mut self, writer: &Writer, repairs: &RtxCache, full: Full, number: u8) -> Option<u32> {
        self.parity.clear();
        let packets = (0..).zip(repairs.last(full.packets));
        for (place, kept) in packets.skip(number.into()).step_by(full.repairs.into()) {
            // Numbered anew by congestion control each time, and zero for whoever repairs.
            let head = Head { transport_cc: kept.head.transport_cc.map(|_| 0), ..kept.head };
            self.scratch.clear();
            writer.extensions.write(&head, &mut self.scratch);
            self.parity.add(place, &self.scratch, &kept.payload);
        }
        let base = repairs.last(full.packets).next()?.head.sequence_number;
        self.scratch.clear();
        self.parity.write(writer.media.ssrc, base, &mut self.scratch);
        repairs.last(1).next().map(|newest| newest.head.timestamp)
    }
}

impl Writer {
    fn number(&self, now: Instant, history: &mut SendHistory, payload_bytes: usize) -> Option<u16> {
        /// A head with the extension for this number.
        const HEAD_BYTES: usize = 20;
        self.extensions.transport_cc.map(|_| history.number(now, HEAD_BYTES + payload_bytes))
    }

    /// Adds a packet once more: over RTX a new one around the old payload; without, the very same, because
    /// its number must not protect anything else.
    fn again(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        kept: &Kept,
        history: &mut SendHistory,
        srtp: &mut Srtp,
    ) -> Result<(), PeerError> {
        if self.rtx.is_none() {
            return self.write(batch, srtp, &kept.head, kept.index, &[&kept.payload]);
        }
        let transport_cc = self.number(now, history, kept.payload.len() + 2);
        let Some(rtx) = &mut self.rtx else { return Ok(()) };
        let (index, sequence_number) = rtx.take();
        let head = Head {
            ssrc: rtx.ssrc,
            payload_type: rtx.payload_type,
            sequence_number,
            timestamp: kept.head.timestamp,
            marker: kept.head.marker,
            transport_cc,
            ..Default::default()
        };
        self.write(batch, srtp, &head, index, &[&kept.head.sequence_number.to_be_bytes(), &kept.payload])
    }

    fn write(
        &self,
        batch: &mut Batch,
        srtp: &mut Srtp,
        head: &Head,
        index: u64,
        payload: &[&[u8]],
    ) -> Result<(), PeerError> {
        batch.packet(|bytes| {
            let start = bytes.len();
            self.extensions.write(head, bytes);
            let header_bytes = bytes.len() - start;
            for part in payload {
                bytes.extend_from_slice(part);
            }
            srtp.protect(bytes, start, header_bytes, head.ssrc, index)
        })
    }
}

/// Tells of a packet that is left out.
pub(in crate::peer) fn log_failure(result: Result<(), PeerError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a packet could not be protected and is skipped");
    }
}
