//! What a connection reports to its session.

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
    Failed,
}
