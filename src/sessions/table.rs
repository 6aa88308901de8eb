//! Who has a session, who may have one, and what becomes of each message: pure decisions.
//!
//! The table takes messages and the time, and returns actions. It opens nothing, sends nothing and
//! never waits, so cap, expiry, repetition and replacement are tested with simulated time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::rate::{RateLimit, Sender};
use crate::access::clock::Clock;
use crate::access::gate::{OfferAuthorizer, Pass};
use crate::access::grant::Grant;
use crate::access::proof::Nonce;
use crate::config::Secret;
use crate::media::{CameraState, MediaStatus};
use crate::peer::{self, EndReason, offer};
use crate::signaling::message::{Auth, Candidate, ErrorCode, Refusal, UpKind};
use crate::signaling::topic::Id;

/// How long candidates wait for their offer (protocol.md section 2).
const EARLY_LIMIT: Duration = Duration::from_secs(5);
/// How many of them wait for one session.
const EARLY_MAX: usize = 32;
/// For how many sessions candidates may wait at once.
const EARLY_SESSIONS_MAX: usize = 64;

/// One session: a viewer's, by its session id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The viewer.
    pub viewer: Id,
    /// The viewer's name for the session.
    pub session: Id,
}

/// Tells a session from an earlier one of the same key.
pub type Generation = u64;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a session.
    Start {
        /// Whose.
        key: Key,
        /// Its generation, to be given back to [`Table::ended`].
        generation: Generation,
        /// The offer.
        sdp: String,
        /// The answer waits for all candidates.
        full_ice: bool,
        /// Candidates that came before the offer.
        early: Vec<Option<Candidate>>,
        /// The grant it came in with.
        grant: Option<Id>,
        /// The offer's nonce.
        nonce: Option<Nonce>,
    },
    /// Hand an offer of the same browser-side connection to the running session.
    Renegotiate {
        /// Whose.
        key: Key,
        /// The offer.
        sdp: String,
        /// The answer waits for all candidates.
        full_ice: bool,
        /// The offer's nonce.
        nonce: Option<Nonce>,
    },
    /// Hand a candidate to the running session.
    Candidate {
        /// Whose.
        key: Key,
        /// `None` for the end of candidates.
        candidate: Option<Candidate>,
    },
    /// End the running session. Comes before a `Start` that replaces it.
    Close {
        /// Whose.
        key: Key,
        /// Why.
        reason: EndReason,
    },
    /// Tell the viewer no.
    Refuse {
        /// Whom, about what.
        key: Key,
        /// The grant that the offer named, whoever sent it.
        claimed: Option<String>,
        /// Why.
        refusal: Refusal,
    },
}

/// What decides over new sessions.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions at the same time.
    pub max_viewers: usize,
}

struct Entry {
    generation: Generation,
    /// The `o=` session id of its browser-side peer connection.
    origin: String,
    /// What it came in with; renewed by each offer.
    pass: Pass,
    /// Its connection has come about once.
    connected: bool,
    /// Told to end: nothing that comes now is for it any more.
    closing: bool,
    /// It came over HTTP, and only from there it is steered.
    web: bool,
}

struct Offer {
    sdp: String,
    full_ice: bool,
    pass: Pass,
    web: bool,
}

/// What a viewer that speaks HTTP can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebMessage {
    /// An offer, the first or one of the same connection.
    Offer(WebOffer),
    /// A candidate; `None` for their end.
    Candidate(Option<Candidate>),
    /// It leaves.
    Bye,
}

/// An offer over HTTP. Nothing of it is signed: its bearer token belongs to the connection it came by. Its answer waits
/// for all of the device's candidates, as there is no way to send them later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOffer {
    /// The session description.
    pub sdp: String,
    /// The token that came with it, not looked at yet.
    pub token: Option<Secret>,
    /// Where it came from.
    pub from: IpAddr,
}

struct Early {
    since: Instant,
    candidates: Vec<Option<Candidate>>,
}

/// The sessions there are.
pub struct Table {
    limits: Limits,
    sessions: HashMap<Key, Entry>,
    early: HashMap<Key, Early>,
    rate: RateLimit,
    gate: OfferAuthorizer,
    clock: Clock,
    next_generation: Generation,
    streaming: bool,
}

impl Table {
    /// An empty table.
    pub fn new(limits: Limits, streaming: bool, gate: OfferAuthorizer, clock: Clock) -> Self {
        Self {
            gate,
            clock,
            limits,
            sessions: HashMap::new(),
            early: HashMap::new(),
            rate: RateLimit::of_offers(),
            next_generation: 0,
            streaming,
        }
    }

