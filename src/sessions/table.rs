//! Who has a session, who may have one, and what becomes of each message: pure decisions.
//!
//! The table takes messages and the time, and returns actions. It opens nothing, sends nothing and
//! never waits, so cap, expiry, repetition and replacement are tested with simulated time. It is the one place where
//! sessions are kept, from the offer that starts one until its task has ended; what the edge needs of each is kept along.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

pub use super::action::{EndedSession, SessionAction};
use super::entry::{Phase, SessionEntry};
use super::offer_limits::OfferLimits;
use super::pending_candidates::{self, PendingCandidates};
use super::places::{self, Places};
use super::rate::Requester;
pub use super::session_key::{SessionKey, SessionNumber};
pub use super::whep::{WhepMessage, WhepOffer};
use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::access::offer_authorizer::{AccessMode, OfferAuthorizer, Pass};
use crate::base::text;
use crate::config::Secret;
use crate::media::{CameraState, MediaStatus};
use crate::peer::offer::{self, VideoOffer};
use crate::peer::{self, AcceptedOffer, EndReason};
use crate::signaling::message::{Candidate, ErrorCode, Offer, Refusal, UpKind};
use crate::signaling::topic::Id;

/// What decides over new sessions.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions at the same time.
    pub max_viewers: usize,
}

/// The sessions there are, each with an `H` of the edge's.
pub struct Table<H> {
    limits: Limits,
    sessions: BTreeMap<SessionNumber, SessionEntry<H>>,
    pending: PendingCandidates,
    rate: OfferLimits,
    authorizer: OfferAuthorizer,
    clock: Clock,
    next_number: SessionNumber,
    streaming: bool,
}

impl<H> Table<H> {
    /// An empty table.
    pub fn new(limits: Limits, streaming: bool, authorizer: OfferAuthorizer, clock: Clock) -> Self {
        Self {
            authorizer,
            clock,
            limits,
            sessions: BTreeMap::new(),
            pending: PendingCandidates::default(),
            rate: OfferLimits::new(),
            next_number: 0,
            streaming,
        }
    }

    /// Sessions that there are, those that were replaced and whose task has not ended included.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Keeps `handle` with a session that was started.
    pub fn attach(&mut self, number: SessionNumber, handle: H) {
        if let Some(session) = self.sessions.get_mut(&number) {
            session.handle = Some(handle);
        }
    }

    /// What was kept with a session.
    pub fn handle(&mut self, number: SessionNumber) -> Option<&mut H> {
        self.sessions.get_mut(&number)?.handle.as_mut()
    }

    /// What was kept with each of them, in the order of their start.
    pub fn handles(&self) -> impl Iterator<Item = &H> {
        self.sessions.values().filter_map(|session| session.handle.as_ref())
    }

    /// The same, to be changed.
    pub fn handles_mut(&mut self) -> impl Iterator<Item = &mut H> {
        self.sessions.values_mut().filter_map(|session| session.handle.as_mut())
    }

    /// The session that has this key now.
    fn current(&mut self, key: &SessionKey) -> Option<(SessionNumber, &mut SessionEntry<H>)> {
        let is_it = |session: &SessionEntry<H>| session.phase != Phase::Replaced && session.key == *key;
        self.sessions
            .iter_mut()
            .find(|(_, session)| is_it(session))
            .map(|(number, session)| (*number, session))
    }

    /// The same, unless it was told to end.
    fn open(&mut self, key: &SessionKey) -> Option<(SessionNumber, &mut SessionEntry<H>)> {
        self.current(key).filter(|(_, session)| session.phase == Phase::Open)
    }

    /// Judges one message of a viewer on the broker.
    pub fn message(
        &mut self,
        now: Instant,
        key: SessionKey,
        kind: UpKind,
        media: &MediaStatus,
    ) -> Vec<SessionAction> {
        if self.current(&key).is_some_and(|(_, session)| session.is_whep) {
            let text = "this session is another viewer's, who speaks HTTP";
            return vec![refuse(key, Refusal::new(ErrorCode::NoSession, text))];
        }
        match kind {
            UpKind::Offer(offer) => {
                let claimed = offer.auth.as_ref().map(|auth| text::shown(&auth.grant));
                self.signed(now, &key, &offer)
                    .and_then(|pass| self.offer(now, &key, offer, pass, false, media))
                    .unwrap_or_else(|refusal| vec![SessionAction::Refuse { key, claimed, refusal }])
            }
            UpKind::Candidate(candidate) => self.candidate(now, key, candidate),
            UpKind::Bye { reason } => self.bye(&key, reason),
        }
    }

