//! Who takes what sockets receive, and what it is called.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// How long to wait after an error of a socket: an interface that is down stays so for a while.
pub(super) const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// One connection of a viewer.
pub(in crate::peer) type TcpConnectionId = u64;

/// One allocation, or the request for it.
pub(in crate::peer) type RelayId = u64;

/// A connection that has said whose it is.
pub(in crate::peer) struct Accepted {
    pub(super) stream: TcpStream,
    /// The first frame, which the library is to see too.
    pub first: Vec<u8>,
    /// The viewer's end.
    pub peer: SocketAddr,
    /// Our end, as our candidate has it.
    pub local: SocketAddr,
}

/// Takes what sockets receive, on the driver's thread.
pub(in crate::peer) trait PacketInbox {
    /// Datagrams of `stride` bytes each (the last may be shorter) came from `from` to the shared socket at `at`.
    fn udp(&self, at: SocketAddr, from: SocketAddr, datagrams: &[u8], stride: usize);
    /// A TCP connection has said whose it is.
    fn tcp_accepted(&self, accepted: Accepted);
    /// A frame came.
    fn tcp(&self, connection: TcpConnectionId, frame: &[u8]);
    /// The connection is gone.
    fn tcp_closed(&self, connection: TcpConnectionId);
    /// A TURN server sent this.
    fn relay(&self, relay: RelayId, datagram: &[u8]);
    /// An answer of multicast DNS.
    fn mdns(&self, from: SocketAddr, datagram: &[u8]);
}
