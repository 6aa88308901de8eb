//! Which version of MQTT to try next. Pure.
//!
//! 5 first. A broker that refuses that version, or answers it with what is no MQTT 5, is asked in 3.1.1 at once; one that
//! hangs up without a word only after the second time, since brokers that are just starting do that too. What was found
//! out is kept for a while: each try in the wrong version is a lost connection in the broker's log.

use std::time::{Duration, Instant};

use super::wire::Version;

/// How often in a row a broker may hang up on MQTT 5 before 3.1.1 is tried.
const HANG_UPS: u32 = 2;
/// After so long a lost connection is a reason to look whether the broker has learnt MQTT 5.
const LOOK_AGAIN: Duration = Duration::from_hours(1);

/// How a greeting failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoConnAck {
    /// The broker said that it does not know this version, or what it said is none of its packets.
    OtherVersion,
    /// It hung up.
    HungUp,
    /// It never answered: some take a CONNECT of MQTT 5, refuse it in a form that the library cannot read, and wait.
    Mute,
    /// Something else: not there, wrong credentials.
    Unrelated,
}

/// What is known of a broker's version.
#[derive(Debug, Default)]
pub(super) struct VersionChoice {
    /// Since when it is known to speak 3.1.1; kept while that is being tried.
    older: Option<Instant>,
    /// 3.1.1 is worth a try.
    is_suspected: bool,
    /// It has greeted in MQTT 5.
    is_modern: bool,
    hang_ups: u32,
}

impl VersionChoice {
    /// What to try next.
    pub fn next(&self) -> Version {
        if self.older.is_some() || self.is_suspected { Version::Three } else { Version::Five }
    }

    /// Whether the version is not in question: a greeting may take its time then.
    pub fn is_known(&self) -> bool {
        self.is_modern || self.older.is_some()
    }

    /// The broker greeted in `version`; true when it was found out just now that it knows no MQTT 5.
    pub fn connacked(&mut self, version: Version, now: Instant) -> bool {
        self.hang_ups = 0;
        self.is_suspected = false;
        self.is_modern = version == Version::Five;
        let is_new = version == Version::Three && self.older.is_none();
        match version {
            Version::Five => self.older = None,
            Version::Three => self.older = Some(self.older.unwrap_or(now)),
        }
        is_new
    }

    /// A connection that had been greeted is lost.
    pub fn lost(&mut self, now: Instant) {
        self.older = self.older.filter(|since| now.saturating_duration_since(*since) < LOOK_AGAIN);
    }

    /// There was no greeting; true when the other version is worth a try at once.
    pub fn failed(&mut self, version: Version, how: NoConnAck) -> bool {
        match (version, how) {
            (_, NoConnAck::Unrelated) => false,
            (Version::Five, NoConnAck::HungUp) => {
                self.hang_ups += 1;
                self.is_suspected = self.hang_ups >= HANG_UPS;
                self.is_suspected
            }
            (Version::Five, NoConnAck::OtherVersion | NoConnAck::Mute) => {
                self.is_suspected = true;
                true
            }
            // Neither is right: from the beginning, after a pause.
            (Version::Three, _) => {
                *self = Self::default();
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NoConnAck::{HungUp, Mute, OtherVersion, Unrelated};
    use Version::{Five, Three};

    #[test]
    fn a_refusal_of_the_version_is_taken_at_its_word_and_kept() {
        let (mut choice, now) = (VersionChoice::default(), Instant::now());
        assert_eq!(choice.next(), Five);
        assert!(choice.failed(Five, OtherVersion));
        assert_eq!(choice.next(), Three);
        assert!(choice.connacked(Three, now), "it is said");
        choice.lost(now + LOOK_AGAIN / 2);
        assert_eq!(choice.next(), Three);
        assert!(!choice.failed(Three, Unrelated), "the broker is away");
        assert_eq!(choice.next(), Three);
        assert!(!choice.connacked(Three, now + LOOK_AGAIN / 2), "it is said once");
        choice.lost(now + LOOK_AGAIN);
        assert_eq!(choice.next(), Five, "the broker may have learnt it");
    }

    #[test]
    fn a_broker_that_hangs_up_gets_a_second_chance() {
        let mut choice = VersionChoice::default();
        assert!(!choice.failed(Five, HungUp));
        assert_eq!(choice.next(), Five);
        assert!(choice.failed(Five, HungUp));
        assert_eq!(choice.next(), Three);
        assert!(!choice.failed(Three, HungUp), "neither: no try at once");
        assert_eq!(choice.next(), Five);
        assert!(!choice.failed(Five, HungUp));
        assert!(!choice.connacked(Five, Instant::now()));
        assert!(!choice.failed(Five, HungUp), "counted anew");
    }

    #[test]
    fn a_mute_broker_is_asked_in_either_version_in_turn() {
        let mut choice = VersionChoice::default();
        assert!(!choice.is_known());
        assert!(choice.failed(Five, Mute));
        assert_eq!(choice.next(), Three);
        assert!(!choice.failed(Three, Mute));
        assert_eq!(choice.next(), Five);
        choice.connacked(Five, Instant::now());
        assert!(choice.is_known());
    }

    #[test]
    fn what_has_nothing_to_do_with_the_version_changes_nothing() {
        let mut choice = VersionChoice::default();
        for _ in 0..9 {
            assert!(!choice.failed(Five, Unrelated));
            assert_eq!(choice.next(), Five);
        }
    }
}
