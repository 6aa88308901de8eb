//! How much one host, and all together, may ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::{Extension, Router};

use super::problem::Problem;
use super::request::ClientHost;
use crate::base::limits::{Capacity, PerHost};
use crate::sessions::rate::{RateLimit, Requester, TokenRate};
use crate::signaling::message::{ErrorCode, Refusal};

/// Connections at the same time; what comes beyond is closed at once.
const MAX_CONNECTIONS: usize = 256;
/// Of them, those of one host other than this machine: a browser opens six.
const MAX_PER_HOST: usize = 64;

/// Of one host, and of all together.
pub(super) type Rates = (TokenRate, TokenRate);

/// What is answered out of memory. Several monitors and dashboards behind one address have enough of it.
pub(super) const QUESTIONS: Rates =
    (TokenRate { burst: 60.0, per_second: 20.0 }, TokenRate { burst: 600.0, per_second: 200.0 });
/// Still pictures. The camera itself gives two a second, shared by all that ask meanwhile.
pub(super) const PICTURES: Rates =
    (TokenRate { burst: 10.0, per_second: 2.0 }, TokenRate { burst: 40.0, per_second: 10.0 });

/// Places for connections of all hosts, free.
pub(super) fn connections() -> PerHost {
    PerHost::new(Capacity { all: MAX_CONNECTIONS, one_host: MAX_PER_HOST, is_own_exempt: true, own: 0 })
}

/// The same routes, with what is too much refused.
pub(super) fn layer<S: Clone + Send + Sync + 'static>(router: Router<S>, (one, all): Rates) -> Router<S> {
    let limit = Arc::new(Mutex::new(RateLimit::new(one, all)));
    router.route_layer(from_fn(
        move |Extension(peer): Extension<ClientHost>, request: Request, next: Next| {
            let limit = Arc::clone(&limit);
            async move {
                match take(&limit, peer) {
                    Ok(()) => next.run(request).await,
                    Err(problem) => problem.into_response(),
                }
            }
        },
    ))
}

fn take(limit: &Mutex<RateLimit>, peer: ClientHost) -> Result<(), Problem> {
    let mut limit = limit.lock().unwrap_or_else(PoisonError::into_inner);
    limit.take(Instant::now(), Requester::host(peer.0)).map_err(|wait| {
        Refusal::new(ErrorCode::RateLimited, "too many requests in a short time").retry_after(wait).into()
    })
}