    /// Judges one message of a viewer that speaks HTTP.
    pub fn whep(
        &mut self,
        now: Instant,
        key: SessionKey,
        message: WhepMessage,
        media: &MediaStatus,
    ) -> Vec<SessionAction> {
        let own = self.open(&key).filter(|(_, session)| session.is_whep).map(|(number, _)| number);
        match (message, own) {
            (WhepMessage::Offer(WhepOffer { offer, token, from }), _) => self
                .bearing(now, &key, token.as_ref(), from)
                .and_then(|pass| self.offer(now, &key, offer, pass, true, media))
                .unwrap_or_else(|refusal| vec![refuse(key, refusal)]),
            (WhepMessage::Candidate(candidate), Some(number))
                if pending_candidates::size(candidate.as_ref())
                    <= pending_candidates::MAX_CANDIDATE_BYTES =>
            {
                vec![SessionAction::AddCandidate { number, candidate }]
            }
            (WhepMessage::Bye, Some(_)) => self.bye(&key, None),
            (WhepMessage::Candidate(_) | WhepMessage::Bye, _) => Vec::new(),
        }
    }

    /// Who sends an offer over the broker. What fails draws from buckets of its own: strangers keep nobody out.
    fn signed(&mut self, now: Instant, key: &SessionKey, offer: &Offer) -> Result<Pass, Refusal> {
        let sender = Requester::Viewer(key.viewer.clone());
        if self.authorizer.mode() == AccessMode::Open {
            self.rate.open(now, sender.clone()).map_err(too_many)?;
        }
        let current = self.open(key).map(|(_, session)| session.pass.clone());
        let (clock, auth) = (self.clock, offer.auth.as_ref());
        let claimed = self.authorizer.to_verify(auth, current.as_ref());
        if let Some(grant) = &claimed {
            self.rate.may_prove(now, &sender, grant, current.is_some()).map_err(too_many)?;
        }
        let judged =
            self.authorizer.check(clock, &key.viewer, &key.session, &offer.sdp, auth, current.as_ref());
        match &judged {
            Ok(pass) if current.as_ref().is_some_and(|current| current.is_same_offer(pass)) => {
                self.rate.repeated(now, key.viewer.clone())
            }
            Ok(Pass { grant: Some(grant), .. }) => {
                self.rate.proved(now, grant.clone(), Some(key.viewer.clone()))
            }
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code == ErrorCode::Unauthorized => self.rate.failed(now, sender, claimed),
            // It was proved, and is refused for something else.
            Err(_) => claimed.map_or(Ok(()), |grant| self.rate.proved(now, grant, Some(key.viewer.clone()))),
        }
        .map_err(too_many)?;
        judged
    }

    /// Who sends an offer over HTTP. With a good token it does not matter from where: behind a proxy all are one host.
    fn bearing(
        &mut self,
        now: Instant,
        key: &SessionKey,
        token: Option<&Secret>,
        from: IpAddr,
    ) -> Result<Pass, Refusal> {
        let judged = self.authorizer.check_token(self.clock, token.map(Secret::expose));
        match &judged {
            Ok(Pass { grant: Some(grant), .. }) => self.rate.proved(now, grant.clone(), None),
            Ok(_) => self.rate.open(now, Requester::host(from)),
            Err(_) => self.rate.failed(now, Requester::host(from), None),
        }
        .map_err(too_many)?;
        let pass = judged?;
        match self.current(key) {
            Some((_, session)) if session.pass.grant != pass.grant => {
                Err(Refusal::new(ErrorCode::Forbidden, "this session came in with another grant"))
            }
            _ => Ok(pass),
        }
    }

