//! One viewer's connection: the library's state machine, its candidates, its handshake and its media.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::{RTCIceGatheringState, RTCPeerConnectionState};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::task::AbortHandle;

use super::agreement::Agreement;
use super::cached_client_hello::{CachedClientHello, is_dtls};
use super::channel::PeerChannel;
use super::connect_times::{ConnectStep, ConnectTimes};
use super::connectivity_checks::ConnectivityChecks;
use super::event::PeerEvent;
use super::gather::{self, Gathering};
use super::mdns_candidates::MdnsCandidates;
use super::new_peer::NewPeer;
use super::path;
use crate::peer::connect::answer::LocalTransport;
use crate::peer::connect::dtls_alert::ends_association;
use crate::peer::connect::dtls_handshake::{DtlsHandshake, FlightVerdict};
use crate::peer::connect::negotiation::Negotiation;
use crate::peer::error::PeerError;
use crate::peer::net::Net;
use crate::peer::net::demux::{Class, PeerId, Stun, is_media, is_signed};
use crate::peer::net::relay::RelayEvent;
use crate::peer::stats::PathStats;

/// Rounds between the library's layers for one thing that happened; each of them passes something on in one.
const MAX_ROUNDS: usize = 16;
/// How late the library's timers may be once media flows: all connections' in one wake-up.
const COARSE: Duration = Duration::from_millis(100);

/// One viewer's connection.
pub(super) struct Peer {
    pub id: PeerId,
    pub new: NewPeer,
    pub agreement: Agreement,
    handshake: DtlsHandshake,
    checks: ConnectivityChecks,
    channel: PeerChannel,
    pub gathering: Gathering,
    /// Our user fragment of this generation of ICE.
    ufrag: Option<String>,
    mdns_candidates: MdnsCandidates,
    client_hello: CachedClientHello,
    /// Where the library sends its handshake.
    route: Option<TransportContext>,
    connect_times: ConnectTimes,
    /// Media may begin.
    pub is_starting: bool,
    is_started: bool,
    /// The task that sends pictures.
    pub send_task: Option<AbortHandle>,
    /// Its next use fails, as a fault of the library would.
    #[cfg(test)]
    pub is_broken: bool,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(task) = &self.send_task {
            task.abort();
        }
    }
}

impl Peer {
    pub fn new(id: PeerId, mut new: NewPeer) -> Self {
        Self {
            channel: PeerChannel::new(new.channel.take()),
            id,
            new,
            agreement: Agreement::default(),
            handshake: DtlsHandshake::default(),
            checks: ConnectivityChecks::default(),
            gathering: Gathering::default(),
            ufrag: None,
            mdns_candidates: MdnsCandidates::default(),
            client_hello: CachedClientHello::default(),
            route: None,
            connect_times: ConnectTimes::default(),
            is_starting: false,
            is_started: false,
            send_task: None,
            #[cfg(test)]
            is_broken: false,
        }
    }

    /// Answers an offer, the first one or a later one of the same browser-side connection. Gives the answer, and whether a
    /// generation of ICE begins with it.
    pub fn answer(
        &mut self,
        net: &mut Net,
        mut negotiation: Negotiation,
        now: Instant,
    ) -> Result<(String, bool), PeerError> {
        let shown = self.new.parts.track.remote_certificate(&mut self.new.parts.pc);
        self.agreement.keep_handshake(&mut negotiation, shown.as_deref())?;
        let pc = &mut self.new.parts.pc;
        pc.set_remote_description(now, RTCSessionDescription::offer(negotiation.library_offer())?)?;
        let answer = pc.create_answer(None)?;
        pc.set_local_description(now, answer.clone())?;
        let local = LocalTransport::read(&answer.sdp).ok_or(PeerError::NoTransport)?;
        let is_new = self.register(net, &local.ufrag);
        if is_new {
            self.mdns_candidates.restart();
        }
        for candidate in negotiation.candidates() {
            let candidate = RTCIceCandidateInit { candidate: candidate.clone(), ..Default::default() };
            self.add_remote_candidate(net, candidate, now);
        }
        // All that are known already: until a candidate comes, our checks from its address would make it a peer-reflexive one,
        // which some viewers do not nominate for a second.
        let answer = self.agreement.answer(negotiation, &local, &self.new.parts.track.ssrcs);
        if let Some(negotiation) = self.agreement.last() {
            self.new.follow_audio(negotiation);
        }
        self.connect_times.mark(ConnectStep::Answered, now);
        Ok((answer, is_new))
    }

