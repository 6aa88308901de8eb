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

use super::voice_receiver::VoiceReceiver;
use crate::peer::bwe::feedback::Feedback;
use crate::peer::bwe::rtx_budget::Conditions;
use crate::peer::error::PeerError;
use crate::peer::net::Net;
use crate::peer::net::batch::Batch;
use crate::peer::net::demux::PeerId;
use crate::peer::net::selected_path::SelectedPath;
use crate::peer::rtp::audio_stream::{AudioRtpPacket, NegotiatedAudio};
use crate::peer::rtp::keys::SrtpKeys;
use crate::peer::rtp::ntp::ntp_q32;
use crate::peer::rtp::rtp_sender::{Negotiated, Packet, RtpSender, log_failure};
use crate::stream::Fanout;

/// How long packets wait for room in a socket before they are lost.
const ROOM_LIMIT: Duration = Duration::from_millis(500);
/// The same for sound: what is as late is made up at the viewer.
const SOUND_ROOM_LIMIT: Duration = Duration::from_millis(100);
/// What a packet of sound has on the path beside its payload: IP, UDP, RTP with its extensions, and the tag. At 100 packets a second it
/// is more than the sound itself.
const SOUND_OVERHEAD_BYTES: usize = 68;

/// One viewer's media.
pub(in crate::peer) struct MediaSender {
    peer_id: PeerId,
    feedback: Arc<Feedback>,
    fanout: Fanout,
    /// Where it goes; packets are lost while that is not known.
    pub path: Option<SelectedPath>,
    /// `None` until the handshake is over.
    rtp: Option<RtpSender>,
    /// What found no room, and since when it waits.
    unsent: Option<(Batch, Instant)>,
    /// The same of sound, which goes first.
    unsent_sound: Option<(Batch, Instant)>,
    /// Where the device has a speaker.
    voice: Option<VoiceReceiver>,
}

impl MediaSender {
    /// Nothing is sent before [`Self::start`]. Key frames are asked of `fanout`.
    pub fn new(peer_id: PeerId, feedback: Arc<Feedback>, fanout: Fanout) -> Self {
        Self {
            peer_id,
            feedback,
            fanout,
            path: None,
            rtp: None,
            unsent: None,
            unsent_sound: None,
            voice: None,
        }
    }

    /// The same with what takes the viewer's voice.
    #[must_use]
    pub fn with_voice(mut self, voice: Option<VoiceReceiver>) -> Self {
        self.voice = voice;
        self
    }

    /// What was negotiated of sound: what goes to the viewer, and the payload type of what comes.
    pub fn set_audio(&mut self, sent: Option<&NegotiatedAudio>, received: Option<u8>) {
        if let Some(rtp) = &mut self.rtp {
            rtp.set_audio(sent);
        }
        if let Some(voice) = &mut self.voice {
            voice.set_payload_type(received);
        }
    }

    /// Begins, with what was negotiated and what the handshake agreed on.
    pub fn start(&mut self, negotiated: &Negotiated, keys: &SrtpKeys) -> Result<(), PeerError> {
        let rtp = RtpSender::new(negotiated, keys, &*default_provider()?)?;
        if rtp.can_send_fec() {
            self.feedback.allow_fec();
        }
        self.rtp = Some(rtp);
        Ok(())
    }

    /// Sends what `make` adds. Gives how many runs found no room, and those themselves.
    fn batch<T>(
        &mut self,
        net: &mut Net,
        now: Instant,
        make: impl FnOnce(&mut RtpSender, &Feedback, &mut Batch) -> T,
    ) -> Option<(T, Option<Batch>)> {
        let rtp = self.rtp.as_mut()?;
        let mut batch = std::mem::take(&mut net.scratch);
        batch.clear();
        let done = make(rtp, &self.feedback, &mut batch);
        let sent = self.path.map_or(batch.len(), |path| net.send(self.peer_id, path, &batch, now));
        let rest = (sent < batch.len()).then(|| batch.after(sent));
        net.scratch = batch;
        Some((done, rest))
    }

