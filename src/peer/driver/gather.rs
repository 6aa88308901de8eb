//! Our own candidates: addresses of this machine, what STUN servers see of them, and relayed ones.

use std::net::SocketAddr;
use std::time::Instant;

use rtc::ice::candidate::CandidateConfig;
use rtc::ice::tcp_type::TcpType;
use rtc::peer_connection::transport::{
    CandidateHostConfig, CandidateRelayConfig, CandidateServerReflexiveConfig, RTCIceCandidate,
    RTCIceCandidateInit,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportProtocol};
use rtc::stun::agent::StunEvent;
use rtc::stun::client::{Client, ClientBuilder, TaggedMessage};
use rtc::stun::message::{BINDING_REQUEST, Getter, Message, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;

use crate::peer::net::server_url::{LOOKUP_LIMIT, ServerUrl};

/// A server that is to be asked for a connection, and its place in the configuration.
#[derive(Clone, Debug)]
pub(super) struct ServerToAsk {
    pub url: ServerUrl,
    pub server: usize,
}

/// What one connection still asks servers for.
#[derive(Default)]
pub(super) struct Gathering {
    stun: Vec<Client>,
    /// Servers whose names are still looked up, and until when they count.
    unnamed: Vec<(ServerToAsk, Instant)>,
    /// There was an answer, and the end of candidates was not told since.
    pub is_owed_end: bool,
}

fn base(network: &str, address: SocketAddr) -> CandidateConfig {
    CandidateConfig {
        network: network.to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..CandidateConfig::default()
    }
}

/// A shared UDP socket of this machine.
pub(super) fn host(address: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let config = CandidateHostConfig { base_config: base("udp", address), ..Default::default() };
    RTCIceCandidate::from(&config.new_candidate_host()?).to_json()
}

/// The shared TCP port, where this side only waits (RFC 6544 section 4.5).
pub(super) fn host_tcp(address: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let config = CandidateHostConfig { base_config: base("tcp", address), tcp_type: TcpType::Passive };
    RTCIceCandidate::from(&config.new_candidate_host()?).to_json()
}

/// What a TURN server relays.
pub(super) fn relayed(relayed: SocketAddr, from: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let config = CandidateRelayConfig {
        base_config: base("udp", relayed),
        rel_addr: from.ip().to_string(),
        rel_port: from.port(),
        url: None,
    };
    RTCIceCandidate::from(&config.new_candidate_relay()?).to_json()
}

fn server_reflexive(seen: SocketAddr, from: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let config = CandidateServerReflexiveConfig {
        base_config: base("udp", seen),
        rel_addr: from.ip().to_string(),
        rel_port: from.port(),
        url: None,
    };
    RTCIceCandidate::from(&config.new_candidate_server_reflexive()?).to_json()
}

impl Gathering {
    /// Asks the STUN server at `server` how it sees the socket at `from`.
    pub fn ask(&mut self, from: SocketAddr, server: SocketAddr, now: Instant) -> Result<(), Error> {
        if self.is_of(from, server) {
            return Ok(());
        }
        let mut client = ClientBuilder::new().build(now, from, server, TransportProtocol::UDP)?;
        let mut message = Message::new();
        message.build(&[Box::<TransactionId>::default(), Box::new(BINDING_REQUEST)])?;
        client.handle_write(TaggedMessage { now, message })?;
        self.stun.push(client);
        Ok(())
    }

    /// Whether the server at `server` was asked from `from`, and its answer is to come.
    pub fn is_of(&self, from: SocketAddr, server: SocketAddr) -> bool {
        self.stun.iter().any(|client| client.local_addr() == from && client.peer_addr() == server)
    }

    /// Whether nothing is asked for any more, relayed addresses aside.
    pub fn is_idle(&self) -> bool {
        self.stun.is_empty() && self.unnamed.is_empty()
    }

    /// Will ask `server` if its name is found soon. Only the word that there are no more candidates waits for it.
    pub fn ask_when_named(&mut self, server: ServerToAsk, now: Instant) {
        self.unnamed.push((server, now + LOOKUP_LIMIT));
    }

    /// The servers behind `host` that are to be asked now that its name was looked up.
    pub fn named(&mut self, host: &str) -> Vec<ServerToAsk> {
        let named = self.unnamed.extract_if(.., |(server, _)| server.url.host == host);
        named.map(|(server, _)| server).collect()
    }

    /// Takes a server's answer.
    pub fn received(&mut self, message: TaggedBytesMut) {
        let (from, server) = (message.transport.local_addr, message.transport.peer_addr);
        let asked = self.stun.iter_mut();
        let mut asked = asked.filter(|client| client.local_addr() == from && client.peer_addr() == server);
        if let Some(client) = asked.next()
            && let Err(error) = client.handle_read(message)
        {
            tracing::debug!(%error, %server, "a STUN server's answer");
        }
    }

    /// Requests that are to leave now.
    pub fn poll_write(&mut self) -> Option<TaggedBytesMut> {
        self.stun.iter_mut().find_map(Protocol::poll_write)
    }

    /// Candidates that were found since the last call.
    pub fn found(&mut self) -> Vec<RTCIceCandidateInit> {
        let mut found = Vec::new();
        self.stun.retain_mut(|client| {
            let (from, server) = (client.local_addr(), client.peer_addr());
            let Some(event) = client.poll_event() else { return true };
            let mut seen = XorMappedAddress::default();
            let StunEvent::Message(message) = event else {
                tracing::warn!(%server, %from, "the STUN server does not answer");
                return false;
            };
            if seen.get_from(&message).is_ok() {
                found.extend(server_reflexive(SocketAddr::new(seen.ip, seen.port), from));
            }
            false
        });
        found
    }

    /// When [`Self::timeout`] is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let stun = self.stun.iter_mut().filter_map(Protocol::poll_timeout);
        stun.chain(self.unnamed.iter().map(|(_, until)| *until)).min()
    }

    /// Repeats requests, or gives them up.
    pub fn timeout(&mut self, now: Instant) {
        self.unnamed.retain(|(_, until)| *until > now);
        for client in &mut self.stun {
            let _ = client.handle_timeout(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_never_found_holds_back_the_end_of_candidates_for_a_while_only() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        for (server, url) in
            ["stun:one.example.org", "turn:one.example.org", "stun:two.example.org"].iter().enumerate()
        {
            gathering.ask_when_named(ServerToAsk { url: ServerUrl::parse(url).unwrap(), server }, now);
        }
        assert_eq!(gathering.named("three.example.org").len(), 0);
        let named: Vec<usize> =
            gathering.named("one.example.org").iter().map(|server| server.server).collect();
        assert_eq!((named, gathering.named("one.example.org").len()), (vec![0, 1], 0));
        gathering.timeout(now + LOOKUP_LIMIT / 2);
        assert!(!gathering.is_idle());
        assert_eq!(gathering.poll_timeout(), Some(now + LOOKUP_LIMIT));
        gathering.timeout(now + LOOKUP_LIMIT);
        assert!(gathering.is_idle() && gathering.poll_timeout().is_none());
        assert_eq!(gathering.named("two.example.org").len(), 0, "too late for this connection");
    }
}
