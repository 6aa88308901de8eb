//! The daemon in the lab machine, with real V4L2 devices: vivid, and loopback cameras for JPEG and H.264.
//!
//! Speed means nothing under emulation, so nothing here judges it. The test starts itself again in a
//! network namespace of its own, in which the guest, the broker and the viewers meet.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::browser::Browser;
use support::daemon::{DEVICE, Settings, porthole};
use support::viewer::Dashboard;

/// Set in the copy of this program that runs inside the namespace.
const INSIDE: &str = "LAB_TEST_INSIDE";
/// This side of the guest's network.
const HOST: &str = "10.77.0.1";
const GUEST: &str = "10.77.0.2";
/// `lab.sh`'s "cannot run on this machine".
const CANNOT_RUN: i32 = 77;

fn lab_sh() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab.sh")
}

/// A guest that is up. It ends on drop, and with this process.
struct Lab {
    state: tempfile::TempDir,
    broker: Option<Child>,
}

impl Lab {
    fn up() -> Self {
        let state = tempfile::tempdir().expect("a directory for the lab");
        let lab = Self { state, broker: None };
        lab.must(&["up"]);
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
    fn must(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("run lab.sh");
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        assert!(
            status.success(),
            "lab.sh {arguments:?}: {status}\n{stdout}\n{}",
            String::from_utf8_lossy(&stderr)
        );
        eprintln!("lab.sh {arguments:?}");
        stdout
    }

    /// Runs a shell command in the guest.
    fn run(&self, command: &str) -> String {
        self.must(&["run", command])
    }

    /// A broker for the guest and for browsers, on this side.
    fn start_broker(&mut self) {
        let file = self.state.path().join("mosquitto.conf");
        let text = format!(
            "user root\npersistence false\nallow_anonymous true\n\
             listener 1883 {HOST}\nlistener 9001 {HOST}\nprotocol websockets\n"
        );
        std::fs::write(&file, text).expect("write mosquitto.conf");
        let program = support::mosquitto::program().expect("it was looked for before");
        let child = Command::new(program).arg("-c").arg(file).stderr(Stdio::null()).spawn();
        self.broker = Some(child.expect("start mosquitto"));
    }

    /// The binary without its debug information, which would take most of a minute to copy.
    fn push_daemon(&self) {
        let stripped = self.state.path().join("porthole");
        let done =
            Command::new("strip").args(["-o"]).arg(&stripped).arg(env!("CARGO_BIN_EXE_porthole")).status();
        if !done.is_ok_and(|status| status.success()) {
            std::fs::copy(env!("CARGO_BIN_EXE_porthole"), &stripped).expect("copy the binary");
        }
        self.must(&["push", stripped.to_str().expect("UTF-8"), "/usr/bin/porthole"]);
    }

    /// As systemd/porthole.service says it is done by hand.
    fn install_service(&self) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
        self.run("mkdir -p /etc/porthole /etc/systemd/system/porthole.service.d");
        for (file, to) in [
            ("porthole.service", "/etc/systemd/system/porthole.service"),
            ("sandbox.conf", "/etc/systemd/system/porthole.service.d/10-sandbox.conf"),
        ] {
            self.must(&["push", source.join(file).to_str().expect("UTF-8"), to]);
        }
        self.run(
            "useradd --system --home-dir /var/lib/porthole --shell /usr/sbin/nologin porthole && \
             install -D -o porthole -g porthole /var/lib/lab/gst-registry.bin /var/lib/porthole/gstreamer-registry && \
             systemctl daemon-reload",
        );
    }

