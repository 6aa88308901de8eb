//! When packets leave that a path cannot take at once: spread over time, so that its queues need not hold a picture. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Faster than the path's rate, because the pictures behind should not wait for this one.
const FASTER: f64 = 1.5;
/// Sent at once: what leaves within this time anyhow. Fewer wake-ups, and no queue worth mentioning.
const AT_ONCE: Duration = Duration::from_millis(10);
/// Packets that leave together, however slow the path.
const LEAST_AT_ONCE_BITS: f64 = 2.0 * 9_600.0;
/// More packets than this never wait: the largest key frame that a level allows, and some.
const MOST: usize = 4096;

/// Things that wait, each with its bits.
#[derive(Debug)]
pub struct Pacer<T> {
    waiting: VecDeque<(T, f64)>,
    waiting_bits: f64,
    /// What may leave now.
    credit_bits: f64,
    filled: Option<Instant>,
}

impl<T> Default for Pacer<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), waiting_bits: 0.0, credit_bits: 0.0, filled: None }
    }
}

impl<T> Pacer<T> {
    /// Takes something to send. Beyond a bound it is dropped, and reported by `false`.
    pub fn push(&mut self, item: T, bits: f64) -> bool {
        if self.waiting.len() >= MOST {
            return false;
        }
        self.waiting.push_back((item, bits));
        self.waiting_bits += bits;
        true
    }

    /// How long all that waits will take over a path of `rate` bit/s.
    pub fn backlog(&self, rate: Option<f64>) -> Duration {
        rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64((self.waiting_bits / (rate * FASTER).max(1.0)).min(60.0))
        })
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.waiting_bits = 0.0;
    }

    /// Lets time pass over a path of `rate` bit/s; without a limit nothing waits.
    pub fn fill(&mut self, now: Instant, rate: Option<f64>) {
        let passed = now.saturating_duration_since(self.filled.replace(now).unwrap_or(now));
        self.credit_bits = match rate {
            Some(rate) => {
                let rate = rate * FASTER;
                let most = (rate * AT_ONCE.as_secs_f64()).max(LEAST_AT_ONCE_BITS);
                (self.credit_bits + rate * passed.as_secs_f64()).min(most)
            }
            None => f64::INFINITY,
        };
    }

    /// What may leave now, one after another.
    pub fn pop(&mut self) -> Option<T> {
        if self.credit_bits <= 0.0 {
            return None;
        }
        let (item, bits) = self.waiting.pop_front()?;
        self.credit_bits -= bits;
        self.waiting_bits = if self.waiting.is_empty() { 0.0 } else { self.waiting_bits - bits };
        Some(item)
    }

    /// How long until the next of what waits may leave over a path of `rate` bit/s.
    pub fn wait(&self, rate: Option<f64>) -> Duration {
        let Some(rate) = rate.map(|rate| rate * FASTER) else { return Duration::ZERO };
        let due = Duration::from_secs_f64((-self.credit_bits / rate.max(1.0)).clamp(0.0, 1.0));
        // A few packets each time.
        due.max(AT_ONCE / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS: f64 = 9_600.0;

    /// When each of `count` packets leaves, in ms.
    fn departures(count: usize, rate: Option<f64>) -> Vec<u128> {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        for number in 0..count {
            assert!(pacer.push(number, BITS));
        }
        let (mut now, mut left) = (start, Vec::new());
        while !pacer.is_empty() {
            pacer.fill(now, rate);
            while let Some(number) = pacer.pop() {
                assert_eq!(number, left.len(), "in order");
                left.push((now - start).as_millis());
            }
            now += pacer.wait(rate);
        }
        left
    }

    #[test]
    fn without_a_limit_all_leaves_at_once() {
        assert!(departures(100, None).iter().all(|at| *at == 0));
    }

    #[test]
    fn a_large_picture_takes_its_time_on_a_narrow_path() {
        let left = departures(50, Some(0.4e6));
        let all_ms = 50.0 * BITS / (0.4e6 * FASTER) * 1e3;
        let took = *left.last().unwrap() as f64;
        assert!(took > all_ms * 0.8 && took < all_ms * 1.1, "{took} of {all_ms}");
        let together = left.iter().filter(|at| **at == left[0]).count();
        assert!(together <= 3, "{together}");
    }

    #[test]
    fn time_in_which_nothing_waits_is_not_saved_up() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        pacer.fill(start, Some(1e6));
        pacer.fill(start + Duration::from_secs(10), Some(1e6));
        for number in 0..100 {
            pacer.push(number, BITS);
        }
        let mut count = 0;
        while pacer.pop().is_some() {
            count += 1;
        }
        assert!(count <= 3, "{count}");
        assert!(pacer.backlog(Some(1e6)) > Duration::from_millis(600));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut pacer = Pacer::default();
        for number in 0..MOST {
            assert!(pacer.push(number, BITS));
        }
        assert!(!pacer.push(0, BITS));
        pacer.clear();
        assert!(pacer.is_empty() && pacer.backlog(Some(1.0)).is_zero());
    }
}
