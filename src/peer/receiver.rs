//! The receiving side of a peer connection, for `porthole watch`: offers to receive, hands packets on.

mod dtls_retransmit_socket;
mod rtx_unwrapper;
mod runtime;
#[cfg(test)]
pub(in crate::peer) mod slow_clock;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackGeneratorBuilder, ReceiverReportBuilder, Registry, Slot, TwccReceiverBuilder};
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_RTX};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceConnectionState,
    RTCIceGatheringState, RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
    SettingEngineBuilder,
};

use super::connect::extension_uri::{TRANSPORT_CC_URI, VIDEO_ORIENTATION_URI};
use super::error::PeerError;
use crate::base::tasks::TaskGroup;
use crate::signaling::message::Candidate;
use rtx_unwrapper::RtxUnwrapper;
use runtime::{ReceiverRuntime, WakeDriver};

/// The profiles that browsers offer, with the payload types of each and of its retransmissions.
const PROFILES: [(&str, u8, u8); 4] =
    [("42e01f", 102, 103), ("42001f", 104, 105), ("4d001f", 106, 107), ("64001f", 108, 109)];
/// How often missing packets are asked for. A local network has answered long before.
const NACK_EVERY: Duration = Duration::from_millis(20);
/// And how often at most: a second's worth. Whoever waits longer wants a key frame.
const NACKS_MOST: u16 = 50;
/// How often the device is told when packets came, as browsers do.
const TWCC_EVERY: Duration = Duration::from_millis(50);
/// Pace and number of connectivity checks for each pair: quicker and longer than the default, because the
/// time to the first frame should be the device's and not the viewer's.
const ICE_CHECK_EVERY: Duration = Duration::from_millis(10);
const ICE_CHECKS: u16 = 1500;
/// No kind of candidate is waited for once another one works (the library's 1 s for addresses that only packets tell, and
/// 2 s for relays, would be most of the time to a first picture).
const NO_WAIT: Option<Duration> = Some(Duration::ZERO);
/// More than any machine has candidates.
const EVENT_LIMIT: usize = 128;

/// What the connection reports.
#[derive(Debug)]
pub enum ReceiverEvent {
    /// One of our candidates, or `None` for the end of them.
    Candidate(Option<Candidate>),
    /// Media can flow.
    Connected,
    /// It came to nothing, or is over.
    Ended,
}

/// An RTP packet as it arrives, repaired ones included.
#[derive(Debug)]
pub struct Received<'a> {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Set on the last packet of an access unit.
    pub marker: bool,
    /// What is in it.
    pub payload: &'a [u8],
}

/// Where packets go. Called for each of them, so it must not block.
pub trait PacketSink: Send + Sync + 'static {
    /// Takes one packet.
    fn packet(&self, packet: Received<'_>);
}

/// A peer connection that receives one video.
pub struct Receiver {
    peer: Arc<dyn PeerConnection>,
    events: mpsc::Receiver<ReceiverEvent>,
    /// Cancelled when either side has said that it is over.
    ended: CancellationToken,
    track: Arc<Mutex<Option<Arc<dyn TrackRemote>>>>,
}

impl Receiver {
    /// Makes a connection and its offer. Candidates follow as events.
    pub async fn offer(sink: Arc<dyn PacketSink>) -> Result<(Self, String), PeerError> {
        Self::offer_in(ReceiverRuntime::default(), false, sink).await
    }

    /// One that only answers checks (RFC 8445 section 2.5), as media servers do. Its candidates have to be in its offer.
    pub async fn offer_lite(sink: Arc<dyn PacketSink>) -> Result<(Self, String), PeerError> {
        Self::offer_in(ReceiverRuntime::default(), true, sink).await
    }

    /// The same by `clock`, full or `lite`.
    #[cfg(test)]
    pub(in crate::peer) async fn offer_by(
        clock: slow_clock::SlowClock,
        lite: bool,
        sink: Arc<dyn PacketSink>,
    ) -> Result<(Self, String), PeerError> {
        Self::offer_in(ReceiverRuntime::by(clock), lite, sink).await
    }

