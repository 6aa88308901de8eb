//! Tokio for the receiving peer: without TCP, and with sockets that retransmit flights of DTLS.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
#[cfg(test)]
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

use super::dtls_retransmit_socket::DtlsRetransmitSocket;
#[cfg(test)]
use super::slow_clock::SlowClock;
use crate::base::tasks::TaskGroup;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Ends the wait of the library's driver at once.
///
/// When ICE has connected, the library makes its first flight of DTLS but leaves it where only its next timer (or a
/// datagram of DTLS) finds it: one interval of ICE's checks later, or a second.
#[derive(Clone, Debug, Default)]
pub(super) struct WakeDriver(Arc<AtomicBool>);

impl WakeDriver {
    /// Called on the driver's task, between its look at events and its wait.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// The runtime of one connection.
#[derive(Default)]
pub(super) struct ReceiverRuntime {
    wake: WakeDriver,
    /// What runs beside the library for this connection.
    tasks: TaskGroup,
    /// Cancelled when DTLS is over.
    ended: CancellationToken,
    #[cfg(test)]
    clock: SlowClock,
}

impl ReceiverRuntime {
    /// One that goes by `clock`.
    #[cfg(test)]
    pub fn by(clock: SlowClock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// What runs beside the library for this connection.
    pub fn tasks(&self) -> TaskGroup {
        self.tasks.clone()
    }

    /// Cancelled when DTLS is over by the word of either side; the library only notices that nothing comes any more.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Ends its driver's wait.
    pub fn wake(&self) -> WakeDriver {
        self.wake.clone()
    }
}

impl fmt::Debug for ReceiverRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiverRuntime")
    }
}

impl Runtime for ReceiverRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let again = socket.try_clone()?;
        // A full or unreachable network loses this repeat like any other packet.
        let repeats = move |to, datagram: &[u8]| drop(again.send_to(datagram, to));
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(DtlsRetransmitSocket::new(inner, Box::new(repeats), self.tasks.clone(), self.ended())))
    }

    fn wrap_tcp_listener(&self, _listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this side has no TCP"))
    }

    fn connect_tcp(&self, _to: SocketAddr) -> BoxFuture<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async { Err(io::Error::new(io::ErrorKind::Unsupported, "this side has no TCP")) })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    #[cfg(test)]
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        #[cfg(test)]
        let duration = self.clock.real(duration);
        let (wake, mut slept) = (self.wake.clone(), TokioRuntime.sleep(duration));
        // Taken only where the wait is looked at: the driver looks at what else is ready in any order, and drops the rest.
        Box::pin(poll_fn(move |cx| if wake.take() { Poll::Ready(()) } else { slept.as_mut().poll(cx) }))
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.yield_now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_that_was_never_looked_at_takes_no_wake_up_along() {
        const DAY: Duration = Duration::from_hours(24);
        let runtime = ReceiverRuntime::default();
        runtime.wake().set();
        drop(runtime.sleep(DAY));
        runtime.sleep(DAY).await;
        assert!(!runtime.wake().take(), "one wait is ended by it");
    }
}
