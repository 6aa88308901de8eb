//! Who has which of the places, and whether there is one more. Pure.
//!
//! A session whose connection has not come about yet holds a place against those of its own grant only: who asks for many and
//! connects none keeps nobody else out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::session_key::SessionNumber;
use crate::signaling::message::{ErrorCode, Refusal};
use crate::signaling::topic::Id;

/// Sessions that are still being connected may be so many more than there are places.
const EXTRA: usize = 32;
/// A viewer that is there is heard several times a second while pictures go to it, and now and then otherwise (RFC 7675). One
/// that was not heard for so long gives its place to who came with the same invitation.
const SILENCE: Duration = Duration::from_secs(3);
/// Most connections come about in a fraction of this; one that has not gives its place to who asks for it.
const GRACE: Duration = Duration::from_secs(3);

/// A session that has one.
pub(super) struct Place<'a> {
    pub number: SessionNumber,
    pub viewer: &'a Id,
    /// `None` in open access, where nobody is told from another.
    pub grant: Option<&'a Id>,
    pub since: Instant,
    /// When its viewer was last heard.
    pub last_heard: Instant,
    pub is_connected: bool,
    /// It was not told to end.
    pub is_open: bool,
}

/// Who wants one.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub viewer: &'a Id,
    /// As in [`Place::grant`].
    pub grant: Option<&'a Id>,
}

/// All of them.
pub(super) struct Places<'a> {
    pub max: usize,
    pub taken: Vec<Place<'a>>,
}

/// The most that one grant may have where there are others: a quarter stays free for them.
fn share(max: usize) -> usize {
    max - (max / 4).max(usize::from(max > 1))
}

/// All places are taken.
pub(super) fn busy(max: usize) -> Refusal {
    Refusal::new(ErrorCode::Busy, format!("all {max} places are taken")).retry_after(5)
}

/// What a session is told that gave its place to another.
pub(super) fn displaced() -> Refusal {
    let text = "no connection came about while others waited for the place; try again";
    Refusal::new(ErrorCode::Busy, text).retry_after(2)
}

/// What a session is told that gave its place to another one of the same invitation, if it can still be told.
fn unheard() -> Refusal {
    let text = "nothing was heard of this viewer while another of the same invitation waited for its place; try again";
    Refusal::new(ErrorCode::Busy, text).retry_after(2)
}

/// Who has to go, and what it is told.
type Displaced = (SessionNumber, Refusal);

