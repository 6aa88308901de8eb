//! `porthole doctor` of the broker, STUN and TURN: each broken in turn, and what it says of it.

mod support;

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::PATIENCE;
use support::certificates::Certificates;
use support::daemon::Settings;
use support::mosquitto::{Mosquitto, Options};
use support::patient::{Said, doctor};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_or_does_not_answer() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let settings = Settings::new(&broker.url());
    broker.freeze();
    let frozen = doctor(settings.clone()).await;
    broker.thaw();
    let (what, next) = frozen.only_failure("broker");
    assert!(what.contains("does not answer") && next.contains("check"), "{what}: {next}");
    broker.kill();
    let (what, next) = doctor(settings).await.only_failure("broker");
    assert!(what.contains("nothing listens") && next.contains("start the broker"), "{what}: {next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_and_the_right_ones_work() {
    let options = Options { users: &[("cam", "right")], ..Options::default() };
    let Some(broker) = Mosquitto::start_with(&options) else { return };
    let passwords = tempfile::tempdir().expect("a folder");
    let file = passwords.path().join("password");
    let settings =
        Settings::new(&broker.url()).text("mqtt.username", "cam").path("mqtt.password_file", &file);
    std::fs::write(&file, "wrong\n").expect("write");
    let said = doctor(settings.clone()).await;
    let (what, next) = said.only_failure("broker");
    assert!(
        what.contains("refuses these credentials") && next.contains("mqtt.password_file"),
        "{what}: {next}"
    );
    assert!(!said.report.to_string().contains("wrong"), "the password is shown");
    std::fs::write(&file, "right\n").expect("write");
    doctor(settings).await.well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_stranger_is_told_and_the_right_ca_works() {
    let (certificates, strangers) = (Certificates::new(), Certificates::new());
    let options = Options { tls: Some(&certificates), ..Options::default() };
    let Some(broker) = Mosquitto::start_with(&options) else { return };
    let trusting =
        |whom: &Certificates| Settings::new(&broker.mqtts_url()).path("mqtt.ca_file", &whom.path("ca.pem"));
    let (what, next) = doctor(trusting(&strangers)).await.only_failure("broker");
    assert!(what.contains("signed by nobody") && next.contains("mqtt.ca_file"), "{what}: {next}");
    let said = doctor(trusting(&certificates)).await;
    said.well();
    let entered = said.findings("broker")[0]["what"].as_str().expect("text").to_owned();
    assert!(entered.contains("TLS, its certificate signed by"), "{entered}");
}

/// What an access list leaves out, and what has to be named.
async fn with_rules(rules: &str) -> Option<Said> {
    let acl = format!("user cam\n{rules}\n");
    let options = Options { users: &[("cam", "right")], acl: Some(&acl), ..Options::default() };
    let broker = Mosquitto::start_with(&options)?;
    let passwords = tempfile::tempdir().expect("a folder");
    let file = passwords.path().join("password");
    std::fs::write(&file, "right\n").expect("write");
    let settings =
        Settings::new(&broker.url()).text("mqtt.username", "cam").path("mqtt.password_file", &file);
    Some(doctor(settings).await)
}

/// The doctor names `topic`, and the right to it that `cam` lacks.
async fn assert_named(rules: &str, topic: &str, right: &str) {
    let Some(said) = with_rules(rules).await else { return };
    let (what, next) = said.only_failure("broker");
    assert!(what.contains(topic), "{what}");
    assert!(next.contains(&format!("allow cam to {right} {topic}")), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_is_named() {
    for topic in ["porthole/cam/event", "porthole/cam/state"] {
        let rules = format!("topic readwrite porthole/#\ntopic deny {topic}");
        assert_named(&rules, topic, "write").await;
    }
}

/// Mosquitto grants every subscription and keeps the messages back.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_read_is_named() {
    let rules = |read: &str| {
        format!("topic write porthole/#\ntopic read porthole/cam/{read}\ntopic read porthole/cam/do/#")
    };
    assert_named(&rules("set/#"), "porthole/cam/signal/+/up", "read").await;
    assert_named(&rules("signal/+/up"), "porthole/cam/set/#", "read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_just_enough_are_enough() {
    let rules = "topic write porthole/cam/availability\ntopic write porthole/cam/info\n\
                 topic write porthole/cam/state\ntopic write porthole/cam/event\n\
                 topic write porthole/cam/signal/+/down\ntopic read porthole/cam/signal/+/up\n\
                 topic read porthole/cam/set/#\ntopic read porthole/cam/do/#";
    let Some(said) = with_rules(rules).await else { return };
    said.well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_keeps_nothing_is_told() {
    let options = Options { extra: "retain_available false", ..Options::default() };
    let Some(broker) = Mosquitto::start_with(&options) else { return };
    let (what, _) = doctor(Settings::new(&broker.url())).await.only_failure("broker");
    assert!(what.contains("retained"), "{what}");
}

/// A coturn on this machine; it ends on drop.
struct TurnServer {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl TurnServer {
    /// Starts one and waits until it answers, or tells that the test is skipped.
    fn start() -> Option<Self> {
        if !Command::new("sh")
            .args(["-c", "command -v turnserver"])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|found| found.success())
        {
            eprintln!("SKIPPED: there is no turnserver; install the package coturn to run this test");
            return None;
        }
        let dir = tempfile::tempdir().expect("a folder for the TURN server");
        let port = free_udp_port();
        let child = Command::new("turnserver")
            .args(["-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
            .args([
                "--user=porthole:secret",
                "--realm=test",
                "--lt-cred-mech",
                "--no-cli",
                "--no-tls",
                "--no-dtls",
            ])
            .args(["--allow-loopback-peers", "--log-file=stdout", &format!("--listening-port={port}")])
            .arg(format!("--pidfile={}", dir.path().join("pid").display()))
            .arg(format!("--userdb={}", dir.path().join("db").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start turnserver");
        let server = Self { child, port, _dir: dir };
        server.wait();
        Some(server)
    }

    fn wait(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(("127.0.0.1", self.port)).expect("an address");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        // A binding request of RFC 8489: type, length, magic cookie, transaction.
        let mut request = [0; 20];
        request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        let deadline = Instant::now() + PATIENCE;
        while {
            let _ = socket.send(&request);
            socket.recv(&mut [0; 1500]).is_err()
        } {
            assert!(Instant::now() < deadline, "turnserver does not answer");
        }
    }

    /// `ice.servers` with this server alone.
    fn servers(&self, credential: &Path) -> String {
        format!(
            "[{{ urls = [\"turn:127.0.0.1:{}\"], username = \"porthole\", credential_file = \"{}\" }}]",
            self.port,
            credential.display()
        )
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_stun_server_is_told() {
    let Some(broker) = Mosquitto::start() else { return };
    let servers = format!("[{{ urls = [\"stun:127.0.0.1:{}\"] }}]", free_udp_port());
    let (what, next) =
        doctor(Settings::new(&broker.url()).value("ice.servers", servers)).await.only_failure("ice");
    assert!(what.contains("nothing listens") && next.contains("outside the local network"), "{what}: {next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_server_is_tried_with_its_password() {
    let (Some(broker), Some(turn)) = (Mosquitto::start(), TurnServer::start()) else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let credential = dir.path().join("credential");
    let settings = Settings::new(&broker.url()).value("ice.servers", turn.servers(&credential));
    std::fs::write(&credential, "wrong\n").expect("write");
    let (what, next) = doctor(settings.clone()).await.only_failure("ice");
    assert!(what.contains("refuses the credentials") && next.contains("credential_file"), "{what}: {next}");
    std::fs::write(&credential, "secret\n").expect("write");
    let said = doctor(settings).await;
    said.well();
    let relayed = said.findings("ice")[0]["what"].as_str().expect("text").to_owned();
    assert!(relayed.contains("would relay at 127.0.0.1:"), "{relayed}");
}
