//! The second step of a start: the addresses that clients know. One that cannot be had is an error, before a camera is looked at.

use std::net::SocketAddr;
use std::sync::Arc;

use super::address;
use super::authenticator::GrantAuthenticator;
use super::error::AppError;
use super::open::Opened;
use crate::base::tasks::TaskGroup;
use crate::broker::{EmbeddedBroker, WEBSOCKET_PATH};
use crate::config::{BrokerChoice, Config};
use crate::http::{self, CertificateFiles, Listener, PageBroker, PageInfo};
use crate::signaling::broker_url::{BrokerUrl, Scheme};

/// What listens.
pub(super) struct Bound {
    /// Who may speak to the broker and ask over HTTP.
    pub authenticator: Arc<GrantAuthenticator>,
    /// The broker inside this process, if there is one; it serves already.
    pub broker: Option<EmbeddedBroker>,
    /// The HTTP server's address; nothing is served yet.
    pub listener: Option<Listener>,
    /// Where this device's own MQTT connection goes.
    pub url: BrokerUrl,
}

/// Binds them. What runs from now on runs in `tasks`.
pub(super) async fn bind(config: &Config, opened: &Opened, tasks: &TaskGroup) -> Result<Bound, AppError> {
    let authenticator = GrantAuthenticator::new(config.access, opened.grants.clone());
    let (broker, url) = match &config.mqtt.broker {
        BrokerChoice::External(url) => (None, url.clone()),
        BrokerChoice::Embedded => {
            let (root, device) = (&config.mqtt.root, &config.device.id);
            let broker =
                EmbeddedBroker::start(config.broker, root, device, authenticator.clone(), tasks).await?;
            let url = own_url(broker.tcp)?;
            (Some(broker), url)
        }
    };
    let listener = match config.http.listen {
        Some(address) => Some(listen(config, address, tasks).await?),
        None => None,
    };
    Ok(Bound { authenticator, broker, listener, url })
}

/// How this process reaches its own broker.
fn own_url(tcp: SocketAddr) -> Result<BrokerUrl, AppError> {
    let address = address::from_here(tcp);
    format!("mqtt://{address}").parse().map_err(|_| AppError::Address(tcp))
}

async fn listen(config: &Config, address: SocketAddr, tasks: &TaskGroup) -> Result<Listener, AppError> {
    let listener = http::bind(address).await?;
    match config.http.tls.clone() {
        Some((cert_file, key_file)) => {
            let files = CertificateFiles { cert_file, key_file };
            Ok(listener.with_certificate(files, tasks).await?)
        }
        None => Ok(listener),
    }
}

/// What the viewer page is told of the device.
pub(super) fn page_info(config: &Config, broker: Option<&EmbeddedBroker>) -> PageInfo {
    let page_broker = match (&config.mqtt.broker, broker) {
        // Browsers do not mix: a page over https may only open wss.
        (_, Some(_)) if config.http.tls.is_some() => PageBroker::SamePort { path: http::TUNNEL_PATH },
        (_, Some(broker)) => PageBroker::SameHost { port: broker.websocket.port(), path: WEBSOCKET_PATH },
        (BrokerChoice::External(url), _) if matches!(url.scheme(), Scheme::Ws | Scheme::Wss) => {
            PageBroker::Url(url.address())
        }
        _ => PageBroker::Unknown,
    };
    PageInfo {
        device: config.device.id.to_string(),
        name: config.device.name.clone(),
        root: config.mqtt.root.clone(),
        access: config.access.as_str(),
        broker: page_broker,
        // TURN passwords are for viewers whose offer was accepted: they come with the answer.
        ice_servers: config
            .ice
            .servers
            .iter()
            .filter(|server| server.credential.is_none())
            .cloned()
            .collect(),
    }
}
