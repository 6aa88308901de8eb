//! Merges requests for key frames: never two within the minimum gap, never one forgotten. Pure.

use std::time::{Duration, Instant};

use crate::stream::KeyFrameReason;

/// Least time between two key frames when a picture was damaged: one that is on its way may repair
/// it, and a bad network would otherwise ask for nothing but key frames.
const LOSS_GAP: Duration = Duration::from_secs(1);
/// Least time between two key frames when somebody waits for a first picture: only long enough to
/// merge those who join together.
const JOIN_GAP: Duration = Duration::from_millis(30);
/// Somebody may wait so long for a key frame of a camera that encodes itself and cannot be asked for one; where they are further apart, it
/// is encoded here. Most cameras have one each second or two.
const RARE_AFTER: Duration = Duration::from_secs(3);
/// A request that brought no key frame for this long is made again.
const RETRY: Duration = Duration::from_secs(1);
/// An encoder that gives pictures for this long after a request, and no key frame among them, does not hear requests.
const DEAF_AFTER: Duration = Duration::from_millis(1900);
/// And when it may not: a working one takes some 25 ms.
const DOUBTFUL_AFTER: Duration = Duration::from_millis(900);

/// Whether an encoder hears requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// It does, as far as is known.
    Good,
    /// It was asked a while ago.
    Doubtful,
    /// It does not.
    None,
}

/// Decides when the encoder is asked for a key frame.
///
/// A key frame that comes out answers every request made before it. A request within the gap
/// after a key frame waits for the gap's end (the trailing edge), because its viewer has missed
/// that key frame and would stay black until the next interval.
#[derive(Debug, Default)]
pub struct KeyFrameLimiter {
    pending: Option<KeyFrameReason>,
    last_out: Option<Instant>,
    last_forced: Option<Instant>,
    /// The first request to the encoder since the last key frame.
    first_forced: Option<Instant>,
}

impl KeyFrameLimiter {
    /// Somebody needs a key frame. Whoever waits for a first picture goes before damage.
    pub fn request(&mut self, reason: KeyFrameReason) {
        if self.pending != Some(KeyFrameReason::Join) {
            self.pending = Some(reason);
        }
    }

    /// A key frame came out at `now`, asked for or not.
    pub fn key_frame_out(&mut self, now: Instant) {
        self.pending = None;
        self.last_out = Some(now);
        (self.first_forced, self.last_forced) = (None, None);
    }

    /// Whether the encoder hears what it is asked, when the last picture came out at `last_picture`. Without pictures it is not the
    /// encoder that fails.
    pub fn hearing(&self, last_picture: Instant) -> Hearing {
        let unheard = self.first_forced.map(|at| last_picture.saturating_duration_since(at));
        match unheard {
            Some(time) if time >= DEAF_AFTER => Hearing::None,
            Some(time) if time >= DOUBTFUL_AFTER => Hearing::Doubtful,
            _ => Hearing::Good,
        }
    }

    /// Whether somebody has waited long for a key frame while pictures came, the last of them at `last_picture`, and it cannot be asked
    /// for.
    pub fn are_key_frames_rare(&self, last_picture: Instant) -> bool {
        let waited = self.last_out.map(|at| last_picture.saturating_duration_since(at));
        self.pending.is_some() && waited.is_some_and(|waited| waited >= RARE_AFTER)
    }

    /// The first picture of a run was none a decoder can start at (a camera's own stream).
    pub fn begins_without_key_frame(&mut self, now: Instant) {
        self.last_out = Some(now);
        self.pending = Some(KeyFrameReason::Join);
    }

    /// The pipeline stopped or starts anew: the first picture will be a key frame anyway.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// When [`Self::poll`] will next say yes, if it will.
    pub fn deadline(&self) -> Option<Instant> {
        let gap = match self.pending? {
            KeyFrameReason::Join => JOIN_GAP,
            KeyFrameReason::Loss => LOSS_GAP,
        };
        let after_out = self.last_out.map(|at| at + gap);
        let after_forced = self.last_forced.map(|at| at + RETRY);
        // Before the first picture there is nothing to force: `last_out` is not set.
        after_out.max(after_forced).filter(|_| self.last_out.is_some())
    }

