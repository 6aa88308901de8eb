//! Between the MQTT link and the rest: routes what arrives, publishes what the device says.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

use super::privacy::PrivacySwitch;
use crate::access::proof::PublicKey;
use crate::broker::OwnCredentials;
use crate::config::{Commands, Config};
use crate::dashboard::command::{self, Command, Request};
use crate::dashboard::documents::{self, Identity, StateParts, StateWriter};
use crate::dashboard::pace::Pace;
use crate::fanout::Fanout;
use crate::media::{self, Media, MediaStatus};
use crate::peer::Replies;
use crate::sessions::{SessionEvent, Sessions};
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::message::{Down, Rejected, Up};
use crate::signaling::mqtt::{self, Incoming, Link, LinkConfig, LinkError, LinkEvent, Outgoing, TlsFiles};
use crate::signaling::topic::{Id, Inbound, Topics};
use crate::stats::System;

/// Everything the gateway serves.
pub(super) struct GatewayParts {
    pub sessions: Sessions,
    pub media: Media,
    pub fanout: Fanout,
    pub events: mpsc::Receiver<SessionEvent>,
    pub privacy: PrivacySwitch,
    pub settings: Settings,
}

/// The link to the broker, before anything is routed over it.
pub(super) struct Connection {
    link: Link,
    topics: Arc<Topics>,
    identity: Identity,
    inbox: mpsc::Receiver<LinkEvent>,
}

/// The device's presence on the broker.
pub(super) struct Gateway {
    link: Link,
    topics: Arc<Topics>,
    stop: oneshot::Sender<()>,
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
}

/// What can change while the gateway runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub name: String,
    pub max_viewers: usize,
    pub commands: Commands,
}

impl Settings {
    pub fn of(config: &Config) -> Self {
        Self { name: config.device.name.clone(), max_viewers: config.max_viewers, commands: config.commands }
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
    whep: Option<String>,
) -> Result<Connection, LinkError> {
    let (username, password) = match own {
        Some(own) => (Some(own.username.clone()), Some(&own.password)),
        None => (config.mqtt.username.clone(), config.mqtt.password.as_ref()),
    };
    let topics = Arc::new(Topics::new(&config.mqtt.root, &config.device.id));
    let link_config = LinkConfig {
        username,
        password: password.map(|secret| secret.expose().to_owned()),
        tls: TlsFiles {
            ca_file: config.mqtt.ca_file.clone(),
            client_cert_file: config.mqtt.client_cert_file.clone(),
            client_key_file: config.mqtt.client_key_file.clone(),
        },
        will: Some(Outgoing::retained(topics.leaf("availability"), "offline")),
        subscriptions: topics.subscriptions(),
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
        whep,
    };
    Ok(Connection { link, topics, identity, inbox })
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
        let gateway = Gateway { link: self.link.clone(), topics: Arc::clone(&self.topics), stop, pulse };
        let router = Router {
            link: self.link,
            topics: self.topics,
            identity: self.identity,
            parts,
            pace: Pace::new(),
            state: StateWriter::default(),
            system: System::new(),
            info_sent: None,
            presence: told,
        };
        tokio::spawn(router.run(self.inbox, asked, stopped));
        gateway
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
        self.link.publish(Outgoing::retained(self.topics.leaf("availability"), "offline"));
        self.link.close(limit).await;
    }
}

struct Router {
    link: Link,
    topics: Arc<Topics>,
    identity: Identity,
    parts: GatewayParts,
    pace: Pace,
    state: StateWriter,
    system: System,
    /// The `info` that the broker has, to publish it again only when it differs.
    info_sent: Option<Value>,
    presence: watch::Sender<Presence>,
}

impl Router {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<LinkEvent>,
        mut asked: mpsc::Receiver<Ask>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut media = self.parts.media.status();
        let mut before = media.borrow_and_update().clone();
        loop {
            let due = self.pace.due(Instant::now());
            let online = *self.presence.borrow() == Presence::Online;
            tokio::select! {
                _ = &mut stopped => return,
                event = inbox.recv() => match event {
                    Some(event) => self.link_event(event).await,
                    None => return,
                },
                Some(event) = self.parts.events.recv() => {
                    self.publish_event(&documents::session_event(SystemTime::now(), &event));
                    self.pace.change();
                }
                Ok(()) = media.changed() => {
                    let after = media.borrow_and_update().clone();
                    for event in documents::media_events(SystemTime::now(), &before, &after) {
                        self.publish_event(&event);
                    }
                    // While there is no camera there is no encoder: the next is compared with the last.
                    let encoder = after.encoder.clone().or(before.encoder);
                    before = MediaStatus { encoder, ..after };
                    self.pace.change();
                }
                Some(ask) = asked.recv() => self.ask(ask),
                () = sleep_until(due.into()), if online => self.publish_state(),
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Ping(done) => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            Ask::Settings(settings) => {
                self.identity.name.clone_from(&settings.name);
                self.parts.settings = settings;
                self.pace.change();
            }
        }
    }

