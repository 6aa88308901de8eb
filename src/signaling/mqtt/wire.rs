//! One connection in either version of MQTT, the differences of which end here: 5, or 3.1.1 for brokers that know no other.
//!
//! What 3.1.1 lacks: reasons (for a refused message, a lost connection), limits that a broker tells, response topics. A message
//! above [`MAX_PACKET_BYTES_3`] ends the connection, since nobody can tell the broker to keep it.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, LastWill, Packet, PubAckReason, Publish, PublishProperties,
    SubscribeReasonCode,
};
use rumqttc::v5::{self, mqttbytes::QoS};
use rumqttc::{NetworkOptions, Outgoing as Sent, TlsConfiguration, Transport};

use super::client_config::{MqttClientConfig, MqttError, PING_EVERY};
use super::message::{AnswerTo, Outgoing, is_topic};
use super::tls;
use crate::signaling::broker_url::Scheme;

/// The largest packet that the broker may send us; it drops larger ones (MQTT 5 section 3.1.2.11.4).
const MAX_PACKET_BYTES: u32 = 12 * 1024 * 1024;
/// The same for a WebSocket. Mosquitto 2.0 sends these at 40 kB/s, and answers to pings wait behind:
/// with 10 MB the broker would seem dead for minutes.
const MAX_WEBSOCKET_PACKET_BYTES: u32 = 1024 * 1024;
/// What is still read where the broker cannot be told a limit.
const MAX_PACKET_BYTES_3: usize = 32 * 1024 * 1024;
/// Unacknowledged messages in either direction.
pub(super) const IN_FLIGHT: u16 = 32;
const CONNECT_LIMIT_S: u64 = 10;
/// The same while it is not known whether the broker speaks MQTT 5 at all: one that does not may keep silent.
const FIRST_CONNECT_LIMIT_S: u64 = 5;
/// Response topics and correlation data that are kept.
const MAX_ANSWER_TOPIC_BYTES: usize = 512;
const MAX_CORRELATION_BYTES: usize = 1024;

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Three,
    Five,
}

/// What a connection is made with, for either version.
#[derive(Clone)]
pub(super) struct WireOptions {
    five: v5::MqttOptions,
    three: rumqttc::MqttOptions,
    network: NetworkOptions,
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum WireEvent {
    ConnAck(ConnAckLimits),
    /// Whether each filter was granted.
    Subscribed(Vec<bool>),
    Message(WireMessage),
    /// Whether one of ours was taken; brokers of 3.1.1 cannot say no.
    Acknowledged(bool),
    /// Another sign of life.
    Heard,
    PingSent,
    DisconnectSent,
    Sent,
}

/// What the broker says of itself; nothing in 3.1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnAckLimits {
    pub max_packet: Option<u32>,
    pub receive_max: Option<u16>,
    pub max_qos: Option<u8>,
    pub keep_alive_s: Option<u16>,
    pub retains: bool,
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct WireMessage {
    pub topic: Bytes,
    pub payload: Bytes,
    pub retain: bool,
    pub answer_to: Option<AnswerTo>,
}

/// Why a connection failed.
#[derive(Debug)]
pub(super) enum WireError {
    Three(rumqttc::ConnectionError),
    Five(v5::ConnectionError),
}

/// Hands requests to a [`WireLoop`]; never waits.
pub(super) enum WireClient {
    Three(rumqttc::AsyncClient),
    Five(v5::AsyncClient),
}

/// Drives a connection.
pub(super) enum WireLoop {
    Three(Box<rumqttc::EventLoop>),
    Five(Box<v5::EventLoop>),
}

impl WireOptions {
    /// Translates the configuration for rumqttc.
    pub fn of(config: &MqttClientConfig) -> Result<Self, MqttError> {
        let url = &config.url;
        let tls = || Ok::<_, MqttError>(TlsConfiguration::Rustls(tls::client_config(&config.tls)?));
        let (host, transport) = match url.scheme() {
            Scheme::Mqtt => (url.host().to_owned(), Transport::tcp()),
            Scheme::Ws => (url.address(), Transport::ws()),
            Scheme::Mqtts => (url.host().to_owned(), Transport::tls_with_config(tls()?)),
            Scheme::Wss => (url.address(), Transport::wss_with_config(tls()?)),
        };
        if let Some(path) = config.tls.first().filter(|_| !url.is_tls()) {
            return Err(MqttError::TlsFilesWithoutTls { path: path.to_owned(), url: Box::new(url.clone()) });
        }
        if let Some(will) = config.will.as_ref().filter(|will| !is_topic(&will.topic)) {
            return Err(MqttError::WillTopic { topic: will.topic.clone() });
        }
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_LIMIT_S);
        let web = matches!(url.scheme(), Scheme::Ws | Scheme::Wss);
        let mut properties = ConnectProperties::new();
        properties.max_packet_size = Some(if web { MAX_WEBSOCKET_PACKET_BYTES } else { MAX_PACKET_BYTES });
        properties.receive_maximum = Some(IN_FLIGHT);
        let mut five = v5::MqttOptions::new(config.client_id.clone(), host.clone(), url.port());
        five.set_transport(transport.clone())
            .set_keep_alive(config.ping_every)
            .set_clean_start(true)
            .set_connect_properties(properties)
            .set_network_options(network.clone())
            .set_outgoing_inflight_upper_limit(IN_FLIGHT);
        let mut three = rumqttc::MqttOptions::new(config.client_id.clone(), host, url.port());
        three
            .set_transport(transport)
            .set_keep_alive(config.ping_every)
            .set_clean_session(true)
            .set_max_packet_size(MAX_PACKET_BYTES_3, MAX_PACKET_BYTES_3)
            .set_inflight(IN_FLIGHT);
        let username = config.username.as_deref().or(url.username());
        let password = config.password.as_deref().or(url.password());
        if username.is_some() || password.is_some() {
            let (username, password) = (username.unwrap_or_default(), password.unwrap_or_default());
            five.set_credentials(username, password);
            three.set_credentials(username, password);
        }
        if let Some(will) = &config.will {
            let (topic, payload) = (will.topic.clone(), will.payload.to_vec());
            three.set_last_will(rumqttc::LastWill::new(
                &topic,
                payload.clone(),
                qos3(will.qos0),
                will.retain,
            ));
            five.set_last_will(LastWill::new(topic, payload, qos(will.qos0), will.retain, None));
        }
        Ok(Self { five, three, network })
    }

