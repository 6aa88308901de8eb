//! When `state` is published: on every change, at most once a second, and every 30 s. Pure.

use std::time::{Duration, Instant};

/// The shortest time between two publications: a second for who reads them, although one may be on its way longer than the next.
const MIN_GAP: Duration = Duration::from_millis(1200);
/// The longest.
const MAX_GAP: Duration = Duration::from_secs(30);

/// Decides when the next publication is due.
#[derive(Debug)]
pub struct PublishSchedule {
    changed: bool,
    /// It is due as soon as it may be.
    is_due: bool,
    last: Option<Instant>,
}

impl PublishSchedule {
    /// Nothing published yet, so the first is due at once.
    pub fn new() -> Self {
        Self { changed: true, is_due: true, last: None }
    }

    /// Something is different.
    pub fn change(&mut self) {
        self.changed = true;
    }

    /// Publish again in any case, for instance to a broker that has just come back.
    pub fn reset(&mut self) {
        self.is_due = true;
    }

    /// When to publish next.
    pub fn due(&self, now: Instant) -> Instant {
        match self.last {
            None => now,
            Some(last) if self.changed || self.is_due => last + MIN_GAP,
            Some(last) => last + MAX_GAP,
        }
    }

    /// Was published.
    pub fn published(&mut self, now: Instant) {
        self.last = Some(now);
        self.changed = false;
        self.is_due = false;
    }
}

impl Default for PublishSchedule {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_gathered_for_a_second_and_silence_lasts_thirty() {
        let mut schedule = PublishSchedule::new();
        let start = Instant::now();
        assert_eq!(schedule.due(start), start);
        schedule.published(start);
        assert_eq!(schedule.due(start), start + Duration::from_secs(30));
        schedule.change();
        schedule.change();
        assert_eq!(schedule.due(start), start + MIN_GAP);
        assert!(MIN_GAP > Duration::from_secs(1));
        schedule.published(start + MIN_GAP);
        schedule.reset();
        assert_eq!(schedule.due(start), start + MIN_GAP * 2, "also to a broker that was away for a moment");
        let later = start + Duration::from_mins(1);
        assert!(schedule.due(later) <= later, "and at once to one that was away for longer");
    }
}
