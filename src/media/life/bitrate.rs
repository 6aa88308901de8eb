//! The bit rate asked of the full rendition's encoder: what the network lets through, under what a person allows. Pure.

use std::time::Instant;

use crate::media::encode::bitrate_limits::BitrateLimits;
use crate::media::encode::encoder::EncodeSettings;
use crate::media::encode::frame_decimator::FrameDecimator;

/// What an encoder is asked for while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeAt {
    /// Bit rate in kbit/s.
    pub bitrate_kbps: u32,
    /// Whether every other picture is left out.
    pub is_halved: bool,
}

/// What is wanted of the encoder's bit rate, and what follows for its pictures.
#[derive(Debug, Default)]
pub struct BitrateControl {
    target_kbps: Option<u32>,
    ceiling_kbps: Option<u32>,
    limits: Option<BitrateLimits>,
    decimator: FrameDecimator,
}

impl BitrateControl {
    /// What the network lets through, in kbit/s; `None` where nobody has measured it.
    pub fn set_target_kbps(&mut self, kbps: Option<u32>) {
        self.target_kbps = kbps;
    }

    /// The most that a person allows, in kbit/s; `None` for the plan's bit rate.
    pub fn set_ceiling_kbps(&mut self, kbps: Option<u32>) {
        self.ceiling_kbps = kbps;
    }

    /// What the encoder's driver takes, where it says so.
    pub fn set_limits(&mut self, limits: Option<BitrateLimits>) {
        self.limits = limits;
    }

    /// The ceiling in force and the bit rate to ask for under a plan of `planned_kbps`, both in kbit/s. The ceiling is what somebody
    /// wants, and the encoder may end below.
    pub fn within(&self, planned_kbps: u32) -> (u32, u32) {
        let ceiling = self.ceiling_kbps.unwrap_or(planned_kbps);
        let target = self.target_kbps.unwrap_or(ceiling).min(ceiling);
        (ceiling, self.limits.map_or(target, |limits| limits.clamp(target)))
    }

    /// What to ask for now.
    pub fn current(&self, planned_kbps: u32) -> EncodeAt {
        EncodeAt { bitrate_kbps: self.within(planned_kbps).1, is_halved: self.decimator.is_halved() }
    }

    /// What to ask of an encoder that has just started with the plan's bit rate, if that is something else.
    pub fn at_start(&self, planned_kbps: u32) -> Option<EncodeAt> {
        let bitrate_kbps = self.within(planned_kbps).1;
        (bitrate_kbps != planned_kbps).then_some(EncodeAt { bitrate_kbps, is_halved: false })
    }

    /// Time passed: what to ask for where that leaves out, or puts in again, every other picture.
    pub fn step(&mut self, now: Instant, settings: &EncodeSettings) -> Option<EncodeAt> {
        let (ceiling_kbps, bitrate_kbps) = self.within(settings.bitrate_kbps);
        let was_halved = self.decimator.is_halved();
        let is_halved = self.decimator.step(now, settings, bitrate_kbps, ceiling_kbps);
        (is_halved != was_halved).then_some(EncodeAt { bitrate_kbps, is_halved })
    }

    /// The pipeline stopped: the next one starts with all pictures.
    pub fn stopped(&mut self) {
        self.decimator = FrameDecimator::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_may_ask_for_less_than_a_person_allows_and_never_for_more() {
        let wish = |target_kbps, ceiling_kbps| {
            let decimator = FrameDecimator::default();
            BitrateControl { target_kbps, ceiling_kbps, limits: None, decimator }.within(2000)
        };
        assert_eq!(wish(None, None), (2000, 2000));
        assert_eq!(wish(Some(900), None), (2000, 900));
        assert_eq!(wish(Some(9000), None), (2000, 2000));
        assert_eq!(wish(Some(900), Some(700)), (700, 700));
        assert_eq!(wish(None, Some(5000)), (5000, 5000));
    }

    #[test]
    fn an_encoder_is_asked_for_no_more_than_its_driver_takes() {
        let mut bitrate = BitrateControl::default();
        bitrate.set_limits(Some(BitrateLimits { least_kbps: 25, most_kbps: 25_000 }));
        assert_eq!((bitrate.within(2000), bitrate.at_start(2000)), ((2000, 2000), None));
        for kbps in [30_000, 25_000] {
            bitrate.set_ceiling_kbps(Some(kbps));
            bitrate.set_target_kbps(Some(kbps));
            assert_eq!(bitrate.within(2000), (kbps, 25_000));
        }
        bitrate.set_target_kbps(Some(10));
        assert_eq!(bitrate.current(2000).bitrate_kbps, 25);
        bitrate = BitrateControl { limits: bitrate.limits, ..BitrateControl::default() };
        let clamped = Some(EncodeAt { bitrate_kbps: 25_000, is_halved: false });
        assert_eq!(bitrate.at_start(40_000), clamped, "a configured one too");
    }

    #[test]
    fn an_encoder_that_starts_is_asked_only_for_what_is_not_planned() {
        let mut bitrate = BitrateControl::default();
        assert_eq!(bitrate.at_start(2000), None);
        bitrate.set_target_kbps(Some(900));
        assert_eq!(bitrate.at_start(2000), Some(EncodeAt { bitrate_kbps: 900, is_halved: false }));
    }
}
