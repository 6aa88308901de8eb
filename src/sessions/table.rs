//! Who has a session, who may have one, and what becomes of each message: pure decisions.
//!
//! The table takes messages and the time, and returns actions. It opens nothing, sends nothing and
//! never waits, so cap, expiry, repetition and replacement are tested with simulated time. It is the one place where
//! sessions are kept, from the offer that starts one until its task has ended; what the edge needs of each is kept along.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use super::action::{EndedSession, SessionAction};
use super::entry::{LastHeard, Phase, SessionEntry};
use super::pending_candidates::{self, PendingCandidates};
use super::places::{self, Asking, Places};
pub use super::proven_offer::ProvenOffer;
use super::sender_check::SenderCheck;
pub use super::session_key::{SessionKey, SessionNumber};
pub use super::whep::{WhepMessage, WhepOffer};
use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::access::offer_authorizer::OfferAuthorizer;
use crate::base::text;
use crate::media::{CameraState, MediaStatus};
use crate::peer::offer::{SdpReading, VideoOffer};
use crate::peer::{self, AcceptedOffer, EndReason};
use crate::signaling::message::{Candidate, ErrorCode, Refusal, UpKind};

/// A viewer makes one connection after the other; one of which nothing was heard for so long gives way to its next.
const UNHEARD: Duration = Duration::from_secs(2);

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
    senders: SenderCheck,
    next_number: SessionNumber,
    streaming: bool,
}

