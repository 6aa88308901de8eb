//! What an MQTT client needs to know, and what of it cannot be used.

use std::path::PathBuf;
use std::time::Duration;

use super::message::Outgoing;
use super::tls::{TlsFileError, TlsFiles};
use crate::signaling::broker_url::BrokerUrl;

/// How often a broker is asked for a sign of life.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// The same of a broker in this process, which no network can part from us: often enough to show that both tasks live.
pub const OWN_PING_EVERY: Duration = Duration::from_secs(30);

/// What a client needs to know.
#[derive(Clone)]
pub struct MqttClientConfig {
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
    /// How often the broker is asked for a sign of life; less than the client's task may be still for (40 s).
    pub ping_every: Duration,
}

impl MqttClientConfig {
    /// A client without credentials, will or subscriptions.
    pub fn new(url: BrokerUrl, client_id: impl Into<String>) -> Self {
        Self {
            url,
            client_id: client_id.into(),
            username: None,
            password: None,
            tls: TlsFiles::default(),
            will: None,
            subscriptions: Vec::new(),
            ping_every: PING_EVERY,
        }
    }
}

/// Why a client cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
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
