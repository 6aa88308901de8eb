//! The addresses of this machine that viewers may reach.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use rtc::shared::ifaces::ifaces;

/// One of each; loopback only where there is nothing else, so that a viewer on an offline machine still gets a picture.
pub(in crate::peer) fn addresses() -> Vec<IpAddr> {
    let interfaces = ifaces()
        .inspect_err(|error| tracing::warn!(%error, "the network interfaces cannot be listed"))
        .unwrap_or_default();
    let mut found = Vec::new();
    for address in interfaces.iter().filter_map(|interface| Some(interface.addr?.ip())) {
        if is_reachable(address) && !found.contains(&address) {
            found.push(address);
        }
    }
    if !has_route() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found
}

/// Link-local IPv6 addresses mean nothing without a scope, which candidates cannot tell.
fn is_reachable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || is_link_local)
}

/// Connecting a UDP socket sends nothing; it only asks the routing table.
fn has_route() -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_others_can_reach_count() {
        for (address, expected) in [
            ("192.168.1.5", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("169.254.1.1", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("::", false),
        ] {
            assert_eq!(is_reachable(address.parse().unwrap()), expected, "{address}");
        }
    }
}
