//! Tokio for the library: with TCP only as `tcp_port` allows it, UDP through the port that all viewers
//! share, and sockets that mend handshakes and let no media of the library's out.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

use super::media_thread::spawn_on;
use super::routed_socket::{OwnSocket, RoutedSocket};
use super::tcp_port::{Listeners, listen};
use super::udp_port::{SeatedSocket, UdpRoute};
use super::watched_socket::{Heard, Repeats, WatchedSocket};
use super::way::Way;

/// Where names ending in `.local` are asked for (RFC 6762 section 3).
const MULTICAST_DNS_PORT: u16 = 5353;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime of one connection.
pub(in crate::peer) struct PeerRuntime {
    tokio: TokioRuntime,
    listeners: Listeners,
    shared: Option<SharedUdp>,
    /// Where its driver runs.
    media: Option<Handle>,
    heard: Heard,
    way: Option<Arc<Way>>,
}

/// How a connection uses the port that it shares with others.
pub(in crate::peer) struct SharedUdp {
    /// Its share.
    pub route: Arc<UdpRoute>,
    /// There are TURN servers, which need a socket for each connection.
    pub relays: bool,
}

impl fmt::Debug for PeerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerRuntime")
    }
}

impl SharedUdp {
    /// The share at the address of a socket that the library has bound. Other addresses go on without one that
    /// cannot be had.
    fn seat(&self, address: SocketAddr) -> Option<SeatedSocket> {
        // The library's word for "no address of this family".
        if address.ip().is_unspecified() {
            return None;
        }
        let seat = self.route.socket(address.ip());
        seat.inspect_err(|error| tracing::warn!(%error, at = %address.ip(), "the UDP port is not free here"))
            .ok()
    }
}

impl PeerRuntime {
    /// A runtime whose listeners get what is routed to `listeners`. Without `shared` it has sockets of its own.
    pub fn new(listeners: Listeners, shared: Option<SharedUdp>) -> Self {
        Self { tokio: TokioRuntime, listeners, shared, media: None, heard: Heard::default(), way: None }
    }

    /// The same, but media that the library sends does not leave: it only tells `way`.
    pub fn showing(mut self, way: Arc<Way>) -> Self {
        self.way = Some(way);
        self
    }

    /// The same with its driver, and so its sockets, on `media`.
    pub fn on(mut self, media: Handle) -> Self {
        self.media = Some(media);
        self
    }

    /// Whom its sockets hear.
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

/// The library's view of a task.
struct Spawned(tokio::task::JoinHandle<()>);

impl JoinHandle for Spawned {
    fn detach(&self) {
        // Dropping the handle does that.
    }

    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Runtime for PeerRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        Box::new(Spawned(spawn_on(self.media.as_ref(), future)))
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let address = socket.local_addr()?;
        if address.port() == MULTICAST_DNS_PORT {
            return Ok(Arc::new(OwnSocket::new(socket)?));
        }
        let (inner, repeats): (Arc<dyn AsyncUdpSocket>, Repeats) = match &self.shared {
            None => {
                let again = socket.try_clone()?;
                // A full or unreachable network loses this repeat like any other packet.
                let repeats = move |to, datagram: &[u8]| drop(again.send_to(datagram, to));
                (self.tokio.wrap_udp_socket(socket)?, Box::new(repeats))
            }
            Some(shared) => {
                let seat = shared.seat(address);
                let again = seat.clone();
                let repeats = move |to, datagram: &[u8]| {
                    if let Some(seat) = &again {
                        seat.try_send(datagram, to);
                    }
                };
                (Arc::new(RoutedSocket::new(socket, seat, shared.relays)?), Box::new(repeats))
            }
        };
        Ok(Arc::new(WatchedSocket::new(inner, repeats, self.heard(), self.way.clone())))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        // Only its address is wanted; dropping it closes the port that nobody is to use.
        Ok(listen(&self.listeners, listener.local_addr()?, self.way.clone()))
    }

    fn connect_tcp(&self, _to: SocketAddr) -> BoxFuture<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "this side never connects out"))
        })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.tokio.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.tokio.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.tokio.yield_now()
    }
}
