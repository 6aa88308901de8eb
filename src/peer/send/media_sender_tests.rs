//! Media as it arrives at a viewer, over a real socket.

use std::net::IpAddr;

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers;
use rtc::rtp;
use rtc::shared::marshal::{Marshal, Unmarshal};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use tokio::net::UdpSocket;
use tokio::task::LocalSet;

use super::*;
use crate::base::tasks::TaskGroup;
use crate::peer::bwe::Report;
use crate::peer::net::collected::Collected;
use crate::peer::rtp::keys::Master;
use crate::peer::rtp::keys::tests::agreed;
use crate::peer::rtp::packet::Extensions;

const SSRC: u32 = 7;
const RTX_SSRC: u32 = 8;
const TRANSPORT_CC: u8 = 5;

/// A viewer that opens what it gets.
struct Viewer {
    socket: UdpSocket,
    opening: Context,
    protecting: Context,
    media: MediaSender,
    net: Net,
}

impl Viewer {
    async fn new(has_rtx: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut net = Net::new(None, None, &Collected::new().1, &TaskGroup::new());
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
            fec: None,
            nack: true,
            extensions: Extensions { transport_cc: Some(TRANSPORT_CC), ..Default::default() },
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
        });
        self.media.send(&mut self.net, now, packets);
        assert!(self.media.finish(&mut self.net, now));
    }

    async fn datagram(&self) -> Vec<u8> {
        let mut datagram = vec![0; 1500];
        let length = self.socket.recv(&mut datagram).await.unwrap();
        datagram.truncate(length);
        datagram
    }

    async fn packet(&mut self) -> rtp::Packet {
        let datagram = self.datagram().await;
        let mut opened = self.opening.decrypt_rtp(&datagram).unwrap().freeze();
        rtp::Packet::unmarshal(&mut opened).unwrap()
    }

    fn report(&mut self, packet: &dyn rtcp::Packet) {
        let protected = self.protecting.encrypt_rtcp(&packet.marshal().unwrap()).unwrap();
        self.receive(&protected);
    }

    fn receive(&mut self, datagram: &[u8]) -> bool {
        self.media.received(&mut self.net, datagram, "127.0.0.1:9".parse().unwrap(), Instant::now())
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
async fn a_repair_carries_the_old_number_in_a_stream_of_its_own() {
    let all = async {
        let mut viewer = Viewer::new(true).await;
        viewer.send(Instant::now(), &[100, 200]);
        let (first, second) = (viewer.packet().await, viewer.packet().await);
        viewer.misses(second.header.sequence_number);
        let repair = viewer.packet().await;
        assert_eq!((repair.header.ssrc, repair.header.payload_type), (RTX_SSRC, 103));
        assert_eq!(repair.payload[..2], second.header.sequence_number.to_be_bytes());
        assert_eq!(repair.payload[2..], second.payload[..]);
        assert_eq!((repair.header.timestamp, repair.header.marker), (90_000, true));
        assert_eq!(
            transport_cc(&repair),
            transport_cc(&first).wrapping_add(2),
            "congestion control hears of it"
        );
        assert_eq!(viewer.media.feedback.repaired_packets.load(Ordering::Relaxed), 1);
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

#[tokio::test]
async fn a_path_is_tried_with_packets_that_the_viewer_has() {
    let all = async {
        let mut viewer = Viewer::new(true).await;
        let (start, feedback) = (Instant::now(), Arc::clone(&viewer.media.feedback));
        feedback.control.wanted.store(4_000_000, Ordering::Relaxed);
        let at = |ms| start + Duration::from_millis(ms);
        // Half of all is lost for a second, then nothing any more.
        for ms in (0..4000).step_by(50) {
            let report = |number: u32| Report {
                departure: at(ms),
                arrival: None,
                arrived: ms >= 1000 || number.is_multiple_of(2),
                bytes: 1000,
            };
            feedback.sent(at(ms), 20_000);
            feedback.departed(at(ms), &(0..20).map(report).collect::<Vec<_>>());
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
