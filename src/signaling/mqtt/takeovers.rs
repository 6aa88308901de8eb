//! Another client with the same id: the two throw each other out for ever unless one stops. Pure.
//!
//! Brokers of MQTT 5 say so in a DISCONNECT. Mosquitto writes its shortest form, without properties, which the library cannot
//! read (`rumqttc` 0.25.1), and those of MQTT 3.1.1 say nothing: connections that are closed soon after each greeting are a hint.

use std::time::{Duration, Instant};

/// Being thrown out again within this time is no accident.
const WINDOW: Duration = Duration::from_mins(10);
/// How often it takes, where the broker says it, and where it is only likely.
const SAID: u32 = 2;
const LIKELY: u32 = 4;
/// The pause of who stops; where the broker says it, it doubles from time to time.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// The longest.
const MAX_PAUSE: Duration = Duration::from_mins(30);

/// How often we were thrown out.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    last: Option<Instant>,
    times: u32,
    pause: Duration,
}

impl Takeovers {
    /// Another client has taken over our connection: the broker says so, or it is likely. How long to stay away; `None` for the
    /// usual pause, as when a device comes back by another network before the broker has missed it.
    pub fn taken_over(&mut self, now: Instant, is_said: bool) -> Option<Duration> {
        let is_again =
            self.last.is_some_and(|last| now.saturating_duration_since(last) <= WINDOW + self.pause);
        self.times = if is_again { self.times.saturating_add(1) } else { 1 };
        self.last = Some(now);
        let over = self.times.checked_sub(if is_said { SAID } else { LIKELY });
        self.pause = match over {
            None => Duration::ZERO,
            Some(over) if is_said => (FIRST_PAUSE * (1 << over.min(10))).min(MAX_PAUSE),
            // It may be something else, which somebody is mending just now.
            Some(_) => FIRST_PAUSE,
        };
        (self.pause > Duration::ZERO).then_some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two daemons with one id, each coming back after its pause: how often they throw each other out in an hour.
    fn fights(is_said: bool) -> u32 {
        let start = Instant::now();
        let usual = Duration::from_millis(250);
        let (mut takeovers, mut away, mut now, mut fights) =
            ([Takeovers::default(), Takeovers::default()], 0, start, 0);
        while now < start + Duration::from_hours(1) {
            // Who was away comes back, and throws the other one out.
            let pause = takeovers[1 - away].taken_over(now, is_said).unwrap_or(usual);
            away = 1 - away;
            now += pause;
            fights += 1;
        }
        fights
    }

    #[test]
    fn two_with_one_id_stop_fighting() {
        let (said, likely) = (fights(true), fights(false));
        assert!((2..=16).contains(&said), "{said} times in an hour");
        assert!((2..=80).contains(&likely), "{likely} times in an hour");
    }

    #[test]
    fn once_is_an_accident() {
        let (mut takeovers, now) = (Takeovers::default(), Instant::now());
        assert_eq!(takeovers.taken_over(now, true), None);
        assert_eq!(takeovers.taken_over(now + WINDOW + Duration::from_secs(1), true), None);
        assert_eq!(takeovers.taken_over(now + WINDOW + Duration::from_secs(2), true), Some(FIRST_PAUSE));
        assert_eq!(takeovers.taken_over(now + WINDOW + Duration::from_secs(3), true), Some(FIRST_PAUSE * 2));
    }

    #[test]
    fn what_is_only_likely_takes_longer_and_is_tried_again_sooner() {
        let (mut takeovers, now) = (Takeovers::default(), Instant::now());
        let pauses: Vec<Option<Duration>> = (0..6).map(|_| takeovers.taken_over(now, false)).collect();
        assert_eq!(pauses, [None, None, None, Some(FIRST_PAUSE), Some(FIRST_PAUSE), Some(FIRST_PAUSE)]);
    }

    #[test]
    fn the_pause_is_bounded() {
        let (mut takeovers, mut now, mut longest) = (Takeovers::default(), Instant::now(), Duration::ZERO);
        for _ in 0..100 {
            let pause = takeovers.taken_over(now, true).unwrap_or_default();
            longest = longest.max(pause);
            now += pause;
        }
        assert_eq!(longest, MAX_PAUSE);
    }
}
