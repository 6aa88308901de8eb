//! When the small rendition runs: while somebody needs it and the full one is live. Pure.

use std::time::{Duration, Instant};

use crate::media::encode::encoder::EncodeSettings;
use crate::media::encode::frame_decimator::FrameDecimator;
use crate::media::life::bitrate::EncodeAt;
use crate::media::life::key_frame_limiter::KeyFrameLimiter;
use crate::media::pipeline::small::SHARE;
use crate::media::status::SmallStatus;
use crate::stream::KeyFrameReason;

/// One that failed is not tried again for so long.
const RETRY: Duration = Duration::from_secs(30);

/// What the owner of its pipeline has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmallAction {
    /// Start it at this bit rate in kbit/s.
    Start(u32),
    /// Stop it.
    Stop,
}

/// The small rendition's state.
#[derive(Debug)]
pub struct SmallRendition {
    /// Whether the configuration allows it.
    is_allowed: bool,
    /// Bit rate in kbit/s that somebody needs it at.
    wanted_kbps: Option<u32>,
    limiter: KeyFrameLimiter,
    decimator: FrameDecimator,
    is_running: bool,
    run: u64,
    not_before: Option<Instant>,
    /// Bit/s measured over the last second.
    bitrate: u64,
    /// Whether people were told that the camera leaves nothing to be scaled.
    is_explained: bool,
}

impl SmallRendition {
    /// It does not run.
    pub fn new(is_allowed: bool) -> Self {
        Self {
            is_allowed,
            wanted_kbps: None,
            limiter: KeyFrameLimiter::default(),
            decimator: FrameDecimator::default(),
            is_running: false,
            run: 0,
            not_before: None,
            bitrate: 0,
            is_explained: false,
        }
    }

    /// Whether its pipeline runs.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// The number of the current run; reports of another one are of no interest.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Somebody needs it at this bit rate in kbit/s, or nobody does any more. What to ask of its encoder, if it runs.
    pub fn set_wanted_kbps(&mut self, kbps: Option<u32>) -> Option<EncodeAt> {
        self.wanted_kbps = kbps;
        let bitrate_kbps = kbps.filter(|_| self.is_running)?;
        Some(EncodeAt { bitrate_kbps, is_halved: self.decimator.is_halved() })
    }

    /// Whether it could run; `settings` are those of the plan, where it leaves something to be scaled.
    pub fn is_possible(&self, now: Instant, settings: Option<&EncodeSettings>) -> bool {
        self.is_allowed && settings.is_some() && self.not_before.is_none_or(|at| now >= at)
    }

    /// Whether to start or stop it now. `is_live`: whether the full rendition is.
    pub fn poll(
        &self,
        now: Instant,
        settings: Option<&EncodeSettings>,
        is_live: bool,
    ) -> Option<SmallAction> {
        match (self.is_running, self.wanted_kbps) {
            (false, Some(kbps)) if is_live && self.is_possible(now, settings) => {
                Some(SmallAction::Start(kbps))
            }
            (true, None) => Some(SmallAction::Stop),
            _ => None,
        }
    }

    /// Time passed: what to ask for where that leaves out, or puts in again, every other picture. `full_ceiling_kbps`
    /// is the full rendition's ceiling in kbit/s.
    pub fn step(
        &mut self,
        now: Instant,
        settings: &EncodeSettings,
        full_ceiling_kbps: u32,
    ) -> Option<EncodeAt> {
        let bitrate_kbps = self.wanted_kbps?;
        let was_halved = self.decimator.is_halved();
        let is_halved = self.decimator.step(now, settings, bitrate_kbps, full_ceiling_kbps / SHARE);
        (self.is_running && is_halved != was_halved).then_some(EncodeAt { bitrate_kbps, is_halved })
    }

    /// A run is about to start; its number.
    pub fn begin_run(&mut self) -> u64 {
        self.run += 1;
        self.limiter.reset();
        self.run
    }

    /// Its pipeline runs. What to ask of its encoder.
    pub fn started(&mut self, bitrate_kbps: u32) -> EncodeAt {
        self.is_running = true;
        EncodeAt { bitrate_kbps, is_halved: false }
    }

    /// The full rendition stops, or nobody needs the small one any more. Whether it ran.
    pub fn stopped(&mut self) -> bool {
        self.run += 1;
        self.limiter.reset();
        self.decimator = FrameDecimator::default();
        self.bitrate = 0;
        std::mem::take(&mut self.is_running)
    }

    /// It failed, and was stopped: not again for a while.
    pub fn failed(&mut self, now: Instant) {
        self.not_before = Some(now + RETRY);
    }