    /// Sessions running or starting.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Judges one message of a viewer on the broker.
    pub fn message(&mut self, now: Instant, key: Key, kind: UpKind, media: &MediaStatus) -> Vec<Action> {
        if self.sessions.get(&key).is_some_and(|entry| entry.web) {
            let text = "this session is another viewer's, who speaks HTTP";
            return vec![refuse(key, Refusal::new(ErrorCode::NoSession, text))];
        }
        match kind {
            UpKind::Offer { sdp, full_ice, auth } => {
                let claimed = auth.as_ref().map(|auth| auth.grant.chars().take(64).collect());
                let signed = self.signed(now, &key, &sdp, auth.as_ref());
                signed
                    .and_then(|pass| self.offer(&key, Offer { sdp, full_ice, pass, web: false }, media))
                    .unwrap_or_else(|refusal| vec![Action::Refuse { key, claimed, refusal }])
            }
            UpKind::Candidate(candidate) => self.candidate(now, key, candidate),
            UpKind::Bye { reason } => self.bye(key, reason),
        }
    }

    /// Judges one message of a viewer that speaks HTTP.
    pub fn web(&mut self, now: Instant, key: Key, message: WebMessage, media: &MediaStatus) -> Vec<Action> {
        let is_there = self.sessions.get(&key).is_some_and(|entry| entry.web && !entry.closing);
        match message {
            WebMessage::Offer(WebOffer { sdp, token, from }) => self
                .bearing(now, &key, token.as_ref(), from)
                .and_then(|pass| self.offer(&key, Offer { sdp, full_ice: true, pass, web: true }, media))
                .unwrap_or_else(|refusal| vec![refuse(key, refusal)]),
            WebMessage::Candidate(candidate) if is_there => vec![Action::Candidate { key, candidate }],
            WebMessage::Bye if is_there => self.bye(key, None),
            WebMessage::Candidate(_) | WebMessage::Bye => Vec::new(),
        }
    }

    fn limit(&mut self, now: Instant, sender: Sender) -> Result<(), Refusal> {
        self.rate.take(now, sender).map_err(|wait| {
            Refusal::new(ErrorCode::RateLimited, "too many offers in a short time").retry_after(wait)
        })
    }

    /// Who sends an offer over the broker.
    fn signed(&mut self, now: Instant, key: &Key, sdp: &str, auth: Option<&Auth>) -> Result<Pass, Refusal> {
        self.limit(now, Sender::Viewer(key.viewer.clone()))?;
        let existing = self.sessions.get(key).filter(|entry| !entry.closing);
        let current = existing.map(|entry| &entry.pass);
        self.gate.check(self.clock, &key.viewer, &key.session, sdp, auth, current)
    }

    /// Who sends an offer over HTTP.
    fn bearing(
        &mut self,
        now: Instant,
        key: &Key,
        token: Option<&Secret>,
        from: IpAddr,
    ) -> Result<Pass, Refusal> {
        self.limit(now, Sender::host(from))?;
        let pass = self.gate.check_token(self.clock, token.map(Secret::expose))?;
        match self.sessions.get(key) {
            Some(entry) if entry.pass.grant != pass.grant => {
                Err(Refusal::new(ErrorCode::Forbidden, "this session came in with another grant"))
            }
            _ => Ok(pass),
        }
    }

    /// What becomes of an offer whose sender is known; everything about the sender comes before the SDP is looked at.
    fn offer(&mut self, key: &Key, offer: Offer, media: &MediaStatus) -> Result<Vec<Action>, Refusal> {
        let Offer { sdp, full_ice, pass, web } = offer;
        let nonce = pass.nonce;
        let origin = offer::origin(&sdp)
            .map(str::to_owned)
            .ok_or_else(|| Refusal::new(ErrorCode::BadOffer, "the SDP has no o= line"))?;
        let replaces = self.sessions.contains_key(key);
        if let Some(entry) = self.sessions.get_mut(key)
            && !entry.closing
            && entry.origin == origin
        {
            entry.pass = pass;
            return Ok(vec![Action::Renegotiate { key: key.clone(), sdp, full_ice, nonce }]);
        }
        self.one_handshake(key)?;
        self.admit(replaces, &sdp, media)?;
        let generation = self.next_generation;
        self.next_generation += 1;
        let grant = pass.grant.clone();
        let entry = Entry { generation, origin, pass, connected: false, closing: false, web };
        self.sessions.insert(key.clone(), entry);
        let early = self.early.remove(key).map(|early| early.candidates).unwrap_or_default();
        let close = replaces.then(|| Action::Close { key: key.clone(), reason: EndReason::Replaced });
        let start = Action::Start { key: key.clone(), generation, sdp, full_ice, early, grant, nonce };
        Ok(close.into_iter().chain([start]).collect())
    }

    /// A viewer makes one connection after the other.
    fn one_handshake(&self, key: &Key) -> Result<(), Refusal> {
        let pending = self.sessions.iter().any(|(other, entry)| {
            other.viewer == key.viewer && other != key && !entry.connected && !entry.closing
        });
        if pending {
            let text = "another connection of this viewer is still being made";
            return Err(Refusal::new(ErrorCode::RateLimited, text).retry_after(2));
        }
        Ok(())
    }

