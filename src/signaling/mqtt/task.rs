//! The one task of a link: connect, subscribe, carry messages both ways, and again.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, LastWill, Packet, Publish, PublishProperties, SubAck,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::link_config::{LinkConfig, LinkError};
use super::message::{AnswerTo, Incoming, KEPT_PAYLOAD_BYTES, LinkEvent, is_topic};
use super::publish::{BrokerConnection, IN_FLIGHT, pump, qos};
use super::queue::LinkEventQueue;
use super::shared::Shared;
use super::{reason, retry, tls};
use crate::signaling::broker_url::{BrokerUrl, Scheme};

/// The largest packet that the broker may send us; it drops larger ones (MQTT 5 section 3.1.2.11.4).
const MAX_PACKET_BYTES: u32 = 12 * 1024 * 1024;
/// The same for a WebSocket. Mosquitto 2.0 sends these at 40 kB/s, and answers to pings wait behind:
/// with 10 MB the broker would seem dead for minutes.
const MAX_WEBSOCKET_PACKET_BYTES: u32 = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(10);
/// Pings without any answer before the broker counts as dead. More than one, because an answer may
/// queue behind a large message on a slow network.
const PINGS_UNANSWERED: u32 = 3;
/// A write into a dead connection can hang; rumqttc reports something at least at every ping.
const STALLED: Duration = Duration::from_secs(40);
const CONNECT_LIMIT_S: u64 = 10;
/// Response topics and correlation data that are kept.
const MAX_ANSWER_TOPIC_BYTES: usize = 512;
const MAX_CORRELATION_BYTES: usize = 1024;
/// A connection that lasted this long was a good one: the next pause is short again.
const PROVEN: Duration = Duration::from_secs(10);

/// Translates the configuration for rumqttc.
pub(super) fn options(config: &LinkConfig) -> Result<MqttOptions, LinkError> {
    let url = &config.url;
    let (host, transport) = match url.scheme() {
        Scheme::Mqtt => (url.host().to_owned(), Transport::tcp()),
        Scheme::Ws => (url.address(), Transport::ws()),
        Scheme::Mqtts => (url.host().to_owned(), Transport::tls_with_config(tls_configuration(config)?)),
        Scheme::Wss => (url.address(), Transport::wss_with_config(tls_configuration(config)?)),
    };
    if let Some(path) = config.tls.first().filter(|_| !url.is_tls()) {
        return Err(LinkError::TlsFilesWithoutTls { path: path.to_owned(), url: Box::new(url.clone()) });
    }
    let mut options = MqttOptions::new(config.client_id.clone(), host, url.port());
    let mut properties = ConnectProperties::new();
    let web = matches!(url.scheme(), Scheme::Ws | Scheme::Wss);
    properties.max_packet_size = Some(if web { MAX_WEBSOCKET_PACKET_BYTES } else { MAX_PACKET_BYTES });
    properties.receive_maximum = Some(IN_FLIGHT);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_transport(transport)
        .set_keep_alive(PING_EVERY)
        .set_clean_start(true)
        .set_connection_timeout(CONNECT_LIMIT_S)
        .set_connect_properties(properties)
        .set_network_options(network)
        .set_outgoing_inflight_upper_limit(IN_FLIGHT);
    let username = config.username.as_deref().or(url.username());
    let password = config.password.as_deref().or(url.password());
    if username.is_some() || password.is_some() {
        options.set_credentials(username.unwrap_or_default(), password.unwrap_or_default());
    }
    if let Some(will) = &config.will {
        if !is_topic(&will.topic) {
            return Err(LinkError::WillTopic { topic: will.topic.clone() });
        }
        options.set_last_will(LastWill::new(
            will.topic.clone(),
            will.payload.to_vec(),
            qos(will.qos0),
            will.retain,
            None,
        ));
    }
    Ok(options)
}

fn tls_configuration(config: &LinkConfig) -> Result<TlsConfiguration, LinkError> {
    Ok(TlsConfiguration::Rustls(tls::client_config(&config.tls)?))
}

