//! ICE over TCP through one port for all viewers (RFC 6544), told apart by the ICE user name.
//!
//! The library wants a listener for each connection. It gets one that is never bound: what comes in
//! on the shared port is read up to its first STUN request, whose USERNAME begins with our user
//! fragment, and is then handed to the session of that name. This side never connects out: a
//! viewer's candidates must not make the device open connections inside its network.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::timeout;
use webrtc::runtime::{AsyncTcpListener, AsyncTcpStream};

use super::demux::local_fragment;
use super::per_host::{Counted, PerHost};
use super::relayed::is_media;
use super::way::{Path, Way};
use crate::base::tasks::TaskGroup;
use crate::peer::PeerError;

/// Connections that have not yet said whose they are.
const MAX_UNKNOWN: usize = 64;
/// Of them from one host (IPv6: one /64 network): as many as a household's browsers open at once, and not all for whoever
/// opens them and says nothing.
const MAX_UNKNOWN_PER_HOST: usize = 8;
/// How long they may take to say it.
const FIRST_REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// The longest STUN request that is read (RFC 8489 section 6.1: below 1500 bytes).
const MAX_REQUEST_BYTES: usize = 1500;
/// Connections one session may have waiting.
const MAX_WAITING: usize = 4;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Accepted = (TcpStream, Vec<u8>, SocketAddr);
/// One session's listeners by their address: a connection belongs to the one it was made to.
pub(in crate::peer) type Listeners = Arc<Mutex<HashMap<IpAddr, mpsc::Sender<Accepted>>>>;

/// Nobody panics while holding one of these locks; a map has no broken state anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sessions' listeners by their user fragment.
type Fragments = Arc<Mutex<HashMap<String, Listeners>>>;

/// The shared port. It is closed when this is dropped.
pub(in crate::peer) struct TcpPort {
    port: u16,
    routes: Fragments,
    tasks: TaskGroup,
}

impl Drop for TcpPort {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl TcpPort {
    /// Binds `port` on all addresses and begins to accept, in tasks below `tasks`.
    pub fn bind(port: u16, tasks: &TaskGroup) -> Result<Self, PeerError> {
        let failed = |reason| PeerError::TcpPort { port, reason };
        let listener = |address: SocketAddr| {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        // Where IPv6 is dual-stack one socket serves both families, and the second bind fails.
        let six = listener((Ipv6Addr::UNSPECIFIED, port).into());
        let four = listener((Ipv4Addr::UNSPECIFIED, port).into());
        let listeners: Vec<TcpListener> = match (six, four) {
            (Err(_), Err(reason)) => return Err(failed(reason)),
            (six, four) => six.into_iter().chain(four).collect(),
        };
        let this = Self { port, routes: Arc::default(), tasks: tasks.child() };
        let unknown = Arc::new(Mutex::new(PerHost::new(MAX_UNKNOWN, MAX_UNKNOWN_PER_HOST)));
        let door = Door { routes: Arc::clone(&this.routes), unknown, tasks: this.tasks.clone() };
        for listener in listeners {
            this.tasks.spawn("ICE-TCP listener", door.clone().run(listener));
        }
        Ok(this)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A share of the port, for a connection with these listeners.
    pub fn route_to(&self, listeners: &Listeners) -> TcpRoute {
        let routes = Arc::clone(&self.routes);
        TcpRoute { routes, listeners: Arc::clone(listeners), fragments: Vec::new() }
    }
}

/// Takes connections and finds out whose they are.
#[derive(Clone)]
struct Door {
    routes: Fragments,
    /// Connections that have not yet said whose they are.
    unknown: Arc<Mutex<PerHost>>,
    tasks: TaskGroup,
}

impl Door {
    /// Accepts until the port is closed.
    async fn run(self, listener: TcpListener) {
        let closed = self.tasks.cancelled();
        tokio::select! {
            () = closed => {}
            () = self.accept(listener) => {}
        }
    }

    async fn accept(&self, listener: TcpListener) {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                // Out of file descriptors, most likely: give others time to close some.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Some(counted) = Counted::enter(&self.unknown, peer.ip()) else {
                tracing::debug!(%peer, "too many ICE-TCP connections that say nothing");
                continue;
            };
            let (this, closed) = (self.clone(), self.tasks.cancelled());
            self.tasks.spawn_finite("ICE-TCP first request", async move {
                tokio::select! {
                    () = closed => {}
                    _ = timeout(FIRST_REQUEST_LIMIT, this.hand_over(stream, peer)) => {}
                }
                drop(counted);
            });
        }
    }

