//! The lab machine, as a test uses it: a guest with cameras, in a network namespace of the test's own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::browser::Browser;
use super::daemon::{DEVICE, Settings, porthole};

/// Set in the copy of this program that runs inside the namespace.
const INSIDE: &str = "LAB_TEST_INSIDE";
/// This side of the guest's network.
pub const HOST: &str = "10.77.0.1";
pub const GUEST: &str = "10.77.0.2";
/// `lab.sh`'s "cannot run on this machine".
const CANNOT_RUN: i32 = 77;

fn lab_sh() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab.sh")
}

/// A guest that is up. It ends on drop, and with this process.
pub struct Lab {
    state: tempfile::TempDir,
    broker: Option<Child>,
}

impl Lab {
    /// Without the daemon, for tests of how it is installed.
    pub fn up() -> Self {
        Self::resumed(None)
    }

    /// With the package that `make test` packed installed, as by [`Self::install`], and its service running. The first to ask for it
    /// has that done and the machine saved; it takes the others some seconds.
    pub fn installed() -> Self {
        Self::resumed(Some(&super::deb::package()))
    }

    fn resumed(package: Option<&Path>) -> Self {
        let state = tempfile::tempdir().expect("a directory for the lab");
        let lab = Self { state, broker: None };
        let mut up = lab.command(&["up"]);
        up.envs(package.map(|package| ("LAB_PACKAGE", package)));
        succeed(&mut up);
        lab
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(lab_sh());
        command
            .args(arguments)
            .env("LAB_STATE", self.state.path())
            .env("LAB_OWNER", std::process::id().to_string());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a lab command that has to succeed and gives what it printed.
    pub fn must(&self, arguments: &[&str]) -> String {
        succeed(&mut self.command(arguments))
    }

    /// The programs in the guest that have its camera open, once for each descriptor.
    pub fn camera_holders(&self) -> Vec<String> {
        let held = "find /proc/[0-9]*/fd -lname '/dev/video0*' 2>/dev/null | cut -d/ -f3 | \
                    while read -r pid; do cat /proc/$pid/comm; done";
        self.run(held).lines().map(str::to_owned).collect()
    }

    /// Starts a shell command in the guest, whose output is read while it runs.
    pub fn started(&self, command: &str) -> Child {
        let mut command = self.command(&["run", command]);
        command
            .env("LAB_SECONDS", "1800")
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("run lab.sh")
    }

    /// The same with a command that reads what it is told.
    pub fn told(&self, command: &str) -> Child {
        let mut command = self.command(&["run", command]);
        command.env("LAB_SECONDS", "1800").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        command.spawn().expect("run lab.sh")
    }

    /// Ends one of [`Self::started`] or [`Self::told`] with all that it has started here.
    pub fn end(child: &mut Child) {
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = child.wait();
    }

    /// Runs a shell command in the guest.
    pub fn run(&self, command: &str) -> String {
        self.must(&["run", command])
    }

    /// A broker for the guest and for browsers, on this side.
    pub fn start_broker(&mut self) {
        let file = self.state.path().join("mosquitto.conf");
        let text = format!(
            "user root\npersistence false\nallow_anonymous true\n\
             listener 1883 {HOST}\nlistener 9001 {HOST}\nprotocol websockets\n"
        );
        std::fs::write(&file, text).expect("write mosquitto.conf");
        let program = super::mosquitto::program().expect("it was looked for before");
        let child = Command::new(program).arg("-c").arg(file).stderr(Stdio::null()).spawn();
        self.broker = Some(child.expect("start mosquitto"));
    }

    /// Installs a package as its user would: apt takes care of what it needs, and the service starts.
    pub fn install(&self, package: &Path) {
        self.must(&["push", package.to_str().expect("UTF-8"), "/root/porthole.deb"]);
        self.run("DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes /root/porthole.deb 2>&1");
        // The first start lists GStreamer's plugins: seconds on a board, tens of them under emulation.
        self.run("timeout 240 sh -c 'until [ -s /var/lib/porthole/gstreamer-registry ]; do sleep 1; done'");
    }

    /// Puts a configuration in place of the package's.
    pub fn configure(&self, settings: &Settings) {
        let file = self.state.path().join("porthole.toml");
        std::fs::write(&file, settings.toml()).expect("write the configuration");
        self.must(&["push", file.to_str().expect("UTF-8"), "/etc/porthole/porthole.toml"]);
    }

    /// A property of the service, as systemd knows it.
    pub fn service(&self, property: &str) -> String {
        self.run(&format!("systemctl show porthole -P {property}")).trim().to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.command(&["run", "journalctl -u porthole -n 60 --no-pager -o cat"]).output();
            eprintln!(
                "--- the guest's daemon ---\n{}",
                log.map(|log| String::from_utf8_lossy(&log.stdout).into_owned()).unwrap_or_default()
            );
        }
        let _ = self.command(&["down"]).output();
        if let Some(mut broker) = self.broker.take() {
            let _ = broker.kill();
            let _ = broker.wait();
        }
    }
}