impl Places<'_> {
    /// Whether there is a place for one more session, and whose it is if somebody has to go for it.
    /// `is_shared`: there are other grants.
    pub fn admit(
        &self,
        now: Instant,
        asking: Asking<'_>,
        is_shared: bool,
    ) -> Result<Option<Displaced>, Refusal> {
        let grant = asking.grant;
        let is_own = |place: &&Place<'_>| place.grant == grant;
        let most = share(self.max);
        if let Some(name) = grant
            && is_shared
            && self.taken.iter().filter(is_own).count() >= most
        {
            let text = format!("the grant `{name}` has all {most} places that one grant may have");
            return self
                .own_to_go(now, asking)
                .map(Some)
                .ok_or_else(|| Refusal::new(ErrorCode::Busy, text).retry_after(5));
        }
        if self.taken.iter().filter(|place| place.is_connected || is_own(place)).count() >= self.max {
            return self.own_to_go(now, asking).map(Some).ok_or_else(|| busy(self.max));
        }
        if self.taken.len() >= self.max + EXTRA {
            let oldest = self.oldest_of_most().map(|number| (number, displaced()));
            return oldest.map(Some).ok_or_else(|| busy(self.max));
        }
        Ok(None)
    }

    /// Whether more are connected than there are places, this one included.
    pub fn is_crowded(&self, number: SessionNumber) -> bool {
        let others = self.taken.iter().filter(|place| place.is_connected && place.number != number);
        others.count() >= self.max
    }

    /// A session that gives its place to another one of the same invitation.
    fn own_to_go(&self, now: Instant, asking: Asking<'_>) -> Option<Displaced> {
        let stale = self.stale(now, asking.grant).map(|number| (number, displaced()));
        stale.or_else(|| self.silent(now, asking).map(|number| (number, unheard())))
    }

    /// Of the same viewer, or of another one with the same grant, the connected session that was not heard for the longest
    /// time, if it is long enough: a page that was closed without a word, a telephone that lost its network.
    fn silent(&self, now: Instant, asking: Asking<'_>) -> Option<SessionNumber> {
        let is_own = |place: &&Place<'_>| {
            place.viewer == asking.viewer || (asking.grant.is_some() && place.grant == asking.grant)
        };
        let is_silent = |place: &&Place<'_>| now.saturating_duration_since(place.last_heard) >= SILENCE;
        let connected = self.taken.iter().filter(|place| place.is_open && place.is_connected);
        let own = connected.filter(is_own).filter(is_silent);
        own.min_by_key(|place| (place.viewer != asking.viewer, place.last_heard)).map(|place| place.number)
    }

    /// Of `grant`, the session that has been connecting longest, if too long.
    fn stale(&self, now: Instant, grant: Option<&Id>) -> Option<SessionNumber> {
        let is_stale = |place: &&Place<'_>| now.saturating_duration_since(place.since) >= GRACE;
        let own = self.connecting().filter(|place| place.grant == grant).filter(is_stale);
        own.map(|place| place.number).min()
    }

    /// The session that has been connecting longest of the grant that has most such.
    fn oldest_of_most(&self) -> Option<SessionNumber> {
        let mut counts: HashMap<Option<&Id>, usize> = HashMap::new();
        self.connecting().for_each(|place| *counts.entry(place.grant).or_default() += 1);
        let most = counts.values().copied().max()?;
        let of_most = self.connecting().filter(|place| counts.get(&place.grant) == Some(&most));
        of_most.map(|place| place.number).min()
    }

    fn connecting(&self) -> impl Iterator<Item = &Place<'_>> {
        self.taken.iter().filter(|place| place.is_open && !place.is_connected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 8;

    struct House(Vec<(Option<Id>, Instant, bool)>);

    impl House {
        fn admit(&self, now: Instant, grant: &str) -> Result<Option<SessionNumber>, ErrorCode> {
            let (viewer, taken) = (Id::default_session(), self.0.iter().enumerate());
            let place = |(at, (grant, since, is_connected)): (usize, &(Option<Id>, Instant, bool))| {
                (at as SessionNumber, grant.clone(), *since, *is_connected)
            };
            let taken: Vec<_> = taken.map(place).collect();
            let taken = taken.iter().map(|(number, grant, since, is_connected)| Place {
                number: *number,
                viewer: &viewer,
                grant: grant.as_ref(),
                since: *since,
                last_heard: now,
                is_connected: *is_connected,
                is_open: true,
            });
            let places = Places { max: MAX, taken: taken.collect() };
            let grant = Id::new(grant).ok();
            let asking = Asking { viewer: &viewer, grant: grant.as_ref() };
            let admitted = places.admit(now, asking, true).map_err(|refusal| refusal.code)?;
            Ok(admitted.map(|(number, _)| number))
        }

        fn add(&mut self, count: usize, grant: &str, now: Instant, is_connected: bool) {
            self.0.extend((0..count).map(|_| (Id::new(grant).ok(), now, is_connected)));
        }
    }

    #[test]
    fn one_grant_leaves_room_for_others() {
        let (mut house, now) = (House(Vec::new()), Instant::now());
        house.add(6, "anna", now, true);
        assert_eq!(house.admit(now, "anna"), Err(ErrorCode::Busy));
        assert_eq!(house.admit(now, "bob"), Ok(None));
        house.add(2, "bob", now, true);
        assert_eq!(house.admit(now, "carl"), Err(ErrorCode::Busy), "all are taken");
        assert_eq!([1, 2, 3, 4, 8, 1000].map(share), [1, 1, 2, 3, 6, 750]);
    }

    #[test]
    fn who_never_connects_keeps_nobody_out() {
        let (mut house, now) = (House(Vec::new()), Instant::now());
        for grant in ["a", "b", "c", "d", "e", "f"] {
            house.add(6, grant, now, false);
        }
        assert_eq!(house.admit(now, "anna"), Ok(None));
        assert_eq!(house.admit(now, "a"), Err(ErrorCode::Busy), "its own count against itself");
        assert_eq!(house.admit(now + GRACE, "a"), Ok(Some(0)), "and only for so long");
        // The connections that are being made are bounded too: who makes most of them has to give one up.
        house.add(4, "anna", now, false);
        assert_eq!(house.admit(now, "anna"), Ok(Some(0)));
    }

    #[test]
    fn in_open_access_a_place_is_free_when_no_connection_comes_about() {
        let (mut house, now) = (House(Vec::new()), Instant::now());
        house.add(MAX, "", now, false);
        assert_eq!(house.admit(now, ""), Err(ErrorCode::Busy));
        assert_eq!(house.admit(now + GRACE, ""), Ok(Some(0)));
    }
}
