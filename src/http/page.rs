//! The viewer page and what it needs to know.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::assets;
use crate::signaling::message::IceServer;

/// What the page must be told beside its link.
#[derive(Clone, Debug)]
pub struct PageInfo {
    /// The device id.
    pub device: String,
    /// Its name for people.
    pub name: String,
    /// First level of all topics.
    pub root: String,
    /// Who may watch: `open` or `grants`.
    pub access: &'static str,
    /// How a browser reaches the broker.
    pub broker: PageBroker,
    /// STUN and TURN servers, so that the browser can gather before the answer comes.
    pub ice_servers: Vec<IceServer>,
}

/// How a browser reaches the broker.
#[derive(Clone, Debug)]
pub enum PageBroker {
    /// The embedded one: on the host that served the page, at this port and path.
    SameHost {
        /// Its WebSocket port.
        port: u16,
        /// Its WebSocket path.
        path: &'static str,
    },
    /// The embedded one, through the server of the page, which has TLS: at this path.
    SamePort {
        /// The path.
        path: &'static str,
    },
    /// At this `ws://` or `wss://` URL.
    Url(String),
    /// Only over TCP, which browsers cannot speak: the link must name a WebSocket address.
    Unknown,
}

pub(super) async fn viewer_json(State(info): State<Arc<PageInfo>>, headers: HeaderMap) -> Json<Value> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let broker = match &info.broker {
        PageBroker::SameHost { port, path } => {
            host.map(|host| format!("ws://{}:{port}{path}", host_name(host)))
        }
        PageBroker::SamePort { path } => host.map(|host| format!("wss://{host}{path}")),
        PageBroker::Url(url) => Some(url.clone()),
        PageBroker::Unknown => None,
    };
    Json(json!({
        "v": 1,
        "device": info.device,
        "name": info.name,
        "root": info.root,
        "access": info.access,
        "broker": broker,
        "builtInBroker": matches!(info.broker, PageBroker::SameHost { .. } | PageBroker::SamePort { .. }),
        "iceServers": info.ice_servers,
    }))
}

/// The host without its port: `camera.local:8080` and `[2001:db8::1]:8080`.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

pub(super) async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    if assets::is_missing() {
        let text = "This Porthole was built without its viewer page. Run `make viewer` and build again.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    match assets::get(path) {
        Some(asset) => asset.response(&headers),
        None => (StatusCode::NOT_FOUND, "There is no such page here; the camera is at /.\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_cut_off_the_host() {
        for (host, name) in [
            ("camera.local:8080", "camera.local"),
            ("camera.local", "camera.local"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]:8080", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(host_name(host), name);
        }
    }
}