pub(super) struct LinkTask {
    url: BrokerUrl,
    client_id: String,
    subscriptions: Vec<String>,
    options: MqttOptions,
    pub(super) shared: Arc<Shared>,
    events: mpsc::Sender<LinkEvent>,
    waiting: LinkEventQueue,
    /// What the log said last about a missing connection.
    last_logged: Option<String>,
}

/// How a connection ended.
enum End {
    Closed,
    Lost(String),
}

/// Why a connection is not driven to its next event.
enum Interrupted {
    /// Nothing moves any more, not even a ping.
    Stalled,
    /// The link closes and the broker has not greeted yet.
    Abandoned,
}

impl LinkTask {
    pub(super) fn new(
        config: LinkConfig,
        options: MqttOptions,
        shared: Arc<Shared>,
        events: mpsc::Sender<LinkEvent>,
    ) -> Self {
        let LinkConfig { url, client_id, subscriptions, .. } = config;
        Self {
            url,
            client_id,
            subscriptions,
            options,
            shared,
            events,
            waiting: LinkEventQueue::default(),
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
            let End::Lost(reason) = end else { return };
            if self.shared.is_closing() {
                return;
            }
            self.log_lost(reason);
            let proven = connection.ready.is_some_and(|since| since.elapsed() >= PROVEN);
            failures = if proven { 1 } else { failures.saturating_add(1) };
            self.shared.beat();
            self.wait(retry::pause(failures, rand::random())).await;
            if self.shared.is_closing() {
                return;
            }
        }
    }

    /// One connection. Everything of rumqttc's is new each time: it would otherwise carry packet ids,
    /// half-sent messages and collisions into the next one.
    async fn serve(&mut self, connection: &mut BrokerConnection) -> End {
        let (client, mut eventloop) = AsyncClient::new(self.options.clone(), usize::from(IN_FLIGHT) + 4);
        loop {
            self.shared.beat();
            let handled = match self.poll(&client, &mut eventloop, connection).await {
                Ok(Ok(event)) => self.handle(event, &client, &mut eventloop, connection),
                Ok(Err(error)) => {
                    Some(End::Lost(reason::explain(&error, &self.url, &self.client_id, connection.greeted)))
                }
                Err(Interrupted::Stalled) => {
                    Some(End::Lost(format!("the broker {} no longer takes what we send", self.url)))
                }
                Err(Interrupted::Abandoned) => Some(End::Closed),
            };
            match handled {
                // Ours was the last word, so the end of the connection is no loss.
                Some(End::Lost(_)) if connection.goodbye_sent => return End::Closed,
                Some(end) => return end,
                None => pump(&self.shared, &client, connection),
            }
        }
    }

    /// Drives the connection to its next event, meanwhile serving both queues. `poll` is never dropped
    /// half-way, since it may be in the middle of writing a large message; only a connect that nobody waits for any more is.
    async fn poll(
        &mut self,
        client: &AsyncClient,
        eventloop: &mut EventLoop,
        connection: &mut BrokerConnection,
    ) -> Result<Result<Event, ConnectionError>, Interrupted> {
        let shared = Arc::clone(&self.shared);
        let mut poll = pin!(eventloop.poll());
        let mut stalled = pin!(tokio::time::sleep(STALLED));
        loop {
            tokio::select! {
                polled = &mut poll => return Ok(polled),
                permit = self.events.reserve(), if !self.waiting.is_empty() => deliver(permit, &mut self.waiting),
                () = shared.wake.notified() => {
                    // A broker that has not greeted is away: it may be seconds until the connect is given up.
                    if shared.is_closing() && !connection.greeted {
                        return Err(Interrupted::Abandoned);
                    }
                    pump(&shared, client, connection);
                }
                () = &mut stalled => return Err(Interrupted::Stalled),
            }
        }
    }