    /// Keeps what found no room for [`Self::finish`], in order.
    fn keep(&mut self, rest: Option<Batch>, now: Instant) {
        keep_in(&mut self.unsent, rest, now);
    }

    /// Sends what waits for room, sound first. Gives whether nothing waits any more: what finds none in time is lost.
    pub fn finish(&mut self, net: &mut Net, now: Instant) -> bool {
        let Some(path) = self.path else { return true };
        for (unsent, limit) in [(&mut self.unsent_sound, SOUND_ROOM_LIMIT), (&mut self.unsent, ROOM_LIMIT)] {
            if let Some((batch, since)) = unsent.take()
                && now.saturating_duration_since(since) < limit
            {
                let sent = net.send(self.peer_id, path, &batch, now);
                if sent < batch.len() {
                    *unsent = Some((batch.after(sent), since));
                    return false;
                }
            }
        }
        !net.is_waiting(path)
    }

    /// Whether sound is to wait with all else: what was sent along this path stays in order, and waits inside this process.
    pub fn holds_sound(&self, net: &Net) -> bool {
        self.path.is_some_and(|path| net.is_waiting(path))
    }

    /// Sends `packets` in their order.
    pub fn send(&mut self, net: &mut Net, now: Instant, packets: impl IntoIterator<Item = Packet>) {
        let spacing = self.feedback.fec_spacing();
        let sent = self.batch(net, now, |rtp, feedback, batch| {
            let (mut fec_packets, mut bytes) = (0, 0);
            for packet in packets {
                let is_last = packet.marker;
                log_failure(rtp.add_media(batch, now, packet));
                let added = rtp.add_fec(batch, now, is_last, spacing);
                (fec_packets, bytes) = (fec_packets + added.0, bytes + added.1);
            }
            if fec_packets > 0 {
                feedback.fec_packets.fetch_add(fec_packets, Ordering::Relaxed);
                feedback.sent_besides(now, bytes);
            }
        });
        self.keep(sent.and_then(|((), rest)| rest), now);
    }

    /// Tells the viewer which RTP time is which time of day, if that is due. `timestamp` is that of a picture
    /// captured at `captured_at`.
    pub fn report(&mut self, net: &mut Net, now: Instant, timestamp: u32, captured_at: Instant) {
        if !self.rtp.as_ref().is_some_and(|rtp| rtp.is_report_due(now)) {
            return;
        }
        let Ok(since_unix) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
        let age = now.saturating_duration_since(captured_at);
        let sent = self.batch(net, now, |rtp, _, batch| {
            log_failure(rtp.report(batch, now, ntp_q32(since_unix), timestamp, age));
        });
        self.keep(sent.and_then(|((), rest)| rest), now);
    }

    /// Sends a packet of sound at once, captured at `captured_at`, and the stream's report where that is due. Gives the packet's bytes,
    /// if any sound was negotiated.
    pub fn send_audio(
        &mut self,
        net: &mut Net,
        now: Instant,
        packet: &AudioRtpPacket,
        captured_at: Instant,
    ) -> Option<usize> {
        let sent = self.batch(net, now, |rtp, feedback, batch| {
            let added = rtp.add_audio(batch, now, packet);
            let bytes = added.as_ref().ok().copied().flatten();
            log_failure(added.map(drop));
            if let Some(bytes) = bytes {
                feedback.sound_sent(now, bytes + SOUND_OVERHEAD_BYTES, rtp.is_audio_numbered());
            }
            if rtp.is_audio_report_due(now)
                && let Ok(since_unix) = SystemTime::now().duration_since(UNIX_EPOCH)
            {
                let age = now.saturating_duration_since(captured_at);
                log_failure(rtp.report_audio(batch, now, ntp_q32(since_unix), packet.timestamp, age));
            }
            bytes
        });
        let (bytes, rest) = sent?;
        keep_in(&mut self.unsent_sound, rest, now);
        bytes
    }

