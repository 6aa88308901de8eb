//! The broker inside the daemon holds what a Mosquitto holds: retained topics, wills, and rude clients.

mod support;

use std::process::Stdio;

use serde_json::{Value, json};
use support::client::Client;
use support::daemon::{DEVICE, Daemon, porthole};
use support::free_ports;
use support::viewer::{Dashboard, OFFER, Viewer};

/// A demo and the port of its broker.
async fn demo() -> (Daemon, u16, Dashboard) {
    let [port] = free_ports();
    let daemon = Daemon::open_demo(port);
    daemon.link().await;
    let mut dashboard = Dashboard::connect(port).await;
    dashboard.availability("online").await;
    (daemon, port, dashboard)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_device_says_is_kept_for_those_who_come_later() {
    let (mut daemon, port, mut dashboard) = demo().await;
    dashboard.info("its id", |info| info["device"] == DEVICE).await;
    dashboard.camera("idle").await;
    let mut late = Dashboard::connect(port).await;
    late.availability("online").await;
    assert!(late.retained, "availability is not retained");
    late.state("a state", |_| true).await;
    late.info("its id", |info| info["device"] == DEVICE).await;
    assert_eq!(daemon.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_and_the_will_of_a_killed_viewer() {
    let (mut daemon, port, mut dashboard) = demo().await;
    let mut viewer = Viewer::connect(port, "viewer").await;
    viewer.say(json!({"type": "offer", "sdp": OFFER})).await;
    viewer.expect("answer").await;
    viewer.say(json!({"type": "bye"})).await;
    dashboard.viewers(0).await;
    let url = format!("mqtt://127.0.0.1:{port}");
    let mut command =
        porthole(&["watch", "--broker", &url, "--device", DEVICE, "--seconds", "120", "--json"]);
    let mut watching = command.stdout(Stdio::null()).spawn().expect("start porthole watch");
    let flows =
        |state: &Value| state["viewers"]["sessions"][0]["bitrate"].as_f64().is_some_and(|rate| rate > 0.0);
    dashboard.state("a viewer with video", flows).await;
    watching.kill().expect("kill -9");
    watching.wait().expect("its end");
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn rude_clients_harm_only_themselves() {
    let (mut daemon, port, mut dashboard) = demo().await;
    let mut viewer = Viewer::connect(port, "viewer").await;
    let bad: [(Vec<u8>, &str); 3] = [
        (b"{".to_vec(), "bad-message"),
        (b"\0\xff".to_vec(), "bad-message"),
        (vec![b'x'; 100_000], "too-large"),
    ];
    for (payload, code) in bad {
        viewer.raw(payload).await;
        viewer.refused(code).await;
    }
    // More than this broker takes: it may throw the sender out, and nobody else.
    let rude = Client::connect(port, "rude", &[]).await;
    rude.publish(&format!("porthole/{DEVICE}/signal/rude/up"), vec![b'x'; 10 * 1024 * 1024]).await;
    // No MQTT at all.
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0x10, 0xff, 0xff, 0xff, 0x7f]] {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        std::io::Write::write_all(&mut socket, noise).expect("to write");
    }
    viewer.say(json!({"type": "offer", "sdp": OFFER})).await;
    viewer.expect("answer").await;
    dashboard.viewers(1).await;
    assert_eq!(dashboard.ask("do/close", "").await["ok"], true);
    viewer.expect("bye").await;
    dashboard.viewers(0).await;
    daemon.assert_unharmed();
}
