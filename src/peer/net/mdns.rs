//! Names ending in `.local`, behind which browsers hide their addresses, asked for by multicast (RFC 6762).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::mdns::{MDNS_PORT, Mdns, MdnsConfig, MdnsEvent, MulticastSocket, QueryId};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rustix::net::{SendFlags, sendto};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::demux::PeerId;
use super::inbox::{ERROR_PAUSE, PacketInbox};
use crate::base::tasks::TaskGroup;

/// How often a name is asked for, and for how long: as long as a session may take to connect.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ASK_FOR: Duration = Duration::from_secs(15);
/// Names that are asked for at once, of all sessions.
const MAX_ASKED: usize = 256;
const MAX_DATAGRAM_BYTES: usize = 9000;

/// A name that was found: whose, which, where.
pub(in crate::peer) type Found = (PeerId, String, IpAddr);

/// Asks for names. It has a socket only while it does.
pub(in crate::peer) struct MdnsResolver {
    mdns: Option<Mdns>,
    asked: HashMap<QueryId, (PeerId, String)>,
    socket: Option<Socket>,
    inbox: Weak<dyn PacketInbox>,
    tasks: TaskGroup,
}

struct Socket {
    socket: Rc<UdpSocket>,
    reader: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl MdnsResolver {
    pub fn new(inbox: Weak<dyn PacketInbox>, tasks: TaskGroup) -> Self {
        Self { mdns: None, asked: HashMap::new(), socket: None, inbox, tasks }
    }

    /// Asks for `name`. The answer comes with [`Self::received`].
    pub fn ask(&mut self, peer_id: PeerId, name: &str, now: Instant) {
        let is_asked = self.asked.values().any(|(of, asked)| *of == peer_id && asked == name);
        if is_asked || self.asked.len() >= MAX_ASKED {
            return;
        }
        if self.socket.is_none() {
            match self.open() {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    // As on a machine without a network.
                    tracing::debug!(%error, name, "multicast DNS is not to be had");
                    return;
                }
            }
        }
        let config = || MdnsConfig::new().with_query_interval(ASK_EVERY).with_query_timeout(ASK_FOR);
        let mdns = self.mdns.get_or_insert_with(|| Mdns::new(now, config()));
        let id = mdns.query_now(now, name);
        self.asked.insert(id, (peer_id, name.to_owned()));
        self.flush();
    }

    fn open(&self) -> io::Result<Socket> {
        let socket = Rc::new(UdpSocket::from_std(MulticastSocket::new().into_std()?)?);
        let reader = read(Rc::clone(&socket), self.inbox.clone());
        let reader = self.tasks.spawn_local_finite("mdns-reader", reader);
        Ok(Socket { socket, reader })
    }

    /// Takes a datagram of multicast DNS.
    pub fn received(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Vec<Found> {
        let Some(mdns) = &mut self.mdns else { return Vec::new() };
        let transport = TransportContext {
            local_addr: (Ipv4Addr::UNSPECIFIED, MDNS_PORT).into(),
            peer_addr: from,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let message = TaggedBytesMut { now, transport, message: BytesMut::from(datagram) };
        if let Err(error) = mdns.handle_read(message) {
            tracing::debug!(%error, %from, "a datagram of multicast DNS");
        }
        self.settle()
    }

    /// When [`Self::timeout`] is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.mdns.as_mut()?.poll_timeout()
    }

    /// Asks again.
    pub fn timeout(&mut self, now: Instant) {
        if let Some(mdns) = &mut self.mdns {
            let _ = mdns.handle_timeout(now);
        }
        self.settle();
    }

    /// Forgets what `peer_id` asked for.
    pub fn leave(&mut self, peer_id: PeerId) {
        let Some(mdns) = &mut self.mdns else { return };
        self.asked.retain(|id, (of, _)| {
            let stays = *of != peer_id;
            if !stays {
                mdns.cancel_query(*id);
            }
            stays
        });
        self.settle();
    }

    fn settle(&mut self) -> Vec<Found> {
        self.flush();
        let mut found = Vec::new();
        while let Some(event) = self.mdns.as_mut().and_then(Mdns::poll_event) {
            match event {
                MdnsEvent::QueryAnswered(id, address) => {
                    found.extend(self.asked.remove(&id).map(|(peer_id, name)| (peer_id, name, address)));
                }
                MdnsEvent::QueryTimeout(id) => drop(self.asked.remove(&id)),
                _ => {}
            }
        }
        if self.asked.is_empty() {
            self.mdns = None;
            self.socket = None;
        }
        found
    }

    fn flush(&mut self) {
        let (Some(mdns), Some(socket)) = (&mut self.mdns, &self.socket) else { return };
        while let Some(message) = mdns.poll_write() {
            // Asked again a second later, if this is lost.
            let (to, flags) = (message.transport.peer_addr, SendFlags::empty());
            let _ = sendto(&*socket.socket, &message.message, flags, &to);
        }
    }
}

async fn read(socket: Rc<UdpSocket>, inbox: Weak<dyn PacketInbox>) {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let Some(inbox) = inbox.upgrade() else { return };
                inbox.mdns(from, &buffer[..length]);
            }
            Err(_) => tokio::time::sleep(ERROR_PAUSE).await,
        }
    }
}
