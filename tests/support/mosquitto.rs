//! A real Mosquitto on 127.0.0.1 for one test: free ports, own files, logs kept, gone on drop.

use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::certificates::Certificates;

/// What the broker should offer besides plain MQTT.
#[derive(Default)]
pub struct Options<'a> {
    /// A WebSocket listener.
    pub websocket: bool,
    /// TLS listeners (MQTT, and WebSocket when that is on) with this CA's server certificate.
    pub tls: Option<&'a Certificates>,
    /// TLS clients must show a certificate of that CA.
    pub client_certificates: bool,
    /// User and password pairs; with none, everybody may enter.
    pub users: &'a [(&'a str, &'a str)],
    /// Lines of an ACL file.
    pub acl: Option<&'a str>,
    /// Further lines of mosquitto.conf.
    pub extra: &'a str,
}

/// A running broker. Its process is killed and its directory removed on drop.
pub struct Mosquitto {
    dir: tempfile::TempDir,
    child: Option<Child>,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    mqtt: u16,
    websocket: u16,
    mqtts: u16,
    secure_websocket: u16,
}

/// Where the program is, or `None` after printing that the test is skipped and why.
pub fn program() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    places.push("/usr/sbin".into());
    places.push("/usr/local/sbin".into());
    let found = places.into_iter().map(|dir| dir.join("mosquitto")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!(
            "SKIPPED: there is no mosquitto on this machine; install the package mosquitto to run this test"
        );
    }
    found
}

impl Mosquitto {
    /// Starts a broker that anybody may use, or tells that the test is skipped.
    pub fn start() -> Option<Self> {
        Self::start_with(&Options::default())
    }

    /// Starts a broker with options, or tells that the test is skipped.
    pub fn start_with(options: &Options<'_>) -> Option<Self> {
        program()?;
        let dir = tempfile::tempdir().expect("a directory for mosquitto");
        let ports = free_ports();
        let config = configuration(options, ports, dir.path());
        std::fs::write(dir.path().join("mosquitto.conf"), config).expect("write mosquitto.conf");
        let mut broker = Self { dir, child: None, ports };
        broker.start_again();
        Some(broker)
    }

    /// Starts it again on the same ports.
    pub fn start_again(&mut self) {
        self.kill();
        let log = File::options().create(true).append(true).open(self.log_path()).expect("open the log");
        let child = Command::new(program().expect("it was there a moment ago"))
            .arg("-v")
            .arg("-c")
            .arg(self.dir.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("start mosquitto");
        self.child = Some(child);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.mqtt));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`, by its handle. Harmless when it is not running.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process where it is (SIGSTOP): connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Undoes [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("a running broker").id().to_string();
        let done = Command::new("kill").args([name, &pid]).status().expect("run kill");
        assert!(done.success());
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The port of the plain listener.
    pub fn port(&self) -> u16 {
        self.ports.mqtt
    }

    /// The port of the plain WebSocket listener.
    pub fn websocket_port(&self) -> u16 {
        self.ports.websocket
    }

    /// `mqtt://…`.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.ports.mqtt)
    }

    /// `ws://…`.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.ports.websocket)
    }

    /// `mqtts://…`, by the name that is in the certificate.
    pub fn mqtts_url(&self) -> String {
        format!("mqtts://localhost:{}", self.ports.mqtts)
    }

    /// `wss://…`, by the name that is in the certificate.
    pub fn wss_url(&self) -> String {
        format!("wss://localhost:{}", self.ports.secure_websocket)
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("mosquitto.log")
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- mosquitto (last lines) ---\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}

/// Ports that were free a moment ago. Held together, so that they differ.
fn free_ports() -> Ports {
    let sockets: Vec<TcpListener> =
        (0..4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
    let port = |n: usize| sockets[n].local_addr().expect("an address").port();
    Ports { mqtt: port(0), websocket: port(1), mqtts: port(2), secure_websocket: port(3) }
}

fn configuration(options: &Options<'_>, ports: Ports, dir: &Path) -> String {
    let mut text = String::from("persistence false\nper_listener_settings false\n");
    // Started as root it would change to the user `mosquitto`, who cannot read a test's files.
    text.push_str("user root\n");
    // Without it each message waits up to 40 ms for the acknowledgement of the one before.
    text.push_str("set_tcp_nodelay true\n");
    let _ = writeln!(text, "allow_anonymous {}", options.users.is_empty());
    if !options.users.is_empty() {
        let _ = writeln!(text, "password_file {}", password_file(options.users, dir).display());
    }
    if let Some(acl) = options.acl {
        let path = dir.join("acl");
        std::fs::write(&path, acl).expect("write the ACL");
        let _ = writeln!(text, "acl_file {}", path.display());
    }
    let _ = writeln!(text, "{}", options.extra);
    let _ = writeln!(text, "listener {} 127.0.0.1", ports.mqtt);
    if options.websocket {
        let _ = writeln!(text, "listener {} 127.0.0.1\nprotocol websockets", ports.websocket);
    }
    if let Some(certificates) = options.tls {
        let mut listen = |port: u16, protocol: &str| {
            let _ = writeln!(text, "listener {port} 127.0.0.1\nprotocol {protocol}");
            for (key, file) in [("cafile", "ca.pem"), ("certfile", "server.pem"), ("keyfile", "server.key")] {
                let _ = writeln!(text, "{key} {}", certificates.path(file).display());
            }
            let _ = writeln!(text, "require_certificate {}", options.client_certificates);
        };
        listen(ports.mqtts, "mqtt");
        if options.websocket {
            listen(ports.secure_websocket, "websockets");
        }
    }
    text
}

fn password_file(users: &[(&str, &str)], dir: &Path) -> PathBuf {
    let path = dir.join("passwords");
    let lines: Vec<String> = users.iter().map(|(user, password)| format!("{user}:{password}\n")).collect();
    std::fs::write(&path, lines.concat()).expect("write passwords");
    // Hashes the plain passwords in place.
    let hashed = Command::new("mosquitto_passwd").arg("-U").arg(&path).status();
    assert!(hashed.is_ok_and(|status| status.success()), "mosquitto_passwd failed: is mosquitto whole?");
    path
}
