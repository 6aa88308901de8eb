//! The life of one session: offer to answer, candidates both ways, sending, and its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{interval, sleep_until, timeout};

use super::connect::negotiation::Negotiation;
use super::connect::offer::{AcceptedOffer, VideoOffer};
use super::driver::{Connection, PeerEvent};
use super::error::PeerError;
use super::factory::Factory;
use super::own_h264::{cannot_turn, needs_encoding, promised};
use super::stats::{EndReason, SessionStats, ms};
use crate::access::identity::Identity;
use crate::access::proof::Parties;
use crate::base::text;
use crate::media::{CameraState, MediaStatus, ProfileLevelId};
use crate::signaling::message::{AnswerIdentity, Candidate, Down, ErrorCode, Refusal};
use crate::signaling::topic::Id;
use crate::stream::Fanout;

/// A session that has not connected by then is closed (protocol.md section 2).
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How long an answer may wait for the capture side to know its profile (first start of the daemon).
const READY_LIMIT: Duration = Duration::from_secs(5);
/// Candidates taken from one viewer in one ICE generation.
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
pub enum SessionCommand {
    /// Another offer from the same browser-side peer connection, or the same one again.
    Offer(AcceptedOffer),
    /// A candidate of the viewer; `None` for their end.
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
    pub offer: AcceptedOffer,
    /// Who answers, as what.
    pub signer: Signer,
    /// What `state` shows of it.
    pub live: Arc<SessionStats>,
    /// From the table.
    pub commands: mpsc::Receiver<SessionCommand>,
    /// Told once the connection has come about.
    pub connected: Option<oneshot::Sender<()>>,
    /// To the viewer.
    pub replies: Arc<dyn Replies>,
    /// Makes the connection.
    pub factory: Arc<Factory>,
    /// The pictures.
    pub fanout: Fanout,
    /// The capture side's condition.
    pub media: watch::Receiver<MediaStatus>,
}

/// Runs a session to its end, which comes at once with the word of `closed` or when its sender is dropped: whatever was under
/// way then is cut off. Whatever the end, the peer connection is closed and nothing is left.
pub async fn run(mut new: NewSession, mut closed: oneshot::Receiver<EndReason>) -> EndReason {
    // From here on the camera starts, while the answer is still being made.
    let demand = new.fanout.demand();
    // One that runs makes a key frame: it is there about when the viewer has connected, who would have to wait for it otherwise.
    new.fanout.at(Arc::clone(&new.live.control.rendition)).request_first_key_frame();
    // Boxed: it is large, and the task would carry it for ever.
    let mut session = match Box::pin(connect(&mut new, &mut closed)).await {
        Ok(session) => session,
        Err(end) => return end,
    };
    let end = tokio::select! {
        biased;
        reason = &mut closed => reason.unwrap_or(EndReason::Shutdown),
        end = session.live(&mut new) => end,
    };
    session.connection.close().await;
    drop(demand);
    end
}

/// Makes the connection that the offer asks for.
async fn connect(
    new: &mut NewSession,
    closed: &mut oneshot::Receiver<EndReason>,
) -> Result<PeerSession, EndReason> {
    let negotiation = tokio::select! {
        biased;
        reason = closed => return Err(reason.unwrap_or(EndReason::Shutdown)),
        negotiation = negotiation(new) => negotiation.map_err(EndReason::Refused)?,
    };
    let connection = new.factory.connect(&negotiation.codec, Some(Arc::clone(&new.live))).await;
    Ok(PeerSession {
        connection: connection.map_err(|error| EndReason::Refused(internal(&error)))?,
        payload_type: negotiation.codec.payload_type,
        audio_payload_type: None,
        profile: negotiation.codec.profile,
        video: new.offer.video.clone(),
        first: Some(negotiation),
        answered: None,
        remote_candidates: RemoteCandidates::default(),
        connect_deadline: new.live.offered_at + CONNECT_LIMIT,
        connected: false,
    })
}

/// Waits until the capture side knows what it will send, then judges the offer.
async fn negotiation(new: &mut NewSession) -> Result<Negotiation, Refusal> {
    let mut status = known_status(&mut new.media, |_| true).await;
    let video = &new.offer.video;
    if needs_encoding(video, &status) {
        new.fanout.request_encoding();
        status = known_status(&mut new.media, |status| !needs_encoding(video, status)).await;
    }
    if cannot_turn(video, &status) {
        tracing::info!(
            "the viewer's offer has no urn:3gpp:video-orientation: Porthole's page turns the picture itself, others show it as it is"
        );
    }
    // What is not known by then a placeholder says to those who watch.
    if status.ready || status.has_placeholder {
        let ability = new.factory.audio_ability(new.live.grant.as_ref());
        let negotiation = Negotiation::new(video, promised(video, &status), None)?;
        Ok(negotiation.with_audio(ability, None))
    } else {
        Err(camera_refusal(&status))
    }
}

