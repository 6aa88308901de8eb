//! The life of one session: offer to answer, candidates both ways, sending, and its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtc::peer_connection::state::RTCPeerConnectionState;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{interval, sleep_until, timeout};

use super::PeerError;
use super::connect::answer::with_candidates;
use super::connect::offer::{self, VideoCodec};
use super::driver::{Connection, PeerEvent};
use super::factory::Factory;
use super::stats::{EndReason, Live, ms};
use crate::access::identity::Identity;
use crate::access::proof::{Nonce, Parties};
use crate::fanout::Fanout;
use crate::media::{CameraState, MediaStatus};
use crate::signaling::message::{AnswerIdentity, Candidate, Down, ErrorCode, Refusal};
use crate::signaling::topic::Id;

/// A session that has not connected by then is closed (protocol.md section 2).
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How long an answer may wait for the capture side to know its profile (first start of the daemon).
const READY_LIMIT: Duration = Duration::from_secs(5);
/// How long an `"ice":"full"` answer may wait for STUN and TURN servers.
const GATHER_LIMIT: Duration = Duration::from_secs(5);
/// Candidates taken from one viewer over the life of a session.
const MAX_REMOTE_CANDIDATES: usize = 128;
/// How often round-trip time and path are read.
const STATS_PERIOD: Duration = Duration::from_secs(2);

/// Where a session's messages go.
pub trait Replies: Send + Sync {
    /// Hands `message` on without waiting.
    fn send(&self, viewer: &Id, session: &Id, message: Down);
}

/// What the table tells a running session.
#[derive(Debug)]
pub enum Command {
    /// Another offer from the same browser-side peer connection, or the same one again.
    Offer {
        /// The session description.
        sdp: String,
        /// The answer waits for all candidates.
        full_ice: bool,
        /// The offer's nonce.
        nonce: Option<Nonce>,
    },
    /// A candidate of the viewer.
    Candidate(Option<Candidate>),
}

/// Signs answers.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The device's key.
    pub identity: Arc<Identity>,
    /// The device's id.
    pub device: Id,
}

/// Everything a session needs to run.
pub struct NewSession {
    /// The offer.
    pub sdp: String,
    /// The answer waits for all candidates.
    pub full_ice: bool,
    /// The offer's nonce.
    pub nonce: Option<Nonce>,
    /// Who answers, as what.
    pub signer: Signer,
    /// What `state` shows of it.
    pub live: Arc<Live>,
    /// From the table.
    pub commands: mpsc::Receiver<Command>,
    /// The word to end; also when its sender is dropped.
    pub closed: oneshot::Receiver<EndReason>,
    /// To the viewer.
    pub replies: Arc<dyn Replies>,
    /// Makes the connection.
    pub factory: Arc<Factory>,
    /// The pictures.
    pub fanout: Fanout,
    /// The capture side's condition.
    pub media: watch::Receiver<MediaStatus>,
}

/// Runs a session to its end. Whatever the end, the peer connection is closed and nothing is left.
pub async fn run(mut new: NewSession) -> EndReason {
    // From here on the camera starts, while the answer is still being made.
    let demand = new.fanout.demand();
    let end = match Box::pin(establish(&mut new)).await {
        Ok(mut session) => {
            let end = session.drive(&mut new).await;
            session.close().await;
            end
        }
        Err(refusal) => EndReason::Refused(refusal),
    };
    drop(demand);
    end
}

/// Waits until the capture side knows what it will send, then judges the offer.
async fn codec(new: &mut NewSession) -> Result<VideoCodec, Refusal> {
    let known = |status: &MediaStatus| status.ready || has_failed(status.state);
    let status = timeout(READY_LIMIT, new.media.wait_for(known)).await;
    let stream = status.ok().and_then(Result::ok).filter(|status| status.ready).map(|status| status.profile);
    match stream {
        Some(stream) => offer::inspect(&new.sdp, stream),
        None => Err(camera_refusal(&new.media.borrow())),
    }
}

