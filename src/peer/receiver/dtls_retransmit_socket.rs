//! A connection's socket that retransmits lost flights of its DTLS handshake soon; no repeat stalls it.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::base::tasks::TaskGroup;
use crate::peer::connect::dtls_alert::ends_association;
use crate::peer::connect::dtls_handshake::{DtlsHandshake, FIRST_REPEAT, FlightVerdict};
use crate::peer::net::demux::is_media;

/// A socket that looks on while its connection shakes hands.
pub(super) struct DtlsRetransmitSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    retransmitter: Arc<Mutex<DtlsRetransmitter>>,
    tasks: TaskGroup,
    /// Cancelled when the connection is over by the word of either side.
    ended: CancellationToken,
}

/// Sends a datagram once more without taking a waker from the library.
pub(super) type Repeats = Box<dyn Fn(SocketAddr, &[u8]) + Send>;

/// What retransmits in one socket's handshake.
struct DtlsRetransmitter {
    handshake: DtlsHandshake,
    /// Where the last flight went.
    to: Option<SocketAddr>,
    /// Gone when done, and a second descriptor with it.
    repeats: Option<Repeats>,
    /// Somebody waits to repeat.
    watched: bool,
}

impl DtlsRetransmitter {
    fn new(repeats: Repeats) -> Self {
        Self { handshake: DtlsHandshake::default(), to: None, repeats: Some(repeats), watched: false }
    }

    /// Forgets the socket with the handshake.
    fn settle(&mut self) {
        if self.handshake.is_done() {
            self.repeats = None;
        }
    }

    /// Sends again what is due. Gives whether there is more to come.
    fn repeat(&mut self, now: Instant) -> bool {
        let repeated = self.handshake.repeat(now);
        if let (Some(send), Some(to)) = (&self.repeats, self.to) {
            for datagram in repeated {
                send(to, &datagram);
            }
        }
        self.watched = self.handshake.poll_timeout().is_some();
        self.watched
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Repeats flights until the handshake is over or its socket is gone.
async fn watch(retransmitter: Weak<Mutex<DtlsRetransmitter>>) {
    loop {
        // No longer, because the next flight may be out by then and wants its first repeat.
        tokio::time::sleep(FIRST_REPEAT).await;
        let Some(retransmitter) = retransmitter.upgrade() else { return };
        if !lock(&retransmitter).repeat(Instant::now()) {
            return;
        }
    }
}

impl fmt::Debug for DtlsRetransmitSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DtlsRetransmitSocket({:?})", self.inner)
    }
}

impl DtlsRetransmitSocket {
    /// Looks on at `inner`. Flights that nobody answers go out again through `repeats`.
    pub fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        repeats: Repeats,
        tasks: TaskGroup,
        ended: CancellationToken,
    ) -> Self {
        Self { inner, retransmitter: Arc::new(Mutex::new(DtlsRetransmitter::new(repeats))), tasks, ended }
    }

    fn sent(&self, transmit: &Transmit<'_>) {
        // One datagram: alerts are no run of equal ones.
        if ends_association(transmit.contents) {
            self.ended.cancel();
        }
        let mut retransmitter = lock(&self.retransmitter);
        if retransmitter.repeats.is_none() {
            return;
        }
        let now = Instant::now();
        let length = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(length) {
            if is_media(datagram) {
                retransmitter.handshake.media_sent();
            }
            // DTLS (RFC 7983 section 7).
            if matches!(datagram.first(), Some(20..=63)) {
                retransmitter.to = Some(transmit.destination);
            }
            retransmitter.handshake.sent(datagram, now);
        }
        retransmitter.settle();
        if retransmitter.handshake.poll_timeout().is_some() && !retransmitter.watched {
            retransmitter.watched = true;
            self.tasks.spawn_finite("handshake-repeats", watch(Arc::downgrade(&self.retransmitter)));
        }
    }

    /// Empties what is not for the library.
    fn received(&self, datagrams: &[u8], meta: &mut RecvMeta) {
        let mut retransmitter = lock(&self.retransmitter);
        if retransmitter.repeats.is_none() {
            return;
        }
        let datagrams = datagrams.get(..meta.len).unwrap_or_default();
        let verdicts = datagrams.chunks(meta.stride.max(1)).map(|datagram| {
            if is_media(datagram) {
                retransmitter.handshake.media_received();
            }
            retransmitter.handshake.received(datagram)
        });
        // All are asked: each of them counts.
        let stale = verdicts.filter(|verdict| *verdict == FlightVerdict::Stale).count();
        if stale > 0 && stale == datagrams.len().div_ceil(meta.stride.max(1)) {
            meta.len = 0;
        }
        retransmitter.settle();
    }
}

impl AsyncUdpSocket for DtlsRetransmitSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = self.inner.poll_send(cx, transmit);
        if matches!(sent, Poll::Ready(Ok(_))) {
            self.sent(transmit);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            for (buf, meta) in bufs.iter().zip(meta).take(count) {
                self.received(buf, meta);
            }
        }
        received
    }

    /// One: each datagram is looked at.
    fn max_gso_segments(&self) -> usize {
        1
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use webrtc::runtime::Runtime;

    use super::super::runtime::ReceiverRuntime;
    use super::*;

    /// A ClientHello's head: one plain record with one message.
    const HELLO: &[u8] = &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_flight_that_nobody_answers_is_sent_again() {
        let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let runtime = ReceiverRuntime::default();
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        socket.send_to(HELLO, peer.local_addr().unwrap()).await.unwrap();
        let mut seen = [0; 1500];
        for _ in 0..3 {
            let (length, from) = peer.recv_from(&mut seen).await.unwrap();
            assert_eq!((&seen[..length], from), (HELLO, socket.local_addr().unwrap()));
        }
    }

    #[tokio::test]
    async fn an_ended_connection_repeats_nothing() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let runtime = ReceiverRuntime::default();
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let mut retransmitter = DtlsRetransmitter::new(Box::new(|_, _| {}));
        socket.send_to(HELLO, peer.local_addr().unwrap()).await.unwrap();
        retransmitter.handshake.sent(HELLO, Instant::now());
        retransmitter.handshake.media_sent();
        retransmitter.settle();
        assert!(retransmitter.repeats.is_none(), "a second descriptor is closed");
        let weak = {
            let shared = Arc::new(Mutex::new(retransmitter));
            Arc::downgrade(&shared)
        };
        watch(weak).await;
    }
}
