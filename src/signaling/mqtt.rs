//! The MQTT connection, 5 or 3.1.1: reconnects for ever, never blocks whoever publishes, keeps every queue bounded.
//!
//! One task per client owns the connection. The application holds a [`MqttClient`] to publish and reads
//! [`MqttEvent`]s; it re-publishes its retained topics on each [`MqttEvent::Connected`]. What was on
//! its way when a connection broke is not sent again: after a reconnect nobody waits for it.

mod client_config;
mod message;
pub mod probe;
mod publish;
mod queue;
mod reason;
mod retry;
mod shared;
mod takeovers;
mod task;
mod tls;
mod version;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::base::tasks::TaskGroup;
pub use client_config::{MqttClientConfig, MqttError, OWN_PING_EVERY, PING_EVERY};
use message::is_topic;
pub use message::{AnswerTo, Incoming, KEPT_PAYLOAD_BYTES, MqttEvent, Outgoing};
use shared::{STARTED, Shared};
pub use tls::{TlsFileError, TlsFiles};

/// A handle to publish with. When the last clone is dropped without [`MqttClient::close`] the connection is
/// cut, so that the broker publishes the will.
#[derive(Clone)]
pub struct MqttClient {
    guard: Arc<Guard>,
}

struct Guard {
    shared: Arc<Shared>,
    task: AbortHandle,
    /// The client's own: cancelled when its task may end.
    tasks: TaskGroup,
    ended: watch::Receiver<bool>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.tasks.cancel();
        self.task.abort();
    }
}

/// Starts a client whose task runs in `tasks`. It begins to connect at once and never gives up; TLS files are read here.
/// Where `tasks` is cancelled the connection is cut.
///
/// Must be called inside a tokio runtime.
pub fn connect(
    config: MqttClientConfig,
    tasks: &TaskGroup,
) -> Result<(MqttClient, mpsc::Receiver<MqttEvent>), MqttError> {
    tls::install_crypto_provider();
    let options = wire::WireOptions::of(&config)?;
    let shared = Arc::new(Shared::default());
    shared.beat();
    let (events, receiver) = mpsc::channel(16);
    let (end, ended) = watch::channel(false);
    let client_task = task::ClientTask::new(config, options, Arc::clone(&shared), events);
    let tasks = tasks.child();
    let own = tasks.clone();
    let task = tasks.spawn("mqtt", async move {
        let closing = Arc::clone(&client_task.shared);
        tokio::select! {
            () = client_task.run() => {}
            () = own.cancelled() => {}
        }
        if closing.is_closing() {
            // It was told to end.
            own.cancel();
        }
        // Nobody waits any more when this fails.
        let _ = end.send(true);
    });
    Ok((MqttClient { guard: Arc::new(Guard { shared, task: task.abort_handle(), tasks, ended }) }, receiver))
}

impl MqttClient {
    /// Queues a message. Never waits: false when the queue is full, the topic is none, or the client closes.
    pub fn publish(&self, message: Outgoing) -> bool {
        let shared = &self.guard.shared;
        if shared.is_closing() || !is_topic(&message.topic) {
            return false;
        }
        let queued = shared.queue().push(Instant::now(), message);
        shared.wake.notify_one();
        queued
    }

    /// How long the client's task has not got round its loop: connected or not, it does so at least
    /// every 40 s.
    pub fn silence(&self) -> Duration {
        let heartbeat = Duration::from_millis(self.guard.shared.heartbeat_ms.load(Ordering::Relaxed));
        STARTED.elapsed().saturating_sub(heartbeat)
    }

    /// Sends what is queued, waits for its acknowledgements, says goodbye to the broker; all of it in
    /// at most `limit`, and at once when the broker is away or has not greeted yet. True when everything was acknowledged.
    pub async fn close(&self, limit: Duration) -> bool {
        self.guard.shared.closing.store(true, Ordering::Release);
        self.guard.shared.wake.notify_one();
        let mut ended = self.guard.ended.clone();
        let clean = matches!(tokio::time::timeout(limit, ended.wait_for(|ended| *ended)).await, Ok(Ok(_)));
        self.guard.tasks.cancel();
        self.guard.task.abort();
        clean && self.guard.shared.queue().is_empty()
    }
}

#[cfg(test)]
mod tests;