    fn start_daemon(&self) {
        let settings = Settings::new(&format!("mqtt://{HOST}:1883"))
            .text("camera.device", "auto")
            .value("camera.height", 360)
            .text("http.listen", "0.0.0.0:8080");
        let file = self.state.path().join("porthole.toml");
        std::fs::write(&file, settings.toml()).expect("write the configuration");
        self.must(&["push", file.to_str().expect("UTF-8"), "/etc/porthole/porthole.toml"]);
        // Returns when the daemon has said that it serves.
        self.run("systemctl start porthole");
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

/// Runs `test` again in a namespace of its own. Returns whether this already is that run.
fn in_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if support::mosquitto::program().is_none() {
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
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("run unshare");
    assert!(status.success(), "inside the namespace it failed");
    false
}

/// Counts what a viewer without a browser gets.
async fn watch(seconds: u32) -> Value {
    let (broker, seconds) = (format!("mqtt://{HOST}:1883"), seconds.to_string());
    let command =
        porthole(&["watch", "--broker", &broker, "--device", DEVICE, "--seconds", &seconds, "--json"]);
    let output = tokio::process::Command::from(command).output().await.expect("run porthole watch");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success(), "{report:#}");
    report
}

/// One row of the picture, as `[r, g, b]` of 16 columns, and a sum over the whole picture.
async fn look(browser: &Browser) -> (Vec<[f64; 3]>, f64) {
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

/// The picture has colour bars and goes on moving.
async fn assert_colour_bars_in_motion(browser: &Browser) {
    let (columns, first) = look(browser).await;
    let mut hues: Vec<[f64; 3]> = Vec::new();
    for column in &columns {
        if hues.iter().all(|hue| distance(*hue, *column) > 60.0) {
            hues.push(*column);
        }
    }
    assert!(hues.len() >= 5, "these are no colour bars: {columns:?}");
    let deadline = Instant::now() + support::PATIENCE;
    while (look(browser).await.1 - first).abs() < f64::EPSILON {
        assert!(Instant::now() < deadline, "the picture stands still");
        browser.a_moment().await;
    }
}

#[test]
fn a_real_camera_from_its_device_to_the_browser() {
    if !in_namespace("a_real_camera_from_its_device_to_the_browser") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::up();
        lab.must(&["camera", "on"]);
        lab.start_broker();
        lab.push_daemon();
        the_camera_is_listed(&lab);
        the_doctor_sees_it_and_who_has_it(&lab);
        lab.install_service();
        lab.start_daemon();
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        dashboard.availability("online").await;
        the_service_is_locked_up_and_well(&lab);
        vivid_is_watched(&lab, &mut dashboard).await;
        a_browser_shows_vivid_and_forgives_a_loose_plug(&lab, &mut dashboard).await;
        a_session_outlives_its_camera(&lab, &mut dashboard).await;
        a_camera_that_encodes_is_used_as_it_is(&lab, &mut dashboard).await;
        a_daemon_that_hangs_is_brought_back(&lab, &mut dashboard).await;
    });
}

fn the_service_is_locked_up_and_well(lab: &Lab) {
    let property = |name: &str| lab.run(&format!("systemctl show porthole -P {name}")).trim().to_owned();
    assert_eq!((property("ActiveState").as_str(), property("NRestarts").as_str()), ("active", "0"));
    let status = property("StatusText");
    assert!(status.contains("nobody watches"), "{status}");
    let failed = lab.run("systemctl --failed --no-legend --plain");
    assert!(!failed.contains("porthole"), "{failed}");
    let verdict = lab.run("systemd-analyze security --no-pager porthole.service | tail -n 1");
    let exposure = verdict.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    assert!(exposure.is_some_and(|exposure| exposure <= 2.0), "{verdict}");
    eprintln!("{}", verdict.trim());
}

/// Stopped like by a kernel bug: it neither answers nor dies.
async fn a_daemon_that_hangs_is_brought_back(lab: &Lab, dashboard: &mut Dashboard) {
    lab.run(
        "printf '[Service]\\nWatchdogSec=6\\n' >/etc/systemd/system/porthole.service.d/20-test.conf && \
         systemctl daemon-reload && systemctl restart porthole",
    );
    let pid = lab.run("systemctl show porthole -P MainPID");
    lab.run(&format!("kill -STOP {}", pid.trim()));
    lab.run(
        "timeout 120 sh -c 'until [ \"$(systemctl show porthole -P NRestarts)\" = 1 ] && \
         systemctl --quiet is-active porthole; do sleep 1; done'",
    );
    let journal = lab.run("journalctl -u porthole --no-pager -o cat");
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    assert_ne!(lab.run("systemctl show porthole -P MainPID"), pid);
    dashboard.new_state("the device is back", |state| state["camera"]["state"] == "idle").await;
    dashboard.availability("online").await;
}

fn the_camera_is_listed(lab: &Lab) {
    let listed: Value = serde_json::from_str(&lab.run("porthole cameras --json")).expect("JSON");
    let cameras = listed.as_array().expect("a list");
    assert_eq!(cameras.len(), 1, "{listed:#}");
    assert_eq!(
        (&cameras[0]["driver"], &cameras[0]["path"]),
        (&json!("vivid"), &json!("/dev/video0")),
        "{listed:#}"
    );
    assert!(cameras[0]["modes"].as_array().is_some_and(|modes| modes.len() > 3), "{listed:#}");
}

fn the_doctor_sees_it_and_who_has_it(lab: &Lab) {
    let doctor = |before: &str| -> Value {
        let command = format!("{before} PORTHOLE_MQTT_URL=mqtt://{HOST} porthole doctor --json || true");
        serde_json::from_str(&lab.run(&command)).expect("JSON")
    };
    let camera = |report: &Value| -> Vec<Value> {
        let findings = report["findings"].as_array().expect("findings").iter();
        findings.filter(|finding| finding["area"] == "camera").cloned().collect()
    };
    let seen = camera(&doctor(""));
    assert!(seen.iter().all(|finding| finding["verdict"] != "fail"), "{seen:#?}");
    assert!(seen.iter().any(|finding| finding["figures"]["fps"].as_f64() > Some(0.0)), "{seen:#?}");
    // It prints a character for each picture, and ends with the shell that started it.
    let holder = "v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=9000 >/tmp/holder 2>&1 & \
                  trap \"kill $!\" EXIT; until [ -s /tmp/holder ]; do sleep 0.1; done;";
    let busy = doctor(holder);
    assert_eq!(busy["video"], false, "{busy:#}");
    let named = camera(&busy).into_iter().find(|finding| finding["verdict"] == "fail").expect("a failure");
    assert!(named["what"].as_str().is_some_and(|what| what.contains("v4l2-ctl (pid ")), "{named:#}");
}