    /// What becomes of an offer whose sender is known; everything about the sender comes before the SDP is looked at. A
    /// refused one changes nothing.
    fn offer(
        &mut self,
        now: Instant,
        key: &SessionKey,
        offer: Offer,
        pass: Pass,
        is_whep: bool,
        media: &MediaStatus,
    ) -> Result<Vec<SessionAction>, Refusal> {
        let origin = offer::origin(&offer.sdp)
            .map(str::to_owned)
            .ok_or_else(|| Refusal::new(ErrorCode::BadOffer, "the SDP has no o= line"))?;
        let (video, nonce) = (VideoOffer::read(&offer.sdp), pass.nonce);
        if let Some((number, session)) = self.open(key)
            && session.origin == origin
        {
            let offer = AcceptedOffer { offer, nonce, video: video? };
            session.pass = pass;
            return Ok(vec![SessionAction::Renegotiate { number, offer }]);
        }
        self.one_handshake(key)?;
        let former = self.current(key).map(|(number, _)| number);
        let video = self.admit(video, media)?;
        let close = match former {
            Some(former) => Some(self.replace(former)),
            None => self.make_room(now, pass.grant.as_ref())?,
        };
        let number = self.next_number;
        self.next_number += 1;
        let (grant, key) = (pass.grant.clone(), key.clone());
        let session = SessionEntry {
            key: key.clone(),
            origin,
            pass,
            since: now,
            is_connected: false,
            phase: Phase::Open,
            is_whep,
            handle: None,
        };
        self.sessions.insert(number, session);
        let pending = self.pending.take(&key);
        let offer = AcceptedOffer { offer, nonce, video };
        let start = SessionAction::Start { number, key, offer, pending, grant };
        Ok(close.into_iter().chain([start]).collect())
    }

    /// Ends the session because another one is to have its key.
    fn replace(&mut self, number: SessionNumber) -> SessionAction {
        if let Some(session) = self.sessions.get_mut(&number) {
            session.phase = Phase::Replaced;
        }
        SessionAction::Close { number, reason: EndReason::Replaced }
    }

    /// A viewer makes one connection after the other.
    fn one_handshake(&self, key: &SessionKey) -> Result<(), Refusal> {
        let is_pending = self.sessions.values().any(|session| {
            session.key.viewer == key.viewer
                && session.key != *key
                && !session.is_connected
                && session.phase == Phase::Open
        });
        if is_pending {
            let text = "another connection of this viewer is still being made";
            return Err(Refusal::new(ErrorCode::RateLimited, text).retry_after(2));
        }
        Ok(())
    }

