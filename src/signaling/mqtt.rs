//! The MQTT 5 connection: reconnects for ever, never blocks whoever publishes, keeps every queue bounded.
//!
//! One task per link owns the connection. The application holds a [`Link`] to publish and reads
//! [`LinkEvent`]s; it re-publishes its retained topics on each [`LinkEvent::Connected`]. What was on
//! its way when a connection broke is not sent again: after a reconnect nobody waits for it.

pub mod probe;
mod publish;
mod queue;
mod reason;
mod retry;
mod task;
mod tls;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use super::broker_url::BrokerUrl;
use crate::base::tasks::TaskGroup;
use queue::OutQueue;
pub use tls::{TlsFileError, TlsFiles};

/// The longest payload that reaches the application whole; of a longer one it gets this much, so that
/// a flood of huge messages cannot fill the memory. Every limit of the protocol is below it.
pub const KEPT_PAYLOAD_BYTES: usize = 256 * 1024;

/// What a link needs to know.
#[derive(Clone)]
pub struct LinkConfig {
    /// Where the broker is.
    pub url: BrokerUrl,
    /// The MQTT client id; two clients with one id throw each other out.
    pub client_id: String,
    /// Goes before the URL's own.
    pub username: Option<String>,
    /// Goes before the URL's own.
    pub password: Option<String>,
    /// For `mqtts` and `wss`.
    pub tls: TlsFiles,
    /// What the broker publishes when we vanish.
    pub will: Option<Outgoing>,
    /// Topic filters, subscribed with QoS 1 after every connect.
    pub subscriptions: Vec<String>,
}

impl LinkConfig {
    /// A link without credentials, will or subscriptions.
    pub fn new(url: BrokerUrl, client_id: impl Into<String>) -> Self {
        Self {
            url,
            client_id: client_id.into(),
            username: None,
            password: None,
            tls: TlsFiles::default(),
            will: None,
            subscriptions: Vec::new(),
        }
    }
}

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

/// What a link tells the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
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

/// Why a link cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Something about the certificates.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// Certificates for a connection that will not use them.
    #[error("{} is given for TLS, but {url} is not encrypted: write mqtts:// or wss://, or leave the file out", path.display())]
    TlsFilesWithoutTls {
        /// The first of the files.
        path: PathBuf,
        /// The broker's URL.
        url: Box<BrokerUrl>,
    },
    /// MQTT knows no such topic.
    #[error("`{topic}` cannot be the topic of a last will: topics are not empty and hold no +, # or NUL")]
    WillTopic {
        /// The topic.
        topic: String,
    },
}

/// A handle to publish with. When the last clone is dropped without [`Link::close`] the connection is
/// cut, so that the broker publishes the will.
#[derive(Clone)]
pub struct Link {
    guard: Arc<Guard>,
}

struct Guard {
    shared: Arc<Shared>,
    task: AbortHandle,
    /// The link's own: cancelled when its task may end.
    tasks: TaskGroup,
    ended: watch::Receiver<bool>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.tasks.cancel();
        self.task.abort();
    }
}

/// What handles and the task share.
#[derive(Default)]
struct Shared {
    queue: Mutex<OutQueue>,
    wake: Notify,
    closing: AtomicBool,
    /// When the task last got round its loop, since [`STARTED`].
    heartbeat_ms: AtomicU64,
}

/// The zero of `Shared::heartbeat_ms`.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Shared {
    fn queue(&self) -> MutexGuard<'_, OutQueue> {
        // No code panics while it holds the lock, and a queue of messages has no broken state anyway.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The task is alive.
    fn beat(&self) {
        let since_start = u64::try_from(STARTED.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heartbeat_ms.store(since_start, Ordering::Relaxed);
    }
}

/// Starts a link whose task runs in `tasks`. It begins to connect at once and never gives up; TLS files are read here.
/// Where `tasks` is cancelled the connection is cut.
///
/// Must be called inside a tokio runtime.
pub fn connect(
    config: LinkConfig,
    tasks: &TaskGroup,
) -> Result<(Link, mpsc::Receiver<LinkEvent>), LinkError> {
    tls::install_crypto_provider();
    let options = task::options(&config)?;
    let shared = Arc::new(Shared::default());
    shared.beat();
    let (events, receiver) = mpsc::channel(16);
    let (end, ended) = watch::channel(false);
    let link_task = task::LinkTask::new(config, options, Arc::clone(&shared), events);
    let tasks = tasks.child();
    let own = tasks.clone();
    let task = tasks.spawn("link", async move {
        let closing = Arc::clone(&link_task.shared);
        tokio::select! {
            () = link_task.run() => {}
            () = own.cancelled() => {}
        }
        if closing.is_closing() {
            // It was told to end.
            own.cancel();
        }
        // Nobody waits any more when this fails.
        let _ = end.send(true);
    });
    Ok((Link { guard: Arc::new(Guard { shared, task: task.abort_handle(), tasks, ended }) }, receiver))
}

impl Link {
    /// Queues a message. Never waits: false when the queue is full, the topic is none, or the link closes.
    pub fn publish(&self, message: Outgoing) -> bool {
        let shared = &self.guard.shared;
        if shared.is_closing() || !is_topic(&message.topic) {
            return false;
        }
        let queued = shared.queue().push(Instant::now(), message);
        shared.wake.notify_one();
        queued
    }

    /// How long the link's task has not got round its loop: connected or not, it does so at least
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

fn is_topic(topic: &str) -> bool {
    (1..=usize::from(u16::MAX)).contains(&topic.len()) && !topic.contains(['+', '#', '\0'])
}

#[cfg(test)]
#[path = "mqtt/link_tests.rs"]
mod tests;
