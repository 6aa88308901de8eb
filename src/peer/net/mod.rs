//! Where packets go in and out: the ports that all viewers share, TURN allocations, and names of multicast DNS.
//!
//! Everything here lives on the driver's thread. What is received goes to an [`PacketInbox`]; nothing is decided here.

pub mod batch;
pub mod check_limit;
pub mod demux;
pub mod inbox;
pub mod interfaces;
pub mod mdns;
#[cfg(test)]
pub mod recorded_inbox;
pub mod relay;
pub mod selected_path;
pub mod server_names;
pub mod server_url;
pub mod tcp_port;
pub mod udp_port;

use std::ops::RangeInclusive;
use std::rc::Weak;
use std::time::Instant;

use crate::base::tasks::TaskGroup;
use batch::Batch;
use check_limit::{Check, CheckLimit};
use demux::{Class, PeerId, Stun, TransactionId, is_stun};
use inbox::PacketInbox;
use mdns::MdnsResolver;
use relay::Relays;
use rtc::shared::{TaggedBytesMut, TransportProtocol};
use selected_path::SelectedPath;
use tcp_port::TcpConnections;
use udp_port::UdpPort;

/// All that sends and receives.
pub(in crate::peer) struct Net {
    pub udp: UdpPort,
    pub tcp: TcpConnections,
    pub relays: Relays,
    pub mdns: MdnsResolver,
    pub checks: CheckLimit,
    /// Where packets are made, for one viewer after another.
    pub scratch: Batch,
}

impl Net {
    /// Nothing is bound yet but `tcp_port`, if there is one.
    pub fn new(
        port_range: Option<RangeInclusive<u16>>,
        tcp_port: Option<u16>,
        inbox: &Weak<dyn PacketInbox>,
        tasks: &TaskGroup,
    ) -> Self {
        Self {
            udp: UdpPort::new(port_range, inbox.clone(), tasks.clone()),
            tcp: TcpConnections::new(tcp_port, inbox.clone(), tasks.clone()),
            relays: Relays::new(inbox.clone(), tasks.clone()),
            mdns: MdnsResolver::new(inbox.clone(), tasks.clone()),
            checks: CheckLimit::default(),
            scratch: Batch::default(),
        }
    }

    /// Sends what there is room for of `peer_id`'s media. Gives how many runs that were; the rest is to wait.
    pub fn send(&mut self, peer_id: PeerId, path: SelectedPath, batch: &Batch, now: Instant) -> usize {
        match path {
            SelectedPath::Udp { from, to } => {
                let sent = batch.runs().take_while(|(run, bytes)| {
                    let segment_bytes = (bytes.len() > run.packet_bytes).then_some(run.packet_bytes);
                    self.udp.send(peer_id, from, to, bytes, segment_bytes, now)
                });
                sent.count()
            }
            SelectedPath::Relay { from, to } => {
                for (run, bytes) in batch.runs() {
                    for packet in bytes.chunks(run.packet_bytes) {
                        self.relays.send(peer_id, from, to, packet, now);
                    }
                }
                batch.len()
            }
            SelectedPath::Tcp(connection) => {
                for (run, bytes) in batch.runs() {
                    for packet in bytes.chunks(run.packet_bytes) {
                        self.tcp.send(connection, packet);
                    }
                }
                batch.len()
            }
        }
    }

    /// Whether what was sent along `path` still waits inside this process.
    pub fn is_waiting(&self, path: SelectedPath) -> bool {
        matches!(path, SelectedPath::Tcp(connection) if self.tcp.is_waiting(connection))
    }

    /// Whether a check may leave: the viewer names where it goes.
    fn allows(&mut self, peer_id: PeerId, message: &TaggedBytesMut, transaction: TransactionId) -> bool {
        let (from, to) = (message.transport.local_addr, message.transport.peer_addr);
        let is_ours = self.udp.addresses().any(|own| own == to) || self.relays.has_relayed(to);
        let check = Check { peer_id, from, to, transaction };
        // Over TCP this side never begins.
        message.transport.transport_protocol == TransportProtocol::TCP
            || self.checks.allows(&check, is_ours, message.now)
    }

    /// Sends a datagram of the library's, which goes where the viewer says.
    pub fn transmit(&mut self, peer_id: PeerId, message: &TaggedBytesMut) {
        match Stun::of(&message.message) {
            Some(Stun { class: Class::Request, transaction })
                if !self.allows(peer_id, message, transaction) => {}
            Some(Stun { class: Class::Response, .. }) => {
                // The library has found the check that this answers to be the viewer's.
                self.checks.was_checked(peer_id, message.transport.peer_addr, message.now);
                self.send_once(peer_id, message);
            }
            _ => self.send_once(peer_id, message),
        }
    }

    /// Sends a datagram. One that finds no room is lost: checks and handshakes are repeated.
    pub fn send_once(&mut self, peer_id: PeerId, message: &TaggedBytesMut) {
        let (from, to) = (message.transport.local_addr, message.transport.peer_addr);
        let datagram = &message.message[..];
        if message.transport.transport_protocol == TransportProtocol::TCP {
            if let Some(connection) = self.tcp.connection(peer_id, to)
                && !(is_stun(datagram) && self.tcp.is_waiting(connection))
            {
                self.tcp.send(connection, datagram);
            }
        } else if self.relays.is_relayed(peer_id, from) {
            self.relays.send(peer_id, from, to, datagram, message.now);
        } else {
            self.udp.send(peer_id, from, to, datagram, None, message.now);
        }
    }

    /// Forgets all of `peer_id`, and gives its relayed addresses back.
    pub fn leave(&mut self, peer_id: PeerId, now: Instant) {
        self.udp.leave(peer_id);
        self.tcp.leave(peer_id);
        self.relays.leave(peer_id, now);
        self.mdns.leave(peer_id);
        self.checks.leave(peer_id);
    }
}
