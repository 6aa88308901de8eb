//! The table of sessions: cap, expiry, routing. The one place where control plane and data plane meet.
//!
//! [`table`] decides, this file carries out: it starts and ends the sessions' tasks and passes
//! messages on. It never waits for a session, so one stuck viewer cannot hold up the others.

pub mod rate;
pub mod stages;
pub mod table;
pub mod totals;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tracing::Instrument;

use crate::access::clock::Clock;
use crate::access::gate::Gate;
use crate::access::grant::Grant;
use crate::access::proof::Nonce;
use crate::media::MediaStatus;
use crate::peer::{self, Command, EndReason, Factory, Live, NewSession, Replies, Signer};
use crate::signaling::message::{Down, ErrorCode, Refusal, UpKind};
use crate::signaling::topic::Id;
use crate::stream::Fanout;
use table::{Action, Generation, Key, Limits, Table, WebMessage};
use totals::{Registry, Totals};

/// Messages that may wait for the table. Beyond it whoever feeds it waits, which is the broker.
const INPUT_QUEUE: usize = 256;
/// Messages that may wait for one session; candidates beyond it are dropped.
const COMMAND_QUEUE: usize = 64;

/// What happened to sessions, for the `event` topic and the logs.
#[derive(Debug)]
pub enum SessionEvent {
    /// A session began.
    Started {
        /// Whose.
        key: Key,
        /// The grant it came in with.
        grant: Option<Id>,
    },
    /// A session ended.
    Ended {
        /// Whose.
        key: Key,
        /// The grant it had come in with.
        grant: Option<Id>,
        /// The viewer's address, where it was seen.
        address: Option<String>,
        /// Why.
        reason: EndReason,
    },
    /// Somebody was told no.
    Refused {
        /// Whom.
        key: Key,
        /// The grant that the offer named, whoever sent it.
        claimed: Option<String>,
        /// Why.
        refusal: Refusal,
    },
}

/// What everything outside may ask of the sessions.
#[derive(Clone)]
pub struct Sessions {
    input: mpsc::Sender<Input>,
    registry: Shared,
    max_viewers: Arc<AtomicUsize>,
}

/// The sessions that there are and were, for whoever describes them.
type Shared = Arc<Mutex<Registry>>;

enum Input {
    Message { key: Key, kind: UpKind },
    Web { key: Key, message: WebMessage, replies: Arc<dyn Replies> },
    Streaming(bool),
    Close { viewer: Option<Id>, session: Option<Id> },
    Ended { key: Key, generation: Generation, reason: EndReason },
    MaxViewers(usize),
    Access { clock: Clock, grants: Option<Vec<Grant>> },
    Ping { done: oneshot::Sender<()> },
    Shutdown { done: oneshot::Sender<()> },
}

/// Everything the sessions need from the rest of the house.
pub struct Parts {
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
    /// Where events go; one that does not fit is dropped.
    pub events: mpsc::Sender<SessionEvent>,
}

impl Sessions {
    /// Starts the task that owns the table; `gate` decides over offers.
    pub fn spawn(parts: Parts, gate: Gate) -> Self {
        let (input, inputs) = mpsc::channel(INPUT_QUEUE);
        let registry = Shared::default();
        let max_viewers = Arc::new(AtomicUsize::new(parts.max_viewers));
        let limits = Limits { max_viewers: parts.max_viewers };
        let owner = Owner {
            table: Table::new(limits, parts.streaming, gate, Clock::read()),
            running: HashMap::new(),
            registry: Arc::clone(&registry),
            input: input.clone(),
            parts,
        };
        tokio::spawn(owner.run(inputs));
        Self { input, registry, max_viewers }
    }

    /// A message of a viewer.
    pub async fn message(&self, viewer: Id, session: Id, kind: UpKind) {
        self.put(Input::Message { key: Key { viewer, session }, kind }).await;
    }

    /// A message of a viewer that speaks HTTP; what the session has to say goes to `replies`, which is dropped with it.
    pub async fn web(&self, key: Key, message: WebMessage, replies: Arc<dyn Replies>) {
        self.put(Input::Web { key, message, replies }).await;
    }

    /// Turns the privacy switch.
    pub async fn set_streaming(&self, on: bool) {
        self.put(Input::Streaming(on)).await;
    }

    /// Sets the cap. Sessions beyond a lower one go on.
    pub async fn set_max_viewers(&self, max_viewers: usize) {
        self.max_viewers.store(max_viewers, Ordering::Relaxed);
        self.put(Input::MaxViewers(max_viewers)).await;
    }

    /// Tells the time on the wall, and other grants if they changed. Sessions whose grant is gone end.
    pub async fn set_access(&self, clock: Clock, grants: Option<Vec<Grant>>) {
        self.put(Input::Access { clock, grants }).await;
    }

