//! What can be wrong with the daemon, in words.

use crate::base::tasks::EndedEarly;

/// A part of the daemon that does not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ailment {
    /// A task is gone: nothing brings it back but a restart.
    #[error(transparent)]
    Task(#[from] EndedEarly),
    /// A task does not come back.
    #[error("the task \"{0}\" is stuck and holds its thread")]
    Held(&'static str),
    /// The task with the table of sessions.
    #[error("the task of the sessions does not answer")]
    Sessions,
    /// The task that routes messages.
    #[error("the task that routes MQTT messages does not answer")]
    Gateway,
    /// The thread of the viewers' connections.
    #[error("the thread of the viewers' connections does not answer")]
    Peers,
    /// The task of the broker connection.
    #[error("the task of the broker connection stands still")]
    BrokerConnection,
    /// The capture thread.
    #[error("the camera's thread does not answer: a driver hangs")]
    Camera,
    /// Live without pictures.
    #[error("the camera is live, but no picture comes")]
    Pictures,
}
