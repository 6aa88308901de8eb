//! How much one host, and all together, may ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::{Extension, Router};

use super::problem::Problem;
use super::request::{ClientHost, token};
use super::services::ServerState;
use crate::base::limits::{Capacity, PerHost};
use crate::sessions::rate::{RateLimit, Requester, TokenRate};
use crate::signaling::message::{ErrorCode, Refusal};

/// Connections at the same time; what comes beyond is closed at once.
const MAX_CONNECTIONS: usize = 256;
/// Of them, those of one host other than this machine: a browser opens six.
const MAX_PER_HOST: usize = 64;

/// Where offers are posted.
const OFFERS: &str = "/whep";

/// Of one, and of all together.
type Rates = (TokenRate, TokenRate);

const fn rates(burst: f64, per_second: f64, all_burst: f64, all_per_second: f64) -> Rates {
    (TokenRate { burst, per_second }, TokenRate { burst: all_burst, per_second: all_per_second })
}

/// How much of something may be asked.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    /// By hosts that have not shown who they are: behind a proxy all of them are one.
    strangers: Rates,
    /// By holders of a grant, wherever they are, and about one session. What strangers ask does not count.
    known: Rates,
}

/// What is answered out of memory. Several monitors and dashboards behind one address have enough of it; a hundred viewers
/// may share a grant.
pub(super) const QUESTIONS: Allowed =
    Allowed { strangers: rates(60.0, 20.0, 600.0, 200.0), known: rates(400.0, 60.0, 1200.0, 300.0) };
/// Still pictures. The camera itself gives two a second, shared by all that ask meanwhile.
pub(super) const PICTURES: Allowed =
    Allowed { strangers: rates(10.0, 2.0, 40.0, 10.0), known: rates(20.0, 4.0, 80.0, 20.0) };

/// Places for connections of all hosts, free.
pub(super) fn connections() -> PerHost {
    PerHost::new(Capacity {
        all: MAX_CONNECTIONS,
        one_host: MAX_PER_HOST,
        is_own_exempt: true,
        own: 0,
        own_waiting: MAX_CONNECTIONS / 2,
    })
}

/// What has been asked.
struct Asked {
    strangers: RateLimit,
    known: RateLimit,
}

/// The same routes, with what is too much refused.
pub(super) fn layer<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    allowed: Allowed,
    shared: &Arc<ServerState>,
) -> Router<S> {
    let two = |(one, all)| RateLimit::new(one, all);
    let asked = Arc::new(Mutex::new(Asked { strangers: two(allowed.strangers), known: two(allowed.known) }));
    let shared = Arc::clone(shared);
    router.route_layer(from_fn(
        move |Extension(peer): Extension<ClientHost>, request: Request, next: Next| {
            let (asked, known) = (Arc::clone(&asked), known(&shared, &request));
            let shared = Arc::clone(&shared);
            async move {
                match take(&asked, known, peer) {
                    Ok(()) => next.run(request).await,
                    Err(problem) => {
                        if request.method() == Method::POST && request.uri().path() == OFFERS {
                            shared.note_refused_offer(&problem);
                        }
                        problem.into_response()
                    }
                }
            }
        },
    ))
}

/// Who asks, where that is shown: by a grant's token, or by the secret part of a session's URL.
fn known(shared: &ServerState, request: &Request) -> Option<Requester> {
    let token = token(request.headers());
    if let Some(grant) = token.and_then(|token| shared.services.authorizer.holder(token.expose())) {
        return Some(Requester::Grant(grant));
    }
    let session = shared.whep.get(request.uri().path().strip_prefix("/whep/")?)?;
    Some(Requester::Viewer(session.key.viewer.clone()))
}

fn take(asked: &Mutex<Asked>, known: Option<Requester>, peer: ClientHost) -> Result<(), Problem> {
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = match known {
        Some(known) => asked.known.take(Instant::now(), known),
        None => asked.strangers.take(Instant::now(), Requester::host(peer.0)),
    };
    taken.map_err(|wait| {
        Refusal::new(ErrorCode::RateLimited, "too many requests in a short time").retry_after(wait).into()
    })
}
