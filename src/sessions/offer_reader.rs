//! Reads offers apart from the task that serves everybody, a few at a time.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::input::SessionInput;
use super::proven_offer::ProvenOffer;
use crate::base::tasks::{TaskGroup, blocking};
use crate::peer::Replies;
use crate::peer::offer::SdpReading;
use crate::signaling::message::{ErrorCode, Refusal};

/// Offers that are read at the same time.
const AT_ONCE: usize = 4;
/// Reading the longest offer takes about a millisecond.
const LIMIT: Duration = Duration::from_secs(5);

/// What reads an SDP; tests have a slow one.
pub(super) type ReadSdp = Arc<dyn Fn(&str) -> Result<SdpReading, Refusal> + Send + Sync>;

/// Has offers read.
pub(super) struct OfferReader {
    read: ReadSdp,
    turns: Arc<Semaphore>,
    tasks: TaskGroup,
    /// Where it tells what was read.
    input: mpsc::Sender<SessionInput>,
}

impl OfferReader {
    /// Reads by `read`, in `tasks`, and tells `input`.
    pub fn new(read: ReadSdp, tasks: TaskGroup, input: mpsc::Sender<SessionInput>) -> Self {
        Self { read, turns: Arc::new(Semaphore::new(AT_ONCE)), tasks, input }
    }

    /// Has `proven` read and told as [`SessionInput::OfferRead`], whatever becomes of it; `replies` go along. Does not wait.
    pub fn read(&self, proven: Box<ProvenOffer>, replies: Arc<dyn Replies>) {
        let (read, turns, input) = (Arc::clone(&self.read), Arc::clone(&self.turns), self.input.clone());
        let (cancelled, sdp) = (self.tasks.cancelled(), proven.offer.sdp.clone());
        self.tasks.spawn_finite("offer", async move {
            let reading = async {
                let Ok(turn) = turns.acquire_owned().await else { return Err(failed()) };
                blocking(move || {
                    // Kept to the end, also where nobody waits for it any more.
                    let _turn = turn;
                    read(&sdp)
                })
                .await
            };
            let outcome = tokio::select! {
                () = cancelled => return,
                outcome = AssertUnwindSafe(timeout(LIMIT, reading)).catch_unwind() => outcome,
            };
            let (reading, panic) = match outcome {
                Ok(reading) => (reading.unwrap_or_else(|_| Err(late())), None),
                Err(panic) => (Err(failed()), Some(panic)),
            };
            let _ = input.send(SessionInput::OfferRead { proven, reading, replies }).await;
            if let Some(panic) = panic {
                // For whoever counts them.
                resume_unwind(panic);
            }
        });
    }
}

fn failed() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the offer could not be read; this is a fault of the device")
        .retry_after(5)
}

fn late() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the device found no time to read the offer; try again").retry_after(5)
}
