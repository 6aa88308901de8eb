//! The task that owns the sessions: one loop over everything that concerns them.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tracing::Instrument;

use super::events::{EventQueue, SessionEvent};
use super::in_order::{Delivery, InOrder};
use super::input::{SessionInput, watch_over};
use super::offer_reader::{OfferReader, ReadSdp};
use super::outbox::SessionOutbox;
use super::parts::SessionParts;
use super::refusals::Refusals;
use super::registry::{Handle, Registry, lock};
use super::table::{EndedSession, ProvenOffer, SessionAction, SessionKey, SessionNumber};
use crate::media::MediaStatus;
use crate::peer::{self, AcceptedOffer, EndReason, NewSession, Replies, SessionCommand, SessionStats};
use crate::signaling::message::{Down, ErrorCode, Refusal};
use crate::signaling::topic::Id;

/// Messages that may wait for one session; candidates beyond it are dropped.
const COMMAND_QUEUE: usize = 64;

/// The time on the clock that sleeps go by, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Carries out what the table decides: starts and ends the sessions' tasks and passes messages on.
pub(super) struct SessionsTask {
    registry: Arc<Mutex<Registry>>,
    input: mpsc::Sender<SessionInput>,
    events: EventQueue,
    refusals: Refusals,
    reader: OfferReader,
    in_order: InOrder,
    is_draining: bool,
    /// Who waits for the end of the last session.
    leaving: Vec<oneshot::Sender<()>>,
    parts: SessionParts,
}

impl SessionsTask {
    /// Over the sessions of `registry`; what is to be done comes by `input`, too.
    pub fn new(
        parts: SessionParts,
        registry: Arc<Mutex<Registry>>,
        input: mpsc::Sender<SessionInput>,
        read: ReadSdp,
    ) -> Self {
        Self {
            registry,
            events: EventQueue::new(parts.events.clone()),
            refusals: Refusals::new(now()),
            reader: OfferReader::new(read, parts.tasks.clone(), input.clone()),
            in_order: InOrder::default(),
            is_draining: false,
            leaving: Vec::new(),
            input,
            parts,
        }
    }

