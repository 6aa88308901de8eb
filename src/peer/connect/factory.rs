//! Makes peer connections: codec, feedback chain, sockets and candidates as configured.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Registry, Slot};
use rtc::peer_connection::certificate::RTCCertificate;
use rtc::peer_connection::configuration::RTCConfiguration;
use tokio::sync::mpsc;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
    SettingEngineBuilder,
};

use super::candidate::{with_public_address, with_tcp_port, with_udp_port};
use super::certificate;
use super::connection::{Connection, PeerEvent};
use super::offer::VideoCodec;
use super::track::{self, Track};
use crate::base::tasks::TaskGroup;
use crate::config::Ice;
use crate::peer::PeerError;
use crate::peer::sending::feedback::Feedback;
use crate::peer::sending::forward::Forward;
use crate::peer::sending::keys::{KeyProvider, Keys};
use crate::peer::sending::outbound::Outbound;
use crate::peer::socket::media_thread::MediaThread;
use crate::peer::socket::runtime::{PeerRuntime, SharedUdp};
use crate::peer::socket::tcp_port::{Listeners, TcpPort};
use crate::peer::socket::udp_port::{MediaSink, UdpPort, UdpRoute};
use crate::peer::socket::way::Way;
use crate::signaling::message::Candidate;
use crate::stream::Fanout;

/// A peer that has been silent this long is `disconnected`; [`ICE_FAILED`] later it is gone.
/// Together the 15 s of protocol.md section 2.
const ICE_DISCONNECTED: Duration = Duration::from_secs(5);
const ICE_FAILED: Duration = Duration::from_secs(10);
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);
/// Pacing of connectivity checks (RFC 8445 section 14.2: Ta is 50 ms unless the path is known; ours
/// are few and small). The library's 200 ms would be most of the wait for a first picture.
const ICE_CHECK_EVERY: Duration = Duration::from_millis(20);
/// Checks of one pair before it is given up: as long as a session may take to connect.
const ICE_CHECKS: u16 = 500;

/// Events kept for a session that is busy; gathering a board with many addresses stays below.
const EVENT_QUEUE: usize = 128;

/// Makes [`Connection`]s.
pub struct Factory {
    ice: Ice,
    fanout: Fanout,
    udp: UdpPort,
    tcp: Option<TcpPort>,
    media: MediaThread,
    /// `None`: each connection makes its own.
    certificate: Option<RTCCertificate>,
    playout_delay_ms: u32,
    tasks: TaskGroup,
}

impl Factory {
    /// A factory for viewers of `fanout`, whose tasks run below `tasks`. Binds the TCP port if one is configured, so it must
    /// be called inside a tokio runtime.
    pub fn new(ice: Ice, fanout: Fanout, tasks: &TaskGroup) -> Result<Self, PeerError> {
        let tasks = tasks.child();
        let udp = UdpPort::new(ice.port_range.clone());
        let tcp = ice.tcp_port.map(|port| TcpPort::bind(port, &tasks)).transpose()?;
        let media = MediaThread::start().map_err(PeerError::Thread)?;
        Ok(Self { ice, fanout, udp, tcp, media, certificate: None, playout_delay_ms: 0, tasks })
    }

    /// The same with viewers asked to hold each picture for `playout_delay_ms` before they show it.
    #[must_use]
    pub fn with_playout_delay_ms(mut self, playout_delay_ms: u32) -> Self {
        self.playout_delay_ms = playout_delay_ms;
        self
    }

    /// The same with the certificate that `state_dir` keeps, made there at the first start.
    pub fn with_certificate_of(mut self, state_dir: &Path) -> Result<Self, PeerError> {
        self.certificate = Some(certificate::load_or_make(state_dir, SystemTime::now())?);
        Ok(self)
    }

    /// The configured servers, as answers tell them to viewers.
    pub fn ice_servers(&self) -> &[crate::signaling::message::IceServer] {
        &self.ice.servers
    }

    /// How many tasks run on the thread of the connections.
    #[cfg(test)]
    pub(crate) fn media_tasks(&self) -> usize {
        self.media.handle().metrics().num_alive_tasks()
    }

