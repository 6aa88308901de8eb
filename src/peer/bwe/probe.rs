//! When a path is tried for more than is sent over it: some packets at once, whose spacing at the far end tells its rate. Pure.
//!
//! What is sent shows only that the path carries that much. A picture that is small for a moment, or is left out because the
//! path was narrow, would otherwise keep the estimate low for good.

use std::time::Duration;

/// From a cut until the path is tried, and between two tries. The wait doubles with each that showed nothing, and each that
/// showed what the path did not hold.
const AFTER_CUT: Duration = Duration::from_millis(1500);
const EVERY: Duration = Duration::from_secs(1);
const EVERY_MOST: Duration = Duration::from_secs(16);
/// Doublings by tries that showed nothing: a path that becomes wide again is to be found out within two seconds.
const IN_VAIN_MOST: u32 = 1;
/// What was shown is not believed any more, if a cut comes so soon and less than this much of it was carried: growth beyond it
/// refutes nothing.
const HELD_FOR: Duration = Duration::from_secs(5);
const HELD: f64 = 0.9;
/// So long without a cut, and nothing is held against what a try shows.
const FORGIVEN: Duration = Duration::from_secs(30);
/// A try is what the path is known to carry in this time, within these bounds.
const TAKES_S: f64 = 0.03;
const LEAST_BITS: f64 = 4.0 * 9_600.0;
const MOST_BITS: f64 = 16.0 * 9_600.0;
/// Where the least of a try would take longer than this, a picture would have to wait for it too long: it is not made.
const TAKES_MOST_S: f64 = 0.2;
/// How long the answer may take, beside the round trip.
const ANSWER: Duration = Duration::from_millis(200);
/// Of what a try showed, this much is believed, and no more than so many times what was known.
const BELIEVED: f64 = 0.7;
const STEP_MOST: f64 = 2.0;
/// Less than this many times what is known is nothing new.
const NEWS: f64 = 1.1;

/// Tries of one path.
#[derive(Debug, Default)]
pub struct Probing {
    /// The last one, and that its answer is waited for.
    last: Option<(Duration, bool)>,
    /// The last one that showed more, and the bit/s that were believed.
    showed: Option<(Duration, f64)>,
    last_cut: Option<Duration>,
    /// How often the wait is doubled: tries in a row that showed nothing, and results that did not hold.
    in_vain: u32,
    refuted: u32,
    /// The last one showed more than was believed of it: the next one need not wait.
    showed_more: bool,
}

impl Probing {
    /// The bits to send at once, if a path that carries `limit` bit/s without a queue is to be tried at `now`.
    pub fn due(&mut self, now: Duration, limit: f64) -> Option<f64> {
        let is_answered = self.last.is_some_and(|(_, waits)| !waits);
        let wait = if self.showed_more && is_answered && self.refuted == 0 {
            Duration::ZERO
        } else {
            (EVERY * (1 << (self.in_vain + self.refuted).min(4))).min(EVERY_MOST)
        };
        let waited = |since: Option<Duration>, least| since.is_none_or(|at| now.saturating_sub(at) >= least);
        let is_due = waited(self.last.map(|(at, _)| at), wait) && waited(self.last_cut, AFTER_CUT);
        if !is_due || limit * TAKES_MOST_S < LEAST_BITS {
            return None;
        }
        self.last = Some((now, true));
        Some((limit * TAKES_S).clamp(LEAST_BITS, MOST_BITS))
    }

    /// Whether the last try's answer must be there by `now`. Says so once.
    pub fn answer_due(&mut self, now: Duration, round_trip: Duration) -> bool {
        let Some((at, waits)) = self.last.as_mut() else { return false };
        let is_due = *waits && now.saturating_sub(*at) >= ANSWER + round_trip;
        *waits &= !is_due;
        is_due
    }

    /// What the path is worth after a try that showed `rate` bit/s, where `limit` was known.
    pub fn judge(&mut self, now: Duration, limit: f64, rate: Option<f64>) -> f64 {
        let shown = rate.unwrap_or(0.0) * BELIEVED;
        let believed = shown.min(limit * STEP_MOST);
        self.showed_more = shown >= limit * STEP_MOST;
        if believed < limit * NEWS {
            self.in_vain = (self.in_vain + 1).min(IN_VAIN_MOST);
            return limit;
        }
        self.in_vain = 0;
        self.showed = Some((now, believed));
        believed
    }