    async fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => {
                self.presence.send_replace(Presence::Online);
                self.info_sent = None;
                self.pace.reset();
                self.link.publish(Outgoing::retained(self.topics.leaf("availability"), "online"));
            }
            LinkEvent::Disconnected { reason } => {
                self.presence.send_replace(Presence::Offline(reason));
            }
            LinkEvent::Message(incoming) => self.message(incoming).await,
        }
    }

    async fn message(&mut self, incoming: Incoming) {
        // A stale offer or command, kept by the broker, must not start the camera.
        if incoming.retain {
            return;
        }
        let topics = Arc::clone(&self.topics);
        let request = match topics.parse(&incoming.topic) {
            Inbound::Signal(viewer) => return self.signal(viewer, &incoming.payload).await,
            Inbound::Set(setting) => command::set(setting, &incoming.payload, self.parts.settings.commands),
            Inbound::Do(action) => command::action(action, &incoming.payload, self.parts.settings.commands),
            // Nobody could be answered: the topic of the reply would not be valid either.
            Inbound::BadViewer | Inbound::Other => return,
        };
        self.command(request).await;
    }

    async fn signal(&self, viewer: Id, payload: &[u8]) {
        match Up::parse(payload) {
            Ok(up) => self.parts.sessions.message(viewer, up.session, up.kind).await,
            Err(Rejected { session, refusal }) => {
                tracing::debug!(%viewer, %refusal, "a signal message was refused");
                let reply = Down::Error(refusal).to_json(&session);
                self.link.publish(Outgoing::signal(self.topics.down(&viewer), reply));
            }
        }
    }

    async fn command(&mut self, request: Request) {
        let result = match request.command {
            Ok(command) => self.carry_out(command).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(()) => tracing::info!(topic = request.topic, "command carried out"),
            Err(error) => tracing::info!(topic = request.topic, error, "command refused"),
        }
        let mut fields = Map::new();
        fields.insert("topic".to_owned(), request.topic.into());
        fields.insert("ok".to_owned(), result.is_ok().into());
        fields.insert("error".to_owned(), json!(result.err()));
        if let Some(id) = request.id {
            fields.insert("id".to_owned(), id);
        }
        self.publish_event(&documents::event(SystemTime::now(), "command", fields));
        self.pace.change();
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), String> {
        let parts = &mut self.parts;
        match command {
            Command::Streaming(on) => {
                // First the camera, then the file: what was asked for must not wait for a slow card.
                parts.media.set_streaming(on);
                parts.sessions.set_streaming(on).await;
                parts.privacy.set(on).map_err(|error| {
                    format!(
                        "done, but a restart will forget it: the state directory cannot be written: {error}"
                    )
                })?;
            }
            Command::KeyFrame => parts.fanout.request_key_frame(),
            Command::Warm(time) => parts.media.warm(time),
            Command::Close { viewer, session } => parts.sessions.close(viewer, session).await,
            Command::Restart => parts.media.restart(),
        }
        Ok(())
    }

    fn publish_event(&self, event: &Value) {
        self.link.publish(Outgoing::signal(self.topics.leaf("event"), event.to_string()));
    }

    fn publish_state(&mut self) {
        let status = self.parts.media.status();
        let media = status.borrow().clone();
        let info = documents::info(&self.identity, &media);
        if self.info_sent.as_ref() != Some(&info) {
            self.link.publish(Outgoing::retained(self.topics.leaf("info"), info.to_string()));
            self.info_sent = Some(info);
        }
        let now = Instant::now();
        let state = self.state.state(&StateParts {
            time: SystemTime::now(),
            now,
            uptime: self.system.uptime(),
            streaming: self.parts.privacy.is_on(),
            media: &media,
            max_viewers: self.parts.settings.max_viewers,
            sessions: &self.parts.sessions.live(),
            system: self.system.read(),
        });
        self.link.publish(Outgoing::retained(self.topics.leaf("state"), state.to_string()));
        self.pace.published(now);
    }
}
