//! ICE over TCP (RFC 6544) on one port for all viewers.
//!
//! A connection says whose it is by its first frame, a STUN request whose USERNAME begins with our user fragment. This side never
//! connects out: a viewer's candidates must not make the device open connections inside its network.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::demux::{PeerId, local_ufrag};
use super::inbox::{Accepted, PacketInbox, TcpConnectionId};
use crate::base::limits::{Capacity, PerHost};
use crate::base::tasks::TaskGroup;
use crate::base::tcp;
use crate::peer::error::PeerError;

/// Connections that have not yet said whose they are, in all and of one host.
const MAX_UNKNOWN: usize = 32;
const MAX_UNKNOWN_OF_HOST: usize = 8;
/// How long they may take to say it.
const FIRST_REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// The longest STUN request that is read (RFC 8489 section 6.1: below 1500 bytes).
const MAX_REQUEST_BYTES: usize = 1500;
/// Connections of one session: a browser makes one for each of our candidates.
const MAX_CONNECTIONS: usize = 16;
/// What may wait to be written to one connection; frames beyond it are lost.
const MAX_OUTBOX_BYTES: usize = 512 * 1024;
/// How long what waits to be written may still take once its session has ended: close_notify is the last of it.
const CLOSE_NOTIFY_LIMIT: Duration = Duration::from_secs(1);
/// How long to wait when no connection can be accepted: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds `port` on all addresses.
pub(in crate::peer) fn bind(port: u16) -> Result<Vec<std::net::TcpListener>, PeerError> {
    let listener = |address: SocketAddr| {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    // Where IPv6 is dual-stack one socket serves both families, and the second bind fails.
    let six: io::Result<_> = listener((Ipv6Addr::UNSPECIFIED, port).into());
    let four: io::Result<_> = listener((Ipv4Addr::UNSPECIFIED, port).into());
    match (six, four) {
        (Err(_), Err(reason)) => Err(PeerError::TcpPort { port, reason }),
        (six, four) => Ok(six.into_iter().chain(four).collect()),
    }
}

/// All sessions' connections.
pub(in crate::peer) struct TcpConnections {
    port: Option<u16>,
    ufrags: HashMap<String, PeerId>,
    connections: HashMap<TcpConnectionId, TcpConnection>,
    next: TcpConnectionId,
    inbox: Weak<dyn PacketInbox>,
    tasks: TaskGroup,
}

struct TcpConnection {
    peer_id: PeerId,
    peer: SocketAddr,
    local: SocketAddr,
    outbox: Rc<Outbox>,
    task: Option<JoinHandle<()>>,
}

impl TcpConnection {
    /// Ends the connection once what waits was written.
    fn finish(mut self) {
        self.outbox.closing.notify_one();
        // It ends by itself.
        self.task = None;
    }
}

impl Drop for TcpConnection {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What waits to be written.
#[derive(Default)]
struct Outbox {
    frames: RefCell<Vec<u8>>,
    is_writing: Cell<bool>,
    ready: Notify,
    written: Notify,
    closing: Notify,
}

impl Outbox {
    fn push(&self, packet: &[u8]) {
        let mut frames = self.frames.borrow_mut();
        let Ok(length) = u16::try_from(packet.len()) else { return };
        if frames.len() + packet.len() > MAX_OUTBOX_BYTES {
            return;
        }
        frames.extend_from_slice(&length.to_be_bytes());
        frames.extend_from_slice(packet);
        self.ready.notify_one();
    }

    fn is_waiting(&self) -> bool {
        self.is_writing.get() || !self.frames.borrow().is_empty()
    }

    async fn write(&self, mut stream: OwnedWriteHalf) {
        loop {
            self.ready.notified().await;
            let frames = self.frames.take();
            self.is_writing.set(!frames.is_empty());
            // Without a limit, because half a frame would spoil the stream. It ends with the session.
            if stream.write_all(&frames).await.is_err() {
                return;
            }
            self.is_writing.set(false);
            self.written.notify_one();
        }
    }

    /// Ends soon after the session did.
    async fn finished(&self) {
        self.closing.notified().await;
        let written = async {
            while self.is_waiting() {
                self.written.notified().await;
            }
        };
        let _ = timeout(CLOSE_NOTIFY_LIMIT, written).await;
    }
}

impl TcpConnections {
    /// None yet. Viewers find `port`.
    pub fn new(port: Option<u16>, inbox: Weak<dyn PacketInbox>, tasks: TaskGroup) -> Self {
        Self { port, ufrags: HashMap::new(), connections: HashMap::new(), next: 0, inbox, tasks }
    }

    /// Where viewers find it.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Connections whose first request is for `ufrag` are `peer_id`'s from now on.
    pub fn add_ufrag(&mut self, peer_id: PeerId, ufrag: &str) {
        if self.port.is_some() {
            self.ufrags.insert(ufrag.to_owned(), peer_id);
        }
    }

    /// Takes a connection, if there is a session of its name.
    pub fn accepted(&mut self, accepted: Accepted) -> Option<(TcpConnectionId, PeerId)> {
        let peer_id = *self.ufrags.get(local_ufrag(&accepted.first)?)?;
        if self.connections.values().filter(|connection| connection.peer_id == peer_id).count()
            >= MAX_CONNECTIONS
        {
            return None;
        }
        let id = self.next;
        self.next += 1;
        let Accepted { stream, peer, local, .. } = accepted;
        let outbox = Rc::<Outbox>::default();
        let task = serve(id, stream, Rc::clone(&outbox), self.inbox.clone());
        let task = self.tasks.spawn_local_finite("ice-tcp", task);
        self.connections.insert(id, TcpConnection { peer_id, peer, local, outbox, task: Some(task) });
        Some((id, peer_id))
    }

    /// The session's connection from `peer`.
    pub fn connection(&self, peer_id: PeerId, peer: SocketAddr) -> Option<TcpConnectionId> {
        self.connections
            .iter()
            .find(|(_, connection)| connection.peer_id == peer_id && connection.peer == peer)
            .map(|(id, _)| *id)
    }

    /// Whose it is, our end and the viewer's.
    pub fn ends(&self, connection: TcpConnectionId) -> Option<(PeerId, SocketAddr, SocketAddr)> {
        self.connections
            .get(&connection)
            .map(|connection| (connection.peer_id, connection.local, connection.peer))
    }

    /// Sends `packet` as a frame.
    pub fn send(&self, connection: TcpConnectionId, packet: &[u8]) {
        if let Some(connection) = self.connections.get(&connection) {
            connection.outbox.push(packet);
        }
    }

    /// Whether frames wait to be written.
    pub fn is_waiting(&self, connection: TcpConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|connection| connection.outbox.is_waiting())
    }

    /// Forgets a connection.
    pub fn closed(&mut self, connection: TcpConnectionId) {
        self.connections.remove(&connection);
    }

    /// Forgets all of `peer_id`.
    pub fn leave(&mut self, peer_id: PeerId) {
        self.ufrags.retain(|_, of| *of != peer_id);
        for (_, connection) in self.connections.extract_if(|_, connection| connection.peer_id == peer_id) {
            connection.finish();
        }
    }
}

async fn serve(id: TcpConnectionId, stream: TcpStream, outbox: Rc<Outbox>, inbox: Weak<dyn PacketInbox>) {
    let (read, write) = stream.into_split();
    tokio::select! {
        _ = frames(id, read, &inbox) => {}
        () = outbox.write(write) => {}
        () = outbox.finished() => {}
    }
    if let Some(inbox) = inbox.upgrade() {
        inbox.tcp_closed(id);
    }
}

async fn frames(id: TcpConnectionId, mut stream: OwnedReadHalf, inbox: &Weak<dyn PacketInbox>) -> Option<()> {
    let mut frame = Vec::new();
    loop {
        let length = stream.read_u16().await.ok()?;
        frame.resize(length.into(), 0);
        stream.read_exact(&mut frame).await.ok()?;
        inbox.upgrade()?.tcp(id, &frame);
    }
}

/// Accepts on all of `listeners`, until the driver's thread ends.
pub(in crate::peer) fn accept(
    port: u16,
    listeners: Vec<std::net::TcpListener>,
    inbox: &Weak<dyn PacketInbox>,
    tasks: &TaskGroup,
) -> io::Result<()> {
    let unknown = PerHost::new(Capacity {
        all: MAX_UNKNOWN,
        one_host: MAX_UNKNOWN_OF_HOST,
        is_own_exempt: false,
        own: 0,
        own_waiting: MAX_UNKNOWN_OF_HOST,
    });
    for listener in listeners {
        let accepting =
            accept_on(port, TcpListener::from_std(listener)?, unknown.clone(), inbox.clone(), tasks.clone());
        tasks.spawn_local("ice-tcp-accept", accepting);
    }
    Ok(())
}

async fn accept_on(
    port: u16,
    listener: TcpListener,
    unknown: PerHost,
    inbox: Weak<dyn PacketInbox>,
    tasks: TaskGroup,
) {
    let mut cancelled = pin!(tasks.cancelled());
    loop {
        let accepted = tokio::select! {
            () = &mut cancelled => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // A dual-stack socket shows IPv4 peers as mapped addresses; candidates do not.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        // One too many takes the place of the oldest that has yet to say whose it is: of the same host, or of all.
        let Some(slot) = unknown.enter_waiting(peer.ip()) else { continue };
        let inbox = inbox.clone();
        tasks.spawn_local_finite("ice-tcp-first-request", async move {
            let accepted = tokio::select! {
                () = slot.evicted() => None,
                accepted = timeout(FIRST_REQUEST_LIMIT, first_frame(port, stream, peer)) => accepted.ok().flatten(),
            };
            drop(slot);
            if let (Some(accepted), Some(inbox)) = (accepted, inbox.upgrade()) {
                inbox.tcp_accepted(accepted);
            }
        });
    }
}

async fn first_frame(port: u16, mut stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
    tcp::prepare_for_media(&stream).ok()?;
    let length = usize::from(stream.read_u16().await.ok()?);
    if length > MAX_REQUEST_BYTES {
        return None;
    }
    let mut first = vec![0; length];
    stream.read_exact(&mut first).await.ok()?;
    local_ufrag(&first)?;
    let local = SocketAddr::new(stream.local_addr().ok()?.ip().to_canonical(), port);
    Some(Accepted { stream, first, peer, local })
}

#[cfg(test)]
#[path = "tcp_port_tests.rs"]
mod tests;
