//! `porthole setup`: what it writes, what it refuses, and whether a real Mosquitto and a real viewer agree.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::browser::Browser;
use support::daemon::{Daemon, porthole};
use support::mosquitto::program;
use support::{PATIENCE, free_ports};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `porthole setup --output FILE` with more arguments, nobody at its stdin.
fn setup(file: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["setup", "--output", file.to_str().expect("UTF-8")];
    all.extend(arguments);
    porthole(&all).output().expect("run porthole setup")
}

fn assert_done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

fn checked(file: &Path) -> String {
    let output = porthole(&["check", "--config", file.to_str().expect("UTF-8")]).output().expect("run check");
    assert_done(&output)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn link(printed: &str) -> String {
    printed.lines().find(|line| line.starts_with("http://")).expect("a link").to_owned()
}

#[test]
fn flags_alone_make_a_configuration_that_passes_its_check() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let printed = assert_done(&setup(
        &file,
        &["--yes", "--id", "cam", "--name", "Front \"door\"", "--camera", "test", "--broker", "embedded"],
    ));
    assert!(link(&printed).contains(":9001/mqtt&device=cam"), "{printed}");
    assert!(printed.contains("porthole run --config"), "{printed}");
    let summary = checked(&file);
    assert!(summary.contains("cam (Front \"door\")") && summary.contains("built in"), "{summary}");
    assert_eq!(names(dir.path()), ["porthole.toml"]);

    // Its own work may be replaced, as long as nobody has changed it.
    assert_done(&setup(&file, &["--yes", "--id", "cam2", "--camera", "test"]));
    assert!(checked(&file).contains("cam2"));
    assert_eq!(names(dir.path()), ["porthole.toml", "porthole.toml.bak"]);
}

#[test]
fn an_edited_configuration_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let mine = "[mqtt]\nurl = \"mqtt://mine\"\n";
    fs::write(&file, mine).expect("written");
    let flags = ["--yes", "--camera", "test"];
    assert_refused(&setup(&file, &flags), 1, &["was edited", "--force", "porthole.toml"]);
    assert_eq!(fs::read_to_string(&file).expect("the file"), mine);
    let printed = assert_done(&setup(&file, &["--yes", "--camera", "test", "--force"]));
    assert!(printed.contains("porthole.toml.bak"), "{printed}");
    assert_eq!(fs::read_to_string(dir.path().join("porthole.toml.bak")).expect("the backup"), mine);
    checked(&file);
}

#[test]
fn the_shipped_configuration_may_be_replaced() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/porthole.toml"), &file).expect("copied");
    assert_done(&setup(&file, &["--yes", "--camera", "test"]));
}

#[test]
fn nothing_is_written_where_something_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("new/porthole.toml");
    for (arguments, code, words) in [
        (&[][..], 64, &["no terminal", "--yes", "--broker"][..]),
        (&["--yes", "--broker", "mqtt://u:s3cret@x"], 64, &["--password-file"]),
        (&["--yes", "--broker", "mqtt://x", "--username", "u"], 64, &["--password-file"]),
        (&["--yes", "--id", "a b"], 64, &["--id"]),
        (&["--yes", "--broker", "mosquitto", "--broker-host", "a b"], 64, &["--broker-host"]),
        (&["--renew", "--yes"], 64, &["--renew"]),
        (&["--password", "x"], 64, &["--password"]),
    ] {
        let output = setup(&file, arguments);
        assert_refused(&output, code, words);
        assert!(!text(&output.stderr).contains("s3cret"));
    }
    // It could not be written into a file that is text.
    assert_refused(&setup(&file.join("x/\u{7}"), &["--yes", "--camera", "test"]), 1, &["a path"]);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_failure_half_way_takes_everything_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("etc/porthole.toml");
    // The broker's folder cannot be made: a file is in its place.
    let blocked = dir.path().join("blocked");
    fs::write(&blocked, "x").expect("written");
    let folder = blocked.join("broker");
    let folder = folder.to_str().expect("UTF-8");
    let arguments = ["--yes", "--broker", "mosquitto", "--camera", "test", "--broker-files", folder];
    assert_refused(&setup(&file, &arguments), 1, &["blocked"]);
    assert_eq!(names(dir.path()), ["blocked"], "secrets were left behind");
}

