//! What the daemon tells a service manager, and what it does when it is told to reload.

mod support;

use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use serde_json::Value;
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::signal;
use support::viewer::{Dashboard, OFFER, Viewer};

/// A service manager as the daemon sees it: a socket.
struct Manager {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the socket");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(support::PATIENCE)).expect("a limit");
        Self { socket, dir }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let socket = self.dir.path().join("notify").display().to_string();
        // The watchdog wants a sign of life each 0.6 s.
        vec![("NOTIFY_SOCKET".into(), socket), ("WATCHDOG_USEC".into(), "600000".into())]
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("the daemon says something");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Waits for a message that holds `text`; gives all that came before it.
    fn told(&self, text: &str) -> Vec<String> {
        let mut before = Vec::new();
        let deadline = Instant::now() + support::PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "not told {text:?}, but {before:?}");
            let message = self.next();
            if message.contains(text) {
                return before;
            }
            before.push(message);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_knows_how_the_daemon_is() {
    let Some(broker) = Mosquitto::start() else { return };
    let manager = Manager::new();
    let mut daemon = Daemon::run_with(Settings::new(&broker.url()), manager.environment());
    let before = manager.told("READY=1");
    assert!(before.is_empty(), "{before:?}");
    manager.told("STATUS=online; nobody watches; camera idle");
    for _ in 0..3 {
        manager.told("WATCHDOG=1");
    }
    let viewer = Viewer::connect(broker.port(), "v1").await;
    viewer.offer("one", OFFER).await;
    manager.told("1 viewer; camera live");
    signal(daemon.pid(), "-TERM");
    manager.told("STOPPING=1");
    assert!(daemon.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_it_is_ready_and_says_what_is_missing() {
    let manager = Manager::new();
    let url = format!("mqtt://127.0.0.1:{}", support::free_ports::<1>()[0]);
    let _daemon = Daemon::run_with(Settings::new(&url), manager.environment());
    manager.told("READY=1");
    manager.told("STATUS=no broker (");
    manager.told("WATCHDOG=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_it_can_and_ends_no_session() {
    let Some(broker) = Mosquitto::start() else { return };
    let manager = Manager::new();
    let settings = Settings::new(&broker.url()).value("viewers.max", 3);
    let mut daemon = Daemon::run_with(settings.clone(), manager.environment());
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let viewer = Viewer::connect(broker.port(), "v1").await;
    viewer.offer("one", OFFER).await;
    let session = |state: &Value| state["viewers"]["sessions"][0]["since"].clone();
    let before = dashboard.viewers(1).await;

    let changed = settings.value("viewers.max", 1).text("device.name", "Garden").value("camera.fps", 10);
    daemon.configure(changed.value("video.bitrate_kbps", 700));
    manager.told("READY=1");
    signal(daemon.pid(), "-HUP");
    manager.told("RELOADING=1");
    manager.told("READY=1");
    let after = dashboard.state("the new cap", |state| state["viewers"]["max"] == 1).await;
    assert_eq!(session(&after), session(&before), "{after:#}");
    dashboard.state("the new bit rate", |state| state["encoder"]["target"] == 700_000).await;
    dashboard.info("the new name", |info| info["name"] == "Garden").await;
    daemon.logged("changed=\"device.name, video.bitrate_kbps, viewers.max\"").await;
    daemon.logged("keys=\"camera.fps\"").await;
    let mut late = Viewer::connect(broker.port(), "v2").await;
    late.offer("two", OFFER).await;
    late.refused("busy").await;

    daemon.configure(Settings::new("nonsense"));
    signal(daemon.pid(), "-HUP");
    daemon.logged("the one in force stays").await;
    assert!(daemon.is_running());
    dashboard.viewers(1).await;
}
