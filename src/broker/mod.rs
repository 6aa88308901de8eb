//! The embedded MQTT broker, for a device or a demo that has no other. The only folder that names mqtt5.
//!
//! [`topic_acl`] says who may do what and [`limits`] how much of it, both pure; `admission` asks them for one
//! connection, `listener` has the sockets, `websocket` the opening handshake of browsers. There are no sessions that outlive a connection.

mod admission;
mod limits;
mod listener;
pub mod topic_acl;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::QueueLimits;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::{BrokerConfig, ResourceLimits, ResourceMonitor};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::base::tasks::TaskGroup;
use crate::config::{Broker as Addresses, Secret};
use crate::signaling::topic::{Id, Topics};
pub use admission::OwnCredentials;
use admission::{AdmissionPolicy, PublishFilter};
use limits::{MAX_CONNECTIONS, MAX_PACKET_BYTES, OWN_CONNECTIONS};
use listener::{BrokerContext, ListenerTransport};
use topic_acl::TopicAcl;
pub use topic_acl::{AuthFailure, ClientAuthenticator, ClientRights, OpenAccess};
pub use websocket::WEBSOCKET_PATH;

/// What one client may publish in a second; a snapshot of the device has to fit in.
const MAX_BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;
/// Messages on their way to one client, and those behind them: for one that reads slowly. Beyond it the
/// oldest are dropped.
const MAX_SENDING_MESSAGES: usize = 64;
const MAX_QUEUED_MESSAGES: usize = 256;
const MAX_QUEUED_BYTES: usize = 1536 * 1024;
/// The device keeps five topics; discovery adds some.
const MAX_RETAINED_MESSAGES: usize = 1_000;
const MAX_RETAINED_BYTES: usize = 512 * 1024;
/// A viewer has four, a dashboard a few more.
const MAX_SUBSCRIPTIONS: usize = 64;
/// Messages with QoS 2 that a client may leave half done.
const MAX_UNFINISHED: u16 = 64;
/// How soon what departed clients leave behind is cleared.
const TIDY_AFTER: Duration = Duration::from_mins(1);
const SECRET_BYTES: usize = 32;

/// The broker could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "the built-in MQTT broker cannot listen on {tcp} and {websocket}: {reason}. \
     Is another broker running? Choose other addresses with broker.listen and broker.websocket \
     (or PORTHOLE_BROKER_LISTEN and PORTHOLE_BROKER_WEBSOCKET), or use that broker with mqtt.url"
)]
pub struct BrokerError {
    tcp: SocketAddr,
    websocket: SocketAddr,
    reason: String,
}

