//! Packets of the microphone to RTP packets of one viewer. They wait for nothing: sound goes first, and is small.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::media_sender::MediaSender;
use crate::peer::net::Net;
use crate::peer::rtp::audio_stream::AudioRtpPacket;
use crate::peer::rtp::ntp::ntp_q32;
use crate::peer::stats::SessionStats;
use crate::stream::AudioPacket;

/// The capture time goes with one packet in so long.
const CAPTURE_TIME_EVERY: Duration = Duration::from_secs(1);
/// What is older when its turn comes is not worth sending: the viewer would hold back all that follows for it.
const OLDEST: Duration = Duration::from_secs(1);

/// What one viewer's sound is made with.
pub(in crate::peer) struct AudioSender {
    live: Arc<SessionStats>,
    timestamp_base: u32,
    capture_time_sent: Option<Instant>,
}

impl AudioSender {
    pub fn new(live: Arc<SessionStats>) -> Self {
        Self { live, timestamp_base: rand::random(), capture_time_sent: None }
    }

    /// Sends `packet`, and the stream's report where that is due.
    pub fn send(&mut self, now: Instant, packet: &AudioPacket, media: &mut MediaSender, net: &mut Net) {
        if now.saturating_duration_since(packet.captured_at) > OLDEST {
            return;
        }
        // RTP's time turns over (RFC 3550 section 5.1).
        #[allow(clippy::cast_possible_truncation)]
        let timestamp = self.timestamp_base.wrapping_add(packet.samples as u32);
        let out = AudioRtpPacket {
            payload: packet.payload.clone(),
            timestamp,
            marker: packet.begins_talkspurt,
            capture_time: self.capture_time(packet, now),
        };
        if let Some(bytes) = media.send_audio(net, now, &out, packet.captured_at) {
            self.live.sound.sent_packets.fetch_add(1, Ordering::Relaxed);
            self.live.sound.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    fn capture_time(&mut self, packet: &AudioPacket, now: Instant) -> Option<u64> {
        let recent = |at: Instant| now.saturating_duration_since(at) < CAPTURE_TIME_EVERY;
        if self.capture_time_sent.is_some_and(recent) {
            return None;
        }
        // A clock before 1970 is no clock.
        let since_unix = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        self.capture_time_sent = Some(now);
        Some(ntp_q32(since_unix.saturating_sub(now.saturating_duration_since(packet.captured_at))))
    }
}