/// `camera-unavailable` in the words of the capture side.
pub(crate) fn camera_refusal(status: &MediaStatus) -> Refusal {
    let text = status.error.clone().unwrap_or_else(|| "the camera is not ready yet".to_owned());
    Refusal::new(ErrorCode::CameraUnavailable, text).retry_after(5)
}

fn internal(error: &PeerError) -> Refusal {
    Refusal::new(ErrorCode::Internal, error.to_string()).retry_after(5)
}

async fn establish(new: &mut NewSession) -> Result<Session, Refusal> {
    let codec = codec(new).await?;
    let factory = Arc::clone(&new.factory);
    let connection =
        factory.connect(&codec, Some(Arc::clone(&new.live))).await.map_err(|error| internal(&error))?;
    let mut session = Session {
        connection,
        answered: None,
        remote_candidates: 0,
        held: VecDeque::new(),
        connect_deadline: new.live.offered_at + CONNECT_LIMIT,
        connected: false,
    };
    let (sdp, full_ice, nonce) = (new.sdp.clone(), new.full_ice, new.nonce);
    match session.answer(new, sdp, full_ice, nonce.as_ref()).await {
        Ok(()) => Ok(session),
        Err(refusal) => {
            session.close().await;
            Err(refusal)
        }
    }
}

struct Session {
    connection: Connection,
    /// The last offer and its answer, for offers that come twice.
    answered: Option<(String, String)>,
    remote_candidates: usize,
    /// What became of the connection while candidates were gathered.
    held: VecDeque<RTCPeerConnectionState>,
    connect_deadline: Instant,
    connected: bool,
}

impl Session {
    /// Answers `sdp`, the first offer or a later one of the same browser-side connection.
    async fn answer(
        &mut self,
        new: &NewSession,
        sdp: String,
        full_ice: bool,
        nonce: Option<&Nonce>,
    ) -> Result<(), Refusal> {
        let bad = |error: &dyn std::fmt::Display| {
            Refusal::new(ErrorCode::BadOffer, format!("the offer cannot be used: {error}"))
        };
        let mut answer = self.connection.answer(sdp.clone()).await.map_err(|error| bad(&error))?;
        if full_ice {
            answer = with_candidates(&answer, &self.gathered().await);
        }
        reply_answer(new, nonce, &sdp, answer.clone());
        self.answered = Some((sdp, answer));
        Ok(())
    }

    /// All of our candidates, or those that came within [`GATHER_LIMIT`]: an unreachable STUN
    /// server must not hold the answer back for ever.
    async fn gathered(&mut self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let collect = async {
            while let Some(event) = self.connection.events.recv().await {
                match event {
                    PeerEvent::Candidate(candidate) => candidates.push(candidate),
                    PeerEvent::GatheringComplete => break,
                    // Of an earlier answer's connection.
                    PeerEvent::State(state) => self.held.push_back(state),
                }
            }
        };
        let _ = timeout(GATHER_LIMIT, collect).await;
        candidates
    }

    async fn drive(&mut self, new: &mut NewSession) -> EndReason {
        let mut stats = interval(STATS_PERIOD);
        loop {
            while let Some(state) = self.held.pop_front() {
                if let Some(end) = self.event(new, PeerEvent::State(state)) {
                    return end;
                }
            }
            let deadline = self.connect_deadline.into();
            tokio::select! {
                closed = &mut new.closed => return closed.unwrap_or(EndReason::Shutdown),
                Some(command) = new.commands.recv() => self.command(new, command).await,
                event = self.connection.events.recv() => match event {
                    Some(event) => if let Some(end) = self.event(new, event) { return end },
                    None => return EndReason::ViewerGone,
                },
                () = sleep_until(deadline), if !self.connected => return EndReason::NeverConnected,
                changed = new.media.changed() => {
                    if changed.is_err() { return EndReason::Shutdown }
                    if let Some(end) = camera_never_came(new) { return end }
                }
                _ = stats.tick(), if self.connected => self.read_path(&new.live).await,
            }
        }
    }

