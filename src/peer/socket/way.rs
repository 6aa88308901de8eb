//! The way that one viewer's media takes, as ICE has chosen it, and sending along it.
//!
//! The library chooses and does not tell. So it is given a packet now and then, which it would send to the viewer; that
//! packet's way is learnt where it would have left, and the packet itself is dropped there.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use webrtc::runtime::{AsyncTcpStream, AsyncUdpSocket, Transmit};

use super::batch::{Batch, Run};
use super::relayed::Wrap;

/// How long packets wait for room in a socket before they are lost.
const ROOM_LIMIT: Duration = Duration::from_millis(500);

/// How datagrams get to the viewer.
#[derive(Clone)]
pub(in crate::peer) enum Path {
    Udp {
        socket: Arc<dyn AsyncUdpSocket>,
        to: SocketAddr,
        /// Through a TURN server, which `to` is then.
        wrap: Option<Wrap>,
    },
    /// Framed (RFC 4571).
    Tcp(Arc<dyn AsyncTcpStream>),
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { to, wrap, .. } => write!(f, "UDP to {to}, {wrap:?}"),
            Self::Tcp(stream) => write!(f, "TCP to {:?}", stream.peer_addr()),
        }
    }
}

impl Path {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Udp { socket, to, wrap }, Self::Udp { socket: socket2, to: to2, wrap: wrap2 }) => {
                Arc::ptr_eq(socket, socket2) && to == to2 && wrap == wrap2
            }
            (Self::Tcp(stream), Self::Tcp(other)) => Arc::ptr_eq(stream, other),
            _ => false,
        }
    }
}

/// Where media goes now; shared by a connection's sockets, which tell it, and its sender.
#[derive(Debug, Default)]
pub(in crate::peer) struct Way {
    path: Mutex<Option<Path>>,
    known: Notify,
}

impl Way {
    /// Media takes `path` from now on.
    pub fn set(&self, path: Path) {
        let mut current = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.as_ref().is_some_and(|current| current.is_same(&path)) {
            tracing::debug!(?path, "media's way");
            *current = Some(path);
            self.known.notify_one();
        }
    }

    /// Whether media goes where the viewer was `heard`, as far as that can be told.
    pub fn leads_to(&self, heard: Option<SocketAddr>) -> bool {
        let path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*path, heard) {
            (Some(Path::Udp { to, wrap: None, .. }), Some(heard)) => *to == heard,
            (path, _) => path.is_some(),
        }
    }

    fn current(&self) -> Option<Path> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until there is one, but not longer than `limit`.
    pub async fn known(&self, limit: Duration) -> bool {
        self.current().is_some() || timeout(limit, self.known.notified()).await.is_ok()
    }

    /// Sends what can be sent at once. Gives what has to wait.
    pub fn send(&self, batch: &Batch) -> Option<Unsent> {
        let path = self.current()?;
        let sent = match &path {
            Path::Udp { .. } => {
                let mut cx = Context::from_waker(Waker::noop());
                batch
                    .runs()
                    .take_while(|(run, bytes)| path.poll_send(&mut cx, *run, bytes).is_ready())
                    .count()
            }
            Path::Tcp(_) => 0,
        };
        (sent < batch.len()).then(|| Unsent { path, rest: batch.after(sent) })
    }
}

impl Path {
    /// Datagrams that fail are lost, as in any network; a path that is gone for good is found by ICE.
    fn poll_send(&self, cx: &mut Context<'_>, run: Run, bytes: &[u8]) -> Poll<()> {
        let Self::Udp { socket, to, wrap } = self else { return Poll::Ready(()) };
        let result = match wrap {
            None => {
                let segment_size = (bytes.len() > run.packet_bytes).then_some(run.packet_bytes);
                send(&**socket, cx, *to, bytes, segment_size)
            }
            // One by one: few go through a relay, and none of them is worth waiting for.
            Some(wrap) => {
                for packet in bytes.chunks(run.packet_bytes) {
                    let _ = send(&**socket, cx, *to, &wrap.around(packet), None);
                }
                return Poll::Ready(());
            }
        };
        result.map(|result| {
            if let Err(error) = result {
                tracing::debug!(%error, %to, "media was not sent");
            }
        })
    }
}

fn send(
    socket: &dyn AsyncUdpSocket,
    cx: &mut Context<'_>,
    destination: SocketAddr,
    contents: &[u8],
    segment_size: Option<usize>,
) -> Poll<std::io::Result<usize>> {
    socket.poll_send(cx, &Transmit { destination, ecn: None, contents, segment_size, src_ip: None })
}

/// Packets that wait for room.
pub(in crate::peer) struct Unsent {
    path: Path,
    rest: Batch,
}

impl Unsent {
    /// Sends them when there is room. What finds none in time is lost.
    pub async fn finish(self) {
        match &self.path {
            Path::Udp { .. } => {
                let all = async {
                    for (run, bytes) in self.rest.runs() {
                        poll_fn(|cx| self.path.poll_send(cx, run, bytes)).await;
                    }
                };
                let _ = timeout(ROOM_LIMIT, all).await;
            }
            Path::Tcp(stream) => {
                let mut frames = Vec::new();
                for (run, bytes) in self.rest.runs() {
                    for packet in bytes.chunks(run.packet_bytes) {
                        let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
                        frames.extend_from_slice(&length.to_be_bytes());
                        frames.extend_from_slice(packet);
                    }
                }
                // Without a limit, because half a frame would spoil the stream. It ends with the session.
                if let Err(error) = stream.write_all(&frames).await {
                    tracing::debug!(%error, "media was not sent");
                }
            }
        }
    }
}