/// The camera's status, once the stream is known and `fits` or the camera has failed; after a while as it is.
async fn known_status(
    media: &mut watch::Receiver<MediaStatus>,
    fits: impl Fn(&MediaStatus) -> bool,
) -> MediaStatus {
    let known = |status: &MediaStatus| (status.ready && fits(status)) || has_failed(status.state);
    let _ = timeout(READY_LIMIT, media.wait_for(known)).await;
    media.borrow().clone()
}

/// `camera-unavailable` in the words of the capture side.
pub(crate) fn camera_refusal(status: &MediaStatus) -> Refusal {
    let text = status.error.clone().unwrap_or_else(|| "the camera is not ready yet".to_owned());
    Refusal::new(ErrorCode::CameraUnavailable, text).retry_after(5)
}

fn internal(error: &PeerError) -> Refusal {
    Refusal::new(ErrorCode::Internal, error.to_string()).retry_after(5)
}

/// The viewer's candidates, counted by ICE generation, which an offer's user fragments name (RFC 8445 section 9): a viewer that
/// goes from network to network has as many on each.
#[derive(Debug, Default)]
struct RemoteCandidates {
    ufrags: Vec<String>,
    taken: usize,
}

impl RemoteCandidates {
    /// An offer with these user fragments was answered.
    fn offered(&mut self, ufrags: &[String]) {
        if ufrags != self.ufrags {
            *self = Self { ufrags: ufrags.to_vec(), taken: 0 };
        }
    }

    /// Whether to use `candidate`. A late one of a former generation would only be checked in vain.
    fn take(&mut self, candidate: &Candidate) -> bool {
        let ufrag = candidate.username_fragment.as_ref();
        let is_current = ufrag.is_none_or(|ufrag| self.ufrags.contains(ufrag));
        let is_taken = is_current && self.taken < MAX_REMOTE_CANDIDATES;
        self.taken += usize::from(is_taken);
        is_taken
    }
}

struct PeerSession {
    connection: Connection,
    /// Of the picture.
    payload_type: u8,
    /// Of the sound, once there was any.
    audio_payload_type: Option<u8>,
    /// What was promised of the picture.
    profile: ProfileLevelId,
    /// What the viewer can play, by its last offer.
    video: VideoOffer,
    /// What the first offer led to, until it is answered.
    first: Option<Negotiation>,
    /// The last offer and its answer, for offers that come twice.
    answered: Option<(String, String)>,
    remote_candidates: RemoteCandidates,
    connect_deadline: Instant,
    connected: bool,
}

impl PeerSession {
    /// From the first answer on. May be dropped at any time.
    async fn live(&mut self, new: &mut NewSession) -> EndReason {
        let Some(first) = self.first.take() else { return EndReason::failed() };
        match self.answer(new, &new.offer, first).await {
            Ok(()) => self.drive(new).await,
            Err(refusal) => EndReason::Refused(refusal),
        }
    }

    /// Answers `accepted`, the first offer or a later one of the same browser-side connection.
    async fn answer(
        &mut self,
        new: &NewSession,
        accepted: &AcceptedOffer,
        negotiation: Negotiation,
    ) -> Result<(), Refusal> {
        let offer = &accepted.offer;
        let audio = negotiation.audio.map(|audio| audio.payload_type);
        let answer = self.connection.answer(negotiation, offer.full_ice).await.map_err(|error| {
            let error = text::shown(&error.to_string());
            Refusal::new(ErrorCode::BadOffer, format!("the offer cannot be used: {error}"))
        })?;
        self.audio_payload_type = audio.or(self.audio_payload_type);
        reply_answer(new, accepted, answer.clone());
        self.remote_candidates.offered(&accepted.video.ufrags);
        self.answered = Some((offer.sdp.clone(), answer));
        Ok(())
    }

    async fn drive(&mut self, new: &mut NewSession) -> EndReason {
        let mut stats = interval(STATS_PERIOD);
        loop {
            let deadline = self.connect_deadline.into();
            tokio::select! {
                Some(command) = new.commands.recv() => self.command(new, command).await,
                event = self.connection.next_event() => match event {
                    Some(event) => if let Some(end) = self.event(new, event) { return end },
                    None => return EndReason::ViewerGone,
                },
                () = sleep_until(deadline), if !self.connected => return EndReason::NeverConnected,
                changed = new.media.changed() => {
                    if changed.is_err() { return EndReason::Shutdown }
                    if let Some(end) = camera_never_came(new) { return end }
                    self.watch_profile(new);
                }
                _ = stats.tick(), if self.connected => self.read_path(&new.live).await,
            }
        }
    }

    /// Another camera may have come than the one that was promised, or the first at all; or the picture is turned otherwise, and this
    /// viewer cannot be told.
    fn watch_profile(&self, new: &NewSession) {
        let needs_it = needs_encoding(&self.video, &new.media.borrow());
        if needs_it {
            new.fanout.request_encoding();
        }
    }

