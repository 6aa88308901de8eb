//! When `state` is published: on every change, at most once a second, and every 30 s. Pure.

use std::time::{Duration, Instant};

/// The shortest time between two publications.
const MIN_GAP: Duration = Duration::from_secs(1);
/// The longest.
const MAX_GAP: Duration = Duration::from_secs(30);

/// Decides when the next publication is due.
#[derive(Debug)]
pub struct PublishSchedule {
    changed: bool,
    last: Option<Instant>,
}

impl PublishSchedule {
    /// Nothing published yet, so the first is due at once.
    pub fn new() -> Self {
        Self { changed: true, last: None }
    }

    /// Something is different.
    pub fn change(&mut self) {
        self.changed = true;
    }

    /// Publish again in any case, for instance to a broker that has just come back.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// When to publish next.
    pub fn due(&self, now: Instant) -> Instant {
        match self.last {
            None => now,
            Some(last) if self.changed => last + MIN_GAP,
            Some(last) => last + MAX_GAP,
        }
    }

    /// Was published.
    pub fn published(&mut self, now: Instant) {
        self.last = Some(now);
        self.changed = false;
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
        assert_eq!(schedule.due(start), start + Duration::from_secs(1));
        schedule.published(start + Duration::from_secs(1));
        schedule.reset();
        assert_eq!(schedule.due(start), start);
    }
}
