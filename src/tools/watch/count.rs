//! Counting one viewer's stream: packets into access units, without decoding and without a clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a missing packet may take to come by retransmission before it counts as lost.
const REPAIR: Duration = Duration::from_millis(500);
/// Packets kept behind a missing one; at 4 Mbit/s about two seconds.
const MAX_WAITING: usize = 1024;
/// A jump this far is a new stream, not a loss.
const MAX_JUMP: i64 = 4096;

/// The clock of RTP time for video, RFC 6184.
const RTP_HZ: f64 = 90_000.0;

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
    /// Those of them without parameter sets, at which no decoder can start.
    pub bare_key_frames: u64,
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
    /// Access units whose RTP time is not after that of the one before.
    pub backward: u64,
    /// The most by which RTP time since the first access unit was ahead of the clock or behind it.
    pub clock_error: Duration,
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
    clock: MediaClock,
}

/// The RTP time of access units that came one after another.
#[derive(Default)]
struct MediaClock {
    last: Option<u32>,
    /// Since the first one, in ticks of [`RTP_HZ`].
    ticks: i64,
}

/// The access unit that is being put together.
struct Unit {
    timestamp: u32,
    key: bool,
    has_sets: bool,
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
        let unit = self.unit.get_or_insert(Unit {
            timestamp: packet.timestamp,
            key: false,
            has_sets: false,
            broken,
        });
        unit.broken |= broken;
        unit.key |= packet.key;
        unit.has_sets |= packet.starts_key_frame;
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
            self.figures.bare_key_frames += u64::from(!unit.has_sets);
            self.figures.first_key_frame.get_or_insert(now);
            self.decodes = true;
        }
        self.figures.shown += u64::from(self.decodes);
        if let Some(last) = self.last_frame {
            self.figures.longest_gap = self.figures.longest_gap.max(now.saturating_duration_since(last));
        }
        self.last_frame = Some(now);
        let since = now.saturating_duration_since(*self.first_frame.get_or_insert(now));
        self.figures.backward += u64::from(!self.clock.advance(unit.timestamp));
        self.figures.clock_error = self.figures.clock_error.max(self.clock.error(since));
    }
}

impl MediaClock {
    /// Takes the next unit's RTP timestamp. Whether time goes forward.
    fn advance(&mut self, timestamp: u32) -> bool {
        let Some(last) = self.last.replace(timestamp) else { return true };
        let step = timestamp.wrapping_sub(last).cast_signed();
        self.ticks += i64::from(step);
        step > 0
    }

    /// How far it is from the time that has passed since the first unit.
    fn error(&self, since: Duration) -> Duration {
        Duration::from_secs_f64((self.ticks as f64 / RTP_HZ - since.as_secs_f64()).abs())
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
#[path = "count_tests.rs"]
mod tests;
