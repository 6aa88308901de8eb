//! When every other picture is left out: where so few bits are left for each that half as many look better. Pure.

use std::time::{Duration, Instant};

use crate::media::encode::encoder::EncodeSettings;

/// Bits for each pixel of each picture below which it is done. The usual bit rate has 0.09.
const HALVE_BELOW: f64 = 0.02;
/// And above which all are encoded again.
const ALL_ABOVE: f64 = 0.035;
/// Whoever configured so little wants it that way: only what a network has taken away counts.
const OF_CEILING: f64 = 0.5;
/// Half of less than this is no longer a motion.
const LEAST_FPS: f64 = 20.0;
/// For so long it has to be so.
const HALVE_AFTER: Duration = Duration::from_secs(1);
const ALL_AFTER: Duration = Duration::from_secs(3);

/// Decides for one encoder.
#[derive(Debug, Default)]
pub struct FrameDecimator {
    is_halved: bool,
    due_since: Option<Instant>,
}

impl FrameDecimator {
    /// Whether every other picture is left out, as last decided.
    pub fn is_halved(&self) -> bool {
        self.is_halved
    }

    /// The same at `now`, for an encoder of `settings` that is asked for `target_kbps` and could be for `ceiling_kbps`.
    pub fn step(
        &mut self,
        now: Instant,
        settings: &EncodeSettings,
        target_kbps: u32,
        ceiling_kbps: u32,
    ) -> bool {
        let pixels_per_s = f64::from(settings.width) * f64::from(settings.height) * settings.rate.fps();
        let bits = f64::from(target_kbps) * 1e3 / pixels_per_s.max(1.0);
        let is_cut = f64::from(target_kbps) < f64::from(ceiling_kbps) * OF_CEILING;
        let can = is_cut && settings.rate.fps() >= LEAST_FPS;
        let (is_due, after) = if self.is_halved {
            (!can || bits > ALL_ABOVE, ALL_AFTER)
        } else {
            (can && bits < HALVE_BELOW, HALVE_AFTER)
        };
        if !is_due {
            self.due_since = None;
        } else if now.saturating_duration_since(*self.due_since.get_or_insert(now)) >= after {
            self.is_halved = !self.is_halved;
            self.due_since = None;
        }
        self.is_halved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::board::BoardClass;
    use crate::media::capture::mode::Rate;

    fn settings(fps: u32) -> EncodeSettings {
        EncodeSettings {
            width: 1280,
            height: 720,
            rate: Rate::whole(fps),
            bitrate_kbps: 2500,
            keyframe_interval_s: 10,
            board: BoardClass::Medium,
            cores: 2,
        }
    }

    /// The decision after `seconds` of five looks each.
    fn after(decimator: &mut FrameDecimator, now: &mut Instant, target_kbps: u32, seconds: u32) -> bool {
        for _ in 0..seconds * 5 {
            *now += Duration::from_millis(200);
            decimator.step(*now, &settings(30), target_kbps, 2500);
        }
        decimator.is_halved()
    }

    #[test]
    fn few_bits_halve_the_pictures_and_many_bring_them_back() {
        let (mut decimator, mut now) = (FrameDecimator::default(), Instant::now());
        assert!(!after(&mut decimator, &mut now, 2500, 10));
        assert!(!after(&mut decimator, &mut now, 700, 10), "0.025 bits are enough");
        assert!(after(&mut decimator, &mut now, 400, 2));
        assert!(after(&mut decimator, &mut now, 700, 10), "and too few to go back");
        assert!(after(&mut decimator, &mut now, 1100, 2));
        assert!(!after(&mut decimator, &mut now, 1100, 2));
    }

    #[test]
    fn a_moment_changes_nothing() {
        let (mut decimator, mut now) = (FrameDecimator::default(), Instant::now());
        for _ in 0..20 {
            for _ in 0..4 {
                now += Duration::from_millis(200);
                assert!(!decimator.step(now, &settings(30), 300, 2500));
            }
            after(&mut decimator, &mut now, 2500, 1);
        }
    }

    #[test]
    fn what_is_configured_so_and_what_is_slow_already_is_left_alone() {
        for (fps, target_kbps, ceiling_kbps) in [(30, 400, 400), (30, 300, 500), (15, 100, 2500)] {
            let (mut decimator, mut now) = (FrameDecimator::default(), Instant::now());
            for _ in 0..50 {
                now += Duration::from_millis(200);
                assert!(!decimator.step(now, &settings(fps), target_kbps, ceiling_kbps));
            }
        }
    }
}
