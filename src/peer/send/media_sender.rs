//! What one viewer is sent: packets numbered, protected and sent in one go, and what its reports ask for.
//!
//! The WebRTC library makes the connection: ICE, DTLS, the way to the viewer. Media does not pass through it: it would take each
//! packet through a dozen layers, each with queues of its own. Here a picture is one buffer and one system call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtc::crypto::default_provider;
use rtc::rtcp;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::latency;
use crate::peer::bwe::feedback::Feedback;
use crate::peer::error::PeerError;
use crate::peer::net::Net;
use crate::peer::net::batch::Batch;
use crate::peer::net::demux::Owner;
use crate::peer::net::selected_path::SelectedPath;
use crate::peer::rtp::keys::SrtpKeys;
use crate::peer::rtp::stream::{Negotiated, Packet, Stream, log_failure};
use crate::stream::Fanout;

/// How long packets wait for room in a socket before they are lost.
const ROOM_LIMIT: Duration = Duration::from_millis(500);

/// One viewer's media.
pub(in crate::peer) struct MediaSender {
    owner: Owner,
    feedback: Arc<Feedback>,
    fanout: Fanout,
    /// Where it goes; packets are lost while that is not known.
    pub path: Option<SelectedPath>,
    /// `None` until the handshake is over.
    stream: Option<Stream>,
    /// What found no room, and since when it waits.
    unsent: Option<(Batch, Instant)>,
}

impl MediaSender {
    /// Nothing is sent before [`Self::start`]. Key frames are asked of `fanout`.
    pub fn new(owner: Owner, feedback: Arc<Feedback>, fanout: Fanout) -> Self {
        Self { owner, feedback, fanout, path: None, stream: None, unsent: None }
    }