    /// A new connection, which begins with the first [`WireLoop::poll`] and may take its time where the version `is_known`. Everything of rumqttc's is new each time: it would
    /// otherwise carry packet ids, half-sent messages and collisions into the next one.
    pub fn open(&self, version: Version, is_known: bool, requests: usize) -> (WireClient, WireLoop) {
        match version {
            Version::Five => {
                let mut five = self.five.clone();
                five.set_connection_timeout(if is_known { CONNECT_LIMIT_S } else { FIRST_CONNECT_LIMIT_S });
                let (client, events) = v5::AsyncClient::new(five, requests);
                (WireClient::Five(client), WireLoop::Five(Box::new(events)))
            }
            Version::Three => {
                let (client, mut events) = rumqttc::AsyncClient::new(self.three.clone(), requests);
                events.set_network_options(self.network.clone());
                (WireClient::Three(client), WireLoop::Three(Box::new(events)))
            }
        }
    }
}

impl ConnAckLimits {
    /// Whether the broker asks for pings so seldom that a dead connection would be found out far too late.
    pub fn pings_too_seldom(&self) -> bool {
        self.keep_alive_s.is_some_and(|seconds| Duration::from_secs(seconds.into()) > PING_EVERY)
    }
}

impl WireLoop {
    /// Drives the connection to its next event. May be dropped only with the connection: it may be in the middle of a write.
    pub async fn poll(&mut self) -> Result<WireEvent, WireError> {
        match self {
            Self::Five(events) => {
                let event = events.poll().await.map_err(WireError::Five)?;
                if let v5::Event::Incoming(Packet::ConnAck(connack)) = &event {
                    // A broker that wants no pings says 0, which the library takes for pings without a pause.
                    let asked = connack.properties.as_ref().and_then(|said| said.server_keep_alive);
                    if asked == Some(0) {
                        events.options.set_keep_alive(PING_EVERY);
                    }
                }
                Ok(event5(event))
            }
            Self::Three(events) => events.poll().await.map(event3).map_err(WireError::Three),
        }
    }

    /// Whether the next ping ends the connection, should none have been answered by then.
    pub fn give_up_at_next_ping(&mut self, give_up: bool) {
        match self {
            Self::Five(events) => events.state.await_pingresp = give_up,
            Self::Three(events) => events.state.await_pingresp = give_up,
        }
    }
}

impl WireClient {
    /// Subscribes with QoS 1; false where one of the filters is none.
    pub fn subscribe(&self, filters: &[String]) -> bool {
        match self {
            Self::Five(client) => {
                let all = filters.iter().map(|filter| Filter::new(filter.clone(), QoS::AtLeastOnce));
                client.try_subscribe_many(all).is_ok()
            }
            Self::Three(client) => {
                let all = filters
                    .iter()
                    .map(|filter| rumqttc::SubscribeFilter::new(filter.clone(), rumqttc::QoS::AtLeastOnce));
                client.try_subscribe_many(all).is_ok()
            }
        }
    }

    /// False when there is no room.
    pub fn publish(&self, message: &Outgoing) -> bool {
        let (topic, payload) = (message.topic.clone(), message.payload.clone());
        match self {
            Self::Five(client) => match properties(message) {
                None => client.try_publish(topic, qos(message.qos0), message.retain, payload).is_ok(),
                Some(more) => client
                    .try_publish_with_properties(topic, qos(message.qos0), message.retain, payload, more)
                    .is_ok(),
            },
            Self::Three(client) => {
                client.try_publish(topic, qos3(message.qos0), message.retain, payload.to_vec()).is_ok()
            }
        }
    }

