//! Candidates between the wire and the library, and what viewers are told of ours. Pure.

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

/// The name of multicast DNS that stands for the address of a viewer's `candidate`.
pub(in crate::peer) fn mdns_name(candidate: &str) -> Option<&str> {
    let name = candidate.split_ascii_whitespace().nth(ADDRESS)?;
    name.strip_suffix(".local").map(|_| name)
}

/// `candidate` at `address`.
pub(in crate::peer) fn with_address(candidate: &str, address: IpAddr) -> String {
    let address = address.to_string();
    let words = candidate.split_ascii_whitespace().enumerate();
    let words: Vec<&str> = words.map(|(at, word)| if at == ADDRESS { &address } else { word }).collect();
    words.join(" ")
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
    fn an_address_takes_the_place_of_its_name() {
        let hidden = "candidate:1 1 udp 2122260223 4e1a-77.local 50000 typ host";
        assert_eq!(mdns_name(hidden), Some("4e1a-77.local"));
        let plain = with_address(hidden, "192.168.1.9".parse().unwrap());
        assert_eq!(plain, "candidate:1 1 udp 2122260223 192.168.1.9 50000 typ host");
        assert_eq!(mdns_name(&plain), None);
        assert_eq!(mdns_name("nonsense"), None);
    }
}
