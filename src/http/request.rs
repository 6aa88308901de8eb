//! What requests have in common: where they come from, the token they bear, a body of bounded size.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::problem::Problem;
use crate::config::Secret;
use crate::signaling::message::{ErrorCode, MAX_SIGNAL_BYTES, Refusal};

/// How long a body may take.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientHost(pub IpAddr);

/// The token of `Authorization: Bearer TOKEN`. Players that only know addresses like `http://GRANT:TOKEN@camera/` send
/// it as the password of `Basic`.
pub(super) fn token(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.trim().split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(credentials));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
        return decoded.split_once(':').map(|(_, password)| Secret::new(password));
    }
    None
}

/// Whether the content type is `wanted`, whatever its parameters.
pub(super) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

/// The body as text, of at most the size that a signal message may have.
pub(super) async fn text(body: Body) -> Result<String, Problem> {
    let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, "the request's body did not come within 10 s");
    let limited = Limited::new(body, MAX_SIGNAL_BYTES);
    let collected = timeout(BODY_LIMIT, limited.collect()).await.map_err(|_| late())?;
    let bytes: Bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = format!("the request's body is longer than {MAX_SIGNAL_BYTES} bytes");
            return Err(Refusal::new(ErrorCode::TooLarge, text).into());
        }
        Err(error) => {
            return Err(Problem::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")));
        }
    };
    match String::from_utf8(bytes.into()) {
        Ok(text) if text.contains('\0') => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "the body contains a NUL character"))
        }
        Ok(text) => Ok(text),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body is not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn tokens_are_found_where_players_put_them() {
        let found =
            |value: &str| token(&with(header::AUTHORIZATION, value)).map(|secret| secret.expose().to_owned());
        assert_eq!(found("Bearer abc-_1").as_deref(), Some("abc-_1"));
        assert_eq!(found("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(found("Basic YW5uYTpzZWNyZXQ=").as_deref(), Some("secret"), "anna:secret");
        for wrong in ["", "Bearer", "abc", "Digest x", "Basic !!", "Basic YW5uYQ=="] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parameters_do_not_change_a_type() {
        assert!(is_of_type(&with(header::CONTENT_TYPE, "Application/SDP; charset=utf-8"), "application/sdp"));
        assert!(!is_of_type(&with(header::CONTENT_TYPE, "application/sdpx"), "application/sdp"));
        assert!(!is_of_type(&HeaderMap::new(), "application/sdp"));
    }
}
