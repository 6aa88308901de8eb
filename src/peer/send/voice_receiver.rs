//! The voice of one viewer: who may speak, what of its packets is taken, and how many. Bounded before anything is opened.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp;
use rtc::shared::marshal::Unmarshal;

use crate::base::limits::{TokenBucket, TokenRate};
use crate::peer::rtp::reception::Reception;
use crate::peer::sound::AudioParts;
use crate::peer::stats::SessionStats;
use crate::stream::{SpokenPacket, Talk};

/// Packets that are taken of one viewer: Opus has at most 400 a second (RFC 6716 section 2.1.4), browsers send 50.
const PACKETS: TokenRate = TokenRate { burst: 100.0, per_second: 200.0 };
/// The longest Opus packet of one frame (RFC 6716 section 3.2.1); those of several are as long with what browsers send.
const MAX_PAYLOAD_BYTES: usize = 1275;
/// A viewer speaks with one source at a time; another one is heard once this one was silent for so long.
const SILENCE: Duration = Duration::from_secs(1);

/// One viewer's.
pub(in crate::peer) struct VoiceReceiver {
    talk: Talk,
    may_talk: Box<dyn Fn() -> bool + Send>,
    live: Arc<SessionStats>,
    /// Of Opus, as negotiated; `None`: nothing is received.
    payload_type: Option<u8>,
    tokens: TokenBucket,
    source: Option<Reception>,
    /// When something of it came last.
    heard_at: Option<Instant>,
}

impl fmt::Debug for VoiceReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoiceReceiver").field("payload_type", &self.payload_type).finish_non_exhaustive()
    }
}

impl Drop for VoiceReceiver {
    fn drop(&mut self) {
        self.talk.end(self.live.number);
    }
}

impl VoiceReceiver {
    /// Nothing is received before [`Self::set_payload_type`].
    pub fn new(audio: &AudioParts, live: Arc<SessionStats>) -> Self {
        let (may_talk, grant) = (Arc::clone(&audio.may_talk), live.grant.clone());
        Self {
            talk: audio.talk.clone(),
            may_talk: Box::new(move || may_talk(grant.as_ref())),
            live,
            payload_type: None,
            tokens: TokenBucket::full(PACKETS, Instant::now()),
            source: None,
            heard_at: None,
        }
    }

    /// What was negotiated; `None`: nothing is received any more.
    pub fn set_payload_type(&mut self, payload_type: Option<u8>) {
        if payload_type.is_none() {
            self.talk.end(self.live.number);
        }
        self.payload_type = payload_type;
    }

    /// Whether `datagram`, still protected, is to be opened.
    pub fn wants(&mut self, datagram: &[u8], now: Instant) -> bool {
        let wants = self.may_be_opened(datagram, now);
        if !wants {
            self.discard();
        }
        wants
    }

    fn may_be_opened(&mut self, datagram: &[u8], now: Instant) -> bool {
        let (Some(payload_type), Some(ssrc)) = (self.payload_type, ssrc(datagram)) else { return false };
        if datagram.get(1).is_none_or(|second| second & 0x7f != payload_type) {
            return false;
        }
        let is_heard = self.heard_at.is_some_and(|at| now.saturating_duration_since(at) < SILENCE);
        let is_other = self.source.as_ref().is_some_and(|source| source.ssrc() != ssrc);
        !(is_heard && is_other) && self.tokens.take(now).is_ok()
    }

    /// What was wanted could not be opened.
    pub fn discard(&mut self) {
        self.live.sound.voice_discarded.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a packet that was opened.
    pub fn take(&mut self, mut opened: Bytes, now: Instant) {
        let packet = rtp::Packet::unmarshal(&mut opened).ok();
        let fits = |packet: &rtp::Packet| (1..=MAX_PAYLOAD_BYTES).contains(&packet.payload.len());
        let Some(packet) = packet.filter(fits) else { return self.discard() };
        let rtp::Header { ssrc, sequence_number, timestamp, marker, .. } = packet.header;
        let source = match &mut self.source {
            Some(source) if source.ssrc() == ssrc => source,
            other => other.insert(Reception::new(ssrc, sequence_number, now)),
        };
        source.received(sequence_number, timestamp, now);
        self.heard_at = Some(now);
        let spoken = SpokenPacket {
            speaker: self.live.number,
            payload: packet.payload,
            sequence_number,
            timestamp,
            marker,
            received_at: now,
        };
        if !(self.may_talk)() {
            // Others need not wait until who lost the right has fallen silent.
            self.talk.end(self.live.number);
            self.discard();
        } else if self.talk.speak(spoken, now) == Ok(true) {
            self.live.sound.voice_packets.fetch_add(1, Ordering::Relaxed);
        } else {
            self.discard();
        }
    }

    /// The receiver report that is due. `reporter` is an SSRC of this side.
    pub fn report(&mut self, reporter: u32, now: Instant) -> Option<Vec<u8>> {
        self.source.as_mut()?.report(reporter, now)
    }
}

fn ssrc(datagram: &[u8]) -> Option<u32> {
    datagram.get(8..12)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}
