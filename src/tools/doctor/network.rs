//! The network: STUN and TURN servers, the candidates that viewers would be told, the ports to listen on.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio::task::JoinSet;

use super::report::Finding;
use crate::base::processes::{Holders, holders_of_port, holders_of_udp_port};
use crate::config::{BrokerChoice, Config, Ice};
use crate::peer::PeerError;
use crate::peer::reach::{Gathered, ReachError, Reached, gather, reach};

const ICE: &str = "ice";
const PORTS: &str = "ports";
/// As long as an answer waits for servers, and a little more.
const GATHER_LIMIT: Duration = Duration::from_secs(6);

/// Asks every server and gathers once.
pub(super) async fn ice(ice: &Ice) -> Vec<Finding> {
    let mut asking = JoinSet::new();
    let urls = ice.servers.iter().flat_map(|server| server.urls.iter().map(move |url| (server, url)));
    for (at, (server, url)) in urls.enumerate() {
        let (server, url) = (server.clone(), url.clone());
        asking.spawn(async move { (at, Asked { result: reach(&url, &server).await, url }) });
    }
    let mut asked = Vec::new();
    while let Some(answer) = asking.join_next().await {
        // Only a panic in there is an error, and it was printed.
        asked.extend(answer.ok());
    }
    asked.sort_by_key(|(at, _)| *at);
    let asked: Vec<Asked> = asked.into_iter().map(|(_, asked)| asked).collect();
    let mut findings = servers(&asked);
    let mut gathered = gather(ice, GATHER_LIMIT).await;
    if let Err(PeerError::NoFreePort { first, .. }) = gathered
        && let Some(daemon) = holders_of_udp_port(first).porthole()
    {
        findings.push(Finding::ok(ICE, format!("UDP port {first} is in use by Porthole itself: {daemon}")));
        gathered = gather(&Ice { port_range: None, ..ice.clone() }, GATHER_LIMIT).await;
    }
    findings.push(match gathered {
        Ok(found) => candidates(&found, ice.servers.is_empty() && ice.public_ip.is_none()),
        Err(error) => Finding::fail(ICE, error.to_string()).explained(),
    });
    findings
}

/// One address of a server and what came of it.
struct Asked {
    url: String,
    result: Result<Reached, ReachError>,
}

impl Asked {
    fn is_turn(&self) -> bool {
        !self.url.starts_with("stun:")
    }
}

/// A dead server is a failure only where no other one does the same.
fn servers(asked: &[Asked]) -> Vec<Finding> {
    let works = |turn: bool| asked.iter().any(|one| one.is_turn() == turn && one.result.is_ok());
    let (stun, turn) = (works(false), works(true));
    let finding = |one: &Asked| {
        let url = &one.url;
        let finding = match &one.result {
            Ok(Reached::Reflexive(seen)) => {
                Finding::ok(ICE, format!("{url} answers and sees us as {}", seen.ip()))
            }
            Ok(Reached::Relayed(at)) => Finding::ok(ICE, format!("{url} lets us in and would relay at {at}")),
            Err(error @ ReachError::NotUsed) => Finding::warn(ICE, format!("{url}: {error}"))
                .next("name a turn: address without transport=tcp too"),
            // A relay does what STUN does, and more.
            Err(error) if turn || (stun && !one.is_turn()) => {
                Finding::warn(ICE, format!("{url}: {error}")).explained()
            }
            Err(error) => {
                let finding = Finding::fail(ICE, format!("{url}: {error}")).explained();
                let next = finding.next.clone().unwrap_or_default();
                finding.next(format!("{next} (viewers outside the local network would get no video)"))
            }
        };
        finding.figure("url", url.as_str())
    };
    asked.iter().map(finding).collect()
}

/// What viewers would be told. `local_only`: nothing else is configured.
fn candidates(found: &[Gathered], local_only: bool) -> Finding {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for candidate in found {
        let addresses = kinds.entry(&candidate.kind).or_default();
        if !addresses.contains(&candidate.address.as_str()) {
            addresses.push(&candidate.address);
        }
    }
    let words: Vec<String> =
        kinds.iter().map(|(kind, addresses)| format!("{kind} ({})", addresses.join(", "))).collect();
    let words = format!("candidates: {}", words.join(", "));
    let is_loopback = |address: &str| address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let finding = if kinds.is_empty() {
        Finding::fail(ICE, "no candidates: viewers would not be told any address")
            .next("see that the network is up (ip address), and that nobody else has ice.udp_port or the ports of ice.port_range")
    } else if found.iter().all(|candidate| is_loopback(&candidate.address)) {
        Finding::warn(ICE, format!("{words}: this machine has no network, only itself can watch"))
            .next("see that the network is up (ip address)")
    } else if local_only {
        Finding::ok(ICE, format!("{words}; no STUN or TURN servers, so for the local network only"))
    } else {
        Finding::ok(ICE, words)
    };
    finding.figure("kinds", kinds.keys().copied().collect::<Vec<_>>())
}

