//! A rate over a sliding window. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// Entries that a window holds at most; older ones are merged away. More than any frame rate brings in a second.
const MOST: usize = 4096;

/// Bits over the last `span` of whatever clock the caller uses.
#[derive(Debug)]
pub struct RateWindow {
    span: Duration,
    entries: VecDeque<(Duration, f64)>,
    bits: f64,
}

impl RateWindow {
    /// A window over `span`.
    pub fn new(span: Duration) -> Self {
        Self { span, entries: VecDeque::new(), bits: 0.0 }
    }

    /// Over how much time it goes.
    pub fn span(&self) -> Duration {
        self.span
    }

    /// Takes `bits` at `at`. A clock that jumps back begins anew.
    pub fn add(&mut self, at: Duration, bits: f64) {
        let latest = self.entries.back().map_or(at, |(at, _)| *at);
        if latest.saturating_sub(at) > self.span || self.entries.len() >= MOST {
            self.clear();
        }
        self.entries.push_back((at.max(latest), bits));
        self.bits += bits;
        self.forget_before(at.max(latest));
    }

    /// Bit/s over the window that ends at `now`.
    pub fn rate(&mut self, now: Duration) -> f64 {
        self.forget_before(now);
        (self.bits / self.span.as_secs_f64()).max(0.0)
    }

    /// What was taken after `at` and is not forgotten yet: when, and how many bits.
    pub fn after(&self, at: Duration) -> impl Iterator<Item = (Duration, f64)> {
        let first = self.entries.partition_point(|(when, _)| *when <= at);
        self.entries.range(first..).copied()
    }

    /// Bit/s over the window that ends at the latest entry.
    pub fn latest_rate(&mut self) -> f64 {
        let now = self.entries.back().map_or(Duration::ZERO, |(at, _)| *at);
        self.rate(now)
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bits = 0.0;
    }

    fn forget_before(&mut self, now: Duration) {
        while let Some((at, bits)) = self.entries.front().copied() {
            if now.saturating_sub(at) < self.span {
                return;
            }
            self.entries.pop_front();
            self.bits -= bits;
        }
        self.bits = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_bits_leave_and_a_clock_that_jumps_back_begins_anew() {
        let mut window = RateWindow::new(Duration::from_secs(1));
        for ms in (0..2000).step_by(100) {
            window.add(Duration::from_millis(ms), 100.0);
        }
        assert!((window.latest_rate() - 1000.0).abs() < 1.0);
        let times: Vec<u128> =
            window.after(Duration::from_millis(1700)).map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, [1800, 1900]);
        assert!(window.rate(Duration::from_secs(9)) < 1.0);
        window.add(Duration::from_secs(8), 50.0);
        window.add(Duration::ZERO, 7.0);
        assert!((window.latest_rate() - 7.0).abs() < 1e-6);
    }
}