    /// Every place that is taken.
    fn places(&self) -> Places<'_> {
        let taken = self.sessions.iter().filter(|(_, session)| session.phase != Phase::Replaced);
        let taken = taken.map(|(number, session)| session.place(*number));
        Places { max: self.limits.max_viewers, taken: taken.collect() }
    }

    /// A place for one more session of `grant`; gives the end of another session if there is one only so.
    fn make_room(&mut self, now: Instant, grant: Option<&Id>) -> Result<Option<SessionAction>, Refusal> {
        let is_shared = self.authorizer.viewing_grants() > 1;
        let displaced = self.places().admit(now, grant, is_shared)?;
        Ok(displaced.map(|number| self.close_for(number, places::displaced())))
    }

    fn close_for(&mut self, number: SessionNumber, refusal: Refusal) -> SessionAction {
        if let Some(session) = self.sessions.get_mut(&number) {
            session.phase = Phase::Closing;
        }
        SessionAction::Close { number, reason: EndReason::Refused(refusal) }
    }

    /// A session's connection has come about. It ends all the same where others' have taken every place meanwhile.
    pub fn connected(&mut self, number: SessionNumber) -> Vec<SessionAction> {
        let Some(session) = self.sessions.get_mut(&number) else { return Vec::new() };
        let is_new = !std::mem::replace(&mut session.is_connected, true);
        if is_new && session.phase == Phase::Open && self.places().is_crowded(number) {
            let refusal = places::busy(self.limits.max_viewers);
            return vec![self.close_for(number, refusal)];
        }
        Vec::new()
    }

    /// The time on the wall, and other grants if they changed. Ends the sessions whose grant is gone.
    pub fn set_access(&mut self, clock: Clock, grants: Option<Vec<Grant>>) -> Vec<SessionAction> {
        self.clock = clock;
        if let Some(grants) = grants {
            self.authorizer.set_grants(grants);
        }
        let mut actions = Vec::new();
        for (number, session) in self.sessions.iter_mut().filter(|(_, session)| session.phase == Phase::Open)
        {
            if let Some(refusal) = self.authorizer.still(clock, &session.pass) {
                session.phase = Phase::Closing;
                let (number, reason) = (*number, EndReason::GrantEnded(refusal));
                actions.push(SessionAction::Close { number, reason });
            }
        }
        actions
    }

    /// May a session start at all? Judged before anything is opened, and before a running session of the same key is given
    /// up: a refused message changes nothing.
    fn admit(&self, video: Result<VideoOffer, Refusal>, media: &MediaStatus) -> Result<VideoOffer, Refusal> {
        if !self.streaming {
            let text = "the camera's privacy switch is off";
            return Err(Refusal::new(ErrorCode::Privacy, text));
        }
        let video = video?;
        peer::can_be_shown(&video, media)?;
        if matches!(media.state, CameraState::Lost | CameraState::Error) {
            return Err(peer::camera_refusal(media));
        }
        Ok(video)
    }

    fn candidate(
        &mut self,
        now: Instant,
        key: SessionKey,
        candidate: Option<Candidate>,
    ) -> Vec<SessionAction> {
        if pending_candidates::size(candidate.as_ref()) > pending_candidates::MAX_CANDIDATE_BYTES {
            let text = format!("a candidate has at most {} bytes", pending_candidates::MAX_CANDIDATE_BYTES);
            return vec![refuse(key, Refusal::new(ErrorCode::BadMessage, text))];
        }
        if let Some((number, _)) = self.open(&key) {
            return vec![SessionAction::AddCandidate { number, candidate }];
        }
        let forgotten = self.pending.put(now, key, candidate);
        let text = "too many candidates wait for offers; send the offer first";
        let refused = forgotten.into_iter().map(|key| refuse(key, Refusal::new(ErrorCode::NoSession, text)));
        refused.collect()
    }

    /// A `bye` for a session that is gone is the normal end of most wills: nobody waits for a reply.
    fn bye(&mut self, key: &SessionKey, reason: Option<String>) -> Vec<SessionAction> {
        self.pending.take(key);
        let Some((number, session)) = self.current(key) else { return Vec::new() };
        session.phase = Phase::Closing;
        let reason =
            EndReason::ViewerLeft(reason.map_or_else(|| "bye".to_owned(), |reason| text::shown(&reason)));
        vec![SessionAction::Close { number, reason }]
    }

    /// Drops candidates whose offer never came; call it when [`Table::next_expiry`] is reached.
    pub fn expire(&mut self, now: Instant) -> Vec<SessionAction> {
        let text = "candidates came, but no offer followed within 5 s";
        let late = self.pending.expire(now).into_iter();
        late.map(|key| refuse(key, Refusal::new(ErrorCode::NoSession, text))).collect()
    }

    /// When [`Table::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.pending.next_expiry()
    }

    /// A session's task has ended: takes it out. `None` if there is no such session any more.
    pub fn end(&mut self, number: SessionNumber) -> Option<EndedSession<H>> {
        let SessionEntry { key, pass, phase, handle, .. } = self.sessions.remove(&number)?;
        Some(EndedSession { key, grant: pass.grant, is_current: phase != Phase::Replaced, handle })
    }

    /// The offers that were used, to be kept over a restart, if there are more than when this was asked last.
    pub fn take_used(&mut self) -> Option<String> {
        self.authorizer.take_used()
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Other limits, for sessions to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The privacy switch. Off ends all sessions.
    pub fn set_streaming(&mut self, on: bool) -> Vec<SessionAction> {
        self.streaming = on;
        if on { Vec::new() } else { self.close_where(&EndReason::Privacy, |_| true) }
    }

    /// Ends every session that `which` names.
    pub fn close_where(
        &mut self,
        reason: &EndReason,
        which: impl Fn(&SessionKey) -> bool,
    ) -> Vec<SessionAction> {
        let mut actions = Vec::new();
        for (number, session) in &mut self.sessions {
            if which(&session.key) && session.phase != Phase::Replaced {
                session.phase = Phase::Closing;
                let (number, reason) = (*number, reason.clone());
                actions.push(SessionAction::Close { number, reason });
            }
        }
        actions
    }
}

fn too_many(wait_s: u32) -> Refusal {
    Refusal::new(ErrorCode::RateLimited, "too many offers in a short time").retry_after(wait_s)
}

fn refuse(key: SessionKey, refusal: Refusal) -> SessionAction {
    SessionAction::Refuse { key, claimed: None, refusal }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
