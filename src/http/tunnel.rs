//! The built-in broker's WebSocket at `/mqtt` of this server, so that a page over https has a `wss` way to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::limit::connections;
use super::problem::Problem;
use super::request::ClientHost;
use crate::base::limits::PerHost;
use crate::base::tasks::TaskGroup;
use crate::base::tcp;
use crate::signaling::message::{ErrorCode, Refusal};

/// The path, here and at the broker.
pub const PATH: &str = "/mqtt";
/// How long the broker may take to agree.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Of a handshake's answer.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// What of a handshake the broker has to know, and what its answer tells.
const ASKED: [&str; 5] = [
    "origin",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];
const ANSWERED: [&str; 3] = ["sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions"];

struct Tunnels {
    broker: SocketAddr,
    hosts: PerHost,
    tasks: TaskGroup,
}

/// The route to the broker at this address. Tunnels run in tasks of `tasks`.
pub(super) fn router(broker: SocketAddr, tasks: &TaskGroup) -> Router {
    let tunnels = Tunnels { broker, hosts: connections(), tasks: tasks.clone() };
    Router::new().route(PATH, get(open)).with_state(Arc::new(tunnels))
}

async fn open(
    State(tunnels): State<Arc<Tunnels>>,
    Extension(peer): Extension<ClientHost>,
    mut request: Request,
) -> Result<Response, Problem> {
    let upgrade = request.headers().get(header::UPGRADE);
    if !upgrade.is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "here is MQTT over WebSocket, for the page"));
    }
    let permit = tunnels.hosts.enter(peer.0).ok_or_else(|| {
        Refusal::new(ErrorCode::RateLimited, "too many connections of this host").retry_after(10)
    })?;
    let away = |error: std::io::Error| {
        Refusal::new(ErrorCode::Internal, format!("the built-in broker does not answer: {error}"))
    };
    let shaken = timeout(ANSWER_LIMIT, shake(tunnels.broker, request.headers())).await;
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let (mut broker, head, rest) = shaken.map_err(late).and_then(|shaken| shaken).map_err(away)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let end = tunnels.tasks.cancelled();
    tunnels.tasks.spawn_finite("mqtt tunnel", async move {
        let _permit = permit;
        let carried = async {
            if let Ok(upgraded) = upgrade.await {
                let mut client = TokioIo::new(upgraded);
                if client.write_all(&rest).await.is_ok() {
                    let _ = copy_bidirectional(&mut client, &mut broker).await;
                }
            }
        };
        tokio::select! {
            () = end => {}
            () = carried => {}
        }
    });
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
    *response.headers_mut() = head;
    Ok(response)
}

/// Asks the broker as the client did: the connection, the headers of its consent, and what came after them.
async fn shake(broker: SocketAddr, asked: &HeaderMap) -> std::io::Result<(TcpStream, HeaderMap, Vec<u8>)> {
    let mut stream = TcpStream::connect(broker).await?;
    tcp::prepare(&stream)?;
    // As the page asked: where nobody needs a password the broker compares it with the page's origin.
    let host = asked.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let mut head =
        format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    for name in ASKED {
        for value in asked.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
            head.extend([name, ": ", value, "\r\n"]);
        }
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > MAX_HEAD_BYTES || stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::Error::other("its handshake breaks off"));
        }
    };
    let rest = bytes.split_off(end + 4);
    let said = String::from_utf8_lossy(&bytes);
    if said.split(' ').nth(1) != Some("101") {
        let line = said.lines().next().unwrap_or_default();
        return Err(std::io::Error::other(format!("it says {line}")));
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    for (name, value) in said.lines().filter_map(|line| line.split_once(':')) {
        let name = name.trim().to_ascii_lowercase();
        if let (true, Ok(name), Ok(value)) = (
            ANSWERED.contains(&name.as_str()),
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value.trim()),
        ) {
            headers.append(name, value);
        }
    }
    Ok((stream, headers, rest))
}