    /// Makes a connection. It waits for nothing outside of this machine, and is to be awaited to its end: half made, it would
    /// leave the library's task behind.
    pub(in crate::peer) async fn connect(
        &self,
        codec: &VideoCodec,
        feedback: Arc<Feedback>,
    ) -> Result<Connection, PeerError> {
        let udp = Arc::new(self.udp.share()?);
        let (events_tx, events) = mpsc::channel(EVENT_QUEUE);
        let (engine, video) = track::media_engine(codec)?;
        let listeners = Listeners::default();
        let tcp = self.tcp.as_ref().map(|port| port.route_to(&listeners));
        let (way, keys) = (Arc::<Way>::default(), Keys::default());
        let told = Told {
            public_ip: self.ice.public_ip,
            tcp_port: self.tcp.as_ref().map(TcpPort::port),
            udp: Arc::clone(&udp),
        };
        let handler = Events { tx: events_tx, told: told.clone() };
        let shared = SharedUdp { route: Arc::clone(&udp), relays: self.relays() };
        let runtime = PeerRuntime::new(listeners, Some(shared))
            .on(self.media.handle().clone())
            .showing(Arc::clone(&way));
        let heard = runtime.heard();
        let outbound = Arc::new(Outbound::new(feedback, &self.fanout, heard.clone(), way));
        let sink: Arc<dyn MediaSink> = Arc::clone(&outbound) as Arc<dyn MediaSink>;
        udp.hand_media_to(Arc::downgrade(&sink));
        let building = PeerConnectionBuilder::new()
            .with_configuration(self.configuration())
            .with_media_engine(engine)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_multicast_dns_mode(multicast_dns())
                    .with_ice_connection_attempts(Some(ICE_CHECK_EVERY), Some(ICE_CHECKS))
                    .with_ice_timeouts(Some(ICE_DISCONNECTED), Some(ICE_FAILED), Some(ICE_KEEPALIVE))
                    .with_crypto_provider(Arc::new(KeyProvider::new(keys.clone())?))
                    .build(),
            )
            .with_interceptor_registry(
                Registry::new().with(Slot::from(14_000), Forward::new(Arc::clone(&outbound))),
            )
            .with_handler(Arc::new(handler))
            .with_runtime(Arc::new(runtime))
            .with_udp_addrs(udp_addresses())
            .with_tcp_addrs(self.tcp.as_ref().map(|_| any_address()).unwrap_or_default())
            .build();
        // Boxed: the library's future is 20 KB, and every session's task would carry it for ever.
        let peer = Box::pin(building).await?;
        let peer: Arc<dyn PeerConnection> = Arc::new(peer);
        match Track::add(peer.as_ref(), video, codec).await {
            Ok(track) => Ok(Connection {
                peer,
                track,
                keys,
                outbound,
                playout_delay_ms: self.playout_delay_ms,
                events,
                held: VecDeque::new(),
                tcp,
                told,
                heard,
                media: self.media.handle().clone(),
                tasks: self.tasks.clone(),
                sender: None,
                is_closed: false,
            }),
            Err(error) => {
                // An unclosed connection would leave its driver task behind.
                let _ = peer.close().await;
                Err(error)
            }
        }
    }

    fn configuration(&self) -> RTCConfiguration {
        let builder = RTCConfigurationBuilder::default().with_ice_servers(self.servers());
        match &self.certificate {
            Some(certificate) => builder.with_certificates(vec![certificate.clone()]).build(),
            None => builder.build(),
        }
    }

    fn relays(&self) -> bool {
        self.ice.servers.iter().flat_map(|server| &server.urls).any(|url| url.starts_with("turn"))
    }

    fn servers(&self) -> Vec<RTCIceServer> {
        let servers = self.ice.servers.iter();
        servers
            .map(|server| RTCIceServer {
                urls: server.urls.clone(),
                username: server.username.clone().unwrap_or_default(),
                credential: server.credential.clone().unwrap_or_default(),
            })
            .collect()
    }
}

/// A wildcard means one socket for each address of the machine. Loopback is added only where
/// there is nothing else, so that a viewer on an offline machine still gets a picture.
/// The ports are for the library alone: viewers are told the shared one.
fn udp_addresses() -> Vec<String> {
    let mut addresses = any_address();
    if !has_route() {
        addresses.push("127.0.0.1:0".to_owned());
    }
    addresses
}

/// Browsers hide their addresses behind `.local` names (RFC 6762), which are asked for by multicast.
/// The library refuses to connect at all where that is impossible, as on a machine without a network.
fn multicast_dns() -> MulticastDnsMode {
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
    let joined = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED));
    if joined.is_ok() { MulticastDnsMode::QueryOnly } else { MulticastDnsMode::Disabled }
}

fn any_address() -> Vec<String> {
    vec!["0.0.0.0:0".to_owned(), "[::]:0".to_owned()]
}

/// Connecting a UDP socket sends nothing; it only asks the routing table.
fn has_route() -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)))
        .is_ok()
}

/// How viewers are told of the library's candidates.
#[derive(Clone, Debug)]
pub(in crate::peer) struct Told {
    public_ip: Option<IpAddr>,
    tcp_port: Option<u16>,
    udp: Arc<UdpRoute>,
}

impl Told {
    /// Requests for the user fragments of `answer` are for this connection.
    pub fn register(&self, answer: &str) {
        self.udp.register(answer);
    }

    /// What viewers hear of `candidate`: nothing, itself, or the public address too.
    pub fn candidates(&self, candidate: Candidate) -> Vec<Candidate> {
        let candidate = with_udp_port(candidate, |address| self.udp.port_at(address));
        let Some(candidate) = candidate.and_then(|candidate| with_tcp_port(candidate, self.tcp_port)) else {
            return Vec::new();
        };
        let public = self.public_ip.and_then(|ip| with_public_address(&candidate, ip));
        public.into_iter().chain([candidate]).collect()
    }
}

/// Runs on the library's driver task, so it only forwards.
struct Events {
    tx: mpsc::Sender<PeerEvent>,
    told: Told,
}

impl Events {
    fn forward(&self, event: PeerEvent) {
        // A full queue means that the session no longer reads; it is being closed then.
        let _ = self.tx.try_send(event);
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Ok(init) = event.candidate.to_json() else { return };
        let candidate = Candidate {
            candidate: init.candidate,
            sdp_mid: init.sdp_mid,
            sdp_mline_index: init.sdp_mline_index,
            username_fragment: init.username_fragment,
        };
        for candidate in self.told.candidates(candidate) {
            self.forward(PeerEvent::Candidate(candidate));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.forward(PeerEvent::GatheringComplete);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.forward(PeerEvent::Connected),
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => self.forward(PeerEvent::Ended),
            _ => {}
        }
    }
}
