//! What commands show of what somebody else wrote: nothing of it moves a cursor, turns text around, begins a line or fills the
//! screen.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::client::Client;
use support::daemon::{DEVICE, Settings, porthole};
use support::mosquitto::Mosquitto;
use support::patient::Patient;

/// The most that is shown of one text from outside.
const MOST: usize = 200;

fn hostile() -> String {
    format!("a\nFORGED \u{1b}[2J\u{9b}31m\u{202e}\u{7f}\u{7}{}", "x".repeat(5000))
}

/// What a command said, after a look at all of it.
fn harmless(what: &str, output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let bad = |c: &char| (c.is_control() && *c != '\n' && *c != '\t') || matches!(c, '\u{202a}'..='\u{202e}');
    assert_eq!(text.chars().find(bad), None, "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.trim_start().starts_with("FORGED")), "{what}: {text:?}");
    assert!(!text.contains(&"x".repeat(MOST + 1)), "{what}: {text:?}");
    text
}

async fn run(mut command: Command) -> Output {
    command.env_remove("PORTHOLE_LOG");
    tokio::process::Command::from(command).output().await.expect("run porthole")
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_links() {
    let (hostile, dir) = (hostile(), tempfile::tempdir().expect("a folder"));
    let encoded: String = url::form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
    let link = |fields: &str| format!("http://page/#{fields}");
    let file = dir.path().join("porthole.toml");
    let file = file.to_str().expect("UTF-8");
    let links = [
        hostile.clone(),
        link(&format!("broker=ws://127.0.0.1:1&device={encoded}")),
        link(&format!("broker={encoded}&device=cam")),
        link(&format!("broker=ws://{encoded}&device=cam")),
        link(&format!("broker=ws://127.0.0.1:1/{encoded}&device=cam")),
        link(&format!("broker=mqtt://127.0.0.1:1&device=cam&root={encoded}")),
        link(&format!("broker=mqtt://127.0.0.1:1&device=cam&grant={encoded}&secret={encoded}")),
    ];
    for link in &links {
        let said = run(porthole(&["watch", "--seconds", "1", "--link", link])).await;
        assert!(!said.status.success(), "{link}");
        harmless(link, &said);
    }
    let option = format!("--{hostile}");
    for arguments in [
        &["watch", "--device", &hostile][..],
        &["watch", "--broker", &hostile, "--device", "cam", "--seconds", "1"],
        &["watch", &option],
        &[&hostile],
        &["setup", "--output", file, "--yes", "--id", &hostile],
        &["setup", "--output", file, "--yes", "--name", &hostile],
        &["setup", "--output", file, "--yes", "--broker", &hostile],
        &["setup", "--output", file, "--yes", "--broker", "mosquitto", "--broker-host", &hostile],
        &["setup", "--output", file, "--yes", "--camera", &hostile],
        &["grant", &hostile],
        &["grant", "anna", "--rights", &hostile],
        &["grant", "anna", "--expires", &hostile],
        &["revoke", &hostile],
        &["doctor", &option],
    ] {
        let said = run(porthole(arguments)).await;
        assert!(!said.status.success(), "{arguments:?}");
        harmless(&format!("{arguments:?}"), &said);
    }
}

/// A device, or a broker in its place, that refuses in such words.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_says_to_watch() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut device =
        Client::connect(broker.port(), DEVICE, &[format!("porthole/{DEVICE}/signal/+/up")]).await;
    let said = [
        json!({"type": "error", "code": hostile(), "message": hostile()}).to_string(),
        json!({"type": "bye", "reason": hostile()}).to_string(),
        json!({"type": "answer", "sdp": hostile()}).to_string(),
        json!({"type": hostile()}).to_string(),
        hostile(),
    ];
    let url = broker.url();
    for words in said {
        for more in [&[][..], &["--json"]] {
            let arguments = ["watch", "--broker", &url, "--device", DEVICE, "--seconds", "2"];
            let watching = tokio::spawn(run(porthole(&[&arguments[..], more].concat())));
            let offer = loop {
                let message = device.next("an offer").await;
                if message.json()["type"] == "offer" {
                    break message;
                }
            };
            let down = offer.topic.replace("/up", "/down");
            let words = serde_json::from_str::<Value>(&words).map_or(words.clone(), |mut value| {
                value["session"] = offer.json()["session"].clone();
                value.to_string()
            });
            device.publish(&down, words.clone()).await;
            let output = watching.await.expect("a run");
            let shown = harmless(&words, &output);
            if !more.is_empty() {
                let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                assert_ne!(report["errors"], json!([]), "{shown}");
            }
        }
    }
}

/// Something that answers on a broker's port, in such words.
fn babbler() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let words = hostile();
            let line = words.replace('\n', " ");
            let _ = write!(stream, "HTTP/1.1 403 {line}\r\nServer: {line}\r\nUpgrade: {line}\r\n\r\n{words}");
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_says_to_each_command() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let port = babbler();
    for scheme in ["ws", "mqtt"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let said = run(porthole(&["watch", "--broker", &url, "--device", "cam", "--seconds", "1"])).await;
        harmless(&url, &said);
        let output = file.to_str().expect("UTF-8");
        let said = run(porthole(&[
            "setup", "--output", output, "--yes", "--force", "--camera", "test", "--broker", &url,
        ]))
        .await;
        harmless(&url, &said);
    }
    let mut patient = Patient::new(Settings::new(&format!("ws://127.0.0.1:{port}")));
    let file = patient.dir.path().join("porthole.toml");
    for more in [&[][..], &["--json"]] {
        patient.command =
            porthole(&[&["doctor", "--config", file.to_str().expect("UTF-8")][..], more].concat());
        let said = run(std::mem::replace(&mut patient.command, porthole(&[]))).await;
        harmless("doctor", &said);
        if !more.is_empty() {
            assert!(serde_json::from_slice::<Value>(&said.stdout).is_ok_and(|report| report["v"] == 1));
        }
    }
}
