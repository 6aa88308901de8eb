//! Both ends of the protocol by hand: a viewer that says whatever it likes, a dashboard that listens.

use porthole::access::link::ViewingLink;
use rumqttc::MqttOptions;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::PATIENCE;
use super::client::Client;
use super::daemon::DEVICE;

/// What Debian's Chromium offers for one `recvonly` video, with its fingerprint and host candidates.
pub const OFFER: &str = include_str!("chromium-offer.sdp");

/// The same offer as of another peer connection: with its own `o=` line.
pub fn offer_of(origin: u64) -> String {
    let (before, rest) = OFFER.split_once("o=- ").expect("an o= line");
    let (_, after) = rest.split_once(' ').expect("more of the o= line");
    format!("{before}o=- {origin} {after}")
}

/// The same offer of a browser that plays only the constrained baseline profile, as a Firefox does.
pub fn baseline_offer() -> String {
    let other = |line: &str| match line.split_once("profile-level-id=") {
        Some((before, _)) => format!("{before}profile-level-id=42e01f\r\n"),
        None => format!("{line}\r\n"),
    };
    OFFER.lines().map(other).collect()
}

/// A viewer's half of the signalling.
pub struct Viewer {
    pub id: String,
    client: Client,
}

impl Viewer {
    /// Connects and listens for what comes down.
    pub async fn connect(port: u16, id: &str) -> Self {
        Self::connect_at("127.0.0.1", port, id).await
    }

    /// The same at another host.
    pub async fn connect_at(host: &str, port: u16, id: &str) -> Self {
        let filters = [format!("porthole/{DEVICE}/signal/{id}/down")];
        let client = Client::enter(MqttOptions::new(id, host, port), &filters).await;
        Self { id: id.to_owned(), client }
    }

    /// The same at another address than 127.0.0.1.
    pub async fn at(host: &str, port: u16, id: &str) -> Self {
        let topics = [format!("porthole/{DEVICE}/signal/{id}/down")];
        Self { id: id.to_owned(), client: Client::open(host, port, id, &topics, None).await }
    }

    /// Publishes bytes as they are.
    pub async fn raw(&self, payload: impl Into<Vec<u8>>) {
        self.client.publish(&format!("porthole/{DEVICE}/signal/{}/up", self.id), payload).await;
    }

    /// Publishes a message.
    pub async fn say(&self, message: Value) {
        self.raw(message.to_string()).await;
    }

    /// Offers `sdp` in `session`.
    pub async fn offer(&self, session: &str, sdp: &str) {
        self.say(json!({"type": "offer", "session": session, "sdp": sdp})).await;
    }

    /// The next message, of whatever type.
    pub async fn next(&mut self, what: &str) -> Value {
        self.client.next(what).await.json()
    }

    /// The next message that is no candidate.
    pub async fn reply(&mut self, what: &str) -> Value {
        loop {
            let message = self.next(what).await;
            if message["type"] != "candidate" {
                return message;
            }
        }
    }

    /// The next message that is no candidate must be of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let message = self.reply(kind).await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next message that is no candidate must be an error with this code.
    pub async fn refused(&mut self, code: &str) -> Value {
        let message = self.reply(code).await;
        assert_eq!((&message["type"], &message["code"]), (&"error".into(), &code.into()), "{message}");
        assert!(message["message"].as_str().is_some_and(|text| text.len() > 5), "no words: {message}");
        message
    }
}

/// Listens to what the device says of itself, and asks for things.
pub struct Dashboard {
    client: Client,
    state: Option<Value>,
    events: Vec<Value>,
    info: Option<Value>,
    availability: Option<String>,
    /// Whether the latest of each was a retained one.
    pub retained: bool,
}

impl Dashboard {
    /// Connects and subscribes.
    pub async fn connect(port: u16) -> Self {
        Self::open("127.0.0.1", port).await
    }

    /// The same at another host.
    pub async fn open(host: &str, port: u16) -> Self {
        Self::enter(MqttOptions::new(Self::some_id(), host, port)).await
    }

