//! The embedded MQTT broker, for a device or a demo that has no other. The only file that names mqtt5.

use std::net::SocketAddr;

use mqtt5::broker::config::{AuthConfig, BrokerConfig, StorageBackend, StorageConfig, WebSocketConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};

use crate::config::Broker as Addresses;

/// Path of MQTT over WebSocket.
pub const WEBSOCKET_PATH: &str = "/mqtt";
/// The largest packet a client may send; it bounds what one client can make the device hold.
const MAX_PACKET_BYTES: usize = 1024 * 1024;
/// Clients at once: viewers, dashboards and the device itself.
const MAX_CLIENTS: usize = 256;
/// What is kept for one slow client.
const MAX_QUEUED_MESSAGES: usize = 256;
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;
const MAX_RETAINED_MESSAGES: usize = 1_000;
const MAX_RETAINED_BYTES: usize = 512 * 1024;
const MAX_SUBSCRIPTIONS: usize = 64;

/// The broker could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "the built-in MQTT broker cannot listen on {tcp} and {websocket}: {reason}. \
     Is another broker running? Choose other addresses with broker.listen and broker.websocket \
     (or PORTHOLE_BROKER_LISTEN and PORTHOLE_BROKER_WEBSOCKET), or use that broker with mqtt.url"
)]
pub struct BrokerError {
    tcp: SocketAddr,
    websocket: SocketAddr,
    reason: String,
}

/// A running broker; it stops when this is dropped.
pub struct EmbeddedBroker {
    /// Where MQTT over TCP is spoken.
    pub tcp: SocketAddr,
    /// Where MQTT over WebSocket is spoken.
    pub websocket: SocketAddr,
    stop: BrokerShutdownHandle,
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.stop.shutdown();
    }
}

impl EmbeddedBroker {
    /// Binds both listeners and serves them. Returns once connections are accepted.
    pub async fn start(addresses: Addresses) -> Result<Self, BrokerError> {
        let failed =
            |reason: String| BrokerError { tcp: addresses.listen, websocket: addresses.websocket, reason };
        let mut broker =
            MqttBroker::with_config(config(addresses)).await.map_err(|error| failed(error.to_string()))?;
        let (Some(tcp), Some(websocket)) = (broker.local_addr(), broker.ws_local_addr()) else {
            return Err(failed("a listener is missing".to_owned()));
        };
        let stop = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!(%error, "the built-in MQTT broker has stopped");
            }
        });
        ready.wait_for(|ready| *ready).await.map_err(|error| failed(error.to_string()))?;
        Ok(Self { tcp, websocket, stop })
    }
}

fn config(addresses: Addresses) -> BrokerConfig {
    let storage = StorageConfig {
        backend: StorageBackend::Memory,
        enable_persistence: false,
        max_queued_messages_per_client: MAX_QUEUED_MESSAGES,
        max_queued_bytes_per_client: MAX_QUEUED_BYTES,
        ..StorageConfig::default()
    };
    BrokerConfig {
        bind_addresses: vec![addresses.listen],
        websocket_config: Some(
            WebSocketConfig::new().with_bind_addresses(vec![addresses.websocket]).with_path(WEBSOCKET_PATH),
        ),
        max_clients: MAX_CLIENTS,
        max_packet_size: MAX_PACKET_BYTES,
        max_subscriptions_per_client: MAX_SUBSCRIPTIONS,
        max_retained_messages: MAX_RETAINED_MESSAGES,
        max_retained_message_size: MAX_RETAINED_BYTES,
        auth_config: AuthConfig::new().with_allow_anonymous(true),
        storage_config: storage,
        sys_topics_enabled: false,
        ..BrokerConfig::default()
    }
}