    /// Asks for a sign of life without a ping, which only the library can send: to end a subscription that there is not is harmless,
    /// and is answered. False when there is no room.
    pub fn probe_liveness(&self) -> bool {
        const NOWHERE: &str = "porthole-sign-of-life";
        match self {
            Self::Five(client) => client.try_unsubscribe(NOWHERE).is_ok(),
            Self::Three(client) => client.try_unsubscribe(NOWHERE).is_ok(),
        }
    }

    /// Says goodbye; false when there is no room.
    pub fn disconnect(&self) -> bool {
        match self {
            Self::Five(client) => client.try_disconnect().is_ok(),
            Self::Three(client) => client.try_disconnect().is_ok(),
        }
    }
}

/// What the message takes on the wire, which is what a broker's limit counts (MQTT 5 section 3.2.2.3.6): the fixed header,
/// the packet identifier and the properties too.
pub(super) fn packet_bytes(message: &Outgoing) -> usize {
    let (topic, payload) = (message.topic.as_str(), message.payload.clone());
    let publish = Publish::new(topic, qos(message.qos0), payload, properties(message));
    // rumqttc counts no identifier where it is 0, as it is before the packet is sent.
    Publish { pkid: 1, ..publish }.size()
}

fn properties(message: &Outgoing) -> Option<PublishProperties> {
    let data = message.correlation.clone()?;
    Some(PublishProperties { correlation_data: Some(data), ..PublishProperties::default() })
}

fn qos(qos0: bool) -> QoS {
    if qos0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

fn qos3(qos0: bool) -> rumqttc::QoS {
    if qos0 { rumqttc::QoS::AtMostOnce } else { rumqttc::QoS::AtLeastOnce }
}

fn event5(event: v5::Event) -> WireEvent {
    let packet = match event {
        v5::Event::Incoming(packet) => packet,
        v5::Event::Outgoing(sent) => return sent_event(&sent),
    };
    match packet {
        Packet::ConnAck(connack) => WireEvent::ConnAck(connack_limits5(&connack)),
        Packet::SubAck(answer) => WireEvent::Subscribed(
            answer.return_codes.iter().map(|code| matches!(code, SubscribeReasonCode::Success(_))).collect(),
        ),
        Packet::Publish(message) => {
            let answer_to = message.properties.as_ref().and_then(answer_to);
            let Publish { topic, payload, retain, .. } = message;
            WireEvent::Message(WireMessage { topic, payload, retain, answer_to })
        }
        Packet::PubAck(answer) => WireEvent::Acknowledged(matches!(
            answer.reason,
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers
        )),
        _ => WireEvent::Heard,
    }
}

fn event3(event: rumqttc::Event) -> WireEvent {
    use rumqttc::Packet as Packet3;
    let packet = match event {
        rumqttc::Event::Incoming(packet) => packet,
        rumqttc::Event::Outgoing(sent) => return sent_event(&sent),
    };
    match packet {
        Packet3::ConnAck(_) => {
            WireEvent::ConnAck(ConnAckLimits { retains: true, ..ConnAckLimits::default() })
        }
        Packet3::SubAck(answer) => WireEvent::Subscribed(
            answer
                .return_codes
                .iter()
                .map(|code| matches!(code, rumqttc::SubscribeReasonCode::Success(_)))
                .collect(),
        ),
        Packet3::Publish(message) => WireEvent::Message(WireMessage {
            topic: message.topic.into(),
            payload: message.payload,
            retain: message.retain,
            answer_to: None,
        }),
        Packet3::PubAck(_) => WireEvent::Acknowledged(true),
        _ => WireEvent::Heard,
    }
}

fn sent_event(sent: &Sent) -> WireEvent {
    match sent {
        Sent::PingReq => WireEvent::PingSent,
        Sent::Disconnect => WireEvent::DisconnectSent,
        _ => WireEvent::Sent,
    }
}

fn connack_limits5(connack: &ConnAck) -> ConnAckLimits {
    let Some(said) = &connack.properties else {
        return ConnAckLimits { retains: true, ..ConnAckLimits::default() };
    };
    ConnAckLimits {
        max_packet: said.max_packet_size,
        receive_max: said.receive_max,
        max_qos: said.max_qos,
        keep_alive_s: said.server_keep_alive,
        retains: said.retain_available != Some(0),
    }
}

/// Longer ones than any dashboard writes are as good as none.
fn answer_to(properties: &PublishProperties) -> Option<AnswerTo> {
    let topic = properties.response_topic.clone().filter(|topic| topic.len() <= MAX_ANSWER_TOPIC_BYTES)?;
    let correlation = properties.correlation_data.clone();
    if correlation.as_ref().is_some_and(|data| data.len() > MAX_CORRELATION_BYTES) {
        return None;
    }
    Some(AnswerTo { topic, correlation })
}
