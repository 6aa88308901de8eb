//! Media as it arrives at a viewer, over a real socket.

use std::net::IpAddr;

use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc, SymbolTypeTcc,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers;
use rtc::rtp;
use rtc::shared::marshal::{Marshal, Unmarshal};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use tokio::net::UdpSocket;
use tokio::task::LocalSet;

use super::*;
use crate::base::tasks::TaskGroup;
use crate::peer::bwe::PacketResult;
use crate::peer::net::recorded_inbox::RecordedInbox;
use crate::peer::rtp::fec::Fec;
use crate::peer::rtp::keys::Master;
use crate::peer::rtp::keys::tests::agreed;
use crate::peer::rtp::rtp_header::Extensions;

const SSRC: u32 = 7;
const RTX_SSRC: u32 = 8;
pub(super) const TRANSPORT_CC: u8 = 5;
const ORIENTATION: u8 = 6;

/// A viewer that opens what it gets.
pub(super) struct Viewer {
    socket: UdpSocket,
    pub opening: Context,
    pub protecting: Context,
    pub media: MediaSender,
    pub net: Net,
}

impl Viewer {
    pub async fn new(has_rtx: bool) -> Self {
        Self::with(has_rtx, None).await
    }

    async fn with(has_rtx: bool, fec: Option<Fec>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut net = Net::new(None, None, &RecordedInbox::new().1, &TaskGroup::new());
        net.udp.bind(&[IpAddr::from([127, 0, 0, 1])], Instant::now()).unwrap();
        // The system has to call the socket writable.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut media = MediaSender::new(1, Arc::default(), Fanout::default());
        let from = net.udp.addresses().next().unwrap();
        media.path = Some(SelectedPath::Udp { from, to: socket.local_addr().unwrap() });
        let keys = agreed(ProtectionProfile::AeadAes128Gcm);
        let negotiated = Negotiated {
            ssrc: SSRC,
            payload_type: 102,
            rtx: has_rtx.then_some((RTX_SSRC, 103)),
            fec,
            nack: true,
            extensions: Extensions {
                transport_cc: Some(TRANSPORT_CC),
                orientation: Some(ORIENTATION),
                ..Default::default()
            },
        };
        media.start(&negotiated, &keys).unwrap();
        let provider = default_provider().unwrap();
        let context = |master: &Master| {
            let salt = master.salt(keys.profile);
            Context::new(master.key.as_ref(), salt, keys.profile, None, None, provider.crypto()).unwrap()
        };
        Self { socket, opening: context(&keys.local), protecting: context(&keys.remote), media, net }
    }

    /// A picture of packets with these lengths.
    fn send(&mut self, now: Instant, lengths: &[usize]) {
        let packets = lengths.iter().enumerate().map(|(index, length)| Packet {
            payload: vec![u8::try_from(index).unwrap(); *length].into(),
            timestamp: 90_000,
            marker: index + 1 == lengths.len(),
            playout_delay: None,
            capture_time: None,
            orientation: (index + 1 == lengths.len()).then_some(3),
        });
        self.media.send(&mut self.net, now, packets);
        assert!(self.media.finish(&mut self.net, now));
    }

    pub async fn datagram(&self) -> Vec<u8> {
        let mut datagram = vec![0; 1500];
        let length = self.socket.recv(&mut datagram).await.unwrap();
        datagram.truncate(length);
        datagram
    }

    pub async fn packet(&mut self) -> rtp::Packet {
        let datagram = self.datagram().await;
        let mut opened = self.opening.decrypt_rtp(&datagram).unwrap().freeze();
        rtp::Packet::unmarshal(&mut opened).unwrap()
    }

    pub fn report(&mut self, packet: &dyn rtcp::Packet) {
        self.report_at(Instant::now(), packet);
    }

    fn report_at(&mut self, now: Instant, packet: &dyn rtcp::Packet) {
        let protected = self.protecting.encrypt_rtcp(&packet.marshal().unwrap()).unwrap();
        self.receive_at(now, &protected);
    }

