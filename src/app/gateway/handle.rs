//! How the rest of the daemon speaks with the task that routes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Commands, Config, Snapshots};
use crate::peer::channel::ViewerChannel;
use crate::signaling::mqtt::MqttClient;

/// How the gateway is, for whoever watches over the daemon.
#[derive(Clone)]
pub(in crate::app) struct GatewayHandle {
    client: MqttClient,
    requests: mpsc::Sender<GatewayRequest>,
    channel_commands: mpsc::Sender<ChannelCommand>,
    presence: watch::Receiver<Presence>,
}

/// What the rest of the daemon asks of the task that routes.
pub(super) enum GatewayRequest {
    Ping(oneshot::Sender<()>),
    Settings(Settings),
    /// Look whether the privacy switch was turned at the device.
    Privacy,
}

/// What a viewer asks by its data channel. It is owed one answer there.
pub(in crate::app) struct ChannelCommand {
    pub channel: Arc<ViewerChannel>,
    /// Goes back with the answer.
    pub id: Option<Value>,
    /// `set/<name>`, or else `do/<name>`.
    pub is_set: bool,
    pub name: String,
    /// As on that topic.
    pub payload: String,
}

/// What can change while the gateway runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Settings {
    pub name: String,
    pub commands: Commands,
    pub snapshots: Snapshots,
}

impl Settings {
    pub fn of(config: &Config) -> Self {
        Self {
            name: config.device.name.clone(),
            commands: config.dashboard.commands,
            snapshots: config.dashboard.snapshots,
        }
    }
}

/// Whether the broker is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) enum Presence {
    Connecting,
    Online,
    /// Gone, for this reason.
    Offline(String),
}

impl GatewayHandle {
    /// These are the other ends of what the task that routes holds.
    pub(super) fn new(
        client: MqttClient,
        requests: mpsc::Sender<GatewayRequest>,
        channel_commands: mpsc::Sender<ChannelCommand>,
        presence: watch::Receiver<Presence>,
    ) -> Self {
        Self { client, requests, channel_commands, presence }
    }

    /// Takes what viewers ask by their data channels.
    pub fn channel_commands(&self) -> mpsc::Sender<ChannelCommand> {
        self.channel_commands.clone()
    }

    /// Whether the task that routes answers: resolves when it has, and with false when it is gone.
    pub async fn ping(&self) -> bool {
        let (done, answered) = oneshot::channel();
        self.requests.send(GatewayRequest::Ping(done)).await.is_ok() && answered.await.is_ok()
    }

    /// Takes over other settings; `info` and `state` say so at once.
    pub async fn change(&self, settings: Settings) {
        // Fails only while the daemon ends.
        let _ = self.requests.send(GatewayRequest::Settings(settings)).await;
    }

    /// Looks whether somebody has turned the privacy switch by writing its file.
    pub async fn look_at_privacy(&self) {
        // Fails only while the daemon ends.
        let _ = self.requests.send(GatewayRequest::Privacy).await;
    }

    /// How long the task of the MQTT connection has not moved.
    pub fn broker_silence(&self) -> Duration {
        self.client.silence()
    }

    /// Changes with the connection.
    pub fn presence(&self) -> watch::Receiver<Presence> {
        self.presence.clone()
    }
}
