//! Settings that come faster than they can be carried out: of each one the latest counts. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Least time between two values of one setting.
const GAP: Duration = Duration::from_millis(100);

/// One setting.
#[derive(Debug)]
struct Slot<T> {
    /// A value is being carried out.
    busy: bool,
    free_at: Instant,
    next: Option<T>,
}

/// What waits and what is being carried out, by setting. A setting that is at rest takes no room.
#[derive(Debug)]
pub struct Coalescer<T> {
    slots: BTreeMap<String, Slot<T>>,
}

/// What becomes of a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered<T> {
    /// To be carried out now; [`Coalescer::finish`] follows.
    Now(T),
    /// It waits for its turn, in place of this one.
    Waits(Option<T>),
}

impl<T> Coalescer<T> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self { slots: BTreeMap::new() }
    }

    /// A value of `setting`.
    pub fn offer(&mut self, now: Instant, setting: &str, value: T) -> Offered<T> {
        self.slots.retain(|_, slot| slot.busy || slot.next.is_some() || slot.free_at > now);
        if let Some(slot) = self.slots.get_mut(setting) {
            return Offered::Waits(slot.next.replace(value));
        }
        self.slots.insert(setting.to_owned(), Slot { busy: true, free_at: now + GAP, next: None });
        Offered::Now(value)
    }

    /// The value that is being carried out is done.
    pub fn finish(&mut self, now: Instant, setting: &str) {
        if let Some(slot) = self.slots.get_mut(setting) {
            slot.busy = false;
            slot.free_at = slot.free_at.max(now);
        }
    }

    /// Forgets what waits of `setting`, and gives it back.
    pub fn withdraw(&mut self, setting: &str) -> Option<T> {
        self.slots.get_mut(setting)?.next.take()
    }

    /// Forgets all that waits, and gives it back.
    pub fn withdraw_all(&mut self) -> Vec<T> {
        self.slots.values_mut().filter_map(|slot| slot.next.take()).collect()
    }

    /// When [`Self::take_due`] will give something.
    pub fn due(&self) -> Option<Instant> {
        self.slots.values().filter(|slot| !slot.busy && slot.next.is_some()).map(|slot| slot.free_at).min()
    }

    /// A setting whose turn has come, with its latest value.
    pub fn take_due(&mut self, now: Instant) -> Option<(String, T)> {
        let ready = |slot: &Slot<T>| !slot.busy && slot.next.is_some() && slot.free_at <= now;
        let (setting, slot) = self.slots.iter_mut().find(|(_, slot)| ready(slot))?;
        slot.busy = true;
        slot.free_at = now + GAP;
        Some((setting.clone(), slot.next.take()?))
    }
}

impl<T> Default for Coalescer<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_at_once_and_then_the_latest() {
        let (mut queue, start) = (Coalescer::new(), Instant::now());
        assert_eq!(queue.offer(start, "a", 1), Offered::Now(1));
        assert_eq!(queue.offer(start, "a", 2), Offered::Waits(None));
        assert_eq!(queue.offer(start, "a", 3), Offered::Waits(Some(2)));
        assert_eq!(queue.offer(start, "b", 9), Offered::Now(9), "settings do not wait for each other");
        assert_eq!(queue.due(), None, "the first is not done");
        queue.finish(start, "a");
        assert_eq!((queue.due(), queue.take_due(start)), (Some(start + GAP), None));
        assert_eq!(queue.take_due(start + GAP), Some(("a".into(), 3)));
        assert_eq!(queue.take_due(start + GAP * 9), None);
    }

    #[test]
    fn a_slow_one_holds_up_only_itself_and_rest_takes_no_room() {
        let (mut queue, start) = (Coalescer::new(), Instant::now());
        assert_eq!(queue.offer(start, "slow", 1), Offered::Now(1));
        assert_eq!(queue.offer(start + GAP * 50, "slow", 2), Offered::Waits(None));
        assert_eq!(queue.withdraw("slow"), Some(2));
        queue.finish(start + GAP * 60, "slow");
        for n in 0..1000 {
            let now = start + GAP * (61 + n);
            queue.offer(now, &n.to_string(), 0);
            queue.finish(now, &n.to_string());
        }
        assert!(queue.slots.len() <= 2, "{}", queue.slots.len());
    }
}
