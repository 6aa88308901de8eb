//! The MQTT client against a real broker: it comes back, it is encrypted, and no message brings it down.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use porthole::base::tasks::TaskGroup;
use porthole::signaling::mqtt::{
    Incoming, KEPT_PAYLOAD_BYTES, MqttClient, MqttClientConfig, MqttEvent, Outgoing, TlsFiles, connect,
};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use support::certificates::Certificates;
use support::mosquitto::{Mosquitto, Options};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(url: &str, id: &str) -> MqttClientConfig {
    MqttClientConfig::new(url.parse().expect("a broker URL"), id)
}

fn listening(url: &str, id: &str, filter: &str) -> MqttClientConfig {
    MqttClientConfig { subscriptions: vec![filter.to_owned()], ..config(url, id) }
}

fn open(config: MqttClientConfig) -> (MqttClient, Receiver<MqttEvent>) {
    connect(config, &TaskGroup::new()).expect("a client")
}

async fn next(events: &mut Receiver<MqttEvent>) -> MqttEvent {
    timeout(PATIENCE, events.recv()).await.expect("an event in time").expect("a living client")
}

async fn connected(events: &mut Receiver<MqttEvent>) {
    loop {
        if next(events).await == MqttEvent::Connected {
            return;
        }
    }
}

async fn disconnected(events: &mut Receiver<MqttEvent>) -> String {
    loop {
        if let MqttEvent::Disconnected { reason } = next(events).await {
            return reason;
        }
    }
}

async fn message(events: &mut Receiver<MqttEvent>) -> Incoming {
    match next(events).await {
        MqttEvent::Message(message) => message,
        other => panic!("a message was expected, not {other:?}"),
    }
}

/// A client that says `text` to itself and must hear it.
async fn echo(client: &MqttClient, events: &mut Receiver<MqttEvent>, topic: &str, text: &'static str) {
    assert!(client.publish(Outgoing::signal(topic, text)));
    assert_eq!(
        message(events).await,
        Incoming { topic: topic.into(), payload: text.into(), retain: false, answer_to: None }
    );
}

#[tokio::test]
async fn it_comes_back_after_the_broker_was_killed() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let (client, mut events) = open(listening(&broker.url(), "device", "t/#"));
    connected(&mut events).await;
    echo(&client, &mut events, "t/1", "before").await;
    for _ in 0..3 {
        broker.kill();
        let reason = disconnected(&mut events).await;
        assert!(reason.contains("closed"), "{reason}");
        broker.start_again();
        connected(&mut events).await;
        echo(&client, &mut events, "t/1", "after").await;
    }
    assert!(client.close(PATIENCE).await);
}

#[tokio::test]
async fn it_starts_before_the_broker_and_sends_what_waited() {
    let Some(mut broker) = Mosquitto::start() else { return };
    broker.kill();
    let (client, mut events) = open(listening(&broker.url(), "device", "t/#"));
    let reason = disconnected(&mut events).await;
    assert!(reason.contains("nothing listens"), "{reason}");
    assert!(client.publish(Outgoing::signal("t/early", "x")));
    broker.start_again();
    connected(&mut events).await;
    assert_eq!(message(&mut events).await.topic, "t/early");
}

#[tokio::test]
async fn huge_messages_do_not_end_the_connection() {
    let Some(broker) = Mosquitto::start_with(&Options { websocket: true, ..Options::default() }) else {
        return;
    };
    // Each broker URL with a message that is too large for the client, and one that is large but arrives.
    for (url, too_large, large) in
        [(broker.url(), 20_000_000, 10_000_000), (broker.ws_url(), 10_000_000, 300_000)]
    {
        let (client, mut events) = open(listening(&url, "device", "t/#"));
        connected(&mut events).await;
        for bytes in [too_large, large] {
            publish_file(&broker, "t/huge", &vec![b'x'; bytes]);
        }
        let huge = message(&mut events).await;
        assert_eq!((huge.topic.as_str(), huge.payload.len()), ("t/huge", KEPT_PAYLOAD_BYTES), "{url}");
        publish_file(&broker, "t/odd", b"\xff\xfe\0");
        assert_eq!(&message(&mut events).await.payload[..], b"\xff\xfe\0");
        // And outwards: a snapshot is far beyond rumqttc's default of 10 KiB.
        assert!(client.publish(Outgoing::signal("t/own", vec![7; 100_000])));
        assert_eq!(message(&mut events).await.topic, "t/own");
        echo(&client, &mut events, "t/1", "still here").await;
        assert!(client.close(PATIENCE).await);
    }
}

fn publish_file(broker: &Mosquitto, topic: &str, payload: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), payload).expect("write");
    let port = broker.port().to_string();
    let done = std::process::Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", topic, "-f"])
        .arg(file.path())
        .status()
        .expect("run mosquitto_pub: install the package mosquitto-clients");
    assert!(done.success());
}

