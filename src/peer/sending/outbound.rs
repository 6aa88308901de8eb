//! What one viewer is sent: packets numbered, protected and sent in one go, and what its reports ask for.
//!
//! The WebRTC library makes the connection: ICE, DTLS, the way to the viewer. Media does not pass through it: it would take each
//! packet through a dozen layers, each with queues of its own. Here a picture is one buffer and one system call.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rtc::crypto::{RTCCryptoProvider, default_provider};
use rtc::rtcp;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::fec::Fec;
use super::fec::{Full, Group, Parity};
use super::feedback::Feedback;
use super::keys::SrtpKeys;
use super::latency;
use super::packet::{Extensions, Head, Numbers};
use super::repair::{Kept, Repairs};
use super::sender_report::SenderReports;
use super::srtp::Srtp;
use super::transport_cc::Departures;
use crate::fanout::Fanout;
use crate::peer::PeerError;
use crate::peer::socket::batch::Batch;
use crate::peer::socket::udp_port::MediaSink;
use crate::peer::socket::watched_socket::Heard;
use crate::peer::socket::way::{Unsent, Way};

thread_local! {
    /// Where packets are made, for all viewers of a thread one after another.
    static BATCH: RefCell<Batch> = RefCell::default();
}

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

/// One viewer's media; shared by its sender and by who receives its reports.
pub(in crate::peer) struct Outbound {
    feedback: Arc<Feedback>,
    fanout: Fanout,
    heard: Heard,
    way: Arc<Way>,
    /// `None` until the handshake is over.
    stream: Mutex<Option<Stream>>,
}

impl Outbound {
    /// Nothing is sent before [`Self::start`].
    pub fn new(feedback: Arc<Feedback>, fanout: &Fanout, heard: Heard, way: Arc<Way>) -> Self {
        let fanout = fanout.at(Arc::clone(&feedback.place));
        Self { feedback, fanout, heard, way, stream: Mutex::default() }
    }

    /// Begins, with what was negotiated and what the handshake agreed on.
    pub fn start(&self, negotiated: &Negotiated, keys: &SrtpKeys) -> Result<(), PeerError> {
        let stream = Stream::new(negotiated, keys, &*default_provider()?)?;
        if stream.protection.is_some() {
            self.feedback.allow_protection();
        }
        *self.stream() = Some(stream);
        Ok(())
    }

    /// Where it goes.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Where the viewer was last heard from, unless through a relay.
    pub fn heard(&self) -> Option<SocketAddr> {
        self.heard.address()
    }

    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `packets` in their order. Gives what finds no room at once.
    pub fn send(&self, now: Instant, packets: impl IntoIterator<Item = Packet>) -> Option<Unsent> {
        let mut stream = self.stream();
        let stream = stream.as_mut()?;
        let spacing = self.feedback.repair_spacing();
        BATCH.with_borrow_mut(|batch| {
            batch.clear();
            let (mut repairs, mut bytes) = (0, 0);
            for packet in packets {
                let is_last = packet.marker;
                log_failure(stream.media(batch, now, packet));
                let added = stream.protect(batch, now, is_last, spacing);
                (repairs, bytes) = (repairs + added.0, bytes + added.1);
            }
            if repairs > 0 {
                self.feedback.unasked_repairs.fetch_add(repairs, Ordering::Relaxed);
                self.feedback.sent(now, bytes);
            }
            self.way.send(batch)
        })
    }

    /// Tells the viewer which RTP time is which time of day, if that is due. `timestamp` is that of a picture
    /// captured at `captured_at`. Gives what finds no room at once.
    pub fn report(&self, now: Instant, timestamp: u32, captured_at: Instant) -> Option<Unsent> {
        let mut stream = self.stream();
        let stream = stream.as_mut().filter(|stream| stream.reports.is_due(now))?;
        let since_unix = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let age = now.saturating_duration_since(captured_at);
        let report = stream.reports.make(now, latency::ntp_q32(since_unix), timestamp, age);
        BATCH.with_borrow_mut(|batch| {
            batch.clear();
            log_failure(stream.srtp.protect_rtcp(&report).and_then(|report| {
                batch.packet(|bytes| {
                    bytes.extend_from_slice(&report);
                    Ok(())
                })
            }));
            self.way.send(batch)
        })
    }

    /// Sends the last packets once more, if the path is to be tried for more than it is known to carry: viewers leave out
    /// what they have.
    pub fn probe(&self, now: Instant) {
        let mut stream = self.stream();
        let Some(stream) = stream.as_mut().filter(|stream| stream.can_probe()) else { return };
        let Some(bits) = self.feedback.probe(now) else { return };
        BATCH.with_borrow_mut(|batch| {
            batch.clear();
            let Stream { repairs, writer, departures, srtp, .. } = stream;
            let mut bytes = 0;
            for kept in repairs.newest(bits) {
                bytes += kept.payload.len();
                self.feedback.probe_packets.fetch_add(1, Ordering::Relaxed);
                log_failure(writer.again(batch, now, kept, departures, srtp));
            }
            // What finds no room leaves too late to tell anything.
            drop(self.way.send(batch));
            self.feedback.sent(now, bytes);
        });
    }

