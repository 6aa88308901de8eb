//! When each step of connecting was taken: where the time to a first picture goes.

use std::fmt;
use std::time::Instant;

use crate::peer::stats::ms;

/// The steps, in their usual order. What follows them, the first picture, is told by `peer::send::video_sender`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectStep {
    /// The answer is made.
    Answered,
    /// Our first connectivity check has left (RFC 8445 section 7.2.4).
    FirstCheck,
    /// ICE has selected a pair.
    Nominated,
    /// Our first datagram of the handshake has left: the ClientHello, where this side is the client.
    FirstFlight,
    /// The handshake is over.
    Finished,
}

const STEPS: [(ConnectStep, &str); 5] = [
    (ConnectStep::Answered, "answered"),
    (ConnectStep::FirstCheck, "first check"),
    (ConnectStep::Nominated, "nominated"),
    (ConnectStep::FirstFlight, "first flight"),
    (ConnectStep::Finished, "finished"),
];

/// When each step was first taken.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectTimes([Option<Instant>; STEPS.len()]);

impl ConnectTimes {
    /// Takes note of a step; only its first time counts.
    pub fn mark(&mut self, step: ConnectStep, now: Instant) {
        self.0[step as usize].get_or_insert(now);
    }

    /// In milliseconds since `start`, for the log.
    pub fn since(&self, start: Instant) -> impl fmt::Display {
        let known = STEPS.iter().zip(self.0).filter_map(|((_, name), at)| Some((name, at?)));
        let parts = known.map(|(name, at)| format!("{name} {}", ms(at.saturating_duration_since(start))));
        parts.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_step_counts_once_and_is_told_since_the_offer() {
        let (mut connect_times, start) = (ConnectTimes::default(), Instant::now());
        for (index, (step, _)) in STEPS.iter().enumerate() {
            assert_eq!(*step as usize, index);
        }
        connect_times.mark(ConnectStep::Answered, start + Duration::from_millis(2));
        connect_times.mark(ConnectStep::Finished, start + Duration::from_millis(5));
        connect_times.mark(ConnectStep::Answered, start + Duration::from_millis(9));
        assert_eq!(connect_times.since(start).to_string(), "answered 2, finished 5");
    }
}
