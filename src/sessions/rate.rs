//! How many offers per viewer and in all: token buckets, pure in time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::signaling::topic::Id;

/// Offers one viewer may send at once, and how many more each second.
const VIEWER: Rate = Rate { burst: 20.0, per_second: 2.0 };
/// The same for all viewers together.
const ALL: Rate = Rate { burst: 200.0, per_second: 50.0 };
/// Viewers remembered; beyond it, those whose bucket is full again are forgotten first.
const MAX_VIEWERS: usize = 1024;

#[derive(Clone, Copy)]
struct Rate {
    burst: f64,
    per_second: f64,
}

struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, filled_at: now }
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.filled_at = now;
    }

    /// Takes a token, or says after how many seconds there will be one.
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), u32> {
        self.fill(rate, now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - self.tokens) / rate.per_second);
        Err(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
    }
}

/// The buckets of all viewers.
#[derive(Default)]
pub(super) struct RateLimit {
    all: Option<Bucket>,
    viewers: HashMap<Id, Bucket>,
}

impl RateLimit {
    /// Counts one offer of `viewer`; `Err` holds the seconds to wait.
    pub fn take(&mut self, now: Instant, viewer: &Id) -> Result<(), u32> {
        if self.viewers.len() >= MAX_VIEWERS && !self.viewers.contains_key(viewer) {
            self.viewers.retain(|_, bucket| {
                bucket.fill(VIEWER, now);
                bucket.tokens < VIEWER.burst
            });
            if self.viewers.len() >= MAX_VIEWERS {
                return Err(1);
            }
        }
        let bucket = self.viewers.entry(viewer.clone()).or_insert_with(|| Bucket::full(VIEWER, now));
        bucket.take(VIEWER, now)?;
        self.all.get_or_insert_with(|| Bucket::full(ALL, now)).take(ALL, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    #[test]
    fn a_burst_is_allowed_then_the_rate_holds_and_recovers() {
        let mut rate = RateLimit::default();
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(rate.take(start, &id("a")), Ok(()));
        }
        assert_eq!(rate.take(start, &id("a")), Err(1));
        assert_eq!(rate.take(start, &id("b")), Ok(()), "one viewer's noise is not another's");
        assert_eq!(rate.take(start + Duration::from_millis(600), &id("a")), Ok(()));
    }

    #[test]
    fn all_viewers_together_are_limited_and_memory_is_bounded() {
        let mut rate = RateLimit::default();
        let start = Instant::now();
        let refused = (0..5_000).filter(|n| rate.take(start, &id(&format!("v{n}"))).is_err()).count();
        assert_eq!(refused, 4_800);
        assert!(rate.viewers.len() <= MAX_VIEWERS);
        assert_eq!(rate.take(start + Duration::from_mins(1), &id("late")), Ok(()));
    }
}
