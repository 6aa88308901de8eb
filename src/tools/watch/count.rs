//! Counting one viewer's stream: packets into access units, without decoding and without a clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a missing packet may take to come by retransmission before it counts as lost.
const REPAIR: Duration = Duration::from_millis(500);
/// Packets kept behind a missing one; at 4 Mbit/s about two seconds.
const MAX_WAITING: usize = 1024;
/// A jump this far is a new stream, not a loss.
const MAX_JUMP: i64 = 4096;

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

/// What matters of an RTP packet.
#[derive(Debug, Clone, Copy)]
pub struct CountedPacket<'a> {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Set on the last packet of an access unit.
    pub marker: bool,
    /// H.264 as RFC 6184 packs it.
    pub payload: &'a [u8],
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ViewerFigures {
    /// Whole access units.
    pub frames: u64,
    /// Those that a decoder could show: whole, and so is what they refer to.
    pub shown: u64,
    /// Those with an IDR picture.
    pub key_frames: u64,
    /// Access units that a lost packet spoilt.
    pub broken: u64,
    /// Packets that never came, not by retransmission either, or too late.
    pub lost: u64,
    /// Packets that came after a later one: retransmitted, or overtaken.
    pub late: u64,
    /// Bytes of RTP payload, each packet once.
    pub bytes: u64,
    /// When the first whole key frame was there.
    pub first_key_frame: Option<Instant>,
    /// The longest time between two whole access units, or from the last one to the end.
    pub longest_gap: Duration,
    /// Whole access units a second, between the first and the last.
    pub fps: f64,
    /// RTP payload bits a second, between the first and the last packet.
    pub bits_per_second: f64,
}

struct WaitingPacket {
    timestamp: u32,
    marker: bool,
    key: bool,
    /// A key frame begins here, as parameter sets tell.
    starts_key_frame: bool,
    since: Instant,
}

/// Counts one stream.
#[derive(Default)]
pub struct Counter {
    figures: ViewerFigures,
    /// The next sequence number, unwrapped.
    next: Option<i64>,
    highest: i64,
    waiting: BTreeMap<i64, WaitingPacket>,
    unit: Option<Unit>,
    /// Nothing is missing of what the next unit may refer to.
    decodes: bool,
    first_packet: Option<Instant>,
    last_packet: Option<Instant>,
    first_frame: Option<Instant>,
    last_frame: Option<Instant>,
}

/// The access unit that is being put together.
struct Unit {
    timestamp: u32,
    key: bool,
    broken: bool,
}

impl Counter {
    /// Takes a packet that arrived at `now`.
    pub fn packet(&mut self, now: Instant, packet: CountedPacket<'_>) {
        self.first_packet.get_or_insert(now);
        self.last_packet = Some(now);
        let mut sequence = self.unwrap(packet.sequence);
        if (sequence - self.highest).abs() > MAX_JUMP {
            self.start_over();
            sequence = self.unwrap(packet.sequence);
        }
        if self.next.is_some_and(|next| sequence < next) || self.waiting.contains_key(&sequence) {
            return;
        }
        self.figures.bytes += packet.payload.len() as u64;
        if sequence < self.highest {
            self.figures.late += 1;
        }
        self.highest = self.highest.max(sequence);
        let arrived = WaitingPacket {
            timestamp: packet.timestamp,
            marker: packet.marker,
            key: holds(packet.payload, NAL_IDR),
            starts_key_frame: holds(packet.payload, NAL_SPS),
            since: now,
        };
        self.waiting.insert(sequence, arrived);
        self.advance(now);
    }

    /// Lets time pass: gives up packets that are overdue.
    pub fn tick(&mut self, now: Instant) {
        self.advance(now);
    }

    /// When the first whole key frame was there, if it was.
    pub fn first_key_frame(&self) -> Option<Instant> {
        self.figures.first_key_frame
    }

    /// Whether the next picture could be shown if it comes whole: if not, only a key frame helps.
    pub fn decodes(&self) -> bool {
        self.decodes
    }

    /// Whether any packet came.
    pub fn has_packets(&self) -> bool {
        self.first_packet.is_some()
    }

    /// The figures at the end of watching.
    pub fn finish(&self, now: Instant) -> ViewerFigures {
        let mut figures = self.figures.clone();
        if let (Some(first), Some(last)) = (self.first_frame, self.last_frame) {
            figures.longest_gap = figures.longest_gap.max(now.saturating_duration_since(last));
            figures.fps = rate(figures.frames.saturating_sub(1) as f64, last - first);
        }
        if let (Some(first), Some(last)) = (self.first_packet, self.last_packet) {
            figures.bits_per_second = rate(figures.bytes as f64 * 8.0, last - first);
        }
        figures
    }

