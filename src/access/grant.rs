//! A grant: one viewer's key with what it may do and until when. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::proof::{KeyPair, NoRandom, PublicKey, Seed, TokenHash};
use crate::base::text;
use crate::signaling::topic::Id;

/// One thing that a grant may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Live video.
    View,
    /// Settings and camera controls.
    Control,
    /// Still pictures.
    Snapshot,
    /// Audio to the device.
    Talk,
}

const RIGHTS: [(&str, Right); 4] = [
    ("view", Right::View),
    ("control", Right::Control),
    ("snapshot", Right::Snapshot),
    ("talk", Right::Talk),
];

impl Right {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        RIGHTS.iter().find(|(_, right)| *right == self).map_or("", |(name, _)| name)
    }
}

/// What a grant allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(BTreeSet<Right>);

/// The text names no rights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no right; write some of view,control,snapshot,talk")]
pub struct InvalidRight(String);

impl Rights {
    /// Whether `right` is among them.
    pub fn allow(&self, right: Right) -> bool {
        self.0.contains(&right)
    }

    /// Those that are among them, in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = Right> {
        self.0.iter().copied()
    }

    /// None at all.
    pub fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// All there are.
    pub fn all() -> Self {
        Self(RIGHTS.iter().map(|(_, right)| *right).collect())
    }
}

impl FromStr for Rights {
    type Err = InvalidRight;

    fn from_str(text: &str) -> Result<Self, InvalidRight> {
        let right = |word: &str| {
            let found = RIGHTS.iter().find(|(name, _)| *name == word.trim());
            found.map(|(_, right)| *right).ok_or_else(|| InvalidRight(text::shown(word.trim())))
        };
        text.split(',').map(right).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = RIGHTS.iter().filter(|(_, right)| self.allow(*right)).map(|(name, _)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

/// What the device knows of a viewer that it invited: nothing with which anybody could pose as that viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name, which is also the viewer's user name at the built-in broker.
    pub name: Id,
    /// Verifies the viewer's offers.
    pub key: PublicKey,
    /// Recognises its bearer token.
    pub token: TokenHash,
    /// What it may do.
    pub rights: Rights,
    /// When it was made; whole seconds.
    pub created: SystemTime,
    /// When it ends; whole seconds. `None`: it is good until revoked.
    pub expires: Option<SystemTime>,
}

/// How a grant stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantStatus {
    /// In force.
    Good,
    /// It has ended.
    Expired,
    /// It has an end, but nobody knows whether that is past: the device's clock is not set.
    ClockNotSet,
}

impl Grant {
    /// A new grant and the secret that goes into its link, which is not kept.
    pub fn new(
        name: Id,
        rights: Rights,
        now: SystemTime,
        lifetime: Option<Duration>,
    ) -> Result<(Self, Seed), NoRandom> {
        let seed = Seed::random()?;
        let key = KeyPair::of(&seed).ok_or(NoRandom)?.public();
        let token = TokenHash::of(&seed.bearer());
        let created = whole_seconds(now);
        // A lifetime beyond all clocks is none.
        let expires = lifetime.and_then(|lifetime| created.checked_add(lifetime));
        Ok((Self { name, key, token, rights, created, expires }, seed))
    }

    /// Whether it is in force. A clock that stands before the grant was made is not set either.
    pub fn status(&self, clock: Clock) -> GrantStatus {
        /// What clocks may differ by after they were set.
        const SLACK: Duration = Duration::from_mins(5);
        let Some(expires) = self.expires else { return GrantStatus::Good };
        if clock.now >= expires {
            GrantStatus::Expired
        } else if !clock.is_set || clock.now + SLACK < self.created {
            GrantStatus::ClockNotSet
        } else {
            GrantStatus::Good
        }
    }

    /// Whether `token` is this grant's bearer token.
    pub fn accepts_token(&self, token: &str) -> bool {
        TokenHash::of(token).matches(&self.token)
    }
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_and_written() {
        let rights: Rights = "talk, view".parse().unwrap();
        assert_eq!(rights.to_string(), "view,talk");
        assert!(rights.allow(Right::View) && !rights.allow(Right::Control));
        assert_eq!(Rights::all().to_string(), "view,control,snapshot,talk");
        for bad in ["", "view,", "all", "View"] {
            assert!(bad.parse::<Rights>().is_err(), "{bad}");
        }
    }

    #[test]
    fn expiry_needs_a_clock_that_is_set() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let id = Id::new("anna").unwrap();
        let day = Duration::from_hours(24);
        let (grant, seed) = Grant::new(id.clone(), Rights::all(), start, Some(day)).unwrap();
        let at = |now, is_set| grant.status(Clock { now, is_set });
        assert_eq!(at(start, true), GrantStatus::Good);
        assert_eq!(at(start + day, true), GrantStatus::Expired);
        assert_eq!(at(start + day, false), GrantStatus::Expired);
        assert_eq!(at(start, false), GrantStatus::ClockNotSet);
        assert_eq!(at(start - day, true), GrantStatus::ClockNotSet, "before it was made");
        let (lasting, _) = Grant::new(id, Rights::all(), start, None).unwrap();
        assert_eq!(lasting.status(Clock { now: SystemTime::UNIX_EPOCH, is_set: false }), GrantStatus::Good);
        assert!(grant.accepts_token(&seed.bearer()) && !lasting.accepts_token(&seed.bearer()));
    }
}