    /// Sends the last packets once more, if the path is to be tried for more than it is known to carry: viewers leave out
    /// what they have.
    pub fn probe(&mut self, net: &mut Net, now: Instant) {
        if !self.rtp.as_ref().is_some_and(RtpSender::can_probe) {
            return;
        }
        let Some(bits) = self.feedback.probe(now) else { return };
        // What finds no room leaves too late to tell anything.
        self.batch(net, now, |rtp, feedback, batch| {
            let (packets, bytes) = rtp.add_probe(batch, now, bits);
            feedback.probe_packets.fetch_add(packets, Ordering::Relaxed);
            feedback.sent_besides(now, bytes);
        });
    }

    /// Takes one SRTP or SRTCP datagram. Gives whether it is a report of the viewer.
    pub fn received(&mut self, net: &mut Net, datagram: &[u8], from: SocketAddr, now: Instant) -> bool {
        // RTCP by its second byte (RFC 5761 section 4).
        if !matches!(datagram, [_, 192..=223, ..]) {
            self.heard(net, datagram, now);
            return false;
        }
        let Some(Ok(mut opened)) = self.rtp.as_mut().map(|rtp| rtp.open_rtcp(datagram)) else {
            return false;
        };
        match rtcp::packet::unmarshal(&mut opened) {
            Ok(packets) => self.reported(net, now, &packets),
            Err(error) => tracing::debug!(%error, %from, "a report of the viewer"),
        }
        true
    }

    /// Takes a packet of the viewer's voice, and reports on it now and then.
    fn heard(&mut self, net: &mut Net, datagram: &[u8], now: Instant) {
        let (Some(voice), Some(rtp)) = (&mut self.voice, &mut self.rtp) else { return };
        if !voice.wants(datagram, now) {
            return;
        }
        match rtp.open_rtp(datagram) {
            Ok(opened) => voice.take(opened, now),
            Err(_) => voice.discard(),
        }
        if let Some(report) = voice.report(rtp.ssrc(), now) {
            // One that finds no room comes again in a second.
            self.batch(net, now, |rtp, _, batch| log_failure(rtp.add_rtcp(batch, &report)));
        }
    }

    /// Takes the viewer's RTCP, opened.
    fn reported(&mut self, net: &mut Net, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        let ssrc = self.rtp.as_ref().map(RtpSender::ssrc);
        for packet in packets {
            let any = packet.as_any();
            self.feedback.take(now, any, ssrc, &self.fanout);
            if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
                if self.rtp.as_ref().is_some_and(|rtp| rtp.is_nack_for_us(nack)) {
                    self.retransmit(net, now, |rtp, batch, on| rtp.retransmit(batch, now, on, nack));
                }
            } else if let Some(feedback) = any.downcast_ref::<TransportLayerCc>() {
                let reports = self.rtp.as_mut().map(|rtp| rtp.take_transport_feedback(feedback));
                self.feedback.take_packet_results(now, &reports.unwrap_or_default());
                self.retransmit(net, now, |rtp, batch, on| rtp.retransmit_lost(batch, now, on));
            }
        }
    }

    /// Sends again what `add` adds.
    fn retransmit(
        &mut self,
        net: &mut Net,
        now: Instant,
        add: impl FnOnce(&mut RtpSender, &mut Batch, Conditions) -> (u64, usize),
    ) {
        let on = self.feedback.conditions(now);
        // What finds no room now is asked for again, and over TCP nothing is lost.
        self.batch(net, now, |rtp, feedback, batch| {
            let (packets, bytes) = add(rtp, batch, on);
            feedback.retransmitted_packets.fetch_add(packets, Ordering::Relaxed);
            if bytes > 0 {
                feedback.sent_besides(now, bytes);
            }
        });
    }
}

fn keep_in(unsent: &mut Option<(Batch, Instant)>, rest: Option<Batch>, now: Instant) {
    let Some(rest) = rest else { return };
    match unsent {
        Some((unsent, _)) => unsent.append(&rest),
        none => *none = Some((rest, now)),
    }
}

#[cfg(test)]
#[path = "media_sender_audio_tests.rs"]
mod audio_tests;
#[cfg(test)]
#[path = "media_sender_tests.rs"]
mod tests;
