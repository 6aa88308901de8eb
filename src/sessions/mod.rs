//! The table of sessions: cap, expiry, routing. The one place where control plane and data plane meet.
//!
//! [`table`] decides, `task` carries out. It never waits for a session, nor for an offer to be read, so one stuck viewer cannot
//! hold up the others.

mod action;
mod entry;
mod events;
mod in_order;
mod input;
mod offer_limits;
mod offer_reader;
mod outbox;
mod parts;
mod pending_candidates;
mod places;
mod proven_offer;
pub mod rate;
mod refusals;
mod registry;
pub mod send_latency;
mod sender_check;
mod session_key;
pub mod table;
mod task;
pub mod totals;
mod whep;

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};

use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::access::offer_authorizer::OfferAuthorizer;
use crate::peer::offer::SdpReading;
use crate::peer::{Replies, SessionStats};
use crate::signaling::message::{Refusal, UpKind};
use crate::signaling::topic::Id;
pub use events::SessionEvent;
use input::SessionInput;
use offer_reader::ReadSdp;
pub use parts::SessionParts;
use registry::{Registry, lock};
use table::{Limits, SessionKey, Table, WhepMessage};
use task::SessionsTask;
use totals::Totals;

/// Messages that may wait for the table. Beyond it whoever feeds it waits, which is the broker.
const INPUT_QUEUE: usize = 256;

/// What everything outside may ask of the sessions.
#[derive(Clone)]
pub struct Sessions {
    input: mpsc::Sender<SessionInput>,
    registry: Arc<Mutex<Registry>>,
}

impl Sessions {
    /// Starts the task that owns the sessions; `authorizer` decides over offers.
    pub fn spawn(parts: SessionParts, authorizer: OfferAuthorizer) -> Self {
        Self::spawn_reading(parts, authorizer, Arc::new(SdpReading::of))
    }

    /// The same, with offers read by `read`.
    fn spawn_reading(parts: SessionParts, authorizer: OfferAuthorizer, read: ReadSdp) -> Self {
        let (input, inputs) = mpsc::channel(INPUT_QUEUE);
        let limits = Limits { max_viewers: parts.max_viewers };
        let table = Table::new(limits, parts.streaming, authorizer, Clock::read());
        let registry = Arc::new(Mutex::new(Registry { table, totals: Totals::default() }));
        let tasks = parts.tasks.clone();
        let task = SessionsTask::new(parts, Arc::clone(&registry), input.clone(), read);
        let (cancelled, left) = (tasks.cancelled(), Arc::clone(&registry));
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

    /// The same of a viewer that speaks HTTP and has heard it already. Does not wait: while more comes than can be counted, it is
    /// lost.
    pub fn note_refusal(&self, key: SessionKey, refusal: Refusal) {
        let _ = self.input.try_send(SessionInput::RefusalTold { key, claimed: None, refusal });
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

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
