//! An offer between its request and the session's answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::resource::{Exchange, Mailbox};
use crate::access::proof::NoRandom;
use crate::base::tasks::TaskGroup;
use crate::http::problem::Problem;
use crate::peer::Replies;
use crate::sessions::Sessions;
use crate::sessions::table::{SessionKey, WhepMessage, WhepOffer};
use crate::signaling::message::{Down, ErrorCode, IceServer, Refusal};
use crate::signaling::topic::Id;

/// Longer than the capture side's start and the gathering of candidates may take together.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// An offer that waits for its answer.
pub(super) struct PendingOffer<'a> {
    pub sessions: &'a Sessions,
    /// Where the session is ended that the request does not wait for.
    pub tasks: &'a TaskGroup,
    pub key: &'a SessionKey,
    /// Whether the session ends with this: because it was refused, or because the player hung up meanwhile.
    pub ends: bool,
}

impl PendingOffer<'_> {
    /// The answer and the servers that come with it.
    pub async fn answer(
        mut self,
        offer: WhepOffer,
        mailbox: Arc<Mailbox>,
        exchange: &mut Exchange,
    ) -> Result<(String, Vec<IceServer>), Problem> {
        // It moves into the table, so that the inbox closes with the session.
        self.sessions.whep(self.key.clone(), WhepMessage::Offer(offer), mailbox).await;
        let late = || Refusal::new(ErrorCode::Internal, "the device made no answer in time; try again");
        let said = timeout(ANSWER_LIMIT, exchange.inbox.recv()).await.map_err(|_| late())?;
        match said {
            Some(Down::Answer { sdp, ice_servers, .. }) => {
                self.ends = false;
                Ok((sdp, ice_servers))
            }
            Some(Down::Error(refusal)) => Err(refusal.into()),
            Some(Down::Bye { reason }) => Err(Refusal::new(ErrorCode::NoSession, reason).into()),
            Some(Down::Candidate(_)) | None => {
                Err(Refusal::new(ErrorCode::CameraUnavailable, "the device stops").into())
            }
        }
    }
}

impl Drop for PendingOffer<'_> {
    fn drop(&mut self) {
        if !self.ends {
            return;
        }
        let (sessions, key) = (self.sessions.clone(), self.key.clone());
        self.tasks.spawn_finite("whep end", async move {
            sessions.whep(key, WhepMessage::Bye, Arc::new(Nobody)).await;
        });
    }
}

/// Hears what nobody waits for.
struct Nobody;

impl Replies for Nobody {
    fn send(&self, _: &Id, _: &Id, _: Down) {}
}

pub(super) fn gone() -> Problem {
    Refusal::new(ErrorCode::NoSession, "there is no such session, or it has ended; POST a new offer").into()
}

pub(super) fn no_random(error: NoRandom) -> Problem {
    Refusal::new(ErrorCode::Internal, error.to_string()).into()
}
