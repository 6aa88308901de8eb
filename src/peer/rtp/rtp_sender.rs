//! What one viewer's packets are made with: numbered, kept, protected, and their parity.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::crypto::RTCCryptoProvider;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

pub(in crate::peer) use super::audio_stream::NegotiatedAudio;
use super::audio_stream::{AudioRtpPacket, AudioStream};
use super::fec::{Fec, FullGroup, Group, Parity};
use super::keys::SrtpKeys;
use super::packet::{write_packet, write_report};
use super::rtp_header::{CLOCK_RATE_HZ, Extensions, PacketSequencer, RtpHeader};
use super::rtx_cache::{Kept, RtxCache};
use super::sender_report::SenderReports;
use super::srtp::Srtp;
use crate::peer::bwe::PacketResult;
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
    /// Parity packets.
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
    /// As the extension has it.
    pub orientation: Option<u8>,
}

/// What one viewer's packets are made with.
pub(in crate::peer) struct RtpSender {
    writer: PacketWriter,
    history: SendHistory,
    rtx_cache: RtxCache,
    reports: SenderReports,
    srtp: Srtp,
    fec: Option<FecGenerator>,
    /// Once there was any.
    audio: Option<AudioStream>,
    sends_audio: bool,
}

/// What parity packets are made with.
struct FecGenerator {
    numbers: PacketSequencer,
    group: Group,
    parity: Parity,
    /// Where one part of a packet after another is written.
    scratch: Vec<u8>,
}

struct PacketWriter {
    media: PacketSequencer,
    rtx: Option<PacketSequencer>,
    nack: bool,
    extensions: Extensions,
}

