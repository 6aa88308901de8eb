//! One UDP socket for each address of the machine, shared by all viewers and told apart by [`Routes`].

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::rc::Weak;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::task::JoinHandle;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Runtime, TokioRuntime, Transmit};

use super::demux::{PeerId, Routes};
use super::inbox::{ERROR_PAUSE, PacketInbox};
use crate::base::tasks::TaskGroup;
use crate::peer::error::PeerError;

/// Datagrams, or runs of them from one sender, that one system call reads.
const BATCH: usize = 8;
/// What one datagram of a run takes at most (the path's MTU).
const SEGMENT_BYTES: usize = 1500;
/// What the kernel may hold of all viewers' datagrams, each way: a key frame for a hundred of them.
const BUFFER_BYTES: usize = 4 << 20;
/// A socket that nobody uses or asked for so long is closed: the machine may have lost that address.
const UNUSED: Duration = Duration::from_hours(1);

/// The port of all viewers.
pub(in crate::peer) struct UdpPort {
    range: Option<RangeInclusive<u16>>,
    port: Option<u16>,
    /// They stay when the last viewer has gone, so that nobody else takes the port.
    sockets: Vec<SharedSocket>,
    inbox: Weak<dyn PacketInbox>,
    tasks: TaskGroup,
}

/// A socket that all viewers use.
struct SharedSocket {
    address: SocketAddr,
    socket: Arc<dyn AsyncUdpSocket>,
    routes: Routes,
    asked: Instant,
    reader: JoinHandle<()>,
}

impl Drop for SharedSocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl UdpPort {
    /// A port of `range`, or any; nothing is bound yet.
    pub fn new(range: Option<RangeInclusive<u16>>, inbox: Weak<dyn PacketInbox>, tasks: TaskGroup) -> Self {
        Self { range, port: None, sockets: Vec::new(), inbox, tasks }
    }

    /// Settles on a port if there is none yet, and binds it at those of `addresses` where it is not. Others go on without
    /// one that cannot be had. Gives whether there are new sockets, which the system has yet to call writable.
    pub fn bind(&mut self, addresses: &[IpAddr], now: Instant) -> Result<bool, PeerError> {
        self.sockets.retain(|socket| {
            !socket.routes.is_empty()
                || addresses.contains(&socket.address.ip())
                || now.saturating_duration_since(socket.asked) < UNUSED
        });
        if self.sockets.is_empty() {
            self.port = self.range.clone().map(free_port).transpose()?;
        }
        let mut is_any_new = false;
        for address in addresses {
            if let Some(known) = self.sockets.iter_mut().find(|socket| socket.address.ip() == *address) {
                known.asked = now;
                continue;
            }
            match self.bind_at(*address, now) {
                Ok(socket) => {
                    self.port.get_or_insert(socket.address.port());
                    self.sockets.push(socket);
                    is_any_new = true;
                }
                Err(error) => tracing::warn!(%error, at = %address, "the UDP port is not free here"),
            }
        }
        Ok(is_any_new)
    }

    fn bind_at(&self, address: IpAddr, now: Instant) -> io::Result<SharedSocket> {
        let bind = |port: u16| UdpSocket::bind((address, port));
        let socket = match self.port {
            // Without a range the number only reads better when it is everywhere the same.
            Some(port) if self.range.is_none() => bind(port).or_else(|_| bind(0)),
            Some(port) => bind(port),
            None => bind(0),
        }?;
        let address = socket.local_addr()?;
        // As much as the system allows; less is no reason to do without the socket.
        let _ = set_socket_send_buffer_size(&socket, BUFFER_BYTES);
        let _ = set_socket_recv_buffer_size(&socket, BUFFER_BYTES);
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        let reader = read(Arc::clone(&socket), address, self.inbox.clone());
        let reader = self.tasks.spawn_local("udp-reader", reader);
        Ok(SharedSocket { address, socket, routes: Routes::default(), asked: now, reader })
    }

    /// Where viewers find the sockets.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|socket| socket.address)
    }

    fn at(&mut self, address: SocketAddr) -> Option<&mut SharedSocket> {
        self.sockets.iter_mut().find(|socket| socket.address == address)
    }

    /// Requests for `ufrag` are `peer_id`'s from now on.
    pub fn add_ufrag(&mut self, peer_id: PeerId, ufrag: &str) {
        for socket in &mut self.sockets {
            socket.routes.add_ufrag(peer_id, ufrag);
        }
    }

    /// Whose a datagram from `from` is that came to the socket at `at`.
    pub fn received(
        &mut self,
        at: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Option<PeerId> {
        self.at(at)?.routes.received(datagram, from, now)
    }

    /// Sends `contents`, datagrams of `segment_bytes` if that is given. `false`: there is no room. What must not or cannot
    /// be sent is lost, as in any network; a path that is gone for good is found by ICE.
    pub fn send(
        &mut self,
        peer_id: PeerId,
        from: SocketAddr,
        to: SocketAddr,
        contents: &[u8],
        segment_bytes: Option<usize>,
        now: Instant,
    ) -> bool {
        let Some(socket) = self.at(from) else { return true };
        if !socket.routes.sends(peer_id, contents, to, now) {
            return true;
        }
        let transmit =
            Transmit { destination: to, ecn: None, contents, segment_size: segment_bytes, src_ip: None };
        // Nobody waits here: whoever finds no room tries again a little later.
        match socket.socket.poll_send(&mut Context::from_waker(Waker::noop()), &transmit) {
            Poll::Ready(Ok(_)) => true,
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, %from, %to, "a datagram was not sent");
                true
            }
            Poll::Pending => false,
        }
    }

    /// Forgets all of `peer_id`.
    pub fn leave(&mut self, peer_id: PeerId) {
        for socket in &mut self.sockets {
            socket.routes.leave(peer_id);
        }
    }
}

/// The first port that nobody else holds.
fn free_port(range: RangeInclusive<u16>) -> Result<u16, PeerError> {
    let (first, last) = (*range.start(), *range.end());
    let is_free = |port: &u16| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    range.into_iter().find(is_free).ok_or(PeerError::NoFreePort { first, last })
}

/// Reads for all viewers until the socket is dropped.
async fn read(socket: Arc<dyn AsyncUdpSocket>, at: SocketAddr, inbox: Weak<dyn PacketInbox>) {
    let bytes = socket.max_gro_segments().max(1) * SEGMENT_BYTES;
    // Zeroed memory costs nothing until a datagram comes to lie in it.
    let mut buffers: [Vec<u8>; BATCH] = std::array::from_fn(|_| vec![0; bytes]);
    let mut metas = [RecvMeta::default(); BATCH];
    loop {
        let received = poll_fn(|cx| {
            let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            socket.poll_recv(cx, &mut slices, &mut metas)
        });
        match received.await {
            Ok(count) => {
                let Some(inbox) = inbox.upgrade() else { return };
                for (buffer, meta) in buffers.iter().zip(&metas).take(count) {
                    let datagrams = buffer.get(..meta.len).unwrap_or_default();
                    inbox.udp(at, meta.addr, datagrams, meta.stride.max(1));
                }
            }
            Err(error) => {
                tracing::debug!(%error, %at, "receiving");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "udp_port_tests.rs"]
mod tests;