    /// The sequence number nearest to the highest so far that ends in these 16 bits.
    fn unwrap(&mut self, sequence: u16) -> i64 {
        if self.next.is_none() {
            self.highest = i64::from(sequence);
            self.next = Some(self.highest);
        }
        let [.., high, low] = self.highest.to_be_bytes();
        let distance = sequence.wrapping_sub(u16::from_be_bytes([high, low])).cast_signed();
        self.highest + i64::from(distance)
    }

    fn start_over(&mut self) {
        self.waiting.clear();
        self.unit = None;
        self.next = None;
        self.decodes = false;
    }

    /// Takes packets in order as far as they are there, or are no longer waited for.
    fn advance(&mut self, now: Instant) {
        while let Some((&sequence, first)) = self.waiting.first_key_value() {
            let next = self.next.unwrap_or(sequence);
            let missing = sequence - next;
            let overdue = now.saturating_duration_since(first.since) >= REPAIR;
            let waits = missing > 0 && !overdue && self.waiting.len() <= MAX_WAITING;
            // Browsers too show a whole key frame at once, whatever is missing before it.
            if waits && !self.has_whole_key_frame() {
                return;
            }
            let Some((_, packet)) = self.waiting.pop_first() else { return };
            self.figures.lost += missing.unsigned_abs();
            self.next = Some(sequence + 1);
            self.assemble(now, &packet, missing > 0);
        }
    }

    /// Whether all packets of a key frame are among those that wait.
    fn has_whole_key_frame(&self) -> bool {
        let mut starts = self.waiting.iter().filter(|(_, arrived)| arrived.starts_key_frame);
        starts.any(|(&start, first)| {
            let rest = (start..).zip(self.waiting.range(start..));
            rest.take_while(|(number, (sequence, arrived))| {
                number == *sequence && arrived.timestamp == first.timestamp
            })
            .any(|(_, (_, arrived))| arrived.marker)
        })
    }

    fn assemble(&mut self, now: Instant, packet: &WaitingPacket, after_loss: bool) {
        if self.unit.as_ref().is_some_and(|unit| unit.timestamp != packet.timestamp) {
            self.end_unit(now, after_loss);
        }
        // Unless a key frame begins, it cannot be told whether the lost packet belonged to this unit or ended the one
        // before; a whole unit is not claimed.
        let broken = after_loss && !packet.starts_key_frame;
        let unit = self.unit.get_or_insert(Unit { timestamp: packet.timestamp, key: false, broken });
        unit.broken |= broken;
        unit.key |= packet.key;
        if packet.marker {
            self.end_unit(now, false);
        }
    }

    fn end_unit(&mut self, now: Instant, after_loss: bool) {
        let Some(unit) = self.unit.take() else { return };
        if unit.broken || after_loss {
            self.figures.broken += 1;
            self.decodes = false;
            return;
        }
        self.figures.frames += 1;
        if unit.key {
            self.figures.key_frames += 1;
            self.figures.first_key_frame.get_or_insert(now);
            self.decodes = true;
        }
        self.figures.shown += u64::from(self.decodes);
        if let Some(last) = self.last_frame {
            self.figures.longest_gap = self.figures.longest_gap.max(now.saturating_duration_since(last));
        }
        self.first_frame.get_or_insert(now);
        self.last_frame = Some(now);
    }
}

fn rate(amount: f64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { amount / time.as_secs_f64() }
}

/// Whether an RTP payload begins or holds a NAL unit of this type (RFC 6184 section 5.4).
fn holds(payload: &[u8], nal_type: u8) -> bool {
    let Some((&header, rest)) = payload.split_first() else { return false };
    match header & 0x1f {
        NAL_FU_A => rest.first().is_some_and(|fu| fu & 0x1f == nal_type),
        NAL_STAP_A => aggregated(rest).any(|nal| nal & 0x1f == nal_type),
        own => own == nal_type,
    }
}

/// The header bytes of the units in a STAP-A packet.
fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = u8> + '_ {
    std::iter::from_fn(move || {
        let (size, after) = rest.split_first_chunk::<2>()?;
        let size = usize::from(u16::from_be_bytes(*size));
        let nal = *after.first()?;
        rest = after.get(size.max(1)..)?;
        Some(nal)
    })
}

#[cfg(test)]
mod tests {
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
        assert!((figures.bits_per_second - 30.0 * 3.0 * 8.0 / 0.36).abs() < 1.0);
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
}