    /// The path was too narrow for what was sent: it carried `carried` bit/s.
    pub fn was_cut(&mut self, now: Duration, carried: f64) {
        let refutes = |(at, believed): &mut (Duration, f64)| {
            now.saturating_sub(*at) < HELD_FOR && carried < *believed * HELD
        };
        if self.showed.take_if(refutes).is_some() {
            self.refuted = (self.refuted + 1).min(4);
        } else if self.last_cut.is_some_and(|at| now.saturating_sub(at) > FORGIVEN) {
            self.refuted = 0;
        }
        // Another path than before, for all that is known.
        (self.in_vain, self.showed_more) = (0, false);
        self.last_cut = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// When tries are made within a minute, in ms, of a path on which each shows `rate`.
    fn tries(probing: &mut Probing, rate: f64) -> Vec<u64> {
        let mut tries = Vec::new();
        for at in (0..60_000).step_by(33) {
            if probing.due(ms(at), 1e6).is_some() {
                tries.push(at);
            }
            if probing.answer_due(ms(at), ms(50)) {
                probing.judge(ms(at), 1e6, Some(rate));
            }
        }
        tries
    }

    #[test]
    fn a_path_that_shows_no_more_is_tried_less_and_less() {
        let tries = tries(&mut Probing::default(), 1e6);
        assert_eq!(tries[0], 0);
        let waits: Vec<u64> = tries.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(waits.is_sorted() && waits[0] < 2100, "{waits:?}");
        assert!(waits[1..].iter().all(|wait| (2000..2050).contains(wait)), "{waits:?}");
    }

    #[test]
    fn a_path_that_shows_a_little_more_is_tried_each_second() {
        assert!((56..=60).contains(&tries(&mut Probing::default(), 2e6).len()));
    }

    #[test]
    fn a_path_that_shows_far_more_is_tried_again_as_soon_as_it_has_answered() {
        let tries = tries(&mut Probing::default(), 9e6);
        let waits: Vec<u64> = tries.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(waits.iter().all(|wait| (250..350).contains(wait)), "{waits:?}");
        let due_after = |carried| {
            let mut probing = Probing { last: Some((ms(0), false)), showed_more: true, ..Probing::default() };
            probing.showed = Some((ms(0), 2e6));
            probing.was_cut(ms(100), carried);
            probing.due(ms(1700), 1e6).is_some()
        };
        assert!(!due_after(1e6), "it did not hold what it showed");
        assert!(due_after(1.9e6), "it held that, and what grew beyond was too much");
    }

    #[test]
    fn what_was_shown_is_believed_in_part() {
        let mut probing = Probing::default();
        let mut judge = |rate| probing.judge(ms(0), 1e6, rate);
        assert!((judge(Some(2e6)) - 1.4e6).abs() < 1.0);
        assert!((judge(Some(9e6)) - 2e6).abs() < 1.0);
        assert!((judge(Some(1.2e6)) - 1e6).abs() < 1.0);
        assert!((judge(None) - 1e6).abs() < 1.0, "lost");
    }

    #[test]
    fn a_path_that_shows_what_it_does_not_hold_is_tried_less() {
        let (mut probing, mut tries) = (Probing::default(), 0);
        for at in (0..60_000).step_by(33) {
            tries += u32::from(probing.due(ms(at), 1e6).is_some());
            if probing.answer_due(ms(at), ms(50)) {
                probing.judge(ms(at), 1e6, Some(9e6));
                probing.was_cut(ms(at + 1000), 1e6);
            }
        }
        assert!((4..=9).contains(&tries), "{tries}");
    }

    #[test]
    fn a_try_is_small_for_its_path() {
        let bits = |limit| Probing::default().due(ms(0), limit).unwrap_or(0.0);
        assert_eq!(Probing::default().due(ms(0), 0.15e6), None);
        assert!((bits(0.2e6) - LEAST_BITS).abs() < 1.0);
        assert!((bits(3e6) - 0.09e6).abs() < 1.0);
        assert!((bits(50e6) - MOST_BITS).abs() < 1.0);
        let mut probing = Probing::default();
        probing.was_cut(ms(0), 0.0);
        assert_eq!(probing.due(ms(1400), 1e6), None);
        assert!(probing.due(ms(1500), 1e6).is_some());
    }
}
