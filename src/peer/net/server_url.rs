//! Addresses of STUN and TURN servers (RFC 7064, RFC 7065). Pure but for looking names up.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long to wait for a name server that may be away.
pub(in crate::peer) const LOOKUP_LIMIT: Duration = Duration::from_secs(4);
/// RFC 8489 section 9 and RFC 8656 section 4.
const DEFAULT_PORT: u16 = 3478;

/// One address of a server, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::peer) struct ServerUrl {
    pub turn: bool,
    /// Plain UDP is what this side speaks.
    pub udp: bool,
    pub host: String,
    pub port: u16,
}

impl ServerUrl {
    /// `stun:host[:port]`, `turn:host[:port][?transport=…]`, `turns:…`.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = match address.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => address.rsplit_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
        let udp = scheme != "turns" && !query.eq_ignore_ascii_case("transport=tcp");
        let known = ["stun", "turn", "turns"].contains(&scheme) && !host.is_empty();
        known.then(|| Self { turn: scheme != "stun", udp, host: host.to_owned(), port })
    }

    /// Its address, where it is given as one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Its addresses; none if the name is not known in time.
    pub async fn resolve(&self) -> Vec<SocketAddr> {
        let found = timeout(LOOKUP_LIMIT, look_up(self.host.clone())).await.unwrap_or_default();
        found.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect()
    }
}

/// The addresses of `host`, or none. The system decides how long that may take; with a silent name server it is half a minute.
pub(in crate::peer) async fn look_up(host: String) -> Vec<IpAddr> {
    let found =
        lookup_host((host.as_str(), 0)).await.inspect_err(|error| tracing::debug!(%error, host, "looked up"));
    found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
}
