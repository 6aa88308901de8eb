//! Candidates between the wire and the library, and ours as viewers should see them. Pure.

use std::net::{IpAddr, SocketAddr};

use rtc::peer_connection::transport::RTCIceCandidateInit;

use crate::signaling::message::Candidate;

/// As the library takes it.
impl From<Candidate> for RTCIceCandidateInit {
    fn from(candidate: Candidate) -> Self {
        Self {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_mline_index,
            username_fragment: candidate.username_fragment,
            ..Self::default()
        }
    }
}

/// The fields of a candidate-attribute (RFC 8839 section 5.1) that are rewritten here.
const PROTOCOL: usize = 2;
const PRIORITY: usize = 3;
const ADDRESS: usize = 4;
const PORT: usize = 5;
const TYPE: usize = 7;

fn words(candidate: &Candidate) -> Vec<String> {
    candidate.candidate.split_ascii_whitespace().map(str::to_owned).collect()
}

fn is_host(words: &[String], protocol: &str) -> bool {
    words.get(PROTOCOL).is_some_and(|word| word.eq_ignore_ascii_case(protocol))
        && words.get(TYPE).is_some_and(|word| word == "host")
}

/// For a 1:1 NAT: the same port at the public address, as a server-reflexive candidate whose base
/// is the local one (RFC 8445 section 5.1.1.2). `None` for candidates that are no local UDP hosts
/// of the public address's family.
pub(in crate::peer) fn with_public_address(candidate: &Candidate, public: IpAddr) -> Option<Candidate> {
    let mut words = words(candidate);
    let base = SocketAddr::new(words.get(ADDRESS)?.parse().ok()?, words.get(PORT)?.parse().ok()?);
    if !is_host(&words, "udp") || base.is_ipv4() != public.is_ipv4() {
        return None;
    }
    words[0] = words[0].replace("candidate:", "candidate:9");
    // Type preference 100 of server-reflexive in place of 126 of host (RFC 8445 section 5.1.2.2).
    let priority: u32 = words[PRIORITY].parse().ok()?;
    words[PRIORITY] = ((100 << 24) | (priority & 0x00ff_ffff)).to_string();
    words[ADDRESS] = public.to_string();
    "srflx".clone_into(&mut words[TYPE]);
    let related = ["raddr".to_owned(), base.ip().to_string(), "rport".to_owned(), base.port().to_string()];
    let behind = TYPE + 1;
    words.splice(behind..behind, related);
    Some(Candidate { candidate: words.join(" "), ..candidate.clone() })
}

/// What viewers are told of a TCP candidate: the passive one at the shared port (RFC 6544). `None`
/// for active ones, since this side never opens TCP connections. UDP passes unchanged.
pub(in crate::peer) fn with_tcp_port(candidate: Candidate, port: Option<u16>) -> Option<Candidate> {
    let mut words = words(&candidate);
    if !is_host(&words, "tcp") {
        return Some(candidate);
    }
    let passive = words.windows(2).any(|pair| pair[0] == "tcptype" && pair[1] == "passive");
    let port = port.filter(|_| passive)?;
    *words.get_mut(PORT)? = port.to_string();
    Some(Candidate { candidate: words.join(" "), ..candidate })
}

/// What viewers are told of a UDP candidate: where the shared port is at its address. `None` for a host candidate
/// whose address has no such port. Others pass, with the port that a server-reflexive one is based on.
pub(in crate::peer) fn with_udp_port(
    candidate: Candidate,
    port_at: impl Fn(IpAddr) -> Option<u16>,
) -> Option<Candidate> {
    let mut words = words(&candidate);
    if is_host(&words, "udp") {
        // Names of multicast DNS are no addresses; the library only asks for them.
        let port = words.get(ADDRESS)?.parse().ok().and_then(port_at)?;
        *words.get_mut(PORT)? = port.to_string();
    } else if words.get(TYPE).is_some_and(|word| word == "srflx") {
        let base = words.windows(2).find(|pair| pair[0] == "raddr").and_then(|pair| pair[1].parse().ok());
        let at = words.iter().position(|word| word == "rport");
        if let (Some(port), Some(at)) = (base.and_then(port_at), at)
            && let Some(rport) = words.get_mut(at + 1)
        {
            *rport = port.to_string();
        }
    }
    Some(Candidate { candidate: words.join(" "), ..candidate })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str) -> Candidate {
        Candidate {
            candidate: text.to_owned(),
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
            username_fragment: None,
        }
    }

    #[test]
    fn the_public_address_becomes_a_server_reflexive_candidate() {
        let host = candidate("candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host");
        let public = with_public_address(&host, "203.0.113.7".parse().unwrap()).unwrap();
        assert_eq!(
            public.candidate,
            "candidate:91 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000"
        );
        assert_eq!(public.sdp_mid.as_deref(), Some("0"));
        assert_eq!(with_public_address(&host, "2001:db8::1".parse().unwrap()), None);
        let relay = candidate("candidate:1 1 udp 2130706431 192.168.1.5 50000 typ relay");
        assert_eq!(with_public_address(&relay, "203.0.113.7".parse().unwrap()), None);
        assert_eq!(with_public_address(&candidate("nonsense"), "203.0.113.7".parse().unwrap()), None);
    }

    #[test]
    fn tcp_candidates_are_passive_and_at_the_shared_port() {
        let passive = candidate("candidate:1 1 tcp 1 192.168.1.5 40001 typ host tcptype passive");
        let seen = with_tcp_port(passive.clone(), Some(8443)).unwrap();
        assert_eq!(seen.candidate, "candidate:1 1 tcp 1 192.168.1.5 8443 typ host tcptype passive");
        assert_eq!(with_tcp_port(passive, None), None);
        let active = candidate("candidate:1 1 tcp 1 192.168.1.5 9 typ host tcptype active");
        assert_eq!(with_tcp_port(active, Some(8443)), None);
        let udp = candidate("candidate:1 1 udp 1 192.168.1.5 50000 typ host");
        assert_eq!(with_tcp_port(udp.clone(), None), Some(udp));
    }

    #[test]
    fn udp_candidates_are_at_the_shared_port_of_their_address() {
        let here = |ip: IpAddr| (ip == IpAddr::from([192, 168, 1, 5])).then_some(50_000);
        let seen = |text: &str| with_udp_port(candidate(text), here).map(|candidate| candidate.candidate);
        assert_eq!(
            seen("candidate:1 1 udp 2130706431 192.168.1.5 40001 typ host").as_deref(),
            Some("candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host")
        );
        assert_eq!(seen("candidate:1 1 udp 2130706431 0.0.0.0 40001 typ host"), None);
        assert_eq!(seen("candidate:1 1 udp 2130706431 nonsense 40001 typ host"), None);
        assert_eq!(
            seen("candidate:2 1 udp 1 203.0.113.7 61000 typ srflx raddr 192.168.1.5 rport 40001").as_deref(),
            Some("candidate:2 1 udp 1 203.0.113.7 61000 typ srflx raddr 192.168.1.5 rport 50000")
        );
        for other in [
            "candidate:3 1 udp 1 203.0.113.9 3000 typ relay raddr 192.168.1.5 rport 40001",
            "candidate:1 1 tcp 1 192.168.1.5 8443 typ host tcptype passive",
            "nonsense",
        ] {
            assert_eq!(seen(other).as_deref(), Some(other));
        }
    }
}
