//! By what sessions are told apart.

use crate::signaling::topic::Id;

/// One session: a viewer's, by its session id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The viewer.
    pub viewer: Id,
    /// The viewer's name for the session.
    pub session: Id,
}

/// Tells a session from all others, earlier ones of the same key too. Later ones are greater.
pub type SessionNumber = u64;
