//! `[broker]`

use std::net::SocketAddr;

use serde::Deserialize;

use super::value::{Checked, Text, address};

/// Where the built-in broker listens.
#[derive(Clone, Copy, Debug)]
pub struct Broker {
    /// MQTT over TCP.
    pub listen: SocketAddr,
    /// MQTT over WebSocket, for browsers.
    pub websocket: SocketAddr,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawBroker {
    listen: Option<Text>,
    websocket: Option<Text>,
}

pub(super) fn checked(raw: &RawBroker) -> Checked<Broker> {
    Ok(Broker {
        listen: address("broker.listen", raw.listen.as_ref(), "0.0.0.0:1883")?,
        websocket: address("broker.websocket", raw.websocket.as_ref(), "0.0.0.0:9001")?,
    })
}
