//! What the control for the bit rate of an encoder's driver takes.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::capture::controls;

/// The control's range, in kbit/s. Drivers take the nearest end for what lies outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitrateLimits {
    /// The least.
    pub least_kbps: u32,
    /// The most.
    pub most_kbps: u32,
}

impl BitrateLimits {
    /// Of the device behind `encoder`, where it has one; opens it for a moment.
    pub fn of(encoder: &gst::Element) -> Option<Self> {
        if !encoder.has_property("device") {
            return None;
        }
        let device = encoder.property::<Option<String>>("device")?;
        let controls = controls::read(Path::new(&device)).ok()?;
        let control = controls.into_iter().find(|control| control.name == "video_bitrate")?;
        Self::of_range(control.min, control.max)
    }

    /// Of a range in bit/s.
    fn of_range(min: i64, max: i64) -> Option<Self> {
        let kbps = |bits: i64| u32::try_from(bits).ok();
        let (least_kbps, most_kbps) = (kbps(min)?.div_ceil(1000), kbps(max)? / 1000);
        (least_kbps <= most_kbps && most_kbps > 0).then_some(Self { least_kbps, most_kbps })
    }

    /// What is really asked for where somebody wants `kbps`.
    pub fn clamp(self, kbps: u32) -> u32 {
        kbps.clamp(self.least_kbps, self.most_kbps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_control_does_not_take_is_not_asked_for() {
        let limits = BitrateLimits::of_range(25_000, 25_000_000).unwrap();
        for (wanted, asked) in [(10, 25), (25, 25), (2000, 2000), (25_000, 25_000), (30_000, 25_000)] {
            assert_eq!(limits.clamp(wanted), asked);
        }
    }

    #[test]
    fn a_range_that_is_none_limits_nothing() {
        for (min, max) in [(0, 0), (5000, 1000), (-1, 1_000_000), (0, i64::MAX), (0, 999)] {
            assert_eq!(BitrateLimits::of_range(min, max), None, "{min} {max}");
        }
    }
}
