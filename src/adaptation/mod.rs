//! From what N viewers' paths carry to one bit rate for each rendition and a rendition for each viewer. Pure.
//!
//! The encoder follows the good viewers: those whose paths carry far less get fewer pictures instead
//! ([`crate::peer`] leaves them out), so one bad path does not take the picture of all others down. One viewer
//! alone, or several that are alike, are followed down to the floor ([`encoder_target`]). Where there is a second, smaller
//! rendition, [`allocator`] decides who gets it, and each has a target of its own. [`Adaptation`] puts both together; the
//! loop that asks it is `app::adapt`.

pub mod allocator;
pub mod encoder_target;
mod input;

use std::time::Instant;

use crate::base::bitrate::Bitrate;
use crate::stream::Rendition;
use allocator::{Allocation, BitrateAllocator};
use input::STARVED_BELOW;
pub use input::{EncoderLimits, ViewerPath};

/// A viewer is no longer left behind above this part of the stream's rate.
const FED_ABOVE: f64 = 0.98;

/// One viewer, as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewerDecision {
    /// What it is to get from the next key frame on.
    pub rendition: Rendition,
    /// It is to get fewer pictures, because its path carries less than the stream.
    pub is_starved: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to ask of the full rendition's encoder; `None`: as much as it may.
    pub full: Option<Bitrate>,
    /// What to ask of the small one's; `None`: it is not needed.
    pub small: Option<Bitrate>,
    /// What every viewer should get if its path carried it.
    pub wanted: Bitrate,
    /// In the order of the viewers.
    pub viewers: Vec<ViewerDecision>,
}

/// The state that decisions need.
#[derive(Debug, Default)]
pub struct Adaptation {
    allocator: BitrateAllocator,
    /// As last decided.
    small: Option<Bitrate>,
}

impl Adaptation {
    /// What to do at `now`.
    pub fn step(&mut self, now: Instant, viewers: &[ViewerPath], limits: &EncoderLimits) -> Decision {
        let allocation = match limits.full {
            Some(full) => self.allocator.step(now, viewers, full, limits.small),
            None => Allocation {
                full: limits.measured,
                small: None,
                renditions: vec![Rendition::Full; viewers.len()],
            },
        };
        let decided = viewers.iter().zip(&allocation.renditions).map(|(viewer, rendition)| {
            let target = match (viewer.rendition, allocation.small) {
                (Rendition::Small, Some(small)) => small,
                _ => allocation.full,
            };
            ViewerDecision {
                rendition: *rendition,
                is_starved: is_starved(viewer.is_starved, viewer.rate, target),
            }
        });
        let decided: Vec<ViewerDecision> = decided.collect();
        // Whoever still has it waits for a key frame of the other one.
        let is_needed = viewers.iter().any(|viewer| viewer.rendition == Rendition::Small);
        self.small = allocation.small.or(self.small.filter(|_| is_needed));
        let decision = Decision {
            full: limits.full.and_then(|full| (allocation.full < full.ceiling).then_some(allocation.full)),
            small: self.small,
            wanted: limits.full.map_or(limits.measured, |full| full.ceiling),
            viewers: decided,
        };
        tracing::trace!(?limits, ?viewers, ?decision, "adaptation");
        decision
    }
}

/// Whether a viewer whose path carries `rate` gets fewer pictures of a stream of `target`.
pub fn is_starved(was_starved: bool, rate: Option<Bitrate>, target: Bitrate) -> bool {
    let limit = if was_starved { FED_ABOVE } else { STARVED_BELOW };
    rate.is_some_and(|rate| rate < target * limit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CEILING: Bitrate = Bitrate::from_kbps(3000);

    fn limits(small_kbps: Option<u32>) -> EncoderLimits {
        let (floor, measured) = (Bitrate::from_kbps(300), Bitrate::from_kbps(2500));
        EncoderLimits::new(Some(CEILING), small_kbps.map(Bitrate::from_kbps), floor, measured)
    }

    fn viewer(id: u64, rate_kbps: Option<u32>) -> ViewerPath {
        let rate = rate_kbps.map(Bitrate::from_kbps);
        ViewerPath { id, rate, rendition: Rendition::Full, is_starved: false }
    }

    #[test]
    fn starving_begins_and_ends_at_different_rates() {
        let mbps = Bitrate::from_kbps(1000);
        for (was_starved, kbps, is) in
            [(false, 800, true), (false, 900, false), (true, 900, true), (true, 1000, false)]
        {
            assert_eq!(is_starved(was_starved, Some(Bitrate::from_kbps(kbps)), mbps), is, "{kbps}");
        }
        assert!(!is_starved(true, None, mbps));
    }

    #[test]
    fn the_small_floor_is_the_same_part_as_its_ceiling() {
        let small = limits(Some(1000)).small.unwrap();
        assert_eq!((small.floor, small.ceiling), (Bitrate::from_kbps(100), Bitrate::from_kbps(1000)));
        assert_eq!(EncoderLimits::new(None, Some(CEILING), CEILING, CEILING).small, None);
    }

    #[test]
    fn a_good_viewer_needs_nothing_asked_and_a_bad_one_among_good_ones_gets_fewer_pictures() {
        let viewers = [viewer(1, None), viewer(2, Some(500))];
        let decision = Adaptation::default().step(Instant::now(), &viewers, &limits(None));
        assert_eq!((decision.full, decision.small, decision.wanted), (None, None, CEILING));
        let starved: Vec<bool> = decision.viewers.iter().map(|viewer| viewer.is_starved).collect();
        assert_eq!(starved, [false, true]);
    }

    #[test]
    fn a_camera_that_encodes_by_itself_is_left_as_it_is() {
        let limits = EncoderLimits { full: None, small: None, measured: CEILING };
        let decision = Adaptation::default().step(Instant::now(), &[viewer(1, Some(500))], &limits);
        assert_eq!((decision.full, decision.small, decision.wanted), (None, None, CEILING));
        assert!(decision.viewers[0].is_starved);
    }

    #[test]
    fn the_small_rendition_goes_on_until_the_last_has_left_it() {
        let (mut adaptation, mut now) = (Adaptation::default(), Instant::now());
        let mut moved = viewer(2, Some(500));
        let mut step = |rate: Option<u32>, rendition, seconds: u32| {
            moved = ViewerPath { rate: rate.map(Bitrate::from_kbps), rendition, ..moved };
            let mut last = None;
            for _ in 0..seconds * 5 {
                now += Duration::from_millis(200);
                last = Some(adaptation.step(now, &[viewer(1, None), moved], &limits(Some(1000))));
            }
            last.unwrap()
        };
        let decision = step(Some(500), Rendition::Full, 3);
        assert_eq!(decision.viewers[1].rendition, Rendition::Small);
        assert_eq!(decision.small, Some(Bitrate::from_kbps(460)));
        let decision = step(None, Rendition::Small, 10);
        assert_eq!(decision.viewers[1].rendition, Rendition::Full, "it is to change");
        assert!(decision.small.is_some(), "but has not got a key frame of the other one yet");
        assert_eq!(step(None, Rendition::Full, 1).small, None);
    }
}
