//! A device of nothing but the protocol: it answers offers over MQTT and sends packets that look like
//! H.264, with losses on request. For testing viewers without a camera, an encoder or the daemon.

#![allow(clippy::disallowed_methods)] // one offer's candidates are few

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use porthole::base::tasks::TaskGroup;
use porthole::signaling::mqtt::{Incoming, MqttClient, MqttClientConfig, MqttEvent, Outgoing, connect};
use rtc::interceptor::{
    Interceptor, NackResponderBuilder, Packet, Registry, SenderReportBuilder, Slot, StreamInfo, TaggedPacket,
};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_RTX};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
};

use crate::support::fake_identity::{Asked, Proof};

/// How the device behaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Behaviour {
    /// Every n-th packet is lost on its way, but can be sent again.
    pub lose_every: Option<u64>,
    /// Every n-th packet does not exist: a gap that nothing repairs.
    pub skip_every: Option<u16>,
    /// Offers beyond so many are refused as `busy`.
    pub busy_after: Option<usize>,
    /// A key frame only when a PLI could have asked for it: never on its own.
    pub no_key_frames: bool,
    /// What its answers prove.
    pub proof: Proof,
    /// Offers without the right signature of the grant are refused as `unauthorized`.
    pub only_invited: bool,
}

/// Packets of each frame.
pub const PACKETS: u16 = 4;
const FRAME: Duration = Duration::from_millis(40);
const KEY_EVERY: u32 = 25;

/// Runs until its task is dropped. `ready` hears when offers can come: one sent before is lost.
pub async fn run(url: &str, device: &str, behaviour: Behaviour, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let base = format!("porthole/{device}/signal/");
    let mut config = MqttClientConfig::new(url.parse().expect("a url"), device);
    config.subscriptions = vec![format!("{base}+/up")];
    let (client, mut events) = connect(config, &TaskGroup::new()).expect("a client");
    let mut sessions: HashMap<String, Arc<dyn PeerConnection>> = HashMap::new();
    let (mut used_nonces, mut first_answer) = (HashSet::new(), None);
    while let Some(event) = events.recv().await {
        if let Some(ready) = ready.take_if(|_| event == MqttEvent::Connected) {
            let _ = ready.send(());
        }
        let MqttEvent::Message(Incoming { topic, payload, .. }) = event else { continue };
        let viewer = topic.trim_start_matches(&base).trim_end_matches("/up").to_owned();
        let message: Value = serde_json::from_slice(&payload).expect("JSON from the viewer");
        let say = Say {
            client: client.clone(),
            topic: format!("{base}{viewer}/down"),
            session: message["session"].clone(),
        };
        let asked = Asked { device, viewer: &viewer, offer: &message };
        match message["type"].as_str().expect("a type") {
            "offer" if behaviour.busy_after.is_some_and(|max| sessions.len() >= max) => {
                say.now(json!({"type": "error", "code": "busy", "message": "no room", "retryAfter": 5}));
            }
            "offer" if behaviour.only_invited && !asked.is_invited(&mut used_nonces) => {
                say.now(json!({"type": "error", "code": "unauthorized", "message": "no such grant"}));
            }
            "offer" => {
                if let Some(again) = first_answer.clone().filter(|_| behaviour.proof == Proof::Replayed) {
                    say.now(again);
                }
                let (peer, said) = answer(asked, say, behaviour).await;
                first_answer.get_or_insert(said);
                sessions.insert(viewer, peer);
            }
            "candidate" => {
                if let (Some(peer), Some(candidate)) =
                    (sessions.get(&viewer), message["candidate"].as_object())
                {
                    let init = RTCIceCandidateInit {
                        candidate: candidate["candidate"].as_str().expect("text").to_owned(),
                        sdp_mid: candidate.get("sdpMid").and_then(Value::as_str).map(str::to_owned),
                        sdp_mline_index: Some(0),
                        ..Default::default()
                    };
                    peer.add_ice_candidate(init).await.expect("a candidate that can be used");
                }
            }
            "bye" => {
                if let Some(peer) = sessions.remove(&viewer) {
                    peer.close().await.expect("close");
                }
            }
            other => panic!("the viewer said {other}"),
        }
    }
}

struct Say {
    client: MqttClient,
    topic: String,
    session: Value,
}

impl Say {
    fn now(&self, mut message: Value) {
        message["v"] = 1.into();
        message["session"] = self.session.clone();
        assert!(self.client.publish(Outgoing::signal(self.topic.clone(), message.to_string())));
    }
}