    /// Ends the sessions of `viewer`, those called `session`, or all.
    pub async fn close(&self, viewer: Option<Id>, session: Option<Id>) {
        self.put(Input::Close { viewer, session }).await;
    }

    /// Resolves when the table's task has answered.
    pub async fn ping(&self) {
        let (done, answered) = oneshot::channel();
        self.put(Input::Ping { done }).await;
        let _ = answered.await;
    }

    /// Ends all sessions and resolves when the last is gone.
    pub async fn shutdown(&self) {
        let (done, gone) = oneshot::channel();
        self.put(Input::Shutdown { done }).await;
        let _ = gone.await;
    }

    /// The sessions there are now.
    pub fn live(&self) -> Vec<Arc<Live>> {
        lock(&self.registry).live.clone()
    }

    /// Sums since the start.
    pub fn totals(&self) -> Totals {
        lock(&self.registry).totals()
    }

    /// The cap.
    pub fn max_viewers(&self) -> usize {
        self.max_viewers.load(Ordering::Relaxed)
    }

    /// Fails only while the process ends.
    async fn put(&self, input: Input) {
        let _ = self.input.send(input).await;
    }
}

fn lock(registry: &Shared) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Running {
    replies: Arc<dyn Replies>,
    commands: mpsc::Sender<Command>,
    close: Option<oneshot::Sender<EndReason>>,
}

/// An offer that was accepted.
struct Offer {
    sdp: String,
    full_ice: bool,
    nonce: Option<Nonce>,
}

struct Owner {
    table: Table,
    running: HashMap<Key, Running>,
    registry: Shared,
    input: mpsc::Sender<Input>,
    parts: Parts,
}

