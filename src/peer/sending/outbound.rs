//! What one viewer is sent: packets numbered, protected and sent in one go, and what its reports ask for.
//!
//! The WebRTC library makes the connection: ICE, DTLS, the way to the viewer. Media does not pass through it: it would take each
//! packet through a dozen layers, each with queues of its own. Here a picture is one buffer and one system call.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtc::crypto::default_provider;
use rtc::rtcp;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::feedback::Feedback;
use super::keys::SrtpKeys;
use super::latency;
use super::stream::{Negotiated, Packet, Stream, log_failure};
use crate::peer::PeerError;
use crate::peer::socket::batch::Batch;
use crate::peer::socket::udp_port::MediaSink;
use crate::peer::socket::watched_socket::Heard;
use crate::peer::socket::way::{Unsent, Way};
use crate::stream::Fanout;

thread_local! {
    /// Where packets are made, for all viewers of a thread one after another.
    static BATCH: RefCell<Batch> = RefCell::default();
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
        let fanout = fanout.at(Arc::clone(&feedback.control.rendition));
        Self { feedback, fanout, heard, way, stream: Mutex::default() }
    }

    /// Begins, with what was negotiated and what the handshake agreed on.
    pub fn start(&self, negotiated: &Negotiated, keys: &SrtpKeys) -> Result<(), PeerError> {
        let stream = Stream::new(negotiated, keys, &*default_provider()?)?;
        if stream.can_protect() {
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
        let stream = stream.as_mut().filter(|stream| stream.is_report_due(now))?;
        let since_unix = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let age = now.saturating_duration_since(captured_at);
        BATCH.with_borrow_mut(|batch| {
            batch.clear();
            log_failure(stream.report(batch, now, latency::ntp_q32(since_unix), timestamp, age));
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
            let (packets, bytes) = stream.newest_again(batch, now, bits);
            self.feedback.probe_packets.fetch_add(packets, Ordering::Relaxed);
            // What finds no room leaves too late to tell anything.
            drop(self.way.send(batch));
            self.feedback.sent(now, bytes);
        });
    }

    /// Takes the viewer's RTCP, opened.
    pub fn reported(&self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        let ssrc = self.stream().as_ref().map(Stream::ssrc);
        for packet in packets {
            let any = packet.as_any();
            self.feedback.take(now, any, ssrc, &self.fanout);
            if let Some(nack) = any.downcast_ref() {
                self.repair(now, nack);
            } else if let Some(feedback) = any.downcast_ref::<TransportLayerCc>() {
                let reports = self.stream().as_mut().map(|stream| stream.departed(feedback));
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
            let (packets, bytes) = stream.asked_again(batch, now, on, nack);
            self.feedback.repaired_packets.fetch_add(packets, Ordering::Relaxed);
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
        let opened = self.stream().as_mut().map(|stream| stream.open_rtcp(datagram));
        let Some(Ok(mut opened)) = opened else { return };
        self.heard.note(datagram, from);
        if let Ok(packets) = rtcp::packet::unmarshal(&mut opened) {
            self.reported(now, &packets);
        }
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
