//! Relayed addresses at TURN servers over UDP (RFC 8656): each session has its own, with a socket of its own, because the
//! server tells its clients apart by their port.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Instant;

use bytes::BytesMut;
use rtc::crypto::default_provider;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::stun::message::TransactionId;
use rtc::turn::client::{Client, ClientConfig, Event};
use rustix::net::{SendFlags, send};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::demux::PeerId;
use super::inbox::{ERROR_PAUSE, PacketInbox, RelayId};
use crate::base::tasks::TaskGroup;
use crate::peer::error::PeerError;

/// Packets that wait for a permission to send to their peer; the oldest are lost.
const MAX_WAITING: usize = 32;
/// A datagram from a server, with the head of a Data indication around a packet.
const MAX_DATAGRAM_BYTES: usize = 2048;

/// Who asks whom for a relayed address.
pub(in crate::peer) struct Server<'a> {
    pub address: SocketAddr,
    pub username: &'a str,
    pub password: &'a str,
}

/// What a server's datagram brought about.
#[derive(Debug)]
pub(in crate::peer) enum RelayEvent {
    /// There is a relayed address; `base` is what the server was asked from.
    Allocated { relayed: SocketAddr, base: SocketAddr },
    /// There will be none.
    Failed,
    /// A viewer sent this to the relayed address.
    Received { relayed: SocketAddr, from: SocketAddr, datagram: BytesMut },
}

/// All sessions' relayed addresses.
pub(in crate::peer) struct Relays {
    all: HashMap<RelayId, Relay>,
    next: RelayId,
    inbox: Weak<dyn PacketInbox>,
    tasks: TaskGroup,
}

