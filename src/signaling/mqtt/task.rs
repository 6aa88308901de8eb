//! The one task of a client: connect, subscribe, carry messages both ways, and again.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::client_config::{MqttClientConfig, PING_EVERY};
use super::message::{Incoming, KEPT_PAYLOAD_BYTES, MqttEvent};
use super::publish::{BrokerConnection, pump};
use super::queue::MqttEventQueue;
use super::shared::Shared;
use super::takeovers::Takeovers;
use super::version::VersionChoice;
use super::wire::{
    ConnAckLimits, IN_FLIGHT, Version, WireClient, WireError, WireEvent, WireLoop, WireMessage, WireOptions,
};
use super::{reason, retry};
use crate::signaling::broker_url::BrokerUrl;

/// Pings without any answer before the broker counts as dead. More than one, because an answer may
/// queue behind a large message on a slow network.
const PINGS_UNANSWERED: u32 = 3;
/// A write into a dead connection can hang; rumqttc reports something at least at every ping.
const STALLED: Duration = Duration::from_secs(40);
/// A connection that lasted this long was a good one: the next pause is short again.
const PROVEN: Duration = Duration::from_secs(10);
/// The task shows at least so often that it lives, also in a long pause.
const BEAT: Duration = Duration::from_secs(10);

pub(super) struct ClientTask {
    url: BrokerUrl,
    client_id: String,
    subscriptions: Vec<String>,
    options: WireOptions,
    version: VersionChoice,
    takeovers: Takeovers,
    pub(super) shared: Arc<Shared>,
    events: mpsc::Sender<MqttEvent>,
    waiting: MqttEventQueue,
    /// What the log said last about a missing connection.
    last_logged: Option<String>,
}

/// How a connection ended.
enum End {
    Closed,
    Lost(String),
    /// Another client took it over: the broker says so, or it is likely.
    TakenOver {
        reason: String,
        is_said: bool,
    },
    /// The broker is to be asked in the other version, at once.
    OtherVersion,
}

/// Why a connection is not driven to its next event.
enum Interrupted {
    /// Nothing moves any more, not even a ping.
    Stalled,
    /// The client closes and the broker has not greeted yet.
    Abandoned,
}

impl ClientTask {
    pub(super) fn new(
        config: MqttClientConfig,
        options: WireOptions,
        shared: Arc<Shared>,
        events: mpsc::Sender<MqttEvent>,
    ) -> Self {
        let MqttClientConfig { url, client_id, subscriptions, .. } = config;
        Self {
            url,
            client_id,
            subscriptions,
            options,
            version: VersionChoice::default(),
            takeovers: Takeovers::default(),
            shared,
            events,
            waiting: MqttEventQueue::default(),
            last_logged: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            let mut connection = BrokerConnection::default();
            let end = self.serve(&mut connection).await;
            self.shared.queue().go_offline();
            self.report_losses();
            if self.shared.is_closing() {
                return;
            }
            let (reason, stay_away) = match end {
                End::Closed => return,
                End::OtherVersion => continue,
                End::Lost(reason) => (reason, None),
                End::TakenOver { reason, is_said } => {
                    (reason, self.takeovers.taken_over(Instant::now(), is_said))
                }
            };
            let proven = connection.ready.is_some_and(|since| since.elapsed() >= PROVEN);
            failures = if proven { 1 } else { failures.saturating_add(1) };
            let pause = match stay_away {
                None => retry::pause(failures, rand::random()),
                // Both have the same schedule; only one of them is to come back first.
                Some(pause) => pause.mul_f64(1.0 + rand::random::<f64>()),
            };
            self.log_lost(match stay_away {
                None => reason,
                Some(_) => reason::stays_away(&reason, &self.client_id),
            });
            self.shared.beat();
            self.wait(pause).await;
            if self.shared.is_closing() {
                return;
            }
        }
    }

