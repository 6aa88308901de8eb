//! Tries a broker for `porthole doctor`: one connection, and a round trip through every topic of a device.
//!
//! It changes nothing. Nothing is published with the retain flag, so what the broker keeps stays what
//! it is; on the topics that are kept, the payload is the kept one again. What goes to the topics that
//! a running daemon listens to is something that it ignores without an answer: a `bye` for a session
//! that never was, and a `set` and a `do` without a name that say whose they are.
//!
//! Why a round trip and not the acknowledgements alone: MQTT 5 brokers say in a PUBACK that something
//! may not be published, but Mosquitto grants every subscription and then keeps back what the access
//! list forbids to read. Only a message that arrives shows that messages arrive.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{Instant as Deadline, timeout_at};

use super::client_config::{MqttClientConfig, MqttError};
use super::message::Outgoing;
use super::version::{NoConnAck, VersionChoice};
use super::wire::{ConnAckLimits, Version, WireClient, WireEvent, WireLoop, WireOptions};
use super::{reason, tls};
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::topic::{Id, PROBE, Topics};

/// From the first byte to the broker's connack.
const GREETING_LIMIT: Duration = Duration::from_secs(12);
/// For the answer to one packet.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long a message may take to come back once the broker has acknowledged it.
const ECHO_LIMIT: Duration = Duration::from_secs(2);
/// More than are ever unacknowledged here.
const REQUESTS: usize = 16;

/// What a device does with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It listens.
    Reads,
    /// It speaks.
    Writes,
}

/// How a topic fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicOutcome {
    /// A message went out and came back.
    Passed,
    /// The broker refuses to subscribe it.
    SubscribeRefused,
    /// The broker refuses to take messages for it.
    PublishRefused,
    /// The broker took the message, but it did not come back.
    NoEcho,
    /// The broker did not acknowledge the message.
    NoAnswer,
}

impl TopicOutcome {
    /// Whether the device can use the topic; `None` where a probe by the device's own user cannot tell.
    pub fn usable(self, usage: Use) -> Option<bool> {
        match (self, usage) {
            (Self::Passed, _) => Some(true),
            // Subscribed, but this user may not speak there, so nothing could be sent to be heard; or
            // the message was taken, and the device has no need to hear itself.
            (Self::PublishRefused, Use::Reads) | (Self::NoEcho | Self::SubscribeRefused, Use::Writes) => None,
            _ => Some(false),
        }
    }
}

/// One topic of a device, tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// As it stands in a broker's access list: with the wildcards of the device's own subscription.
    pub topic: String,
    /// What the device does with it.
    pub usage: Use,
    /// How it went.
    pub outcome: TopicOutcome,
}

/// What a broker let us do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// From the first byte to the connack, TLS included.
    pub connack: Duration,
    /// Every topic, in the order of the protocol.
    pub topics: Vec<Tried>,
    /// The broker keeps messages for later subscribers, which the protocol needs.
    pub keeps_messages: bool,
    /// What it has kept of the device's `availability`.
    pub availability: Option<String>,
}

/// Why a broker could not be tried at all.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Something in the configuration.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// The broker is not there, refuses, or hung up; in plain words, with what to do.
    #[error("{0}")]
    Broker(String),
    /// It does not take the user name or the password; in plain words.
    #[error("{0}")]
    Credentials(String),
}

/// One topic that is to be tried.
struct Trial {
    /// What is subscribed.
    filter: String,
    /// Where it is published.
    topic: String,
    usage: Use,
    payload: Payload,
}

