//! Repairs as they leave the chain.

use rtc::interceptor::{RTCPFeedback, RTPHeaderExtension, TwccSenderBuilder};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers;

use super::super::factory::TRANSPORT_CC_URI;
use super::*;

const MEDIA: u32 = 7;
const RTX: u32 = 8;
const BYTES: usize = 1000;

fn info(rtx: bool) -> StreamInfo {
    StreamInfo {
        ssrc: MEDIA,
        ssrc_rtx: rtx.then_some(RTX),
        payload_type: 102,
        payload_type_rtx: rtx.then_some(103),
        rtcp_feedback: vec![RTCPFeedback { typ: "nack".into(), parameter: String::new() }],
        rtp_header_extensions: vec![RTPHeaderExtension { uri: TRANSPORT_CC_URI.into(), id: 5 }],
        ..Default::default()
    }
}

fn media(now: Instant, number: u16) -> TaggedPacket {
    let header = rtp::Header {
        version: 2,
        ssrc: MEDIA,
        payload_type: 102,
        sequence_number: number,
        timestamp: u32::from(number),
        ..Default::default()
    };
    let packet = rtp::Packet { header, payload: vec![number.to_be_bytes()[1]; BYTES].into() };
    let message = AttributedPacket::new(Packet::Rtp(packet));
    TaggedPacket { now, transport: TransportContext::default(), message }
}

/// 20 packets out, across the numbers' turn.
fn repair(now: Instant, rtx: bool) -> Repair {
    let mut repair = Repair::new(Arc::default());
    repair.bind_local_stream(&info(rtx));
    for number in 0..20 {
        repair.handle_write(media(now, number_of(number))).unwrap();
        repair.feedback.sent(now, BYTES);
    }
    while repair.poll_write().is_some() {}
    repair
}

fn number_of(index: u16) -> u16 {
    index.wrapping_sub(10)
}

fn ask(repair: &mut Repair, now: Instant, indexes: &[u16]) -> Vec<rtp::Packet> {
    let numbers: Vec<u16> = indexes.iter().map(|index| number_of(*index)).collect();
    let nack = TransportLayerNack {
        sender_ssrc: 1,
        media_ssrc: MEDIA,
        nacks: nack_pairs_from_sequence_numbers(&numbers),
    };
    let message = AttributedPacket::new(Packet::Rtcp(vec![Box::new(nack)]));
    repair.handle_read(TaggedPacket { now, transport: TransportContext::default(), message }).unwrap();
    assert!(repair.poll_read().is_some(), "passed on");
    let out = std::iter::from_fn(|| repair.poll_write());
    out.map(|out| match out.message.packet {
        Packet::Rtp(packet) => packet,
        _ => panic!("no RTP"),
    })
    .collect()
}

#[test]
fn a_repair_carries_the_old_number_in_a_stream_of_its_own() {
    let now = Instant::now();
    let mut repair = repair(now, true);
    let repairs = ask(&mut repair, now, &[8, 11]);
    assert_eq!(repairs.len(), 2);
    for (packet, index) in repairs.iter().zip([8, 11]) {
        let number = number_of(index);
        assert_eq!((packet.header.ssrc, packet.header.payload_type), (RTX, 103));
        assert_eq!(packet.header.timestamp, u32::from(number));
        assert_eq!(packet.payload[..2], number.to_be_bytes());
        assert_eq!(packet.payload[2..], [number.to_be_bytes()[1]; BYTES]);
    }
    let numbers: Vec<u16> = repairs.iter().map(|packet| packet.header.sequence_number).collect();
    assert_eq!(numbers[0].wrapping_add(1), numbers[1]);
}

#[test]
fn without_rtx_the_packet_itself_goes_again() {
    let now = Instant::now();
    let repairs = ask(&mut repair(now, false), now, &[3]);
    assert_eq!(repairs.len(), 1);
    assert_eq!((repairs[0].header.ssrc, repairs[0].header.sequence_number), (MEDIA, number_of(3)));
}

#[test]
fn what_is_asked_for_again_at_once_is_on_its_way_already() {
    let now = Instant::now();
    let mut repair = repair(now, true);
    assert_eq!(ask(&mut repair, now, &[3]).len(), 1);
    assert_eq!(ask(&mut repair, now + Duration::from_millis(10), &[3]).len(), 0);
    assert_eq!(ask(&mut repair, now + Duration::from_millis(200), &[3]).len(), 1);
    assert_eq!(repair.feedback.repaired_packets.load(Ordering::Relaxed), 2);
}

#[test]
fn what_was_never_sent_or_is_forgotten_is_not_repaired() {
    let now = Instant::now();
    let mut repair = repair(now, true);
    assert_eq!(ask(&mut repair, now, &[20, 21, 5000, 40_000]).len(), 0);
    // A gap in the numbers: nothing before it can be found any more.
    repair.handle_write(media(now, 4000)).unwrap();
    while repair.poll_write().is_some() {}
    assert_eq!(ask(&mut repair, now, &[3]).len(), 0);
    assert_eq!(repair.kept.len(), 1);
    let later = now + KEPT_FOR + Duration::from_secs(1);
    repair.handle_write(media(later, 4001)).unwrap();
    assert_eq!(repair.kept.len(), 1);
    for number in 0..2000 {
        repair.handle_write(media(later, 4002 + number)).unwrap();
    }
    assert_eq!(repair.kept.len(), KEPT_MOST);
}

#[test]
fn repairs_are_numbered_for_congestion_control() {
    let now = Instant::now();
    let mut numbered = WithRepairs(TwccSenderBuilder::new().build());
    numbered.bind_local_stream(&info(true));
    let mut numbers = vec![];
    let repairs = ask(&mut repair(now, true), now, &[3]);
    for packet in repairs.into_iter().map(Packet::Rtp).chain([media(now, 1).message.packet]) {
        let message = AttributedPacket::new(packet);
        numbered.handle_write(TaggedPacket { now, transport: TransportContext::default(), message }).unwrap();
        let Some(Packet::Rtp(packet)) = numbered.poll_write().map(|out| out.message.packet) else {
            panic!("no RTP")
        };
        numbers.push(packet.header.get_extension(5).expect("a number"));
    }
    assert_ne!(numbers[0], numbers[1]);
}