#[test]
fn a_broker_that_is_there_is_named_with_its_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, password) = (dir.path().join("porthole.toml"), dir.path().join("secret"));
    fs::write(&password, "s3cret\n").expect("written");
    let password_file = password.to_str().expect("UTF-8");
    let printed = assert_done(&setup(
        &file,
        &[
            "--yes",
            "--id",
            "cam",
            "--camera",
            "test",
            "--broker",
            "mqtts://broker.example",
            "--username",
            "cam",
            "--password-file",
            password_file,
        ],
    ));
    assert!(link(&printed).contains("#broker=wss://broker.example:9001/&device=cam"), "{printed}");
    assert!(printed.contains("guess"), "{printed}");
    let written = fs::read_to_string(&file).expect("the file");
    assert!(written.contains(&format!("password_file = \"{password_file}\"")), "{written}");
    assert!(!printed.contains("s3cret") && !written.contains("s3cret"));
    checked(&file);
}

/// A person at a terminal: the program `script` makes one.
struct Person {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Person {
    fn runs(file: &Path) -> Self {
        let command = format!(
            "exec {} setup --id cam --camera test --output {}",
            env!("CARGO_BIN_EXE_porthole"),
            file.display()
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run script, of util-linux");
        let (out, screen) = mpsc::sync_channel(1000);
        let mut output = child.stdout.take().expect("its output");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                if out.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keyboard = child.stdin.take().expect("its input");
        Self { child, keyboard, screen, seen: String::new() }
    }

    fn sees(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(more) = self.screen.recv_timeout(left) else {
                panic!("{words:?} is not on the screen:\n{}", self.seen)
            };
            let _ = write!(self.seen, "{}", text(&more));
        }
    }

    fn answers(&mut self, question: &str, answer: &str) {
        self.sees(question);
        writeln!(self.keyboard, "{answer}").expect("typed");
    }

    fn ends(mut self) -> (i32, String) {
        let status = self.child.wait().expect("its end");
        while let Ok(more) = self.screen.recv_timeout(PATIENCE) {
            let _ = write!(self.seen, "{}", text(&more));
        }
        (status.code().expect("a code"), self.seen)
    }
}

#[test]
fn a_person_at_a_terminal_answers_and_their_password_is_not_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let mut person = Person::runs(&file);
    person.answers("Name of this camera", "Front door");
    person.answers("Which broker [1]", "2");
    person.answers("Its URL", "mqtt://broker.example");
    person.answers("User name at the broker [none]", "cam");
    person.answers("Its password (not shown)", "s3cret word");
    person.answers("WebSocket address, for browsers [ws://broker.example:9001/]", "");
    person.sees("#broker=ws://broker.example:9001/&device=cam");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains("s3cret"), "the password was shown:\n{seen}");
    assert!(checked(&file).contains("cam (Front door)"));
    let password = dir.path().join("mqtt-password");
    assert_eq!(fs::read_to_string(&password).expect("the password"), "s3cret word\n");
    assert_eq!(mode(&password) & 0o007, 0);
}

#[test]
fn a_person_who_leaves_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut person = Person::runs(&dir.path().join("porthole.toml"));
    // Ctrl-D.
    person.answers("Name of this camera", "x\n\u{4}");
    let (code, seen) = person.ends();
    assert_eq!(code, 1, "{seen}");
    assert!(seen.contains("nothing is written"), "{seen}");
    assert!(names(dir.path()).is_empty());
}

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

    /// `porthole watch` at this URL as the user `viewer`, with the password in this file.
    async fn watch(&self, url: &str, password_file: &Path) -> (bool, Value) {
        let ca = self.path("ca.pem");
        let arguments = [
            "watch",
            "--broker",
            url,
            "--device",
            "cam",
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
    let mut output = eve.stdout.take().expect("its output");
    let (out, heard) = mpsc::sync_channel(1000);
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(read @ 1..) = output.read(&mut buffer) {
            if out.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
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

#[test]
fn a_brokers_settings_are_not_made_twice_by_accident() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let flags = ["--yes", "--camera", "test", "--broker", "mosquitto", "--broker-host", "broker.local"];
    assert_done(&setup(&file, &flags));
    let before = fs::read(dir.path().join("broker/passwords")).expect("passwords");
    assert_refused(&setup(&file, &flags), 1, &["--force", "--renew", "mqtts://"]);
    assert_eq!(before, fs::read(dir.path().join("broker/passwords")).expect("passwords"));
    assert_done(&setup(&file, &[&flags[..], &["--force"]].concat()));
    assert_ne!(before, fs::read(dir.path().join("broker/passwords")).expect("passwords"));
    // The old ones can still be gone back to.
    assert_eq!(before, fs::read(dir.path().join("broker/passwords.bak")).expect("passwords"));
    assert_refused(&setup(&dir.path().join("other.toml"), &["--renew"]), 64, &["other.toml"]);
}
