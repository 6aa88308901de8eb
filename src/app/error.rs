//! Why the daemon cannot run.

use std::net::SocketAddr;

use crate::access::AccessError;
use crate::broker::BrokerError;
use crate::http::HttpError;
use crate::media::MediaError;
use crate::peer::PeerError;
use crate::signaling::mqtt::MqttError;

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The device's key, or its grants.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The embedded broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The page.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The capture side.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The media connections.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The MQTT connection.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// The embedded broker's own address.
    #[error("the built-in broker's address {0} cannot be used as a URL")]
    Address(SocketAddr),
}