#[tokio::test]
async fn tls_with_an_own_ca_and_a_client_certificate() {
    let certificates = Certificates::new();
    let options = Options {
        tls: Some(&certificates),
        client_certificates: true,
        websocket: true,
        ..Options::default()
    };
    let Some(broker) = Mosquitto::start_with(&options) else { return };
    let files = TlsFiles {
        ca_file: Some(certificates.path("ca.pem")),
        client_cert_file: Some(certificates.path("client.pem")),
        client_key_file: Some(certificates.path("client.key")),
    };
    for url in [broker.mqtts_url(), broker.wss_url()] {
        let (client, mut events) =
            open(MqttClientConfig { tls: files.clone(), ..listening(&url, "device", "t/#") });
        connected(&mut events).await;
        echo(&client, &mut events, "t/1", "secret").await;
        client.close(PATIENCE).await;

        let bare = TlsFiles { client_cert_file: None, client_key_file: None, ..files.clone() };
        let (_client, mut events) = open(MqttClientConfig { tls: bare, ..config(&url, "bare") });
        let reason = disconnected(&mut events).await;
        assert!(reason.contains("client_cert_file"), "{url}: {reason}");
    }
}

#[tokio::test]
async fn an_unknown_ca_a_wrong_name_and_a_wrong_port_are_named() {
    let certificates = Certificates::new();
    let strangers = Certificates::new();
    let Some(broker) = Mosquitto::start_with(&Options { tls: Some(&certificates), ..Options::default() })
    else {
        return;
    };
    let by_address = broker.mqtts_url().replace("localhost", "127.0.0.2");
    let plain_port = broker.url().replace("mqtt://", "mqtts://");
    let tls_port = broker.mqtts_url().replace("mqtts://", "mqtt://");
    for (url, ca, part) in [
        (broker.mqtts_url(), Some(&strangers), "mqtt.ca_file"),
        (by_address, Some(&certificates), "nothing listens"),
        (plain_port, Some(&certificates), "TLS port"),
        (tls_port, None, "TLS port"),
    ] {
        let tls = TlsFiles { ca_file: ca.map(|c| c.path("ca.pem")), ..TlsFiles::default() };
        let (_client, mut events) = open(MqttClientConfig { tls, ..config(&url, "device") });
        let reason = disconnected(&mut events).await;
        assert!(reason.contains(part), "{url}: {reason}");
    }
}

#[tokio::test]
async fn credentials_are_used_and_their_refusal_is_named() {
    let Some(broker) = Mosquitto::start_with(&Options { users: &[("cam", "right")], ..Options::default() })
    else {
        return;
    };
    let (_client, mut events) = open(config(&broker.url().replace("127", "cam:wrong@127"), "device"));
    let reason = disconnected(&mut events).await;
    assert!(reason.contains("mqtt.password_file") && !reason.contains("wrong"), "{reason}");
    let mut good = config(&broker.url(), "device");
    good.username = Some("cam".into());
    good.password = Some("right".into());
    let (_client, mut events) = open(good);
    connected(&mut events).await;
}

#[tokio::test]
async fn the_will_is_for_the_unclean_end_only() {
    let Some(broker) = Mosquitto::start() else { return };
    let (_witness, mut seen) = open(listening(&broker.url(), "witness", "t/#"));
    connected(&mut seen).await;
    let dying = |id: &str| MqttClientConfig {
        will: Some(Outgoing::signal(format!("t/{id}"), "dead")),
        ..config(&broker.url(), id)
    };
    let (client, mut events) = open(dying("clean"));
    connected(&mut events).await;
    for n in 0..60 {
        assert!(client.publish(Outgoing::signal(format!("t/{n}"), "last words")));
    }
    assert!(client.close(PATIENCE).await, "everything queued is sent before the end");
    assert!(!client.publish(Outgoing::signal("t/late", "x")));
    let (client, mut events) = open(dying("dropped"));
    connected(&mut events).await;
    drop(client);
    for n in 0..60 {
        assert_eq!(message(&mut seen).await.topic, format!("t/{n}"));
    }
    assert_eq!(message(&mut seen).await.topic, "t/dropped");
}

#[tokio::test]
async fn a_broker_of_mqtt_3_alone_is_told_apart() {
    // By IPv6 too, where the machine has it, because addresses with colons are easily taken apart wrongly.
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            while let Ok((mut socket, _)) = listener.accept() {
                let mut buffer = [0; 512];
                let _ = socket.read(&mut buffer);
                // MQTT 3.1.1's own refusal: unacceptable protocol version.
                let _ = socket.write_all(&[0x20, 0x02, 0x00, 0x01]);
            }
        });
        let url = format!("mqtt://{}:{port}", address.trim_end_matches(":0"));
        let (_client, mut events) = open(config(&url, "device"));
        let reason = disconnected(&mut events).await;
        assert!(reason.contains("MQTT 5"), "{reason}");
    }
}

#[tokio::test]
async fn closing_without_a_broker_does_not_wait() {
    let (client, mut events) = open(config("mqtt://127.0.0.1:1", "device"));
    disconnected(&mut events).await;
    client.publish(Outgoing::retained("t", "x"));
    assert!(!timeout(Duration::from_secs(3), client.close(PATIENCE)).await.expect("in time"));
}

#[tokio::test]
async fn a_reader_that_sleeps_does_not_end_the_connection() {
    let Some(broker) = Mosquitto::start() else { return };
    let (client, mut events) = open(listening(&broker.url(), "device", "t/#"));
    connected(&mut events).await;
    for _ in 0..40 {
        while client.publish(Outgoing::signal("t/1", "flood")) {}
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Nothing was read meanwhile: some messages are lost, the client is not.
    while timeout(Duration::from_millis(500), events.recv()).await.is_ok() {}
    echo(&client, &mut events, "t/2", "still here").await;
}
