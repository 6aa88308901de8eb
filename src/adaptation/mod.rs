//! What N viewers' paths carry, turned into one bit rate for the encoder. Pure.
//!
//! The encoder follows the good viewers: those whose paths carry far less get fewer pictures instead
//! ([`crate::peer`] leaves them out), so one bad path does not take the picture of all others down. One viewer
//! alone, or several that are alike, are followed down to the floor. Where there is a second, smaller rendition, [`tiers`]
//! decides who gets it, and each has a [`Policy`] of its own.

pub mod tiers;

use std::time::{Duration, Instant};

/// The stream's share of what a path carries; headers, repairs and key frames need the rest.
const SHARE: f64 = 0.92;
/// Of several viewers, this part at the lower end may be left behind, and one at least.
const LEFT_BEHIND: usize = 4;
/// Viewers within this of the reference are alike and are all followed.
const ALIKE: f64 = 0.75;
/// Less than this is not worth a change.
const LOWER_BELOW: f64 = 0.95;
const RAISE_ABOVE: f64 = 1.08;
/// One step up, and how often; the viewers' feedback must come in between.
const STEP: f64 = 1.5;
const RAISE_EVERY: Duration = Duration::from_millis(500);
/// No step up for so long after one down.
const RAISE_AFTER_LOWER: Duration = Duration::from_secs(1);
/// A viewer is left behind below this part of the stream's rate, and no longer above the second.
const STARVED_BELOW: f64 = 0.85;
const FED_ABOVE: f64 = 0.98;

/// What the encoder may be asked for, bit/s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Least.
    pub floor: f64,
    /// Most: the configuration's or the dashboard's.
    pub ceiling: f64,
}

/// Decides the encoder's bit rate.
#[derive(Debug, Default)]
pub struct Policy {
    target: Option<f64>,
    raised: Option<Instant>,
    lowered: Option<Instant>,
}

impl Policy {
    /// The bit rate at `now`, given what each viewer's path carries (bit/s; `None`: no limit was seen).
    pub fn step(&mut self, now: Instant, rates: &[Option<f64>], bounds: Bounds) -> f64 {
        let Bounds { ceiling, .. } = bounds;
        let floor = bounds.floor.min(ceiling);
        let wanted = followed(rates).map_or(ceiling, |rate| (rate * SHARE).clamp(floor, ceiling));
        let current = self.target.unwrap_or(ceiling).clamp(floor, ceiling);
        let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let mut target = current;
        if rates.is_empty() {
            // The next viewer's path has nothing to do with the last one's.
            target = ceiling;
        } else if wanted < current * LOWER_BELOW {
            self.lowered = Some(now);
            target = wanted;
        } else if (wanted > current * RAISE_ABOVE || (wanted >= ceiling && current < ceiling))
            && since(self.raised) >= RAISE_EVERY
            && since(self.lowered) >= RAISE_AFTER_LOWER
        {
            self.raised = Some(now);
            target = wanted.min(current * STEP);
        }
        self.target = Some(target);
        target
    }
}

/// What the path carries that the encoder should follow; `None`: nobody it follows has a limit.
fn followed(rates: &[Option<f64>]) -> Option<f64> {
    let mut sorted: Vec<f64> = rates.iter().map(|rate| rate.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    let behind = if sorted.len() > 1 { (sorted.len() / LEFT_BEHIND).max(1) } else { 0 };
    let reference = sorted.get(behind)?;
    let lowest = sorted.iter().copied().find(|rate| *rate >= reference * ALIKE)?;
    lowest.is_finite().then_some(lowest)
}

/// Whether a viewer whose path carries `rate` gets fewer pictures of a stream of `target` bit/s.
pub fn is_starved(was_starved: bool, rate: Option<f64>, target: f64) -> bool {
    let limit = if was_starved { FED_ABOVE } else { STARVED_BELOW };
    rate.is_some_and(|rate| rate < target * limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { floor: 0.3e6, ceiling: 4e6 };

    /// The target after `seconds` of five steps each.
    fn after(policy: &mut Policy, now: &mut Instant, rates: &[Option<f64>], seconds: u32) -> f64 {
        let mut target = 0.0;
        for _ in 0..seconds * 5 {
            *now += Duration::from_millis(200);
            target = policy.step(*now, rates, BOUNDS);
        }
        target
    }

    fn settled(rates: &[Option<f64>]) -> f64 {
        after(&mut Policy::default(), &mut Instant::now(), rates, 30)
    }

    #[test]
    fn without_limits_the_ceiling_is_used() {
        for rates in [&[][..], &[None], &[None, None, None], &[Some(9e6)]] {
            assert!((settled(rates) - 4e6).abs() < 1.0);
        }
    }

    #[test]
    fn one_viewer_is_followed_down_to_the_floor() {
        assert!((settled(&[Some(1e6)]) - 0.92e6).abs() < 1.0);
        assert!((settled(&[Some(0.1e6)]) - 0.3e6).abs() < 1.0);
    }

    #[test]
    fn one_bad_viewer_does_not_drag_the_others_down() {
        for good in 1..20 {
            let mut rates = vec![None; good];
            rates.push(Some(0.2e6));
            assert!((settled(&rates) - 4e6).abs() < 1.0, "{good} good ones");
        }
        assert!((settled(&[Some(0.2e6), Some(2e6), Some(2.1e6)]) - 1.84e6).abs() < 1.0);
    }

    #[test]
    fn viewers_that_are_alike_and_a_bad_majority_are_followed() {
        assert!((settled(&[Some(1.8e6), Some(2e6)]) - 1.656e6).abs() < 1.0);
        let mut rates = vec![Some(1e6); 7];
        rates.push(None);
        assert!((settled(&rates) - 0.92e6).abs() < 1.0);
    }

    #[test]
    fn down_at_once_and_up_in_steps() {
        let (mut policy, mut now) = (Policy::default(), Instant::now());
        after(&mut policy, &mut now, &[None], 5);
        now += Duration::from_millis(200);
        assert!((policy.step(now, &[Some(0.5e6)], BOUNDS) - 0.46e6).abs() < 1.0);
        let one = after(&mut policy, &mut now, &[None], 2);
        assert!(one < 1.2e6, "{one}");
        let ten = after(&mut policy, &mut now, &[None], 10);
        assert!((ten - 4e6).abs() < 1.0, "{ten}");
    }

    #[test]
    fn small_changes_change_nothing() {
        let (mut policy, mut now) = (Policy::default(), Instant::now());
        let first = after(&mut policy, &mut now, &[Some(2e6)], 5);
        for wobble in [1.95e6, 2.1e6, 1.92e6, 2.05e6] {
            assert!((after(&mut policy, &mut now, &[Some(wobble)], 1) - first).abs() < 1.0);
        }
    }

    #[test]
    fn a_lower_ceiling_counts_at_once() {
        let (mut policy, mut now) = (Policy::default(), Instant::now());
        after(&mut policy, &mut now, &[None], 2);
        let low = Bounds { floor: 0.3e6, ceiling: 0.2e6 };
        assert!((policy.step(now, &[None], low) - 0.2e6).abs() < 1.0);
    }

    #[test]
    fn starving_begins_and_ends_at_different_rates() {
        assert!(is_starved(false, Some(0.8e6), 1e6));
        assert!(!is_starved(false, Some(0.9e6), 1e6));
        assert!(is_starved(true, Some(0.9e6), 1e6));
        assert!(!is_starved(true, Some(1e6), 1e6));
        assert!(!is_starved(true, None, 1e6));
    }
}