    /// One connection.
    async fn serve(&mut self, connection: &mut BrokerConnection) -> End {
        let version = self.version.next();
        let (client, mut eventloop) =
            self.options.open(version, self.version.is_known(), usize::from(IN_FLIGHT) + 4);
        loop {
            self.shared.beat();
            let handled = match self.poll(&client, &mut eventloop, connection).await {
                Ok(Ok(event)) => self.handle(event, version, &client, &mut eventloop, connection),
                Ok(Err(error)) => Some(self.failed(&error, version, connection)),
                Err(Interrupted::Stalled) => {
                    Some(End::Lost(format!("the broker {} no longer takes what we send", self.url)))
                }
                Err(Interrupted::Abandoned) => Some(End::Closed),
            };
            match handled {
                // Ours was the last word, so the end of the connection is no loss.
                Some(End::Lost(_)) if connection.disconnect_sent => return End::Closed,
                Some(end) => return end,
                None => pump(&self.shared, &client, connection),
            }
        }
    }

    fn failed(&mut self, error: &WireError, version: Version, connection: &BrokerConnection) -> End {
        let words = reason::explain(error, &self.url, &self.client_id, connection.connacked);
        if connection.connacked {
            self.version.lost(Instant::now());
            let is_said = reason::is_taken_over(error);
            let is_young = connection.ready.is_some_and(|since| since.elapsed() < PROVEN);
            return if is_said || (is_young && reason::is_closed(error)) {
                End::TakenOver { reason: words, is_said }
            } else {
                End::Lost(words)
            };
        }
        if self.version.failed(version, reason::no_greeting_because(error)) {
            debug!("asked again in MQTT 3.1.1: {words}");
            return End::OtherVersion;
        }
        End::Lost(words)
    }

    /// Drives the connection to its next event, meanwhile serving both queues. `poll` is never dropped
    /// half-way, since it may be in the middle of writing a large message; only a connect that nobody waits for any more is.
    async fn poll(
        &mut self,
        client: &WireClient,
        eventloop: &mut WireLoop,
        connection: &mut BrokerConnection,
    ) -> Result<Result<WireEvent, WireError>, Interrupted> {
        let shared = Arc::clone(&self.shared);
        let mut poll = pin!(eventloop.poll());
        let mut stalled = pin!(tokio::time::sleep(STALLED));
        loop {
            tokio::select! {
                polled = &mut poll => return Ok(polled),
                permit = self.events.reserve(), if !self.waiting.is_empty() => deliver(permit, &mut self.waiting),
                () = shared.wake.notified() => {
                    // A broker that has not greeted is away: it may be seconds until the connect is given up.
                    if shared.is_closing() && !connection.connacked {
                        return Err(Interrupted::Abandoned);
                    }
                    pump(&shared, client, connection);
                }
                () = tokio::time::sleep(PING_EVERY), if connection.limits.pings_too_seldom() => {
                    connection.unanswered_pings += 1;
                    if connection.unanswered_pings > PINGS_UNANSWERED || !client.probe_liveness() {
                        return Err(Interrupted::Stalled);
                    }
                }
                () = &mut stalled => return Err(Interrupted::Stalled),
            }
        }
    }

    fn handle(
        &mut self,
        event: WireEvent,
        version: Version,
        client: &WireClient,
        eventloop: &mut WireLoop,
        connection: &mut BrokerConnection,
    ) -> Option<End> {
        if !matches!(event, WireEvent::PingSent | WireEvent::DisconnectSent | WireEvent::Sent) {
            connection.unanswered_pings = 0;
        }
        match event {
            WireEvent::ConnAck(connack) => return self.connacked(connack, version, client, connection),
            WireEvent::Subscribed(granted) => return self.subscribed(&granted, connection),
            WireEvent::Message(message) => self.receive(message),
            WireEvent::Acknowledged(_) => {
                connection.unacknowledged = connection.unacknowledged.saturating_sub(1);
            }
            WireEvent::PingSent => {
                connection.unanswered_pings += 1;
                // rumqttc gives up at the second ping without an answer unless told otherwise.
                eventloop.give_up_at_next_ping(connection.unanswered_pings >= PINGS_UNANSWERED);
                self.report_losses();
            }
            WireEvent::DisconnectSent => return Some(End::Closed),
            WireEvent::Heard | WireEvent::Sent => {}
        }
        None
    }