    async fn hand_over(&self, mut stream: TcpStream, peer: SocketAddr) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut frame = vec![0; 2];
        stream.read_exact(&mut frame).await.ok()?;
        let length = usize::from(u16::from_be_bytes([frame[0], frame[1]]));
        if length > MAX_REQUEST_BYTES {
            return None;
        }
        frame.resize(2 + length, 0);
        stream.read_exact(&mut frame[2..]).await.ok()?;
        let fragment = local_fragment(&frame[2..])?;
        // A dual-stack socket shows IPv4 peers as mapped addresses; candidates do not.
        let to = stream.local_addr().ok()?.ip().to_canonical();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let listeners = lock(&self.routes).get(fragment).cloned()?;
        let listener = lock(&listeners).get(&to).cloned()?;
        listener.try_send((stream, frame, peer)).ok()
    }
}

/// One session's share of the port: what its library connection sees as its listeners.
pub(in crate::peer) struct TcpRoute {
    routes: Fragments,
    listeners: Listeners,
    fragments: Vec<String>,
}

impl TcpRoute {
    /// Connections whose first request is for the user fragment of `answer` come here from now on.
    pub fn register(&mut self, answer: &str) {
        for line in answer.lines() {
            if let Some(fragment) = line.trim_end().strip_prefix("a=ice-ufrag:")
                && !self.fragments.iter().any(|known| known == fragment)
            {
                self.fragments.push(fragment.to_owned());
                lock(&self.routes).insert(fragment.to_owned(), Arc::clone(&self.listeners));
            }
        }
    }
}

impl Drop for TcpRoute {
    fn drop(&mut self) {
        let mut routes = lock(&self.routes);
        for fragment in &self.fragments {
            routes.remove(fragment);
        }
    }
}

/// A listener of one connection that gets what is routed to `address`.
/// Media that the library sends there does not leave, but tells `way`.
pub(in crate::peer) fn listen(
    listeners: &Listeners,
    address: SocketAddr,
    way: Option<Arc<Way>>,
) -> Arc<dyn AsyncTcpListener> {
    let (sender, incoming) = mpsc::channel(MAX_WAITING);
    lock(listeners).insert(address.ip(), sender);
    Arc::new(RoutedListener { address, incoming: AsyncMutex::new(incoming), way })
}

#[derive(Debug)]
struct RoutedListener {
    address: SocketAddr,
    incoming: AsyncMutex<mpsc::Receiver<Accepted>>,
    way: Option<Arc<Way>>,
}

