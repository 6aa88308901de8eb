//! `PATCH` on a session's URL: further candidates, or another ICE generation (RFC 9725 section 4.3, which WHEP shares).

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::pending::{PendingOffer, gone, no_random};
use super::resource::{Exchange, Resource, new_etag};
use super::sdp_fragment::{SdpFragment, of_answer, restarted};
use crate::http::problem::Problem;
use crate::http::request::{ClientHost, is_of_type, text};
use crate::http::services::ServerState;
use crate::sessions::table::{WhepMessage, WhepOffer};

/// The type of its body.
pub(super) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// What a request's `If-Match` says of the generation it is about.
#[derive(Debug, PartialEq, Eq)]
enum Match {
    /// Nothing: there is no such header.
    Unsaid,
    /// This one, or any.
    Fits,
    /// Another one.
    Differs,
}

impl Match {
    fn of(header: Option<&str>, etag: &str) -> Self {
        match header {
            None => Self::Unsaid,
            Some(tags) if tags.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag) => Self::Fits,
            Some(_) => Self::Differs,
        }
    }
}

/// Carries out a `PATCH` for whoever may steer the session.
pub(super) async fn patch(
    shared: &ServerState,
    resource: &Resource,
    peer: ClientHost,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !is_of_type(headers, FRAGMENT) {
        let text = format!("send candidates as `Content-Type: {FRAGMENT}`");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let bad = |text: String| Problem::new(StatusCode::BAD_REQUEST, text);
    let fragment = text(body).await.and_then(|text| SdpFragment::parse(&text).map_err(bad));
    let fragment = fragment.inspect_err(|problem| {
        let (sessions, key) = (&shared.services.sessions, resource.key.clone());
        sessions.note_refusal(key, problem.refusal().clone());
    })?;
    let mut exchange = resource.exchange.lock().await;
    let generation = fragment.restarts(&exchange.offer).map_err(bad)?;
    let tags = headers.get(header::IF_MATCH).map(|tags| tags.to_str().unwrap_or_default());
    match Match::of(tags, &exchange.etag) {
        Match::Differs => {
            let text =
                "`If-Match` names an ICE generation that is over; use the latest `ETag`, or restart with `*`";
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, text));
        }
        // Candidates name their generation themselves; many players send no more than those.
        Match::Unsaid if generation.is_some() => {
            let text = "restart ICE with `If-Match: *`, or with the latest `ETag`";
            return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, text));
        }
        Match::Fits | Match::Unsaid => {}
    }
    let answer = match generation {
        None => None,
        Some((ufrag, pwd)) => {
            let sdp = restarted(&exchange.offer, ufrag, pwd);
            let offer = WhepOffer::new(sdp, resource.bearer.clone(), peer.0);
            Some(restart(shared, resource, &mut exchange, offer).await?)
        }
    };
    for candidate in fragment.candidates {
        let mailbox = resource.mailbox().ok_or_else(gone)?;
        shared.services.sessions.whep(resource.key.clone(), WhepMessage::Candidate(candidate), mailbox).await;
    }
    let Some(answer) = answer else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let named = [(header::CONTENT_TYPE, FRAGMENT), (header::ETAG, &exchange.etag)];
    Ok((named, of_answer(&answer)).into_response())
}

/// Another ICE generation of the same session. A refused one changes nothing.
async fn restart(
    shared: &ServerState,
    resource: &Resource,
    exchange: &mut Exchange,
    offer: WhepOffer,
) -> Result<String, Problem> {
    // An answer that nobody waited for any more.
    while exchange.inbox.try_recv().is_ok() {}
    let mailbox = resource.mailbox().ok_or_else(gone)?;
    let sdp = offer.offer.sdp.clone();
    let (sessions, tasks) = (&shared.services.sessions, &shared.tasks);
    let pending = PendingOffer { sessions, tasks, key: &resource.key, ends: false };
    let (answer, _) = pending.answer(offer, mailbox, exchange).await?;
    exchange.offer = sdp;
    exchange.etag = new_etag().map_err(no_random)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared() {
        let etag = "\"abc\"";
        assert_eq!(Match::of(None, etag), Match::Unsaid);
        for fits in ["*", etag, "\"x\", \"abc\""] {
            assert_eq!(Match::of(Some(fits), etag), Match::Fits, "{fits}");
        }
        for differs in ["", "abc", "\"abcd\"", "W/\"abc\""] {
            assert_eq!(Match::of(Some(differs), etag), Match::Differs, "{differs}");
        }
    }
}
