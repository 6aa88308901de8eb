//! How often one viewer has key frames made that all others pay for. Pure.
//!
//! A decoder asks until a key frame comes, so that many requests mean one. And one that is broken, or means harm, asks for ever:
//! for it everybody's pictures would be made worse each second, and larger where a camera encodes by itself.

use std::time::{Duration, Instant};

/// Requests within so long of one that was passed on are about the same key frame, of a viewer that has not asked too often.
const SAME: Duration = Duration::from_secs(1);
/// Key frames that a viewer may ask for in a row, and how often then.
const IN_A_ROW: f64 = 10.0;
const EVERY: Duration = Duration::from_secs(3);

/// What one viewer may still ask for.
#[derive(Debug)]
pub(in crate::peer) struct KeyFrameBudget {
    left: f64,
    /// Up to when it was filled.
    filled: Option<Instant>,
    /// The last one that was paid for.
    passed_on: Option<Instant>,
}

impl Default for KeyFrameBudget {
    fn default() -> Self {
        Self { left: IN_A_ROW, filled: None, passed_on: None }
    }
}

impl KeyFrameBudget {
    /// Whether a request is passed on.
    pub fn allows(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled.replace(now).unwrap_or(now));
        self.left = (self.left + passed.as_secs_f64() / EVERY.as_secs_f64()).min(IN_A_ROW);
        if self.passed_on.is_some_and(|at| now.saturating_duration_since(at) < SAME) {
            return self.left >= 1.0;
        }
        let allows = self.left >= 1.0;
        if allows {
            self.left -= 1.0;
            self.passed_on = Some(now);
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In how many of these seconds a viewer is heard that asks all the time.
    fn heard(budget: &mut KeyFrameBudget, start: Instant, seconds: u32) -> usize {
        let second = |second: u32| {
            let asks = |ms: u64| {
                budget.allows(start + Duration::from_secs(second.into()) + Duration::from_millis(ms))
            };
            (0..1000).step_by(20).map(asks).fold(false, |heard, allowed| heard | allowed)
        };
        (0..seconds).map(second).filter(|heard| *heard).count()
    }

    #[test]
    fn one_that_asks_all_the_time_is_heard_less_and_less() {
        let (mut budget, start) = (KeyFrameBudget::default(), Instant::now());
        assert_eq!(heard(&mut budget, start, 8), 8);
        let later = heard(&mut budget, start + Duration::from_secs(60), 60);
        assert!((25..=32).contains(&later), "{later}");
        let last = heard(&mut budget, start + Duration::from_secs(120), 60);
        assert!((18..=22).contains(&last), "{last}");
    }

    #[test]
    fn one_that_asks_until_its_key_frame_comes_is_always_heard() {
        let (mut budget, start) = (KeyFrameBudget::default(), Instant::now());
        for picture in 0..200u32 {
            for request in 0..4 {
                let at = EVERY * picture + Duration::from_millis(200) * request;
                assert!(budget.allows(start + at), "{at:?}");
            }
        }
    }
}
