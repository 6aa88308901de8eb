//! The embedded broker's sockets: each connection gets a slot, its admission and the library's handler.
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
use mqtt5::broker::{BrokerConfig, ResourceMonitor};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast};
use tokio::time::{sleep, timeout};

use super::admission::{AdmissionPolicy, AuthAdapter, ConnectionAdmission};
use super::websocket;
use crate::base::limits::{PerHost, Slot};
use crate::base::tasks::TaskGroup;
use crate::base::tcp;

/// How often a connection whose rights run out asks whether it is still welcome: the clock may be set, of which nobody tells.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// For the end of a connection that is shown out; then it is cut.
const END_LIMIT: Duration = Duration::from_secs(2);
/// After a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What all connections share.
pub(super) struct BrokerContext {
    pub config: Arc<BrokerConfig>,
    pub router: Arc<MessageRouter>,
    pub monitor: Arc<ResourceMonitor>,
    pub stats: Arc<BrokerStats>,
    pub policy: Arc<AdmissionPolicy>,
    pub connections: PerHost,
    /// Told when a connection has ended.
    pub left: Notify,
}

/// How a listener's connections speak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ListenerTransport {
    Tcp,
    WebSocket,
}

/// Accepts until `tasks`, in which the connections are served, is cancelled.
pub(super) async fn accept(
    context: Arc<BrokerContext>,
    listener: TcpListener,
    kind: ListenerTransport,
    tasks: TaskGroup,
) {
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
        let Some(slot) = context.connections.enter_waiting(address.ip()) else {
            tracing::debug!(%address, "the built-in broker has no room for another connection");
            continue;
        };
        let (context, end) = (Arc::clone(&context), tasks.cancelled());
        tasks.spawn_finite("broker-connection", async move {
            let mut end = std::pin::pin!(end);
            let opened = tokio::select! {
                opened = open_transport(stream, kind, context.policy.authenticator.is_open()) => opened,
                () = &mut end => None,
                () = slot.evicted() => None,
            };
            if let Some(transport) = opened {
                serve(&context, transport, address, &slot, end).await;
                context.left.notify_one();
            }
        });
    }
}

async fn open_transport(
    stream: TcpStream,
    kind: ListenerTransport,
    is_open: bool,
) -> Option<BrokerTransport> {
    tcp::prepare(&stream).ok()?;
    if kind == ListenerTransport::Tcp {
        return Some(BrokerTransport::tcp(stream));
    }
    websocket::accept(stream, is_open).await
}

/// One connection, until it ends by itself, is no longer welcome, or the broker stops.
async fn serve(
    context: &Arc<BrokerContext>,
    transport: BrokerTransport,
    address: SocketAddr,
    slot: &Slot,
    mut cancelled: Pin<&mut impl Future<Output = ()>>,
) {
    let admission = Arc::new(ConnectionAdmission::new(Arc::clone(&context.policy)));
    let (end, ended) = broadcast::channel(1);
    let handler = ClientHandler::new(
        transport,
        address,
        Arc::clone(&context.config),
        Arc::clone(&context.router),
        Arc::new(AuthAdapter(Arc::clone(&admission))),
        None,
        Arc::clone(&context.stats),
        Arc::clone(&context.monitor),
        ended,
    );
    let mut run = std::pin::pin!(handler.run());
    loop {
        tokio::select! {
            outcome = &mut run => {
                if let Err(error) = outcome {
                    tracing::debug!(%address, %error, "a connection to the built-in broker has failed");
                }
                return;
            }
            () = admission.may_have_changed(ASK_EVERY) => {
                admission.reauthenticate(true);
            }
            () = admission.revoked.notified() => {
                tracing::info!(%address, "a client of the built-in broker has lost its grant and is disconnected");
                break;
            }
            () = admission.admitted.notified() => slot.set_waiting(false),
            () = slot.evicted() => break,
            () = &mut cancelled => break,
        }
    }
    // Fails only where the handler has just ended.
    let _ = end.send(());
    if timeout(END_LIMIT, run).await.is_err()
        && let Some(client_id) = admission.client_id()
    {
        // It hangs in writing to somebody who does not read. Dropped, it cannot tidy up.
        context.router.unregister_client(&client_id).await;
        context.monitor.unregister_connection(&client_id, address.ip()).await;
    }
}
