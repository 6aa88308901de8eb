//! One viewer's peer connection as its session sees it: it answers offers, takes candidates, tells what happens, carries media.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use webrtc::error::Error;
use webrtc::peer_connection::{PeerConnection, RTCSessionDescription};

use super::answer::{with_candidates, with_first_section, with_told};
use super::factory::Told;
use super::track::Track;
use crate::base::tasks::TaskGroup;
use crate::peer::PeerError;
use crate::peer::sending::guide::Guide;
use crate::peer::sending::keys::Keys;
use crate::peer::sending::outbound::Outbound;
use crate::peer::socket::tcp_port::TcpRoute;
use crate::peer::socket::watched_socket::Heard;
use crate::signaling::message::Candidate;

/// How long an `"ice":"full"` answer may wait for STUN and TURN servers.
const GATHER_LIMIT: Duration = Duration::from_secs(5);

/// What becomes of a connection.
#[derive(Debug)]
pub(in crate::peer) enum PeerEvent {
    /// One of our candidates.
    Candidate(Candidate),
    /// All of our candidates are known.
    GatheringComplete,
    /// ICE and DTLS have come about: media can flow.
    Connected,
    /// It failed, or the viewer closed it.
    Ended,
    /// What sends its media has failed inside the device.
    SenderFailed,
}

/// One viewer's connection with its only track. Dropped without [`Connection::close`], it is closed in the background.
pub(in crate::peer) struct Connection {
    pub(super) peer: Arc<dyn PeerConnection>,
    pub(super) track: Track,
    /// What its handshake agrees on.
    pub(super) keys: Keys,
    /// Its media.
    pub(super) outbound: Arc<Outbound>,
    /// How long the viewer is asked to hold a picture, in ms.
    pub(super) playout_delay_ms: u32,
    pub(super) events: mpsc::Receiver<PeerEvent>,
    /// What happened while candidates were gathered.
    pub(super) held: VecDeque<PeerEvent>,
    /// This connection's share of the TCP port.
    pub(super) tcp: Option<TcpRoute>,
    /// How its candidates are told, and its share of the UDP port.
    pub(super) told: Told,
    /// Where the viewer's packets come from.
    pub(super) heard: Heard,
    /// Where packets are sent.
    pub(super) media: Handle,
    pub(super) tasks: TaskGroup,
    pub(super) sender: Option<Sender>,
    pub(super) is_closed: bool,
}

/// The task that sends.
pub(super) struct Sender {
    task: AbortHandle,
    /// A task that panics drops the other end without a word. `None` once it was heard.
    ended: Option<oneshot::Receiver<()>>,
}

/// What media is sent with.
pub(in crate::peer) struct MediaPath {
    pub outbound: Arc<Outbound>,
    pub guide: Guide,
    /// How long the viewer is asked to hold a picture, in ms.
    pub playout_delay_ms: u32,
}

impl Connection {
    /// The answer to `offer`, the first one or a later one of the same browser-side connection; with all of our candidates
    /// in it if it is to be `full`. May be dropped at any time if the connection is closed then.
    pub async fn answer(&mut self, offer: &str, full: bool) -> Result<String, Error> {
        self.peer.set_remote_description(RTCSessionDescription::offer(offer.to_owned())?).await?;
        let answer = self.peer.create_answer(None).await?;
        self.peer.set_local_description(answer.clone()).await?;
        let answer = with_told(&answer.sdp, |candidate| self.told.candidates(candidate));
        let answer = self.track.complete(&with_first_section(offer, &answer));
        self.told.register(&answer);
        if let Some(tcp) = &mut self.tcp {
            tcp.register(&answer);
        }
        Ok(if full { with_candidates(&answer, &self.gathered().await) } else { answer })
    }

    /// All of our candidates, or those that came within [`GATHER_LIMIT`]: an unreachable STUN
    /// server must not hold the answer back for ever.
    async fn gathered(&mut self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let collect = async {
            while let Some(event) = self.events.recv().await {
                match event {
                    PeerEvent::Candidate(candidate) => candidates.push(candidate),
                    PeerEvent::GatheringComplete => break,
                    // Of an earlier answer's connection.
                    other => self.held.push_back(other),
                }
            }
        };
        let _ = timeout(GATHER_LIMIT, collect).await;
        candidates
    }

    /// Takes one of the viewer's candidates.
    pub async fn add_candidate(&self, candidate: Candidate) {
        // Browsers also send kinds that this side does not speak (ssltcp, foreign extensions).
        if let Err(error) = self.peer.add_ice_candidate(candidate.into()).await {
            tracing::debug!(%error, "a candidate of the viewer was not usable");
        }
    }

    /// What happens next; `None` when nothing more can. Nothing is lost when this is dropped.
    pub async fn next_event(&mut self) -> Option<PeerEvent> {
        if let Some(event) = self.held.pop_front() {
            return Some(event);
        }
        let Self { events, sender, .. } = self;
        tokio::select! {
            event = events.recv() => event,
            () = failed(sender) => Some(PeerEvent::SenderFailed),
        }
    }

    /// Begins its media, once it is connected.
    pub async fn start_media(&self) -> Result<MediaPath, PeerError> {
        let (negotiated, keys) = (self.track.negotiated().await, self.keys.agreed());
        let (negotiated, keys) = negotiated.zip(keys).ok_or(PeerError::NoKeys)?;
        self.outbound.start(&negotiated, &keys)?;
        Ok(MediaPath {
            outbound: Arc::clone(&self.outbound),
            guide: self.track.guide(negotiated.payload_type),
            playout_delay_ms: self.playout_delay_ms,
        })
    }

    /// Runs `sender` where packets are sent, until the connection is closed.
    pub fn send_with(&mut self, sender: impl Future<Output = ()> + Send + 'static) {
        let (done, ended) = oneshot::channel();
        let task = self.tasks.spawn_finite_on(&self.media, "sender", async move {
            sender.await;
            // The connection may be gone.
            let _ = done.send(());
        });
        self.stop_sending();
        self.sender = Some(Sender { task: task.abort_handle(), ended: Some(ended) });
    }

    /// Whether media is being sent.
    pub fn is_sending(&self) -> bool {
        self.sender.is_some()
    }

    fn stop_sending(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.task.abort();
        }
    }

    /// Ends it.
    pub async fn close(mut self) {
        self.stop_sending();
        if let Err(error) = self.peer.close().await {
            tracing::debug!(%error, "closing the peer connection");
        }
        self.is_closed = true;
    }

    pub(in crate::peer) fn library(&self) -> &dyn PeerConnection {
        self.peer.as_ref()
    }

    /// Where the viewer's packets come from.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        self.stop_sending();
        // An unclosed connection would leave the library's task behind.
        let peer = Arc::clone(&self.peer);
        self.tasks.spawn_finite_on(&self.media, "close of a connection", async move {
            let _ = peer.close().await;
        });
    }
}

/// Resolves when the sender has panicked.
async fn failed(sender: &mut Option<Sender>) {
    let Some(Sender { ended, .. }) = sender else { return pending().await };
    let Some(receiver) = ended else { return pending().await };
    let outcome = receiver.await;
    *ended = None;
    // One that ended because its connection did is no news.
    if outcome.is_ok() {
        pending::<()>().await;
    }
}