struct Relay {
    peer_id: PeerId,
    client: Client,
    socket: Rc<UdpSocket>,
    server: SocketAddr,
    base: SocketAddr,
    relayed: Option<SocketAddr>,
    /// The request was answered, or given up.
    is_settled: bool,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Permissions that are asked for.
    permissions: HashMap<TransactionId, SocketAddr>,
    reader: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Relays {
    pub fn new(inbox: Weak<dyn PacketInbox>, tasks: TaskGroup) -> Self {
        Self { all: HashMap::new(), next: 0, inbox, tasks }
    }

    /// Asks `server` for a relayed address.
    pub fn allocate(&mut self, peer_id: PeerId, server: &Server<'_>, now: Instant) -> Result<(), PeerError> {
        let id = self.next;
        self.next += 1;
        let socket = connect(server.address).map_err(Error::from)?;
        let base = socket.local_addr().map_err(Error::from)?;
        let config = ClientConfig {
            stun_serv_addr: String::new(),
            turn_serv_addr: server.address.to_string(),
            local_addr: base,
            transport_protocol: TransportProtocol::UDP,
            username: server.username.to_owned(),
            password: server.password.to_owned(),
            ..ClientConfig::default()
        };
        let mut client = Client::new(config, default_provider()?)?;
        client.allocate(now)?;
        let socket = Rc::new(socket);
        let reader = read(id, Rc::clone(&socket), self.inbox.clone());
        let reader = self.tasks.spawn_local_finite("turn-reader", reader);
        let mut relay = Relay {
            peer_id,
            client,
            socket,
            server: server.address,
            base,
            relayed: None,
            is_settled: false,
            waiting: VecDeque::new(),
            permissions: HashMap::new(),
            reader,
        };
        relay.flush();
        self.all.insert(id, relay);
        Ok(())
    }

    fn of(&mut self, peer_id: PeerId) -> impl Iterator<Item = &mut Relay> {
        self.all.values_mut().filter(move |relay| relay.peer_id == peer_id)
    }

    /// Whether `address` is a relayed one of `peer_id`.
    pub fn is_relayed(&self, peer_id: PeerId, address: SocketAddr) -> bool {
        self.all.values().any(|relay| relay.peer_id == peer_id && relay.relayed == Some(address))
    }

    /// Whether `address` is a relayed one of anybody.
    pub fn has_relayed(&self, address: SocketAddr) -> bool {
        self.all.values().any(|relay| relay.relayed == Some(address))
    }

    /// Whether an answer of a server is still to come.
    pub fn is_asking(&self, peer_id: PeerId) -> bool {
        self.all.values().any(|relay| relay.peer_id == peer_id && !relay.is_settled)
    }

    /// Whether `peer_id` has asked the server at this address.
    pub fn has_asked(&self, peer_id: PeerId, server: SocketAddr) -> bool {
        self.all.values().any(|relay| relay.peer_id == peer_id && relay.server == server)
    }

    /// Sends `packet` from the relayed address `from`.
    pub fn send(&mut self, peer_id: PeerId, from: SocketAddr, to: SocketAddr, packet: &[u8], now: Instant) {
        if let Some(relay) = self.of(peer_id).find(|relay| relay.relayed == Some(from)) {
            relay.send(to, packet, now);
            relay.flush();
        }
    }

    /// Takes a datagram of the server.
    pub fn received(
        &mut self,
        id: RelayId,
        datagram: &[u8],
        now: Instant,
    ) -> Option<(PeerId, Vec<RelayEvent>)> {
        let relay = self.all.get_mut(&id)?;
        let transport = TransportContext {
            local_addr: relay.base,
            peer_addr: relay.server,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let message = TaggedBytesMut { now, transport, message: BytesMut::from(datagram) };
        if let Err(error) = relay.client.handle_read(message) {
            tracing::debug!(%error, server = %relay.server, "a TURN server's datagram");
        }
        Some((relay.peer_id, relay.events(now)))
    }

    /// When [`Self::timeout`] is due for `peer_id`.
    pub fn poll_timeout(&mut self, peer_id: PeerId) -> Option<Instant> {
        self.of(peer_id).filter_map(|relay| relay.client.poll_timeout()).min()
    }

    /// Repeats requests and renews allocations.
    pub fn timeout(&mut self, peer_id: PeerId, now: Instant) -> Vec<RelayEvent> {
        let mut events = Vec::new();
        for relay in self.of(peer_id) {
            if let Err(error) = relay.client.handle_timeout(now) {
                tracing::debug!(%error, server = %relay.server, "a TURN server's time");
            }
            events.extend(relay.events(now));
        }
        events
    }

    /// Gives all of `peer_id`'s back. Once is enough: a server forgets by itself if this is lost.
    pub fn leave(&mut self, peer_id: PeerId, now: Instant) {
        for relay in self.of(peer_id) {
            let Some(relayed) = relay.relayed else { continue };
            if let Ok(mut allocation) = relay.client.relay(relayed) {
                let _ = allocation.close(now);
            }
            relay.flush();
        }
        self.all.retain(|_, relay| relay.peer_id != peer_id);
    }
}

impl Relay {
    fn send(&mut self, to: SocketAddr, packet: &[u8], now: Instant) {
        let Some(relayed) = self.relayed else { return };
        let Ok(mut allocation) = self.client.relay(relayed) else { return };
        match allocation.send_to(now, packet, to) {
            Err(Error::ErrNoPermission) => {
                // Once at a time for each peer.
                if !self.permissions.values().any(|asked| *asked == to) {
                    match allocation.create_permission(now, to) {
                        Ok(asked) => self.permissions.extend(asked.map(|transaction| (transaction, to))),
                        Err(error) => tracing::debug!(%error, %to, "a permission at a TURN server"),
                    }
                }
                if self.waiting.len() == MAX_WAITING {
                    self.waiting.pop_front();
                }
                self.waiting.push_back((to, packet.to_vec()));
            }
            Err(error) => tracing::debug!(%error, %to, "a packet was not relayed"),
            Ok(()) => {}
        }
    }

    fn events(&mut self, now: Instant) -> Vec<RelayEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::AllocateResponse(_, relayed) => {
                    self.relayed = Some(relayed);
                    self.is_settled = true;
                    events.push(RelayEvent::Allocated { relayed, base: self.base });
                }
                Event::AllocateError(_, error) => {
                    tracing::warn!(%error, server = %self.server, "no relayed address");
                    self.is_settled = true;
                    events.push(RelayEvent::Failed);
                }
                Event::TransactionTimeout(_) if !self.is_settled => {
                    tracing::warn!(server = %self.server, "the TURN server does not answer");
                    self.is_settled = true;
                    events.push(RelayEvent::Failed);
                }
                Event::CreatePermissionResponse(transaction, peer) => {
                    self.permissions.remove(&transaction);
                    let (now_allowed, rest) =
                        std::mem::take(&mut self.waiting).into_iter().partition(|(to, _)| *to == peer);
                    self.waiting = rest;
                    let now_allowed: VecDeque<(SocketAddr, Vec<u8>)> = now_allowed;
                    for (to, packet) in now_allowed {
                        self.send(to, &packet, now);
                    }
                }
                Event::TransactionTimeout(transaction) => {
                    self.permissions.remove(&transaction);
                }
                Event::CreatePermissionError(transaction, error) => {
                    self.permissions.remove(&transaction);
                    tracing::debug!(%error, server = %self.server, "no permission at the TURN server");
                }
                Event::DataIndicationOrChannelData(_, from, datagram) => {
                    events.extend(self.relayed.map(|relayed| RelayEvent::Received {
                        relayed,
                        from,
                        datagram,
                    }));
                }
                _ => {}
            }
        }
        self.flush();
        events
    }

    fn flush(&mut self) {
        while let Some(message) = self.client.poll_write() {
            // What finds no room is lost like any other datagram; requests are repeated.
            let _ = send(&*self.socket, &message.message, SendFlags::empty());
        }
    }
}

/// A socket that only talks with `server`, from the address that leads there.
fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

async fn read(id: RelayId, socket: Rc<UdpSocket>, inbox: Weak<dyn PacketInbox>) {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => {
                let Some(inbox) = inbox.upgrade() else { return };
                inbox.relay(id, &buffer[..length]);
            }
            // A server that is not there yet: it is asked again.
            Err(_) => tokio::time::sleep(ERROR_PAUSE).await,
        }
    }
}
