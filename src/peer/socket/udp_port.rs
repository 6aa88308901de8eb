//! One UDP socket for each address of the machine, shared by all viewers and told apart by [`Routes`].
//!
//! The library binds a socket for each connection and knows itself by that socket's address. It keeps that name,
//! but what it sends goes out through the shared socket, and what it gets comes from there; candidates
//! are rewritten to the shared port before anybody sees them. Only the talk with a TURN server goes through the
//! connection's own socket, because the server tells its clients apart by their port.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::task::AbortHandle;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Runtime, TokioRuntime, Transmit};

use super::demux::{Owner, Routes, is_stun};
use super::relayed::is_media;
use super::writers::Writers;
use crate::peer::PeerError;

/// Who takes a session's media and RTCP, which are the first to be known by their address alone.
pub(in crate::peer) trait MediaSink: Send + Sync {
    /// Takes one SRTP or SRTCP datagram. Called for each of them where all datagrams are read, so it must not block.
    fn received(&self, datagram: &[u8], from: SocketAddr, now: Instant);
}

/// Datagrams that wait for a session which does not read; the rest is lost, as in any network.
const MAX_WAITING: usize = 64;
/// Datagrams, or runs of them from one sender, that one system call reads.
const BATCH: usize = 8;
/// What one datagram of a run takes at most (the path's MTU).
const SEGMENT_BYTES: usize = 1500;
/// What the kernel may hold of all viewers' datagrams, each way: a key frame for a hundred of them.
const BUFFER_BYTES: usize = 4 << 20;
/// A socket of an address that nobody asked for so long is closed: the machine may have lost that address.
const UNUSED: Duration = Duration::from_hours(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The port of all viewers; cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::peer) struct UdpPort {
    range: Option<RangeInclusive<u16>>,
    bound: Arc<Mutex<Bound>>,
}

/// The sockets in use. They stay when the last viewer has gone, so that nobody else takes the port.
#[derive(Debug, Default)]
struct Bound {
    port: Option<u16>,
    sockets: HashMap<IpAddr, Kept>,
}

#[derive(Debug)]
struct Kept {
    socket: Arc<SharedSocket>,
    asked: Instant,
}

impl UdpPort {
    /// A port of `range`, or any; nothing is bound yet.
    pub fn new(range: Option<RangeInclusive<u16>>) -> Self {
        Self { range, bound: Arc::default() }
    }

    /// A share for one more session. Settles on a port if there is none yet.
    pub fn share(&self) -> Result<UdpRoute, PeerError> {
        let mut bound = lock(&self.bound);
        if bound.sockets.is_empty() {
            bound.port = self.range.clone().map(free_port).transpose()?;
        }
        Ok(UdpRoute { port: self.clone(), share: Arc::default() })
    }

    /// The shared socket at `address`, bound if it is not yet.
    fn at(&self, address: IpAddr, now: Instant) -> io::Result<Arc<SharedSocket>> {
        let mut bound = lock(&self.bound);
        bound.sockets.retain(|_, kept| {
            Arc::strong_count(&kept.socket) > 1 || now.saturating_duration_since(kept.asked) < UNUSED
        });
        if let Some(kept) = bound.sockets.get_mut(&address) {
            kept.asked = now;
            return Ok(Arc::clone(&kept.socket));
        }
        let bind = |port: u16| UdpSocket::bind((address, port));
        let socket = match bound.port {
            // Without a range the number only reads better when it is everywhere the same.
            Some(port) if self.range.is_none() => bind(port).or_else(|_| bind(0)),
            Some(port) => bind(port),
            None => bind(0),
        }?;
        let socket = SharedSocket::new(socket)?;
        bound.port.get_or_insert(socket.address.port());
        bound.sockets.insert(address, Kept { socket: Arc::clone(&socket), asked: now });
        Ok(socket)
    }
}

/// The first port that nobody else holds.
fn free_port(range: RangeInclusive<u16>) -> Result<u16, PeerError> {
    let (first, last) = (*range.start(), *range.end());
    let is_free = |port: &u16| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    range.into_iter().find(is_free).ok_or(PeerError::NoFreePort { first, last })
}

/// One session's share of the port.
pub(in crate::peer) struct UdpRoute {
    port: UdpPort,
    share: Arc<Mutex<Share>>,
}