enum Payload {
    Fixed(&'static str),
    /// What the broker has kept there, or else this.
    Retained(&'static str),
}

/// The end of a session that never was.
const BYE: &str = r#"{"v":1,"type":"bye","reason":"porthole doctor"}"#;

/// All topic classes of a device, as `viewer` would use them (docs/protocol.md, Topics).
fn trials(topics: &Topics, viewer: &Id) -> Vec<Trial> {
    let written =
        |topic: String, payload| Trial { filter: topic.clone(), topic, usage: Use::Writes, payload };
    let read = |filter: &str, topic: String, payload| Trial {
        filter: topics.leaf(filter),
        topic,
        usage: Use::Reads,
        payload: Payload::Fixed(payload),
    };
    vec![
        read("signal/+/up", topics.up(viewer), BYE),
        // A daemon passes over this in silence, and over nothing else.
        read("set/#", topics.leaf("set/"), PROBE),
        read("do/#", topics.leaf("do/"), PROBE),
        written(topics.down(viewer), Payload::Fixed(BYE)),
        written(topics.leaf("event"), Payload::Fixed(r#"{"v":1,"type":"doctor"}"#)),
        // Last: what is kept there has arrived by then, with the answers to the ones before.
        written(topics.leaf("availability"), Payload::Retained("offline")),
        written(topics.leaf("info"), Payload::Retained(r#"{"v":1}"#)),
        written(topics.leaf("state"), Payload::Retained(r#"{"v":1}"#)),
    ]
}

/// Connects with the client id and the credentials of `config`, and leaves again.
///
/// # Errors
/// The broker is not there, or does not let us in.
pub async fn try_connect(config: &MqttClientConfig) -> Result<(), ProbeError> {
    let (probing, ..) = connect_bare(config).await?;
    probing.goodbye().await;
    Ok(())
}

/// A connection, what the broker said, and after how long.
async fn connect_bare(
    config: &MqttClientConfig,
) -> Result<(ProbeConnection, ConnAckLimits, Duration), ProbeError> {
    tls::install_crypto_provider();
    let bare = MqttClientConfig { will: None, ..config.clone() };
    let options = WireOptions::of(&bare)?;
    let mut choice = VersionChoice::default();
    let (probing, connack, took) = loop {
        let version = choice.next();
        let mut probing = ProbeConnection::new(&bare, options.open(version, false, REQUESTS));
        let started = Instant::now();
        match probing.greeting().await {
            Ok(connack) => break (probing, connack, started.elapsed()),
            Err((error, because)) => {
                // A broker that hangs up is asked a second time before the other version.
                let is_worth_it = choice.failed(version, because)
                    || (because == NoConnAck::HungUp && version == Version::Five);
                if !is_worth_it {
                    return Err(error);
                }
            }
        }
    };
    if let Some(words) = reason::impossible(&connack, &probing.url) {
        return Err(ProbeError::Broker(words));
    }
    Ok((probing, connack, took))
}

/// Connects once, with the client id and the credentials of `config`, and tries every topic that a
/// device with `topics` uses. `viewer` names the signal topics that it speaks on. The will and the
/// subscriptions of `config` are not used.
pub async fn probe(config: &MqttClientConfig, topics: &Topics, viewer: &Id) -> Result<Probed, ProbeError> {
    let (mut probing, connack, took) = connect_bare(config).await?;
    let keeps = connack.retains;
    let trials = trials(topics, viewer);
    let granted = probing.subscribe(&trials).await?;
    let mut tried = Vec::with_capacity(trials.len());
    for (trial, granted) in trials.iter().zip(granted) {
        let outcome = probing.try_topic(trial, granted).await?;
        tried.push(Tried { topic: trial.filter.clone(), usage: trial.usage, outcome });
    }
    let availability = probing.retained.get(&topics.leaf("availability"));
    let availability = availability.map(|payload| String::from_utf8_lossy(payload).into_owned());
    probing.goodbye().await;
    Ok(Probed { connack: took, topics: tried, keeps_messages: keeps, availability })
}

/// One connection and what came over it.
struct ProbeConnection {
    client: WireClient,
    events: WireLoop,
    url: BrokerUrl,
    client_id: String,
    connacked: bool,
    /// What the broker has kept, by topic.
    retained: HashMap<String, Bytes>,
    /// What came back: topic and payload.
    echoes: Vec<(String, Bytes)>,
}

impl ProbeConnection {
    fn new(config: &MqttClientConfig, (client, events): (WireClient, WireLoop)) -> Self {
        Self {
            client,
            events,
            url: config.url.clone(),
            client_id: config.client_id.clone(),
            connacked: false,
            retained: HashMap::new(),
            echoes: Vec::new(),
        }
    }

    /// The broker's connack, or why there is none and what that says of its version.
    async fn greeting(&mut self) -> Result<ConnAckLimits, (ProbeError, NoConnAck)> {
        let silent = || {
            let text =
                format!("the broker {} does not answer: check the port and firewalls between", self.url);
            (ProbeError::Broker(text), NoConnAck::Unrelated)
        };
        match timeout_at(Deadline::now() + GREETING_LIMIT, self.events.poll()).await {
            Ok(Err(error)) => {
                let words = reason::explain(&error, &self.url, &self.client_id, false);
                let is_login = reason::is_wrong_login(&error);
                let refused =
                    if is_login { ProbeError::Credentials(words) } else { ProbeError::Broker(words) };
                Err((refused, reason::no_greeting_because(&error)))
            }
            Ok(Ok(WireEvent::ConnAck(connack))) => {
                self.connacked = true;
                Ok(connack)
            }
            Ok(Ok(_)) | Err(_) => Err(silent()),
        }
    }

    /// Whether each was granted.
    async fn subscribe(&mut self, trials: &[Trial]) -> Result<Vec<bool>, ProbeError> {
        let filters: Vec<String> = trials.iter().map(|trial| trial.filter.clone()).collect();
        if !self.client.subscribe(&filters) {
            return Err(ProbeError::Broker("one of the topics is none: check mqtt.root".into()));
        }
        let answer = self.until(Deadline::now() + ANSWER_LIMIT, |event| match event {
            WireEvent::Subscribed(granted) => Some(granted.clone()),
            _ => None,
        });
        let granted = answer.await?.ok_or_else(|| {
            ProbeError::Broker(format!(
                "the broker {} does not answer a subscription: look into its log",
                self.url
            ))
        })?;
        Ok((0..trials.len()).map(|at| granted.get(at) == Some(&true)).collect())
    }

    async fn try_topic(&mut self, trial: &Trial, granted: bool) -> Result<TopicOutcome, ProbeError> {
        if !granted && trial.usage == Use::Reads {
            return Ok(TopicOutcome::SubscribeRefused);
        }
        let payload = match trial.payload {
            Payload::Fixed(payload) => Bytes::from_static(payload.as_bytes()),
            Payload::Retained(otherwise) => {
                let retained = self.retained.get(&trial.topic).cloned();
                retained.unwrap_or_else(|| Bytes::from_static(otherwise.as_bytes()))
            }
        };
        self.echoes.clear();
        if !self.client.publish(&Outgoing::signal(trial.topic.clone(), payload.clone())) {
            return Ok(TopicOutcome::PublishRefused);
        }
        let answer = self.until(Deadline::now() + ANSWER_LIMIT, |event| match event {
            WireEvent::Acknowledged(is_taken) => Some(*is_taken),
            _ => None,
        });
        match answer.await? {
            None => return Ok(TopicOutcome::NoAnswer),
            Some(true) => {}
            Some(false) => return Ok(TopicOutcome::PublishRefused),
        }
        if !granted {
            return Ok(TopicOutcome::SubscribeRefused);
        }
        let wanted = (trial.topic.clone(), payload);
        let came_back = self.echo(&wanted, Deadline::now() + ECHO_LIMIT).await?;
        Ok(if came_back { TopicOutcome::Passed } else { TopicOutcome::NoEcho })
    }

    async fn echo(&mut self, wanted: &(String, Bytes), limit: Deadline) -> Result<bool, ProbeError> {
        loop {
            if self.echoes.contains(wanted) {
                return Ok(true);
            }
            let another = self.until(limit, |event| matches!(event, WireEvent::Message(_)).then_some(()));
            if another.await?.is_none() {
                return Ok(self.echoes.contains(wanted));
            }
        }
    }

    /// Drives the connection until `find` finds something, or `None` at `limit`.
    async fn until<T>(
        &mut self,
        limit: Deadline,
        find: impl Fn(&WireEvent) -> Option<T>,
    ) -> Result<Option<T>, ProbeError> {
        loop {
            let polled = match timeout_at(limit, self.events.poll()).await {
                Err(_) => return Ok(None),
                Ok(Ok(event)) => event,
                Ok(Err(error)) => {
                    let words = reason::explain(&error, &self.url, &self.client_id, self.connacked);
                    return Err(ProbeError::Broker(words));
                }
            };
            if let WireEvent::Message(message) = &polled {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                if message.retain {
                    self.retained.insert(topic, message.payload.clone());
                } else {
                    self.echoes.push((topic, message.payload.clone()));
                }
            }
            if let Some(found) = find(&polled) {
                return Ok(Some(found));
            }
        }
    }

    /// Leaves as it should be; a broker that does not care is no matter.
    async fn goodbye(mut self) {
        if self.client.disconnect() {
            let limit = Deadline::now() + ECHO_LIMIT;
            while let Ok(Ok(event)) = timeout_at(limit, self.events.poll()).await {
                if matches!(event, WireEvent::DisconnectSent) {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::topic::Inbound;

    #[test]
    fn what_is_sent_to_a_daemon_is_passed_over_in_silence() {
        let topics = Topics::new("porthole", &Id::new("cam").expect("an id"));
        let viewer = Id::new("doctor-1").expect("an id");
        let trials = trials(&topics, &viewer);
        for trial in trials.iter().filter(|trial| trial.usage == Use::Reads) {
            match topics.parse(&trial.topic) {
                // The router's own test holds that it gets no answer.
                Inbound::Set("") | Inbound::Do("") => {
                    assert!(matches!(trial.payload, Payload::Fixed(PROBE)));
                }
                Inbound::Signal(from) => {
                    assert_eq!(from, viewer);
                    let Payload::Fixed(payload) = trial.payload else { panic!("not fixed") };
                    let up = crate::signaling::message::Up::parse(payload.as_bytes()).expect("a message");
                    assert!(matches!(up.kind, crate::signaling::message::UpKind::Bye { .. }));
                }
                other => panic!("{} means something to a daemon: {other:?}", trial.topic),
            }
        }
        let filters: Vec<&str> = trials.iter().map(|trial| trial.filter.as_str()).collect();
        for subscribed in topics.subscriptions() {
            assert!(filters.contains(&subscribed.as_str()), "{subscribed} is not tried");
        }
        for written in ["availability", "info", "state", "event"] {
            assert!(filters.contains(&topics.leaf(written).as_str()), "{written} is not tried");
        }
    }

    #[test]
    fn what_cannot_be_told_is_no_failure() {
        assert_eq!(TopicOutcome::Passed.usable(Use::Reads), Some(true));
        assert_eq!(TopicOutcome::SubscribeRefused.usable(Use::Reads), Some(false));
        assert_eq!(TopicOutcome::NoEcho.usable(Use::Reads), Some(false));
        assert_eq!(TopicOutcome::PublishRefused.usable(Use::Reads), None);
        assert_eq!(TopicOutcome::PublishRefused.usable(Use::Writes), Some(false));
        assert_eq!(TopicOutcome::SubscribeRefused.usable(Use::Writes), None);
        assert_eq!(TopicOutcome::NoAnswer.usable(Use::Writes), Some(false));
    }
}
