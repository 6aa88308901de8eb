//! Two renditions: which viewer gets which, and one bit rate for each. Pure.
//!
//! A viewer is moved to the small rendition when the full one is made for better paths than its own, or when so little
//! comes through that fewer pixels look better. It is moved back when its path has carried enough for some seconds, or as
//! much as the small stream can prove; a move back that fails is not tried again so soon.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Bounds, Policy, SHARE, STARVED_BELOW};

/// A path has to be too narrow for so long before its viewer is moved.
const DOWN_AFTER: Duration = Duration::from_secs(1);
/// And wide enough for so long, the first time and after failures.
const UP_AFTER: Duration = Duration::from_secs(3);
const UP_AFTER_MOST: Duration = Duration::from_secs(80);
/// A viewer that has to be moved down again so soon should not have been moved up.
const FAILED_WITHIN: Duration = Duration::from_secs(15);
/// Full pictures at less than this multiple of the small rendition's highest rate look worse than small ones.
const POOR: f64 = 0.9;
/// And at more than this they are worth it.
const RICH: f64 = 1.4;
/// Nothing but a stream can show what a path carries: an estimate grows to a bit more than this multiple of it.
const PROVEN: f64 = 1.5;
/// The small stream is as good as it gets.
const AT_CEILING: f64 = 0.95;

/// One viewer.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// Tells it from the others.
    pub id: u64,
    /// What its path carries, bit/s; `None`: no limit was seen.
    pub rate: Option<f64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Bit rate of the full rendition.
    pub full: f64,
    /// Bit rate of the small one, if somebody is to get it.
    pub small: Option<f64>,
    /// For each viewer whether that is the one it is to get.
    pub in_small: Vec<bool>,
}

#[derive(Debug)]
struct Seat {
    is_small: bool,
    moved: Option<Instant>,
    /// Since when it would have to be moved.
    due_since: Option<Instant>,
    up_after: Duration,
}

impl Seat {
    fn new() -> Self {
        Self { is_small: false, moved: None, due_since: None, up_after: UP_AFTER }
    }

    /// Moves it once `is_due` has held for long enough.
    fn consider(&mut self, now: Instant, is_due: bool) {
        if !is_due {
            self.due_since = None;
            return;
        }
        let since = *self.due_since.get_or_insert(now);
        let after = if self.is_small { self.up_after } else { DOWN_AFTER };
        if now.saturating_duration_since(since) < after {
            return;
        }
        if !self.is_small {
            let failed = self.moved.is_some_and(|at| now.saturating_duration_since(at) < FAILED_WITHIN);
            self.up_after = if failed { (self.up_after * 2).min(UP_AFTER_MOST) } else { UP_AFTER };
        }
        self.is_small = !self.is_small;
        (self.moved, self.due_since) = (Some(now), None);
    }
}

/// Decides for both renditions.
#[derive(Debug, Default)]
pub struct Tiers {
    full: Policy,
    small: Policy,
    /// As last decided.
    full_target: Option<f64>,
    small_target: Option<f64>,
    seats: HashMap<u64, Seat>,
}

impl Tiers {
    /// What to do at `now`; without bounds for the small rendition there is none.
    pub fn step(
        &mut self,
        now: Instant,
        viewers: &[Viewer],
        full: Bounds,
        small: Option<Bounds>,
    ) -> Decision {
        self.seats.retain(|id, _| viewers.iter().any(|viewer| viewer.id == *id));
        let Some(small) = small else {
            self.seats.clear();
            self.small_target = None;
            let rates: Vec<Option<f64>> = viewers.iter().map(|viewer| viewer.rate).collect();
            let full = self.full.step(now, &rates, full);
            return Decision { full, small: None, in_small: vec![false; viewers.len()] };
        };
        self.seat(now, viewers, self.full_target.unwrap_or(full.ceiling), small);
        let in_small: Vec<bool> = viewers.iter().map(|viewer| self.is_small(viewer.id)).collect();
        let rates: Vec<Option<f64>> =
            viewers.iter().zip(&in_small).filter(|(_, is)| **is).map(|(viewer, _)| viewer.rate).collect();
        if rates.is_empty() {
            self.small = Policy::default();
            self.small_target = None;
        } else {
            self.small_target = Some(self.small.step(now, &rates, small));
        }
        let full = self.full.step(now, &self.rates_for_full(viewers), full);
        self.full_target = Some(full);
        Decision { full, small: self.small_target, in_small }
    }

    fn seat(&mut self, now: Instant, viewers: &[Viewer], target: f64, small: Bounds) {
        let others = viewers.iter().any(|viewer| !self.is_small(viewer.id));
        // With nobody there, the full rendition would follow whoever comes back.
        let needed = if others { target } else { 0.0 };
        let small_target = self.small_target;
        for viewer in viewers {
            let seat = self.seats.entry(viewer.id).or_insert_with(Seat::new);
            let is_due = if seat.is_small {
                is_rich(viewer.rate, needed, small, small_target)
            } else {
                is_poor(viewer.rate, target, small)
            };
            seat.consider(now, is_due);
        }
    }

    fn is_small(&self, id: u64) -> bool {
        self.seats.get(&id).is_some_and(|seat| seat.is_small)
    }

    /// Those who get it; while nobody does, the best of those who might come back.
    fn rates_for_full(&self, viewers: &[Viewer]) -> Vec<Option<f64>> {
        let rates: Vec<Option<f64>> =
            viewers.iter().filter(|viewer| !self.is_small(viewer.id)).map(|viewer| viewer.rate).collect();
        if !rates.is_empty() {
            return rates;
        }
        let best = viewers.iter().map(|viewer| viewer.rate.unwrap_or(f64::INFINITY)).max_by(f64::total_cmp);
        best.map(|rate| rate.is_finite().then_some(rate)).into_iter().collect()
    }
}

/// Whether a path is too narrow for full pictures at `target`.
fn is_poor(rate: Option<f64>, target: f64, small: Bounds) -> bool {
    rate.is_some_and(|rate| rate < target * STARVED_BELOW || rate * SHARE < small.ceiling * POOR)
}

/// Whether a path may carry full pictures of `needed` bit/s.
fn is_rich(rate: Option<f64>, needed: f64, small: Bounds, small_target: Option<f64>) -> bool {
    let Some(rate) = rate else { return true };
    let wanted = needed.max(small.ceiling * RICH);
    let at_ceiling = small_target.filter(|target| *target >= small.ceiling * AT_CEILING);
    rate * SHARE >= wanted || at_ceiling.is_some_and(|target| rate >= target * PROVEN)
}

#[cfg(test)]
#[path = "tiers_tests.rs"]
mod tests;
