//! What comes to the task of the sessions, and what watches over each of them for it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::key::{Generation, Key};
use super::web::WebMessage;
use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::peer::{EndReason, Replies};
use crate::signaling::message::{Refusal, UpKind};
use crate::signaling::topic::Id;

/// What the task does one after the other.
pub(super) enum Input {
    Message {
        key: Key,
        kind: UpKind,
    },
    Web {
        key: Key,
        message: WebMessage,
        replies: Arc<dyn Replies>,
    },
    /// Something that was no message at all.
    Refused {
        key: Key,
        refusal: Refusal,
    },
    Streaming(bool),
    Close {
        viewer: Option<Id>,
        session: Option<Id>,
    },
    Connected {
        generation: Generation,
    },
    Ended {
        generation: Generation,
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

/// Runs a session and tells the table of it. A panic in it ends it, and nothing else.
pub(super) async fn watch_over(
    session: impl Future<Output = EndReason>,
    connected: oneshot::Receiver<()>,
    generation: Generation,
    input: mpsc::Sender<Input>,
) {
    let tell = async {
        if connected.await.is_ok() {
            let _ = input.send(Input::Connected { generation }).await;
        }
    };
    let (outcome, ()) = tokio::join!(AssertUnwindSafe(session).catch_unwind(), tell);
    let reason = outcome.as_ref().map_or_else(|_| EndReason::failed(), EndReason::clone);
    let _ = input.send(Input::Ended { generation, reason }).await;
    if let Err(panic) = outcome {
        // For whoever counts them.
        resume_unwind(panic);
    }
}
