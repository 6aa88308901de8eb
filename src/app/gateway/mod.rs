//! Between the MQTT link and the rest: routes what arrives, publishes what the device says.

mod announce;
mod commands;
mod router;
mod stills;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::adjustments::Adjustments;
use super::privacy::PrivacySwitch;
use crate::access::proof::PublicKey;
use crate::broker::OwnCredentials;
use crate::config::{BrokerChoice, Commands, Config, HomeAssistant, Snapshots};
use crate::dashboard::documents::Identity;
use crate::dashboard::homeassistant;
use crate::media::{self, Media};
use crate::peer::Replies;
use crate::sessions::{SessionEvent, Sessions};
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::message::Down;
use crate::signaling::mqtt::{self, Link, LinkConfig, LinkError, LinkEvent, Outgoing, TlsFiles};
use crate::signaling::topic::{Id, Topics};
use crate::stream::Fanout;
use announce::Announcer;
use router::Router;

/// Everything the gateway serves.
pub(super) struct GatewayParts {
    pub sessions: Sessions,
    pub media: Media,
    pub fanout: Fanout,
    pub events: mpsc::Receiver<SessionEvent>,
    pub privacy: PrivacySwitch,
    pub adjustments: Adjustments,
    /// The configured rate in pictures per second.
    pub fps: Option<u32>,
    /// How the page's addresses begin, and where it listens.
    pub page: Option<(&'static str, SocketAddr)>,
    pub settings: Settings,
}

/// The link to the broker, before anything is routed over it.
pub(super) struct Connection {
    link: Link,
    topics: Arc<Topics>,
    identity: Identity,
    announcer: Announcer,
    inbox: mpsc::Receiver<LinkEvent>,
}

/// The device's presence on the broker.
pub(super) struct Gateway {
    link: Link,
    topics: Arc<Topics>,
    stop: oneshot::Sender<()>,
    routing: JoinHandle<()>,
    pulse: Pulse,
}

/// How the gateway is, for whoever watches over the daemon.
#[derive(Clone)]
pub(super) struct Pulse {
    link: Link,
    asks: mpsc::Sender<Ask>,
    presence: watch::Receiver<Presence>,
}

/// What the rest of the daemon asks of the task that routes.
enum Ask {
    Ping(oneshot::Sender<()>),
    Settings(Settings),
    /// Look whether the privacy switch was turned at the device.
    Privacy,
}

/// What can change while the gateway runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub name: String,
    pub max_viewers: usize,
    pub commands: Commands,
    pub snapshots: Snapshots,
}

impl Settings {
    pub fn of(config: &Config) -> Self {
        Self {
            name: config.device.name.clone(),
            max_viewers: config.max_viewers,
            commands: config.commands,
            snapshots: config.snapshots,
        }
    }
}

/// Whether the broker is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    Connecting,
    Online,
    /// Gone, for this reason.
    Offline(String),
}

impl Pulse {
    /// Resolves when the task that routes has answered.
    pub async fn ping(&self) {
        let (done, answered) = oneshot::channel();
        if self.asks.send(Ask::Ping(done)).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// Takes over other settings; `info` and `state` say so at once.
    pub async fn change(&self, settings: Settings) {
        // Fails only while the daemon ends.
        let _ = self.asks.send(Ask::Settings(settings)).await;
    }

    /// Looks whether somebody has turned the privacy switch by writing its file.
    pub async fn look_at_privacy(&self) {
        // Fails only while the daemon ends.
        let _ = self.asks.send(Ask::Privacy).await;
    }

    /// How long the task of the MQTT connection has not moved.
    pub fn link_silence(&self) -> Duration {
        self.link.silence()
    }

    /// Changes with the connection.
    pub fn presence(&self) -> watch::Receiver<Presence> {
        self.presence.clone()
    }
}

/// Sends what the device says to viewers through the broker.
struct MqttReplies {
    link: Link,
    topics: Arc<Topics>,
}

impl Replies for MqttReplies {
    fn send(&self, viewer: &Id, session: &Id, message: Down) {
        self.link.publish(Outgoing::signal(self.topics.down(viewer), message.to_json(session)));
    }
}

/// Begins to connect; never gives up. `own` is for the broker inside this process.
pub(super) fn connect(
    config: &Config,
    url: BrokerUrl,
    own: Option<&OwnCredentials>,
    key: PublicKey,
) -> Result<Connection, LinkError> {
    let (username, password) = match own {
        Some(own) => (Some(own.username.clone()), Some(&own.password)),
        None => (config.mqtt.username.clone(), config.mqtt.password.as_ref()),
    };
    let topics = Arc::new(Topics::new(&config.mqtt.root, &config.device.id));
    let wanted = announced_to(config);
    let mut subscriptions = topics.subscriptions();
    subscriptions.extend(wanted.as_ref().map(|wanted| homeassistant::birth_topic(&wanted.prefix)));
    let link_config = LinkConfig {
        username,
        password: password.map(|secret| secret.expose().to_owned()),
        tls: TlsFiles {
            ca_file: config.mqtt.ca_file.clone(),
            client_cert_file: config.mqtt.client_cert_file.clone(),
            client_key_file: config.mqtt.client_key_file.clone(),
        },
        will: Some(Outgoing::retained(topics.leaf("availability"), "offline")),
        subscriptions,
        // The id is the device's own, so that a broker's rules can name it.
        ..LinkConfig::new(url, config.device.id.as_str())
    };
    let (link, inbox) = mqtt::connect(link_config)?;
    let identity = Identity {
        id: config.device.id.to_string(),
        name: config.device.name.clone(),
        model: media::board(),
        root: config.mqtt.root.clone(),
        key: key.encode(),
        access: config.access.as_str(),
        // The machine may have no address yet: the router looks when it tells.
        whep: None,
    };
    let announcer = Announcer::new(wanted, &config.device.state_dir);
    Ok(Connection { link, topics, identity, announcer, inbox })
}

/// The built-in broker is for viewers: Home Assistant could not read there, so nothing is announced on it.
fn announced_to(config: &Config) -> Option<HomeAssistant> {
    let external = matches!(config.mqtt.broker, BrokerChoice::External(_));
    Some(config.homeassistant.clone()).filter(|wanted| wanted.discovery && external)
}

impl Connection {
    /// Where sessions send their messages.
    pub fn replies(&self) -> Arc<dyn Replies> {
        Arc::new(MqttReplies { link: self.link.clone(), topics: Arc::clone(&self.topics) })
    }

    /// Routes from now on.
    pub fn serve(self, parts: GatewayParts) -> Gateway {
        let (stop, stopped) = oneshot::channel();
        let (asks, asked) = mpsc::channel(1);
        let (told, presence) = watch::channel(Presence::Connecting);
        let pulse = Pulse { link: self.link.clone(), asks, presence };
        let (link, topics) = (self.link.clone(), Arc::clone(&self.topics));
        let (router, done) = Router::new(self.link, self.topics, self.identity, self.announcer, parts, told);
        let routing = tokio::spawn(router.run(self.inbox, asked, done, stopped));
        Gateway { link, topics, stop, routing, pulse }
    }
}

impl Gateway {
    /// How it is.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Says `offline` and goodbye, in at most `limit`.
    pub async fn close(self, limit: Duration) {
        let _ = self.stop.send(());
        // It still saves what was adjusted.
        if tokio::time::timeout(limit, self.routing).await.is_err() {
            tracing::warn!("the last settings could not be saved in time");
        }
        self.link.publish(Outgoing::retained(self.topics.leaf("availability"), "offline"));
        self.link.close(limit).await;
    }
}