/// Runs a lab command that has to succeed and gives what it printed.
fn succeed(command: &mut Command) -> String {
    let started = Instant::now();
    let Output { status, stdout, stderr } = command.output().expect("run lab.sh");
    let (said, problem) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let arguments: Vec<_> = command.get_args().collect();
    assert!(status.success(), "lab.sh {arguments:?}: {status}\n{said}\n{problem}");
    eprintln!("lab.sh {arguments:?}: {:.1} s", started.elapsed().as_secs_f32());
    said.into_owned()
}

/// Runs `test` again in a namespace of its own. Returns whether this already is that run.
pub fn in_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if super::mosquitto::program().is_none() {
        return false;
    }
    // Outside, because making the image needs the network.
    let prepared = Command::new(lab_sh()).arg("prepare").stdin(Stdio::null()).output().expect("run lab.sh");
    let said = String::from_utf8_lossy(&prepared.stderr);
    if prepared.status.code() == Some(CANNOT_RUN) {
        eprintln!("SKIPPED: the lab cannot run on this machine:\n{said}");
        return false;
    }
    assert!(prepared.status.success(), "lab.sh prepare failed:\n{said}");
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .status()
        .expect("run unshare");
    assert!(status.success(), "inside the namespace it failed");
    false
}

/// One row of the picture, as `[r, g, b]` of 16 columns, and a sum over the whole picture.
pub async fn look(browser: &Browser) -> (Vec<[f64; 3]>, f64) {
    let seen = browser
        .run(
            "const context = window.grab();
             if (!context) return null;
             const { width, height } = context.canvas;
             const columns = [];
             for (let n = 0; n < 16; n++) {
                 const pixel = context.getImageData(Math.floor((n + 0.5) * width / 16), Math.floor(height * 0.6), 1, 1).data;
                 columns.push([pixel[0], pixel[1], pixel[2]]);
             }
             const all = context.getImageData(0, 0, width, height).data;
             let sum = 0;
             for (let at = 0; at < all.length; at += 4) sum += (all[at] + 2 * all[at + 1] + 3 * all[at + 2]) * ((at % 9973) + 1);
             return { columns, sum };",
        )
        .await;
    let columns = serde_json::from_value(seen["columns"].clone()).unwrap_or_default();
    (columns, seen["sum"].as_f64().unwrap_or_default())
}

/// How far two colours are apart.
fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
}

/// The picture gets colour bars and goes on moving.
///
/// Words may be shown first: under emulation a camera takes longer to start than a viewer to connect.
pub async fn assert_colour_bars_in_motion(browser: &Browser) {
    let deadline = Instant::now() + super::PATIENCE;
    let first = loop {
        let (columns, sum) = look(browser).await;
        if hues(&columns) >= 5 {
            break sum;
        }
        assert!(Instant::now() < deadline, "these are no colour bars: {columns:?}");
        browser.a_moment().await;
    };
    let moves =
        |(columns, sum): (Vec<[f64; 3]>, f64)| hues(&columns) >= 5 && (sum - first).abs() > f64::EPSILON;
    while !moves(look(browser).await) {
        assert!(Instant::now() < deadline, "the bars stand still");
        browser.a_moment().await;
    }
}

/// How many clearly different colours there are.
fn hues(columns: &[[f64; 3]]) -> usize {
    let mut hues: Vec<[f64; 3]> = Vec::new();
    for column in columns {
        if hues.iter().all(|hue| distance(*hue, *column) > 60.0) {
            hues.push(*column);
        }
    }
    hues.len()
}

/// Counts what a viewer without a browser gets at the broker on [`HOST`].
pub async fn watch(seconds: u32) -> Value {
    let (broker, seconds) = (format!("mqtt://{HOST}:1883"), seconds.to_string());
    let command =
        porthole(&["watch", "--broker", &broker, "--device", DEVICE, "--seconds", &seconds, "--json"]);
    let output = tokio::process::Command::from(command).output().await.expect("run porthole watch");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success(), "{report:#}");
    report
}
