//! Which way one viewer's media goes.

use std::net::SocketAddr;

use super::inbox::TcpConnectionId;

/// The path that one viewer's media takes, as ICE has chosen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::peer) enum SelectedPath {
    /// From the shared socket at `from`.
    Udp {
        /// Address of the socket.
        from: SocketAddr,
        /// The viewer's.
        to: SocketAddr,
    },
    /// Through a TURN server.
    Relay {
        /// The relayed address.
        from: SocketAddr,
        /// The viewer's.
        to: SocketAddr,
    },
    /// Over a TCP connection, framed (RFC 4571).
    Tcp(TcpConnectionId),
}
