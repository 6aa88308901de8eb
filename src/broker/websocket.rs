//! MQTT over WebSocket: the opening handshake, before the library takes over (MQTT 5 section 6).

use std::time::Duration;

use mqtt5::broker::transport::BrokerTransport;
use mqtt5::broker::websocket_server::WebSocketStreamWrapper;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::limits::MAX_PACKET_BYTES;

/// Path of MQTT over WebSocket.
pub const WEBSOCKET_PATH: &str = "/mqtt";
/// For an HTTP request and its answer; the CONNECT of MQTT has the library's own 10 s after it.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER: &str = "Sec-WebSocket-Protocol";

/// The connection once it speaks WebSocket; `None` where it does not, or not in time.
///
/// Where nobody is asked for a password (`is_open`), only pages of this very host may come: any other page that somebody on
/// the network opens could speak for him. Programs say no origin.
pub(super) async fn accept(stream: TcpStream, is_open: bool) -> Option<BrokerTransport> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_PACKET_BYTES))
        .max_frame_size(Some(MAX_PACKET_BYTES))
        .max_write_buffer_size(2 * MAX_PACKET_BYTES);
    #[expect(clippy::result_large_err, reason = "the type that the library asks for")]
    let answered = move |request: &Request, response: Response| answer(request, response, is_open);
    let handshake = accept_hdr_async_with_config(stream, answered, Some(config));
    let stream = timeout(HANDSHAKE_LIMIT, handshake).await.ok()?.ok()?;
    Some(BrokerTransport::websocket(WebSocketStreamWrapper::new(stream)))
}

#[expect(clippy::result_large_err, reason = "the type that the library asks for")]
fn answer(request: &Request, mut response: Response, is_open: bool) -> Result<Response, ErrorResponse> {
    if request.uri().path() != WEBSOCKET_PATH {
        let mut refusal = ErrorResponse::new(Some(format!("MQTT is spoken at {WEBSOCKET_PATH}\n")));
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        return Err(refusal);
    }
    let says = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if is_open && !is_same_host(request.headers().contains_key("Origin"), says("Origin"), says("Host")) {
        let words = "this camera asks nobody for a password, so it answers only pages of its own host\n";
        let mut refusal = ErrorResponse::new(Some(words.to_owned()));
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        return Err(refusal);
    }
    let offered = request.headers().get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if offered.split(',').any(|protocol| protocol.trim() == "mqtt") {
        response.headers_mut().insert(HEADER, HeaderValue::from_static("mqtt"));
    }
    Ok(response)
}

/// Whether a page of `origin` (RFC 6454) is of the host that it asks, at whatever port; `has_origin`: there is such a header at
/// all, which there is from browsers.
fn is_same_host(has_origin: bool, origin: Option<&str>, host: Option<&str>) -> bool {
    let name = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name.to_ascii_lowercase(),
        _ => host.to_ascii_lowercase(),
    };
    let asked = origin.and_then(|origin| origin.split_once("://")).map(|(_, of)| name(of));
    !has_origin || asked.is_some_and(|asked| host.map(name) == Some(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_host_is_told_from_our_own() {
        for (origin, host) in [
            ("http://camera.local:8080", "camera.local:9001"),
            ("https://Camera.local", "camera.local:9001"),
            ("http://[2001:db8::1]:8080", "[2001:db8::1]:9001"),
            ("http://192.0.2.1", "192.0.2.1"),
        ] {
            assert!(is_same_host(true, Some(origin), Some(host)), "{origin} {host}");
        }
        for origin in ["http://evil.example", "null", "", "http://camera.local.evil.example", "camera.local"]
        {
            assert!(!is_same_host(true, Some(origin), Some("camera.local:9001")), "{origin}");
        }
        assert!(!is_same_host(true, None, Some("camera.local")), "a header that is no text");
        assert!(!is_same_host(true, Some("http://a"), None));
        assert!(is_same_host(false, None, Some("camera.local")), "a program");
    }
}