    /// Whether the viewer has shown a certificate that its offer names.
    fn is_verified(&mut self) -> bool {
        let shown = self.new.parts.track.remote_certificate(&mut self.new.parts.pc);
        self.agreement.verifies(shown.as_deref())
    }

    /// An offer of this side, from which only candidates are wanted.
    pub fn offer(&mut self, now: Instant) -> Result<String, PeerError> {
        let offer = self.new.parts.pc.create_offer(None)?;
        self.new.parts.pc.set_local_description(now, offer.clone())?;
        Ok(offer.sdp)
    }

    /// Requests for our user fragment come here from now on.
    fn register(&mut self, net: &mut Net, ufrag: &str) -> bool {
        net.udp.add_ufrag(self.id, ufrag);
        net.tcp.add_ufrag(self.id, ufrag);
        let is_new = self.ufrag.as_deref() != Some(ufrag);
        if is_new {
            self.ufrag = Some(ufrag.to_owned());
            net.checks.restart(self.id);
        }
        is_new
    }

    /// Takes a candidate of the viewer.
    pub fn add_remote_candidate(&mut self, net: &mut Net, candidate: RTCIceCandidateInit, now: Instant) {
        let plain = self.mdns_candidates.ask(self.id, candidate, &mut net.mdns, now);
        // Browsers also send kinds that this side does not speak (ssltcp, foreign extensions).
        if let Some(Err(error)) = plain.map(|candidate| self.new.parts.pc.add_remote_candidate(candidate)) {
            tracing::debug!(%error, "a candidate of the viewer was not usable");
        }
    }

    /// The address behind a name was found.
    pub fn found(&mut self, net: &mut Net, name: &str, address: IpAddr, now: Instant) {
        for candidate in self.mdns_candidates.found(name, address) {
            self.add_remote_candidate(net, candidate, now);
        }
    }

    /// Takes one of our candidates, if it is new.
    pub fn add_local_candidate(&mut self, candidate: RTCIceCandidateInit) {
        if let Err(error) = self.new.parts.pc.add_local_candidate(candidate) {
            tracing::debug!(%error, "a candidate of this machine is not usable");
        }
    }

    /// Tells the end of candidates, once nothing is asked for any more.
    pub fn settle_gathering(&mut self, net: &Net) {
        if self.gathering.is_owed_end && self.gathering.is_idle() && !net.relays.is_asking(self.id) {
            self.gathering.is_owed_end = false;
            self.add_local_candidate(RTCIceCandidateInit::default());
        }
    }

    /// Takes what came over any path: media goes to its sender, the rest to the library.
    pub fn received(&mut self, net: &mut Net, transport: TransportContext, datagram: &[u8], now: Instant) {
        let pair = (transport.local_addr, transport.peer_addr);
        let is_server = self.gathering.is_of(pair.0, pair.1);
        self.new.parts.hear(now, is_server);
        if is_media(datagram) {
            if self.new.media.received(net, datagram, transport.peer_addr, now) && !self.handshake.is_done() {
                self.handshake.media_received();
            }
            return;
        }
        let message = |datagram: &[u8]| TaggedBytesMut { now, transport, message: BytesMut::from(datagram) };
        if is_server {
            self.gathering.received(message(datagram));
            self.pump(net, now);
            return;
        }
        if self.handshake.received(datagram) == FlightVerdict::Stale {
            return;
        }
        if is_dtls(datagram) && self.new.media.path.is_none() {
            self.client_hello.cache(transport, datagram);
            return;
        }
        self.checks.begin();
        self.read(message(datagram));
        self.pump(net, now);
        self.checks.end(pair, datagram);
        let Some(stun) = Stun::of(datagram).filter(|stun| stun.class == Class::Response) else { return };
        if is_signed(datagram) {
            net.checks.answered(self.id, transport.peer_addr, stun.transaction);
        }
        if let Some(cached) = self.checks.succeed(pair, stun.transaction, now) {
            self.read(message(&cached));
            self.pump(net, now);
        }
    }