    /// A session's connection has come about.
    pub fn connected(&mut self, key: &Key, generation: Generation) {
        if let Some(entry) = self.sessions.get_mut(key).filter(|entry| entry.generation == generation) {
            entry.connected = true;
        }
    }

    /// The time on the wall, and other grants if they changed. Ends the sessions whose grant is gone.
    pub fn set_access(&mut self, clock: Clock, grants: Option<Vec<Grant>>) -> Vec<Action> {
        self.clock = clock;
        if let Some(grants) = grants {
            self.gate.set_grants(grants);
        }
        let mut actions = Vec::new();
        for (key, entry) in self.sessions.iter_mut().filter(|(_, entry)| !entry.closing) {
            if let Some(refusal) = self.gate.still(clock, &entry.pass) {
                entry.closing = true;
                let reason = EndReason::GrantEnded(refusal);
                actions.push(Action::Close { key: key.clone(), reason });
            }
        }
        actions
    }

    /// May one more session start? Judged before anything is opened, and before a running session
    /// of the same key is given up: a refused message changes nothing.
    fn admit(&self, replaces: bool, sdp: &str, media: &MediaStatus) -> Result<(), Refusal> {
        if !self.streaming {
            let text = "the camera's privacy switch is off";
            return Err(Refusal::new(ErrorCode::Privacy, text));
        }
        if media.ready {
            offer::inspect(sdp, media.profile)?;
        }
        if matches!(media.state, CameraState::Lost | CameraState::Error) {
            return Err(peer::camera_refusal(media));
        }
        let max = self.limits.max_viewers;
        if !replaces && self.sessions.len() >= max {
            let text = format!("all {max} places are taken");
            return Err(Refusal::new(ErrorCode::Busy, text).retry_after(5));
        }
        Ok(())
    }

    fn candidate(&mut self, now: Instant, key: Key, candidate: Option<Candidate>) -> Vec<Action> {
        if self.sessions.get(&key).is_some_and(|entry| !entry.closing) {
            return vec![Action::Candidate { key, candidate }];
        }
        if !self.early.contains_key(&key) && self.early.len() >= EARLY_SESSIONS_MAX {
            let text = "too many candidates wait for offers; send the offer first";
            return vec![refuse(key, Refusal::new(ErrorCode::NoSession, text))];
        }
        let early = self.early.entry(key.clone()).or_insert(Early { since: now, candidates: Vec::new() });
        if early.candidates.len() < EARLY_MAX {
            early.candidates.push(candidate);
        }
        Vec::new()
    }

    /// A `bye` for a session that is gone is the normal end of most wills: nobody waits for a reply.
    fn bye(&mut self, key: Key, reason: Option<String>) -> Vec<Action> {
        self.early.remove(&key);
        let Some(entry) = self.sessions.get_mut(&key) else { return Vec::new() };
        entry.closing = true;
        let reason = EndReason::ViewerLeft(reason.unwrap_or_else(|| "bye".to_owned()));
        vec![Action::Close { key, reason }]
    }

    /// Drops candidates whose offer never came; call it when [`Table::next_expiry`] is reached.
    pub fn expire(&mut self, now: Instant) -> Vec<Action> {
        let late: Vec<Key> = self
            .early
            .iter()
            .filter(|(_, early)| now.saturating_duration_since(early.since) >= EARLY_LIMIT)
            .map(|(key, _)| key.clone())
            .collect();
        late.into_iter()
            .map(|key| {
                self.early.remove(&key);
                let text = "candidates came, but no offer followed within 5 s";
                refuse(key, Refusal::new(ErrorCode::NoSession, text))
            })
            .collect()
    }

    /// When [`Table::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.early.values().map(|early| early.since + EARLY_LIMIT).min()
    }

    /// A session's task has ended. Returns whether it was the current one of its key.
    pub fn ended(&mut self, key: &Key, generation: Generation) -> bool {
        let current = self.sessions.get(key).is_some_and(|entry| entry.generation == generation);
        if current {
            self.sessions.remove(key);
        }
        current
    }

    /// Other limits, for sessions to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The privacy switch. Off ends all sessions.
    pub fn set_streaming(&mut self, on: bool) -> Vec<Action> {
        self.streaming = on;
        if on { Vec::new() } else { self.close_where(&EndReason::Privacy, |_| true) }
    }

    /// Ends every session that `which` names.
    pub fn close_where(&mut self, reason: &EndReason, which: impl Fn(&Key) -> bool) -> Vec<Action> {
        let mut actions = Vec::new();
        for (key, entry) in self.sessions.iter_mut().filter(|(key, _)| which(key)) {
            entry.closing = true;
            actions.push(Action::Close { key: key.clone(), reason: reason.clone() });
        }
        actions
    }
}

fn refuse(key: Key, refusal: Refusal) -> Action {
    Action::Refuse { key, claimed: None, refusal }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