impl<H: LastHeard> Table<H> {
    /// An empty table.
    pub fn new(limits: Limits, streaming: bool, authorizer: OfferAuthorizer, clock: Clock) -> Self {
        Self {
            senders: SenderCheck::new(authorizer, clock),
            limits,
            sessions: BTreeMap::new(),
            pending: PendingCandidates::default(),
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

    /// Judges one message of a viewer on the broker. Of an offer only the sender is judged here, without a look at its SDP.
    pub fn message(&mut self, now: Instant, key: SessionKey, kind: UpKind) -> Vec<SessionAction> {
        if self.current(&key).is_some_and(|(_, session)| session.is_whep) {
            let text = "this session is another viewer's, who speaks HTTP";
            return vec![refuse(key, Refusal::new(ErrorCode::NoSession, text))];
        }
        match kind {
            UpKind::Offer(offer) => {
                let claimed = offer.auth.as_ref().map(|auth| text::shown(&auth.grant));
                let current = self.open(&key).map(|(_, session)| session.pass.clone());
                match self.senders.signed(now, &key, &offer, current.as_ref()) {
                    Ok(pass) => read(ProvenOffer { key, offer, pass, claimed, is_whep: false, came: now }),
                    Err(refusal) => vec![SessionAction::Refuse { key, claimed, refusal }],
                }
            }
            UpKind::Candidate(candidate) => self.candidate(now, key, candidate),
            UpKind::Bye { reason } => self.bye(&key, reason),
        }
    }

    /// Judges one message of a viewer that speaks HTTP. Of an offer only the sender is judged here.
    pub fn whep(&mut self, now: Instant, key: SessionKey, message: WhepMessage) -> Vec<SessionAction> {
        let own = self.open(&key).filter(|(_, session)| session.is_whep).map(|(number, _)| number);
        match (message, own) {
            (WhepMessage::Offer(WhepOffer { offer, token, from }), _) => {
                let current = self.current(&key).map(|(_, session)| session.pass.clone());
                match self.senders.bearing(now, token.as_ref(), from, current.as_ref()) {
                    Ok(pass) => {
                        read(ProvenOffer { key, offer, pass, claimed: None, is_whep: true, came: now })
                    }
                    Err(refusal) => vec![refuse(key, refusal)],
                }
            }
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

    /// What becomes of an offer of which [`SessionAction::Read`] was asked for. Whoever asked sees to it that nothing else was
    /// decided for its key meanwhile. A refused one changes nothing.
    pub fn offer_read(
        &mut self,
        now: Instant,
        proven: ProvenOffer,
        reading: Result<SdpReading, Refusal>,
        media: &MediaStatus,
    ) -> Vec<SessionAction> {
        let (key, claimed) = (proven.key.clone(), proven.claimed.clone());
        self.offer(now, proven, reading, media)
            .unwrap_or_else(|refusal| vec![SessionAction::Refuse { key, claimed, refusal }])
    }

    fn offer(
        &mut self,
        now: Instant,
        proven: ProvenOffer,
        reading: Result<SdpReading, Refusal>,
        media: &MediaStatus,
    ) -> Result<Vec<SessionAction>, Refusal> {
        let ProvenOffer { key, offer, pass, is_whep, came, .. } = proven;
        // It may have been taken away while the offer was read.
        if let Some(refusal) = self.senders.still(&pass) {
            return Err(refusal);
        }
        let SdpReading { origin, video } = reading?;
        let nonce = pass.nonce;
        if let Some((number, session)) = self.open(&key)
            && session.origin == origin
        {
            let offer = AcceptedOffer { offer, nonce, video: video? };
            session.pass = pass;
            return Ok(vec![SessionAction::Renegotiate { number, offer }]);
        }
        let unheard = self.one_handshake(now, &key)?;
        let former = self.current(&key).map(|(number, _)| number);
        let video = self.admit(video, media)?;
        let mut actions = if let Some(former) = former {
            vec![self.replace(former)]
        } else {
            let asking = Asking { viewer: &key.viewer, grant: pass.grant.as_ref() };
            let displaced = self.places(unheard).admit(now, asking, self.senders.is_shared())?;
            displaced.map(|(number, why)| self.close_for(number, why)).into_iter().collect()
        };
        actions.extend(unheard.map(|number| self.close_for(number, places::displaced())));
        let number = self.next_number;
        self.next_number += 1;
        let grant = pass.grant.clone();
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
        actions.push(SessionAction::Start { number, key, offer, pending, grant, offered_at: came });
        Ok(actions)
    }

    /// Ends the session because another one is to have its key.
    fn replace(&mut self, number: SessionNumber) -> SessionAction {
        if let Some(session) = self.sessions.get_mut(&number) {
            session.phase = Phase::Replaced;
        }
        SessionAction::Close { number, reason: EndReason::Replaced }
    }

    /// A viewer makes one connection after the other; gives the session that ends for it, because nothing was heard of it: its
    /// page was left or its device went to sleep before it connected.
    fn one_handshake(&self, now: Instant, key: &SessionKey) -> Result<Option<SessionNumber>, Refusal> {
        let is_pending = |session: &SessionEntry<H>| {
            session.key.viewer == key.viewer
                && session.key != *key
                && !session.is_connected
                && session.phase == Phase::Open
        };
        let mut pending = self.sessions.iter().filter(|(_, session)| is_pending(session));
        let heard = |session: &SessionEntry<H>| now.saturating_duration_since(session.last_heard()) < UNHEARD;
        match pending.clone().find(|(_, session)| heard(session)) {
            Some(_) => {
                let text = "another connection of this viewer is still being made";
                Err(Refusal::new(ErrorCode::RateLimited, text).retry_after(2))
            }
            None => Ok(pending.next().map(|(number, _)| *number)),
        }
    }

    /// Every place that is taken, but for that of `without`, which ends.
    fn places(&self, without: Option<SessionNumber>) -> Places<'_> {
        let taken = self
            .sessions
            .iter()
            .filter(|(number, session)| session.phase != Phase::Replaced && Some(**number) != without);
        let taken = taken.map(|(number, session)| session.place(*number));
        Places { max: self.limits.max_viewers, taken: taken.collect() }
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
        if is_new && session.phase == Phase::Open && self.places(None).is_crowded(number) {
            let refusal = places::busy(self.limits.max_viewers);
            return vec![self.close_for(number, refusal)];
        }
        Vec::new()
    }

    /// The time on the wall, and other grants if they changed. Ends the sessions whose grant is gone.
    pub fn set_access(&mut self, clock: Clock, grants: Option<Vec<Grant>>) -> Vec<SessionAction> {
        self.senders.set_access(clock, grants);
        let mut actions = Vec::new();
        for (number, session) in self.sessions.iter_mut().filter(|(_, session)| session.phase == Phase::Open)
        {
            if let Some(refusal) = self.senders.still(&session.pass) {
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
        let gives_nothing = matches!(media.state, CameraState::Lost | CameraState::Error);
        if gives_nothing && !media.has_placeholder {
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
        self.senders.take_used()
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

fn read(proven: ProvenOffer) -> Vec<SessionAction> {
    vec![SessionAction::Read(Box::new(proven))]
}

fn refuse(key: SessionKey, refusal: Refusal) -> SessionAction {
    SessionAction::Refuse { key, claimed: None, refusal }
}

#[cfg(test)]
#[path = "table_grant_tests.rs"]
mod grant_tests;
#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
