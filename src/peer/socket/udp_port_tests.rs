//! Sessions and viewers made of one socket each.

use std::net::Ipv6Addr;

use super::super::demux::request;
use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ANSWER: &str = "v=0\r\na=ice-ufrag:";

fn unused() -> u16 {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

async fn viewer() -> tokio::net::UdpSocket {
    tokio::net::UdpSocket::bind((HERE, 0)).await.unwrap()
}

/// A session of this user fragment and its socket.
fn session(port: &UdpPort, fragment: &str) -> (UdpRoute, SeatedSocket) {
    let route = port.share().unwrap();
    let socket = route.socket(HERE).unwrap();
    route.register(&format!("{ANSWER}{fragment}\r\n"));
    (route, socket)
}

async fn heard(socket: &SeatedSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 1500];
    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
    (buffer[..length].to_vec(), from)
}

#[tokio::test]
async fn viewers_on_one_port_reach_the_session_they_name() {
    let number = unused();
    let port = UdpPort::new(Some(number..=number));
    let ((route, one), (_route, two)) = (session(&port, "one"), session(&port, "two"));
    assert_eq!(route.port_at(HERE), Some(number));
    assert_eq!(route.port_at(IpAddr::from([192, 0, 2, 1])), None);
    let (first, second, stranger) = (viewer().await, viewer().await, viewer().await);
    for (viewer, fragment) in [(&first, "one:x"), (&second, "two:x")] {
        viewer.send_to(&request(fragment.as_bytes()), (HERE, number)).await.unwrap();
    }
    assert_eq!(heard(&one).await, (request(b"one:x"), first.local_addr().unwrap()));
    assert_eq!(heard(&two).await, (request(b"two:x"), second.local_addr().unwrap()));
    stranger.send_to(b"nonsense", (HERE, number)).await.unwrap();
    stranger.send_to(&request(b"three:x"), (HERE, number)).await.unwrap();
    second.send_to(b"media of two", (HERE, number)).await.unwrap();
    first.send_to(b"media of one", (HERE, number)).await.unwrap();
    assert_eq!(heard(&one).await.0, b"media of one");
    assert_eq!(heard(&two).await.0, b"media of two");
    // Both answer from the one port.
    for (socket, viewer) in [(&one, &first), (&two, &second)] {
        socket.send_to(b"picture", viewer.local_addr().unwrap()).await.unwrap();
        let (length, from) = viewer.recv_from(&mut [0; 100]).await.unwrap();
        assert_eq!((length, from), (7, (HERE, number).into()));
    }
}

#[tokio::test]
async fn who_leaves_leaves_nothing_and_may_come_back() {
    let port = UdpPort::new(None);
    let (route, socket) = session(&port, "one");
    let number = route.port_at(HERE).unwrap();
    let viewer = viewer().await;
    viewer.send_to(&request(b"one:x"), (HERE, number)).await.unwrap();
    heard(&socket).await;
    drop((route, socket));
    let shared = port.at(HERE, Instant::now()).unwrap();
    assert!(lock(&shared.table).routes.is_empty() && lock(&shared.table).seats.is_empty());
    let (route, socket) = session(&port, "again");
    assert_eq!(route.port_at(HERE), Some(number), "nobody else took the port");
    viewer.send_to(&request(b"again:x"), (HERE, number)).await.unwrap();
    assert_eq!(heard(&socket).await.1, viewer.local_addr().unwrap());
    // A later answer of the same session: an ICE restart.
    route.register(&format!("{ANSWER}restarted\r\n"));
    viewer.send_to(&request(b"restarted:x"), (HERE, number)).await.unwrap();
    assert_eq!(heard(&socket).await.0, request(b"restarted:x"));
}

#[tokio::test]
async fn a_session_that_does_not_read_loses_what_is_too_much() {
    let port = UdpPort::new(None);
    let (_route, socket) = session(&port, "one");
    let from: SocketAddr = (HERE, 9).into();
    for number in 0..200 {
        socket.0.put(&[number], from);
    }
    for number in 0..u8::try_from(MAX_WAITING).unwrap() {
        assert_eq!(heard(&socket).await, (vec![number], from));
    }
    assert!(lock(&socket.0.inbox).waiting.is_empty());
}

#[tokio::test]
async fn a_port_that_others_hold_is_passed_over_or_refused_in_words() {
    let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let held = holder.local_addr().unwrap().port();
    let refused = UdpPort::new(Some(held..=held)).share().unwrap_err().to_string();
    assert!(refused.contains("ice.port_range") && refused.contains(&held.to_string()), "{refused}");
    let port = UdpPort::new(Some(held..=held.saturating_add(20)));
    let (route, _socket) = session(&port, "one");
    assert!(route.port_at(HERE).is_some_and(|port| port != held));
    drop(holder);
    assert!(UdpPort::new(Some(held..=held)).share().is_ok());
}

#[tokio::test]
async fn sockets_of_addresses_that_nobody_asks_for_are_closed() {
    let port = UdpPort::new(None);
    let now = Instant::now();
    drop(port.at(HERE, now).unwrap());
    let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
    // A machine without IPv6 has nothing to close.
    let other = port.at(six, now + UNUSED).is_ok();
    assert!(!other || !lock(&port.bound).sockets.contains_key(&HERE));
}
