//! What is configured about the network is in the answer, and in what the page is told.

mod support;

use serde_json::{Value, json};
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER, Viewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The answer with all candidates of a daemon with these settings, and the daemon.
async fn answer(settings: impl Fn(Settings) -> Settings) -> Option<(Value, Daemon, Mosquitto)> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(settings(Settings::new(&broker.url())));
    Dashboard::connect(broker.port()).await.availability("online").await;
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.say(json!({"type": "offer", "sdp": OFFER, "ice": "full"})).await;
    let answer = viewer.expect("answer").await;
    Some((answer, daemon, broker))
}

fn candidates(answer: &Value) -> Vec<&str> {
    let sdp = answer["sdp"].as_str().expect("text");
    sdp.lines().filter(|line| line.starts_with("a=candidate:")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_there_are_host_candidates_of_every_address() {
    let Some((answer, _daemon, _broker)) = answer(|settings| settings).await else { return };
    let candidates = candidates(&answer);
    assert!(
        !candidates.is_empty() && candidates.iter().all(|line| line.contains(" typ host")),
        "{candidates:#?}"
    );
    assert!(answer.get("iceServers").is_none(), "{answer}");
    // IPv6 is offered where this machine has it.
    let has_ipv6 =
        std::net::UdpSocket::bind("[::]:0").and_then(|socket| socket.connect("[2001:db8::1]:9")).is_ok();
    if has_ipv6 {
        assert!(
            candidates.iter().any(|line| line.split(' ').nth(4).is_some_and(|address| address.contains(':'))),
            "{candidates:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_told_and_their_passwords_only_to_viewers() {
    let dir = tempfile::tempdir().expect("a directory");
    let password = dir.path().join("turn");
    std::fs::write(&password, "swordfish\n").expect("write the password");
    let servers = format!(
        "[{{ urls = [\"stun:127.0.0.1:9\"] }}, {{ urls = [\"turn:127.0.0.1:9\"], username = \"u\", credential_file = {:?} }}]",
        password.display().to_string()
    );
    let with_servers = |settings: Settings| settings.value("ice.servers", &servers);
    let Some((answer, daemon, _broker)) = answer(with_servers).await else { return };
    let expected = json!([
        {"urls": ["stun:127.0.0.1:9"]},
        {"urls": ["turn:127.0.0.1:9"], "username": "u", "credential": "swordfish"},
    ]);
    assert_eq!(answer["iceServers"], expected, "{answer}");
    // Nobody answers there, and the local candidates came all the same.
    assert!(!candidates(&answer).is_empty(), "{answer}");
    let page = get(&daemon.page().await, "viewer.json").await;
    assert!(page.contains("stun:127.0.0.1:9") && !page.contains("swordfish"), "{page}");
    assert!(!daemon.log().contains("swordfish"), "the password is in the log");
}

/// One HTTP request, by hand.
async fn get(page: &str, path: &str) -> String {
    let host = page.trim_start_matches("http://").trim_end_matches('/');
    let mut socket = tokio::net::TcpStream::connect(host).await.expect("the page's port");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("to write");
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("a response");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_is_announced_beside_the_local_ones() {
    let broker = Mosquitto::start();
    let Some(broker) = broker else { return };
    let _daemon = Daemon::run(Settings::new(&broker.url()).text("ice.public_ip", "203.0.113.7"));
    Dashboard::connect(broker.port()).await.availability("online").await;
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.say(json!({"type": "offer", "sdp": OFFER})).await;
    viewer.expect("answer").await;
    let (mut public, mut local) = (0, 0);
    loop {
        let message = viewer.next("a candidate").await;
        let Some(candidate) = message["candidate"]["candidate"].as_str() else { break };
        if candidate.contains(" 203.0.113.7 ") {
            assert!(candidate.contains("typ srflx"), "{candidate}");
            public += 1;
        } else {
            local += 1;
        }
    }
    assert!(public >= 1 && local >= 1, "{public} public, {local} local");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_answer_announces_the_public_address_too() {
    let public = |settings: Settings| settings.text("ice.public_ip", "203.0.113.7");
    let Some((answer, _daemon, _broker)) = answer(public).await else { return };
    let candidates = candidates(&answer);
    assert!(candidates.iter().any(|line| line.contains(" 203.0.113.7 ")), "{candidates:#?}");
}