    /// The same with a link's grant as the way into the broker.
    pub async fn invited(port: u16, link: &ViewingLink) -> Self {
        let (name, seed) = link.grant.as_ref().expect("a grant");
        let mut options = MqttOptions::new(Self::some_id(), "127.0.0.1", port);
        options.set_credentials(name.as_str(), seed.bearer());
        Self::enter(options).await
    }

    fn some_id() -> String {
        format!("dashboard-{:016x}", rand::random::<u64>())
    }

    async fn enter(options: MqttOptions) -> Self {
        let filters =
            ["state", "info", "event", "availability"].map(|leaf| format!("porthole/{DEVICE}/{leaf}"));
        let client = Client::enter(options, &filters).await;
        Self { client, state: None, events: Vec::new(), info: None, availability: None, retained: false }
    }

    /// Publishes to `<root>/<device>/<topic>`.
    pub async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(&format!("porthole/{DEVICE}/{topic}"), payload).await;
    }

    /// The same, kept by the broker.
    pub async fn publish_retained(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish_retained(&format!("porthole/{DEVICE}/{topic}"), payload).await;
    }

    async fn listen(&mut self, what: &str) {
        let message = if let Some(message) = self.client.arrived() {
            message
        } else {
            let Ok(message) = timeout(PATIENCE, self.client.next(what)).await else {
                panic!(
                    "nothing came while waiting for {what}; the latest state is {:#}",
                    self.state.clone().unwrap_or_default()
                );
            };
            message
        };
        self.retained = message.retain;
        match message.topic.rsplit('/').next() {
            Some("state") => self.state = Some(message.json()),
            Some("info") => self.info = Some(message.json()),
            Some("event") => self.events.push(message.json()),
            _ => self.availability = Some(message.text()),
        }
    }

    /// Waits for a `state` that fits; the latest counts too.
    pub async fn state(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let started = std::time::Instant::now();
        loop {
            if let Some(state) = self.state.as_ref().filter(|state| fits(state)) {
                return state.clone();
            }
            let late = started.elapsed() > PATIENCE * 2;
            assert!(
                !late,
                "no state came with: {what}; the latest is {:#}",
                self.state.clone().unwrap_or_default()
            );
            self.listen(what).await;
        }
    }

    /// Forgets every `state` published until now.
    pub fn forget_state(&mut self) {
        while let Some(message) = self.client.arrived() {
            if message.topic.ends_with("/event") {
                self.events.push(message.json());
            }
        }
        self.state = None;
    }

    /// Waits for a `state` published after this call that fits.
    pub async fn new_state(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.forget_state();
        self.state(what, fits).await
    }

    /// Waits for a number of viewers.
    pub async fn viewers(&mut self, count: usize) -> Value {
        self.state(&format!("{count} viewers"), |state| state["viewers"]["count"] == count).await
    }

    /// Waits for a camera state.
    pub async fn camera(&mut self, wanted: &str) -> Value {
        self.state(&format!("camera {wanted}"), |state| state["camera"]["state"] == wanted).await
    }

    /// Takes the first event that fits, waiting for it if need be.
    pub async fn event(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.events.iter().position(&fits) {
                return self.events.remove(at);
            }
            self.listen(what).await;
        }
    }

    /// Events of this type that came and that nobody has taken.
    pub fn left(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["type"] == kind).collect()
    }

    /// Waits for the `command` event of `topic`.
    pub async fn command(&mut self, topic: &str) -> Value {
        self.event(topic, |event| event["type"] == "command" && event["topic"] == topic).await
    }

    /// Asks for something and waits for its confirmation.
    pub async fn ask(&mut self, topic: &str, payload: impl Into<Vec<u8>>) -> Value {
        self.publish(topic, payload).await;
        self.command(topic).await
    }

    /// Waits for an `info` that fits; the latest counts too.
    pub async fn info(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(info) = self.info.as_ref().filter(|info| fits(info)) {
                return info.clone();
            }
            self.listen(what).await;
        }
    }

    /// Waits until `availability` says `wanted`.
    pub async fn availability(&mut self, wanted: &str) {
        while self.availability.as_deref() != Some(wanted) {
            self.listen(&format!("availability {wanted}")).await;
        }
    }
}