/// A running broker; it stops when this is dropped.
pub struct EmbeddedBroker {
    /// Where MQTT over TCP is spoken.
    pub tcp: SocketAddr,
    /// Where MQTT over WebSocket is spoken.
    pub websocket: SocketAddr,
    /// How the device itself enters; nobody else may have it.
    pub own: OwnCredentials,
    /// Everything that serves it; cancelled on drop.
    tasks: TaskGroup,
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl EmbeddedBroker {
    /// Binds both listeners and serves the topics of `device` under `root` to whom `authenticator` lets in.
    /// Returns once connections are accepted. Its listeners and connections run in `tasks` and end with the broker.
    pub async fn start(
        addresses: Addresses,
        root: &str,
        device: &Id,
        authenticator: Arc<dyn ClientAuthenticator>,
        tasks: &TaskGroup,
    ) -> Result<Self, BrokerError> {
        let failed =
            |reason: String| BrokerError { tcp: addresses.listen, websocket: addresses.websocket, reason };
        let own =
            own_credentials().ok_or_else(|| failed("this system gives no random numbers".to_owned()))?;
        let bind = async |address| {
            let listener = TcpListener::bind(address).await?;
            let bound = listener.local_addr()?;
            Ok::<_, std::io::Error>((listener, bound))
        };
        let (tcp_listener, tcp) = bind(addresses.listen).await.map_err(|error| failed(error.to_string()))?;
        let (websocket_listener, websocket) =
            bind(addresses.websocket).await.map_err(|error| failed(error.to_string()))?;

        let plain = Arc::new(PublishFilter(Topics::new(root, device)));
        let config = Arc::new(BrokerConfig { event_handler: Some(plain), ..config() });
        let queue = QueueLimits { max_messages: MAX_QUEUED_MESSAGES, max_bytes: MAX_QUEUED_BYTES };
        let router = MessageRouter::new()
            .with_fallback_queue_limits(queue)
            .with_retained_limits(MAX_RETAINED_MESSAGES, MAX_RETAINED_BYTES);
        let context = Arc::new(BrokerContext {
            config,
            router: Arc::new(router),
            monitor: Arc::new(ResourceMonitor::new(resources())),
            stats: Arc::new(BrokerStats::new()),
            policy: Arc::new(AdmissionPolicy::new(TopicAcl::new(root, device), own.clone(), authenticator)),
            connections: limits::connections(),
            left: Notify::new(),
        });
        let tasks = tasks.child();
        for (listener, kind) in
            [(tcp_listener, ListenerTransport::Tcp), (websocket_listener, ListenerTransport::WebSocket)]
        {
            let accepting = listener::accept(Arc::clone(&context), listener, kind, tasks.clone());
            tasks.spawn("broker-accept", accepting);
        }
        tasks.spawn_loop("broker-tidy", tidy(context));
        Ok(Self { tcp, websocket, own, tasks })
    }
}

async fn tidy(context: Arc<BrokerContext>) {
    loop {
        context.left.notified().await;
        sleep(TIDY_AFTER).await;
        context.router.sweep_sessions().await;
    }
}

fn own_credentials() -> Option<OwnCredentials> {
    let random = || {
        let mut bytes = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(URL_SAFE_NO_PAD.encode(bytes))
    };
    Some(OwnCredentials { username: random()?, password: Secret::new(random()?) })
}

fn config() -> BrokerConfig {
    BrokerConfig {
        // No session outlives its connection, and so no will is delayed.
        session_expiry_interval: Duration::ZERO,
        max_packet_size: MAX_PACKET_BYTES,
        max_subscriptions_per_client: MAX_SUBSCRIPTIONS,
        max_retained_messages: MAX_RETAINED_MESSAGES,
        max_retained_message_size: MAX_RETAINED_BYTES,
        client_channel_capacity: MAX_SENDING_MESSAGES,
        server_receive_maximum: Some(MAX_UNFINISHED),
        topic_alias_maximum: 16,
        shared_subscription_available: false,
        sys_topics_enabled: false,
        ..BrokerConfig::default()
    }
}

/// Connections are counted by [`limits`], before the library knows of them.
fn resources() -> ResourceLimits {
    ResourceLimits {
        max_connections: MAX_CONNECTIONS + OWN_CONNECTIONS,
        max_connections_per_ip: MAX_CONNECTIONS + OWN_CONNECTIONS,
        max_message_rate_per_client: 0,
        max_bandwidth_per_client: MAX_BYTES_PER_SECOND,
        max_connection_rate: u32::MAX,
        rate_limit_window: Duration::from_secs(1),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::*;
    use crate::access::grant::Rights;

    /// Lets everybody in until it is shut.
    #[derive(Default)]
    struct Door {
        is_shut: AtomicBool,
        generation: watch::Sender<u64>,
    }

    impl ClientAuthenticator for Door {
        fn admit(&self, user: Option<&str>, _password: Option<&[u8]>) -> Option<ClientRights> {
            let is_open = !self.is_shut.load(Ordering::Relaxed);
            is_open.then(|| ClientRights {
                grant: user.map(str::to_owned),
                rights: Rights::all(),
                ends: false,
            })
        }

        fn generation(&self) -> Option<watch::Receiver<u64>> {
            Some(self.generation.subscribe())
        }
    }

    /// A client of MQTT 3.1.1 that has come in and says nothing more, as its keep alive of 18 hours allows.
    async fn silent_client(port: SocketAddr, id: &str, user: &str, password: &str) -> TcpStream {
        let text =
            |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
        let body =
            [text("MQTT"), vec![4, 0b1100_0010, 0xff, 0xff], text(id), text(user), text(password)].concat();
        let mut stream = TcpStream::connect(port).await.unwrap();
        stream.write_all(&[&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat()).await.unwrap();
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(greeting, [0x20, 2, 0, 0], "let in");
        stream
    }

    #[tokio::test]
    async fn connections_on_which_nothing_happens_wake_nothing_until_their_rights_change() {
        let (tasks, door) = (TaskGroup::new(), Arc::<Door>::default());
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let addresses = Addresses { listen: loopback, websocket: loopback };
        let device = Id::new("cam").unwrap();
        let authenticator: Arc<dyn ClientAuthenticator> = door.clone();
        let broker = EmbeddedBroker::start(addresses, "porthole", &device, authenticator, &tasks);
        let broker = broker.await.unwrap();
        let own = broker.own.clone();
        let mut device = silent_client(broker.tcp, "cam", &own.username, own.password.expose()).await;
        let mut client = silent_client(broker.tcp, "tab", "anna", "token").await;
        tokio::time::pause();
        sleep(Duration::from_secs(1)).await;
        let before = tasks.polls();
        assert!(before["broker-connection"] >= 2, "{before:?}");
        sleep(Duration::from_mins(10)).await;
        assert_eq!(tasks.polls(), before);
        tokio::time::resume();
        door.is_shut.store(true, Ordering::Relaxed);
        door.generation.send_modify(|generation| *generation += 1);
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(30), client.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "who is no longer let in is shown out at once");
        device.write_all(&[0xc0, 0]).await.unwrap();
        device.read_exact(&mut [0; 2]).await.expect("the device stays, and gets its answer");
    }

    #[tokio::test]
    async fn listeners_and_connections_end_with_their_owner() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let tasks = TaskGroup::new();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let addresses = Addresses { listen: loopback, websocket: loopback };
        let device = Id::new("cam").unwrap();
        let broker = EmbeddedBroker::start(addresses, "porthole", &device, Arc::new(OpenAccess), &tasks);
        let broker = broker.await.unwrap();
        let (tcp, websocket) = (broker.tcp, broker.websocket);
        let mut silent =
            [TcpStream::connect(tcp).await.unwrap(), TcpStream::connect(websocket).await.unwrap()];
        drop(broker);
        for stream in &mut silent {
            // Closed or reset, as long as it is over.
            let read = timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("an end");
            assert!(read.map_or(true, |bytes| bytes == 0));
        }
        for address in [tcp, websocket] {
            let free = async {
                while TcpListener::bind(address).await.is_err() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, free).await.expect("the address is free again");
        }
        assert_eq!(*tasks.ended_early().borrow(), None, "told to end is not early");
    }
}
