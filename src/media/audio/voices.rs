//! When the speaker is open, and whose voice it plays: a pure state machine that takes the time as an argument.

use std::time::{Duration, Instant};

use crate::stream::Speaker;

/// It is closed so long after the last packet.
const LINGER: Duration = Duration::from_secs(5);
/// First wait before another attempt to open it; doubles up to [`MAX_BACKOFF`]. Who talks meanwhile is not heard.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(3);
/// What has waited for longer, while the card was opened, would be a delay for good.
const MAX_AGE: Duration = Duration::from_millis(200);

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Play it.
    Play,
    /// Close what is open, if anything is, and open the speaker; then it is played if it is still of use.
    Open,
    /// Let it be.
    Discard,
}

/// See the module.
#[derive(Debug)]
pub struct VoiceGate {
    is_on: bool,
    /// Whose voice is open.
    open: Option<Speaker>,
    last_heard: Option<Instant>,
    retry_at: Option<Instant>,
    backoff: Duration,
}

impl VoiceGate {
    /// Closed.
    pub fn new(is_on: bool) -> Self {
        Self { is_on, open: None, last_heard: None, retry_at: None, backoff: MIN_BACKOFF }
    }

    /// The privacy switch and `set/audio`. Whether the speaker is to be closed.
    pub fn set_on(&mut self, is_on: bool) -> bool {
        self.is_on = is_on;
        !is_on && self.close()
    }

    /// A packet of this viewer, that came at `received_at`, is due.
    pub fn packet(&mut self, speaker: Speaker, received_at: Instant, now: Instant) -> Step {
        if !self.is_on || self.retry_at.is_some_and(|at| now < at) {
            return Step::Discard;
        }
        if now.saturating_duration_since(received_at) > MAX_AGE {
            return Step::Discard;
        }
        self.last_heard = Some(now);
        if self.open == Some(speaker) { Step::Play } else { Step::Open }
    }

    /// What has become of [`Step::Open`].
    pub fn opened(&mut self, speaker: Speaker, is_open: bool, now: Instant) {
        if is_open {
            (self.open, self.retry_at, self.backoff) = (Some(speaker), None, MIN_BACKOFF);
        } else {
            self.failed(now);
        }
    }

    /// What was open has failed, or did not open.
    pub fn failed(&mut self, now: Instant) {
        self.open = None;
        self.retry_at = Some(now + self.backoff);
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
    }

    /// Time has passed. Whether the speaker is to be closed.
    pub fn tick(&mut self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| now >= at) && self.close()
    }

    /// When [`Self::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.open.and(self.last_heard).map(|heard| heard + LINGER)
    }

    fn close(&mut self) -> bool {
        self.open.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_voice_opens_the_speaker_and_silence_closes_it() {
        let (mut gate, start) = (VoiceGate::new(true), Instant::now());
        assert_eq!((gate.packet(1, start, start), gate.deadline()), (Step::Open, None));
        gate.opened(1, true, start);
        assert_eq!(gate.packet(1, start + ms(20), start + ms(20)), Step::Play);
        // What has waited while it was opened.
        assert_eq!(gate.packet(1, start, start + ms(201)), Step::Discard);
        // Another one's voice begins anew.
        assert_eq!(gate.packet(2, start + ms(40), start + ms(40)), Step::Open);
        gate.opened(2, true, start + ms(50));
        assert!(!gate.tick(start + ms(5039)) && gate.tick(start + ms(5040)) && !gate.tick(start + ms(9000)));
        assert_eq!(gate.deadline(), None);
    }

    #[test]
    fn a_speaker_that_does_not_open_is_tried_again_ever_more_slowly() {
        let (mut gate, mut now) = (VoiceGate::new(true), Instant::now());
        for wait in [500, 1000, 2000, 3000, 3000] {
            assert_eq!(gate.packet(1, now, now), Step::Open);
            gate.opened(1, false, now);
            now += ms(wait - 1);
            assert_eq!(gate.packet(1, now, now), Step::Discard);
            now += ms(1);
        }
        assert_eq!(gate.packet(1, now, now), Step::Open);
        gate.opened(1, true, now);
        gate.failed(now);
        assert_eq!(gate.packet(1, now + ms(500), now + ms(500)), Step::Open);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Off is silent whatever has happened, and what is open is closed in time.
        #[test]
        fn nothing_is_heard_while_it_is_off(steps in vec((0..5_u8, 0..3_u64, 0..3000_u64), 0..60)) {
            let (mut gate, mut now, mut is_on, mut is_open) = (VoiceGate::new(true), Instant::now(), true, false);
            for (what, speaker, pass) in steps {
                now += ms(pass);
                is_open &= !gate.tick(now);
                match what {
                    0 | 1 => match gate.packet(speaker, now, now) {
                        Step::Discard => prop_assert!(!is_on || gate.retry_at.is_some()),
                        Step::Play => prop_assert!(is_on && is_open),
                        Step::Open => {
                            prop_assert!(is_on);
                            is_open = what == 0;
                            gate.opened(speaker, is_open, now);
                        }
                    },
                    2 => {
                        is_on = !is_on;
                        is_open &= !gate.set_on(is_on);
                    }
                    3 => {
                        is_open = false;
                        gate.failed(now);
                    }
                    _ => {}
                }
                prop_assert_eq!(gate.open.is_some(), is_open);
                prop_assert!(is_on || !is_open);
                prop_assert_eq!(gate.deadline().is_some(), is_open);
            }
        }
    }
}