    /// Begins, with what was negotiated and what the handshake agreed on.
    pub fn start(&mut self, negotiated: &Negotiated, keys: &SrtpKeys) -> Result<(), PeerError> {
        let stream = Stream::new(negotiated, keys, &*default_provider()?)?;
        if stream.can_protect() {
            self.feedback.allow_protection();
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Where its pictures come from.
    pub fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// Sends what `make` adds. Gives how many runs found no room, and those themselves.
    fn batch<T>(
        &mut self,
        net: &mut Net,
        now: Instant,
        make: impl FnOnce(&mut Stream, &Feedback, &mut Batch) -> T,
    ) -> Option<(T, Option<Batch>)> {
        let stream = self.stream.as_mut()?;
        let mut batch = std::mem::take(&mut net.scratch);
        batch.clear();
        let done = make(stream, &self.feedback, &mut batch);
        let sent = self.path.map_or(batch.len(), |path| net.send(self.owner, path, &batch, now));
        let rest = (sent < batch.len()).then(|| batch.after(sent));
        net.scratch = batch;
        Some((done, rest))
    }

    /// Keeps what found no room for [`Self::finish`], in order.
    fn keep(&mut self, rest: Option<Batch>, now: Instant) {
        let Some(rest) = rest else { return };
        match &mut self.unsent {
            Some((unsent, _)) => unsent.append(&rest),
            none => *none = Some((rest, now)),
        }
    }

    /// Sends what waits for room. Gives whether nothing waits any more: what finds none in time is lost.
    pub fn finish(&mut self, net: &mut Net, now: Instant) -> bool {
        let Some(path) = self.path else { return true };
        if let Some((unsent, since)) = self.unsent.take()
            && now.saturating_duration_since(since) < ROOM_LIMIT
        {
            let sent = net.send(self.owner, path, &unsent, now);
            if sent < unsent.len() {
                self.unsent = Some((unsent.after(sent), since));
            }
        }
        self.unsent.is_none() && !net.is_waiting(path)
    }

    /// Sends `packets` in their order.
    pub fn send(&mut self, net: &mut Net, now: Instant, packets: impl IntoIterator<Item = Packet>) {
        let spacing = self.feedback.repair_spacing();
        let sent = self.batch(net, now, |stream, feedback, batch| {
            let (mut repairs, mut bytes) = (0, 0);
            for packet in packets {
                let is_last = packet.marker;
                log_failure(stream.media(batch, now, packet));
                let added = stream.protect(batch, now, is_last, spacing);
                (repairs, bytes) = (repairs + added.0, bytes + added.1);
            }
            if repairs > 0 {
                feedback.unasked_repairs.fetch_add(repairs, Ordering::Relaxed);
                feedback.sent_besides(now, bytes);
            }
        });
        self.keep(sent.and_then(|((), rest)| rest), now);
    }

    /// Tells the viewer which RTP time is which time of day, if that is due. `timestamp` is that of a picture
    /// captured at `captured_at`.
    pub fn report(&mut self, net: &mut Net, now: Instant, timestamp: u32, captured_at: Instant) {
        if !self.stream.as_ref().is_some_and(|stream| stream.is_report_due(now)) {
            return;
        }
        let Ok(since_unix) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
        let age = now.saturating_duration_since(captured_at);
        let sent = self.batch(net, now, |stream, _, batch| {
            log_failure(stream.report(batch, now, latency::ntp_q32(since_unix), timestamp, age));
        });
        self.keep(sent.and_then(|((), rest)| rest), now);
    }

    /// Sends the last packets once more, if the path is to be tried for more than it is known to carry: viewers leave out
    /// what they have.
    pub fn probe(&mut self, net: &mut Net, now: Instant) {
        if !self.stream.as_ref().is_some_and(Stream::can_probe) {
            return;
        }
        let Some(bits) = self.feedback.probe(now) else { return };
        // What finds no room leaves too late to tell anything.
        self.batch(net, now, |stream, feedback, batch| {
            let (packets, bytes) = stream.newest_again(batch, now, bits);
            feedback.probe_packets.fetch_add(packets, Ordering::Relaxed);
            feedback.sent_besides(now, bytes);
        });
    }

    /// Takes one SRTP or SRTCP datagram. Gives whether it is a report of the viewer.
    pub fn received(&mut self, net: &mut Net, datagram: &[u8], from: SocketAddr, now: Instant) -> bool {
        // RTCP by its second byte (RFC 5761 section 4); no media is received.
        if !matches!(datagram, [_, 192..=223, ..]) {
            return false;
        }
        let Some(Ok(mut opened)) = self.stream.as_mut().map(|stream| stream.open_rtcp(datagram)) else {
            return false;
        };
        match rtcp::packet::unmarshal(&mut opened) {
            Ok(packets) => self.reported(net, now, &packets),
            Err(error) => tracing::debug!(%error, %from, "a report of the viewer"),
        }
        true
    }

    /// Takes the viewer's RTCP, opened.
    fn reported(&mut self, net: &mut Net, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        let ssrc = self.stream.as_ref().map(Stream::ssrc);
        for packet in packets {
            let any = packet.as_any();
            self.feedback.take(now, any, ssrc, &self.fanout);
            if let Some(nack) = any.downcast_ref() {
                self.repair(net, now, nack);
            } else if let Some(feedback) = any.downcast_ref::<TransportLayerCc>() {
                let reports = self.stream.as_mut().map(|stream| stream.departed(feedback));
                self.feedback.departed(now, &reports.unwrap_or_default());
            }
        }
    }

    fn repair(&mut self, net: &mut Net, now: Instant, nack: &TransportLayerNack) {
        if !self.stream.as_ref().is_some_and(|stream| stream.asks(nack)) {
            return;
        }
        let on = self.feedback.conditions(now);
        // What finds no room now is asked for again, and over TCP nothing is lost.
        self.batch(net, now, |stream, feedback, batch| {
            let (packets, bytes) = stream.asked_again(batch, now, on, nack);
            feedback.repaired_packets.fetch_add(packets, Ordering::Relaxed);
            if bytes > 0 {
                feedback.sent_besides(now, bytes);
            }
        });
    }
}

#[cfg(test)]
#[path = "media_sender_tests.rs"]
mod tests;
