//! Which refusals are told one by one, and which are only counted: whoever sends thousands fills neither the log nor the
//! broker. Pure in time.

use std::time::{Duration, Instant};

use crate::base::limits::{TokenBucket, TokenRate};
use crate::signaling::message::ErrorCode;

/// Refusals with one code that are told singly, in the log and as an event.
const TOLD: TokenRate = TokenRate { burst: 20.0, per_second: 1.0 };
/// Refusals with one code that a viewer on the broker gets an answer to: beyond it they would fill the way on which answers go to
/// those who get in.
const ANSWERED: TokenRate = TokenRate { burst: 200.0, per_second: 100.0 };
/// How often the rest is summed up.
const SUM_EVERY: Duration = Duration::from_secs(10);

/// Of one code.
struct OfCode {
    code: ErrorCode,
    told: TokenBucket,
    answered: TokenBucket,
    untold: u64,
}

/// Counts refusals.
pub(super) struct Refusals {
    codes: Vec<OfCode>,
    due: Option<Instant>,
}

impl Refusals {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        let of = |code| OfCode {
            code,
            told: TokenBucket::full(TOLD, now),
            answered: TokenBucket::full(ANSWERED, now),
            untold: 0,
        };
        Self { codes: ErrorCode::ALL.into_iter().map(of).collect(), due: None }
    }

    fn of(&mut self, code: ErrorCode) -> Option<&mut OfCode> {
        self.codes.iter_mut().find(|of| of.code == code)
    }

    /// Whether one with `code` is told singly; otherwise it is counted.
    pub fn is_told(&mut self, now: Instant, code: ErrorCode) -> bool {
        let is_told = self.of(code).is_none_or(|of| of.told.take(now).is_ok());
        if !is_told {
            self.count(now, code);
        }
        is_told
    }

    /// One that could not be told.
    pub fn count(&mut self, now: Instant, code: ErrorCode) {
        if let Some(of) = self.of(code) {
            of.untold += 1;
        }
        self.due.get_or_insert(now + SUM_EVERY);
    }

    /// Whether who sent it by the broker gets an answer.
    pub fn is_answered(&mut self, now: Instant, code: ErrorCode) -> bool {
        self.of(code).is_none_or(|of| of.answered.take(now).is_ok())
    }

    /// When [`Self::sums`] has something to tell.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// How many were only counted, by their code; they are told with this.
    pub fn sums(&mut self) -> Vec<(ErrorCode, u64)> {
        self.due = None;
        let untold = self.codes.iter_mut().filter(|of| of.untold > 0);
        untold.map(|of| (of.code, std::mem::take(&mut of.untold))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_summed_up_and_none_is_lost() {
        let start = Instant::now();
        let (mut refusals, mut told, mut summed, mut lines) = (Refusals::new(start), 0, 0, 0);
        for at in 0..50_000 {
            let now = start + Duration::from_micros(at * 200);
            if refusals.due().is_some_and(|due| due <= now) {
                lines += 1;
                summed += refusals.sums().iter().map(|(_, count)| count).sum::<u64>();
            }
            told += u64::from(refusals.is_told(now, ErrorCode::RateLimited));
        }
        let now = start + Duration::from_secs(10);
        assert!(refusals.is_told(now, ErrorCode::Busy), "another code's are seen");
        assert!(told <= 31 && lines <= 1, "{told} singly, {lines} sums");
        summed += refusals.sums().iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(told + summed, 50_000);
        assert_eq!(refusals.due(), None);
    }

    #[test]
    fn answers_are_bounded() {
        let (start, code) = (Instant::now(), ErrorCode::Unauthorized);
        let mut refusals = Refusals::new(start);
        assert_eq!((0..5000).filter(|_| refusals.is_answered(start, code)).count(), 200);
        assert!(refusals.is_answered(start, ErrorCode::Busy));
    }
}
