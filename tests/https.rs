//! The HTTP server with a certificate of one's own, which is read again when it changes.

mod support;

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use support::PATIENCE;
use support::certificates::Certificates;
use support::daemon::{Daemon, Settings, porthole};
use support::http::{Answer, Site};
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection over TLS, of a client that trusts this authority and no other.
async fn connect(site: &Site, trusted: &Certificates) -> Result<TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(trusted.path("ca.pem")).expect("a CA");
    roots.add(ca).expect("a CA");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(&site.0).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    connecting.await.map_err(|error| error.to_string())
}

/// One request over TLS.
async fn ask(site: &Site, trusted: &Certificates, request: &str) -> Result<Answer, String> {
    let mut stream = connect(site, trusted).await?;
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut bytes = Vec::new();
    // The other side may close the connection without a farewell of TLS.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end");
    Answer::parse(&bytes).ok_or_else(|| format!("no answer: {}", String::from_utf8_lossy(&bytes)))
}

fn copy(from: &Certificates, names: &[&str], to: &Certificates) {
    for name in names {
        std::fs::copy(from.path(name), to.path(name)).expect("copy a certificate");
    }
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_used_and_read_again_when_it_changes() {
    let Some(broker) = Mosquitto::start() else { return };
    let (served, first, second) = (Certificates::new(), Certificates::new(), Certificates::new());
    copy(&first, &["server.pem", "server.key"], &served);
    let settings = Settings::new(&broker.url())
        .path("http.tls_cert_file", &served.path("server.pem"))
        .path("http.tls_key_file", &served.path("server.key"));
    let mut daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let info = dashboard.info("an address for players", |info| info["whep"].is_string()).await;
    assert!(info["whep"].as_str().is_some_and(|url| url.starts_with("https://127.0.0.1:")), "{info:#}");
    let site = Site::of(&daemon.page().await);

    assert_eq!(ask(&site, &first, HEALTH).await.expect("an answer").status, 200);
    ask(&site, &second, HEALTH).await.expect_err("a certificate of another authority");
    let offer = format!(
        "POST /whep HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{OFFER}",
        OFFER.len()
    );
    assert_eq!(ask(&site, &first, &offer).await.expect("an answer").status, 201);
    dashboard.viewers(1).await;

    // Only the certificate, not its key: what is in force stays.
    copy(&second, &["server.pem"], &served);
    daemon.logged("the certificate in force stays as it is").await;
    assert_eq!(ask(&site, &first, HEALTH).await.expect("an answer").status, 200);
    copy(&second, &["server.key"], &served);
    daemon.logged("the certificate was read again").await;
    assert_eq!(ask(&site, &second, HEALTH).await.expect("an answer").status, 200);
    ask(&site, &first, HEALTH).await.expect_err("the former certificate");

    // Who forgets the s of https is sent there.
    let plain = site.get("/some/where?x=1").await;
    assert_eq!(plain.status, 308, "{plain:?}");
    assert_eq!(plain.header("location"), format!("https://{}/some/where?x=1", site.0));
    for nonsense in [&[0x16, 3, 1, 0xff, 0xff][..], &[0; 400], b"\r\n\r\n"] {
        let mut stream = TcpStream::connect(&site.0).await.expect("a connection");
        stream.write_all(nonsense).await.expect("written");
    }
    assert_eq!(ask(&site, &second, HEALTH).await.expect("an answer").status, 200);
    daemon.assert_unharmed();
}

/// Reads until so many bytes have come.
async fn read(stream: &mut TlsStream<TcpStream>, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        while !enough(&bytes) {
            assert!(stream.read_buf(&mut bytes).await.expect("bytes") > 0, "an end after {bytes:?}");
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("more bytes");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_broker_is_reached_through_the_page() {
    let certificates = Certificates::new();
    let mut daemon = Daemon::run(certificates.settings());
    let site = Site::of(&daemon.page().await);
    let told = "GET /viewer.json HTTP/1.1\r\nHost: camera.local:8443\r\nConnection: close\r\n\r\n";
    let told = ask(&site, &certificates, told).await.expect("an answer").json();
    assert_eq!(told["broker"], "wss://camera.local:8443/mqtt", "{told}");
    let plain = "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    ask(&site, &certificates, plain).await.expect("an answer").assert_refused(426, "bad-message");

    let mut stream = connect(&site, &certificates).await.expect("a connection");
    let handshake = "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.expect("written");
    let head = read(&mut stream, |bytes| bytes.ends_with(b"\r\n\r\n")).await;
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("sec-websocket-protocol: mqtt"), "{head}");
    // The example of RFC 6455 section 1.3.
    assert!(head.contains(&"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_ascii_lowercase()), "{head}");
    // MQTT 3.1.1: a CONNECT as `tab`, in one masked frame, is answered by a CONNACK without complaint.
    let connect = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03tab";
    let length = u8::try_from(connect.len()).expect("short");
    let frame = [&[0x82, 0x80 | length, 0, 0, 0, 0], &connect[..]].concat();
    stream.write_all(&frame).await.expect("written");
    let answer = read(&mut stream, |bytes| bytes.len() >= 6).await;
    assert_eq!(answer[..6], [0x82, 4, 0x20, 2, 0, 0], "{answer:?}");
    drop(stream);
    daemon.assert_unharmed();
}

#[test]
fn a_certificate_that_cannot_be_used_says_so_at_the_start() {
    let (one, other) = (Certificates::new(), Certificates::new());
    let file = tempfile::NamedTempFile::new().expect("a file");
    let settings = Settings::new("mqtt://127.0.0.1:1")
        .path("device.state_dir", &one.path("state"))
        .path("http.tls_cert_file", &one.path("server.pem"))
        .path("http.tls_key_file", &other.path("server.key"));
    std::fs::write(file.path(), settings.toml()).expect("write");
    let done = porthole(&["run", "--config", file.path().to_str().expect("UTF-8")]).output().expect("run");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("server.pem") && said.contains("cannot be used together"), "{said}");
}

#[test]
fn check_finds_certificates_whose_key_is_another_ones() {
    let (one, other) = (Certificates::new(), Certificates::new());
    let check = |settings: Settings| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), settings.toml()).expect("write");
        let arguments = ["check", "--config", file.path().to_str().expect("UTF-8")];
        let done = porthole(&arguments).output().expect("run");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let of_the_page = |keys: &Certificates| {
        Settings::new("mqtt://127.0.0.1:1")
            .path("http.tls_cert_file", &one.path("server.pem"))
            .path("http.tls_key_file", &keys.path("server.key"))
    };
    let to_the_broker = |keys: &Certificates| {
        Settings::new("mqtts://127.0.0.1:1")
            .path("mqtt.ca_file", &one.path("ca.pem"))
            .path("mqtt.client_cert_file", &one.path("client.pem"))
            .path("mqtt.client_key_file", &keys.path("client.key"))
    };
    for good in [of_the_page(&one), to_the_broker(&one)] {
        assert_eq!(check(good), (Some(0), String::new()));
    }
    for (wrong, file) in [(of_the_page(&other), "server.pem"), (to_the_broker(&other), "client.pem")] {
        let (code, said) = check(wrong);
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(file) && said.contains("cannot be used together"), "{said}");
    }
}
