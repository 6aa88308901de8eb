//! When the samples of a card were captured. Pure.
//!
//! A card delivers samples by its own quartz, and late by what the system makes of it. Positions count what it captured, with the time
//! added in which it gave nothing; the time of a position is the least late that was seen, followed slowly, since a card may be
//! some hundred millionths faster or slower than this machine.

use std::time::{Duration, Instant};

/// Least lateness is looked for over so long.
const WINDOW_NS: i64 = 1_000_000_000;
/// At the beginning of a run each delivery that is earlier than all before it is right at once.
const SETTLING_NS: u64 = 1_000_000_000;
/// The time of capture is corrected by a thousandth at most: five times what a quartz may be off.
const MAX_SLEW: f64 = 0.001;
/// Half of what is left is corrected in each window.
const GAIN: f64 = 0.5;
/// Who is later than this over a whole window has stood still; earlier than this, and the time was wrong.
const STANDSTILL_NS: i64 = 40_000_000;

/// The first position. An encoder has its first packet begin before the first sample.
pub const FIRST_NS: u64 = 1_000_000_000;

/// Samples that a card delivered.
#[derive(Clone, Copy, Debug)]
pub struct CardDelivery {
    /// The number of the first one as the card counts them, where it does.
    pub offset: Option<u64>,
    /// How many, of one channel.
    pub samples: u64,
    /// Per second.
    pub rate_hz: u32,
}

/// What is known of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Nanoseconds of sound before its first sample, those that were lost counted too, and [`FIRST_NS`].
    pub position_ns: u64,
    /// Something is missing before it.
    pub is_gap: bool,
}

#[derive(Debug)]
struct Run {
    /// The card's count that `position_ns` belongs to.
    offset: u64,
    position_ns: u64,
    next_offset: u64,
    /// A position and the time of its capture.
    anchor: (u64, Instant),
    began_at_ns: u64,
    /// The least lateness of this window, and how long the window is already.
    least_late_ns: i64,
    window_ns: i64,
    slew: f64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct CardClock {
    run: Option<Run>,
    /// The position behind the last sample, and its time.
    end: Option<(u64, Instant)>,
    gaps: u64,
}

fn nanos(samples: u64, rate_hz: u32) -> u64 {
    let nanos = u128::from(samples) * 1_000_000_000 / u128::from(rate_hz.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// `from` to `to`, negative where `to` is earlier.
fn between(from: Instant, to: Instant) -> i64 {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match to.checked_duration_since(from) {
        Some(later) => nanos(later),
        None => -nanos(from.saturating_duration_since(to)),
    }
}

fn shifted(at: Instant, by_ns: i64) -> Instant {
    let by = Duration::from_nanos(by_ns.unsigned_abs());
    let shifted = if by_ns < 0 { at.checked_sub(by) } else { at.checked_add(by) };
    shifted.unwrap_or(at)
}

impl CardClock {
    /// The card was opened anew: its count begins somewhere.
    pub fn start_run(&mut self) {
        self.run = None;
    }

    /// Gaps within runs so far, and between them.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Takes note of a delivery that came at `now`.
    pub fn arrived(&mut self, delivery: CardDelivery, now: Instant) -> Arrived {
        let length_ns = nanos(delivery.samples, delivery.rate_hz);
        // Its first sample cannot be younger.
        let seen = now.checked_sub(Duration::from_nanos(length_ns)).unwrap_or(now);
        let Some(mut run) = self.run.take() else { return self.begin(delivery, length_ns, seen) };
        let offset = delivery.offset.unwrap_or(run.next_offset);
        if offset < run.next_offset {
            // It counts anew: so do we.
            return self.begin(delivery, length_ns, seen);
        }
        let mut is_gap = offset > run.next_offset;
        let mut position_ns = run.position_ns + nanos(offset - run.offset, delivery.rate_hz);
        let late_ns = between(run.captured_at(position_ns), seen);
        run.least_late_ns = run.least_late_ns.min(late_ns);
        run.window_ns += signed(length_ns);
        let mut correction = (run.slew * length_ns as f64).round();
        if position_ns.saturating_sub(run.began_at_ns) < SETTLING_NS && late_ns < 0 {
            correction = late_ns as f64;
        }
        if run.window_ns >= WINDOW_NS {
            let least = run.least_late_ns;
            if least > STANDSTILL_NS {
                is_gap = true;
                let stood_ns = least.unsigned_abs();
                run.position_ns += stood_ns;
                position_ns += stood_ns;
            } else if least < -STANDSTILL_NS {
                correction = least as f64;
            }
            let left = if least.abs() > STANDSTILL_NS { 0.0 } else { least as f64 };
            run.slew = (left * GAIN / WINDOW_NS as f64).clamp(-MAX_SLEW, MAX_SLEW);
            (run.least_late_ns, run.window_ns) = (i64::MAX, 0);
        }
        #[allow(clippy::cast_possible_truncation)] // at most the lateness, which is one
        let correction = correction as i64;
        run.anchor = (position_ns, shifted(run.captured_at(position_ns), correction));
        run.next_offset = offset + delivery.samples;
        self.gaps += u64::from(is_gap);
        self.end = Some((position_ns + length_ns, run.captured_at(position_ns + length_ns)));
        self.run = Some(run);
        Arrived { position_ns, is_gap }
    }

    fn begin(&mut self, delivery: CardDelivery, length_ns: u64, seen: Instant) -> Arrived {
        let position_ns = self.end.map_or(FIRST_NS, |(position_ns, at)| {
            position_ns.saturating_add(between(at, seen).max(0).unsigned_abs())
        });
        // From the end of what was captured before, if that overlaps.
        let captured_at = self.end.map_or(seen, |(_, at)| at.max(seen));
        let is_gap = self.end.is_some();
        let offset = delivery.offset.unwrap_or(0);
        self.run = Some(Run {
            offset,
            position_ns,
            next_offset: offset + delivery.samples,
            anchor: (position_ns, captured_at),
            began_at_ns: position_ns,
            least_late_ns: i64::MAX,
            window_ns: 0,
            slew: 0.0,
        });
        self.end = Some((position_ns + length_ns, captured_at + Duration::from_nanos(length_ns)));
        self.gaps += u64::from(is_gap);
        Arrived { position_ns, is_gap }
    }

    /// When the sample at this position was captured; `None` before the first delivery of a run.
    pub fn captured_at(&self, position_ns: u64) -> Option<Instant> {
        self.run.as_ref().map(|run| run.captured_at(position_ns))
    }
}

impl Run {
    fn captured_at(&self, position_ns: u64) -> Instant {
        let (at_ns, at) = self.anchor;
        shifted(at, signed(position_ns) - signed(at_ns))
    }
}

#[cfg(test)]
#[path = "card_clock_tests.rs"]
mod tests;
