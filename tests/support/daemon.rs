//! The real binary as a process of its own: configuration in a directory of its own, log kept, gone on drop.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::namespace::Neighbour;
use super::{PATIENCE, signal};

/// The device id of every daemon here.
pub const DEVICE: &str = "cam";

/// A configuration: `section.key` to a TOML value.
#[derive(Clone)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// A small test picture and a page, for this broker, and open to everybody: who may watch is another test's subject.
    pub fn new(broker: &str) -> Self {
        Self(BTreeMap::new())
            .text("device.id", DEVICE)
            .text("device.name", "Test camera")
            .text("mqtt.url", broker)
            .text("camera.device", "test")
            .value("camera.width", 640)
            .value("camera.height", 480)
            .value("camera.fps", 15)
            .text("http.listen", "127.0.0.1:0")
            .text("access.mode", "open")
    }

    /// Sets a text.
    #[must_use]
    pub fn text(self, key: &str, text: impl AsRef<str>) -> Self {
        let quoted = format!("{:?}", text.as_ref());
        self.value(key, quoted)
    }

    /// Sets a number or anything else that TOML writes without quotes.
    #[must_use]
    pub fn value(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.0.insert(key.to_owned(), value.to_string());
        self
    }

    /// Sets a text that is a path.
    #[must_use]
    pub fn path(self, key: &str, path: &Path) -> Self {
        self.text(key, path.to_str().expect("a path in UTF-8"))
    }

    /// As it stands in a file.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (name, value) in &self.0 {
            let (of, key) = name.split_once('.').expect("section.key");
            if of != section {
                let _ = writeln!(text, "[{of}]");
                section = of;
            }
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }
}

/// What a process has open and uses, from /proc.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub files: usize,
    pub threads: usize,
    pub rss_kib: u64,
    /// Processor time since its start, in ms.
    pub cpu_ms: u64,
}

/// `porthole` with no configuration but its arguments.
pub fn porthole(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_porthole"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTHOLE_") {
            command.env_remove(name);
        }
    }
    command
}