    fn read(&mut self, message: TaggedBytesMut) {
        if let Err(error) = self.new.parts.pc.handle_read(message) {
            tracing::debug!(%error, "a datagram of the viewer");
        }
    }

    /// Takes what a TURN server said.
    pub fn relayed(&mut self, net: &mut Net, events: Vec<RelayEvent>, now: Instant) {
        for event in events {
            match event {
                RelayEvent::Allocated { relayed, base } => match gather::relayed(relayed, base) {
                    Ok(candidate) => self.add_local_candidate(candidate),
                    Err(error) => tracing::debug!(%error, %relayed, "a relayed candidate"),
                },
                RelayEvent::Failed => {}
                RelayEvent::Received { relayed, from, datagram } => {
                    let transport = TransportContext {
                        local_addr: relayed,
                        peer_addr: from,
                        transport_protocol: TransportProtocol::UDP,
                        ecn: None,
                    };
                    self.received(net, transport, &datagram, now);
                }
            }
        }
        self.pump(net, now);
    }

    /// Lets the library do all that it can do now, and sends what comes of it.
    pub fn pump(&mut self, net: &mut Net, now: Instant) {
        #[cfg(test)]
        assert!(!self.is_broken, "on purpose");
        for found in self.gathering.found() {
            self.add_local_candidate(found);
        }
        while let Some(message) = self.gathering.poll_write() {
            net.send_once(self.id, &message);
        }
        self.settle_gathering(net);
        for _ in 0..MAX_ROUNDS {
            // What an event has begun, such as a client's first flight of DTLS, is only fetched by this.
            if let Err(error) = self.new.parts.pc.handle_timeout(now) {
                tracing::debug!(%error, "the connection's time");
            }
            let mut is_idle = true;
            while let Some(message) = self.new.parts.pc.poll_write() {
                is_idle = false;
                self.transmit(net, &message, now);
            }
            while let Some(event) = self.new.parts.pc.poll_event() {
                is_idle = false;
                self.event(net, event, now);
            }
            is_idle &= !self.channel.pump(&mut self.new.parts.pc, now);
            if self.new.media.path.is_some() {
                for (transport, message) in self.client_hello.take() {
                    is_idle = false;
                    self.read(TaggedBytesMut { now, transport, message });
                }
            }
            if is_idle {
                return;
            }
        }
    }

    fn transmit(&mut self, net: &mut Net, message: &TaggedBytesMut, now: Instant) {
        match Stun::of(&message.message) {
            Some(Stun { class: Class::Request, transaction }) => {
                self.checks.send(transaction, now);
                self.connect_times.mark(ConnectStep::FirstCheck, now);
            }
            Some(Stun { class: Class::Response, transaction }) => self.checks.answer(transaction),
            Some(_) => {}
            None => {
                if message.transport.transport_protocol == TransportProtocol::UDP {
                    self.handshake.sent(&message.message, now);
                }
                self.route = Some(message.transport);
                self.connect_times.mark(ConnectStep::FirstFlight, now);
                if ends_association(&message.message) {
                    // The library stays connected until consent is lost (RFC 7675).
                    tracing::debug!("the viewer's close_notify, or another end of DTLS");
                    self.forward(PeerEvent::Ended);
                }
            }
        }
        net.transmit(self.id, message);
    }

    fn event(&mut self, net: &mut Net, event: RTCPeerConnectionEvent, now: Instant) {
        match event {
            RTCPeerConnectionEvent::OnIceCandidateEvent(event) => {
                let Ok(init) = event.candidate.to_json() else { return };
                for candidate in self.agreement.found(init, self.new.parts.public_ip) {
                    self.forward(PeerEvent::Candidate(candidate));
                }
            }
            RTCPeerConnectionEvent::OnIceGatheringStateChangeEvent(RTCIceGatheringState::Complete) => {
                self.forward(PeerEvent::GatheringComplete);
            }
            RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(_) => self.follow_path(net, now),
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => self.state(net, state, now),
            RTCPeerConnectionEvent::OnDataChannel(event)
                if !self.channel.event(&mut self.new.parts.pc, &event) =>
            {
                tracing::warn!("the viewer opens one data channel after the other; its session ends");
                self.forward(PeerEvent::Ended);
            }
            _ => {}
        }
    }

