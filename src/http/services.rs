//! What is served beside the page, and what every request can reach of it.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::metrics::Figures;
use super::problem::Problem;
use super::whep::resource::{Resources, new_key};
use crate::access::offer_authorizer::AccessMode;
use crate::access::permissions::Privilege;
use crate::base::tasks::TaskGroup;
use crate::media::Media;
use crate::sessions::Sessions;
use crate::signaling::message::{IceServer, Refusal};
use crate::signaling::topic::Id;

/// What the daemon knows of itself.
#[async_trait]
pub trait Facts: Send + Sync {
    /// `state` as dashboards get it over MQTT.
    fn state(&self) -> Value;
    /// The same without the names of viewers other than those of the grant `own`.
    fn state_without_other_viewers(&self, own: Option<&Id>) -> Value;
    /// What is counted and measured.
    fn figures(&self) -> Figures;
    /// What does not do its work, in words.
    async fn ailment(&self) -> Option<String>;
}

/// Who may have an answer.
pub trait RequestAuthorizer: Send + Sync {
    /// Whether the bearer of `token` may have his wish; everybody may where access is open.
    ///
    /// # Errors
    /// The refusal to answer with.
    fn admit(&self, token: Option<&str>, wish: Privilege<'_>) -> Result<(), Refusal>;

    /// The grant whose token this is.
    fn holder(&self, token: &str) -> Option<Id>;
}

/// Everything that is served beside the page.
pub struct Services {
    /// Who may watch.
    pub access: AccessMode,
    /// The same question for everything that is no session.
    pub authorizer: Arc<dyn RequestAuthorizer>,
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
pub(super) struct ServerState {
    pub services: Services,
    pub whep: Arc<Resources>,
    /// Where what outlives a request runs.
    pub tasks: TaskGroup,
}

impl ServerState {
    /// An offer was refused before anybody looked at it: it has no session, and gets a name of its own for whoever hears of it.
    pub fn note_refused_offer(&self, problem: &Problem) {
        // Without random numbers nothing else works either.
        if let Ok(key) = new_key() {
            self.services.sessions.note_refusal(key, problem.refusal().clone());
        }
    }
}
