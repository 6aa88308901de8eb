//! Connections: accepted, counted, served, and ended when they take too long.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::body::Body as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::error::HttpError;
use super::limit::connections;
use super::page::PageInfo;
use super::request::ClientHost;
use super::routes::{page, services};
use super::services::Services;
use super::tls::{Certificate, CertificateFiles};
use crate::base::limits::Slot;
use crate::base::tasks::TaskGroup;
use crate::base::tcp;

/// How long the head of a request may take, and how long a connection may stay unused.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// Longer than any request takes. Clients that want more connect again, which they do by themselves.
const CONNECTION_LIMIT: Duration = Duration::from_mins(2);
/// What a request that is being answered then still has.
const LAST_REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// After the system could not give a connection: it is out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// An address that is bound, and not served yet.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    certificate: Option<Certificate>,
}

/// Binds `address`.
///
/// # Errors
/// Another program has it, or it is not one of this machine.
pub async fn bind(address: SocketAddr) -> Result<Listener, HttpError> {
    let failed = |reason| HttpError::Address { address, reason };
    let tcp = TcpListener::bind(address).await.map_err(failed)?;
    let address = tcp.local_addr().map_err(failed)?;
    Ok(Listener { tcp, address, certificate: None })
}

/// A running server; it and its connections end when this is dropped.
pub struct HttpServer {
    tasks: TaskGroup,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Listener {
    /// Where it really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same with TLS, by the certificate in these files, which are followed in a task of `tasks`.
    ///
    /// # Errors
    /// They cannot be used.
    pub async fn with_certificate(
        mut self,
        files: CertificateFiles,
        tasks: &TaskGroup,
    ) -> Result<Self, HttpError> {
        self.certificate = Some(Certificate::follow(files, tasks).await?);
        Ok(self)
    }

    /// Serves all there is from now on, in tasks of `tasks`. Tunnels to the broker outlive the server and end with
    /// `tasks`: viewers behind them are still told that the daemon stops.
    pub fn serve(self, info: PageInfo, offered: Services, tasks: &TaskGroup) -> HttpServer {
        self.start(page(info).merge(services(offered, tasks)), tasks)
    }

    /// Serves nothing but the page, in tasks of `tasks`.
    pub fn serve_page(self, info: PageInfo, tasks: &TaskGroup) -> HttpServer {
        self.start(page(info), tasks)
    }

    fn start(self, router: Router, tasks: &TaskGroup) -> HttpServer {
        let own = tasks.child();
        own.spawn("http", accept(self, router, own.clone()));
        HttpServer { tasks: own }
    }
}

/// Until `tasks` end, and its connections with it.
async fn accept(listener: Listener, router: Router, tasks: TaskGroup) {
    let hosts = connections();
    let mut end = pin!(tasks.cancelled());
    loop {
        let accepted = tokio::select! {
            () = &mut end => return,
            accepted = listener.tcp.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = hosts.enter_waiting(peer.ip()) else {
            tracing::debug!(%peer, "too many HTTP connections; one more was closed");
            continue;
        };
        let place = Arc::new(place);
        let router = router.clone().layer(Extension(ClientHost(peer.ip().to_canonical())));
        let router = router.layer(from_fn(serving)).layer(Extension(Arc::clone(&place)));
        let config = listener.certificate.as_ref().map(|own| Arc::clone(&own.current.borrow()));
        let end = tasks.cancelled();
        tasks.spawn_finite("http connection", async move {
            if tcp::prepare(&stream).is_err() {
                return;
            }
            let served = async {
                match config {
                    None => serve(stream, router).await,
                    Some(config) => serve_tls(stream, config, router).await,
                }
            };
            tokio::select! {
                () = end => {}
                () = served => {}
                () = place.evicted() => tracing::debug!(%peer, "a silent HTTP connection gave way to another"),
            }
        });
    }
}

/// While the answer to a whole request is made, the connection does not wait for the other side.
async fn serving(Extension(place): Extension<Arc<Slot>>, request: Request, next: Next) -> Response {
    place.set_waiting(!request.body().is_end_stream());
    let response = next.run(request).await;
    place.set_waiting(true);
    response
}

/// Who speaks plain HTTP here has typed the address without its `https`, and is sent there.
async fn serve_tls(stream: TcpStream, config: Arc<ServerConfig>, router: Router) {
    let mut first = [0];
    match timeout(HEAD_LIMIT, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0].is_ascii_alphabetic() => {
            serve(stream, Router::new().fallback(to_https)).await;
        }
        Ok(Ok(1)) => match timeout(HEAD_LIMIT, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, router).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
        _ => {}
    }
}

async fn to_https(uri: Uri, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match HeaderValue::from_str(&format!("https://{host}{path}")) {
        Ok(place) if !host.is_empty() => {
            (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, place)]).into_response()
        }
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, router: Router) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD_BYTES);
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades();
    let mut connection = pin!(connection);
    let ended = if let Ok(ended) = timeout(CONNECTION_LIMIT, connection.as_mut()).await {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(LAST_REQUEST_LIMIT, connection).await.unwrap_or(Ok(()))
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}
