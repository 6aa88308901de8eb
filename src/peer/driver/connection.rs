//! One viewer's connection as its session sees it: it answers offers, takes candidates, tells what happens.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::command::DriverCommand;
use super::event::PeerEvent;
use crate::peer::connect::answer::with_candidates;
use crate::peer::connect::negotiation::Negotiation;
use crate::peer::error::PeerError;
use crate::peer::net::demux::PeerId;
use crate::peer::stats::PathStats;
use crate::signaling::message::Candidate;

/// How long an `"ice":"full"` answer may wait for STUN and TURN servers: one that is there answers in two round trips, and the first
/// repeat of a request (0.5 s, RFC 8489 section 6.2.1) has its chance.
const GATHER_LIMIT: Duration = Duration::from_secs(1);

/// A session's end of its connection, which is closed when this is dropped.
pub(in crate::peer) struct Connection {
    peer_id: PeerId,
    commands: mpsc::Sender<DriverCommand>,
    events: mpsc::Receiver<PeerEvent>,
    /// What happened while candidates were gathered.
    held: VecDeque<PeerEvent>,
}

impl Connection {
    pub(super) fn new(
        peer_id: PeerId,
        commands: mpsc::Sender<DriverCommand>,
        events: mpsc::Receiver<PeerEvent>,
    ) -> Self {
        Self { peer_id, commands, events, held: VecDeque::new() }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> DriverCommand,
    ) -> Result<T, PeerError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| PeerError::Gone)?;
        answer.await.map_err(|_| PeerError::Gone)
    }

    /// The answer to the offer behind `negotiation`, the first one or a later one of the same browser-side connection; with all of our candidates
    /// in it if it is to be `full`. May be dropped at any time if the connection is closed then.
    ///
    /// # Errors
    /// The offer cannot be used.
    pub async fn answer(&mut self, negotiation: Negotiation, full: bool) -> Result<String, PeerError> {
        let negotiation = Box::new(negotiation);
        let answer =
            self.ask(|reply| DriverCommand::Answer(self.peer_id, negotiation, full, reply)).await??;
        Ok(if full { with_candidates(&answer, &self.gathered().await) } else { answer })
    }

    /// All of our candidates, or those that came within [`GATHER_LIMIT`]: a server that cannot be reached must not keep a viewer
    /// of the local network waiting.
    async fn gathered(&mut self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let collect = async {
            while let Some(event) = self.events.recv().await {
                match event {
                    PeerEvent::Candidate(candidate) => candidates.push(candidate),
                    PeerEvent::GatheringComplete => break,
                    // Of an earlier answer's connection.
                    other => self.held.push_back(other),
                }
            }
        };
        let _ = timeout(GATHER_LIMIT, collect).await;
        candidates
    }

    /// Gathers candidates without a viewer.
    pub async fn offer(&self) -> Result<(), PeerError> {
        self.ask(|reply| DriverCommand::Offer(self.peer_id, reply)).await?
    }

    /// Takes a candidate of the viewer.
    pub async fn add_candidate(&self, candidate: Candidate) {
        // When the thread is gone, so is everything else.
        let _ = self.commands.send(DriverCommand::Candidate(self.peer_id, candidate)).await;
    }

    /// What happens next; `None` when nothing more can. Nothing is lost when this is dropped.
    pub async fn next_event(&mut self) -> Option<PeerEvent> {
        match self.held.pop_front() {
            Some(event) => Some(event),
            None => self.events.recv().await,
        }
    }

    /// The path that ICE has chosen, and what is known of it.
    pub async fn path(&self) -> Option<PathStats> {
        self.ask(|reply| DriverCommand::Path(self.peer_id, reply)).await.ok().flatten()
    }

    /// Its next use fails inside.
    #[cfg(test)]
    pub async fn break_it(&self) {
        let _ = self.commands.send(DriverCommand::Break(self.peer_id)).await;
    }

    /// Ends it: the viewer is told, and nothing is left.
    pub async fn close(self) {
        let _ = self.ask(|reply| DriverCommand::Close(self.peer_id, reply)).await;
    }
}
