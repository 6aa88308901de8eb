//! One viewer: its peer connection, its sender, its feedback. The only folder that names webrtc and rtc.

mod answer;
mod candidate;
mod certificate;
mod factory;
mod feedback;
mod gather;
mod handshake;
pub mod latency;
mod live;
pub mod offer;
mod rate;
pub mod reach;
mod repair;
mod runtime;
mod sender;
mod session;
mod tcp_port;
pub mod viewer;

pub use factory::Factory;
pub use live::{EndReason, Live, PathStats, Sent};
pub use sender::payloads;
pub(crate) use session::camera_refusal;
pub use session::{Command, NewSession, Replies, Signer, run};

/// Why a peer connection could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The port range of the configuration is used up.
    #[error("no UDP port between {first} and {last} is free; widen ice.port_range or lower viewers.max")]
    NoFreePort {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The TCP port is taken or forbidden.
    #[error("ice.tcp_port {port} cannot be bound: {reason}; choose another or leave the key out")]
    TcpPort {
        /// The port.
        port: u16,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The certificate of the media connections.
    #[error(transparent)]
    Certificate(#[from] crate::access::AccessError),
    /// The WebRTC library refused something.
    #[error("WebRTC: {0}")]
    Library(#[from] webrtc::error::Error),
}
