//! What sessions ask of the driver's thread.

use tokio::sync::oneshot;

use super::new_peer::NewPeer;
use crate::peer::connect::negotiation::Negotiation;
use crate::peer::error::PeerError;
use crate::peer::net::demux::PeerId;
use crate::peer::stats::PathStats;
use crate::signaling::message::Candidate;

/// What the thread is asked.
pub(in crate::peer) enum DriverCommand {
    /// Answer, as a sign of life.
    Ping(oneshot::Sender<()>),
    /// Have sockets for one more connection.
    Bind(oneshot::Sender<Result<(), PeerError>>),
    /// Take a connection.
    Open(PeerId, Box<NewPeer>),
    /// Answer an offer; `true`: all of our candidates are to be in the answer.
    Answer(PeerId, Box<Negotiation>, bool, oneshot::Sender<Result<String, PeerError>>),
    /// Gather candidates without a viewer.
    Offer(PeerId, oneshot::Sender<Result<(), PeerError>>),
    /// Take a candidate of the viewer.
    Candidate(PeerId, Candidate),
    /// Send what waits for a viewer's data channel.
    Channel(PeerId),
    /// Tell the selected path.
    Path(PeerId, oneshot::Sender<Option<PathStats>>),
    /// End a connection.
    Close(PeerId, oneshot::Sender<()>),
    /// Have the next use of a connection fail inside.
    #[cfg(test)]
    Break(PeerId),
    /// Tell how many connections there are.
    #[cfg(test)]
    Count(oneshot::Sender<usize>),
}