impl RtpSender {
    /// With what was negotiated and what the handshake agreed on.
    pub fn new(
        negotiated: &Negotiated,
        keys: &SrtpKeys,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Self, PeerError> {
        let Negotiated { ssrc, payload_type, rtx, fec, nack, extensions } = negotiated.clone();
        // Only reports on single packets tell when they pay.
        let fec = fec.filter(|_| extensions.transport_cc.is_some());
        let fec = fec.map(|fec| FecGenerator {
            numbers: PacketSequencer::new(fec.ssrc, fec.payload_type),
            group: Group::default(),
            parity: Parity::default(),
            scratch: Vec::new(),
        });
        let writer = PacketWriter {
            media: PacketSequencer::new(ssrc, payload_type),
            rtx: rtx.map(|(ssrc, payload_type)| PacketSequencer::new(ssrc, payload_type)),
            nack,
            extensions,
        };
        Ok(Self {
            writer,
            history: SendHistory::default(),
            rtx_cache: RtxCache::default(),
            reports: SenderReports::new(ssrc, CLOCK_RATE_HZ),
            srtp: Srtp::new(keys, provider.crypto())?,
            fec,
            audio: None,
            sends_audio: false,
        })
    }

    /// Of its pictures.
    pub fn ssrc(&self) -> u32 {
        self.writer.media.ssrc
    }

    /// The viewer takes parity packets.
    pub fn can_send_fec(&self) -> bool {
        self.fec.is_some()
    }

    /// Takes the viewer's report of packets that left.
    pub fn take_transport_feedback(&mut self, feedback: &TransportLayerCc) -> Vec<PacketResult> {
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
        write_report(batch, &mut self.srtp, &report)
    }

    /// Sound goes to the viewer as negotiated, or none does any more.
    pub fn set_audio(&mut self, negotiated: Option<&NegotiatedAudio>) {
        self.sends_audio = negotiated.is_some();
        match (&mut self.audio, negotiated) {
            (Some(audio), Some(negotiated)) => audio.renegotiate(negotiated),
            (none, Some(negotiated)) => *none = Some(AudioStream::new(negotiated)),
            (_, None) => {}
        }
    }

    /// Sound has numbers for congestion control.
    pub fn is_audio_numbered(&self) -> bool {
        self.audio.as_ref().is_some_and(AudioStream::is_numbered)
    }

    /// It is time for [`Self::report_audio`].
    pub fn is_audio_report_due(&self, now: Instant) -> bool {
        self.sends_audio && self.audio.as_ref().is_some_and(|audio| audio.is_report_due(now))
    }

    /// Adds a packet of sound, if that was negotiated. Gives its bytes.
    pub fn add_audio(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        packet: &AudioRtpPacket,
    ) -> Result<Option<usize>, PeerError> {
        let Self { audio: Some(audio), sends_audio: true, history, srtp, .. } = self else { return Ok(None) };
        audio.add(batch, now, packet, history, srtp).map(Some)
    }

    /// Adds a sender report of the sound: `timestamp` is that of a packet captured `age` ago, and `ntp` is now.
    pub fn report_audio(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        ntp: u64,
        timestamp: u32,
        age: Duration,
    ) -> Result<(), PeerError> {
        let Self { audio: Some(audio), sends_audio: true, srtp, .. } = self else { return Ok(()) };
        let report = audio.report(now, ntp, timestamp, age);
        write_report(batch, srtp, &report)
    }

    /// Opens a packet of the viewer's media.
    pub fn open_rtp(&mut self, datagram: &[u8]) -> Result<Bytes, PeerError> {
        self.srtp.open_rtp(datagram)
    }

    /// Adds a compound RTCP packet of any kind.
    pub fn add_rtcp(&mut self, batch: &mut Batch, packet: &[u8]) -> Result<(), PeerError> {
        write_report(batch, &mut self.srtp, packet)
    }

    /// Adds those packets that are asked for and may be sent again now. Gives how many, and their bytes.
    pub fn retransmit(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        on: Conditions,
        nack: &TransportLayerNack,
    ) -> (u64, usize) {
        let Self { rtx_cache, writer, history, srtp, .. } = self;
        let mut packets = 0;
        let bytes = rtx_cache.asked(now, on, nack, |kept| {
            packets += 1;
            log_failure(writer.retransmit(batch, now, kept, history, srtp));
        });
        (packets, bytes)
    }

    /// Adds those packets that the last report says are lost, and that may be sent again now. Gives how many, and their bytes.
    pub fn retransmit_lost(&mut self, batch: &mut Batch, now: Instant, on: Conditions) -> (u64, usize) {
        let Self { rtx_cache, writer, history, srtp, .. } = self;
        let told = history.last_reported();
        // Without RTX the same packet would go, without a report of its own.
        if !writer.nack || writer.rtx.is_none() {
            return (0, 0);
        }
        let mut packets = 0;
        let bytes = rtx_cache.lost(now, on, &told, |kept| {
            packets += 1;
            log_failure(writer.retransmit(batch, now, kept, history, srtp));
        });
        (packets, bytes)
    }

    /// Adds the last packets once more, so many that they have `bits`. Gives how many, and their bytes.
    pub fn add_probe(&mut self, batch: &mut Batch, now: Instant, bits: f64) -> (u64, usize) {
        let Self { rtx_cache, writer, history, srtp, .. } = self;
        let mut added = (0, 0);
        for kept in rtx_cache.newest(bits) {
            added = (added.0 + 1, added.1 + kept.payload.len());
            log_failure(writer.retransmit(batch, now, kept, history, srtp));
        }
        added
    }

    /// The viewer may ask for these.
    pub fn is_nack_for_us(&self, nack: &TransportLayerNack) -> bool {
        self.writer.nack && self.writer.media.ssrc == nack.media_ssrc
    }

    /// Over RTX, a packet that comes twice is known as one, and each is reported by itself.
    pub fn can_probe(&self) -> bool {
        self.writer.rtx.is_some() && self.writer.extensions.transport_cc.is_some()
    }

    /// Adds a new packet.
    pub fn add_media(&mut self, batch: &mut Batch, now: Instant, packet: Packet) -> Result<(), PeerError> {
        let Packet { payload, timestamp, marker, playout_delay, capture_time, orientation } = packet;
        let (index, sequence_number) = self.writer.media.take();
        let header = RtpHeader {
            ssrc: self.writer.media.ssrc,
            payload_type: self.writer.media.payload_type,
            sequence_number,
            timestamp,
            marker,
            transport_cc: self.writer.number(now, &mut self.history, payload.len(), Some(index)),
            playout_delay,
            capture_time,
            orientation,
        };
        self.writer.write(batch, &mut self.srtp, &header, index, &[&payload])?;
        self.reports.sent(payload.len());
        if self.writer.nack || self.fec.is_some() {
            self.rtx_cache.keep(now, header, index, payload);
        }
        Ok(())
    }

    /// Adds parity packets, if that is due after the packet that was added last. Gives how many, and their bytes.
    pub fn add_fec(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        is_last: bool,
        spacing: Option<u8>,
    ) -> (u64, usize) {
        let Self { writer, history, rtx_cache, srtp, fec: Some(fec), .. } = self else {
            return (0, 0);
        };
        let Some(full) = fec.group.count(now, is_last, spacing) else { return (0, 0) };
        let mut added = (0, 0);
        for number in 0..full.parity_packets {
            let Some(timestamp) = fec.write_parity(writer, rtx_cache, full, number) else { continue };
            let transport_cc = writer.number(now, history, fec.scratch.len(), None);
            let PacketSequencer { ssrc, payload_type, .. } = fec.numbers;
            let (index, sequence_number) = fec.numbers.take();
            let header = RtpHeader {
                ssrc,
                payload_type,
                sequence_number,
                timestamp,
                transport_cc,
                ..Default::default()
            };
            log_failure(writer.write(batch, srtp, &header, index, &[&fec.scratch]));
            added = (added.0 + 1, added.1 + fec.scratch.len());
        }
        added
    }
}

impl FecGenerator {
    /// Makes a parity packet of the last packets, in `scratch`. Gives the newest packet's time.
    fn write_parity(
        &mut self,
        writer: &PacketWriter,
        rtx_cache: &RtxCache,
        full: FullGroup,
        number: u8,
    ) -> Option<u32> {
        self.parity.clear();
        let packets = (0..).zip(rtx_cache.last(full.packets));
        for (place, kept) in packets.skip(number.into()).step_by(full.parity_packets.into()) {
            // Numbered anew by congestion control each time, and zero for whoever uses the parity.
            let header = RtpHeader { transport_cc: kept.header.transport_cc.map(|_| 0), ..kept.header };
            self.scratch.clear();
            writer.extensions.write(&header, &mut self.scratch);
            self.parity.add(place, &self.scratch, &kept.payload);
        }
        let base = rtx_cache.last(full.packets).next()?.header.sequence_number;
        self.scratch.clear();
        self.parity.write(writer.media.ssrc, base, &mut self.scratch);
        rtx_cache.last(1).next().map(|newest| newest.header.timestamp)
    }
}

impl PacketWriter {
    fn number(
        &self,
        now: Instant,
        history: &mut SendHistory,
        payload_bytes: usize,
        of: Option<u64>,
    ) -> Option<u16> {
        self.extensions.transport_cc.map(|_| history.number(now, RtpHeader::BYTES + payload_bytes, of))
    }

