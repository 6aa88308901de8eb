//! Hands what waits to be published to rumqttc, as far as the broker takes it.

use std::time::Instant;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, ClientError};
use tracing::warn;

use super::message::Outgoing;
use super::shared::Shared;

/// Unacknowledged messages in either direction.
pub(super) const IN_FLIGHT: u16 = 32;

/// One connection, from the first byte to the last.
#[derive(Default)]
pub(super) struct BrokerConnection {
    pub(super) greeted: bool,
    /// Since when the subscriptions are there.
    pub(super) ready: Option<Instant>,
    pub(super) unacknowledged: u16,
    pub(super) unanswered_pings: u32,
    /// The largest packet the broker takes.
    pub(super) max_packet: Option<u32>,
    pub(super) goodbye_sent: bool,
}

/// Hands waiting messages to rumqttc, whose own queue always has room for them: what is handed over
/// and not acknowledged is counted. Says goodbye once nothing is left to wait for.
pub(super) fn pump(shared: &Shared, client: &AsyncClient, connection: &mut BrokerConnection) {
    if connection.ready.is_none() {
        return;
    }
    while connection.unacknowledged < IN_FLIGHT && !connection.goodbye_sent {
        let Some((since, message)) = shared.queue().pop() else { break };
        let size = packet_bytes(&message);
        if connection.max_packet.is_some_and(|max| size > max as usize) {
            warn!(topic = message.topic, size, "not published: larger than the broker takes");
            shared.queue().count_lost();
            continue;
        }
        let sent = publish(client, &message);
        if sent.is_err() {
            shared.queue().put_back((since, message));
            break;
        }
        connection.unacknowledged += u16::from(!message.qos0);
    }
    let done = shared.is_closing() && connection.unacknowledged == 0 && shared.queue().is_empty();
    if done && !connection.goodbye_sent {
        connection.goodbye_sent = client.try_disconnect().is_ok();
    }
}

#[allow(clippy::result_large_err)] // rumqttc's own error
fn publish(client: &AsyncClient, message: &Outgoing) -> Result<(), ClientError> {
    let (topic, qos, payload) = (message.topic.clone(), qos(message.qos0), message.payload.clone());
    match properties(message) {
        None => client.try_publish(topic, qos, message.retain, payload),
        Some(properties) => {
            client.try_publish_with_properties(topic, qos, message.retain, payload, properties)
        }
    }
}

fn properties(message: &Outgoing) -> Option<PublishProperties> {
    let data = message.correlation.clone()?;
    Some(PublishProperties { correlation_data: Some(data), ..PublishProperties::default() })
}

/// What the message takes on the wire, which is what a broker's limit counts (MQTT 5 section 3.2.2.3.6): the fixed header,
/// the packet identifier and the properties too.
fn packet_bytes(message: &Outgoing) -> usize {
    let (topic, payload) = (message.topic.as_str(), message.payload.clone());
    let publish = Publish::new(topic, qos(message.qos0), payload, properties(message));
    // rumqttc counts no identifier where it is 0, as it is before the packet is sent.
    Publish { pkid: 1, ..publish }.size()
}

pub(super) fn qos(qos0: bool) -> QoS {
    if qos0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}
