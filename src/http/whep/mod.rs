//! WHEP (protocol.md section 5): one `POST` with an offer makes a session, its own URL steers and ends it.

mod links;
mod patch;
mod pending;
pub(super) mod resource;
pub mod sdp_fragment;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};

use self::pending::{PendingOffer, gone, no_random};
use self::resource::Resource;
use super::limit;
use super::problem::Problem;
use super::request::{ClientHost, is_of_type, text, token};
use super::services::ServerState;
use crate::access::offer_authorizer::AccessMode;
use crate::access::permissions::Privilege;
use crate::config::Secret;
use crate::sessions::table::{WhepMessage, WhepOffer};
use crate::signaling::message::{ErrorCode, IceServer, Refusal};

const SDP: &str = "application/sdp";
const SESSION_METHODS: &str = "OPTIONS, PATCH, DELETE";
const ACCEPT_PATCH: (HeaderName, &str) = (HeaderName::from_static("accept-patch"), patch::FRAGMENT);

/// Players run in pages of other origins. What protects is the token, not the browser: with open access there is none.
const CORS: [(HeaderName, &str); 5] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "OPTIONS, POST, PATCH, DELETE"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location, ETag, Link, Retry-After, Accept-Patch"),
    (header::ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// The routes.
pub(super) fn router(shared: &Arc<ServerState>) -> Router<Arc<ServerState>> {
    let routes = Router::new().route("/whep", any(endpoint)).route("/whep/{id}", any(session));
    limit::layer(routes, limit::QUESTIONS, shared).layer(map_response(with_cors))
}

async fn with_cors(mut response: Response) -> Response {
    for (name, value) in CORS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn endpoint(
    State(shared): State<Arc<ServerState>>,
    Extension(peer): Extension<ClientHost>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    match method {
        Method::POST => match offered(&headers, body).await {
            Ok(sdp) => post(&shared, peer, &headers, sdp).await,
            Err(problem) => {
                shared.note_refused_offer(&problem);
                Err(problem)
            }
        },
        Method::OPTIONS => {
            let accepts = [(header::ALLOW, "OPTIONS, POST"), (HeaderName::from_static("accept-post"), SDP)];
            let mut response = (StatusCode::NO_CONTENT, accepts).into_response();
            add_links(&mut response, &servers_for(&shared, &headers));
            Ok(response)
        }
        _ => Ok(not_allowed("OPTIONS, POST", "POST an offer here")),
    }
}

async fn session(
    State(shared): State<Arc<ServerState>>,
    Path(id): Path<String>,
    Extension(peer): Extension<ClientHost>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    match method {
        Method::PATCH => {
            let resource = find(&shared, &id, &headers)?;
            patch::patch(&shared, &resource, peer, &headers, body).await
        }
        Method::DELETE => {
            let resource = find(&shared, &id, &headers)?;
            shared.whep.close(&id);
            if let Some(mailbox) = resource.mailbox() {
                shared.services.sessions.whep(resource.key.clone(), WhepMessage::Bye, mailbox).await;
            }
            Ok(StatusCode::OK.into_response())
        }
        Method::OPTIONS => {
            Ok((StatusCode::NO_CONTENT, [(header::ALLOW, SESSION_METHODS), ACCEPT_PATCH]).into_response())
        }
        _ => Ok(not_allowed(SESSION_METHODS, "PATCH adds candidates, DELETE ends the session")),
    }
}

fn not_allowed(allowed: &'static str, instead: &str) -> Response {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("not this method: {instead}"));
    ([(header::ALLOW, allowed)], problem).into_response()
}

/// The servers that a player hears of before its offer (RFC 9725 section 4.6): some ask for them by `OPTIONS` alone. A
/// preflight bears no token, so passwords are for whoever would get them with an answer.
fn servers_for(shared: &ServerState, headers: &HeaderMap) -> Vec<IceServer> {
    let token = token(headers);
    let may_view =
        shared.services.authorizer.admit(token.as_ref().map(Secret::expose), Privilege::Watch).is_ok();
    let servers = shared.services.ice_servers.iter();
    servers.filter(|server| may_view || server.credential.is_none()).cloned().collect()
}

/// The session behind a URL. The URL is a secret of 128 random bits that only its player was told, so that nothing else is
/// asked for (many players send no `Authorization` after their offer); a token that is shown all the same must be the right one.
fn find(shared: &ServerState, id: &str, headers: &HeaderMap) -> Result<Arc<Resource>, Problem> {
    let resource = shared.whep.get(id).ok_or_else(gone)?;
    if !headers.contains_key(header::AUTHORIZATION) || resource.admits(token(headers).as_ref()) {
        return Ok(resource);
    }
    let text = "this session was made with another token: send it as `Authorization: Bearer TOKEN`";
    Err(Refusal::new(ErrorCode::Unauthorized, text).into())
}

/// The offer in a request.
async fn offered(headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    if !is_of_type(headers, SDP) {
        let text = "send the offer as `Content-Type: application/sdp`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    text(body).await
}

async fn post(
    shared: &ServerState,
    peer: ClientHost,
    headers: &HeaderMap,
    sdp: String,
) -> Result<Response, Problem> {
    let token = token(headers);
    let bearer = match shared.services.access {
        AccessMode::Open => None,
        AccessMode::Grants => token.clone(),
    };
    let (id, resource, mailbox) = shared.whep.open(sdp.clone(), bearer).map_err(no_random)?;
    let mut exchange = resource.exchange.lock().await;
    let offer = WhepOffer::new(sdp, token, peer.0);
    let (sessions, tasks) = (&shared.services.sessions, &shared.tasks);
    let pending = PendingOffer { sessions, tasks, key: &resource.key, ends: true };
    let (sdp, ice_servers) = pending.answer(offer, mailbox, &mut exchange).await?;
    let created = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        // Relative to the URL that was asked (RFC 9110 section 10.2.2): behind a proxy that is another one than here.
        (header::LOCATION, format!("whep/{id}")),
        (header::ETAG, exchange.etag.clone()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let mut response = (StatusCode::CREATED, created, [ACCEPT_PATCH], sdp).into_response();
    add_links(&mut response, &ice_servers);
    Ok(response)
}

fn add_links(response: &mut Response, servers: &[IceServer]) {
    for link in links::links(servers) {
        response.headers_mut().append(header::LINK, link);
    }
}
