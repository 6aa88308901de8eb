//! Hands what waits to be published to rumqttc, as far as the broker takes it.

use std::time::Instant;

use tracing::warn;

use super::message::Outgoing;
use super::shared::Shared;
use super::wire::{ConnAckLimits, IN_FLIGHT, WireClient, packet_bytes};

/// One connection, from the first byte to the last.
#[derive(Default)]
pub(super) struct BrokerConnection {
    pub(super) connacked: bool,
    /// Since when the subscriptions are there.
    pub(super) ready: Option<Instant>,
    pub(super) unacknowledged: u16,
    pub(super) unanswered_pings: u32,
    /// What the broker takes.
    pub(super) limits: ConnAckLimits,
    pub(super) disconnect_sent: bool,
}

/// Hands waiting messages to rumqttc, whose own queue always has room for them: what is handed over
/// and not acknowledged is counted. Says goodbye once nothing is left to wait for.
pub(super) fn pump(shared: &Shared, client: &WireClient, connection: &mut BrokerConnection) {
    if connection.ready.is_none() {
        return;
    }
    while connection.unacknowledged < IN_FLIGHT && !connection.disconnect_sent {
        let Some((since, message)) = shared.queue().pop() else { break };
        let message = as_taken(message, &connection.limits);
        let size = packet_bytes(&message);
        if connection.limits.max_packet.is_some_and(|max| size > max as usize) {
            warn!(topic = message.topic, size, "not published: larger than the broker takes");
            shared.queue().count_lost();
            continue;
        }
        let is_acknowledged = !message.qos0;
        if !client.publish(&message) {
            shared.queue().put_back((since, message));
            break;
        }
        connection.unacknowledged += u16::from(is_acknowledged);
    }
    let done = shared.is_closing() && connection.unacknowledged == 0 && shared.queue().is_empty();
    if done && !connection.disconnect_sent {
        connection.disconnect_sent = client.disconnect();
    }
}

/// A broker ends the connection for what it has said that it does not do (MQTT 5 sections 3.2.2.3.4 and 3.2.2.3.5).
fn as_taken(message: Outgoing, limits: &ConnAckLimits) -> Outgoing {
    Outgoing {
        qos0: message.qos0 || limits.max_qos == Some(0),
        retain: message.retain && limits.retains,
        ..message
    }
}