impl Owner {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut leaving: Option<oneshot::Sender<()>> = None;
        loop {
            let expiry = self.table.next_expiry();
            let mut replies = Arc::clone(&self.parts.replies);
            let actions = tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Shutdown { done }) => {
                        leaving = Some(done);
                        self.table.close_where(&EndReason::Shutdown, |_| true)
                    }
                    // Nothing new starts while the last sessions end.
                    Some(Input::Message { .. } | Input::Web { .. }) if leaving.is_some() => Vec::new(),
                    Some(Input::Web { key, message, replies: own }) => {
                        replies = own;
                        self.table.web(Instant::now(), key, message, &self.parts.media.borrow())
                    }
                    Some(input) => self.input(input),
                    None => return,
                },
                () = sleep_until(expiry.unwrap_or_else(Instant::now).into()), if expiry.is_some() => {
                    self.table.expire(Instant::now())
                }
            };
            for action in actions {
                self.act(action, &replies);
            }
            if lock(&self.registry).live.is_empty()
                && let Some(done) = leaving.take()
            {
                let _ = done.send(());
                return;
            }
        }
    }

    fn input(&mut self, input: Input) -> Vec<Action> {
        match input {
            Input::MaxViewers(max_viewers) => {
                self.table.set_limits(Limits { max_viewers });
                Vec::new()
            }
            Input::Ping { done } => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
                Vec::new()
            }
            Input::Access { clock, grants } => self.table.set_access(clock, grants),
            Input::Message { key, kind } => {
                self.note_connections(&key.viewer);
                self.table.message(Instant::now(), key, kind, &self.parts.media.borrow())
            }
            Input::Streaming(on) => self.table.set_streaming(on),
            Input::Close { viewer, session } => self.table.close_where(&EndReason::Requested, |key| {
                viewer.as_ref().is_none_or(|viewer| *viewer == key.viewer)
                    && session.as_ref().is_none_or(|session| *session == key.session)
            }),
            Input::Ended { key, generation, reason } => {
                self.ended(&key, generation, reason);
                Vec::new()
            }
            // Handled where they came in.
            Input::Web { .. } | Input::Shutdown { .. } => Vec::new(),
        }
    }

    /// What the table has to know of the viewer's other connections.
    fn note_connections(&mut self, viewer: &Id) {
        for live in lock(&self.registry).live.iter().filter(|live| live.viewer == *viewer) {
            if live.connected.load(Ordering::Relaxed) {
                let key = Key { viewer: live.viewer.clone(), session: live.session.clone() };
                self.table.connected(&key, live.generation);
            }
        }
    }

    /// Carries out; what the sender is to hear at once goes to `replies`.
    fn act(&mut self, action: Action, replies: &Arc<dyn Replies>) {
        match action {
            Action::Start { key, generation, sdp, full_ice, early, grant, nonce } => {
                let shown = grant.as_ref().map_or("(open access)", Id::as_str);
                tracing::info!(viewer = %key.viewer, session = %key.session, grant = shown, "session granted");
                let live = Live::new(key.viewer.clone(), key.session.clone(), generation, grant.clone());
                let offer = Offer { sdp, full_ice, nonce };
                let commands = self.start(&key, Arc::new(live), offer, Arc::clone(replies));
                for candidate in early {
                    let _ = commands.try_send(Command::Candidate(candidate));
                }
                self.event(SessionEvent::Started { key, grant });
            }
            Action::Renegotiate { key, sdp, full_ice, nonce } => {
                self.command(&key, Command::Offer { sdp, full_ice, nonce });
            }
            Action::Candidate { key, candidate } => self.command(&key, Command::Candidate(candidate)),
            Action::Close { key, reason } => {
                if let Some(close) = self.running.get_mut(&key).and_then(|running| running.close.take()) {
                    let _ = close.send(reason);
                }
            }
            Action::Refuse { key, claimed, refusal } => self.refuse(key, claimed, refusal, replies),
        }
    }

    fn start(
        &mut self,
        key: &Key,
        live: Arc<Live>,
        offer: Offer,
        replies: Arc<dyn Replies>,
    ) -> mpsc::Sender<Command> {
        let generation = live.generation;
        let Offer { sdp, full_ice, nonce } = offer;
        let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
        let (close, closed) = oneshot::channel();
        lock(&self.registry).begin(Arc::clone(&live));
        let running =
            Running { replies: Arc::clone(&replies), commands: commands.clone(), close: Some(close) };
        self.running.insert(key.clone(), running);
        let new = NewSession {
            sdp,
            full_ice,
            nonce,
            signer: self.parts.signer.clone(),
            live,
            commands: command_queue,
            closed,
            replies,
            factory: Arc::clone(&self.parts.factory),
            fanout: self.parts.fanout.clone(),
            media: self.parts.media.clone(),
        };
        let span = tracing::info_span!("session", viewer = %key.viewer, session = %key.session);
        let task = tokio::spawn(peer::run(new).instrument(span));
        let (key, input) = (key.clone(), self.input.clone());
        tokio::spawn(async move {
            // A panic inside a library ends that session, not the daemon.
            let reason = task.await.unwrap_or_else(|_| {
                let text = "the session failed inside the device; try again";
                EndReason::Refused(Refusal::new(ErrorCode::Internal, text).retry_after(5))
            });
            let _ = input.send(Input::Ended { key, generation, reason }).await;
        });
        commands
    }

    fn command(&self, key: &Key, command: Command) {
        // A full queue means that the viewer sends faster than its own session reads: its loss.
        if let Some(running) = self.running.get(key) {
            let _ = running.commands.try_send(command);
        }
    }

    fn ended(&mut self, key: &Key, generation: Generation, reason: EndReason) {
        let ended = lock(&self.registry).end(generation);
        let grant = ended.as_ref().and_then(|live| live.grant.clone());
        let address = ended.and_then(|live| live.path()).and_then(|path| path.remote);
        let current = self.table.ended(key, generation);
        let mut replies = Arc::clone(&self.parts.replies);
        if current && let Some(running) = self.running.remove(key) {
            replies = running.replies;
        }
        match &reason {
            EndReason::Refused(refusal) => {
                let grant = grant.map(|grant| grant.to_string());
                self.refuse(key.clone(), grant, refusal.clone(), &replies);
                return;
            }
            EndReason::ViewerLeft(_) | EndReason::Replaced => {}
            // A successor of the same name would take the `bye` for its own.
            _ if !current => {}
            _ => replies.send(&key.viewer, &key.session, Down::Bye { reason: reason.text() }),
        }
        let shown = grant.as_ref().map_or("(open access)", Id::as_str);
        let from = address.as_deref().unwrap_or("(not seen)");
        tracing::info!(viewer = %key.viewer, session = %key.session, grant = shown, from, reason = reason.text(), "session ended");
        self.event(SessionEvent::Ended { key: key.clone(), grant, address, reason });
    }

    fn refuse(&self, key: Key, claimed: Option<String>, refusal: Refusal, replies: &Arc<dyn Replies>) {
        let grant = claimed.as_deref().unwrap_or("(none named)");
        tracing::info!(viewer = %key.viewer, session = %key.session, ?grant, %refusal, "refused");
        lock(&self.registry).refuse(refusal.code);
        replies.send(&key.viewer, &key.session, Down::Error(refusal.clone()));
        self.event(SessionEvent::Refused { key, claimed, refusal });
    }

    fn event(&self, event: SessionEvent) {
        let _ = self.parts.events.try_send(event);
    }
}
