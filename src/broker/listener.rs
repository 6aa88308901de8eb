//! The embedded broker's sockets: whoever connects gets a place, a doorman and the library's handler.
//!
//! The library has listeners of its own. They wait for one WebSocket handshake before they take the next
//! connection, without a limit in time, and cannot end a connection; so these are ours.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::transport::BrokerTransport;
use mqtt5::broker::websocket_server::WebSocketStreamWrapper;
use mqtt5::broker::{BrokerConfig, ResourceMonitor};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::doorman::{Doorman, Gate, Provider};
use super::{MAX_PACKET_BYTES, WEBSOCKET_PATH};
use crate::base::limits::PerHost;
use crate::base::tasks::TaskGroup;

/// For an HTTP request and its answer; the MQTT greeting has the library's own 10 s after it.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How often a connection looks whether it is still welcome, if it does nothing else.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often it asks even if nothing was changed, because rights run out.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// For the end of a connection that is shown out; then it is cut.
const END_LIMIT: Duration = Duration::from_secs(2);
/// After a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const HEADER: &str = "Sec-WebSocket-Protocol";

/// What all connections share.
pub(super) struct Hall {
    pub config: Arc<BrokerConfig>,
    pub router: Arc<MessageRouter>,
    pub monitor: Arc<ResourceMonitor>,
    pub stats: Arc<BrokerStats>,
    pub gate: Arc<Gate>,
    pub places: PerHost,
}

/// How a listener's connections speak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Tcp,
    WebSocket,
}

/// Accepts until `tasks`, in which the connections are served, is cancelled.
pub(super) async fn accept(hall: Arc<Hall>, listener: TcpListener, speech: Speech, tasks: TaskGroup) {
    let mut cancelled = std::pin::pin!(tasks.cancelled());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut cancelled => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "the built-in broker cannot take a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = hall.places.enter(address.ip()) else {
            tracing::debug!(%address, "the built-in broker has no place for another connection");
            continue;
        };
        let (hall, end) = (Arc::clone(&hall), tasks.cancelled());
        tasks.spawn_finite("broker-connection", async move {
            let _place = place;
            let mut end = std::pin::pin!(end);
            let greeted = tokio::select! {
                greeted = greet(stream, speech) => greeted,
                () = &mut end => None,
            };
            if let Some(transport) = greeted {
                serve(&hall, transport, address, end).await;
            }
        });
    }
}

async fn greet(stream: TcpStream, speech: Speech) -> Option<BrokerTransport> {
    // Small messages are sent at once; without it they only come later.
    let _ = stream.set_nodelay(true);
    if speech == Speech::Tcp {
        return Some(BrokerTransport::tcp(stream));
    }
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

/// One connection, until it ends by itself, is no longer welcome, or the broker stops.
async fn serve(
    hall: &Arc<Hall>,
    transport: BrokerTransport,
    address: SocketAddr,
    mut cancelled: Pin<&mut impl Future<Output = ()>>,
) {
    let doorman = Arc::new(Doorman::new(Arc::clone(&hall.gate)));
    let (end, ended) = broadcast::channel(1);
    let handler = ClientHandler::new(
        transport,
        address,
        Arc::clone(&hall.config),
        Arc::clone(&hall.router),
        Arc::new(Provider(Arc::clone(&doorman))),
        None,
        Arc::clone(&hall.stats),
        Arc::clone(&hall.monitor),
        ended,
    );
    let mut run = std::pin::pin!(handler.run());
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = Instant::now();
    loop {
        tokio::select! {
            outcome = &mut run => {
                if let Err(error) = outcome {
                    tracing::debug!(%address, %error, "a connection to the built-in broker has failed");
                }
                return;
            }
            _ = look.tick() => {
                let anyway = asked.elapsed() >= ASK_EVERY;
                if anyway {
                    asked = Instant::now();
                }
                doorman.ask_again(anyway);
            }
            () = doorman.shown_out.notified() => {
                tracing::info!(%address, "a client of the built-in broker has lost its grant and is disconnected");
                break;
            }
            () = &mut cancelled => break,
        }
    }
    // Fails only where the handler has just ended.
    let _ = end.send(());
    if timeout(END_LIMIT, run).await.is_err()
        && let Some(client_id) = doorman.client_id()
    {
        // It hangs in writing to somebody who does not read. Dropped, it cannot tidy up.
        hall.router.unregister_client(&client_id).await;
        hall.monitor.unregister_connection(&client_id, address.ip()).await;
    }
}
