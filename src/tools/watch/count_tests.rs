//! Streams that are whole, cut, late, out of order, or out of time.

use super::*;

const SLICE: &[u8] = &[0x61, 1, 2];
const IDR: &[u8] = &[0x65, 1, 2];
/// SPS and PPS in one STAP-A.
const SETS: &[u8] = &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68];
const FRAME: Duration = Duration::from_millis(40);

/// A stream whose units have three packets each, the first unit being a key frame.
fn packet(n: u16) -> CountedPacket<'static> {
    let unit = n / 3;
    CountedPacket {
        sequence: n.wrapping_add(65_530),
        timestamp: u32::from(unit) * 3600,
        marker: n % 3 == 2,
        payload: if unit == 0 { IDR } else { SLICE },
    }
}

fn at(start: Instant, n: u16) -> Instant {
    start + FRAME * u32::from(n / 3)
}

fn feed(counter: &mut Counter, start: Instant, packets: impl IntoIterator<Item = u16>) {
    for n in packets {
        counter.packet(at(start, n), packet(n));
    }
}

#[test]
fn a_clean_stream_is_counted_across_the_wrap() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, 0..30);
    let figures = counter.finish(start + FRAME * 9);
    assert_eq!((figures.frames, figures.key_frames, figures.broken, figures.lost), (10, 1, 0, 0));
    assert_eq!(figures.first_key_frame, Some(start));
    assert_eq!((figures.longest_gap, figures.fps), (FRAME, 25.0));
    assert_eq!((figures.backward, figures.clock_error), (0, Duration::ZERO));
    assert!((figures.bits_per_second - 30.0 * 3.0 * 8.0 / 0.36).abs() < 1.0);
}

#[test]
fn time_that_stands_jumps_or_goes_back_is_told() {
    let timed = |timestamps: &[u32]| {
        let (mut counter, start) = (Counter::default(), Instant::now());
        for (n, timestamp) in (0_u16..).zip(timestamps) {
            counter.packet(
                start + FRAME * u32::from(n),
                CountedPacket { sequence: 7 + n, timestamp: *timestamp, marker: true, payload: IDR },
            );
        }
        let figures = counter.finish(start);
        (figures.backward, figures.clock_error.as_millis())
    };
    assert_eq!(timed(&[u32::MAX - 3599, 0, 3600, 7200]), (0, 0));
    assert_eq!(timed(&[0, 3600, 4_600_000]), (0, 51_031));
    assert_eq!(timed(&[90_000, 93_600, 3600]), (1, 1040));
    assert_eq!(timed(&[0, 9, 18, 27]), (0, 119));
}

#[test]
fn overtaken_and_retransmitted_packets_are_no_loss() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, [0, 1, 2, 4, 3, 5, 6, 8, 9, 10, 11]);
    counter.packet(start + FRAME * 4, packet(7));
    // Twice, as retransmissions come.
    counter.packet(start + FRAME * 4, packet(7));
    let figures = counter.finish(start + FRAME * 4);
    assert_eq!((figures.frames, figures.lost, figures.broken, figures.late), (4, 0, 0, 2));
    // The units behind the missing packet could only be shown when it had come.
    assert_eq!(figures.longest_gap, FRAME * 3);
}

#[test]
fn a_packet_that_never_comes_spoils_its_unit_only() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, (0..60).filter(|n| *n != 7));
    let figures = counter.finish(at(start, 59));
    assert_eq!((figures.frames, figures.lost, figures.broken), (19, 1, 1));
}

#[test]
fn a_lost_marker_spoils_no_more_than_two_units() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, (0..60).filter(|n| *n != 8));
    let figures = counter.finish(at(start, 59));
    assert_eq!((figures.lost, figures.frames + figures.broken), (1, 20));
    assert_eq!(figures.frames, 18);
}

#[test]
fn what_is_overdue_is_given_up_by_time_alone() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, [0, 1, 2, 6, 7, 8]);
    assert_eq!(counter.finish(start).frames, 1);
    counter.tick(start + REPAIR + FRAME * 2);
    let figures = counter.finish(start + REPAIR + FRAME * 2);
    assert_eq!((figures.frames, figures.lost, figures.broken), (1, 3, 1));
}

#[test]
fn a_spoilt_key_frame_is_not_the_first_frame() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, [0, 2]);
    feed(&mut counter, start + REPAIR, 3..30);
    let figures = counter.finish(at(start, 29));
    assert_eq!((figures.key_frames, figures.first_key_frame), (0, None));
}

#[test]
fn a_restarted_sender_is_no_loss() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, 0..6);
    for n in 0..6 {
        counter.packet(start + FRAME * 3, CountedPacket { sequence: 20_000 + n, ..packet(n) });
    }
    let figures = counter.finish(start + FRAME * 3);
    assert_eq!((figures.frames, figures.key_frames, figures.lost), (4, 2, 0));
}

#[test]
fn silence_to_the_end_is_a_gap() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, 0..6);
    assert_eq!(counter.finish(start + Duration::from_secs(3)).longest_gap, Duration::from_millis(2960));
}

#[test]
fn a_whole_key_frame_waits_for_nothing_before_it() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    // Unit 1 lacks a packet, unit 2 refers to it, unit 3 is a key frame of its own.
    let mut send = |numbers: std::ops::Range<u16>| {
        for n in numbers.filter(|n| *n != 4) {
            let payload = if n == 9 { SETS } else { packet(n).payload };
            let payload = if n == 10 { IDR } else { payload };
            counter.packet(start, CountedPacket { payload, ..packet(n) });
        }
        let figures = counter.finish(start);
        (figures.shown, figures.frames, figures.key_frames, figures.broken, figures.lost)
    };
    assert_eq!(send(0..9), (1, 1, 1, 0, 0));
    assert_eq!(send(9..11), (1, 1, 1, 0, 0), "not whole yet");
    assert_eq!(send(11..12), (2, 3, 2, 1, 1));
    assert_eq!(send(12..15), (3, 4, 2, 1, 1));
    assert_eq!(counter.finish(start).bare_key_frames, 1, "the first one");
}

#[test]
fn what_refers_to_a_spoilt_unit_is_not_shown() {
    let (mut counter, start) = (Counter::default(), Instant::now());
    feed(&mut counter, start, (0..60).filter(|n| *n != 7));
    let figures = counter.finish(at(start, 59));
    assert_eq!((figures.shown, figures.frames), (2, 19));
}

#[test]
fn key_frames_are_told_by_their_nal_units() {
    let holds_idr = |payload| holds(payload, NAL_IDR);
    assert!(holds(SETS, NAL_SPS) && !holds(IDR, NAL_SPS));
    assert!(holds_idr(IDR));
    assert!(!holds_idr(SLICE));
    assert!(!holds_idr(&[]));
    // FU-A: indicator, then a header with the type.
    assert!(holds_idr(&[0x7c, 0x85, 0]));
    assert!(!holds_idr(&[0x7c, 0x81, 0]));
    assert!(!holds_idr(&[0x7c]));
    // STAP-A with SPS, PPS and an IDR slice; with SPS and PPS alone; cut short; with sizes of nothing.
    assert!(holds_idr(&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68, 0, 2, 0x65, 1]));
    assert!(!holds_idr(&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68]));
    assert!(!holds_idr(&[0x78, 0xff, 0xff, 0x67]));
    assert!(!holds_idr(&[0x78, 0, 0, 0, 0, 0, 0]));
}
