//! Tokio for the library: with TCP only as `tcp_port` allows it, UDP through the port that all viewers
//! share, and sockets that mend handshakes and gather media.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::gather::Gather;
use super::handshake::{FIRST_REPEAT, Handshake, Verdict};
use super::media_thread::spawn_on;
use super::routed_socket::{OwnSocket, RoutedSocket};
use super::tcp_port::{Listeners, listen};
use super::udp_port::{SeatedSocket, UdpRoute};

/// Where names ending in `.local` are asked for (RFC 6762 section 3).
const MULTICAST_DNS_PORT: u16 = 5353;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whom a connection's UDP sockets have heard last, media or its handshake: the library does not tell the
/// address of a viewer that it knows from its packets alone (peer-reflexive, RFC 8445 section 7.3.1.3).
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Mutex<Option<SocketAddr>>>);

impl Heard {
    /// The address, unless everything came through a relay.
    pub fn address(&self) -> Option<SocketAddr> {
        *lock(&self.0)
    }

    fn note(&self, datagram: &[u8], from: SocketAddr) {
        // DTLS, or SRTP and SRTCP (RFC 7983 section 7): what a relay sends looks different.
        if matches!(datagram.first(), Some(20..=63 | 128..=191)) {
            *lock(&self.0) = Some(from);
        }
    }
}

/// The runtime of one connection.
pub(super) struct PeerRuntime {
    tokio: TokioRuntime,
    listeners: Listeners,
    shared: Option<SharedUdp>,
    /// Where its driver runs.
    media: Option<Handle>,
    heard: Heard,
}

/// How a connection uses the port that it shares with others.
pub(super) struct SharedUdp {
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
        Self { tokio: TokioRuntime, listeners, shared, media: None, heard: Heard::default() }
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
        let mending = Arc::new(Mutex::new(Mending::new(repeats)));
        Ok(Arc::new(MendingSocket { inner, mending, gather: Mutex::default(), heard: self.heard() }))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        // Only its address is wanted; dropping it closes the port that nobody is to use.
        Ok(listen(&self.listeners, listener.local_addr()?))
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

/// A socket that looks on while its connection shakes hands, and mends that; media it gathers.
struct MendingSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    mending: Arc<Mutex<Mending>>,
    gather: Mutex<Gather>,
    heard: Heard,
}

/// Sends a datagram once more without taking a waker from the library.
type Repeats = Box<dyn Fn(SocketAddr, &[u8]) + Send>;

/// What mends one socket's handshake.
struct Mending {
    handshake: Handshake,
    /// Gone when done, and a second descriptor with it.
    repeats: Option<Repeats>,
    /// Somebody waits to repeat.
    watched: bool,
}

impl Mending {
    fn new(repeats: Repeats) -> Self {
        Self { handshake: Handshake::default(), repeats: Some(repeats), watched: false }
    }

    /// Forgets the socket with the handshake.
    fn settle(&mut self) {
        if self.handshake.is_done() {
            self.repeats = None;
        }
    }

    /// Sends again what is due. Gives whether there is more to come.
    fn repeat(&mut self, now: Instant) -> bool {
        let repeated = self.handshake.repeat(now);
        if let Some(send) = &self.repeats {
            for (to, datagram) in repeated {
                send(to, &datagram);
            }
        }
        self.watched = self.handshake.is_waiting();
        self.watched
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Repeats flights until the handshake is over or its socket is gone.
async fn watch(mending: Weak<Mutex<Mending>>) {
    loop {
        // No longer, because the next flight may be out by then and wants its first repeat.
        tokio::time::sleep(FIRST_REPEAT).await;
        let Some(mending) = mending.upgrade() else { return };
        if !lock(&mending).repeat(Instant::now()) {
            return;
        }
    }
}

impl fmt::Debug for MendingSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MendingSocket({:?})", self.inner)
    }
}

impl MendingSocket {
    fn sent(&self, transmit: &Transmit<'_>) {
        let mut mending = lock(&self.mending);
        if mending.repeats.is_none() {
            return;
        }
        let now = Instant::now();
        let length = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(length) {
            mending.handshake.sent(transmit.destination, datagram, now);
        }
        mending.settle();
        if mending.handshake.is_waiting() && !mending.watched {
            mending.watched = true;
            tokio::spawn(watch(Arc::downgrade(&self.mending)));
        }
    }