/// An environment without one of GStreamer's plugins: no encoder, and so nothing to show words by. `nothing` is an empty folder.
pub fn without_plugins(nothing: &Path) -> Vec<(String, String)> {
    let path = nothing.display().to_string();
    let registry = nothing.join("registry").display().to_string();
    [("GST_PLUGIN_SYSTEM_PATH_1_0", path), ("GST_REGISTRY_1_0", registry)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// A running daemon. Killed on drop; its log is shown when the test fails.
pub struct Daemon {
    child: Option<Child>,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    dir: Arc<tempfile::TempDir>,
    output: Arc<watch::Sender<String>>,
}

impl Daemon {
    /// `porthole run` with these settings; `device.state_dir` is added.
    pub fn run(settings: Settings) -> Self {
        Self::run_with(settings, Vec::new())
    }

    /// `porthole run` with a file that is there.
    pub fn run_file(config: &Path, environment: Vec<(String, String)>) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the daemon");
        let file = config.to_str().expect("a path in UTF-8").to_owned();
        Self::start(dir, vec!["run".into(), "--config".into(), file], environment)
    }

    fn prepare(settings: Settings) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the daemon");
        let settings = settings.path("device.state_dir", &dir.path().join("state"));
        let file = dir.path().join("porthole.toml");
        std::fs::write(&file, settings.toml()).expect("write the configuration");
        let file = file.to_str().expect("a path in UTF-8").to_owned();
        Self::new(dir, vec!["run".into(), "--config".into(), file], Vec::new())
    }

    /// Writes other settings into its file, for a restart or a reload.
    pub fn configure(&self, settings: Settings) {
        let settings = settings.path("device.state_dir", &self.dir.path().join("state"));
        std::fs::write(self.dir.path().join("porthole.toml"), settings.toml())
            .expect("write the configuration");
    }

    /// The same, with more in its environment.
    pub fn run_with(settings: Settings, environment: Vec<(String, String)>) -> Self {
        let mut daemon = Self::prepare(settings);
        daemon.environment = environment;
        daemon.start_again();
        daemon
    }

    /// The same on another machine of the test's network.
    pub fn run_at(neighbour: &Neighbour, settings: Settings) -> Self {
        let mut daemon = Self::prepare(settings);
        let arguments: Vec<&str> = daemon.command.iter().map(String::as_str).collect();
        daemon.spawn(neighbour.command(&porthole(&arguments)));
        daemon
    }

    /// `porthole demo`, its ports free ones, MQTT over TCP at `mqtt_port`.
    pub fn demo(mqtt_port: u16) -> Self {
        Self::demo_with(mqtt_port, &[])
    }

    /// The same, open to everybody.
    pub fn open_demo(mqtt_port: u16) -> Self {
        Self::demo_with(mqtt_port, &[("PORTHOLE_ACCESS_MODE", "open")])
    }

    fn demo_with(mqtt_port: u16, more: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the daemon");
        let state = dir.path().join("state").display().to_string();
        let environment = [
            ("PORTHOLE_DEVICE_ID", DEVICE),
            ("PORTHOLE_DEVICE_NAME", "Test camera"),
            ("PORTHOLE_DEVICE_STATE_DIR", &state),
            ("PORTHOLE_CAMERA_DEVICE", "test"),
            ("PORTHOLE_CAMERA_WIDTH", "640"),
            ("PORTHOLE_CAMERA_HEIGHT", "480"),
            ("PORTHOLE_CAMERA_FPS", "15"),
            ("PORTHOLE_HTTP_LISTEN", "127.0.0.1:0"),
            ("PORTHOLE_BROKER_LISTEN", &format!("127.0.0.1:{mqtt_port}")),
            ("PORTHOLE_BROKER_WEBSOCKET", "127.0.0.1:0"),
        ];
        let environment = environment.iter().chain(more);
        let environment =
            environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::start(dir, vec!["demo".into()], environment)
    }

    fn start(dir: tempfile::TempDir, command: Vec<String>, environment: Vec<(String, String)>) -> Self {
        let mut daemon = Self::new(dir, command, environment);
        daemon.start_again();
        daemon
    }

    fn new(dir: tempfile::TempDir, command: Vec<String>, environment: Vec<(String, String)>) -> Self {
        let output = Arc::new(watch::Sender::new(String::new()));
        Self { child: None, command, environment, dir: Arc::new(dir), output }
    }

    /// Starts it once more with the same configuration and state.
    pub fn start_again(&mut self) {
        self.kill();
        let arguments: Vec<&str> = self.command.iter().map(String::as_str).collect();
        let mut command = porthole(&arguments);
        command.envs(self.environment.iter().cloned());
        self.spawn(command);
    }

    fn spawn(&mut self, mut command: Command) {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start porthole");
        self.collect(child.stdout.take().expect("its output"));
        self.collect(child.stderr.take().expect("its log"));
        self.child = Some(child);
    }

    fn collect(&self, stream: impl Read + Send + 'static) {
        let output = Arc::clone(&self.output);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                output.send_modify(|text| {
                    text.push_str(&line);
                    text.push('\n');
                });
            }
        });
    }

    /// Everything it has printed, all of its lives together.
    pub fn log(&self) -> String {
        self.output.borrow().clone()
    }

    /// Waits until `find` finds something in what was printed.
    pub async fn find<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut output = self.output.subscribe();
        let found = timeout(PATIENCE, async {
            loop {
                let seen = find(&output.borrow_and_update());
                match seen {
                    Some(found) => return found,
                    None => output.changed().await.expect("the log lives as long as the daemon"),
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("not in the log: {what}"))
    }

    /// Waits until the log holds `text`.
    pub async fn logged(&self, text: &str) {
        self.find(text, |log| log.contains(text).then_some(())).await;
    }

    /// Its configuration, for other commands.
    pub fn config_file(&self) -> std::path::PathBuf {
        self.dir.path().join("porthole.toml")
    }

    /// How often the log holds `text`.
    pub fn count(&self, text: &str) -> usize {
        self.output.borrow().matches(text).count()
    }

    /// The page's address, of `run`'s latest life.
    pub async fn page(&self) -> String {
        let find = |log: &str| {
            let (_, line) = log.rsplit_once("the viewer page is served page=")?;
            Some(format!("http://{}/", line.lines().next()?.trim()))
        };
        self.find("the page's address", find).await
    }

    /// The link that `demo` prints.
    pub async fn link(&self) -> String {
        self.find("the link", |log| log.lines().find(|line| line.starts_with("http://")).map(str::to_owned))
            .await
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running daemon").id()
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        let proc = PathBuf::from(format!("/proc/{}", self.pid()));
        let count = |name: &str| std::fs::read_dir(proc.join(name)).expect("/proc of the daemon").count();
        let status = std::fs::read_to_string(proc.join("status")).expect("/proc of the daemon");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let rss_kib = rss.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        let stat = std::fs::read_to_string(proc.join("stat")).expect("/proc of the daemon");
        let fields: Vec<&str> =
            stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace().collect();
        // utime and stime (proc(5): fields 14 and 15), in ticks of 10 ms.
        let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number of ticks");
        let cpu_ms = (ticks(14) + ticks(15)) * 10;
        Usage { files: count("fd"), threads: count("task"), rss_kib, cpu_ms }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.as_mut().map(Child::try_wait), Some(Ok(None)))
    }

    /// `kill -9`, by its handle. Harmless when it is not running.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM; waits for the end.
    pub async fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), "-TERM");
        self.end().await
    }

    /// Waits for an end that comes by itself.
    pub async fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running daemon");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("its state") {
                return status;
            }
            if Instant::now() > deadline {
                self.child = Some(child);
                panic!("the daemon does not end");
            }
            // A child's end is no event that the standard library can wait for with a limit.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// It neither panicked nor lost its broker since it came up.
    pub fn assert_unharmed(&mut self) {
        let log = self.log();
        for bad in ["panicked", "disconnected from the broker", "connection to the broker"] {
            assert!(!log.contains(bad), "the log holds {bad:?}");
        }
        assert!(self.is_running(), "the daemon has ended");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- porthole (last lines) ---\n{}",
                lines[lines.len().saturating_sub(80)..].join("\n")
            );
        }
    }
}