    /// Adds a packet once more: over RTX a new one around the old payload; without, the very same, because
    /// its number must not protect anything else.
    fn retransmit(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        kept: &Kept,
        history: &mut SendHistory,
        srtp: &mut Srtp,
    ) -> Result<(), PeerError> {
        if self.rtx.is_none() {
            return self.write(batch, srtp, &kept.header, kept.index, &[&kept.payload]);
        }
        let transport_cc = self.number(now, history, kept.payload.len() + 2, Some(kept.index));
        let Some(rtx) = &mut self.rtx else { return Ok(()) };
        let (index, sequence_number) = rtx.take();
        let header = RtpHeader {
            ssrc: rtx.ssrc,
            payload_type: rtx.payload_type,
            sequence_number,
            timestamp: kept.header.timestamp,
            marker: kept.header.marker,
            transport_cc,
            // A picture whose last packet says nothing of it is taken for an upright one.
            orientation: kept.header.orientation,
            ..Default::default()
        };
        self.write(batch, srtp, &header, index, &[&kept.header.sequence_number.to_be_bytes(), &kept.payload])
    }

    fn write(
        &self,
        batch: &mut Batch,
        srtp: &mut Srtp,
        header: &RtpHeader,
        index: u64,
        payload: &[&[u8]],
    ) -> Result<(), PeerError> {
        write_packet(self.extensions, batch, srtp, header, index, payload)
    }
}

/// Tells of a packet that is left out.
pub(in crate::peer) fn log_failure(result: Result<(), PeerError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a packet could not be protected and is skipped");
    }
}