    /// Until nobody can say anything any more.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<SessionInput>) {
        loop {
            let expiry = lock(&self.registry).table.next_expiry();
            let sums = self.refusals.due();
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    // Not while this holds one of its senders.
                    None => return,
                },
                () = sleep_until(expiry.unwrap_or_else(now).into()), if expiry.is_some() => {
                    let actions = lock(&self.registry).table.expire(now());
                    self.act_all(actions, None);
                }
                () = sleep_until(sums.unwrap_or_else(now).into()), if sums.is_some() => self.sum_up_refusals(),
                () = self.events.hand_on(), if self.events.is_waiting() => {}
            }
            if let Some(used) = lock(&self.registry).table.take_used() {
                (self.parts.keep_used)(used);
            }
            if self.is_draining && lock(&self.registry).table.is_empty() {
                self.sum_up_refusals();
                // Whoever asked may have stopped waiting.
                for done in self.leaving.drain(..) {
                    let _ = done.send(());
                }
            }
        }
    }

    /// Does what came, or keeps it until the offer that it came after has been read.
    fn take(&mut self, input: SessionInput) {
        let mut next = Some(input);
        while let Some(input) = next {
            match self.in_order.pass(input) {
                Delivery::Now(input) => self.input(input),
                Delivery::Later => {}
                Delivery::NoRoom(input) => self.too_much(input),
            }
            next = self.in_order.next();
        }
    }

    /// There is no room to keep it.
    fn too_much(&mut self, input: SessionInput) {
        let (key, own) = match input {
            SessionInput::Message { key, .. } => (key, None),
            SessionInput::Whep { key, replies, .. } => (key, Some(replies)),
            _ => return,
        };
        self.act_all(vec![SessionAction::Refuse { key, claimed: None, refusal: too_busy() }], own);
    }

    fn act_all(&mut self, actions: Vec<SessionAction>, own: Option<Arc<dyn Replies>>) {
        let replies = own.unwrap_or_else(|| Arc::clone(&self.parts.replies));
        for action in actions {
            self.act(action, &replies);
        }
    }

    /// A copy, taken while no lock is held: a reader of the status waits for its writer, and the writer for readers that may
    /// be waiting for the registry.
    fn camera(&self) -> MediaStatus {
        self.parts.media.borrow().clone()
    }

    fn input(&mut self, input: SessionInput) {
        if self.is_draining && input.is_from_outside() {
            // Nothing new starts while the last sessions end.
            return;
        }
        let camera = self.camera();
        let registry = Arc::clone(&self.registry);
        // Held for one step each: carrying out asks for it again.
        let table = || lock(&registry);
        let (actions, own) = match input {
            SessionInput::Message { key, kind } => (table().table.message(now(), key, kind), None),
            SessionInput::Whep { key, message, replies } => {
                (table().table.whep(now(), key, message), Some(replies))
            }
            SessionInput::OfferRead { proven, reading, replies } => {
                self.in_order.done(&proven.key);
                (table().table.offer_read(now(), *proven, reading, &camera), Some(replies))
            }
            SessionInput::Refused { key, refusal } => {
                (vec![SessionAction::Refuse { key, claimed: None, refusal }], None)
            }
            SessionInput::RefusalTold { key, claimed, refusal } => {
                self.refused(key, claimed, refusal);
                return;
            }
            SessionInput::Access { clock, grants } => (table().table.set_access(clock, grants), None),
            SessionInput::Streaming(on) => (table().table.set_streaming(on), None),
            SessionInput::Close { viewer, session } => {
                let is_meant = |key: &SessionKey| {
                    viewer.as_ref().is_none_or(|viewer| *viewer == key.viewer)
                        && session.as_ref().is_none_or(|session| *session == key.session)
                };
                self.in_order.close(is_meant);
                (table().table.close_where(&EndReason::Requested, is_meant), None)
            }
            SessionInput::Connected { number } => (table().table.connected(number), None),
            SessionInput::Ended { number, reason } => {
                self.ended(number, reason);
                return;
            }
            SessionInput::Ping { done } => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
                return;
            }
            SessionInput::Shutdown { done } => {
                self.is_draining = true;
                self.leaving.push(done);
                self.in_order.clear();
                (table().table.close_where(&EndReason::Shutdown, |_| true), None)
            }
        };
        self.act_all(actions, own);
    }

    /// Carries out; what the sender is to hear at once goes to `replies`.
    fn act(&mut self, action: SessionAction, replies: &Arc<dyn Replies>) {
        match action {
            SessionAction::Read(proven) => {
                if self.in_order.begin(&proven.key, proven.offer.sdp.len()) {
                    self.reader.read(proven, Arc::clone(replies));
                } else {
                    let ProvenOffer { key, claimed, .. } = *proven;
                    self.act(SessionAction::Refuse { key, claimed, refusal: too_busy() }, replies);
                }
            }
            SessionAction::Start { number, key, offer, pending, grant, offered_at } => {
                let shown = grant.as_ref().map_or("(open access)", Id::as_str);
                tracing::info!(viewer = %key.viewer, session = %key.session, grant = shown, "session granted");
                let (viewer, session) = (key.viewer.clone(), key.session.clone());
                let mut live = SessionStats::new(viewer, session, number, grant.clone());
                // The reading of it counts among what the first picture took.
                live.offered_at = offered_at;
                let is_announced = self.events.started(key.clone(), grant);
                let mut handle = self.start(&key, Arc::new(live), offer, Arc::clone(replies));
                handle.is_announced = is_announced;
                for candidate in pending {
                    let _ = handle.commands.try_send(SessionCommand::Candidate(candidate));
                }
                let mut registry = lock(&self.registry);
                registry.totals.started += 1;
                registry.table.attach(number, handle);
            }
            SessionAction::Renegotiate { number, offer } => {
                self.command(number, SessionCommand::Offer(offer));
            }
            SessionAction::AddCandidate { number, candidate } => {
                self.command(number, SessionCommand::Candidate(candidate));
            }
            SessionAction::Close { number, reason } => {
                if let Some(handle) = lock(&self.registry).table.handle(number) {
                    handle.outbox.close();
                    if let Some(close) = handle.close.take() {
                        // It may have ended by itself.
                        let _ = close.send(reason);
                    }
                }
            }
            SessionAction::Refuse { key, claimed, refusal } => {
                let is_whep = !Arc::ptr_eq(replies, &self.parts.replies);
                if is_whep || self.refusals.is_answered(now(), refusal.code) {
                    replies.send(&key.viewer, &key.session, Down::Error(refusal.clone()));
                }
                self.refused(key, claimed, refusal);
            }
        }
    }

    fn start(
        &self,
        key: &SessionKey,
        live: Arc<SessionStats>,
        offer: AcceptedOffer,
        replies: Arc<dyn Replies>,
    ) -> Handle {
        let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
        let ((close, closed), (connected, on_connected)) = (oneshot::channel(), oneshot::channel());
        let (to_table, refused) = (self.input.clone(), (key.clone(), live.grant.as_ref().map(Id::to_string)));
        let outbox = SessionOutbox::new(replies, move |refusal| {
            let (key, claimed) = refused.clone();
            // Without room it is one of those that nobody is told of.
            let _ = to_table.try_send(SessionInput::RefusalTold { key, claimed, refusal });
        });
        let handle = Handle {
            live: Arc::clone(&live),
            outbox: Arc::clone(&outbox),
            commands,
            close: Some(close),
            is_announced: false,
        };
        let (number, input) = (live.number, self.input.clone());
        let new = NewSession {
            offer,
            signer: self.parts.signer.clone(),
            live,
            commands: command_queue,
            connected: Some(connected),
            replies: outbox,
            factory: Arc::clone(&self.parts.factory),
            fanout: self.parts.fanout.clone(),
            media: self.parts.media.clone(),
        };
        let span = tracing::info_span!("session", viewer = %key.viewer, session = %key.session);
        let session = Box::pin(peer::run(new, closed).instrument(span));
        self.parts.tasks.spawn_finite("session", watch_over(session, on_connected, number, input));
        handle
    }

    fn command(&self, number: SessionNumber, command: SessionCommand) {
        // A full queue means that the viewer sends faster than its own session reads: its loss.
        if let Some(handle) = lock(&self.registry).table.handle(number) {
            let _ = handle.commands.try_send(command);
        }
    }

    /// A session's task has ended. Nobody is told of the end of one that was replaced: the viewer would take it for that of
    /// its successor.
    fn ended(&mut self, number: SessionNumber, reason: EndReason) {
        let Some(ended) = lock(&self.registry).end(number) else { return };
        let EndedSession { key, grant, is_current, handle: Some(handle) } = ended else { return };
        let word = match &reason {
            EndReason::ViewerLeft(_) | EndReason::Replaced => None,
            EndReason::Refused(refusal) => Some(Down::Error(refusal.clone())),
            _ => Some(Down::Bye { reason: reason.text() }),
        };
        if let Some(word) = word.filter(|_| is_current) {
            handle.outbox.replies().send(&key.viewer, &key.session, word);
        }
        if let EndReason::Refused(refusal) = &reason {
            let claimed = grant.as_ref().map(Id::to_string);
            self.refused(key.clone(), claimed, refusal.clone());
        }
        let address = handle.live.path().and_then(|path| path.remote);
        let shown = grant.as_ref().map_or("(open access)", Id::as_str);
        let from = address.as_deref().unwrap_or("(not seen)");
        tracing::info!(viewer = %key.viewer, session = %key.session, grant = shown, from, reason = reason.text(), "session ended");
        if handle.is_announced {
            self.events.ended(SessionEvent::Ended { key, grant, address, reason });
        }
    }

    fn refused(&mut self, key: SessionKey, claimed: Option<String>, refusal: Refusal) {
        let (now, code) = (now(), refusal.code);
        lock(&self.registry).totals.refuse(code);
        if !self.refusals.is_told(now, code) {
            return;
        }
        let grant = claimed.as_deref().unwrap_or("(none named)");
        tracing::info!(viewer = %key.viewer, session = %key.session, ?grant, %refusal, "refused");
        if !self.events.refused(SessionEvent::Refused { key, claimed, refusal }) {
            self.refusals.count(now, code);
        }
    }

    /// Tells of those that were not told singly.
    fn sum_up_refusals(&mut self) {
        for (code, count) in self.refusals.sums() {
            tracing::info!(code = code.as_str(), count, "more were refused");
            if !self.events.refused(SessionEvent::RefusedMore { code, count }) {
                tracing::debug!("nobody reads events: the sum of refusals is only in the log");
            }
        }
    }
}

/// More offers came than can be read now.
fn too_busy() -> Refusal {
    Refusal::new(ErrorCode::RateLimited, "too many messages came at once").retry_after(1)
}
