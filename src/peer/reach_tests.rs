//! STUN servers made of one socket each.

use super::*;

#[test]
fn addresses_of_servers_are_taken_apart() {
    let url = |turn, udp, host: &str, port| Some(ServerUrl { turn, udp, host: String::from(host), port });
    assert_eq!(ServerUrl::parse("stun:stun.example.org"), url(false, true, "stun.example.org", 3478));
    assert_eq!(ServerUrl::parse("stun:[2001:db8::1]:99"), url(false, true, "2001:db8::1", 99));
    assert_eq!(ServerUrl::parse("turn:t:1?transport=udp"), url(true, true, "t", 1));
    assert_eq!(ServerUrl::parse("turn:t?transport=tcp"), url(true, false, "t", 3478));
    assert_eq!(ServerUrl::parse("turns:t:443"), url(true, false, "t", 443));
    for bad in ["", "stun:", "http:x", "stun:h:port", "turn:[::1"] {
        assert_eq!(ServerUrl::parse(bad), None, "{bad}");
    }
}

fn server(url: &str) -> IceServer {
    IceServer { urls: vec![url.to_owned()], username: None, credential: None }
}

#[tokio::test]
async fn a_binding_tells_our_own_address() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let url = format!("stun:{}", socket.local_addr().expect("an address"));
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        let mut received = 0;
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            received += 1;
            // The first one is lost.
            if received > 1 {
                let mut request = Message::new();
                request.raw = buffer[..length].to_vec();
                request.decode().expect("a request");
                let seen = XorMappedAddress { ip: from.ip(), port: from.port() };
                let mut answer = Message::new();
                let success = rtc::stun::message::BINDING_SUCCESS;
                answer
                    .build(&[Box::new(request.transaction_id), Box::new(success), Box::new(seen)])
                    .expect("an answer");
                socket.send_to(&answer.raw, from).await.expect("sent");
            }
        }
    });
    let reached = reach(&url, &server(&url)).await.expect("an answer");
    assert!(matches!(reached, Reached::Reflexive(address) if address.ip().is_loopback()), "{reached:?}");
}

#[tokio::test]
async fn silence_refusal_and_nonsense_differ() {
    let mute = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let url = format!("stun:{}", mute.local_addr().expect("an address"));
    let error = reach(&url, &server(&url)).await.expect_err("no answer");
    assert!(matches!(error, ReachError::Silent { .. }), "{error}");
    drop(mute);
    let error = reach(&url, &server(&url)).await.expect_err("no server");
    assert!(matches!(error, ReachError::NothingListens { .. }), "{error}");

    let babbler = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let url = format!("turn:{}", babbler.local_addr().expect("an address"));
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((_, from)) = babbler.recv_from(&mut buffer).await {
            babbler.send_to(b"HTTP/1.1 400 Bad Request", from).await.expect("sent");
        }
    });
    let error = reach(&url, &server(&url)).await.expect_err("no STUN");
    assert!(matches!(error, ReachError::Nonsense { .. }), "{error}");
    let unused = reach("turns:h", &server("turns:h")).await.expect_err("TLS");
    assert!(matches!(unused, ReachError::NotUsed), "{unused}");
}

#[tokio::test]
async fn host_candidates_are_gathered_everywhere() {
    let found = gather(&Ice::default(), Duration::from_secs(20)).await.expect("candidates");
    assert!(found.iter().any(|candidate| candidate.kind == "host"), "{found:?}");
    assert!(found.iter().all(|candidate| !candidate.address.is_empty()), "{found:?}");
}
