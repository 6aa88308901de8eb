//! What still waits in a path's queue, from how long its newest packet waited and from what was sent since; and whether
//! the queue overflows. Pure.

use std::time::{Duration, Instant};

use super::packet_result::PacketResult;
use super::window::RateWindow;

/// While a queue stands, so many lost packets of one report, and half of it, are no accident if they are of the next one
/// too: where one report is lost, all that it told of looks lost in the next.
const OVERFLOW: usize = 8;
const IN_A_ROW: u32 = 2;

/// What waited when the newest packet left that is known to have come.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// When that packet left.
    pub departure: Duration,
    /// How long it waited.
    pub wait_s: f64,
    /// Bit/s that came through then.
    pub rate: f64,
}

/// The queue as the last feedback told it.
#[derive(Debug, Default)]
pub struct StandingQueue {
    queue: Option<Queue>,
    overflowed: Option<Instant>,
    /// Reports of that kind in a row.
    in_a_row: u32,
}

impl StandingQueue {
    /// Takes what a feedback with these `reports` told: `None` if no queue stands.
    pub fn observe(&mut self, queue: Option<Queue>, reports: &[PacketResult]) {
        self.queue = queue;
        let lost = || reports.iter().filter(|report| !report.arrived);
        let found_no_room = queue.is_some() && lost().count() >= OVERFLOW.max(reports.len() / 2);
        self.in_a_row = if found_no_room { self.in_a_row + 1 } else { 0 };
        if self.in_a_row >= IN_A_ROW {
            self.overflowed = lost().map(|report| report.departure).max();
        }
    }

    /// The queue that was seen, if one stands.
    pub fn queue(&self) -> Option<Queue> {
        self.queue
    }

    /// When the last packet left of so many that found the queue full that sending them again would take too long.
    pub fn overflowed(&self) -> Option<Instant> {
        self.overflowed
    }

    /// How long what was `sent` still waits at `now`: the queue that was seen, as it drained and filled since. It is never
    /// taken for a longer one, because what found no room was lost.
    pub fn at(&self, now: Duration, sent: &RateWindow) -> Duration {
        let Some(Queue { departure, wait_s, rate }) = self.queue else { return Duration::ZERO };
        let drained =
            |wait: f64, from: Duration, to: Duration| (wait - to.saturating_sub(from).as_secs_f64()).max(0.0);
        // What was sent before that is forgotten.
        let from = departure.max(now.saturating_sub(sent.span()));
        let (at, wait) = sent.after(from).fold((from, wait_s), |(from, wait), (at, bits)| {
            (at, (drained(wait, from, at) + bits / rate).min(wait_s))
        });
        Duration::from_secs_f64(drained(wait, at, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_report_is_no_overflow() {
        let now = Instant::now();
        let reports = |lost: usize| -> Vec<PacketResult> {
            let report =
                |number| PacketResult { departure: now, arrival: None, arrived: number >= lost, bytes: 1000 };
            (0..16).map(report).collect()
        };
        let queue = Some(Queue { departure: Duration::ZERO, wait_s: 0.1, rate: 1e6 });
        let mut standing = StandingQueue::default();
        for lost in [10, 1, 10, 0, 7, 7] {
            standing.observe(queue, &reports(lost));
        }
        standing.observe(None, &reports(16));
        standing.observe(queue, &reports(16));
        assert_eq!(standing.overflowed(), None);
        standing.observe(queue, &reports(9));
        assert_eq!(standing.overflowed(), Some(now));
    }
}