    async fn command(&mut self, new: &NewSession, command: Command) {
        match command {
            Command::Offer { sdp, full_ice, nonce } => {
                self.offer_again(new, sdp, full_ice, nonce.as_ref()).await;
            }
            Command::Candidate(candidate) => self.add_candidate(candidate).await,
        }
    }

    async fn offer_again(&mut self, new: &NewSession, sdp: String, full_ice: bool, nonce: Option<&Nonce>) {
        if let Some((offer, answer)) = &self.answered
            && *offer == sdp
        {
            reply_answer(new, nonce, &sdp, answer.clone());
            return;
        }
        let stream = new.media.borrow().profile;
        let renegotiated = match offer::inspect(&sdp, stream) {
            Ok(_) => self.answer(new, sdp, full_ice, nonce).await,
            Err(refusal) => Err(refusal),
        };
        // A refused offer changes nothing: the session goes on as it was.
        if let Err(refusal) = renegotiated {
            reply(new, Down::Error(refusal));
        }
    }

    async fn add_candidate(&mut self, candidate: Option<Candidate>) {
        let Some(candidate) = candidate else { return };
        self.remote_candidates += 1;
        if self.remote_candidates > MAX_REMOTE_CANDIDATES || !self.is_current(&candidate) {
            return;
        }
        self.connection.add_candidate(candidate).await;
    }

    /// A late candidate of a former ICE generation would only be checked in vain.
    fn is_current(&self, candidate: &Candidate) -> bool {
        match (&candidate.username_fragment, &self.answered) {
            (Some(fragment), Some((offer, _))) => offer.contains(&format!("a=ice-ufrag:{fragment}")),
            _ => true,
        }
    }

    fn event(&mut self, new: &NewSession, event: PeerEvent) -> Option<EndReason> {
        match event {
            PeerEvent::Candidate(candidate) => reply(new, Down::Candidate(Some(candidate))),
            PeerEvent::GatheringComplete => reply(new, Down::Candidate(None)),
            PeerEvent::State(RTCPeerConnectionState::Connected) => {
                if !self.connected {
                    tracing::info!(ms = ms(new.live.offered_at.elapsed()), "connected");
                }
                self.connected = true;
                new.live.connected.store(true, Ordering::Relaxed);
            }
            PeerEvent::State(RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed) => {
                return Some(if self.connected { EndReason::ViewerGone } else { EndReason::NeverConnected });
            }
            PeerEvent::State(_) => {}
        }
        None
    }

    async fn read_path(&self, live: &Live) {
        let Some(path) = self.connection.path().await else { return };
        let is_new = live.path().and_then(|known| known.remote) != path.remote;
        if is_new {
            tracing::info!(from = path.remote, path = path.path, "the viewer's address");
        }
        live.set_path(path);
    }

    async fn close(self) {
        self.connection.close().await;
    }
}

fn reply_answer(new: &NewSession, nonce: Option<&Nonce>, offer: &str, sdp: String) {
    let ice_servers = new.factory.ice_servers().to_vec();
    let Signer { identity, device } = &new.signer;
    let parties = Parties { device, viewer: &new.live.viewer, session: &new.live.session };
    let sig = identity.sign_answer(parties, nonce, offer, &sdp).encode();
    let identity = AnswerIdentity { key: identity.key().encode(), sig };
    reply(new, Down::Answer { sdp, ice_servers, identity });
}

fn reply(new: &NewSession, message: Down) {
    new.replies.send(&new.live.viewer, &new.live.session, message);
}

fn has_failed(state: CameraState) -> bool {
    matches!(state, CameraState::Lost | CameraState::Error)
}

/// A viewer that never saw a picture is told that there is none; one that did keeps its session,
/// because the camera may come back.
fn camera_never_came(new: &mut NewSession) -> Option<EndReason> {
    let status = new.media.borrow_and_update();
    let saw_none = new.live.sent.units.load(Ordering::Relaxed) == 0;
    (has_failed(status.state) && saw_none).then(|| EndReason::Refused(camera_refusal(&status)))
}
