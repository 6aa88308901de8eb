//! What is set is kept once it was answered with `ok`, the privacy switch above all; and whoever has nothing to do sleeps.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::signal;
use support::viewer::Dashboard;

async fn world() -> Option<(Mosquitto, Daemon, Dashboard)> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(Settings::new(&broker.url()).value("video.linger_s", 1));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.camera("idle").await;
    Some((broker, daemon, dashboard))
}

fn state_dir(daemon: &Daemon) -> PathBuf {
    daemon.config_file().with_file_name("state")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_ok_survives_a_kill() {
    let Some((_broker, mut daemon, mut dashboard)) = world().await else { return };
    // The first value after a start, one right after another, and back to the configuration.
    for (payload, ceiling) in [("900", Some(900_000)), ("700", Some(700_000)), ("auto", None)] {
        if payload == "700" {
            assert_eq!(dashboard.ask("set/bitrate", "800").await["ok"], true);
        }
        let answer = dashboard.ask("set/bitrate", payload).await;
        assert_eq!(answer["ok"], true, "{answer}");
        daemon.kill();
        dashboard.availability("offline").await;
        daemon.start_again();
        dashboard.availability("online").await;
        dashboard.camera("idle").await;
        let state = dashboard.new_state("the ceiling", |state| !state["encoder"]["ceiling"].is_null()).await;
        let found = &state["encoder"]["ceiling"];
        match ceiling {
            Some(ceiling) => assert_eq!(*found, json!(ceiling), "after {payload}: {state:#}"),
            None => assert!(![900_000, 800_000, 700_000].map(Value::from).contains(found), "{state:#}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn off_on_a_full_disk_stays_off_over_a_reload_and_a_kill() {
    let Some((_broker, mut daemon, mut dashboard)) = world().await else { return };
    assert_eq!(dashboard.ask("set/streaming", "OFF").await["ok"], true);
    assert_eq!(dashboard.ask("set/streaming", "ON").await["ok"], true);
    // As a full disk refuses it: the new file cannot be made.
    let blocker = state_dir(&daemon).join("streaming.new");
    std::fs::create_dir(&blocker).expect("a folder in its place");
    let answer = dashboard.ask("set/streaming", "OFF").await;
    assert_eq!(answer["ok"], true, "{answer}");
    daemon.logged("the file is empty, which means off too").await;
    daemon.kill();
    dashboard.availability("offline").await;
    daemon.start_again();
    dashboard.availability("online").await;
    dashboard.new_state("the switch", |state| state["streaming"] == "OFF").await;
    for life in ["the disk is full", "the disk is well again"] {
        let reloads = daemon.count("the configuration was read again");
        signal(daemon.pid(), "-HUP");
        daemon
            .find("the reload", |log| {
                (log.matches("the configuration was read again").count() > reloads).then_some(())
            })
            .await;
        // A command that is carried out after the file was looked at.
        let warm = dashboard.ask("do/warm", "").await;
        assert_eq!(warm["ok"], false, "{life}: the camera is on again: {warm}");
        let state = dashboard.new_state("the switch", |_| true).await;
        assert_eq!(state["streaming"], "OFF", "{life}: {state:#}");
        let _ = std::fs::remove_dir(&blocker);
    }
    assert_eq!(daemon.count("turned at the device"), 0);
    daemon.kill();
    daemon.start_again();
    dashboard.new_state("the switch", |state| state["streaming"] == "OFF").await;
}

/// How often a thread of the process stopped to wait and was woken, since its start.
fn wakes(daemon: &Daemon) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("/proc of the daemon");
    let of_one = |thread: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        count.trim().parse::<u64>().ok()
    };
    threads.filter_map(of_one).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_viewers_sleeps_also_after_something_was_set() {
    /// Long enough to tell a loop that wakes by itself from one that has just been at work.
    const WINDOW: Duration = Duration::from_secs(8);
    let Some((_broker, daemon, mut dashboard)) = world().await else { return };
    for (topic, payload) in [("set/bitrate", "900"), ("set/resolution", "640x360")] {
        assert_eq!(dashboard.ask(topic, payload).await["ok"], true);
    }
    dashboard.new_state("what was set", |state| state["encoder"]["ceiling"] == 900_000).await;
    let before = wakes(&daemon);
    tokio::time::sleep(WINDOW).await;
    let woken = wakes(&daemon) - before;
    eprintln!("{woken} wakes in {WINDOW:?}");
    assert!(woken < 200, "{woken} wakes in {WINDOW:?} with nothing to do");
}