    fn receive(&mut self, datagram: &[u8]) -> bool {
        self.receive_at(Instant::now(), datagram)
    }

    pub fn receive_at(&mut self, now: Instant, datagram: &[u8]) -> bool {
        self.media.received(&mut self.net, datagram, "127.0.0.1:9".parse().unwrap(), now)
    }

    /// Packets sent beside those of pictures.
    pub fn besides(&self) -> u64 {
        let feedback = &self.media.feedback;
        let counts = [&feedback.retransmitted_packets, &feedback.fec_packets, &feedback.probe_packets];
        counts.into_iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn misses(&mut self, number: u16) {
        let nacks = nack_pairs_from_sequence_numbers(&[number]);
        self.report(&TransportLayerNack { sender_ssrc: 1, media_ssrc: SSRC, nacks });
    }
}

fn transport_cc(packet: &rtp::Packet) -> u16 {
    let value = packet.header.get_extension(TRANSPORT_CC).unwrap();
    u16::from_be_bytes([value[0], value[1]])
}

#[tokio::test]
async fn a_picture_arrives_whole_and_numbered() {
    let all = async {
        let mut viewer = Viewer::new(true).await;
        let lengths = [1100, 1100, 300, 1100, 20];
        viewer.send(Instant::now(), &lengths);
        let mut before: Option<(u16, u16)> = None;
        for (index, length) in lengths.iter().enumerate() {
            let packet = viewer.packet().await;
            assert_eq!(packet.payload[..], vec![u8::try_from(index).unwrap(); *length]);
            let header = &packet.header;
            assert_eq!((header.ssrc, header.payload_type, header.timestamp), (SSRC, 102, 90_000));
            assert_eq!(header.marker, index == 4);
            let numbers = (header.sequence_number, transport_cc(&packet));
            if let Some(before) = before {
                assert_eq!(numbers, (before.0.wrapping_add(1), before.1.wrapping_add(1)));
            }
            before = Some(numbers);
        }
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn a_retransmission_carries_the_old_number_in_a_stream_of_its_own() {
    let all = async {
        let mut viewer = Viewer::new(true).await;
        viewer.send(Instant::now(), &[100, 200]);
        let (first, second) = (viewer.packet().await, viewer.packet().await);
        viewer.misses(second.header.sequence_number);
        let rtx = viewer.packet().await;
        assert_eq!((rtx.header.ssrc, rtx.header.payload_type), (RTX_SSRC, 103));
        assert_eq!(rtx.payload[..2], second.header.sequence_number.to_be_bytes());
        assert_eq!(rtx.payload[2..], second.payload[..]);
        assert_eq!((rtx.header.timestamp, rtx.header.marker), (90_000, true));
        let lies =
            |packet: &rtp::Packet| packet.header.get_extension(ORIENTATION).map(|value| value.to_vec());
        assert_eq!([lies(&first), lies(&second), lies(&rtx)], [None, Some(vec![3]), Some(vec![3])]);
        assert_eq!(
            transport_cc(&rtx),
            transport_cc(&first).wrapping_add(2),
            "congestion control hears of it"
        );
        assert_eq!(viewer.media.feedback.retransmitted_packets.load(Ordering::Relaxed), 1);
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn without_rtx_the_very_same_packet_goes_again() {
    let all = async {
        let mut viewer = Viewer::new(false).await;
        viewer.send(Instant::now(), &[100]);
        let datagram = viewer.datagram().await;
        let number = u16::from_be_bytes([datagram[2], datagram[3]]);
        viewer.misses(number);
        // One number of a key must never protect two different things.
        assert_eq!(viewer.datagram().await, datagram);
    };
    LocalSet::new().run_until(all).await;
}

/// A report on `count` packets from `base` on: which of them came, and how many ms after one another.
fn told(
    base: u16,
    count: u16,
    reference_time: u32,
    came: impl Fn(u16) -> bool,
    apart_ms: i64,
) -> TransportLayerCc {
    const CAME: SymbolTypeTcc = SymbolTypeTcc::PacketReceivedSmallDelta;
    let symbols: Vec<_> =
        (0..count).map(|at| if came(at) { CAME } else { SymbolTypeTcc::PacketNotReceived }).collect();
    let delta = RecvDelta { type_tcc_packet: CAME, delta: apart_ms * 1000 };
    let recv_deltas = symbols.iter().filter(|symbol| **symbol == CAME).map(|_| delta.clone()).collect();
    let chunk = |symbols: &[SymbolTypeTcc]| {
        PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
            symbol_size: SymbolSizeTypeTcc::TwoBit,
            symbol_list: symbols.to_vec(),
        })
    };
    TransportLayerCc {
        sender_ssrc: 1,
        media_ssrc: SSRC,
        base_sequence_number: base,
        packet_status_count: count,
        reference_time,
        packet_chunks: symbols.chunks(7).map(chunk).collect(),
        recv_deltas,
        ..Default::default()
    }
}

/// What a viewer says of the packets that left, true or not.
#[derive(Clone, Copy, Debug)]
enum Says {
    Nothing,
    AllCame,
    /// Each so many-th was lost.
    Lost(u16),
    /// All at one time.
    AtOnce,
}

/// 1.7 Mbit/s of pictures for 10 s to a viewer that asks for all of them 60 times a second, and reports what it likes.
/// Gives how many packets were sent beside them for each of theirs.
async fn besieged(says: Says) -> f64 {
    const PACKETS: u16 = 7;
    const LATE: usize = 4;
    let mut viewer = Viewer::with(true, Some(Fec { ssrc: 9, payload_type: 104 })).await;
    viewer.media.feedback.control.wanted.store(40_000_000, Ordering::Relaxed);
    let start = Instant::now();
    let (mut first, mut reported, mut left) = (None, 0u16, std::collections::VecDeque::new());
    for picture in 0..300u16 {
        let now = start + Duration::from_secs(1) / 30 * picture.into();
        viewer.media.feedback.sent(now, 1000 * usize::from(PACKETS));
        viewer.send(now, &[1000; PACKETS as usize]);
        viewer.media.probe(&mut viewer.net, now);
        if first.is_none() {
            let packet = viewer.packet().await;
            first = Some((packet.header.sequence_number, transport_cc(&packet)));
            // Nobody reads on, and all is counted as if somebody did.
            viewer.media.path = None;
        }
        let Some((media, number)) = first else { continue };
        for half in 0..2 {
            let now = now + Duration::from_millis(16) * half;
            let newest = picture * PACKETS;
            let wanted: Vec<u16> =
                (newest.saturating_sub(420)..newest).map(|at| media.wrapping_add(at)).collect();
            let nacks = nack_pairs_from_sequence_numbers(&wanted);
            viewer.report_at(now, &TransportLayerNack { sender_ssrc: 1, media_ssrc: SSRC, nacks });
            viewer.report_at(now, &PictureLossIndication { sender_ssrc: 1, media_ssrc: SSRC });
            viewer
                .report_at(now, &FullIntraRequest { sender_ssrc: 1, media_ssrc: SSRC, ..Default::default() });
            let boast = ReceiverEstimatedMaximumBitrate { sender_ssrc: 1, bitrate: 1e15, ssrcs: vec![SSRC] };
            viewer.report_at(now, &boast);
            let fraction_lost = if half == 0 { 255 } else { 0 };
            let report =
                ReceptionReport { ssrc: SSRC, fraction_lost, total_lost: 0xff_ffff, ..Default::default() };
            viewer.report_at(now, &ReceiverReport { ssrc: 1, reports: vec![report], ..Default::default() });
        }
        left.push_back((picture + 1) * PACKETS + u16::try_from(viewer.besides()).unwrap());
        if left.len() > LATE {
            let until = left.pop_front().unwrap();
            let (base, count) = (number.wrapping_add(reported), until - reported);
            let came = |at: u16| !matches!(says, Says::Lost(each) if (reported + at).is_multiple_of(each));
            let (at, apart_ms) =
                if matches!(says, Says::AtOnce) { (1, 0) } else { (1 + u32::from(picture) / 2, 0) };
            if !matches!(says, Says::Nothing) {
                viewer.report_at(now, &told(base, count, at, came, apart_ms));
            }
            reported = until;
        }
    }
    viewer.besides() as f64 / f64::from(300 * PACKETS)
}

#[tokio::test]
async fn whatever_a_viewer_asks_and_tells_it_is_sent_less_beside_the_pictures_than_pictures() {
    let all = async {
        for says in [Says::Nothing, Says::AllCame, Says::Lost(10), Says::Lost(3), Says::AtOnce] {
            let besides = besieged(says).await;
            println!("{says:?}: {besides:.2}");
            assert!(besides > 0.02, "{says:?}: nothing is sent again: {besides}");
            let most = if matches!(says, Says::Lost(_)) { 1.0 } else { 0.65 };
            assert!(besides < most, "{says:?}: {besides}");
        }
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn a_path_is_tried_with_packets_that_the_viewer_has() {
    let all = async {
        let mut viewer = Viewer::new(true).await;
        let (start, feedback) = (Instant::now(), Arc::clone(&viewer.media.feedback));
        feedback.control.wanted.store(4_000_000, Ordering::Relaxed);
        let at = |ms| start + Duration::from_millis(ms);
        // Half of all is lost for a second, then nothing any more.
        for ms in (0..4000).step_by(50) {
            let report = |number: u32| PacketResult {
                departure: at(ms),
                arrival: None,
                arrived: ms >= 1000 || number.is_multiple_of(2),
                bytes: 1000,
            };
            feedback.sent(at(ms), 20_000);
            feedback.take_packet_results(at(ms), &(0..20).map(report).collect::<Vec<_>>());
        }
        assert!(feedback.rate(at(4000)).is_some());
        viewer.send(at(4000), &[1000; 8]);
        let mut sent = Vec::new();
        for _ in 0..8 {
            sent.push(viewer.packet().await);
        }
        viewer.media.probe(&mut viewer.net, at(4000));
        for original in &sent[3..] {
            let again = viewer.packet().await;
            assert_eq!(again.header.ssrc, RTX_SSRC);
            assert_eq!(again.payload[..2], original.header.sequence_number.to_be_bytes());
        }
        viewer.media.probe(&mut viewer.net, at(4010));
        assert_eq!(feedback.probe_packets.load(Ordering::Relaxed), 5, "and not again at once");
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn times_and_counts_are_reported() {
    let all = async {
        let mut viewer = Viewer::new(true).await;
        let now = Instant::now();
        viewer.send(now, &[100]);
        viewer.datagram().await;
        viewer.media.report(&mut viewer.net, now, 90_000, now);
        viewer.media.report(&mut viewer.net, now, 90_000, now);
        viewer.send(now, &[100]);
        let report = viewer.datagram().await;
        let mut report = viewer.opening.decrypt_rtcp(&report).unwrap().freeze();
        let packets = rtcp::packet::unmarshal(&mut report).unwrap();
        let report = packets[0].as_any().downcast_ref::<SenderReport>().unwrap();
        assert_eq!((report.ssrc, report.rtp_time, report.packet_count), (SSRC, 90_000, 1));
        assert_eq!(viewer.packet().await.payload.len(), 100, "one report a second");
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn only_the_viewer_itself_can_ask_for_anything() {
    let all = async {
        let mut viewer = Viewer::new(true).await;
        let asked = |viewer: &Viewer| viewer.media.feedback.key_frame_requests.load(Ordering::Relaxed);
        let plain = PictureLossIndication { sender_ssrc: 1, media_ssrc: SSRC }.marshal().unwrap();
        for datagram in [&plain[..], &[0x80, 200], &[0x80; 60], &[0x80, 206, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]] {
            viewer.receive(datagram);
        }
        assert_eq!(asked(&viewer), 0);
        viewer.report(&PictureLossIndication { sender_ssrc: 1, media_ssrc: SSRC });
        assert_eq!(asked(&viewer), 1);
    };
    LocalSet::new().run_until(all).await;
}

#[path = "media_sender_sound_tests.rs"]
mod sound;
