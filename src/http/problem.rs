//! Refusals as RFC 9457 problem documents, with the codes of protocol.md section 2.1.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::signaling::message::{ErrorCode, Refusal};

/// Why a request was refused.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    refusal: Refusal,
}

impl Problem {
    /// A refusal that only HTTP knows: its code is `bad-message`.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, refusal: Refusal::new(ErrorCode::BadMessage, text) }
    }

    /// As everything else of the daemon knows it.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(refusal.code), refusal }
    }
}

/// The status that a code has.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadMessage | ErrorCode::UnsupportedVersion | ErrorCode::BadOffer => {
            StatusCode::BAD_REQUEST
        }
        // RFC 6750 section 3.1: an expired token is an invalid one.
        ErrorCode::Unauthorized | ErrorCode::Expired => StatusCode::UNAUTHORIZED,
        // Turned off by a person: trying again is of no use until a person turns it on.
        ErrorCode::Forbidden | ErrorCode::Privacy => StatusCode::FORBIDDEN,
        ErrorCode::NoSession => StatusCode::NOT_FOUND,
        ErrorCode::NoH264 => StatusCode::NOT_ACCEPTABLE,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Busy | ErrorCode::CameraUnavailable | ErrorCode::Internal => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, refusal } = self;
        // A client that is told to come back must be told when.
        let retry_after_s = refusal.retry_after_s.or(match status {
            StatusCode::SERVICE_UNAVAILABLE => Some(5),
            StatusCode::TOO_MANY_REQUESTS => Some(1),
            _ => None,
        });
        let mut document = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": refusal.message,
            "code": refusal.code.as_str(),
        });
        if let Some(seconds) = retry_after_s {
            document["retryAfter"] = seconds.into();
        }
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], document.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"porthole\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_the_contract() {
        let contract = [400, 401, 403, 404, 406, 413, 429, 503];
        for code in ErrorCode::ALL {
            let response = Problem::from(Refusal::new(code, "x")).into_response();
            let status = response.status().as_u16();
            assert!(contract.contains(&status), "{code:?}: {status}");
            let says_when = response.headers().contains_key(header::RETRY_AFTER);
            assert_eq!(says_when, [429, 503].contains(&status), "{code:?}");
        }
    }
}