/// Answers an offer, and tells what it said.
async fn answer(asked: Asked<'_>, say: Say, behaviour: Behaviour) -> (Arc<dyn PeerConnection>, Value) {
    let sdp = asked.offer["sdp"].as_str().expect("an sdp").to_owned();
    let (connected, connecting) = watch::channel(false);
    let (candidates, mut gathered) = mpsc::unbounded_channel();
    let video = h264();
    let mut engine = MediaEngine::default();
    let codec = RTCRtpCodecParameters { rtp_codec: video.clone(), payload_type: 102 };
    engine.register_codec(codec, RtpCodecKind::Video).expect("h264");
    let rtx = RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.to_owned(),
        sdp_fmtp_line: "apt=102".into(),
        rtcp_feedback: vec![],
        ..video.clone()
    };
    engine
        .register_codec(RTCRtpCodecParameters { rtp_codec: rtx, payload_type: 103 }, RtpCodecKind::Video)
        .expect("rtx");
    let ssrc: u32 = rand::random();
    let building = PeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_interceptor_registry(
            Registry::new()
                .with(Slot::from(500), Lossy { ssrc, every: behaviour.lose_every, ..Lossy::default() })
                .with(Slot::NackResponder, NackResponderBuilder::new().build())
                .with(Slot::SenderReport, SenderReportBuilder::new().build()),
        )
        .with_handler(Arc::new(Handler { connected, candidates }))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned(), "0.0.0.0:0".to_owned()])
        .build();
    let peer: Arc<dyn PeerConnection> = Arc::new(Box::pin(building).await.expect("a peer connection"));
    let track = track(ssrc, video);
    peer.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await.expect("add the track");
    peer.set_remote_description(RTCSessionDescription::offer(sdp).expect("an offer")).await.expect("set it");
    let answer = peer.create_answer(None).await.expect("an answer");
    let text = answer.sdp.clone();
    peer.set_local_description(answer).await.expect("set it");
    let said = asked.answer(&text, behaviour.proof);
    say.now(said.clone());
    tokio::spawn(async move {
        while let Some(candidate) = gathered.recv().await {
            say.now(json!({"type": "candidate", "candidate": candidate}));
        }
    });
    tokio::spawn(send(track, ssrc, connecting, behaviour));
    (peer, said)
}

fn h264() -> RTCRtpCodec {
    let feedback = |parameter: &str| RTCPFeedback { typ: "nack".into(), parameter: parameter.into() };
    RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
        rtcp_feedback: vec![feedback(""), feedback("pli")],
    }
}

fn track(ssrc: u32, codec: RTCRtpCodec) -> Arc<TrackLocalStaticRTP> {
    let rtp_coding_parameters = RTCRtpCodingParameters {
        ssrc: Some(ssrc),
        rtx: Some(RTCRtpRtxParameters { ssrc: rand::random() }),
        ..Default::default()
    };
    let encoding =
        RTCRtpEncodingParameters { rtp_coding_parameters, active: true, codec, ..Default::default() };
    let ids = ("fake".to_owned(), "video".to_owned(), "fake".to_owned());
    Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        ids.0,
        ids.1,
        ids.2,
        RtpCodecKind::Video,
        vec![encoding],
    )))
}

async fn send(
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    mut connecting: watch::Receiver<bool>,
    behaviour: Behaviour,
) {
    if connecting.wait_for(|connected| *connected).await.is_err() {
        return;
    }
    let mut tick = tokio::time::interval(FRAME);
    for frame in 0u32.. {
        tick.tick().await;
        let idr = frame % KEY_EVERY == 0 && !behaviour.no_key_frames;
        for part in 0..PACKETS {
            let sequence_number = u16::try_from(frame % 0x4000).expect("small") * PACKETS + part;
            if behaviour.skip_every.is_some_and(|every| sequence_number % every == every - 1) {
                continue;
            }
            let start = if part == 0 { 0x80 } else { 0 };
            let mut payload = vec![0x7c, start | if idr { 5 } else { 1 }];
            payload.resize(1000, 7);
            let header = rtc::rtp::Header {
                version: 2,
                marker: part == PACKETS - 1,
                payload_type: 102,
                sequence_number,
                timestamp: frame.wrapping_mul(3600),
                ssrc,
                ..Default::default()
            };
            let packet = rtc::rtp::Packet { header, payload: Bytes::from(payload) };
            if track.write_rtp(packet).await.is_err() {
                return;
            }
        }
    }
}

struct Handler {
    connected: watch::Sender<bool>,
    candidates: mpsc::UnboundedSender<Value>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let init = event.candidate.to_json().expect("a candidate");
        let _ = self.candidates.send(json!({"candidate": init.candidate, "sdpMid": init.sdp_mid}));
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.connected.send(true);
        }
    }
}

/// Next to the wire: what it swallows, the NACK responder has already kept.
#[derive(Default)]
struct Lossy {
    ssrc: u32,
    every: Option<u64>,
    sent: u64,
    read_queue: VecDeque<TaggedPacket>,
    write_queue: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Lossy {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        self.read_queue.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read_queue.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        if let (Packet::Rtp(packet), Some(every)) = (&message.message.packet, self.every)
            && packet.header.ssrc == self.ssrc
        {
            self.sent += 1;
            if self.sent.is_multiple_of(every) {
                return Ok(());
            }
        }
        self.write_queue.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write_queue.pop_front()
    }
}

impl Interceptor for Lossy {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
