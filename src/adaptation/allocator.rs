//! Two renditions: which viewer gets which, and a bit rate for each. Pure.
//!
//! A viewer is moved to the small rendition when the full one is made for better paths than its own, or when so little
//! comes through that fewer pixels look better. It is moved back when its path has carried enough for some seconds, or as
//! much as the small stream can prove; a move back that fails is not tried again so soon.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::encoder_target::EncoderTarget;
use super::input::{Bounds, SHARE, STARVED_BELOW, ViewerPath};
use crate::base::bitrate::Bitrate;
use crate::stream::Rendition;

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

/// What is to be made, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Bit rate of the full rendition.
    pub full: Bitrate,
    /// Bit rate of the small one, if somebody is to get it.
    pub small: Option<Bitrate>,
    /// For each viewer the one it is to get.
    pub renditions: Vec<Rendition>,
}

/// What one viewer gets, and since when that is in doubt.
#[derive(Debug)]
struct Assignment {
    rendition: Rendition,
    moved: Option<Instant>,
    /// Since when it would have to be moved.
    due_since: Option<Instant>,
    up_after: Duration,
}

impl Assignment {
    fn new() -> Self {
        Self { rendition: Rendition::Full, moved: None, due_since: None, up_after: UP_AFTER }
    }

    /// Moves it once `is_due` has held for long enough.
    fn consider(&mut self, now: Instant, is_due: bool) {
        if !is_due {
            self.due_since = None;
            return;
        }
        let since = *self.due_since.get_or_insert(now);
        let is_small = self.rendition == Rendition::Small;
        let after = if is_small { self.up_after } else { DOWN_AFTER };
        if now.saturating_duration_since(since) < after {
            return;
        }
        if !is_small {
            let failed = self.moved.is_some_and(|at| now.saturating_duration_since(at) < FAILED_WITHIN);
            self.up_after = if failed { (self.up_after * 2).min(UP_AFTER_MOST) } else { UP_AFTER };
        }
        self.rendition = if is_small { Rendition::Full } else { Rendition::Small };
        (self.moved, self.due_since) = (Some(now), None);
    }
}

/// Decides for both renditions.
#[derive(Debug, Default)]
pub struct BitrateAllocator {
    full: EncoderTarget,
    small: EncoderTarget,
    /// As last decided.
    full_target: Option<Bitrate>,
    small_target: Option<Bitrate>,
    assignments: HashMap<u64, Assignment>,
}

impl BitrateAllocator {
    /// What to do at `now`; without bounds for the small rendition there is none.
    pub fn step(
        &mut self,
        now: Instant,
        viewers: &[ViewerPath],
        full: Bounds,
        small: Option<Bounds>,
    ) -> Allocation {
        self.assignments.retain(|id, _| viewers.iter().any(|viewer| viewer.id == *id));
        let Some(small) = small else {
            self.assignments.clear();
            self.small_target = None;
            let rates: Vec<Option<Bitrate>> = viewers.iter().map(|viewer| viewer.rate).collect();
            let full = self.full.step(now, &rates, full);
            return Allocation { full, small: None, renditions: vec![Rendition::Full; viewers.len()] };
        };
        self.assign(now, viewers, self.full_target.unwrap_or(full.ceiling), small);
        let renditions: Vec<Rendition> = viewers.iter().map(|viewer| self.rendition(viewer.id)).collect();
        let rates = self.rates_of(viewers, Rendition::Small);
        if rates.is_empty() {
            self.small = EncoderTarget::default();
            self.small_target = None;
        } else {
            self.small_target = Some(self.small.step(now, &rates, small));
        }
        let full = self.full.step(now, &self.rates_for_full(viewers), full);
        self.full_target = Some(full);
        Allocation { full, small: self.small_target, renditions }
    }

    fn assign(&mut self, now: Instant, viewers: &[ViewerPath], target: Bitrate, small: Bounds) {
        let others = viewers.iter().any(|viewer| self.rendition(viewer.id) == Rendition::Full);
        // With nobody there, the full rendition would follow whoever comes back.
        let needed = if others { target } else { Bitrate::ZERO };
        let small_target = self.small_target;
        for viewer in viewers {
            let assignment = self.assignments.entry(viewer.id).or_insert_with(Assignment::new);
            let before = assignment.rendition;
            let is_due = if before == Rendition::Small {
                is_rich(viewer.rate, needed, small, small_target)
            } else {
                is_poor(viewer.rate, target, small)
            };
            assignment.consider(now, is_due);
            if assignment.rendition != before {
                let (viewer, carries, to) = (viewer.id, viewer.rate, assignment.rendition);
                tracing::trace!(viewer, ?carries, %target, ?small_target, ?to, "another rendition");
            }
        }
    }

    fn rendition(&self, id: u64) -> Rendition {
        self.assignments.get(&id).map_or(Rendition::Full, |assignment| assignment.rendition)
    }

    /// What the paths of those carry that are to get `rendition`.
    fn rates_of(&self, viewers: &[ViewerPath], rendition: Rendition) -> Vec<Option<Bitrate>> {
        let those = viewers.iter().filter(|viewer| self.rendition(viewer.id) == rendition);
        those.map(|viewer| viewer.rate).collect()
    }

    /// Those who get it; while nobody does, the best of those who might come back.
    fn rates_for_full(&self, viewers: &[ViewerPath]) -> Vec<Option<Bitrate>> {
        let rates = self.rates_of(viewers, Rendition::Full);
        if !rates.is_empty() {
            return rates;
        }
        let best = viewers.iter().map(|viewer| viewer.rate.unwrap_or(Bitrate::MAX)).max();
        best.map(|rate| (rate < Bitrate::MAX).then_some(rate)).into_iter().collect()
    }
}

/// Whether a path is too narrow for full pictures at `target`.
fn is_poor(rate: Option<Bitrate>, target: Bitrate, small: Bounds) -> bool {
    rate.is_some_and(|rate| rate < target * STARVED_BELOW || rate * SHARE < small.ceiling * POOR)
}

/// Whether a path may carry full pictures of `needed`.
fn is_rich(rate: Option<Bitrate>, needed: Bitrate, small: Bounds, small_target: Option<Bitrate>) -> bool {
    let Some(rate) = rate else { return true };
    let wanted = needed.max(small.ceiling * RICH);
    let at_ceiling = small_target.filter(|target| *target >= small.ceiling * AT_CEILING);
    rate * SHARE >= wanted || at_ceiling.is_some_and(|target| rate >= target * PROVEN)
}

#[cfg(test)]
#[path = "allocator_tests.rs"]
mod tests;
