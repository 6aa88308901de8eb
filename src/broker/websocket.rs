//! MQTT over WebSocket: the greeting, before the library takes over (MQTT 5 section 6).

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
/// For an HTTP request and its answer; the MQTT greeting has the library's own 10 s after it.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER: &str = "Sec-WebSocket-Protocol";

/// The connection once it speaks WebSocket; `None` where it does not, or not in time.
pub(super) async fn greet(stream: TcpStream) -> Option<BrokerTransport> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_PACKET_BYTES))
        .max_frame_size(Some(MAX_PACKET_BYTES))
        .max_write_buffer_size(4 * MAX_PACKET_BYTES);
    let handshake = accept_hdr_async_with_config(stream, answer, Some(config));
    let stream = timeout(HANDSHAKE_LIMIT, handshake).await.ok()?.ok()?;
    Some(BrokerTransport::websocket(WebSocketStreamWrapper::new(stream)))
}

#[expect(clippy::result_large_err, reason = "the type that the library asks for")]
fn answer(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() != WEBSOCKET_PATH {
        let mut refusal = ErrorResponse::new(Some(format!("MQTT is spoken at {WEBSOCKET_PATH}\n")));
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        return Err(refusal);
    }
    let offered = request.headers().get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if offered.split(',').any(|protocol| protocol.trim() == "mqtt") {
        response.headers_mut().insert(HEADER, HeaderValue::from_static("mqtt"));
    }
    Ok(response)
}
