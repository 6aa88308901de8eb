//! Loss as a sign of congestion: how much there is, and how much of it is the path's own. Pure.
//!
//! Radio loses packets whatever is sent. Loss that stays although the rate has been cut is therefore
//! learnt as the path's own and no longer answered, until it has gone down for a while.

use std::collections::VecDeque;
use std::time::Duration;

/// Over this loss is counted.
const SPAN: Duration = Duration::from_secs(1);
/// Fewer packets say nothing about a fraction.
const LEAST_PACKETS: u32 = 20;
/// Below this the rate may grow.
const LOW: f64 = 0.02;
/// Above this it is cut.
const HIGH: f64 = 0.10;
/// How many standard deviations a fraction must be above [`HIGH`]: of few packets many may be lost by chance.
const SURE: f64 = 2.0;
/// Cuts that did not help before loss is taken for the path's own.
const CUTS_IN_VAIN: u32 = 2;
/// How quickly own loss is forgotten: a share of it each second.
const FORGET_PER_S: f64 = 0.02;

/// What loss says about the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossSign {
    /// May grow.
    Clear,
    /// Better stay, or find out carefully whether it is the path's own.
    Hold,
    /// Cut; the fraction that is too much.
    Cut(f64),
}

/// What became of some packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossBatch {
    /// All.
    pub sent: u32,
    /// Of these.
    pub lost: u32,
    /// How often one was lost that followed one that was not.
    pub runs: u32,
}

/// Loss of the last second.
#[derive(Debug, Default)]
pub struct LossPart {
    batches: VecDeque<(Duration, LossBatch)>,
    own: f64,
    /// Loss when the first cut of a row was made.
    at_first_cut: Option<f64>,
    cuts: u32,
    last: Option<Duration>,
}

impl LossPart {
    /// Takes what became of some packets.
    pub fn batch(&mut self, now: Duration, batch: LossBatch) {
        let passed = now.saturating_sub(self.last.replace(now).unwrap_or(now)).as_secs_f64();
        self.own *= (1.0 - FORGET_PER_S).powf(passed);
        self.batches.push_back((now, batch));
        while self.batches.front().is_some_and(|(at, _)| now.saturating_sub(*at) > SPAN) {
            self.batches.pop_front();
        }
    }

    /// What was lost while nothing came through at all says nothing about the rate.
    pub fn forget(&mut self) {
        self.batches.clear();
    }

    fn counts(&self) -> LossBatch {
        self.batches.iter().fold(LossBatch::default(), |sum, (_, batch)| LossBatch {
            sent: sum.sent + batch.sent,
            lost: sum.lost + batch.lost,
            runs: sum.runs + batch.runs,
        })
    }

    /// Lost of all sent, if enough was sent.
    pub fn fraction(&self) -> Option<f64> {
        let LossBatch { sent, lost, .. } = self.counts();
        (sent >= LEAST_PACKETS).then(|| f64::from(lost) / f64::from(sent))
    }

    /// What to do about it.
    pub fn sign(&self) -> LossSign {
        let Some(fraction) = self.fraction() else { return LossSign::Clear };
        let LossBatch { sent, lost, runs } = self.counts();
        // Packets that are lost in a row are one accident, not many (the variance of Gilbert's model).
        let in_a_row = 2.0 * f64::from(lost) / f64::from(runs.max(1)) - 1.0;
        let by_chance = SURE * (fraction * (1.0 - fraction) / f64::from(sent) * in_a_row.max(1.0)).sqrt();
        match self.judge(fraction) {
            LossSign::Cut(excess) if excess - by_chance <= HIGH => LossSign::Hold,
            sign => sign,
        }
    }

    /// The same for a fraction that somebody else counted, as receiver reports do.
    pub fn judge(&self, fraction: f64) -> LossSign {
        let excess = fraction - self.own;
        if excess > HIGH {
            LossSign::Cut(excess)
        } else if excess > LOW.max(self.own * 0.3) {
            LossSign::Hold
        } else {
            LossSign::Clear
        }
    }

    /// The rate was cut because of `fraction`.
    pub fn was_cut(&mut self, fraction: f64) {
        let first = *self.at_first_cut.get_or_insert(fraction);
        self.cuts += 1;
        if self.cuts > CUTS_IN_VAIN {
            if fraction > first * 0.7 {
                self.own = fraction.min(0.5);
            }
            self.at_first_cut = None;
            self.cuts = 0;
        }
        // The next verdict is about what is sent from now on.
        self.batches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_that_cutting_does_not_help_is_the_paths_own() {
        let mut loss = LossPart::default();
        let mut cuts = 0;
        for step in 0..100 {
            loss.batch(Duration::from_millis(step * 100), LossBatch { sent: 20, lost: 4, runs: 4 });
            if let LossSign::Cut(_) = loss.sign() {
                cuts += 1;
                loss.was_cut(loss.fraction().unwrap());
            }
        }
        assert_eq!(cuts, CUTS_IN_VAIN + 1);
        assert_eq!(loss.sign(), LossSign::Clear);
        loss.batch(Duration::from_secs(10), LossBatch { sent: 800, lost: 400, runs: 200 });
        assert!(matches!(loss.sign(), LossSign::Cut(_)), "more than its own is still an alarm");
    }

    #[test]
    fn few_packets_say_nothing() {
        let mut loss = LossPart::default();
        loss.batch(Duration::ZERO, LossBatch { sent: 10, lost: 5, runs: 5 });
        assert_eq!(loss.sign(), LossSign::Clear);
        loss.batch(Duration::ZERO, LossBatch { sent: 90, ..LossBatch::default() });
        assert_eq!(loss.sign(), LossSign::Hold);
    }

    #[test]
    fn a_row_of_lost_packets_is_one_accident() {
        let sign = |runs| {
            let mut loss = LossPart::default();
            loss.batch(Duration::ZERO, LossBatch { sent: 200, lost: 36, runs });
            loss.sign()
        };
        assert_eq!(sign(3), LossSign::Hold);
        assert!(matches!(sign(30), LossSign::Cut(_)));
    }
}
