//! Sessions, and viewers made of one socket each.

use std::net::Ipv6Addr;
use std::rc::Rc;

use tokio::task::LocalSet;

use super::super::demux::request;
use super::super::recorded_inbox::RecordedInbox;
use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn unused() -> u16 {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

async fn viewer() -> tokio::net::UdpSocket {
    tokio::net::UdpSocket::bind((HERE, 0)).await.unwrap()
}

/// A port of `range`, bound here, and what comes to it.
async fn port(range: Option<RangeInclusive<u16>>) -> (UdpPort, Rc<RecordedInbox>) {
    let (recorded, inbox) = RecordedInbox::new();
    let mut port = UdpPort::new(range, inbox, TaskGroup::new());
    assert!(port.bind(&[HERE], Instant::now()).unwrap());
    // The system has to call it writable.
    tokio::time::sleep(Duration::from_millis(5)).await;
    (port, recorded)
}

fn at(port: &UdpPort) -> SocketAddr {
    port.addresses().next().unwrap()
}

/// The next datagram, and whose it is.
async fn heard(port: &mut UdpPort, recorded: &RecordedInbox) -> (Option<PeerId>, Vec<u8>) {
    let (at, from, datagram) = recorded.datagram().await;
    (port.received(at, from, &datagram, Instant::now()), datagram)
}

#[tokio::test]
async fn viewers_on_one_port_reach_the_session_they_name() {
    let all = async {
        let number = unused();
        let (mut port, recorded) = port(Some(number..=number)).await;
        assert_eq!(at(&port), SocketAddr::from((HERE, number)));
        port.add_ufrag(1, "one");
        port.add_ufrag(2, "two");
        let (first, second, stranger) = (viewer().await, viewer().await, viewer().await);
        for (viewer, ufrag, peer_id) in [(&first, "one:x", 1), (&second, "two:x", 2)] {
            viewer.send_to(&request(ufrag.as_bytes()), (HERE, number)).await.unwrap();
            assert_eq!(heard(&mut port, &recorded).await, (Some(peer_id), request(ufrag.as_bytes())));
        }
        stranger.send_to(b"nonsense", (HERE, number)).await.unwrap();
        assert_eq!(heard(&mut port, &recorded).await.0, None);
        second.send_to(b"media of two", (HERE, number)).await.unwrap();
        assert_eq!(heard(&mut port, &recorded).await, (Some(2), b"media of two".to_vec()));
        // Both are answered from the one port.
        for (peer_id, viewer) in [(1, &first), (2, &second)] {
            let to = viewer.local_addr().unwrap();
            assert!(port.send(peer_id, (HERE, number).into(), to, b"picture", None, Instant::now()));
            let (length, from) = viewer.recv_from(&mut [0; 100]).await.unwrap();
            assert_eq!((length, from), (7, (HERE, number).into()));
        }
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn who_leaves_leaves_nothing_and_may_come_back() {
    let all = async {
        let (mut port, recorded) = port(None).await;
        let address = at(&port);
        port.add_ufrag(1, "one");
        let viewer = viewer().await;
        viewer.send_to(&request(b"one:x"), address).await.unwrap();
        assert_eq!(heard(&mut port, &recorded).await.0, Some(1));
        port.leave(1);
        assert!(port.sockets.iter().all(|socket| socket.routes.is_empty()));
        assert!(!port.bind(&[HERE], Instant::now()).unwrap());
        assert_eq!(at(&port), address, "nobody else took the port");
        port.add_ufrag(2, "again");
        viewer.send_to(&request(b"again:x"), address).await.unwrap();
        assert_eq!(heard(&mut port, &recorded).await.0, Some(2));
        // A later answer of the same session: an ICE restart.
        port.add_ufrag(2, "restarted");
        viewer.send_to(&request(b"restarted:x"), address).await.unwrap();
        assert_eq!(heard(&mut port, &recorded).await.0, Some(2));
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn a_port_that_others_hold_is_passed_over_or_refused_in_words() {
    let all = async {
        let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let held = holder.local_addr().unwrap().port();
        let (_recorded, inbox) = RecordedInbox::new();
        let mut refused = UdpPort::new(Some(held..=held), inbox, TaskGroup::new());
        let refusal = refused.bind(&[HERE], Instant::now()).unwrap_err().to_string();
        assert!(refusal.contains("ice.port_range") && refusal.contains(&held.to_string()), "{refusal}");
        let (other, _recorded) = port(Some(held..=held.saturating_add(20))).await;
        assert_ne!(at(&other).port(), held);
        drop((holder, other));
        assert!(refused.bind(&[HERE], Instant::now()).is_ok());
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn sockets_of_addresses_that_nobody_asks_for_are_closed() {
    let all = async {
        let (mut port, _recorded) = port(None).await;
        let (now, six) = (Instant::now(), IpAddr::V6(Ipv6Addr::LOCALHOST));
        port.bind(&[six], now).unwrap();
        assert!(port.addresses().any(|address| address.ip() == HERE), "the address may come back");
        port.add_ufrag(1, "one");
        port.bind(&[six], now + UNUSED * 2).unwrap();
        assert!(port.addresses().any(|address| address.ip() == HERE), "somebody uses it");
        port.leave(1);
        port.bind(&[six], now + UNUSED * 2).unwrap();
        assert!(!port.addresses().any(|address| address.ip() == HERE));
    };
    LocalSet::new().run_until(all).await;
}
