//! What can go wrong with peer connections, in words for people.

/// Why a peer connection could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Others hold every port that the configuration allows.
    #[error("{}", no_free_port(*first, *last))]
    NoFreePort {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The system lets no more threads be made.
    #[error("the thread that sends to viewers cannot be started: {0}")]
    Thread(std::io::Error),
    /// The connection, or the thread of all of them, has ended.
    #[error("the connection has ended")]
    Gone,
    /// The TCP port is taken or forbidden.
    #[error("ice.tcp_port {port} cannot be bound: {reason}; choose another or leave the key out")]
    TcpPort {
        /// The port.
        port: u16,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A later offer is another certificate's, or turns the roles of the handshake round (RFC 8842 section 5.5).
    #[error("the offer needs a new DTLS connection; make a new peer connection instead")]
    OtherHandshake,
    /// The library gave an answer without what ours is made of.
    #[error("WebRTC: the library's answer has no ICE credentials or no fingerprint")]
    NoTransport,
    /// A packet is too short to be one, or of one source too many.
    #[error("a packet of the viewer cannot be opened")]
    NotOpened,
    /// The certificate of the media connections.
    #[error(transparent)]
    Certificate(#[from] crate::access::AccessError),
    /// The library's cryptography refused something.
    #[error("cryptography: {0}")]
    Crypto(#[from] rtc::crypto::CryptoError),
    /// The WebRTC library refused something.
    #[error("WebRTC: {0}")]
    Library(#[from] webrtc::error::Error),
}

fn no_free_port(first: u16, last: u16) -> String {
    if first == last {
        format!(
            "another program has UDP port {first}; stop it, or choose another one with ice.port_range or ice.udp_port"
        )
    } else {
        format!(
            "other programs have all UDP ports from {first} to {last}; stop one, or choose others with ice.port_range"
        )
    }
}