#[derive(Default)]
struct Share {
    fragments: Vec<String>,
    sockets: Vec<Weak<Seat>>,
    sink: Option<Weak<dyn MediaSink>>,
}

impl fmt::Debug for UdpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpRoute({:?})", lock(&self.share).fragments)
    }
}

impl UdpRoute {
    /// Media that comes for sockets made from now on goes to `sink`.
    pub fn hand_media_to(&self, sink: Weak<dyn MediaSink>) {
        lock(&self.share).sink = Some(sink);
    }

    /// The session's socket at `address`.
    pub fn socket(&self, address: IpAddr) -> io::Result<SeatedSocket> {
        let mut share = lock(&self.share);
        let seat = self.port.at(address, Instant::now())?.seat(share.sink.clone());
        for fragment in &share.fragments {
            seat.name(fragment);
        }
        share.sockets.retain(|seat| seat.strong_count() > 0);
        share.sockets.push(Arc::downgrade(&seat));
        Ok(SeatedSocket(seat))
    }

    /// The port that viewers find at `address`.
    pub fn port_at(&self, address: IpAddr) -> Option<u16> {
        lock(&self.port.bound).sockets.get(&address).map(|kept| kept.socket.address.port())
    }

    /// Requests for the user fragments of `answer` come to this session from now on.
    pub fn register(&self, answer: &str) {
        let mut share = lock(&self.share);
        for fragment in answer.lines().filter_map(|line| line.trim_end().strip_prefix("a=ice-ufrag:")) {
            for seat in share.sockets.iter().filter_map(Weak::upgrade) {
                seat.name(fragment);
            }
            if !share.fragments.iter().any(|known| known == fragment) {
                share.fragments.push(fragment.to_owned());
            }
        }
    }
}

/// A socket that all sessions use.
#[derive(Debug)]
pub(in crate::peer) struct SharedSocket {
    address: SocketAddr,
    socket: Arc<dyn AsyncUdpSocket>,
    table: Mutex<Table>,
    next_owner: AtomicU64,
    writers: Arc<Writers>,
    /// Wakes the writers.
    writable: Waker,
    reader: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Table {
    routes: Routes,
    seats: HashMap<Owner, Weak<Seat>>,
}

impl SharedSocket {
    fn new(socket: UdpSocket) -> io::Result<Arc<Self>> {
        let address = socket.local_addr()?;
        // As much as the system allows; less is no reason to do without the socket.
        let _ = set_socket_send_buffer_size(&socket, BUFFER_BYTES);
        let _ = set_socket_recv_buffer_size(&socket, BUFFER_BYTES);
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        let writers = Arc::<Writers>::default();
        let this = Arc::new(Self {
            address,
            socket: Arc::clone(&socket),
            table: Mutex::default(),
            next_owner: AtomicU64::default(),
            writable: Waker::from(Arc::clone(&writers)),
            writers,
            reader: Mutex::default(),
        });
        let reader = tokio::spawn(read(socket, Arc::downgrade(&this)));
        *lock(&this.reader) = Some(reader.abort_handle());
        Ok(this)
    }

    fn seat(self: &Arc<Self>, sink: Option<Weak<dyn MediaSink>>) -> Arc<Seat> {
        let owner = self.next_owner.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat { owner, shared: Arc::clone(self), sink, inbox: Mutex::default() });
        lock(&self.table).seats.insert(owner, Arc::downgrade(&seat));
        seat
    }

    /// Any number of tasks may wait here, whereas the socket below remembers only one.
    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let mut everybody = Context::from_waker(&self.writable);
        let sent = self.socket.poll_send(&mut everybody, transmit);
        if sent.is_ready() {
            return sent;
        }
        self.writers.add(cx.waker());
        // It may have become writable just before.
        self.socket.poll_send(&mut everybody, transmit)
    }

    fn deliver(&self, datagrams: &[u8], meta: &RecvMeta, now: Instant) {
        let datagrams = datagrams.get(..meta.len).unwrap_or_default();
        for datagram in datagrams.chunks(meta.stride.max(1)) {
            let seat = {
                let mut table = lock(&self.table);
                let owner = table.routes.received(datagram, meta.addr, now);
                owner.and_then(|owner| table.seats.get(&owner)?.upgrade())
            };
            let Some(seat) = seat else { continue };
            match &seat.sink {
                Some(sink) if is_media(datagram) => {
                    if let Some(sink) = sink.upgrade() {
                        sink.received(datagram, meta.addr, now);
                    }
                }
                _ => seat.put(datagram, meta.addr),
            }
        }
    }
}

