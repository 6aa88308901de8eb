//! An inbox for tests, which keeps what it is given.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::inbox::{Accepted, PacketInbox, RelayId, TcpConnectionId};

/// What came.
pub(in crate::peer) enum Recorded {
    Udp(SocketAddr, SocketAddr, Vec<u8>),
    Accepted(Accepted),
    Tcp(TcpConnectionId, Vec<u8>),
    Closed(TcpConnectionId),
    Relay,
    Mdns,
}

/// The inbox.
#[derive(Default)]
pub(in crate::peer) struct RecordedInbox {
    came: RefCell<VecDeque<Recorded>>,
    ready: Notify,
}

impl RecordedInbox {
    /// An empty one, and how others get at it.
    pub fn new() -> (Rc<Self>, Weak<dyn PacketInbox>) {
        let this = Rc::<Self>::default();
        let weak: Weak<Self> = Rc::downgrade(&this);
        (this, weak)
    }

    fn put(&self, came: Recorded) {
        self.came.borrow_mut().push_back(came);
        self.ready.notify_one();
    }

    /// The next thing that comes.
    pub async fn next(&self) -> Recorded {
        let next = async {
            loop {
                if let Some(came) = self.came.borrow_mut().pop_front() {
                    return came;
                }
                self.ready.notified().await;
            }
        };
        timeout(Duration::from_secs(10), next).await.expect("something comes")
    }

    /// The next datagram of a shared socket.
    pub async fn datagram(&self) -> (SocketAddr, SocketAddr, Vec<u8>) {
        match self.next().await {
            Recorded::Udp(at, from, datagram) => (at, from, datagram),
            _ => panic!("something else came"),
        }
    }
}

impl PacketInbox for RecordedInbox {
    fn udp(&self, at: SocketAddr, from: SocketAddr, datagrams: &[u8], stride: usize) {
        for datagram in datagrams.chunks(stride) {
            self.put(Recorded::Udp(at, from, datagram.to_vec()));
        }
    }

    fn tcp_accepted(&self, accepted: Accepted) {
        self.put(Recorded::Accepted(accepted));
    }

    fn tcp(&self, connection: TcpConnectionId, frame: &[u8]) {
        self.put(Recorded::Tcp(connection, frame.to_vec()));
    }

    fn tcp_closed(&self, connection: TcpConnectionId) {
        self.put(Recorded::Closed(connection));
    }

    fn relay(&self, _relay: RelayId, _datagram: &[u8]) {
        self.put(Recorded::Relay);
    }

    fn mdns(&self, _from: SocketAddr, _datagram: &[u8]) {
        self.put(Recorded::Mdns);
    }
}
