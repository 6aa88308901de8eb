//! What comes to the task of the sessions, and what watches over each of them for it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::proven_offer::ProvenOffer;
use super::session_key::{SessionKey, SessionNumber};
use super::whep::WhepMessage;
use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::peer::offer::SdpReading;
use crate::peer::{EndReason, Replies};
use crate::signaling::message::{Refusal, UpKind};
use crate::signaling::topic::Id;

/// What the task does one after the other.
pub(super) enum SessionInput {
    Message {
        key: SessionKey,
        kind: UpKind,
    },
    Whep {
        key: SessionKey,
        message: WhepMessage,
        replies: Arc<dyn Replies>,
    },
    /// The SDP of an offer was read.
    OfferRead {
        proven: Box<ProvenOffer>,
        reading: Result<SdpReading, Refusal>,
        /// Who hears what comes of it.
        replies: Arc<dyn Replies>,
    },
    /// Something that was no message at all.
    Refused {
        key: SessionKey,
        refusal: Refusal,
    },
    /// The same, of which the viewer has been told.
    RefusalTold {
        key: SessionKey,
        claimed: Option<String>,
        refusal: Refusal,
    },
    Streaming(bool),
    Close {
        viewer: Option<Id>,
        session: Option<Id>,
    },
    Connected {
        number: SessionNumber,
    },
    Ended {
        number: SessionNumber,
        reason: EndReason,
    },
    Access {
        clock: Clock,
        grants: Option<Vec<Grant>>,
    },
    Ping {
        done: oneshot::Sender<()>,
    },
    Shutdown {
        done: oneshot::Sender<()>,
    },
}

impl SessionInput {
    /// Whether a viewer may have caused it and nothing but that.
    pub fn is_from_outside(&self) -> bool {
        matches!(
            self,
            Self::Message { .. }
                | Self::Whep { .. }
                | Self::OfferRead { .. }
                | Self::Refused { .. }
                | Self::RefusalTold { .. }
        )
    }
}

/// Runs a session and tells the table of it. A panic in it ends it, and nothing else.
pub(super) async fn watch_over(
    session: impl Future<Output = EndReason>,
    connected: oneshot::Receiver<()>,
    number: SessionNumber,
    input: mpsc::Sender<SessionInput>,
) {
    let tell = async {
        if connected.await.is_ok() {
            let _ = input.send(SessionInput::Connected { number }).await;
        }
    };
    let (outcome, ()) = tokio::join!(AssertUnwindSafe(session).catch_unwind(), tell);
    let reason = outcome.as_ref().map_or_else(|_| EndReason::failed(), EndReason::clone);
    let _ = input.send(SessionInput::Ended { number, reason }).await;
    if let Err(panic) = outcome {
        // For whoever counts them.
        resume_unwind(panic);
    }
}