/// The TCP ports that the daemon would listen on.
pub(super) fn ports(config: &Config) -> Vec<Finding> {
    let mut wanted = Vec::new();
    if config.mqtt.broker == BrokerChoice::Embedded {
        wanted.push(("broker.listen", config.broker.listen));
        wanted.push(("broker.websocket", config.broker.websocket));
    }
    wanted.extend(config.http.listen.map(|address| ("http.listen", address)));
    wanted.extend(config.ice.tcp_port.map(|port| ("ice.tcp_port", (Ipv4Addr::UNSPECIFIED, port).into())));
    // Port 0 means any.
    wanted.retain(|(_, address)| address.port() != 0);
    if wanted.is_empty() {
        return vec![Finding::skip(PORTS, "none to listen on")];
    }
    let (mut free, mut own, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    for (key, address) in wanted {
        match TcpListener::bind(address) {
            Ok(_) => free.push(format!("{address} ({key})")),
            Err(error) => {
                let holders = holders_of_port(address);
                match (error.kind(), holders.porthole()) {
                    (ErrorKind::AddrInUse, Some(daemon)) => own.push(format!("{address} ({key}, {daemon})")),
                    _ => findings.push(unusable(key, address, &error, &holders)),
                }
            }
        }
    }
    if !own.is_empty() {
        findings.push(Finding::ok(PORTS, format!("in use by Porthole itself: {}", own.join(", "))));
    }
    if !free.is_empty() {
        findings.push(Finding::ok(PORTS, format!("free: {}", free.join(", "))));
    }
    findings
}

fn unusable(key: &str, address: SocketAddr, error: &std::io::Error, holders: &Holders) -> Finding {
    let finding = match error.kind() {
        ErrorKind::AddrInUse => {
            let words =
                format!("{address} ({key}) is in use by {}: the daemon would not start", holders.words());
            Finding::fail(PORTS, words).next(format!("end that program, or give {key} another port"))
        }
        ErrorKind::AddrNotAvailable => Finding::fail(
            PORTS,
            format!("{address} ({key}) is no address of this machine"),
        )
        .next(format!("write 0.0.0.0:{} for {key}, or an address that `ip address` shows", address.port())),
        ErrorKind::PermissionDenied => {
            Finding::fail(PORTS, format!("{address} ({key}) is a port for root alone"))
                .next(format!("give {key} a port from 1024 on"))
        }
        _ => Finding::fail(PORTS, format!("{address} ({key}) cannot be listened on: {error}")),
    };
    finding.figure("key", key)
}

#[cfg(test)]
mod tests {
    use super::super::report::Severity;
    use super::*;

    fn asked(url: &str, works: bool) -> Asked {
        let address = "192.0.2.1:3478".parse().expect("an address");
        let result = if works {
            Ok(if url.starts_with("stun") { Reached::Reflexive(address) } else { Reached::Relayed(address) })
        } else {
            Err(ReachError::Silent { address })
        };
        Asked { url: url.into(), result }
    }

    fn verdicts(asked: &[Asked]) -> Vec<Severity> {
        servers(asked).into_iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn a_dead_server_matters_where_no_other_does_its_work() {
        use Severity::{Fail, Ok, Warn};
        assert_eq!(verdicts(&[asked("stun:a", false)]), [Fail]);
        assert_eq!(verdicts(&[asked("stun:a", false), asked("stun:b", true)]), [Warn, Ok]);
        assert_eq!(verdicts(&[asked("stun:a", false), asked("turn:b", true)]), [Warn, Ok]);
        assert_eq!(verdicts(&[asked("stun:a", true), asked("turn:b", false)]), [Ok, Fail]);
        assert!(verdicts(&[]).is_empty());
        let finding = &servers(&[asked("turn:a", false)])[0];
        assert!(finding.next.as_deref().is_some_and(|next| next.contains("firewalls")), "{finding:?}");
    }

    #[test]
    fn candidates_are_summed_up_by_kind() {
        let one = |kind: &str, address: &str| Gathered { kind: kind.into(), address: address.into() };
        let host = one("host", "192.168.1.5");
        let local = candidates(&[host.clone(), host.clone()], true);
        assert_eq!(local.verdict, Severity::Ok);
        assert!(local.what.starts_with("candidates: host (192.168.1.5); no STUN"), "{local:?}");
        let all = candidates(&[host, one("srflx", "203.0.113.7"), one("relay", "198.51.100.1")], false);
        assert_eq!(all.what, "candidates: host (192.168.1.5), relay (198.51.100.1), srflx (203.0.113.7)");
        assert_eq!(candidates(&[one("host", "127.0.0.1")], true).verdict, Severity::Warn);
        assert_eq!(candidates(&[], false).verdict, Severity::Fail);
    }

    #[test]
    fn a_taken_port_is_named_with_its_key() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let error = TcpListener::bind(address).expect_err("taken");
        let finding = unusable("http.listen", address, &error, &Holders::default());
        assert_eq!(finding.verdict, Severity::Fail);
        assert!(
            finding.what.contains("http.listen") && finding.what.contains(&address.to_string()),
            "{finding:?}"
        );
        let elsewhere = "192.0.2.1:80".parse().expect("an address");
        let error = TcpListener::bind(elsewhere).expect_err("not ours");
        let finding = unusable("http.listen", elsewhere, &error, &Holders::default());
        assert!(finding.what.contains("no address of this machine"), "{finding:?}");
    }
}
