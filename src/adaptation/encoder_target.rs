//! The bit rate of one encoder, given what its viewers' paths carry. Pure.

use std::time::{Duration, Instant};

use super::input::{Bounds, SHARE};
use crate::base::bitrate::Bitrate;

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

/// Decides one encoder's bit rate.
#[derive(Debug, Default)]
pub struct EncoderTarget {
    target: Option<Bitrate>,
    raised: Option<Instant>,
    lowered: Option<Instant>,
}

impl EncoderTarget {
    /// The bit rate at `now`, given what each viewer's path carries (`None`: no limit was seen).
    pub fn step(&mut self, now: Instant, rates: &[Option<Bitrate>], bounds: Bounds) -> Bitrate {
        let Bounds { ceiling, .. } = bounds;
        let floor = bounds.floor.min(ceiling);
        let carried = followed(rates);
        let wanted = carried.map_or(ceiling, |rate| (rate * SHARE).clamp(floor, ceiling));
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
        if self.target != Some(target) {
            let viewers = rates.len();
            tracing::trace!(viewers, ?carried, %floor, %ceiling, from = ?self.target, to = %target, "encoder target");
        }
        self.target = Some(target);
        target
    }
}

/// What the path carries that the encoder should follow; `None`: nobody it follows has a limit.
fn followed(rates: &[Option<Bitrate>]) -> Option<Bitrate> {
    let mut sorted: Vec<Bitrate> = rates.iter().map(|rate| rate.unwrap_or(Bitrate::MAX)).collect();
    sorted.sort_unstable();
    let behind = if sorted.len() > 1 { (sorted.len() / LEFT_BEHIND).max(1) } else { 0 };
    let reference = *sorted.get(behind)?;
    let lowest = sorted.iter().copied().find(|rate| *rate >= reference * ALIKE)?;
    (lowest < Bitrate::MAX).then_some(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { floor: Bitrate::from_kbps(300), ceiling: Bitrate::from_kbps(4000) };

    /// In Mbit/s; with `None` for no limit.
    fn rates(mbps: &[Option<f64>]) -> Vec<Option<Bitrate>> {
        mbps.iter().map(|mbps| mbps.map(|mbps| Bitrate::from_bps_f64(mbps * 1e6))).collect()
    }

    /// The target in kbit/s after `seconds` of five steps each.
    fn after(target: &mut EncoderTarget, now: &mut Instant, mbps: &[Option<f64>], seconds: u32) -> u32 {
        let mut last = Bitrate::ZERO;
        for _ in 0..seconds * 5 {
            *now += Duration::from_millis(200);
            last = target.step(*now, &rates(mbps), BOUNDS);
        }
        last.kbps()
    }

    fn settled(mbps: &[Option<f64>]) -> u32 {
        after(&mut EncoderTarget::default(), &mut Instant::now(), mbps, 30)
    }

    #[test]
    fn without_limits_the_ceiling_is_used() {
        for mbps in [&[][..], &[None], &[None, None, None], &[Some(9.0)]] {
            assert_eq!(settled(mbps), 4000);
        }
    }

    #[test]
    fn one_viewer_is_followed_down_to_the_floor() {
        assert_eq!(settled(&[Some(1.0)]), 920);
        assert_eq!(settled(&[Some(0.1)]), 300);
    }

    #[test]
    fn one_bad_viewer_does_not_drag_the_others_down() {
        for good in 1..20 {
            let mut mbps = vec![None; good];
            mbps.push(Some(0.2));
            assert_eq!(settled(&mbps), 4000, "{good} good ones");
        }
        assert_eq!(settled(&[Some(0.2), Some(2.0), Some(2.1)]), 1840);
    }

    #[test]
    fn viewers_that_are_alike_and_a_bad_majority_are_followed() {
        assert_eq!(settled(&[Some(1.8), Some(2.0)]), 1656);
        let mut mbps = vec![Some(1.0); 7];
        mbps.push(None);
        assert_eq!(settled(&mbps), 920);
    }

    #[test]
    fn down_at_once_and_up_in_steps() {
        let (mut target, mut now) = (EncoderTarget::default(), Instant::now());
        after(&mut target, &mut now, &[None], 5);
        now += Duration::from_millis(200);
        assert_eq!(target.step(now, &rates(&[Some(0.5)]), BOUNDS).kbps(), 460);
        let one = after(&mut target, &mut now, &[None], 2);
        assert!(one < 1200, "{one}");
        let ten = after(&mut target, &mut now, &[None], 10);
        assert_eq!(ten, 4000, "{ten}");
    }

    #[test]
    fn small_changes_change_nothing() {
        let (mut target, mut now) = (EncoderTarget::default(), Instant::now());
        let first = after(&mut target, &mut now, &[Some(2.0)], 5);
        for wobble in [1.95, 2.1, 1.92, 2.05] {
            assert_eq!(after(&mut target, &mut now, &[Some(wobble)], 1), first);
        }
    }

    #[test]
    fn a_lower_ceiling_counts_at_once() {
        let (mut target, mut now) = (EncoderTarget::default(), Instant::now());
        after(&mut target, &mut now, &[None], 2);
        let low = Bounds { ceiling: Bitrate::from_kbps(200), ..BOUNDS };
        assert_eq!(target.step(now, &[None], low).kbps(), 200);
    }
}