    fn state(&mut self, net: &mut Net, state: RTCPeerConnectionState, now: Instant) {
        match state {
            RTCPeerConnectionState::Connected if !self.is_started && !self.is_verified() => {
                tracing::warn!(
                    "the viewer's certificate is none of those that its offer names; nothing is sent"
                );
                self.forward(PeerEvent::Ended);
            }
            RTCPeerConnectionState::Connected => {
                self.follow_path(net, now);
                self.connect_times.mark(ConnectStep::Finished, now);
                if let Some(live) = &self.new.parts.live
                    && !self.is_started
                {
                    tracing::debug!(ms = %self.connect_times.since(live.offered_at), "the steps to the connection");
                }
                let can_send = self.is_started || self.start_media();
                self.forward(if can_send { PeerEvent::Connected } else { PeerEvent::Failed });
            }
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => self.forward(PeerEvent::Ended),
            _ => {}
        }
    }

    /// Media begins with the keys of the handshake.
    fn start_media(&mut self) -> bool {
        let starts = self.new.start_media(self.agreement.last());
        if starts {
            self.handshake.media_sent();
            (self.is_started, self.is_starting) = (true, true);
        }
        starts
    }

    /// Media takes the path that ICE has chosen. During a restart it stays on the former one.
    fn follow_path(&mut self, net: &Net, now: Instant) {
        let Some(pair) = self.new.parts.track.selected_pair(&mut self.new.parts.pc) else { return };
        let path = path::of(&pair, |peer| net.tcp.connection(self.id, peer));
        if path.is_some() && self.new.media.path != path {
            tracing::debug!(?path, "media's path");
            self.connect_times.mark(ConnectStep::Nominated, now);
            self.new.media.path = path;
        }
    }

    /// The path and what is known of it, once connected.
    pub fn path_stats(&mut self) -> Option<PathStats> {
        #[cfg(test)]
        assert!(!self.is_broken, "on purpose");
        let pair = self.new.parts.track.selected_pair(&mut self.new.parts.pc)?;
        Some(path::stats(&pair, self.checks.round_trip))
    }

    pub fn forward(&self, event: PeerEvent) {
        // A full queue means that the session no longer reads; it is being closed then.
        let _ = self.new.events.try_send(event);
    }

    /// When [`Self::timeout`] is due.
    pub fn poll_timeout(&mut self, net: &mut Net, now: Instant) -> Option<Instant> {
        let library = self.new.parts.pc.poll_timeout().map(|at| {
            let pause = if self.is_started { COARSE } else { Duration::from_millis(1) };
            at.max(now + pause)
        });
        let others = [
            self.handshake.poll_timeout(),
            self.gathering.poll_timeout(),
            self.channel.poll_timeout(),
            net.relays.poll_timeout(self.id),
        ];
        others.into_iter().chain([library]).flatten().min()
    }

    /// Does what is due.
    pub fn timeout(&mut self, net: &mut Net, now: Instant) {
        self.gathering.timeout(now);
        let repeated = self.handshake.repeat(now);
        if !repeated.is_empty() {
            tracing::debug!("a flight of the handshake was not answered in time and is sent again");
        }
        if let Some(transport) = self.route {
            for datagram in repeated {
                let message = BytesMut::from(&datagram[..]);
                net.transmit(self.id, &TaggedBytesMut { now, transport, message });
            }
        }
        let events = net.relays.timeout(self.id, now);
        self.relayed(net, events, now);
    }

    /// Says goodbye to the viewer.
    pub fn close(&mut self, net: &mut Net) {
        #[cfg(test)]
        assert!(!self.is_broken, "on purpose");
        if let Err(error) = self.new.parts.pc.close() {
            tracing::debug!(%error, "closing the peer connection");
        }
        while let Some(message) = self.new.parts.pc.poll_write() {
            net.transmit(self.id, &message);
        }
    }
}
