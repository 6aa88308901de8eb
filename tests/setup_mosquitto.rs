//! `porthole setup --broker mosquitto`: whether a real Mosquitto, the daemon, viewers and attackers agree with it.

mod support;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::browser::Browser;
use support::daemon::{Daemon, porthole};
use support::mosquitto::program;
use support::setup::{assert_done, link, mode, pieces, setup, text};
use support::{PATIENCE, free_ports};

/// What `setup --broker mosquitto` wrote, and a real Mosquitto that runs with it.
struct Broker {
    dir: tempfile::TempDir,
    child: Option<Child>,
    mqtts: u16,
    wss: u16,
    link: String,
}

impl Broker {
    /// `None` without a Mosquitto.
    fn start() -> Option<Self> {
        program()?;
        let dir = tempfile::tempdir().expect("a folder");
        // Mosquitto gives up root's rights and still has to reach its files.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let printed = assert_done(&setup(
            &dir.path().join("porthole.toml"),
            &[
                "--yes",
                "--id",
                "cam",
                "--camera",
                "test",
                "--broker",
                "mosquitto",
                "--broker-host",
                "localhost",
            ],
        ));
        let [mqtts, wss] = free_ports();
        let mut broker = Self { dir, child: None, mqtts, wss, link: link(&printed) };
        broker.install();
        broker.run();
        Some(broker)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// By its own script where that is possible, which is as root and where Mosquitto has its user.
    fn install(&self) {
        let to = self.path("installed");
        let has_user = Command::new("id").arg("mosquitto").output().is_ok_and(|id| id.status.success());
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        if has_user && is_root {
            let script = self.path("broker/install.sh");
            let done = Command::new("sh").arg(script).arg(&to).output().expect("run install.sh");
            assert!(done.status.success(), "{}", text(&done.stderr));
            return;
        }
        for folder in ["etc/mosquitto/porthole", "etc/mosquitto/conf.d"] {
            fs::create_dir_all(to.join(folder)).expect("a folder");
        }
        for name in ["acl", "passwords", "server.key", "server.pem", "ca.pem"] {
            let to = to.join("etc/mosquitto/porthole").join(name);
            fs::copy(self.path("broker").join(name), to).expect("copied");
        }
        let to = to.join("etc/mosquitto/conf.d/porthole.conf");
        fs::copy(self.path("broker/porthole.conf"), to).expect("copied");
    }

    /// On free ports of the loopback instead of its own; the rest is as it was written.
    fn run(&mut self) {
        let conf = self.path("installed/etc/mosquitto/conf.d/porthole.conf");
        let written = fs::read_to_string(&conf).expect("porthole.conf");
        let home = self.path("installed/etc/mosquitto/porthole").display().to_string();
        let here = written
            .replace("/etc/mosquitto/porthole", &home)
            .replace("listener 8883\n", &format!("listener {} 127.0.0.1\n", self.mqtts))
            .replace("listener 9001\n", &format!("listener {} 127.0.0.1\n", self.wss));
        assert_eq!(here.matches("127.0.0.1").count(), 2, "{written}");
        fs::write(&conf, here).expect("written");
        let log = fs::File::create(self.path("log")).expect("a log");
        let mut child = Command::new(program().expect("it was there"))
            .args(["-v", "-c"])
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("start mosquitto");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.mqtts)).is_err() {
            let ended = child.try_wait().expect("its state");
            assert!(ended.is_none() && Instant::now() < deadline, "mosquitto: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The daemon with the configuration as it was written, but for ports and size.
    fn daemon(&self) -> Daemon {
        let state = self.path("state").display().to_string();
        let environment = [
            ("PORTHOLE_MQTT_URL", format!("mqtts://localhost:{}", self.mqtts)),
            ("PORTHOLE_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
            ("PORTHOLE_DEVICE_STATE_DIR", state),
            ("PORTHOLE_CAMERA_WIDTH", "640".to_owned()),
            ("PORTHOLE_CAMERA_HEIGHT", "480".to_owned()),
            ("PORTHOLE_CAMERA_FPS", "15".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Daemon::run_file(&self.path("porthole.toml"), environment)
    }

    /// `porthole watch` at this URL as the user `viewer`, with the password in this file and the printed link's grant.
    async fn watch(&self, url: &str, password_file: &Path) -> (bool, Value) {
        let ca = self.path("ca.pem");
        let arguments = [
            "watch",
            "--broker",
            url,
            "--link",
            &self.link,
            "--username",
            "viewer",
            "--password-file",
            password_file.to_str().expect("UTF-8"),
            "--ca-file",
            ca.to_str().expect("UTF-8"),
            "--seconds",
            "4",
            "--json",
        ];
        let mut command = tokio::process::Command::from(porthole(&arguments));
        let output = command.output().await.expect("run porthole watch");
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
        (output.status.success(), report)
    }

    fn password(&self, user: &str) -> String {
        let file = if user == "cam" { "mqtt".to_owned() } else { user.to_owned() };
        let text = fs::read_to_string(self.path(&format!("{file}-password"))).expect("a password");
        text.trim_end().to_owned()
    }

    /// A client of another make, with OpenSSL's idea of certificates.
    fn client(&self, program: &str, user: &str, password: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-V", "5", "-h", "localhost", "-p", &self.mqtts.to_string()]);
        command.arg("--cafile").arg(self.path("ca.pem")).args(["-u", user, "-P", password]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Whether the broker lets this user publish on this topic.
    fn may_publish(&self, user: &str, client_id: &str, topic: &str) -> bool {
        let arguments = ["-i", client_id, "-q", "1", "-t", topic, "-m", "{}"];
        let output = self
            .client("mosquitto_pub", user, &self.password(user), &arguments)
            .output()
            .expect("mosquitto_pub");
        let said = text(&output.stderr);
        let is_refused = said.contains("Not authorized");
        assert!(output.status.success() && (is_refused || said.is_empty()), "{topic}: {said}");
        !is_refused
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- mosquitto ---\n{}", self.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_and_a_viewer_meet_at_a_mosquitto_with_these_settings() {
    let Some(mut broker) = Broker::start() else { return };
    for secret in ["mqtt-password", "viewer-password", "dashboard-password", "ca.key", "broker/server.key"] {
        assert_eq!(mode(&broker.path(secret)) & 0o007, 0, "{secret}");
    }
    let mut daemon = broker.daemon();
    daemon.logged("connected to the broker").await;
    let (mqtts, wss) =
        (format!("mqtts://localhost:{}", broker.mqtts), format!("wss://localhost:{}", broker.wss));
    let password = broker.path("viewer-password");
    for url in [&mqtts, &wss] {
        let (is_good, report) = broker.watch(url, &password).await;
        assert!(is_good && report["connected"] == 1, "{url}: {report:#}");
    }
    // The dashboard's password is none of the viewer's.
    let (is_good, report) = broker.watch(&mqtts, &broker.path("dashboard-password")).await;
    assert!(!is_good, "{report:#}");
    assert_eq!(report["errors"][0]["code"], "broker", "{report:#}");
    assert_eq!(report["frames"], 0, "{report:#}");
    daemon.assert_unharmed();

    // A renewed certificate is the old authority's: the daemon comes back without a new file.
    let before = fs::read(broker.path("broker/server.pem")).expect("a certificate");
    assert_done(&setup(&broker.path("porthole.toml"), &["--renew"]));
    assert_ne!(before, fs::read(broker.path("broker/server.pem")).expect("a certificate"));
    broker.stop();
    broker.install();
    broker.run();
    let again = |log: &str| {
        let (_, since) = log.rsplit_once("no connection to the broker")?;
        since.contains("connected to the broker").then_some(())
    };
    daemon.find("that it is connected again", again).await;
    let (is_good, report) = broker.watch(&mqtts, &password).await;
    assert!(is_good, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_refused() {
    let Some(broker) = Broker::start() else { return };
    let mut daemon = broker.daemon();
    daemon.logged("connected to the broker").await;
    let wrong = ["-t", "porthole/cam/state", "-C", "1", "-W", "30"];
    for (user, password) in
        [("viewer", "guess"), ("nobody", "guess"), ("cam", broker.password("viewer").as_str())]
    {
        let output = broker.client("mosquitto_sub", user, password, &wrong).output().expect("mosquitto_sub");
        assert!(!output.status.success() && output.stdout.is_empty(), "{user} got in");
        assert!(text(&output.stderr).contains("Not authorized"), "{}", text(&output.stderr));
    }

    for (user, client_id, topic, may) in [
        ("viewer", "eve", "porthole/cam/availability", false),
        ("viewer", "eve", "porthole/cam/info", false),
        ("viewer", "eve", "porthole/cam/event", false),
        ("viewer", "eve", "porthole/cam/signal/eve/down", false),
        ("viewer", "eve", "porthole/cam/signal/bob/down", false),
        ("viewer", "eve", "porthole/cam/signal/bob/up", false),
        ("viewer", "eve", "porthole/cam/do/keyframe", false),
        ("viewer", "eve", "porthole/cam/set/streaming", false),
        ("viewer", "eve", "elsewhere", false),
        ("viewer", "eve", "porthole/cam/signal/eve/up", true),
        ("dashboard", "board", "porthole/cam/state", false),
        ("dashboard", "board", "porthole/cam/signal/bob/up", false),
        ("dashboard", "board", "porthole/cam/do/keyframe", true),
        ("cam", "other", "porthole/cam/set/streaming", false),
        ("cam", "other", "porthole/other/state", false),
        ("cam", "other", "porthole/cam/signal/bob/down", true),
    ] {
        assert_eq!(broker.may_publish(user, client_id, topic), may, "{user} on {topic}");
    }
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eavesdropper_hears_nothing_but_how_the_camera_is() {
    let Some(broker) = Broker::start() else { return };
    let mut daemon = broker.daemon();
    daemon.logged("connected to the broker").await;
    let arguments = ["-i", "eve", "-q", "1", "-v", "-t", "#", "-t", "porthole/cam/signal/+/down"];
    let password = broker.password("viewer");
    let mut eve = broker
        .client("mosquitto_sub", "viewer", &password, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto_sub");
    let heard = pieces(eve.stdout.take().expect("its output"));
    let mut all = String::new();
    let mut hear_until = |words: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !all.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(more) = heard.recv_timeout(left) else { panic!("eve never heard {words:?} in:\n{all}") };
            all.push_str(&text(&more));
        }
        std::mem::take(&mut all)
    };
    let mut heard = hear_until("porthole/cam/availability online");
    // An offer, its answer, candidates and a goodbye go over the broker meanwhile; and a command with its event.
    let (is_good, report) =
        broker.watch(&format!("mqtts://localhost:{}", broker.mqtts), &broker.path("viewer-password")).await;
    assert!(is_good, "{report:#}");
    heard.push_str(&hear_until("\"count\":1"));
    assert!(broker.may_publish("dashboard", "board", "porthole/cam/do/close"));
    daemon.kill();
    // The device's will comes after all of that.
    heard.push_str(&hear_until("porthole/cam/availability offline"));
    let _ = eve.kill();
    let _ = eve.wait();
    for line in heard.lines().filter(|line| !line.is_empty()) {
        let allowed = ["availability ", "info ", "state "];
        let is_allowed = allowed.iter().any(|leaf| line.starts_with(&format!("porthole/cam/{leaf}")));
        assert!(is_allowed, "eve heard: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_link_opens_the_picture_in_a_browser_that_trusts_the_certificate() {
    // What a person says by accepting the certificate, or by importing ca.pem.
    let Some(broker) = Broker::start() else { return };
    let Some(browser) = Browser::start_with(&["--ignore-certificate-errors"]).await else { return };
    let daemon = broker.daemon();
    daemon.logged("connected to the broker").await;
    let (_, fragment) = broker.link.split_once('#').expect("a fragment");
    assert!(fragment.contains("@localhost:9001&"), "{fragment}");
    let fragment = fragment.replace(":9001&", &format!(":{}&", broker.wss));
    browser.open(&format!("{}#{fragment}", daemon.page().await)).await;
    browser.phase("live").await;
    browser.frames_advance(10).await;
    browser.close().await;
}