    fn connacked(
        &mut self,
        connack: ConnAckLimits,
        version: Version,
        client: &WireClient,
        connection: &mut BrokerConnection,
    ) -> Option<End> {
        connection.connacked = true;
        if self.version.connacked(version, Instant::now()) {
            warn!(
                broker = %self.url,
                "this broker does not speak MQTT 5, so MQTT 3.1.1 is used: it cannot tell what it refuses, requests with a \
                 response topic get no answer there, and two devices with one id are not told apart"
            );
        }
        if let Some(words) = reason::impossible(&connack, &self.url) {
            return Some(End::Lost(words));
        }
        if !connack.retains {
            warn!(broker = %self.url, "this broker keeps no messages: who comes later sees nothing of the device until the next change");
        }
        connection.limits = connack;
        if self.subscriptions.is_empty() {
            self.ready(connection);
            return None;
        }
        // The request queue of a new connection is empty, so only a filter that is none gets here.
        (!client.subscribe(&self.subscriptions)).then(|| {
            End::Lost(format!("one of the topic filters {:?} is none: check mqtt.root", self.subscriptions))
        })
    }

    fn subscribed(&mut self, granted: &[bool], connection: &mut BrokerConnection) -> Option<End> {
        let refused: Vec<&str> = self
            .subscriptions
            .iter()
            .zip(granted)
            .filter(|(_, granted)| !**granted)
            .map(|(filter, _)| filter.as_str())
            .collect();
        let what = refused.join(", ");
        if !refused.is_empty() && refused.len() == self.subscriptions.len() {
            return Some(End::Lost(format!(
                "the broker {} lets us in but refuses to subscribe {what}: allow it in the broker's access list",
                self.url
            )));
        }
        if !refused.is_empty() {
            warn!(broker = %self.url, "the broker refuses to subscribe {what}: allow it in its access list");
        }
        self.ready(connection);
        None
    }

    fn ready(&mut self, connection: &mut BrokerConnection) {
        info!(broker = %self.url, client_id = %self.client_id, "connected to the broker");
        connection.ready = Some(Instant::now());
        self.last_logged = None;
        self.shared.queue().go_online(Instant::now());
        self.waiting.push(MqttEvent::Connected);
    }

    fn receive(&mut self, message: WireMessage) {
        let Ok(topic) = std::str::from_utf8(&message.topic) else {
            debug!("ignored a message whose topic is no UTF-8");
            return;
        };
        // A copy, so that a short payload does not keep a large receive buffer alive.
        let payload =
            Bytes::copy_from_slice(&message.payload[..message.payload.len().min(KEPT_PAYLOAD_BYTES)]);
        let WireMessage { retain, answer_to, .. } = message;
        let incoming = Incoming { topic: topic.to_owned(), payload, retain, answer_to };
        self.waiting.push(MqttEvent::Message(incoming));
    }

    /// One line and one event for each kind of trouble, not one for each try.
    fn log_lost(&mut self, reason: String) {
        if self.last_logged.as_ref() == Some(&reason) {
            debug!("still: {reason}");
            return;
        }
        warn!("no connection to the broker, trying again: {reason}");
        self.last_logged = Some(reason.clone());
        self.waiting.push(MqttEvent::Disconnected { reason });
    }

    fn report_losses(&mut self) {
        let unsent = self.shared.queue().take_lost();
        let unread = self.waiting.take_lost();
        if unsent + unread > 0 {
            warn!(unsent, unread, "messages dropped because a queue was full or they waited too long");
        }
    }

    async fn wait(&mut self, pause: Duration) {
        let shared = Arc::clone(&self.shared);
        let mut over = pin!(tokio::time::sleep(pause));
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                () = &mut over => return,
                _ = beat.tick() => shared.beat(),
                permit = self.events.reserve(), if !self.waiting.is_empty() => deliver(permit, &mut self.waiting),
                () = shared.wake.notified() => if shared.is_closing() { return },
            }
        }
    }
}

fn deliver(
    permit: Result<mpsc::Permit<'_, MqttEvent>, mpsc::error::SendError<()>>,
    waiting: &mut MqttEventQueue,
) {
    match permit {
        Ok(permit) => {
            if let Some(event) = waiting.pop() {
                permit.send(event);
            }
        }
        // Nobody listens any more; publishing goes on.
        Err(_) => waiting.clear(),
    }
}