async fn vivid_is_watched(lab: &Lab, dashboard: &mut Dashboard) {
    let report = watch(10).await;
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 10), "{report:#}");
    let info = dashboard.info("the camera", |info| info["camera"]["driver"] == "vivid").await;
    assert!(info["camera"]["modes"].as_array().is_some_and(|modes| !modes.is_empty()), "{info:#}");
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
    assert_eq!(
        lab.run("fuser /dev/video0 2>/dev/null || true").trim(),
        "",
        "nobody watches, but the camera is open"
    );
}

/// Longer without a picture than ICE lives without packets: the session has to keep itself alive.
async fn a_session_outlives_its_camera(lab: &Lab, dashboard: &mut Dashboard) {
    let watching = tokio::spawn(watch(40));
    let flows = |state: &Value| {
        state["viewers"]["sessions"][0]["bitrate"].as_f64().is_some_and(|bitrate| bitrate > 0.0)
    };
    let state = dashboard.state("a viewer who gets something", flows).await;
    lab.must(&["camera", "unplug"]);
    let lost = dashboard.camera("lost").await;
    assert!(lost["camera"]["error"].as_str().is_some_and(|error| error.len() > 10), "{lost:#}");
    tokio::time::sleep(Duration::from_secs(17)).await;
    lab.must(&["camera", "plug"]);
    dashboard.camera("live").await;
    let back = dashboard.new_state("a viewer who gets something again", flows).await;
    let session = |state: &Value| state["viewers"]["sessions"][0]["since"].clone();
    assert_eq!(session(&back), session(&state), "it is not the same session: {back:#}");
    let report = watching.await.expect("a report");
    assert!(report["longest_gap_ms"].as_u64().is_some_and(|gap| gap > 15_000), "{report:#}");
    assert_eq!(report["errors"], json!([]), "{report:#}");
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}

async fn a_browser_shows_vivid_and_forgives_a_loose_plug(lab: &Lab, dashboard: &mut Dashboard) {
    let Some(browser) = Browser::start().await else { return };
    browser.open(&format!("http://{GUEST}:8080/#broker=ws://{HOST}:9001&device={DEVICE}")).await;
    browser.phase("live").await;
    browser.frames_advance(20).await;
    assert_colour_bars_in_motion(&browser).await;
    lab.must(&["camera", "unplug"]);
    dashboard.camera("lost").await;
    dashboard.event("that it is lost", |event| event["type"] == "camera-lost").await;
    lab.must(&["camera", "plug"]);
    dashboard.camera("live").await;
    dashboard.event("that it is found", |event| event["type"] == "camera-found").await;
    browser.phase("live").await;
    browser.frames_advance(20).await;
    assert_colour_bars_in_motion(&browser).await;
    browser.close().await;
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}

async fn a_camera_that_encodes_is_used_as_it_is(lab: &Lab, dashboard: &mut Dashboard) {
    for (camera, kind, format) in [("mjpeg", "software", "MJPG"), ("h264", "passthrough", "H264")] {
        lab.must(&["camera", camera]);
        dashboard.state(&format!("the {camera} camera"), |state| state["camera"]["state"] == "idle").await;
        let browser = Browser::start().await.expect("it was there before");
        browser.open(&format!("http://{GUEST}:8080/#broker=ws://{HOST}:9001&device={DEVICE}")).await;
        browser.phase("live").await;
        browser.frames_advance(20).await;
        let first = look(&browser).await.1;
        let deadline = Instant::now() + support::PATIENCE;
        while (look(&browser).await.1 - first).abs() < f64::EPSILON {
            assert!(Instant::now() < deadline, "the picture of the {camera} camera stands still");
            browser.a_moment().await;
        }
        let state = dashboard.camera("live").await;
        assert_eq!(state["encoder"]["kind"], kind, "{state:#}");
        if kind == "passthrough" {
            let changed = |event: &Value| event["type"] == "encoder-changed" && event["to"]["kind"] == kind;
            dashboard.event("another encoder", changed).await;
        }
        let log = lab.run("journalctl -u porthole --no-pager -o cat");
        assert!(log.contains(format), "the log does not name {format}");
        browser.close().await;
        dashboard.viewers(0).await;
        dashboard.camera("idle").await;
    }
    tokio::time::timeout(Duration::from_mins(1), watch(5)).await.expect("an end");
}
