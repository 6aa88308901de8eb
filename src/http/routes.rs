//! Which part answers which request.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::page::{self, PageInfo};
use super::services::{ServerState, Services};
use super::{facts, tunnel, whep};
use crate::base::tasks::TaskGroup;

/// The page.
pub(super) fn page(info: PageInfo) -> Router {
    Router::new()
        .route("/viewer.json", get(page::viewer_json))
        .fallback(page::asset)
        .with_state(Arc::new(info))
}

/// All else.
pub(super) fn services(services: Services, tasks: &TaskGroup) -> Router {
    let shared = Arc::new(ServerState { services, whep: Arc::default(), tasks: tasks.clone() });
    let tunnel = shared.services.broker.map_or_else(Router::new, |broker| tunnel::router(broker, tasks));
    whep::router(&shared).merge(facts::router(&shared)).with_state(shared).merge(tunnel)
}
