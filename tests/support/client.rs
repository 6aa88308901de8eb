//! An MQTT client that is none of the code under test: subscribes, publishes, and waits for messages.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::PATIENCE;

/// Larger than anything that a test sends.
const MAX_PACKET: usize = 64 * 1024 * 1024;
/// Messages that may wait for the test.
const INBOX: usize = 100_000;

/// A message that arrived.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
}

impl Message {
    /// Its payload as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| {
            panic!("{} holds no JSON: {error}: {:?}", self.topic, String::from_utf8_lossy(&self.payload))
        })
    }

    /// Its payload as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).expect("text")
    }
}

/// A connected client; connects and subscribes again by itself. Cut off on drop, so that its will speaks.
pub struct Client {
    mqtt: AsyncClient,
    inbox: mpsc::Receiver<Message>,
    task: AbortHandle,
}

impl Client {
    /// Connects to 127.0.0.1 and returns when `filters` are subscribed.
    pub async fn connect(port: u16, id: &str, filters: &[String]) -> Self {
        Self::connect_with(port, id, filters, None).await
    }

    /// The same with a will: topic and payload.
    pub async fn connect_with(
        port: u16,
        id: &str,
        filters: &[String],
        will: Option<(String, String)>,
    ) -> Self {
        Self::open("127.0.0.1", port, id, filters, will).await
    }

    /// The same at another host.
    pub async fn open(
        host: &str,
        port: u16,
        id: &str,
        filters: &[String],
        will: Option<(String, String)>,
    ) -> Self {
        let mut options = MqttOptions::new(id, host, port);
        if let Some((topic, payload)) = will {
            options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, false));
        }
        Self::enter(options, filters).await
    }

    /// The same with whatever else is in `options`.
    pub async fn enter(mut options: MqttOptions, filters: &[String]) -> Self {
        options.set_keep_alive(Duration::from_secs(30)).set_max_packet_size(MAX_PACKET, MAX_PACKET);
        let (client, mut events) = AsyncClient::new(options, 1000);
        // Without it each message waits up to 40 ms for the acknowledgement of the one before.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        let (out, inbox) = mpsc::channel(INBOX);
        let (ready, mut subscribed) = mpsc::channel(1);
        let (asking, filters) = (client.clone(), filters.to_vec());
        let task = tokio::spawn(async move {
            let mut waiting = 0;
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        waiting = filters.len();
                        for filter in &filters {
                            let _ = asking.try_subscribe(filter, QoS::AtLeastOnce);
                        }
                        if waiting == 0 {
                            let _ = ready.try_send(());
                        }
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        waiting -= 1;
                        if waiting == 0 {
                            let _ = ready.try_send(());
                        }
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        let payload = message.payload.to_vec();
                        let _ =
                            out.try_send(Message { topic: message.topic, payload, retain: message.retain });
                    }
                    Ok(_) => {}
                    // The broker is away: asked again in a moment.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        let this = Self { mqtt: client, inbox, task: task.abort_handle() };
        timeout(PATIENCE, subscribed.recv()).await.expect("a broker in time").expect("a living client");
        this
    }

    /// Publishes with QoS 1.
    pub async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.mqtt.publish(topic, QoS::AtLeastOnce, false, payload).await.expect("a living client");
    }

    /// Publishes a message that the broker keeps.
    pub async fn publish_retained(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.mqtt.publish(topic, QoS::AtLeastOnce, true, payload).await.expect("a living client");
    }

    /// The next message.
    pub async fn next(&mut self, what: &str) -> Message {
        // A little longer than whoever waits with more to say about it.
        let message = timeout(PATIENCE + Duration::from_secs(1), self.inbox.recv()).await;
        message.unwrap_or_else(|_| panic!("nothing came while waiting for {what}")).expect("a living client")
    }

    /// A message that has arrived already.
    pub fn arrived(&mut self) -> Option<Message> {
        self.inbox.try_recv().ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}