    async fn command(&mut self, new: &NewSession, command: SessionCommand) {
        match command {
            SessionCommand::Offer(accepted) => self.offer_again(new, &accepted).await,
            SessionCommand::Candidate(candidate) => self.add_candidate(candidate).await,
        }
    }

    async fn offer_again(&mut self, new: &NewSession, accepted: &AcceptedOffer) {
        if let Some((offer, answer)) = &self.answered
            && *offer == accepted.offer.sdp
        {
            reply_answer(new, accepted, answer.clone());
            return;
        }
        let stream = new.media.borrow().profile;
        // What was promised stays, whatever camera has come since.
        let take = |profile| Negotiation::new(&accepted.video, profile, Some(self.payload_type));
        let answered = match take(stream).or_else(|refusal| take(self.profile).map_err(|_| refusal)) {
            Ok(negotiation) => {
                let ability = new.factory.audio_ability(new.live.grant.as_ref());
                let negotiation = negotiation.with_audio(ability, self.audio_payload_type);
                self.answer(new, accepted, negotiation).await
            }
            Err(refusal) => Err(refusal),
        };
        if answered.is_ok() {
            self.video.clone_from(&accepted.video);
        }
        // A refused offer changes nothing: the session goes on as it was.
        if let Err(refusal) = answered {
            reply(new, Down::Error(refusal));
        }
    }

    async fn add_candidate(&mut self, candidate: Option<Candidate>) {
        let Some(candidate) = candidate else { return };
        if self.remote_candidates.take(&candidate) {
            self.connection.add_candidate(candidate).await;
        } else {
            tracing::debug!(?candidate, "a candidate of another ICE generation, or one too many");
        }
    }

    fn event(&mut self, new: &mut NewSession, event: PeerEvent) -> Option<EndReason> {
        match event {
            PeerEvent::Candidate(candidate) => reply(new, Down::Candidate(Some(candidate))),
            PeerEvent::GatheringComplete => reply(new, Down::Candidate(None)),
            PeerEvent::Connected => {
                if !self.connected {
                    tracing::info!(ms = ms(new.live.offered_at.elapsed()), "connected");
                }
                self.connected = true;
                new.live.connected.store(true, Ordering::Relaxed);
                if let Some(connected) = new.connected.take() {
                    // The table may end.
                    let _ = connected.send(());
                }
            }
            PeerEvent::Ended if self.connected => return Some(EndReason::ViewerGone),
            PeerEvent::Ended => return Some(EndReason::NeverConnected),
            PeerEvent::Failed => return Some(EndReason::failed()),
        }
        None
    }

    async fn read_path(&self, live: &SessionStats) {
        let Some(path) = self.connection.path().await else { return };
        let is_new = live.path().and_then(|known| known.remote) != path.remote;
        if is_new {
            tracing::info!(from = path.remote, path = path.path, "the viewer's address");
        }
        live.set_path(path);
    }
}

fn reply_answer(new: &NewSession, accepted: &AcceptedOffer, sdp: String) {
    let ice_servers = new.factory.ice_servers().to_vec();
    let Signer { identity, device } = &new.signer;
    let parties = Parties { device, viewer: &new.live.viewer, session: &new.live.session };
    let sig = identity.sign_answer(parties, accepted.nonce.as_ref(), &accepted.offer.sdp, &sdp).encode();
    let identity = AnswerIdentity { key: identity.key().encode(), sig };
    reply(new, Down::Answer { sdp, ice_servers, identity });
}

fn reply(new: &NewSession, message: Down) {
    new.replies.send(&new.live.viewer, &new.live.session, message);
}

fn has_failed(state: CameraState) -> bool {
    matches!(state, CameraState::Lost | CameraState::Error)
}

/// A viewer that never saw a picture, and sees no placeholder, is told that there is none; one that did keeps its session,
/// because the camera may come back.
fn camera_never_came(new: &mut NewSession) -> Option<EndReason> {
    let status = new.media.borrow_and_update();
    let saw_none = new.live.sent.units.load(Ordering::Relaxed) == 0;
    (has_failed(status.state) && saw_none && !status.has_placeholder)
        .then(|| EndReason::Refused(camera_refusal(&status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_counted_by_generation() {
        let mut candidates = RemoteCandidates::default();
        let of = |ufrag: Option<&str>| Candidate {
            candidate: String::new(),
            sdp_mid: None,
            sdp_mline_index: None,
            username_fragment: ufrag.map(str::to_owned),
        };
        for ufrag in ["home", "away", "back"] {
            let ufrags = [ufrag.to_owned()];
            candidates.offered(&ufrags);
            assert!(!candidates.take(&of(Some("former"))), "and it does not count");
            let taken = (0..200).filter(|at| {
                // The same offer may come again, and not every viewer names the generation.
                candidates.offered(&ufrags);
                candidates.take(&of(Some(ufrag).filter(|_| at % 2 == 0)))
            });
            assert_eq!(taken.count(), MAX_REMOTE_CANDIDATES);
        }
    }
}