    /// A viewer needs a key frame.
    pub fn request_key_frame(&mut self, reason: KeyFrameReason) {
        self.limiter.request(reason);
    }

    /// One came out.
    pub fn key_frame_out(&mut self, now: Instant) {
        self.limiter.key_frame_out(now);
    }

    /// Whether to ask its encoder for a key frame now; saying yes counts as having asked.
    pub fn poll_key_frame(&mut self, now: Instant) -> bool {
        self.is_running && self.limiter.poll(now)
    }

    /// When [`Self::poll_key_frame`] will next say yes, if it will.
    pub fn deadline(&self) -> Option<Instant> {
        self.limiter.deadline().filter(|_| self.is_running)
    }

    /// Whether to tell people, once, that there will be no small rendition although it is configured, because the plan
    /// leaves nothing to be scaled.
    pub fn poll_explanation(&mut self, is_planned: bool, settings: Option<&EncodeSettings>) -> bool {
        let is_due = self.is_allowed && is_planned && settings.is_none() && !self.is_explained;
        self.is_explained |= is_due;
        is_due
    }

    /// Bit/s measured over the last second.
    pub fn set_measured(&mut self, bitrate: u64) {
        self.bitrate = bitrate;
    }

    /// What `state` shows of it; `None` where there cannot be one. `full_ceiling_kbps` as for [`Self::step`].
    pub fn status(
        &self,
        now: Instant,
        settings: Option<&EncodeSettings>,
        full_ceiling_kbps: u32,
    ) -> Option<SmallStatus> {
        let settings = settings.filter(|_| self.is_possible(now, settings))?;
        let target_kbps = self.wanted_kbps.filter(|_| self.is_running).unwrap_or(0);
        Some(SmallStatus {
            width: settings.width,
            height: settings.height,
            bitrate: if self.is_running { self.bitrate } else { 0 },
            target: u64::from(target_kbps) * 1000,
            ceiling: u64::from((full_ceiling_kbps / SHARE).max(1)) * 1000,
            is_running: self.is_running,
            encoder: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::board::BoardClass;
    use crate::media::capture::mode::Rate;

    const SETTINGS: EncodeSettings = EncodeSettings {
        width: 320,
        height: 180,
        rate: Rate::whole(30),
        bitrate_kbps: 600,
        keyframe_interval_s: 10,
        board: BoardClass::Medium,
        cores: 2,
    };

    #[test]
    fn it_runs_while_it_is_needed_and_the_full_one_is_live() {
        let (mut small, now) = (SmallRendition::new(true), Instant::now());
        assert_eq!(small.poll(now, Some(&SETTINGS), true), None, "nobody needs it");
        assert_eq!(small.set_wanted_kbps(Some(300)), None);
        assert_eq!(small.poll(now, Some(&SETTINGS), false), None);
        assert_eq!(small.poll(now, None, true), None);
        assert_eq!(small.poll(now, Some(&SETTINGS), true), Some(SmallAction::Start(300)));
        small.begin_run();
        small.started(300);
        let less = EncodeAt { bitrate_kbps: 200, is_halved: false };
        assert_eq!(small.set_wanted_kbps(Some(200)), Some(less));
        let status = small.status(now, Some(&SETTINGS), 1800).unwrap();
        assert_eq!((status.target, status.ceiling, status.is_running), (200_000, 600_000, true));
        small.set_wanted_kbps(None);
        assert_eq!(small.poll(now, Some(&SETTINGS), true), Some(SmallAction::Stop));
        assert!(small.stopped() && !small.stopped());
    }

    #[test]
    fn one_that_failed_is_left_alone_for_a_while() {
        let (mut small, now) = (SmallRendition::new(true), Instant::now());
        small.set_wanted_kbps(Some(300));
        small.begin_run();
        small.stopped();
        small.failed(now);
        assert_eq!(small.poll(now + RETRY / 2, Some(&SETTINGS), true), None);
        assert_eq!(small.status(now + RETRY / 2, Some(&SETTINGS), 1800), None);
        assert_eq!(small.poll(now + RETRY, Some(&SETTINGS), true), Some(SmallAction::Start(300)));
    }

    #[test]
    fn that_there_will_be_none_is_told_once_and_only_where_it_is_configured() {
        let mut small = SmallRendition::new(true);
        assert!(!small.poll_explanation(true, Some(&SETTINGS)));
        assert!(!small.poll_explanation(false, None), "there is no plan yet");
        assert!(small.poll_explanation(true, None));
        assert!(!small.poll_explanation(true, None));
        assert!(!SmallRendition::new(false).poll_explanation(true, None));
    }
}
