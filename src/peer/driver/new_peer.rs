//! What one viewer's connection begins with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use rtc::peer_connection::RTCPeerConnection;
use tokio::sync::{mpsc, watch};

use super::channel::ChannelStart;
use super::event::PeerEvent;
use crate::peer::channel::ChannelEvent;
use crate::peer::connect::negotiation::Negotiation;
use crate::peer::connect::track::Track;
use crate::peer::rtp::keys::Keys;
use crate::peer::send::media_sender::MediaSender;
use crate::peer::sound::AudioParts;
use crate::peer::stats::SessionStats;
use crate::stream::Fanout;

/// What a connection is made of.
pub(in crate::peer) struct PeerParts {
    /// Boxed: it takes 17 KB.
    pub pc: Box<RTCPeerConnection>,
    pub track: Track,
    pub keys: Keys,
    /// The pictures, from the viewer's place.
    pub fanout: Fanout,
    /// What is told of it; `None`: nothing is sent.
    pub live: Option<Arc<SessionStats>>,
    /// Takes what viewers say on their data channels; `None`: nobody does, and they get none.
    pub channels: Option<mpsc::Sender<ChannelEvent>>,
    /// The sound of the device, where it has any.
    pub audio: Option<AudioParts>,
    /// Told with our candidates.
    pub public_ip: Option<IpAddr>,
    /// How long the viewer is asked to hold a picture.
    pub playout_delay_ms: u32,
}

impl PeerParts {
    /// Something was received: of the viewer, unless it is a server's that tells us our addresses.
    pub fn hear(&self, now: Instant, is_server: bool) {
        if let Some(live) = self.live.as_ref().filter(|_| !is_server) {
            live.hear(now);
        }
    }
}

/// Those, and what the driver adds.
pub(super) struct NewPeer {
    pub parts: PeerParts,
    pub media: MediaSender,
    pub channel: Option<ChannelStart>,
    /// Whether sound goes to the viewer, as the last offer has it.
    pub sends_audio: watch::Sender<bool>,
    pub events: mpsc::Sender<PeerEvent>,
    pub span: tracing::Span,
}

impl NewPeer {
    /// Media begins, with what `negotiation` says and the keys of the handshake; whether it can.
    pub fn start_media(&mut self, negotiation: Option<&Negotiation>) -> bool {
        let Some((negotiation, keys)) = negotiation.zip(self.parts.keys.agreed()) else {
            tracing::warn!("the connection has no keys for media");
            return false;
        };
        if let Err(error) = self.media.start(&self.parts.track.negotiated(negotiation), &keys) {
            tracing::warn!(%error, "media cannot be sent");
            return false;
        }
        self.follow_audio(negotiation);
        true
    }

    /// Sound begins and ends as `negotiation` has it, once media has begun.
    pub fn follow_audio(&mut self, negotiation: &Negotiation) {
        let sent = self.parts.track.negotiated_audio(negotiation);
        let received = negotiation.audio.filter(|audio| audio.receives).map(|audio| audio.payload_type);
        self.media.set_audio(sent.as_ref(), received);
        self.sends_audio.send_if_modified(|sends| std::mem::replace(sends, sent.is_some()) != sent.is_some());
    }
}