impl Drop for SharedSocket {
    fn drop(&mut self) {
        if let Some(reader) = lock(&self.reader).take() {
            reader.abort();
        }
    }
}

/// Reads for all sessions until the shared socket is dropped.
async fn read(socket: Arc<dyn AsyncUdpSocket>, shared: Weak<SharedSocket>) {
    let bytes = socket.max_gro_segments().max(1) * SEGMENT_BYTES;
    // Zeroed memory costs nothing until a datagram comes to lie in it.
    let mut buffers: [Vec<u8>; BATCH] = std::array::from_fn(|_| vec![0; bytes]);
    let mut metas = [RecvMeta::default(); BATCH];
    loop {
        let received = poll_fn(|cx| {
            let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            socket.poll_recv(cx, &mut slices, &mut metas)
        });
        let received = received.await;
        let Some(shared) = shared.upgrade() else { return };
        match received {
            Ok(count) => {
                let now = Instant::now();
                for (buffer, meta) in buffers.iter().zip(&metas).take(count) {
                    shared.deliver(buffer, meta, now);
                }
            }
            Err(error) => {
                tracing::debug!(%error, at = %shared.address, "receiving");
                drop(shared);
                // An interface that is down stays so for a while; sessions end when nothing comes.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One session at one shared socket; leaves its table on drop.
struct Seat {
    owner: Owner,
    shared: Arc<SharedSocket>,
    sink: Option<Weak<dyn MediaSink>>,
    inbox: Mutex<Inbox>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({} at {})", self.owner, self.shared.address)
    }
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<(SocketAddr, Box<[u8]>)>,
    reader: Option<Waker>,
}

impl Seat {
    fn name(&self, fragment: &str) {
        lock(&self.shared.table).routes.name(self.owner, fragment);
    }

    fn put(&self, datagram: &[u8], from: SocketAddr) {
        let mut inbox = lock(&self.inbox);
        if inbox.waiting.len() < MAX_WAITING {
            inbox.waiting.push_back((from, datagram.into()));
        }
        if let Some(reader) = &inbox.reader {
            reader.wake_by_ref();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = lock(&self.shared.table);
        table.routes.leave(self.owner);
        table.seats.remove(&self.owner);
    }
}

/// A session's view of a shared socket, as if it were its own.
#[derive(Clone, Debug)]
pub(in crate::peer) struct SeatedSocket(Arc<Seat>);

impl SeatedSocket {
    /// Sends if there is room; whoever waits for room is not disturbed.
    pub fn try_send(&self, datagram: &[u8], to: SocketAddr) {
        let transmit =
            Transmit { destination: to, ecn: None, contents: datagram, segment_size: None, src_ip: None };
        // A full or unreachable network loses this datagram like any other.
        let _ = self.0.shared.poll_send(&mut Context::from_waker(Waker::noop()), &transmit);
    }
}

impl AsyncUdpSocket for SeatedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.shared.address)
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let shared = &self.0.shared;
        let lost = Poll::Ready(Ok(transmit.contents.len()));
        if !lock(&shared.table).routes.sends(
            self.0.owner,
            transmit.contents,
            transmit.destination,
            Instant::now(),
        ) {
            return lost;
        }
        let sent = shared.poll_send(cx, transmit);
        // A check comes again; it is not worth a connection's waiting.
        if sent.is_pending() && is_stun(transmit.contents) { lost } else { sent }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = lock(&self.0.inbox);
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let Some((from, datagram)) = inbox.waiting.pop_front() else {
            match &mut inbox.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        let length = datagram.len().min(buf.len());
        buf[..length].copy_from_slice(&datagram[..length]);
        *meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (from, length, length.max(1));
        Poll::Ready(Ok(1))
    }

    fn max_gso_segments(&self) -> usize {
        self.0.shared.socket.max_gso_segments()
    }
}

#[cfg(test)]
#[path = "udp_port_tests.rs"]
mod tests;
