//! What goes through a client: messages both ways, and word of the connection.

use bytes::Bytes;

/// The longest payload that reaches the application whole; of a longer one it gets this much, so that
/// a flood of huge messages cannot fill the memory. Every limit of the protocol is below it.
pub const KEPT_PAYLOAD_BYTES: usize = 256 * 1024;

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// Sent at most once instead of at least once.
    pub qos0: bool,
    /// Told back to whoever asked for an answer with it (MQTT 5 correlation data).
    pub correlation: Option<Bytes>,
}

impl Outgoing {
    /// A message for whoever listens now, with QoS 1.
    pub fn signal(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), retain: false, qos0: false, correlation: None }
    }

    /// A message that the broker keeps, with QoS 1.
    pub fn retained(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { retain: true, ..Self::signal(topic, payload) }
    }
}

/// A message from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Where it was published.
    pub topic: String,
    /// Its payload, cut at [`KEPT_PAYLOAD_BYTES`].
    pub payload: Bytes,
    /// Sent because of our subscription, not because somebody published it just now.
    pub retain: bool,
    /// Where the sender wants an answer, if it said so (MQTT 5).
    pub answer_to: Option<AnswerTo>,
}

/// Where an answer is wanted (MQTT 5 section 3.3.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerTo {
    /// The response topic: whatever the sender wrote, unchecked.
    pub topic: String,
    /// Goes back as it came.
    pub correlation: Option<Bytes>,
}

/// What a client tells the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MqttEvent {
    /// The broker is there and has acknowledged the subscriptions.
    Connected,
    /// The broker is gone, or cannot be reached for another reason than before.
    Disconnected {
        /// In plain words, with what to do.
        reason: String,
    },
    /// A message on a subscribed topic.
    Message(Incoming),
}

/// Whether a message can be published there.
pub(super) fn is_topic(topic: &str) -> bool {
    (1..=usize::from(u16::MAX)).contains(&topic.len()) && !topic.contains(['+', '#', '\0'])
}
