//! What a connection takes for its UDP socket: the shared one for viewers, its own for a TURN server.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::demux::is_for_relay;
use super::udp_port::SeatedSocket;

/// Either half may be missing; what would go there is lost, as on an address that nothing can be sent from.
#[derive(Debug)]
pub(in crate::peer) struct RoutedSocket {
    address: SocketAddr,
    seat: Option<SeatedSocket>,
    relayed: Option<OwnSocket>,
}

impl RoutedSocket {
    /// `own` is what the library has bound; it is closed here unless `relays` says that there are TURN servers.
    pub fn new(own: UdpSocket, seat: Option<SeatedSocket>, relays: bool) -> io::Result<Self> {
        let address = own.local_addr()?;
        let relayed = relays.then(|| OwnSocket::new(own)).transpose()?;
        Ok(Self { address, seat, relayed })
    }
}

impl AsyncUdpSocket for RoutedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = if is_for_relay(transmit.contents) {
            self.relayed.as_ref().map(|socket| socket.poll_send(cx, transmit))
        } else {
            self.seat.as_ref().map(|socket| socket.poll_send(cx, transmit))
        };
        sent.unwrap_or(Poll::Ready(Ok(transmit.contents.len())))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let Some(seat) = &self.seat
            && let Poll::Ready(received) = seat.poll_recv(cx, bufs, meta)
        {
            return Poll::Ready(received);
        }
        self.relayed.as_ref().map_or(Poll::Pending, |socket| socket.poll_recv(cx, bufs, meta))
    }

    fn max_gso_segments(&self) -> usize {
        self.seat.as_ref().map_or(1, AsyncUdpSocket::max_gso_segments)
    }
}

/// A socket without offloads: they would ask for a receive buffer of 96 KB.
#[derive(Debug)]
pub(in crate::peer) struct OwnSocket(tokio::net::UdpSocket);

impl OwnSocket {
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self(tokio::net::UdpSocket::from_std(socket)?))
    }
}

impl AsyncUdpSocket for OwnSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.0.poll_send_to(cx, transmit.contents, transmit.destination)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut read = ReadBuf::new(buf);
        self.0.poll_recv_from(cx, &mut read).map_ok(|from| {
            let length = read.filled().len();
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (from, length, length.max(1));
            1
        })
    }
}