    fn handle(
        &mut self,
        event: Event,
        client: &AsyncClient,
        eventloop: &mut EventLoop,
        connection: &mut BrokerConnection,
    ) -> Option<End> {
        match event {
            Event::Incoming(packet) => {
                connection.unanswered_pings = 0;
                return self.handle_packet(packet, client, connection);
            }
            Event::Outgoing(rumqttc::Outgoing::PingReq) => {
                connection.unanswered_pings += 1;
                // rumqttc gives up at the second ping without an answer unless told otherwise.
                eventloop.state.await_pingresp = connection.unanswered_pings >= PINGS_UNANSWERED;
                self.report_losses();
            }
            Event::Outgoing(rumqttc::Outgoing::Disconnect) => return Some(End::Closed),
            Event::Outgoing(_) => {}
        }
        None
    }

    fn handle_packet(
        &mut self,
        packet: Packet,
        client: &AsyncClient,
        connection: &mut BrokerConnection,
    ) -> Option<End> {
        match packet {
            Packet::ConnAck(greeting) => return self.greeted(&greeting, client, connection),
            Packet::SubAck(answer) => return self.subscribed(&answer, connection),
            Packet::Publish(message) => self.receive(&message),
            Packet::PubAck(_) => connection.unacknowledged = connection.unacknowledged.saturating_sub(1),
            _ => {}
        }
        None
    }

    fn greeted(
        &mut self,
        greeting: &ConnAck,
        client: &AsyncClient,
        connection: &mut BrokerConnection,
    ) -> Option<End> {
        connection.greeted = true;
        connection.max_packet = greeting.properties.as_ref().and_then(|p| p.max_packet_size);
        if self.subscriptions.is_empty() {
            self.ready(connection);
            return None;
        }
        let filters = self.subscriptions.iter().map(|filter| Filter::new(filter.clone(), QoS::AtLeastOnce));
        // The request queue of a new connection is empty, so only a filter that is none gets here.
        client.try_subscribe_many(filters).err().map(|_| {
            End::Lost(format!("one of the topic filters {:?} is none: check mqtt.root", self.subscriptions))
        })
    }

    fn subscribed(&mut self, answer: &SubAck, connection: &mut BrokerConnection) -> Option<End> {
        let refused: Vec<&str> = self
            .subscriptions
            .iter()
            .zip(&answer.return_codes)
            .filter(|(_, code)| !matches!(code, SubscribeReasonCode::Success(_)))
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
        self.waiting.push(LinkEvent::Connected);
    }

    fn receive(&mut self, message: &Publish) {
        let Ok(topic) = std::str::from_utf8(&message.topic) else {
            debug!("ignored a message whose topic is no UTF-8");
            return;
        };
        // A copy, so that a short payload does not keep a large receive buffer alive.
        let payload =
            Bytes::copy_from_slice(&message.payload[..message.payload.len().min(KEPT_PAYLOAD_BYTES)]);
        let answer_to = message.properties.as_ref().and_then(answer_to);
        let incoming = Incoming { topic: topic.to_owned(), payload, retain: message.retain, answer_to };
        self.waiting.push(LinkEvent::Message(incoming));
    }

    /// One line and one event for each kind of trouble, not one for each try.
    fn log_lost(&mut self, reason: String) {
        if self.last_logged.as_ref() == Some(&reason) {
            debug!("still: {reason}");
            return;
        }
        warn!("no connection to the broker, trying again: {reason}");
        self.last_logged = Some(reason.clone());
        self.waiting.push(LinkEvent::Disconnected { reason });
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
        loop {
            tokio::select! {
                () = &mut over => return,
                permit = self.events.reserve(), if !self.waiting.is_empty() => deliver(permit, &mut self.waiting),
                () = shared.wake.notified() => if shared.is_closing() { return },
            }
        }
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

fn deliver(
    permit: Result<mpsc::Permit<'_, LinkEvent>, mpsc::error::SendError<()>>,
    waiting: &mut LinkEventQueue,
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
