//! `[ice]`

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;

use super::file::{Moved, read};
use super::value::{Checked, Text, parsed_as, problem};
use crate::signaling::message::IceServer;

/// Network settings of the media connections.
#[derive(Clone, Debug, Default)]
pub struct Ice {
    /// STUN and TURN servers, also told to viewers in answers.
    pub servers: Vec<IceServer>,
    /// UDP ports of which one is used for all viewers; any when `None`. `udp_port` is a range of one.
    pub port_range: Option<RangeInclusive<u16>>,
    /// One TCP port for ICE-TCP of all viewers; off when `None`.
    pub tcp_port: Option<u16>,
    /// Address that a 1:1 NAT maps to this device, announced beside the local ones.
    pub public_ip: Option<IpAddr>,
    /// Whether connectivity checks to viewers' private addresses are left to the viewers.
    pub skips_private: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawIce {
    servers: Vec<RawIceServer>,
    udp_port: Option<u16>,
    port_range: Option<Text>,
    tcp_port: Option<u16>,
    public_ip: Option<Text>,
    private_addresses: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIceServer {
    urls: Vec<Text>,
    username: Option<Text>,
    credential_file: Option<Text>,
}

pub(super) fn checked(raw: RawIce, moved: &Moved) -> Checked<Ice> {
    let servers = raw.servers.into_iter().enumerate().map(|(at, server)| ice_server(at, server, moved));
    Ok(Ice {
        servers: servers.collect::<Checked<_>>()?,
        port_range: udp_ports(raw.udp_port, raw.port_range.as_ref())?,
        tcp_port: port("ice.tcp_port", raw.tcp_port, "write 1 to 65535, or leave the key out for no TCP")?,
        public_ip: raw
            .public_ip
            .map(|ip| {
                parsed_as::<IpAddr>("ice.public_ip", &ip, "write an IP address such as \"203.0.113.7\"")
            })
            .transpose()?,
        skips_private: raw.private_addresses == Some(false),
    })
}

fn ice_server(at: usize, raw: RawIceServer, moved: &Moved) -> Checked<IceServer> {
    let key = format!("ice.servers[{at}].urls");
    if raw.urls.is_empty() {
        return Err(problem(&key, "[]", "name at least one address, such as \"stun:stun.example.org:3478\""));
    }
    for url in &raw.urls {
        let known = ["stun:", "turn:", "turns:"].iter().any(|scheme| {
            url.0.strip_prefix(scheme).is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        });
        if !known {
            return Err(problem(
                &key,
                &url.0,
                "write stun:HOST[:PORT], turn:HOST[:PORT] or turns:HOST[:PORT]",
            ));
        }
        if !url.0.starts_with("stun:") && (raw.username.is_none() || raw.credential_file.is_none()) {
            return Err(problem(&key, &url.0, "a TURN server needs username and credential_file"));
        }
    }
    let credential = raw
        .credential_file
        .map(|file| read(&format!("ice.servers[{at}].credential_file"), Path::new(&file.0), moved))
        .transpose()?;
    Ok(IceServer {
        urls: raw.urls.into_iter().map(|url| url.0).collect(),
        username: raw.username.map(|name| name.0),
        credential: credential.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
    })
}

fn port(key: &str, port: Option<u16>, hint: &str) -> Checked<Option<u16>> {
    if port == Some(0) { Err(problem(key, 0, hint)) } else { Ok(port) }
}

fn udp_ports(one: Option<u16>, range: Option<&Text>) -> Checked<Option<RangeInclusive<u16>>> {
    let one = port("ice.udp_port", one, "write 1 to 65535, or leave the key out for any port")?;
    match (one, range) {
        (Some(port), Some(_)) => {
            Err(problem("ice.udp_port", port, "leave out either this key or ice.port_range"))
        }
        (Some(port), None) => Ok(Some(port..=port)),
        (None, range) => range.map(|range| port_range(&range.0)).transpose(),
    }
}

fn port_range(text: &str) -> Checked<RangeInclusive<u16>> {
    let wrong =
        || problem("ice.port_range", text, "write FIRST-LAST, such as \"50000-50100\", first not above last");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first: u16 = first.trim().parse().map_err(|_| wrong())?;
    let last: u16 = last.trim().parse().map_err(|_| wrong())?;
    if first == 0 || first > last { Err(wrong()) } else { Ok(first..=last) }
}
