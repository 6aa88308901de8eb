//! What programs ask of a running daemon: is it well, how is it, its figures, and a still picture.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::limit;
use super::metrics::{self, Format};
use super::problem::Problem;
use super::request::token;
use super::services::ServerState;
use crate::access::permissions::Privilege;
use crate::config::Secret;
use crate::media::{MAX_SNAPSHOT_WIDTH as MAX_WIDTH, MIN_SNAPSHOT_WIDTH as MIN_WIDTH, MediaError};
use crate::signaling::message::{ErrorCode, Refusal};

/// What `access::permissions` knows of.
const STATE: &str = "/api/state";
const METRICS: &str = "/metrics";
const SNAPSHOT: &str = "/snapshot.jpg";

/// The routes. Those that make the camera work or wait for it are limited the most.
pub(super) fn router(shared: &Arc<ServerState>) -> Router<Arc<ServerState>> {
    let mut facts = Router::new().route("/healthz", get(health)).route(STATE, get(state));
    if shared.services.metrics {
        facts = facts.route(METRICS, get(figures));
    }
    let facts = limit::layer(facts, limit::QUESTIONS, shared);
    facts.merge(limit::layer(Router::new().route(SNAPSHOT, get(snapshot)), limit::PICTURES, shared))
}

fn admit(shared: &ServerState, headers: &HeaderMap, path: &str) -> Result<(), Problem> {
    let token = token(headers);
    Ok(shared.services.authorizer.admit(token.as_ref().map(Secret::expose), Privilege::Http(path))?)
}

/// Tells everybody whether the daemon works, and nobody who watches.
async fn health(State(shared): State<Arc<ServerState>>) -> Response {
    let fresh = [(header::CACHE_CONTROL, "no-store")];
    match shared.services.facts.ailment().await {
        None => (fresh, Json(json!({"status": "ok"}))).into_response(),
        Some(ailment) => {
            let failing = Json(json!({"status": "failing", "detail": ailment}));
            (StatusCode::SERVICE_UNAVAILABLE, fresh, failing).into_response()
        }
    }
}

async fn state(State(shared): State<Arc<ServerState>>, headers: HeaderMap) -> Result<Response, Problem> {
    admit(&shared, &headers, STATE)?;
    let (token, authorizer) = (token(&headers), &shared.services.authorizer);
    let token = token.as_ref().map(Secret::expose);
    let facts = &shared.services.facts;
    let state = if authorizer.admit(token, Privilege::OtherViewers).is_ok() {
        facts.state()
    } else {
        facts.state_without_other_viewers(token.and_then(|token| authorizer.holder(token)).as_ref())
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(state)).into_response())
}

async fn figures(State(shared): State<Arc<ServerState>>, headers: HeaderMap) -> Result<Response, Problem> {
    admit(&shared, &headers, METRICS)?;
    let format = Format::of(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    let text = metrics::write(shared.services.facts.figures(), format).map_err(|error| {
        Refusal::new(ErrorCode::Internal, format!("the figures cannot be written: {error}"))
    })?;
    Ok(([(header::CONTENT_TYPE, format.mime()), (header::CACHE_CONTROL, "no-store")], text).into_response())
}

async fn snapshot(
    State(shared): State<Arc<ServerState>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    admit(&shared, &headers, SNAPSHOT)?;
    let width = width(uri.query().unwrap_or_default())?;
    let picture = shared.services.media.snapshot(width).await.map_err(|error| refusal(&error))?;
    let kind = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")];
    Ok((kind, picture.jpeg).into_response())
}

/// `?width=640`; anything else in a query is somebody's way around a cache.
fn width(query: &str) -> Result<Option<u32>, Problem> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let Some((_, text)) = pairs.find(|(name, _)| name == "width") else { return Ok(None) };
    match text.parse() {
        Ok(width) if (MIN_WIDTH..=MAX_WIDTH).contains(&width) => Ok(Some(width)),
        _ => {
            let text = format!("`width` is a number of pixels from {MIN_WIDTH} to {MAX_WIDTH}");
            Err(Problem::new(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// What a picture that was not taken is called on the wire.
fn refusal(error: &MediaError) -> Refusal {
    match error {
        MediaError::Private => Refusal::new(ErrorCode::Privacy, error.to_string()),
        MediaError::SnapshotBusy => Refusal::new(ErrorCode::RateLimited, error.to_string()).retry_after(1),
        _ => Refusal::new(ErrorCode::CameraUnavailable, error.to_string()).retry_after(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_width_counts() {
        assert_eq!(width("").unwrap(), None);
        assert_eq!(width("_=17&t=now").unwrap(), None);
        assert_eq!(width("t=1&width=640").unwrap(), Some(640));
        for wrong in ["width=", "width=0", "width=-1", "width=99999999999", "width=ten"] {
            assert!(width(wrong).is_err(), "{wrong}");
        }
    }
}
