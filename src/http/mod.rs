//! The viewer page, and what programs ask over HTTP: WHEP, metrics, health, state, a still picture.
//!
//! `server` carries bytes and bounds how many; everything else here turns a request into an answer.

mod assets;
mod facts;
mod limit;
mod metrics;
mod page;
mod problem;
mod request;
mod server;
mod tls;
mod tunnel;
mod whep;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;

pub use facts::{Door, Facts};
pub use metrics::Figures;
pub use page::{PageBroker, PageInfo};
pub use server::{Listener, Server, bind};
pub use tls::{CertificateError, CertificateFiles};
pub use tunnel::PATH as TUNNEL_PATH;
pub use whep::fragment;

use crate::access::gate::Mode;
use crate::base::tasks::TaskGroup;
use crate::media::Media;
use crate::sessions::Sessions;
use crate::signaling::message::IceServer;

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another program has the address, or it is not one of this machine.
    #[error(
        "the page cannot be served on {address}: {reason}. Choose another http.listen, or \"\" for no page"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's own words.
        reason: std::io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Everything that is served beside the page.
pub struct Services {
    /// Who may watch.
    pub access: Mode,
    /// The same question for everything that is no session.
    pub door: Arc<dyn Door>,
    /// What the daemon knows of itself.
    pub facts: Arc<dyn Facts>,
    /// Whether there are figures for Prometheus.
    pub metrics: bool,
    /// Takes still pictures.
    pub media: Media,
    /// Makes the sessions of WHEP players.
    pub sessions: Sessions,
    /// The WebSocket of the built-in broker, if there is one.
    pub broker: Option<SocketAddr>,
    /// STUN and TURN servers that WHEP players are told of once they were let in.
    pub ice_servers: Vec<IceServer>,
}

/// What every request can reach.
struct Shared {
    services: Services,
    whep: Arc<whep::Resources>,
}

fn page(info: PageInfo) -> Router {
    Router::new()
        .route("/viewer.json", get(page::viewer_json))
        .fallback(page::asset)
        .with_state(Arc::new(info))
}

fn services(services: Services, tasks: &TaskGroup) -> Router {
    let shared = Arc::new(Shared { services, whep: Arc::default() });
    let tunnel = shared.services.broker.map_or_else(Router::new, |broker| tunnel::router(broker, tasks));
    whep::router().merge(facts::router(&shared)).with_state(shared).merge(tunnel)
}
