//! Between the MQTT client and the rest: routes what arrives, publishes what the device says.

mod announcer;
mod commands;
mod controlled;
mod handle;
mod picture;
mod publisher;
mod router;
mod snapshots;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::ailment::Ailment;
use super::audio_switch::AudioSwitch;
use super::persist::Persist;
use super::privacy::PrivacySwitch;
use super::runtime_settings::RuntimeSettings;
use super::sound::SoundSide;
use super::state::StateSource;
use crate::access::offer_authorizer::AccessMode;
use crate::access::proof::PublicKey;
use crate::base::clock;
use crate::base::tasks::TaskGroup;
use crate::broker::OwnCredentials;
use crate::config::{BrokerChoice, Config, HomeAssistant};
use crate::dashboard::homeassistant;
use crate::dashboard::info::DeviceInfo;
use crate::media::{self, Media};
use crate::peer::Replies;
use crate::sessions::{SessionEvent, Sessions};
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::message::Down;
use crate::signaling::mqtt::{
    self, MqttClient, MqttClientConfig, MqttError, MqttEvent, OWN_PING_EVERY, Outgoing, PING_EVERY, TlsFiles,
};
use crate::signaling::topic::{Id, Topics};
use crate::stream::Fanout;
use announcer::Announcer;
use commands::CommandExecutor;
use controlled::Controlled;
pub(super) use handle::{ChannelCommand, GatewayHandle, Presence, Settings};
use picture::ConfiguredPicture;
use publisher::{BrokerOutbox, Publisher};
use router::{Inputs, Router};
use snapshots::SnapshotTaker;

/// Commands of viewers that may wait; whoever has one more is told so.
const CHANNEL_COMMANDS: usize = 64;

/// Everything the gateway serves.
pub(super) struct GatewayParts {
    pub sessions: Sessions,
    pub media: Media,
    pub fanout: Fanout,
    pub events: mpsc::Receiver<SessionEvent>,
    /// Makes `state`.
    pub state: Arc<StateSource>,
    pub privacy: PrivacySwitch,
    pub audio_switch: AudioSwitch,
    pub sound: SoundSide,
    pub runtime_settings: RuntimeSettings,
    /// Keeps what is set.
    pub persist: Persist,
    /// The configured rate in pictures per second.
    pub fps: Option<u32>,
    /// How the page's addresses begin, and where it listens.
    pub page: Option<(&'static str, SocketAddr)>,
    pub settings: Settings,
    /// What is not well.
    pub ailment: watch::Receiver<Option<Ailment>>,
}

/// The client to the broker, before anything is routed over it.
pub(super) struct BrokerClient {
    client: MqttClient,
    topics: Arc<Topics>,
    device: DeviceInfo,
    announcer: Announcer,
    picture: ConfiguredPicture,
    inbox: mpsc::Receiver<MqttEvent>,
    /// Whoever may watch reads `state` there.
    is_read_by_viewers: bool,
}

/// The device's presence on the broker.
pub(super) struct Gateway {
    client: MqttClient,
    topics: Arc<Topics>,
    /// The task that routes.
    routing: TaskGroup,
    handle: GatewayHandle,
}

/// Sends what the device says to viewers through the broker.
struct MqttReplies {
    client: MqttClient,
    topics: Arc<Topics>,
}

impl Replies for MqttReplies {
    fn send(&self, viewer: &Id, session: &Id, message: Down) {
        self.client.publish(Outgoing::signal(self.topics.down(viewer), message.to_json(session)));
    }
}

/// Begins to connect, in `tasks`; never gives up. `own` is for the broker inside this process.
pub(super) fn connect(
    config: &Config,
    url: BrokerUrl,
    own: Option<&OwnCredentials>,
    key: PublicKey,
    tasks: &TaskGroup,
) -> Result<BrokerClient, MqttError> {
    let (username, password) = match own {
        Some(own) => (Some(own.username.clone()), Some(&own.password)),
        None => (config.mqtt.username.clone(), config.mqtt.password.as_ref()),
    };
    let topics = Arc::new(Topics::new(&config.mqtt.root, &config.device.id));
    let wanted = announced_to(config);
    let mut subscriptions = topics.subscriptions();
    subscriptions.extend(wanted.as_ref().map(|wanted| homeassistant::birth_topic(&wanted.prefix)));
    let client_config = MqttClientConfig {
        username,
        password: password.map(|secret| secret.expose().to_owned()),
        tls: TlsFiles {
            ca_file: config.mqtt.ca_file.clone(),
            client_cert_file: config.mqtt.client_cert_file.clone(),
            client_key_file: config.mqtt.client_key_file.clone(),
        },
        will: Some(Outgoing::retained(topics.leaf("availability"), "offline")),
        subscriptions,
        ping_every: if own.is_some() { OWN_PING_EVERY } else { PING_EVERY },
        // The id is the device's own, so that a broker's rules can name it.
        ..MqttClientConfig::new(url, config.device.id.as_str())
    };
    let (client, inbox) = mqtt::connect(client_config, tasks)?;
    let device = DeviceInfo {
        id: config.device.id.to_string(),
        name: config.device.name.clone(),
        model: media::board(),
        root: config.mqtt.root.clone(),
        key: key.encode(),
        access: config.access.as_str(),
        scenes: config.scenes.keys().cloned().collect(),
        has_microphone: config.audio.has_microphone(),
        has_speaker: config.audio.has_speaker(),
        // The machine may have no address yet: the publisher looks when it tells.
        whep: None,
    };
    let announcer = Announcer::new(wanted, &config.device.state_dir);
    let is_read_by_viewers =
        matches!(config.mqtt.broker, BrokerChoice::Embedded) && config.access == AccessMode::Grants;
    let picture = ConfiguredPicture::of(config);
    Ok(BrokerClient { client, topics, device, announcer, picture, inbox, is_read_by_viewers })
}

/// The built-in broker is for viewers: Home Assistant could not read there, so nothing is announced on it.
fn announced_to(config: &Config) -> Option<HomeAssistant> {
    let external = matches!(config.mqtt.broker, BrokerChoice::External(_));
    Some(config.homeassistant.clone()).filter(|wanted| wanted.discovery && external)
}

impl BrokerClient {
    /// Where sessions send their messages.
    pub fn replies(&self) -> Arc<dyn Replies> {
        Arc::new(MqttReplies { client: self.client.clone(), topics: Arc::clone(&self.topics) })
    }

