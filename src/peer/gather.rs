//! Media datagrams of one wake-up, gathered into one UDP segmentation offload send (GSO).
//!
//! The library sends a picture's packets one after another, a system call each. Gathered, they cost
//! one. Only RTP waits here, and only until the library has sent all it had: whatever else is to be
//! sent (STUN, DTLS, RTCP) goes out at once, behind the media gathered before it.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker, ready};

use webrtc::runtime::{AsyncUdpSocket, Transmit};

/// Stays below what one IPv4 datagram could hold, as the kernel demands of all segments together.
const MAX_RUN_BYTES: usize = 60_000;

/// What waits to be sent: datagrams to one destination, all of the first one's size but the last.
#[derive(Debug, Default)]
pub(super) struct Gather {
    bytes: Vec<u8>,
    segment_size: usize,
    segments: usize,
    destination: Option<SocketAddr>,
    /// Wakes who polls for incoming datagrams, which is what flushes.
    receiver: Option<Waker>,
}

/// RTP by its first two bytes (RFC 7983 section 7, RFC 5761 section 4).
fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

impl Gather {
    /// Keeps `transmit` for the next flush, or sends it behind what was kept.
    pub fn poll_send(
        &mut self,
        socket: &dyn AsyncUdpSocket,
        cx: &mut Context<'_>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<usize>> {
        let limit = socket.max_gso_segments();
        let gathers = transmit.segment_size.is_none()
            && transmit.ecn.is_none()
            && limit > 1
            && is_media(transmit.contents);
        if gathers && self.takes(transmit, limit) {
            return Poll::Ready(Ok(self.keep(transmit)));
        }
        ready!(self.poll_flush(socket, cx));
        // Without anybody to wake, nobody would flush.
        if gathers && let Some(receiver) = &self.receiver {
            receiver.wake_by_ref();
            self.destination = Some(transmit.destination);
            self.segment_size = transmit.contents.len();
            return Poll::Ready(Ok(self.keep(transmit)));
        }
        socket.poll_send(cx, transmit)
    }

    /// Whether `transmit` may follow what is kept: a shorter datagram can only be the last.
    fn takes(&self, transmit: &Transmit<'_>, limit: usize) -> bool {
        self.destination == Some(transmit.destination)
            && self.segments < limit
            && self.bytes.len() == self.segments * self.segment_size
            && transmit.contents.len() <= self.segment_size
            && self.bytes.len() + transmit.contents.len() <= MAX_RUN_BYTES
    }

    fn keep(&mut self, transmit: &Transmit<'_>) -> usize {
        self.bytes.extend_from_slice(transmit.contents);
        self.segments += 1;
        transmit.contents.len()
    }

    /// Whoever polls for incoming datagrams comes here first, and comes again when woken.
    pub fn poll_received(&mut self, socket: &dyn AsyncUdpSocket, cx: &mut Context<'_>) {
        match &mut self.receiver {
            Some(receiver) => receiver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        // While the network is full the socket wakes this context when it has room again.
        let _ = self.poll_flush(socket, cx);
    }

    /// Sends what is kept; ready when nothing is kept any more.
    fn poll_flush(&mut self, socket: &dyn AsyncUdpSocket, cx: &mut Context<'_>) -> Poll<()> {
        let Some(destination) = self.destination else { return Poll::Ready(()) };
        let segment_size = (self.segments > 1).then_some(self.segment_size);
        let transmit = Transmit { destination, ecn: None, contents: &self.bytes, segment_size, src_ip: None };
        if let Err(error) = ready!(socket.poll_send(cx, &transmit)) {
            // Lost like in any network; a path that is gone for good is found by ICE.
            tracing::debug!(%error, to = %destination, datagrams = self.segments, "media was not sent");
        }
        self.destination = None;
        self.bytes.clear();
        self.segments = 0;
        Poll::Ready(())
    }
}