    async fn offer_in(
        runtime: ReceiverRuntime,
        lite: bool,
        sink: Arc<dyn PacketSink>,
    ) -> Result<(Self, String), PeerError> {
        let (tx, events) = mpsc::channel(EVENT_LIMIT);
        let ended = runtime.ended();
        let track = Arc::new(Mutex::new(None));
        let handler =
            Handler { tx, sink, track: Arc::clone(&track), wake: runtime.wake(), tasks: runtime.tasks() };
        let building = PeerConnectionBuilder::new()
            .with_media_engine(media_engine()?)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_multicast_dns_mode(MulticastDnsMode::Disabled)
                    .with_lite(lite)
                    .with_ice_connection_attempts(Some(ICE_CHECK_EVERY), Some(ICE_CHECKS))
                    .with_host_acceptance_min_wait(NO_WAIT)
                    .with_srflx_acceptance_min_wait(NO_WAIT)
                    .with_prflx_acceptance_min_wait(NO_WAIT)
                    .with_relay_acceptance_min_wait(NO_WAIT)
                    .build(),
            )
            .with_interceptor_registry(
                // Reports come first: they are about the path, before any repair.
                Registry::new()
                    .with(Slot::from(6_200), ReceiverReportBuilder::new().build())
                    .with(Slot::TwccReceiver, TwccReceiverBuilder::new().with_interval(TWCC_EVERY).build())
                    .with(Slot::from(6_500), RtxUnwrapper::default())
                    .with(
                        Slot::NackGenerator,
                        NackGeneratorBuilder::new()
                            .with_interval(NACK_EVERY)
                            .with_max_nacks_per_packet(NACKS_MOST)
                            .build(),
                    ),
            )
            .with_handler(Arc::new(handler))
            .with_runtime(Arc::new(runtime))
            .with_udp_addrs(udp_addresses())
            .build();
        // Its future is large, and there are many viewers.
        let peer = Box::pin(building).await?;
        let viewer = Self { peer: Arc::new(peer), events, ended, track };
        match viewer.describe().await {
            Ok(sdp) => Ok((viewer, sdp)),
            Err(error) => {
                // An unclosed connection would leave its driver task behind.
                viewer.close().await;
                Err(error)
            }
        }
    }

    async fn describe(&self) -> Result<String, PeerError> {
        let direction = RTCRtpTransceiverDirection::Recvonly;
        let init = RTCRtpTransceiverInit { direction, ..Default::default() };
        self.peer.add_transceiver_from_kind(RtpCodecKind::Video, Some(init)).await?;
        let offer = self.peer.create_offer(None).await?;
        let sdp = offer.sdp.clone();
        self.peer.set_local_description(offer).await?;
        Ok(sdp)
    }

    /// Takes the device's answer.
    pub async fn accept(&self, sdp: String) -> Result<(), PeerError> {
        let answer = RTCSessionDescription::answer(sdp)?;
        Ok(self.peer.set_remote_description(answer).await?)
    }

    /// Takes one of the device's candidates.
    pub async fn add_candidate(&self, candidate: Candidate) -> Result<(), PeerError> {
        Ok(self.peer.add_ice_candidate(candidate.into()).await?)
    }

    /// The next thing the connection reports.
    pub async fn next(&mut self) -> Option<ReceiverEvent> {
        tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = self.ended.cancelled() => Some(ReceiverEvent::Ended),
        }
    }

    /// Asks for a key frame (PLI), once there is a track to ask for.
    pub async fn request_key_frame(&self) {
        let track = self.track.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(track) = track else { return };
        let Some(media_ssrc) = track.ssrcs().await.first().copied() else { return };
        // It fails only when the connection is gone, which is reported as an event.
        let _ = track.write_rtcp(vec![Box::new(PictureLossIndication { sender_ssrc: 0, media_ssrc })]).await;
    }

    /// Ends the connection.
    pub async fn close(&self) {
        // Whatever it says, nothing more can be done.
        let _ = self.peer.close().await;
    }
}

fn media_engine() -> Result<MediaEngine, PeerError> {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let codec = |mime: &str, fmtp: String, rtcp_feedback| RTCRtpCodec {
        mime_type: mime.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: fmtp,
        rtcp_feedback,
    };
    let mut engine = MediaEngine::default();
    for (profile, payload_type, rtx_payload_type) in PROFILES {
        let fmtp = format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}");
        let replies = vec![
            feedback("nack", ""),
            feedback("nack", "pli"),
            feedback("ccm", "fir"),
            feedback("transport-cc", ""),
        ];
        let video = RTCRtpCodecParameters { rtp_codec: codec(MIME_TYPE_H264, fmtp, replies), payload_type };
        engine.register_codec(video, RtpCodecKind::Video)?;
        let rtx = codec(MIME_TYPE_RTX, format!("apt={payload_type}"), vec![]);
        let rtx = RTCRtpCodecParameters { rtp_codec: rtx, payload_type: rtx_payload_type };
        engine.register_codec(rtx, RtpCodecKind::Video)?;
    }
    // It shows nothing, so that how a picture lies is all the same: a camera is not to be encoded anew for its sake.
    for uri in [TRANSPORT_CC_URI, VIDEO_ORIENTATION_URI] {
        let extension = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
        engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    }
    Ok(engine)
}

/// One socket for each address of the machine. Loopback only where there is nothing else, because the
/// device does the same.
fn udp_addresses() -> Vec<String> {
    // Connecting a UDP socket sends nothing; it only asks the routing table.
    let has_route = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)))
        .is_ok();
    let mut addresses = vec!["0.0.0.0:0".to_owned(), "[::]:0".to_owned()];
    if !has_route {
        addresses.push("127.0.0.1:0".to_owned());
    }
    addresses
}

/// Runs on the library's driver task, so it only forwards.
struct Handler {
    tx: mpsc::Sender<ReceiverEvent>,
    sink: Arc<dyn PacketSink>,
    track: Arc<Mutex<Option<Arc<dyn TrackRemote>>>>,
    wake: WakeDriver,
    tasks: TaskGroup,
}

impl Handler {
    fn forward(&self, event: ReceiverEvent) {
        // A full queue means that nobody reads any more.
        let _ = self.tx.try_send(event);
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Ok(init) = event.candidate.to_json() else { return };
        self.forward(ReceiverEvent::Candidate(Some(Candidate {
            candidate: init.candidate,
            sdp_mid: init.sdp_mid,
            sdp_mline_index: init.sdp_mline_index,
            username_fragment: init.username_fragment,
        })));
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.forward(ReceiverEvent::Candidate(None));
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if state == RTCIceConnectionState::Connected {
            self.wake.set();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.forward(ReceiverEvent::Connected),
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                self.forward(ReceiverEvent::Ended);
            }
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        *self.track.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&track));
        let sink = Arc::clone(&self.sink);
        // Ends with the track, which ends with the connection.
        self.tasks.spawn_finite("track", async move {
            while let Some(event) = track.poll().await {
                match event {
                    TrackRemoteEvent::OnRtpPacket(packet) => sink.packet(Received {
                        sequence: packet.header.sequence_number,
                        timestamp: packet.header.timestamp,
                        marker: packet.header.marker,
                        payload: &packet.payload,
                    }),
                    TrackRemoteEvent::OnEnded => return,
                    _ => {}
                }
            }
        });
    }
}