    /// Routes from now on, in a task of `tasks`.
    pub fn serve(self, parts: GatewayParts, tasks: &TaskGroup) -> Gateway {
        let Self { client, topics, device, announcer, picture, inbox, is_read_by_viewers } = self;
        let GatewayParts { sessions, media, fanout, events, state, fps, page, settings, .. } = parts;
        let GatewayParts { privacy, audio_switch, sound, runtime_settings, persist, ailment, .. } = parts;
        let (requests, queue) = mpsc::channel(1);
        let (channel_commands, from_viewers) = mpsc::channel(CHANNEL_COMMANDS);
        let (presence, watched) = watch::channel(Presence::Connecting);
        let handle = GatewayHandle::new(client.clone(), requests, channel_commands, watched);
        let to_broker = client.clone();
        let outbox = BrokerOutbox::new(move |message| to_broker.publish(message));
        let inputs = Inputs {
            mqtt_events: inbox,
            events,
            requests: queue,
            channel_commands: from_viewers,
            media: media.status(),
            sound: sound.changes(),
            ended_early: tasks.ended_early(),
            ailment,
        };
        let snapshots = SnapshotTaker::new(media.clone(), settings.snapshots, clock::now());
        let acts_on = Controlled {
            sessions: sessions.clone(),
            media,
            fanout,
            privacy,
            audio_switch,
            sound,
            runtime_settings,
            persist,
            fps,
            picture,
            restarted: None,
        };
        let router = Router {
            sessions,
            publisher: Publisher::new(outbox, Arc::clone(&topics), device, page, state, is_read_by_viewers),
            topics: Arc::clone(&topics),
            commands: CommandExecutor::new(acts_on, settings.commands),
            snapshots,
            announcer,
            presence,
            inputs,
        };
        // Closed by itself, and last: what the others have to say at their end is still published.
        let routing = tasks.child();
        routing.spawn("router", router.run(routing.cancelled()));
        Gateway { client, topics, routing, handle }
    }
}

impl Gateway {
    /// How it is.
    pub fn handle(&self) -> GatewayHandle {
        self.handle.clone()
    }

    /// Publishes what the sessions had to say at their end, then `offline`, then says goodbye to the broker. In at most
    /// twice `limit`.
    pub async fn close(self, limit: Duration) {
        // It still saves what was adjusted.
        if !self.routing.close(limit).await.is_empty() {
            tracing::warn!("the last settings could not be saved in time");
        }
        self.client.publish(Outgoing::retained(self.topics.leaf("availability"), "offline"));
        if !self.client.close(limit).await {
            tracing::warn!("the broker has not confirmed the last messages");
        }
    }
}

#[cfg(test)]
mod tests;
