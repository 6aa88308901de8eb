//! The table of sessions: cap, expiry, routing. The one place where control plane and data plane meet.
//!
//! [`table`] decides, this file carries out: it starts and ends the sessions' tasks and passes
//! messages on. It never waits for a session, so one stuck viewer cannot hold up the others.

mod action;
mod entry;
mod events;
mod input;
mod offer_limits;
mod outbox;
mod pending_candidates;
mod places;
pub mod rate;
mod refusals;
mod registry;
pub mod send_latency;
mod session_key;
pub mod table;
pub mod totals;
mod whep;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tracing::Instrument;

use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::access::offer_authorizer::OfferAuthorizer;
use crate::base::tasks::TaskGroup;
use crate::media::MediaStatus;
use crate::peer::{
    self, AcceptedOffer, EndReason, Factory, NewSession, Replies, SessionCommand, SessionStats, Signer,
};
use crate::signaling::message::{Down, Refusal, UpKind};
use crate::signaling::topic::Id;
use crate::stream::Fanout;
use events::EventQueue;
pub use events::SessionEvent;
use input::{SessionInput, watch_over};
use outbox::SessionOutbox;
use refusals::Refusals;
use registry::{Handle, Registry, lock};
use table::{EndedSession, Limits, SessionAction, SessionKey, SessionNumber, Table, WhepMessage};
use totals::Totals;

/// Messages that may wait for the table. Beyond it whoever feeds it waits, which is the broker.
const INPUT_QUEUE: usize = 256;
/// Messages that may wait for one session; candidates beyond it are dropped.
const COMMAND_QUEUE: usize = 64;

/// What everything outside may ask of the sessions.
#[derive(Clone)]
pub struct Sessions {
    input: mpsc::Sender<SessionInput>,
    registry: Arc<Mutex<Registry>>,
}

/// Everything the sessions need from the rest of the house.
pub struct SessionParts {
    /// The cap.
    pub max_viewers: usize,
    /// The privacy switch as it was left.
    pub streaming: bool,
    /// Signs answers.
    pub signer: Signer,
    /// Makes connections.
    pub factory: Arc<Factory>,
    /// The pictures.
    pub fanout: Fanout,
    /// The capture side's condition.
    pub media: watch::Receiver<MediaStatus>,
    /// Where messages to viewers on the broker go.
    pub replies: Arc<dyn Replies>,
    /// Where events go. Beginnings and ends of sessions wait for room there; refusals that find none are lost.
    pub events: mpsc::Sender<SessionEvent>,
    /// Keeps the text of the offers that were used over a restart; does not wait.
    pub keep_used: Box<dyn Fn(String) + Send>,
    /// Whose the tasks are.
    pub tasks: TaskGroup,
}

impl Sessions {
    /// Starts the task that owns the sessions; `authorizer` decides over offers.
    pub fn spawn(parts: SessionParts, authorizer: OfferAuthorizer) -> Self {
        let (input, inputs) = mpsc::channel(INPUT_QUEUE);
        let limits = Limits { max_viewers: parts.max_viewers };
        let table = Table::new(limits, parts.streaming, authorizer, Clock::read());
        let registry = Arc::new(Mutex::new(Registry { table, totals: Totals::default() }));
        let task = SessionsTask {
            registry: Arc::clone(&registry),
            input: input.clone(),
            events: EventQueue::new(parts.events.clone()),
            refusals: Refusals::new(now()),
            parts,
        };
        let (tasks, cancelled) = (task.parts.tasks.clone(), task.parts.tasks.cancelled());
        let left = Arc::clone(&registry);
        tasks.spawn("sessions", async move {
            tokio::select! {
                () = cancelled => {}
                () = task.run(inputs) => {}
            }
            // Those that still run end without it.
            lock(&left).table.handles_mut().for_each(|handle| handle.close = None);
        });
        Self { input, registry }
    }

    /// A message of a viewer.
    pub async fn message(&self, viewer: Id, session: Id, kind: UpKind) {
        self.put(SessionInput::Message { key: SessionKey { viewer, session }, kind }).await;
    }

    /// A message of a viewer that speaks HTTP; what the session has to say goes to `replies`, which is dropped with it.
    pub async fn whep(&self, key: SessionKey, message: WhepMessage, replies: Arc<dyn Replies>) {
        self.put(SessionInput::Whep { key, message, replies }).await;
    }

    /// A message of a viewer was refused before it got here: told and counted as all refusals are.
    pub async fn refuse(&self, viewer: Id, session: Id, refusal: Refusal) {
        self.put(SessionInput::Refused { key: SessionKey { viewer, session }, refusal }).await;
    }

    /// Turns the privacy switch.
    pub async fn set_streaming(&self, on: bool) {
        self.put(SessionInput::Streaming(on)).await;
    }

    /// Sets the cap. Sessions beyond a lower one go on.
    pub fn set_max_viewers(&self, max_viewers: usize) {
        lock(&self.registry).table.set_limits(Limits { max_viewers });
    }

    /// Tells the time on the wall, and other grants if they changed. Sessions whose grant is gone end.
    pub async fn set_access(&self, clock: Clock, grants: Option<Vec<Grant>>) {
        self.put(SessionInput::Access { clock, grants }).await;
    }

    /// Ends the sessions of `viewer`, those called `session`, or all.
    pub async fn close(&self, viewer: Option<Id>, session: Option<Id>) {
        self.put(SessionInput::Close { viewer, session }).await;
    }

