//! All connections, and what each of the thread's events does to them.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Weak;
use std::time::Instant;

use rtc::shared::{TransportContext, TransportProtocol};

use super::event::PeerEvent;
use super::gather::{self, ServerToAsk};
use super::new_peer::NewPeer;
use super::peer::Peer;
use crate::base::tasks::{TaskGroup, panic_text};
use crate::config::Ice;
use crate::peer::connect::negotiation::Negotiation;
use crate::peer::error::PeerError;
use crate::peer::net::Net;
use crate::peer::net::check_limit::{CheckLimit, CheckPolicy};
use crate::peer::net::demux::PeerId;
use crate::peer::net::inbox::PacketInbox;
use crate::peer::net::inbox::RelayId;
use crate::peer::net::inbox::{Accepted, TcpConnectionId};
use crate::peer::net::interfaces::addresses;
use crate::peer::net::relay::Server;
use crate::peer::net::server_names::ServerNames;
use crate::peer::net::server_url::ServerUrl;
use crate::peer::send::media_sender::MediaSender;
use crate::peer::stats::PathStats;

/// Everything on the driver's thread.
pub(super) struct State {
    ice: Ice,
    pub net: Net,
    pub peers: HashMap<PeerId, Peer>,
    timers: BTreeSet<(Instant, PeerId)>,
    due: HashMap<PeerId, Instant>,
    server_names: ServerNames,
    /// Names that are to be looked up.
    pub lookups: Vec<String>,
    /// Connections whose media may begin.
    pub starting: Vec<PeerId>,
}

impl State {
    pub fn new(ice: Ice, inbox: &Weak<dyn PacketInbox>, tasks: &TaskGroup) -> Self {
        let checks = CheckPolicy { skips_private: ice.skips_private, public_ip: ice.public_ip };
        let mut net = Net::new(ice.port_range.clone(), ice.tcp_port, inbox, tasks);
        net.checks = CheckLimit::new(checks);
        let mut server_names =
            ServerNames::new(ice.servers.iter().flat_map(|of| &of.urls).map(String::as_str));
        let lookups = server_names.begin(false, Instant::now());
        Self {
            ice,
            net,
            server_names,
            lookups,
            peers: HashMap::new(),
            timers: BTreeSet::new(),
            due: HashMap::new(),
            starting: Vec::new(),
        }
    }

    /// Makes room for one more connection. Gives whether there are new sockets.
    pub fn bind(&mut self, now: Instant) -> Result<bool, PeerError> {
        self.net.udp.bind(&addresses(), now)
    }

    pub fn open(&mut self, peer_id: PeerId, new: NewPeer) {
        self.peers.insert(peer_id, Peer::new(peer_id, new));
    }