    /// Takes the viewer's RTCP, opened.
    pub fn reported(&self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        let ssrc = self.stream().as_ref().map(|stream| stream.writer.media.ssrc);
        for packet in packets {
            let any = packet.as_any();
            self.feedback.take(now, any, ssrc, &self.fanout);
            if let Some(nack) = any.downcast_ref() {
                self.repair(now, nack);
            } else if let Some(feedback) = any.downcast_ref::<TransportLayerCc>() {
                let reports = self.stream().as_mut().map(|stream| stream.departures.reported(feedback));
                self.feedback.departed(now, &reports.unwrap_or_default());
            }
        }
    }

    fn repair(&self, now: Instant, nack: &TransportLayerNack) {
        let mut stream = self.stream();
        let Some(stream) = stream.as_mut().filter(|stream| stream.asks(nack)) else { return };
        let on = self.feedback.conditions(now);
        BATCH.with_borrow_mut(|batch| {
            batch.clear();
            let Stream { repairs, writer, departures, srtp, .. } = stream;
            let bytes = repairs.asked(now, on, nack, |kept| {
                self.feedback.repaired_packets.fetch_add(1, Ordering::Relaxed);
                log_failure(writer.again(batch, now, kept, departures, srtp));
            });
            // What finds no room now is asked for again, and over TCP nothing is lost.
            drop(self.way.send(batch));
            if bytes > 0 {
                self.feedback.sent(now, bytes);
            }
        });
    }
}

impl MediaSink for Outbound {
    fn received(&self, datagram: &[u8], from: SocketAddr, now: Instant) {
        // RTCP by its second byte (RFC 5761 section 4); no media is received.
        if !matches!(datagram, [_, 192..=223, ..]) {
            return;
        }
        let opened = self.stream().as_mut().map(|stream| stream.srtp.open_rtcp(datagram));
        let Some(Ok(mut opened)) = opened else { return };
        self.heard.note(datagram, from);
        if let Ok(packets) = rtcp::packet::unmarshal(&mut opened) {
            self.reported(now, &packets);
        }
    }
}

fn log_failure(result: Result<(), PeerError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a packet could not be protected and is skipped");
    }
}

/// What one viewer's packets are made with.
struct Stream {
    writer: Writer,
    departures: Departures,
    repairs: Repairs,
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
    fn new(
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
            departures: Departures::default(),
            repairs: Repairs::default(),
            reports: SenderReports::new(ssrc),
            srtp: Srtp::new(keys, provider.crypto())?,
            protection,
        })
    }

    fn asks(&self, nack: &TransportLayerNack) -> bool {
        self.writer.nack && self.writer.media.ssrc == nack.media_ssrc
    }

    /// Over RTX, a packet that comes twice is known as one, and each is reported by itself.
    fn can_probe(&self) -> bool {
        self.writer.rtx.is_some() && self.writer.extensions.transport_cc.is_some()
    }

    /// Adds a new packet.
    fn media(&mut self, batch: &mut Batch, now: Instant, packet: Packet) -> Result<(), PeerError> {
        let Packet { payload, timestamp, marker, playout_delay, capture_time } = packet;
        let (index, sequence_number) = self.writer.media.take();
        let head = Head {
            ssrc: self.writer.media.ssrc,
            payload_type: self.writer.media.payload_type,
            sequence_number,
            timestamp,
            marker,
            transport_cc: self.writer.number(now, &mut self.departures, payload.len()),
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
    fn protect(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        is_last: bool,
        spacing: Option<u8>,
    ) -> (u64, usize) {
        let Self { writer, departures, repairs, srtp, protection: Some(protection), .. } = self else {
            return (0, 0);
        };
        let Some(full) = protection.group.count(now, is_last, spacing) else { return (0, 0) };
        let mut added = (0, 0);
        for number in 0..full.repairs {
            let Some(timestamp) = protection.repair(writer, repairs, full, number) else { continue };
            let transport_cc = writer.number(now, departures, protection.scratch.len());
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
    fn repair(&mut self, writer: &Writer, repairs: &Repairs, full: Full, number: u8) -> Option<u32> {
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
    fn number(&self, now: Instant, departures: &mut Departures, payload_bytes: usize) -> Option<u16> {
        /// A head with the extension for this number.
        const HEAD_BYTES: usize = 20;
        self.extensions.transport_cc.map(|_| departures.number(now, HEAD_BYTES + payload_bytes))
    }

    /// Adds a packet once more: over RTX a new one around the old payload; without, the very same, because
    /// its number must not protect anything else.
    fn again(
        &mut self,
        batch: &mut Batch,
        now: Instant,
        kept: &Kept,
        departures: &mut Departures,
        srtp: &mut Srtp,
    ) -> Result<(), PeerError> {
        if self.rtx.is_none() {
            return self.write(batch, srtp, &kept.head, kept.index, &[&kept.payload]);
        }
        let transport_cc = self.number(now, departures, kept.payload.len() + 2);
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

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
