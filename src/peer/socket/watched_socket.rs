//! A connection's socket: it mends the handshake, hears who sends, and lets no media of the library's out.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::handshake::{FIRST_REPEAT, Handshake, Verdict};
use super::relayed::{Wrap, is_media};
use super::way::{Path, Way};

/// Whom a connection's UDP sockets have heard last, media or its handshake: the library does not tell the
/// address of a viewer that it knows from its packets alone (peer-reflexive, RFC 8445 section 7.3.1.3).
#[derive(Clone, Debug, Default)]
pub(in crate::peer) struct Heard(Arc<Mutex<Option<SocketAddr>>>);

impl Heard {
    /// The address, unless everything came through a relay.
    pub fn address(&self) -> Option<SocketAddr> {
        *lock(&self.0)
    }

    /// `datagram` came from there.
    pub fn note(&self, datagram: &[u8], from: SocketAddr) {
        // DTLS, or SRTP and SRTCP (RFC 7983 section 7): what a relay sends looks different.
        if matches!(datagram.first(), Some(20..=63 | 128..=191)) {
            *lock(&self.0) = Some(from);
        }
    }
}

/// A socket that looks on while its connection shakes hands, and mends that; media only shows it the way.
pub(in crate::peer) struct WatchedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    mending: Arc<Mutex<Mending>>,
    heard: Heard,
    way: Option<Arc<Way>>,
}

/// Sends a datagram once more without taking a waker from the library.
pub(in crate::peer) type Repeats = Box<dyn Fn(SocketAddr, &[u8]) + Send>;

/// What mends one socket's handshake.
struct Mending {
    handshake: Handshake,
    /// Gone when done, and a second descriptor with it.
    repeats: Option<Repeats>,
    /// Somebody waits to repeat.
    watched: bool,
}

impl Mending {
    fn new(repeats: Repeats) -> Self {
        Self { handshake: Handshake::default(), repeats: Some(repeats), watched: false }
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
        if let Some(send) = &self.repeats {
            for (to, datagram) in repeated {
                send(to, &datagram);
            }
        }
        self.watched = self.handshake.is_waiting();
        self.watched
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Repeats flights until the handshake is over or its socket is gone.
async fn watch(mending: Weak<Mutex<Mending>>) {
    loop {
        // No longer, because the next flight may be out by then and wants its first repeat.
        tokio::time::sleep(FIRST_REPEAT).await;
        let Some(mending) = mending.upgrade() else { return };
        if !lock(&mending).repeat(Instant::now()) {
            return;
        }
    }
}

impl fmt::Debug for WatchedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WatchedSocket({:?})", self.inner)
    }
}

impl WatchedSocket {
    /// Watches `inner`. Flights that nobody answers go out again through `repeats`, media shows `way`.
    pub fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        repeats: Repeats,
        heard: Heard,
        way: Option<Arc<Way>>,
    ) -> Self {
        Self { inner, mending: Arc::new(Mutex::new(Mending::new(repeats))), heard, way }
    }

    /// Whether this is media, which is not to leave: what the library would protect has numbers that media uses too.
    fn shows_way(&self, transmit: &Transmit<'_>) -> bool {
        let Some(way) = &self.way else { return false };
        let wrap = Wrap::of(transmit.contents);
        let shows = wrap.is_some() || is_media(transmit.contents);
        if shows {
            way.set(Path::Udp { socket: Arc::clone(&self.inner), to: transmit.destination, wrap });
        }
        shows
    }

    fn sent(&self, transmit: &Transmit<'_>) {
        let mut mending = lock(&self.mending);
        if mending.repeats.is_none() {
            return;
        }
        let now = Instant::now();
        let length = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(length) {
            mending.handshake.sent(transmit.destination, datagram, now);
        }
        mending.settle();
        if mending.handshake.is_waiting() && !mending.watched {
            mending.watched = true;
            tokio::spawn(watch(Arc::downgrade(&self.mending)));
        }
    }

    /// Empties what is not for the library.
    fn received(&self, datagrams: &[u8], meta: &mut RecvMeta) {
        let mut mending = lock(&self.mending);
        if mending.repeats.is_none() {
            return;
        }
        let datagrams = datagrams.get(..meta.len).unwrap_or_default();
        let verdicts =
            datagrams.chunks(meta.stride.max(1)).map(|datagram| mending.handshake.received(datagram));
        // All are asked: each of them counts.
        let stale = verdicts.filter(|verdict| *verdict == Verdict::Stale).count();
        if stale > 0 && stale == datagrams.len().div_ceil(meta.stride.max(1)) {
            meta.len = 0;
        }
        mending.settle();
    }
}

impl AsyncUdpSocket for WatchedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = if self.shows_way(transmit) {
            Poll::Ready(Ok(transmit.contents.len()))
        } else {
            self.inner.poll_send(cx, transmit)
        };
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
                self.heard.note(buf, meta.addr);
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
    use std::time::Duration;

    use webrtc::runtime::Runtime;

    use super::super::runtime::PeerRuntime;
    use super::super::tcp_port::Listeners;
    use super::*;

    /// A ClientHello's head: one plain record with one message.
    const HELLO: &[u8] = &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_flight_that_nobody_answers_is_sent_again() {
        let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let runtime = PeerRuntime::new(Listeners::default(), None);
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        socket.send_to(HELLO, peer.local_addr().unwrap()).await.unwrap();
        let mut seen = [0; 1500];
        for _ in 0..3 {
            let (length, from) = peer.recv_from(&mut seen).await.unwrap();
            assert_eq!((&seen[..length], from), (HELLO, socket.local_addr().unwrap()));
        }
    }

    #[tokio::test]
    async fn media_of_the_library_shows_the_way_and_stays() {
        let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = peer.local_addr().unwrap();
        let way = Arc::new(Way::default());
        let runtime = PeerRuntime::new(Listeners::default(), None).showing(Arc::clone(&way));
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let relayed = Wrap::Channel([0x40, 1]).around(&[128, 102, 0, 2]);
        for datagram in [&[128, 102, 0, 1][..], &[128, 200, 0, 1], &relayed, HELLO] {
            socket.send_to(datagram, to).await.unwrap();
        }
        assert!(way.known(Duration::ZERO).await);
        let mut seen = [0; 1500];
        let length = peer.recv_from(&mut seen).await.unwrap().0;
        assert_eq!(&seen[..length], HELLO, "nothing else left");
    }

    #[tokio::test]
    async fn whoever_sends_media_is_heard() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let runtime = PeerRuntime::new(Listeners::default(), None);
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_eq!(runtime.heard().address(), None);
        // The head of a sender report.
        peer.send_to(&[0x80, 200, 0, 6], socket.local_addr().unwrap()).unwrap();
        socket.recv_from(&mut [0; 1500]).await.unwrap();
        assert_eq!(runtime.heard().address(), Some(peer.local_addr().unwrap()));
    }

    #[tokio::test]
    async fn an_ended_connection_repeats_nothing() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let runtime = PeerRuntime::new(Listeners::default(), None);
        let socket = runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let mut mending = Mending::new(Box::new(|_, _| {}));
        socket.send_to(HELLO, peer.local_addr().unwrap()).await.unwrap();
        mending.handshake.sent(peer.local_addr().unwrap(), HELLO, Instant::now());
        mending.handshake.sent(peer.local_addr().unwrap(), &[0x80; 20], Instant::now());
        mending.settle();
        assert!(mending.repeats.is_none(), "a second descriptor is closed");
        let weak = {
            let shared = Arc::new(Mutex::new(mending));
            Arc::downgrade(&shared)
        };
        watch(weak).await;
    }
}