    /// Empties what is not for the library.
    fn received(&self, datagrams: &[u8], meta: &mut RecvMeta) {
        let mut mending = lock(&self.mending);
        if mending.repeats.is_none() {
            return;
        }
        let datagrams = datagrams.get(..meta.len).unwrap_or_default();
        let verdicts =
            datagrams.chunks(meta.stride.max(1)).map(|datagram| mending.handshake.received(datagram));
        // All are asked: each of them counts.
        let stale = verdicts.filter(|verdict| *verdict == Verdict::Stale).count();
        if stale > 0 && stale == datagrams.len().div_ceil(meta.stride.max(1)) {
            meta.len = 0;
        }
        mending.settle();
    }
}

impl AsyncUdpSocket for MendingSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = lock(&self.gather).poll_send(&*self.inner, cx, transmit);
        if matches!(sent, Poll::Ready(Ok(_))) {
            self.sent(transmit);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        lock(&self.gather).poll_received(&*self.inner, cx);
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            for (buf, meta) in bufs.iter().zip(meta).take(count) {
                self.heard.note(buf, meta.addr);
                self.received(buf, meta);
            }
        }
        received
    }

    /// One: gathering is done here, for shorter runs than the library thinks worth it.
    fn max_gso_segments(&self) -> usize {
        1
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello's head: one plain record with one message.
    const HELLO: &[u8] = &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_flight_that_nobody_answers_is_sent_again() {
        let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let runtime = PeerRuntime::new(Listeners::default(), None);
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        socket.send_to(HELLO, peer.local_addr().unwrap()).await.unwrap();
        let mut seen = [0; 1500];
        for _ in 0..3 {
            let (length, from) = peer.recv_from(&mut seen).await.unwrap();
            assert_eq!((&seen[..length], from), (HELLO, socket.local_addr().unwrap()));
        }
    }

    #[tokio::test]
    async fn media_arrives_whole_and_in_order_with_what_is_sent_behind_it() {
        let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let runtime = PeerRuntime::new(Listeners::default(), None);
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let to = peer.local_addr().unwrap();
        // Like the library: somebody waits for datagrams all the time, and is polled only when woken.
        let receiving = Arc::clone(&socket);
        let receiver = tokio::spawn(async move { receiving.recv_from(&mut [0; 1500]).await.is_ok() });
        tokio::task::yield_now().await;
        let media = |number: u8, length: usize| [&[128, 102, 0, number][..], &vec![number; length]].concat();
        // More than one run takes, less than the peer's receive buffer.
        let mut sent: Vec<_> = (0..60).map(|number| media(number, 1100)).collect();
        // A picture's short last packet, a longer one after it, and something that is no media.
        sent.extend([media(60, 20), media(61, 900), vec![128, 200, 0, 1], media(62, 30)]);
        for datagram in &sent {
            socket.send_to(datagram, to).await.unwrap();
        }
        let mut seen = [0; 1500];
        for datagram in &sent {
            let length = peer.recv_from(&mut seen).await.unwrap().0;
            assert_eq!(&seen[..length], &datagram[..]);
        }
        assert_eq!(runtime.heard().address(), None);
        // The head of a sender report.
        peer.send_to(&[0x80, 200, 0, 6], socket.local_addr().unwrap()).await.unwrap();
        assert!(receiver.await.unwrap(), "receiving goes on");
        assert_eq!(runtime.heard().address(), Some(to));
    }

    #[tokio::test]
    async fn an_ended_connection_repeats_nothing() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let runtime = PeerRuntime::new(Listeners::default(), None);
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let mut mending = Mending::new(Box::new(|_, _| {}));
        socket.send_to(HELLO, peer.local_addr().unwrap()).await.unwrap();
        mending.handshake.sent(peer.local_addr().unwrap(), HELLO, Instant::now());
        mending.handshake.sent(peer.local_addr().unwrap(), &[0x80; 20], Instant::now());
        mending.settle();
        assert!(mending.repeats.is_none(), "a second descriptor is closed");
        let weak = {
            let shared = Arc::new(Mutex::new(mending));
            Arc::downgrade(&shared)
        };
        watch(weak).await;
    }
}
