//! The path behind a pair of candidates. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use rtc::peer_connection::transport::{
    RTCIceCandidate, RTCIceCandidatePair, RTCIceCandidateType, RTCIceProtocol,
};

use crate::peer::net::inbox::TcpConnectionId;
use crate::peer::net::selected_path::SelectedPath;
use crate::peer::stats::PathStats;

fn address(address: &str, port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.parse().ok()?, port))
}

/// Where media goes. `connection` is the connection from an address, over TCP.
pub(super) fn of(
    pair: &RTCIceCandidatePair,
    connection: impl FnOnce(SocketAddr) -> Option<TcpConnectionId>,
) -> Option<SelectedPath> {
    let RTCIceCandidate { protocol, typ, address: own, port, related_address, related_port, .. } =
        pair.local();
    let to = address(&pair.remote().address, pair.remote().port)?;
    if *protocol == RTCIceProtocol::Tcp {
        return Some(SelectedPath::Tcp(connection(to)?));
    }
    let own = address(own, *port)?;
    Some(match typ {
        RTCIceCandidateType::Relay => SelectedPath::Relay { from: own, to },
        // Sent from the socket that a server saw at another address.
        RTCIceCandidateType::Srflx | RTCIceCandidateType::Prflx => {
            SelectedPath::Udp { from: address(related_address, *related_port).unwrap_or(own), to }
        }
        _ => SelectedPath::Udp { from: own, to },
    })
}

/// What is told of it.
pub(super) fn stats(pair: &RTCIceCandidatePair, round_trip: Option<Duration>) -> PathStats {
    let (local, remote) = (pair.local(), pair.remote());
    PathStats {
        path: local.typ.to_string(),
        protocol: local.protocol.to_string(),
        rtt: (round_trip.unwrap_or_default().as_secs_f64() * 10_000.0).round() / 10.0,
        remote: Some(format!("{} port {}", remote.address, remote.port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(typ: RTCIceCandidateType, protocol: RTCIceProtocol, at: &str) -> RTCIceCandidate {
        RTCIceCandidate {
            typ,
            protocol,
            address: at.to_owned(),
            port: 5000,
            related_address: "192.168.1.5".to_owned(),
            related_port: 6000,
            ..Default::default()
        }
    }

    #[test]
    fn media_leaves_from_where_the_checks_did() {
        let to: SocketAddr = "192.0.2.9:5000".parse().unwrap();
        let of = |typ, protocol| {
            let remote = candidate(RTCIceCandidateType::Host, protocol, "192.0.2.9");
            let local = candidate(typ, protocol, "203.0.113.7");
            super::of(&RTCIceCandidatePair::new(local, remote), |peer| (peer == to).then_some(3))
        };
        let (own, base) = ("203.0.113.7:5000".parse().unwrap(), "192.168.1.5:6000".parse().unwrap());
        let (udp, tcp) = (RTCIceProtocol::Udp, RTCIceProtocol::Tcp);
        assert_eq!(of(RTCIceCandidateType::Host, udp), Some(SelectedPath::Udp { from: own, to }));
        assert_eq!(of(RTCIceCandidateType::Srflx, udp), Some(SelectedPath::Udp { from: base, to }));
        assert_eq!(of(RTCIceCandidateType::Relay, udp), Some(SelectedPath::Relay { from: own, to }));
        assert_eq!(of(RTCIceCandidateType::Host, tcp), Some(SelectedPath::Tcp(3)));
    }

    #[test]
    fn what_is_told_names_both_ends() {
        let local = candidate(RTCIceCandidateType::Host, RTCIceProtocol::Udp, "192.168.1.5");
        let remote = candidate(RTCIceCandidateType::Prflx, RTCIceProtocol::Udp, "192.0.2.9");
        let stats = stats(&RTCIceCandidatePair::new(local, remote), Some(Duration::from_micros(1260)));
        assert_eq!((&stats.path[..], &stats.protocol[..], stats.rtt), ("host", "udp", 1.3));
        assert_eq!(stats.remote.as_deref(), Some("192.0.2.9 port 5000"));
    }
}
