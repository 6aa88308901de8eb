//! What the sessions need from the rest of the house.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::events::SessionEvent;
use crate::base::tasks::TaskGroup;
use crate::media::MediaStatus;
use crate::peer::{Factory, Replies, Signer};
use crate::stream::Fanout;

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
