//! A viewer that answers where `porthole watch` offers, for a server that offers. It counts as that one does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use porthole::cli::watch::count::{CountedPacket, Counter, ViewerFigures};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackGeneratorBuilder, ReceiverReportBuilder, Slot, TwccReceiverBuilder};
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_H264;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use tokio::sync::watch;
use webrtc::error::Error;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder, SrtpProtectionProfile,
};
use webrtc::runtime::TokioRuntime;

const TRANSPORT_CC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// What the daemon and `porthole watch` agree on; a server left to itself may take the longer key.
const CIPHER: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
/// As often as `porthole watch` does.
const NACK_EVERY: Duration = Duration::from_millis(20);
const TWCC_EVERY: Duration = Duration::from_millis(50);

/// What one viewer got.
#[derive(Default)]
pub struct Tally {
    counter: Mutex<Counter>,
    connected: AtomicBool,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// RTP packets and bytes of their payloads so far.
    pub fn received(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub fn figures(&self) -> ViewerFigures {
        self.counter().finish(Instant::now())
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A peer connection that receives one H.264 video.
pub struct Receiver {
    peer: Box<dyn PeerConnection>,
    pub tally: Arc<Tally>,
}

impl Receiver {
    /// Takes an offer; gives the answer with all candidates in it.
    pub async fn answer(offer: String) -> Result<(Self, String), Error> {
        let tally = Arc::<Tally>::default();
        let (tx, mut gathered) = watch::channel(false);
        let building = PeerConnectionBuilder::new()
            .with_media_engine(media_engine()?)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_multicast_dns_mode(MulticastDnsMode::Disabled)
                    .with_srtp_protection_profiles(vec![CIPHER])
                    .build(),
            )
            .with_interceptor_registry(
                Registry::new()
                    .with(Slot::from(6_200), ReceiverReportBuilder::new().build())
                    .with(Slot::TwccReceiver, TwccReceiverBuilder::new().with_interval(TWCC_EVERY).build())
                    .with(Slot::NackGenerator, NackGeneratorBuilder::new().with_interval(NACK_EVERY).build()),
            )
            .with_handler(Arc::new(Handler { gathered: tx, tally: Arc::clone(&tally) }))
            .with_runtime(Arc::new(TokioRuntime))
            .with_udp_addrs(vec!["0.0.0.0:0".to_owned()])
            .build();
        let receiver = Self { peer: Box::new(Box::pin(building).await?), tally };
        let peer = &receiver.peer;
        peer.set_remote_description(RTCSessionDescription::offer(offer)?).await?;
        let answer = peer.create_answer(None).await?;
        peer.set_local_description(answer).await?;
        // Without its sender nothing will be gathered any more, which the answer then shows.
        let _ = gathered.wait_for(|gathered| *gathered).await;
        let sdp = peer.local_description().await.map(|answer| answer.sdp).unwrap_or_default();
        Ok((receiver, sdp))
    }

    pub async fn close(&self) {
        let _ = self.peer.close().await;
    }
}

fn media_engine() -> Result<MediaEngine, Error> {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let replies = vec![feedback("nack", ""), feedback("nack", "pli"), feedback("transport-cc", "")];
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
        rtcp_feedback: replies,
    };
    let mut engine = MediaEngine::default();
    engine.register_codec(RTCRtpCodecParameters { rtp_codec, payload_type: 96 }, RtpCodecKind::Video)?;
    let extension = RTCRtpHeaderExtensionCapability { uri: TRANSPORT_CC_URI.to_owned() };
    engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    Ok(engine)
}

/// Runs on the library's driver task, so it only notes.
struct Handler {
    gathered: watch::Sender<bool>,
    tally: Arc<Tally>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.tally.connected.store(true, Ordering::Relaxed);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let tally = Arc::clone(&self.tally);
        // Ends with the track, which ends with the connection.
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                match event {
                    TrackRemoteEvent::OnRtpPacket(packet) => {
                        let (header, payload) = (&packet.header, &packet.payload[..]);
                        tally.packets.fetch_add(1, Ordering::Relaxed);
                        tally.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
                        let packet = CountedPacket {
                            sequence: header.sequence_number,
                            timestamp: header.timestamp,
                            marker: header.marker,
                            payload,
                        };
                        tally.counter().packet(Instant::now(), packet);
                    }
                    TrackRemoteEvent::OnEnded => return,
                    _ => {}
                }
            }
        });
    }
}
