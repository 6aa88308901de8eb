//! An MQTT 5 client that tries what is not its own.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Filter, LastWill, Packet, PubAckReason, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use tokio::time::timeout;

use super::PATIENCE;

/// An MQTT 5 client that sees every answer of the broker. It does not connect again.
pub struct Attacker {
    pub mqtt: AsyncClient,
    pub events: EventLoop,
    /// What was delivered to it: topic and payload.
    pub got: Vec<(String, Vec<u8>)>,
}

/// With what a client comes.
#[derive(Default)]
pub struct Comes<'a> {
    pub id: &'a str,
    pub as_user: Option<(&'a str, &'a str)>,
    pub will: Option<(&'a str, bool)>,
}

pub fn comes<'a>(id: &'a str, user: &'a str) -> Comes<'a> {
    Comes { id, as_user: Some((user, "right")), will: None }
}

impl Attacker {
    /// Connects; `Err` holds the broker's refusal.
    pub async fn enter(port: u16, comes: Comes<'_>) -> Result<Self, ConnectReturnCode> {
        let mut options = MqttOptions::new(comes.id, "127.0.0.1", port);
        if let Some((user, password)) = comes.as_user {
            options.set_credentials(user, password);
        }
        if let Some((topic, retain)) = comes.will {
            options.set_last_will(LastWill::new(topic, "the will", QoS::AtLeastOnce, retain, None));
        }
        let (mqtt, events) = AsyncClient::new(options, 1000);
        let mut this = Self { mqtt, events, got: Vec::new() };
        match timeout(PATIENCE, this.events.poll()).await.expect("an answer in time") {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Ok(this),
            Err(ConnectionError::ConnectionRefused(code)) => Err(code),
            other => panic!("{other:?}"),
        }
    }

    pub async fn anonymous(port: u16, id: &str) -> Self {
        Self::enter(port, Comes { id, ..Comes::default() }).await.expect("to be let in")
    }

    /// The next packet that `find` takes; what is delivered meanwhile is kept. `None`: disconnected.
    pub async fn until<T>(&mut self, find: impl Fn(&Packet) -> Option<T>) -> Option<T> {
        let found = timeout(PATIENCE, async {
            loop {
                match self.events.poll().await {
                    Ok(Event::Incoming(packet)) => {
                        if let Packet::Publish(message) = &packet {
                            let topic = String::from_utf8_lossy(&message.topic).into_owned();
                            self.got.push((topic, message.payload.to_vec()));
                        }
                        if let Some(found) = find(&packet) {
                            return Some(found);
                        }
                    }
                    Ok(Event::Outgoing(_)) => {}
                    Err(_) => return None,
                }
            }
        });
        found.await.expect("an answer in time")
    }

    /// Whether the broker grants this subscription.
    pub async fn may_read(&mut self, filter: &str) -> bool {
        let filter = Filter::new(filter, QoS::AtLeastOnce);
        self.mqtt.subscribe_many([filter]).await.expect("a living client");
        let codes = self.until(|packet| match packet {
            Packet::SubAck(answer) => Some(answer.return_codes.clone()),
            _ => None,
        });
        matches!(codes.await.expect("a connection")[..], [SubscribeReasonCode::Success(_)])
    }

    /// Whether the broker takes a message on this topic. `None`: it hung up.
    pub async fn says(&mut self, topic: &str, payload: &str, retain: bool) -> Option<bool> {
        let properties = PublishProperties::default();
        let message = self.mqtt.publish_with_properties(
            topic,
            QoS::AtLeastOnce,
            retain,
            payload.to_owned(),
            properties,
        );
        message.await.expect("a living client");
        let reason = self.until(|packet| match packet {
            Packet::PubAck(answer) => Some(answer.reason),
            _ => None,
        });
        Some(matches!(reason.await?, PubAckReason::Success | PubAckReason::NoMatchingSubscribers))
    }

    /// Waits for a message on `topic`.
    pub async fn hears(&mut self, topic: &str) -> Vec<u8> {
        if let Some((_, payload)) = self.got.iter().find(|(of, _)| of == topic) {
            return payload.clone();
        }
        let heard = self.until(|packet| match packet {
            Packet::Publish(message) if message.topic == topic.as_bytes() => Some(message.payload.to_vec()),
            _ => None,
        });
        heard.await.expect("a connection")
    }

    /// Waits until the broker ends this connection.
    pub async fn is_thrown_out(&mut self) {
        assert_eq!(self.until(|_| None::<()>).await, None);
    }
}