    /// Whether to ask the encoder now. Saying yes counts as having asked.
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|at| now >= at);
        if due {
            self.last_forced = Some(now);
            self.first_forced = self.first_forced.or(self.last_forced);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_picture_answers_everything_before_it() {
        let start = Instant::now();
        let mut limiter = KeyFrameLimiter::default();
        limiter.request(KeyFrameReason::Loss);
        assert!(!limiter.poll(start), "the first picture is a key frame: nothing to force");
        assert_eq!(limiter.deadline(), None);
        limiter.key_frame_out(start + ms(30));
        assert!(!limiter.poll(start + ms(1000)));
    }

    #[test]
    fn a_request_long_after_a_key_frame_is_passed_on_at_once_and_only_once() {
        let start = Instant::now();
        let mut limiter = KeyFrameLimiter::default();
        limiter.key_frame_out(start);
        limiter.request(KeyFrameReason::Loss);
        assert!(limiter.poll(start + ms(1500)));
        limiter.request(KeyFrameReason::Loss);
        assert!(!limiter.poll(start + ms(1501)));
        limiter.key_frame_out(start + ms(1530));
        assert!(!limiter.poll(start + ms(3000)));
    }

    #[test]
    fn a_request_within_the_gap_waits_for_its_end() {
        let start = Instant::now();
        let mut limiter = KeyFrameLimiter::default();
        limiter.key_frame_out(start);
        limiter.request(KeyFrameReason::Loss);
        assert!(!limiter.poll(start + ms(50)));
        assert_eq!(limiter.deadline(), Some(start + ms(1000)));
        assert!(limiter.poll(start + ms(1000)));
    }

    #[test]
    fn a_request_that_brings_nothing_is_repeated() {
        let start = Instant::now();
        let mut limiter = KeyFrameLimiter::default();
        limiter.key_frame_out(start);
        limiter.request(KeyFrameReason::Loss);
        assert!(limiter.poll(start + ms(1300)));
        assert_eq!(limiter.deadline(), Some(start + ms(2300)));
        assert!(limiter.poll(start + ms(2300)));
    }

    #[test]
    fn an_encoder_that_is_deaf_is_known_by_its_pictures() {
        let start = Instant::now();
        let mut limiter = KeyFrameLimiter::default();
        limiter.key_frame_out(start);
        limiter.request(KeyFrameReason::Join);
        assert!(limiter.poll(start + ms(100)));
        assert_eq!(limiter.hearing(start + ms(900)), Hearing::Good);
        assert_eq!(limiter.hearing(start + ms(1900)), Hearing::Doubtful, "it has some time");
        assert!(
            limiter.poll(start + ms(1100)) && limiter.hearing(start + ms(2000)) == Hearing::None,
            "asking again excuses nothing"
        );
        limiter.key_frame_out(start + ms(2100));
        assert_eq!(limiter.hearing(start + ms(9000)), Hearing::Good);
        limiter.request(KeyFrameReason::Join);
        assert!(limiter.poll(start + ms(9000)));
        let stalled = limiter.hearing(start + ms(9050));
        assert_eq!(stalled, Hearing::Good, "the camera gives no pictures: nothing can come");
    }

    #[test]
    fn a_restart_forgets_the_past() {
        let start = Instant::now();
        let mut limiter = KeyFrameLimiter::default();
        limiter.key_frame_out(start);
        limiter.request(KeyFrameReason::Loss);
        limiter.reset();
        assert_eq!(limiter.deadline(), None);
    }

    #[test]
    fn a_flood_of_requests_gives_one_key_frame_a_second_at_most() {
        let start = Instant::now();
        let mut limiter = KeyFrameLimiter::default();
        limiter.key_frame_out(start);
        let mut forced = 0;
        for step in 0..5000 {
            let now = start + ms(step);
            limiter.request(KeyFrameReason::Loss);
            if limiter.poll(now) {
                forced += 1;
                limiter.key_frame_out(now);
            }
        }
        assert_eq!(forced, 4);
    }

    #[test]
    fn a_first_picture_waits_less_than_a_damaged_one() {
        let start = Instant::now();
        let mut limiter = KeyFrameLimiter::default();
        limiter.key_frame_out(start);
        limiter.request(KeyFrameReason::Loss);
        assert_eq!(limiter.deadline(), Some(start + LOSS_GAP));
        limiter.request(KeyFrameReason::Join);
        limiter.request(KeyFrameReason::Loss);
        assert_eq!(limiter.deadline(), Some(start + JOIN_GAP));
        assert!(limiter.poll(start + JOIN_GAP));
    }
}
