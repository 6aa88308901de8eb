//! The only module that knows every other: builds the house, runs it, drains it.

mod access;
mod adapt;
pub mod address;
mod adjustments;
mod ebb;
mod gateway;
mod health;
mod kept;
mod privacy;
mod reload;
mod web;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::access::AccessError;
use crate::access::gate::{Gate, Mode};
use crate::access::identity::Identity;
use crate::access::store::Store;
use crate::base::tasks::TaskGroup;
use crate::broker::{BrokerError, EmbeddedBroker, WEBSOCKET_PATH};
use crate::config::{BrokerChoice, Config};
use crate::http::{self, CertificateFiles, HttpError, Listener, PageBroker, PageInfo, Server, Services};
use crate::media::{Media, MediaError};
use crate::peer::{Factory, PeerError, Signer};
use crate::sessions::{Parts, Sessions};
use crate::signaling::broker_url::{BrokerUrl, Scheme};
use crate::signaling::mqtt::LinkError;
use crate::stream::Fanout;
use access::Doorkeeper;
use adjustments::Adjustments;
use gateway::{Gateway, GatewayParts, Presence, Settings};
pub use health::Checkup;
use privacy::PrivacySwitch;
use reload::Change;
pub use reload::Reloaded;
use web::{DaemonFacts, WebDoor};

/// How long a stopping daemon waits for its sessions, its camera and its broker, each.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// Events about sessions that may wait to be published.
const EVENT_QUEUE: usize = 256;

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The device's key, or its grants.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The embedded broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The page.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The capture side.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The media connections.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The MQTT connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The embedded broker's own address.
    #[error("the built-in broker's address {0} cannot be used as a URL")]
    Address(SocketAddr),
}

/// A running daemon.
pub struct App {
    /// Where the page is, if it is served.
    pub page: Option<SocketAddr>,
    /// The broker inside this process, if there is one.
    pub broker: Option<EmbeddedBroker>,
    sessions: Sessions,
    media: Media,
    gateway: Gateway,
    fanout: Fanout,
    config: Config,
    access: AbortHandle,
    adapting: AbortHandle,
    ebb: AbortHandle,
    http: Option<Server>,
}

impl App {
    /// Builds everything and starts it. A camera or an external broker that is not there yet is
    /// waited for; an address that cannot be bound is an error.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        let identity = Arc::new(Identity::load_or_make(&config.device.state_dir)?);
        let store = Store::of(&config.device.state_dir);
        // Before the grants are read, so that no change goes unseen.
        let stamp = store.stamp();
        let grants = store.load()?;
        if config.access == Mode::Grants && grants.is_empty() {
            tracing::warn!(
                "nobody is invited yet: `porthole grant NAME` prints a link with which one can watch"
            );
        }
        let door = Doorkeeper::new(grants.clone());
        let gate = Gate::new(config.access, config.device.id.clone(), grants);
        let broker = match config.mqtt.broker {
            BrokerChoice::Embedded => {
                let (root, device) = (&config.mqtt.root, &config.device.id);
                let gatekeeper = door.clone().for_mode(config.access);
                Some(EmbeddedBroker::start(config.broker, root, device, gatekeeper).await?)
            }
            BrokerChoice::External(_) => None,
        };
        let listener = match config.http_listen {
            Some(address) => Some(listener(&config, address).await?),
            None => None,
        };
        let url = match (&config.mqtt.broker, &broker) {
            (BrokerChoice::External(url), _) => url.clone(),
            (BrokerChoice::Embedded, Some(broker)) => own_url(broker.tcp)?,
            (BrokerChoice::Embedded, None) => return Err(AppError::Address(config.broker.listen)),
        };

