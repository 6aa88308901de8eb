//! What sessions ask of the driver's thread, and what a connection reports to its session.

use tokio::sync::oneshot;

use super::peer::NewPeer;
use crate::peer::PeerError;
use crate::peer::net::demux::Owner;
use crate::peer::stats::PathStats;
use crate::signaling::message::Candidate;

/// What becomes of a connection.
#[derive(Debug)]
pub(in crate::peer) enum PeerEvent {
    /// One of our candidates.
    Candidate(Candidate),
    /// All of our candidates are known.
    GatheringComplete,
    /// ICE and DTLS have come about. Media begins by itself.
    Connected,
    /// It failed, or the viewer closed it.
    Ended,
    /// What sends its media has failed inside the device.
    SenderFailed,
}

/// What the thread is asked.
pub(super) enum Command {
    /// Have sockets for one more connection.
    Bind(oneshot::Sender<Result<(), PeerError>>),
    /// Take a connection.
    Open(Owner, Box<NewPeer>),
    /// Answer an offer.
    Answer(Owner, String, oneshot::Sender<Result<String, PeerError>>),
    /// Gather candidates without a viewer.
    Offer(Owner, oneshot::Sender<Result<(), PeerError>>),
    /// Take a candidate of the viewer.
    Candidate(Owner, Candidate),
    /// Tell the selected path.
    Path(Owner, oneshot::Sender<Option<PathStats>>),
    /// End a connection.
    Close(Owner, oneshot::Sender<()>),
    /// Fail inside a connection.
    #[cfg(test)]
    Panic(Owner),
    /// Tell how many connections there are.
    #[cfg(test)]
    Count(oneshot::Sender<usize>),
}