    /// Resolves when the table's task has answered, or is gone. Whether it has answered.
    pub async fn ping(&self) -> bool {
        let (done, answered) = oneshot::channel();
        self.put(SessionInput::Ping { done }).await;
        answered.await.is_ok()
    }

    /// Ends all sessions and resolves when the last is gone.
    pub async fn shutdown(&self) {
        let (done, gone) = oneshot::channel();
        self.put(SessionInput::Shutdown { done }).await;
        let _ = gone.await;
    }

    /// The sessions there are now.
    pub fn live(&self) -> Vec<Arc<SessionStats>> {
        lock(&self.registry).table.handles().map(|handle| Arc::clone(&handle.live)).collect()
    }

    /// Sums since the start.
    pub fn totals(&self) -> Totals {
        let registry = lock(&self.registry);
        registry.totals.with(registry.table.handles().map(|handle| &handle.live))
    }

    /// The cap.
    pub fn max_viewers(&self) -> usize {
        lock(&self.registry).table.limits().max_viewers
    }

    /// Fails only while the process ends.
    async fn put(&self, input: SessionInput) {
        let _ = self.input.send(input).await;
    }
}

/// The time on the clock that sleeps go by, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct SessionsTask {
    registry: Arc<Mutex<Registry>>,
    input: mpsc::Sender<SessionInput>,
    events: EventQueue,
    refusals: Refusals,
    parts: SessionParts,
}

impl SessionsTask {
    async fn run(mut self, mut inputs: mpsc::Receiver<SessionInput>) {
        let (mut is_draining, mut leaving) = (false, Vec::<oneshot::Sender<()>>::new());
        loop {
            let expiry = lock(&self.registry).table.next_expiry();
            let sums = self.refusals.due();
            let mut replies = Arc::clone(&self.parts.replies);
            let actions = tokio::select! {
                input = inputs.recv() => match input {
                    Some(SessionInput::Shutdown { done }) => {
                        is_draining = true;
                        leaving.push(done);
                        lock(&self.registry).table.close_where(&EndReason::Shutdown, |_| true)
                    }
                    // Nothing new starts while the last sessions end.
                    Some(SessionInput::Message { .. } | SessionInput::Whep { .. } | SessionInput::Refused { .. }) if is_draining => Vec::new(),
                    Some(SessionInput::Whep { key, message, replies: own }) => {
                        replies = own;
                        let camera = self.camera();
                        lock(&self.registry).table.whep(now(), key, message, &camera)
                    }
                    Some(SessionInput::Ended { number, reason }) => {
                        self.ended(number, reason);
                        Vec::new()
                    }
                    Some(input) => self.input(input),
                    // Not while this holds one of its senders.
                    None => return,
                },
                () = sleep_until(expiry.unwrap_or_else(now).into()), if expiry.is_some() => {
                    lock(&self.registry).table.expire(now())
                }
                () = sleep_until(sums.unwrap_or_else(now).into()), if sums.is_some() => {
                    self.sum_up_refusals();
                    Vec::new()
                }
                () = self.events.hand_on(), if self.events.is_waiting() => Vec::new(),
            };
            if let Some(used) = lock(&self.registry).table.take_used() {
                (self.parts.keep_used)(used);
            }
            for action in actions {
                self.act(action, &replies);
            }
            if is_draining && lock(&self.registry).table.is_empty() {
                self.sum_up_refusals();
                // Whoever asked may have stopped waiting.
                for done in leaving.drain(..) {
                    let _ = done.send(());
                }
            }
        }
    }

    /// A copy, taken while no lock is held: a reader of the status waits for its writer, and the writer for readers that may
    /// be waiting for the registry.
    fn camera(&self) -> MediaStatus {
        self.parts.media.borrow().clone()
    }

    fn input(&self, input: SessionInput) -> Vec<SessionAction> {
        let camera = self.camera();
        let table = &mut lock(&self.registry).table;
        match input {
            SessionInput::Access { clock, grants } => table.set_access(clock, grants),
            SessionInput::Message { key, kind } => table.message(now(), key, kind, &camera),
            SessionInput::Streaming(on) => table.set_streaming(on),
            SessionInput::Close { viewer, session } => table.close_where(&EndReason::Requested, |key| {
                viewer.as_ref().is_none_or(|viewer| *viewer == key.viewer)
                    && session.as_ref().is_none_or(|session| *session == key.session)
            }),
            SessionInput::Connected { number } => table.connected(number),
            SessionInput::Refused { key, refusal } => {
                vec![SessionAction::Refuse { key, claimed: None, refusal }]
            }
            SessionInput::Ping { done } => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
                Vec::new()
            }
            // Handled where they came in.
            SessionInput::Ended { .. } | SessionInput::Whep { .. } | SessionInput::Shutdown { .. } => {
                Vec::new()
            }
        }
    }

    /// Carries out; what the sender is to hear at once goes to `replies`.
    fn act(&mut self, action: SessionAction, replies: &Arc<dyn Replies>) {
        match action {
            SessionAction::Start { number, key, offer, pending, grant } => {
                let shown = grant.as_ref().map_or("(open access)", Id::as_str);
                tracing::info!(viewer = %key.viewer, session = %key.session, grant = shown, "session granted");
                let live = SessionStats::new(key.viewer.clone(), key.session.clone(), number, grant.clone());
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
        let outbox = SessionOutbox::new(replies);
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

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