        let privacy = PrivacySwitch::load(&config.device.state_dir);
        let fanout = Fanout::default();
        let media = Media::start(config.media.clone(), fanout.clone(), privacy.is_on(), &TaskGroup::new())?;
        let adjustments = Adjustments::load(&config.device.state_dir);
        adjustments.apply(&media, config.media.fps);
        let (event_tx, events) = mpsc::channel(EVENT_QUEUE);
        let factory = Factory::new(config.ice.clone(), fanout.clone())?
            .with_playout_delay_ms(config.playout_delay_ms)
            .with_certificate_of(&config.device.state_dir)?;
        let own = broker.as_ref().map(|broker| &broker.own);
        let connection = gateway::connect(&config, url, own, identity.key())?;
        let parts = Parts {
            max_viewers: config.max_viewers,
            streaming: privacy.is_on(),
            signer: Signer { identity, device: config.device.id.clone() },
            factory: Arc::new(factory),
            fanout: fanout.clone(),
            media: media.status(),
            replies: connection.replies(),
            events: event_tx,
        };
        let sessions = Sessions::spawn(parts, gate);
        let access = access::follow(store, stamp, sessions.clone(), Arc::clone(&door));
        let min_kbps = config.media.min_bitrate_kbps;
        let adapting = adapt::follow(sessions.clone(), media.clone(), fanout.clone(), min_kbps);
        let ebb = ebb::follow(sessions.clone());
        let gateway = connection.serve(GatewayParts {
            sessions: sessions.clone(),
            media: media.clone(),
            fanout: fanout.clone(),
            events,
            privacy,
            adjustments,
            fps: config.media.fps,
            page: listener.as_ref().map(|listener| (config.page_scheme(), listener.address())),
            settings: Settings::of(&config),
        });
        let page = listener.as_ref().map(Listener::address);
        let facts = DaemonFacts::new(sessions.clone(), media.clone(), fanout.clone(), gateway.pulse());
        let services = Services {
            facts: Arc::new(facts),
            door: Arc::new(WebDoor { mode: config.access, grants: door }),
            metrics: config.metrics,
            media: media.clone(),
            access: config.access,
            sessions: sessions.clone(),
            broker: broker.as_ref().map(|broker| address::from_here(broker.websocket)),
            ice_servers: config.ice.servers.clone(),
        };
        let http = listener.map(|listener| listener.serve(page_info(&config, broker.as_ref()), services));
        Ok(Self { page, broker, sessions, media, gateway, fanout, config, access, adapting, ebb, http })
    }

    /// Resolves once cameras and encoders have been looked at, with the capture side's trouble if there
    /// is any, in words.
    pub async fn looked(&self) -> Result<(), String> {
        let mut status = self.media.status();
        let looked = status.wait_for(|status| status.ready || status.error.is_some()).await;
        match looked.map(|status| (status.ready, status.error.clone())) {
            Ok((true, _)) => Ok(()),
            Ok((false, error)) => Err(error.unwrap_or_default()),
            Err(_) => Err("the capture side has ended".to_owned()),
        }
    }

    /// Resolves once the broker passes viewers' messages on to it.
    pub async fn online(&self) {
        let mut presence = self.gateway.pulse().presence();
        // An error means that the gateway has ended: whoever waits finds out from what comes next.
        let _ = presence.wait_for(|presence| *presence == Presence::Online).await;
    }

    /// What watches over this daemon's health, and over how it is in words.
    pub fn checkup(&self) -> Checkup {
        Checkup::new(self.sessions.clone(), self.media.clone(), self.gateway.pulse(), self.fanout.clone())
    }

    /// Takes over what can change without ending a session; the rest waits for a restart.
    pub async fn reload(&mut self, config: Config) -> Reloaded {
        let (changes, reloaded) = reload::compare(&self.config, &config);
        for change in changes {
            match change {
                Change::Settings => self.gateway.pulse().change(Settings::of(&config)).await,
                Change::MaxViewers => self.sessions.set_max_viewers(config.max_viewers).await,
                Change::Bitrate(kbps) => self.media.set_configured_bitrate_kbps(kbps),
            }
        }
        self.gateway.pulse().look_at_privacy().await;
        self.config = config;
        reloaded
    }

    /// Ends it in order: viewers are told, the camera is closed, the broker hears `offline`.
    /// Bounded in time, whatever hangs.
    pub async fn drain(self) {
        self.access.abort();
        // No new players; those that wait for an answer hear that the connection is closed.
        drop(self.http);
        self.adapting.abort();
        self.ebb.abort();
        if tokio::time::timeout(DRAIN_LIMIT, self.sessions.shutdown()).await.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
        if tokio::time::timeout(DRAIN_LIMIT, self.media.shutdown()).await.is_err() {
            tracing::warn!("the camera did not close in time");
        }
        self.gateway.close(DRAIN_LIMIT).await;
    }
}

/// Whether the privacy switch that `state_dir` remembers lets a camera run.
pub fn may_stream(state_dir: &Path) -> bool {
    PrivacySwitch::load(state_dir).is_on()
}

/// How this process reaches its own broker.
fn own_url(tcp: SocketAddr) -> Result<BrokerUrl, AppError> {
    let address = address::from_here(tcp);
    format!("mqtt://{address}").parse().map_err(|_| AppError::Address(tcp))
}

async fn listener(config: &Config, address: SocketAddr) -> Result<Listener, HttpError> {
    let listener = http::bind(address).await?;
    match config.http_tls.clone() {
        Some((cert_file, key_file)) => listener.with_certificate(CertificateFiles { cert_file, key_file }),
        None => Ok(listener),
    }
}

fn page_info(config: &Config, broker: Option<&EmbeddedBroker>) -> PageInfo {
    let page_broker = match (&config.mqtt.broker, broker) {
        // Browsers do not mix: a page over https may only open wss.
        (_, Some(_)) if config.http_tls.is_some() => PageBroker::SamePort { path: http::TUNNEL_PATH },
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
