//! Whatever becomes of the place where log lines go, the daemon serves: nothing about logging reaches a task.

mod support;

use std::fs::File;
use std::process::{Child, Stdio};

use serde_json::json;
use support::daemon::{Settings, porthole};
use support::free_ports;
use support::http::Site;
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER, Viewer};

/// Ended with the test.
struct Quiet(Child);

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon that says as much as it can to `stderr`, and what its health and its figures are afterwards.
async fn serves_with(stderr: Stdio, after: impl FnOnce(&mut Child)) -> Option<String> {
    let broker = Mosquitto::start()?;
    let dir = tempfile::tempdir().expect("a directory");
    let [port] = free_ports::<1>();
    let settings = Settings::new(&broker.url())
        .text("http.listen", format!("127.0.0.1:{port}"))
        .path("device.state_dir", &dir.path().join("state"));
    let file = dir.path().join("porthole.toml");
    std::fs::write(&file, settings.toml()).expect("the configuration");
    let mut command = porthole(&["run", "--config", file.to_str().expect("a path in UTF-8")]);
    command.env("PORTHOLE_LOG", "trace").stdout(Stdio::null()).stderr(stderr);
    let mut daemon = Quiet(command.spawn().expect("start porthole"));
    after(&mut daemon.0);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    // Each of these has lines of its own, in several tasks.
    for session in ["s", "t", "u"] {
        let mut viewer = Viewer::connect(broker.port(), &format!("viewer-{session}")).await;
        viewer.offer(session, OFFER).await;
        viewer.expect("answer").await;
        viewer.say(json!({"v": 1, "type": "bye", "session": session})).await;
    }
    dashboard.viewers(0).await;
    let answer = dashboard.ask("do/warm", "").await;
    assert_eq!(answer["ok"], true, "{answer}");
    let site = Site::of(&format!("http://127.0.0.1:{port}/"));
    let health = site.get("/healthz").await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    let figures = site.get("/metrics").await.text();
    let lost = figures.lines().find_map(|line| line.strip_prefix("porthole_log_lines_lost_total "));
    Some(lost.expect("the count of lost lines").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_gone_harms_nobody() {
    let close = |daemon: &mut Child| drop(daemon.stderr.take());
    let Some(lost) = serves_with(Stdio::piped(), close).await else { return };
    assert_ne!(lost, "0");
}

/// As a terminal stopped with ^S, or a journal that hangs: once 64 kB are in the pipe, a write waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    assert!(serves_with(Stdio::piped(), |_| {}).await.is_none_or(|lost| !lost.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_harms_nobody() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let Some(lost) = serves_with(full.into(), |_| {}).await else { return };
    assert_ne!(lost, "0");
}