impl AsyncTcpListener for RoutedListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Arc<dyn AsyncTcpStream>, SocketAddr)>> {
        Box::pin(async {
            let Some((stream, first, peer)) = self.incoming.lock().await.recv().await else {
                // Replaced by a newer one of the same address: there is nothing more to accept.
                return std::future::pending().await;
            };
            // The library knows its candidate by the address that it was given.
            let stream = Arc::new(RoutedStream::new(stream, first, self.address, peer));
            let stream: Arc<dyn AsyncTcpStream> = match self.way.clone() {
                Some(way) => Arc::new(WatchedStream { stream, way }),
                None => stream,
            };
            Ok((stream, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

struct RoutedStream {
    local: SocketAddr,
    peer: SocketAddr,
    /// What was read to find the session; the library reads it first.
    read: AsyncMutex<(Vec<u8>, OwnedReadHalf)>,
    write: AsyncMutex<OwnedWriteHalf>,
}

impl RoutedStream {
    fn new(stream: TcpStream, first: Vec<u8>, local: SocketAddr, peer: SocketAddr) -> Self {
        let (read, write) = stream.into_split();
        Self { local, peer, read: AsyncMutex::new((first, read)), write: AsyncMutex::new(write) }
    }
}

impl fmt::Debug for RoutedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutedStream({} ← {})", self.local, self.peer)
    }
}

impl AsyncTcpStream for RoutedStream {
    fn read<'a, 'b>(&'a self, buf: &'b mut [u8]) -> BoxFuture<'b, io::Result<usize>>
    where
        'a: 'b,
    {
        Box::pin(async move {
            let mut guard = self.read.lock().await;
            let (first, stream) = &mut *guard;
            if first.is_empty() {
                return stream.read(buf).await;
            }
            let taken = first.len().min(buf.len());
            for (to, from) in buf.iter_mut().zip(first.drain(..taken)) {
                *to = from;
            }
            Ok(taken)
        })
    }

    fn write_all<'a, 'b>(&'a self, buf: &'b [u8]) -> BoxFuture<'b, io::Result<()>>
    where
        'a: 'b,
    {
        Box::pin(async move { self.write.lock().await.write_all(buf).await })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

/// What the library writes to: all of it goes on but media, which only shows the way.
#[derive(Debug)]
struct WatchedStream {
    stream: Arc<RoutedStream>,
    way: Arc<Way>,
}

impl AsyncTcpStream for WatchedStream {
    fn read<'a, 'b>(&'a self, buf: &'b mut [u8]) -> BoxFuture<'b, io::Result<usize>>
    where
        'a: 'b,
    {
        self.stream.read(buf)
    }

    fn write_all<'a, 'b>(&'a self, buf: &'b [u8]) -> BoxFuture<'b, io::Result<()>>
    where
        'a: 'b,
    {
        // The library writes a frame at a time: two bytes of length, then the packet.
        if buf.get(2..).is_some_and(is_media) {
            self.way.set(Path::Tcp(Arc::clone(&self.stream) as Arc<dyn AsyncTcpStream>));
            return Box::pin(async { Ok(()) });
        }
        self.stream.write_all(buf)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::super::demux::request;
    use super::*;

    /// A port that nobody has at the moment.
    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// The first frame of a viewer of the session `ours`.
    fn first_frame() -> Vec<u8> {
        let message = request(b"ours:theirs");
        let mut frame = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(&message);
        frame
    }

    async fn connect_from(host: [u8; 4], port: u16) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((host, 0).into()).unwrap();
        socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
    }

    #[tokio::test]
    async fn silent_connections_of_one_host_do_not_keep_others_out() {
        let number = free_port();
        let port = TcpPort::bind(number, &TaskGroup::new()).unwrap();
        let listeners = Listeners::default();
        let mut route = port.route_to(&listeners);
        route.register("v=0\r\na=ice-ufrag:ours\r\n");
        let listener = listen(&listeners, "127.0.0.1:0".parse().unwrap(), None);
        let mut silent = Vec::new();
        for _ in 0..2 * MAX_UNKNOWN {
            silent.push(connect_from([127, 0, 0, 2], number).await);
        }
        let mut viewer = connect_from([127, 0, 0, 3], number).await;
        viewer.write_all(&first_frame()).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, viewer.local_addr().unwrap());
        for stream in &mut silent[MAX_UNKNOWN_PER_HOST..] {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "hung up on");
        }
        for stream in &silent[..MAX_UNKNOWN_PER_HOST] {
            let read = stream.try_read(&mut [0; 1]);
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock, "still within its time");
        }
    }

    #[tokio::test]
    async fn the_port_is_closed_with_its_owner() {
        let (number, tasks) = (free_port(), TaskGroup::new());
        let port = TcpPort::bind(number, &tasks).unwrap();
        let mut silent = TcpStream::connect(("127.0.0.1", number)).await.unwrap();
        drop(port);
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "hung up on");
        let again = async {
            while TcpPort::bind(number, &tasks).is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), again).await.expect("nobody has the port any more");
        assert_eq!(*tasks.ended_early().borrow(), None);
    }

    #[tokio::test]
    async fn a_connection_reaches_the_session_of_its_name() {
        let number = free_port();
        let port = TcpPort::bind(number, &TaskGroup::new()).unwrap();
        let listeners = Listeners::default();
        let mut route = port.route_to(&listeners);
        route.register("v=0\r\na=ice-ufrag:ours\r\n");
        let listener = listen(&listeners, "127.0.0.1:0".parse().unwrap(), None);

        let mut stranger = TcpStream::connect(("127.0.0.1", number)).await.unwrap();
        stranger.write_all(b"\x00\x04oops").await.unwrap();
        assert_eq!(stranger.read(&mut [0; 8]).await.unwrap_or(0), 0, "a stranger is hung up on");

        let mut viewer = TcpStream::connect(("127.0.0.1", number)).await.unwrap();
        let frame = first_frame();
        viewer.write_all(&frame).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, viewer.local_addr().unwrap());
        assert_eq!(stream.local_addr().unwrap(), listener.local_addr().unwrap());
        let mut seen = vec![0; 1500];
        let length = stream.read(&mut seen).await.unwrap();
        assert_eq!(seen[..length], frame[..], "the first request is not lost");

        drop(route);
        assert!(lock(&port.routes).is_empty(), "an ended session leaves no route");
    }
}