    /// Answers `offer`. `full`: with what is known by then of our candidates, so that nothing is begun that may take long.
    pub fn answer(
        &mut self,
        peer_id: PeerId,
        negotiation: Negotiation,
        full: bool,
        now: Instant,
    ) -> Option<Result<String, PeerError>> {
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            peer.agreement.expect(&negotiation);
        }
        self.guarded(peer_id, now, |state| {
            state.peers.get_mut(&peer_id)?.agreement.expect(&negotiation);
            state.gather_hosts(peer_id, now);
            let answered = state.peers.get_mut(&peer_id)?.answer(&mut state.net, negotiation, now);
            let answered = answered.map(|(answer, is_new)| {
                if is_new {
                    state.gather_from_servers(peer_id, full, now);
                }
                answer
            });
            state.settle(peer_id, now);
            Some(answered)
        })
    }

    /// Gathers without a viewer.
    pub fn offer(&mut self, peer_id: PeerId, now: Instant) -> Option<Result<(), PeerError>> {
        self.guarded(peer_id, now, |state| {
            state.gather_hosts(peer_id, now);
            let offered = state.peers.get_mut(&peer_id)?.offer(now).map(|_| ());
            if offered.is_ok() {
                state.gather_from_servers(peer_id, false, now);
            }
            state.settle(peer_id, now);
            Some(offered)
        })
    }

    /// The path of a connection and what is known of it, once connected.
    pub fn path(&mut self, peer_id: PeerId, now: Instant) -> Option<PathStats> {
        self.guarded(peer_id, now, |state| state.peers.get_mut(&peer_id)?.path_stats())
    }

    /// The addresses of this machine are known at once.
    fn gather_hosts(&mut self, peer_id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        let mut hosts: Vec<_> = self.net.udp.addresses().map(gather::host).collect();
        if let Some(port) = self.net.tcp.port() {
            let passive = |address: SocketAddr| gather::host_tcp(SocketAddr::new(address.ip(), port));
            hosts.extend(self.net.udp.addresses().map(passive));
        }
        for candidate in hosts.into_iter().flatten() {
            peer.add_local_candidate(candidate);
        }
        peer.pump(&mut self.net, now);
        peer.gathering.is_owed_end = true;
    }

    /// Asks the servers whose addresses are known. Names are looked up for whoever comes later, and for this one if it may
    /// still hear of candidates.
    fn gather_from_servers(&mut self, peer_id: PeerId, full: bool, now: Instant) {
        let servers = self.ice.servers.iter().enumerate();
        let urls = servers.flat_map(|(server, of)| of.urls.iter().map(move |url| (server, url)));
        let urls = urls.filter_map(|(server, url)| Some(ServerToAsk { url: ServerUrl::parse(url)?, server }));
        for server in urls.filter(|server| server.url.udp).collect::<Vec<_>>() {
            let found = self.server_names.addresses(&server.url, now);
            if !found.is_empty() {
                self.ask(peer_id, &server, &found, now);
            } else if !full && let Some(peer) = self.peers.get_mut(&peer_id) {
                peer.gathering.ask_when_named(server, now);
            }
        }
        self.lookups.extend(self.server_names.begin(true, now));
    }

    /// A server's name was looked up.
    pub fn looked_up(&mut self, host: &str, found: Vec<IpAddr>, now: Instant) {
        self.server_names.answered(host, found, now);
        let waiting = self.peers.iter_mut().map(|(peer_id, peer)| (*peer_id, peer.gathering.named(host)));
        for (peer_id, servers) in waiting.filter(|(_, servers)| !servers.is_empty()).collect::<Vec<_>>() {
            self.guarded(peer_id, now, |state| {
                for server in servers {
                    let found = state.server_names.addresses(&server.url, now);
                    state.ask(peer_id, &server, &found, now);
                }
                state.settle(peer_id, now);
                Some(())
            });
        }
    }

    /// Asks a server at its addresses: one of each family, the first.
    fn ask(&mut self, peer_id: PeerId, server: &ServerToAsk, found: &[SocketAddr], now: Instant) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        let of_family = |is_ipv4| found.iter().copied().find(|found| found.is_ipv4() == is_ipv4);
        if !server.url.turn {
            for from in self.net.udp.addresses().collect::<Vec<_>>() {
                if let Some(to) = of_family(from.is_ipv4())
                    && let Err(error) = peer.gathering.ask(from, to, now)
                {
                    tracing::warn!(%error, server = %to, "the STUN server cannot be asked");
                }
            }
            return;
        }
        let of = &self.ice.servers[server.server];
        for address in [true, false].into_iter().filter_map(of_family) {
            let server = Server {
                address,
                username: of.username.as_deref().unwrap_or_default(),
                password: of.credential.as_deref().unwrap_or_default(),
            };
            if !self.net.relays.has_asked(peer_id, address)
                && let Err(error) = self.net.relays.allocate(peer_id, &server, now)
            {
                tracing::warn!(%error, server = %address, "the TURN server cannot be asked");
            }
        }
    }

    /// Does `what` with a connection, and all that comes of it.
    pub fn with<T>(
        &mut self,
        peer_id: PeerId,
        now: Instant,
        what: impl FnOnce(&mut Peer, &mut Net) -> T,
    ) -> Option<T> {
        self.guarded(peer_id, now, |state| {
            let done = what(state.peers.get_mut(&peer_id)?, &mut state.net);
            state.settle(peer_id, now);
            Some(done)
        })
    }

    /// Does `what`, and ends the connection alone if that fails inside the library: all others live on the same thread.
    fn guarded<T>(
        &mut self,
        peer_id: PeerId,
        now: Instant,
        what: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| what(self))) {
            Ok(done) => done,
            Err(panic) => {
                let reason = panic_text(panic.as_ref());
                tracing::error!(reason, "a connection has failed inside the device; the others go on");
                if let Some(peer) = self.peers.remove(&peer_id) {
                    peer.forward(PeerEvent::Failed);
                }
                self.schedule(peer_id, None);
                self.net.leave(peer_id, now);
                None
            }
        }
    }

    /// Does `what` with a connection's media; nothing else comes of that.
    pub fn media<T>(
        &mut self,
        peer_id: PeerId,
        what: impl FnOnce(&mut MediaSender, &mut Net) -> T,
    ) -> Option<T> {
        let peer = self.peers.get_mut(&peer_id)?;
        Some(what(&mut peer.new.media, &mut self.net))
    }

    fn settle(&mut self, peer_id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.pump(&mut self.net, now);
        if std::mem::take(&mut peer.is_starting) {
            self.starting.push(peer_id);
        }
        let at = peer.poll_timeout(&mut self.net, now);
        self.schedule(peer_id, at);
    }

    fn schedule(&mut self, peer_id: PeerId, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.due.insert(peer_id, at),
            None => self.due.remove(&peer_id),
        };
        if before != at {
            if let Some(before) = before {
                self.timers.remove(&(before, peer_id));
            }
            if let Some(at) = at {
                self.timers.insert((at, peer_id));
            }
        }
    }

    /// When [`Self::timeouts`] is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let first = self.timers.first().map(|(at, _)| *at);
        [first, self.net.mdns.poll_timeout(), self.server_names.poll_timeout()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn timeouts(&mut self, now: Instant) {
        while let Some((_, peer_id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.schedule(peer_id, None);
            self.with(peer_id, now, |peer, net| peer.timeout(net, now));
        }
        if self.net.mdns.poll_timeout().is_some_and(|at| at <= now) {
            self.net.mdns.timeout(now);
        }
        if self.server_names.poll_timeout().is_some_and(|at| at <= now) {
            self.lookups.extend(self.server_names.begin(false, now));
        }
    }

    /// Datagrams of one sender came to the shared socket at `at`.
    pub fn udp(&mut self, at: SocketAddr, from: SocketAddr, datagrams: &[u8], stride: usize) {
        let now = Instant::now();
        for datagram in datagrams.chunks(stride) {
            let Some(peer_id) = self.net.udp.received(at, from, datagram, now) else { continue };
            self.deliver(peer_id, transport(at, from, TransportProtocol::UDP), datagram, now);
        }
    }

    fn deliver(&mut self, peer_id: PeerId, transport: TransportContext, datagram: &[u8], now: Instant) {
        self.guarded(peer_id, now, |state| {
            state.peers.get_mut(&peer_id)?.received(&mut state.net, transport, datagram, now);
            // A report of the viewer concerns its media alone, and is by far the most frequent.
            if !crate::peer::net::demux::is_media(datagram) {
                state.settle(peer_id, now);
            }
            Some(())
        });
    }

    /// A TCP connection has said whose it is.
    pub fn tcp_accepted(&mut self, accepted: Accepted) {
        let first = accepted.first.clone();
        let (local, peer) = (accepted.local, accepted.peer);
        if let Some((_, peer_id)) = self.net.tcp.accepted(accepted) {
            let transport = transport(local, peer, TransportProtocol::TCP);
            self.deliver(peer_id, transport, &first, Instant::now());
        }
    }

    /// A frame came over TCP.
    pub fn tcp(&mut self, connection: TcpConnectionId, frame: &[u8]) {
        if let Some((peer_id, local, peer)) = self.net.tcp.ends(connection) {
            let transport = transport(local, peer, TransportProtocol::TCP);
            self.deliver(peer_id, transport, frame, Instant::now());
        }
    }

    /// A TURN server sent this.
    pub fn relay(&mut self, relay: RelayId, datagram: &[u8]) {
        let now = Instant::now();
        if let Some((peer_id, events)) = self.net.relays.received(relay, datagram, now) {
            self.with(peer_id, now, |peer, net| peer.relayed(net, events, now));
        }
    }

    /// An answer of multicast DNS came.
    pub fn mdns(&mut self, from: SocketAddr, datagram: &[u8]) {
        let now = Instant::now();
        for (peer_id, name, address) in self.net.mdns.received(from, datagram, now) {
            let found: (String, IpAddr) = (name, address);
            self.with(peer_id, now, |peer, net| peer.found(net, &found.0, found.1, now));
        }
    }

    /// Ends a connection, and forgets all of it.
    pub fn close(&mut self, peer_id: PeerId, now: Instant) {
        if let Some(mut peer) = self.peers.remove(&peer_id)
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| peer.close(&mut self.net)))
        {
            let reason = panic_text(panic.as_ref());
            tracing::error!(
                reason,
                "a connection failed inside the device while it was closed; the others go on"
            );
        }
        self.schedule(peer_id, None);
        self.net.leave(peer_id, now);
    }
}

fn transport(
    local_addr: SocketAddr,
    peer_addr: SocketAddr,
    transport_protocol: TransportProtocol,
) -> TransportContext {
    TransportContext { local_addr, peer_addr, transport_protocol, ecn: None }
}
