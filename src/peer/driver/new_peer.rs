//! What one viewer's connection begins with.

use std::net::IpAddr;
use std::sync::Arc;

use rtc::peer_connection::RTCPeerConnection;
use tokio::sync::mpsc;

use super::event::PeerEvent;
use crate::peer::connect::track::Track;
use crate::peer::rtp::keys::Keys;
use crate::peer::send::media_sender::MediaSender;
use crate::peer::stats::SessionStats;

/// What a connection is made of.
pub(super) struct NewPeer {
    pub pc: Box<RTCPeerConnection>,
    pub track: Track,
    pub keys: Keys,
    pub media: MediaSender,
    pub events: mpsc::Sender<PeerEvent>,
    pub public_ip: Option<IpAddr>,
    pub live: Option<Arc<SessionStats>>,
    pub playout_delay_ms: u32,
    pub span: tracing::Span,
}
