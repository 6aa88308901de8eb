//! What somebody who comes now can begin with at once: the last key frame and the few pictures since. Pure.

use std::time::{Duration, Instant};

use super::AccessUnit;

/// How long a key frame is good for. Another one would take the time to the next picture and that of encoding it, some 25 ms
/// at 30 pictures a second, and all who watch would pay for its bits.
const MAX_AGE: Duration = Duration::from_millis(100);
/// With those that follow it, as many as may come in one go: more would be a queue that a player has to work off.
const MAX_UNITS: usize = 4;

/// The last key frame of one rendition and what followed it, while that is little.
#[derive(Debug, Default)]
pub(super) struct FreshPictures(Vec<AccessUnit>);

impl FreshPictures {
    /// Takes the next picture.
    pub fn push(&mut self, unit: &AccessUnit) {
        if unit.key_frame || self.0.len() >= MAX_UNITS {
            self.0.clear();
        }
        if unit.key_frame || !self.0.is_empty() {
            self.0.push(unit.clone());
        }
    }

    /// What to begin with at `now`; nothing where that has become too old or too much.
    pub fn at(&self, now: Instant) -> &[AccessUnit] {
        let age = |key_frame: &AccessUnit| now.saturating_duration_since(key_frame.encoded_at);
        let is_good = self.0.first().is_some_and(|key_frame| age(key_frame) <= MAX_AGE);
        if is_good { &self.0 } else { &[] }
    }

    /// Nobody watches any more: no picture stays behind.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stream::{Fanout, Rendition};

    #[test]
    fn it_begins_with_a_key_frame_and_is_neither_old_nor_much() {
        let (mut fresh, start) = (FreshPictures::default(), Instant::now());
        let unit = |key_frame| AccessUnit::new(Bytes::new(), Duration::ZERO, start, start, key_frame);
        let after = |ms| start + Duration::from_millis(ms);
        fresh.push(&unit(false));
        assert!(fresh.at(start).is_empty(), "no decoder can start there");
        fresh.push(&unit(true));
        for units in 1..=MAX_UNITS {
            assert_eq!(fresh.at(after(100)).len(), units);
            assert!(fresh.at(start)[0].key_frame && fresh.at(after(101)).is_empty());
            fresh.push(&unit(false));
        }
        for _ in 0..2 {
            assert!(fresh.at(start).is_empty(), "too many since");
            fresh.push(&unit(false));
        }
        fresh.push(&unit(true));
        fresh.push(&unit(true));
        assert_eq!(fresh.at(start).len(), 1, "the last one");
        fresh.forget();
        assert!(fresh.at(start).is_empty());
    }

    #[tokio::test]
    async fn who_comes_right_after_a_key_frame_begins_with_it_and_asks_for_none() {
        let start = Instant::now();
        let unit = |number, key_frame| {
            AccessUnit::new(Bytes::new(), Duration::from_millis(number), start, start, key_frame)
        };
        let fanout = Fanout::default();
        let demand = fanout.demand();
        let asked = async || {
            let wanted = fanout.key_frame_wanted(Rendition::Full);
            tokio::time::timeout(Duration::ZERO, wanted).await.is_ok()
        };
        for number in 0..3 {
            fanout.publish(&unit(number, number == 1));
        }
        let mut subscription = fanout.subscribe_at(start);
        assert!(!asked().await);
        fanout.publish(&unit(3, false));
        for number in 1..=3 {
            let next = subscription.next().await;
            assert_eq!((next.media_time, next.key_frame), (Duration::from_millis(number), number == 1));
        }
        let mut late = fanout.subscribe_at(start + Duration::from_secs(1));
        assert!(asked().await, "that key frame is an old one now");
        fanout.publish(&unit(4, true));
        assert_eq!(late.next().await.media_time, Duration::from_millis(4));
        drop(demand);
        let _after = fanout.subscribe_at(start);
        assert!(asked().await, "no picture outlives those who watch");
        fanout.publish(&unit(5, true));
        let _nobody = fanout.subscribe_at(start);
        assert!(asked().await, "nor is one kept for nobody");
    }
}
