//! `porthole doctor` on a good machine, and with each thing broken in turn.

mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::mosquitto::Mosquitto;
use support::patient::{Patient, Said, doctor};
use support::viewer::Dashboard;

/// Every part of a report, in its order.
const AREAS: [&str; 11] = [
    "config",
    "camera",
    "gstreamer",
    "encoder",
    "broker",
    "ice",
    "ports",
    "clock",
    "disk",
    "memory",
    "first frame",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_good_machine_is_well_and_nothing_changes() {
    let Some(broker) = Mosquitto::start() else { return };
    let said = doctor(Settings::new(&broker.url())).await;
    said.well();
    for area in AREAS {
        assert!(!said.findings(area).is_empty(), "{area} is missing: {:#}", said.report);
    }
    let measured = |area: &str, figure: &str| {
        said.findings(area).iter().find_map(|finding| finding["figures"][figure].as_f64())
    };
    assert!(measured("camera", "fps").is_some_and(|fps| fps > 0.0), "{:#}", said.report);
    assert!(measured("encoder", "fps").is_some_and(|fps| fps > 0.0), "{:#}", said.report);
    assert!(measured("first frame", "first_frame_ms").is_some_and(|ms| ms > 0.0), "{:#}", said.report);
    assert_eq!(measured("broker", "topics_passed"), Some(8.0), "{:#}", said.report);
    // The broker keeps nothing of it: what is published now is the first that a newcomer hears.
    let mut newcomer = Client::connect(broker.port(), "newcomer", &["#".into()]).await;
    newcomer.publish("after", "x").await;
    let first = newcomer.next("the only message").await;
    assert_eq!((first.topic.as_str(), first.retain), ("after", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_people_are_aligned_and_summed_up() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut patient = Patient::new(Settings::new(&broker.url()));
    let file = patient.dir.path().join("porthole.toml");
    patient.command = porthole(&["doctor", "--config", file.to_str().expect("UTF-8")]);
    let output = tokio::process::Command::from(patient.command).output().await.expect("run the doctor");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("Video works here: ")), "{text}");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("Video")) {
        let columns: Vec<char> = line.chars().collect();
        assert!(columns.len() > 19 && columns[18] == ' ' && columns[19] != ' ', "not aligned: {line:?}");
    }
    assert!(text.contains("\nok    camera       test picture: 640x480 at 15 fps asked, "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_does_not_notice() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.info("its id", |info| info["device"] == DEVICE).await;
    let said = doctor(Settings::new(&broker.url())).await;
    said.well();
    let online = said.findings("broker").iter().any(|finding| finding["figures"]["availability"] == "online");
    assert!(online, "{:#}", said.report);
    // Kept as it was, for those who come later.
    let mut late = Dashboard::connect(broker.port()).await;
    late.availability("online").await;
    late.info("its id", |info| info["device"] == DEVICE).await;
    late.state("no viewer ever", |state| state["encoder"]["keyframes"] == 0).await;
    let log = daemon.log();
    assert!(!log.contains("command") && !log.contains("session"), "it noticed:\n{log}");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_not_there_is_named_and_the_rest_is_shown_to_work() {
    let Some(broker) = Mosquitto::start() else { return };
    let said = doctor(Settings::new(&broker.url()).text("camera.device", "/dev/video-none")).await;
    let (what, next) = said.only_failure("camera");
    assert!(what.contains("/dev/video-none is not there") && next.contains("plug it in"), "{what}: {next}");
    let first = said.findings("first frame");
    assert!(first[0]["what"].as_str().is_some_and(|what| what.contains("test picture")), "{first:?}");
}

/// A device node that root alone may open, examined as nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_may_not_be_opened_names_the_group() {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let has_setpriv = Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_root || !has_setpriv {
        eprintln!("SKIPPED: this test needs root and setpriv (util-linux) to become another user");
        return;
    }
    let Some(broker) = Mosquitto::start() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let node = dir.path().join("video7");
    let made = Command::new("mknod").arg(&node).args(["c", "81", "7"]).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("SKIPPED: this machine lets nobody make a device node");
        return;
    }
    for (path, mode) in [(node.as_path(), 0o600), (dir.path(), 0o755)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set the mode");
    }
    // The program's own folder may be closed to others.
    let program = dir.path().join("porthole");
    std::fs::copy(env!("CARGO_BIN_EXE_porthole"), &program).expect("copy the program");
    let settings = Settings::new(&broker.url()).path("camera.device", &node);
    let patient = Patient::with(dir, &settings.text("device.state_dir", "/nowhere/state"));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
    command.args(patient.command.get_args()).stdin(Stdio::null());
    command.env("GST_REGISTRY", "/dev/null/none");
    let said = Patient { command, dir: patient.dir }.examined().await;
    let (what, next) = said.only_failure("camera");
    assert!(what.contains("may not open") && next.contains("usermod -aG video nobody"), "{what}: {next}");
    let disk = said.findings("disk")[0];
    assert_eq!(disk["verdict"], "warn", "{disk}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_plugins_are_named_with_their_packages() {
    let Some(broker) = Mosquitto::start() else { return };
    let empty = tempfile::tempdir().expect("a folder");
    let said = Patient::new(Settings::new(&broker.url()))
        .env("GST_PLUGIN_SYSTEM_PATH_1_0", empty.path())
        .env("GST_PLUGIN_PATH_1_0", empty.path())
        .env("GST_REGISTRY", empty.path().join("registry"))
        .examined()
        .await;
    assert_eq!(said.code, Some(1));
    let plugins = said.findings("gstreamer")[0];
    let (what, next) = (plugins["what"].as_str().expect("text"), plugins["next"].as_str().expect("text"));
    for element in ["h264parse", "videoconvert", "x264enc"] {
        assert!(what.contains(element), "{what}");
    }
    for package in ["gstreamer1.0-plugins-bad", "gstreamer1.0-plugins-base", "gstreamer1.0-plugins-ugly"] {
        assert!(next.contains(package), "{next}");
    }
    assert!(said.findings("encoder").iter().any(|finding| finding["verdict"] == "fail"));
    // The picture itself needs none of them, the way to a viewer does.
    assert_eq!(said.verdict("camera"), "ok", "{:#}", said.report);
    assert_eq!(said.verdict("first frame"), "fail", "{:#}", said.report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_made_is_a_warning() {
    let Some(broker) = Mosquitto::start() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    // Not even root can make a folder in a file.
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("write");
    let settings = Settings::new(&broker.url()).path("device.state_dir", &file.join("below"));
    let said = Patient::with(dir, &settings).examined().await;
    said.well();
    let disk = said.findings("disk")[0];
    assert_eq!(disk["verdict"], "warn", "{disk}");
    assert!(disk["what"].as_str().is_some_and(|what| what.contains("privacy switch")), "{disk}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_privacy_switch_keeps_the_camera_closed() {
    let Some(broker) = Mosquitto::start() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("kept");
    std::fs::create_dir(&state).expect("a folder");
    std::fs::write(state.join("streaming"), "OFF\n").expect("write");
    let settings = Settings::new(&broker.url()).path("device.state_dir", &state);
    let said = Patient::with(dir, &settings).examined().await;
    let (what, next) = said.only_failure("privacy");
    assert!(what.contains("privacy switch") && next.contains("porthole/cam/set/streaming"), "{what}: {next}");
    for area in ["camera", "first frame"] {
        assert_eq!(said.verdict(area), "skip", "{:#}", said.report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_are_taken_are_named_with_their_keys() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let settings = Settings::new("embedded")
        .text("broker.listen", "127.0.0.1:0")
        .text("broker.websocket", &address)
        .text("http.listen", "127.0.0.1:0");
    let (what, next) = doctor(settings).await.only_failure("ports");
    assert!(what.contains(&address) && what.contains("(pid "), "{what}");
    assert!(next.contains("broker.websocket"), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_broker_of_a_running_daemon_is_visited() {
    let [mqtt, websocket, http] = support::free_ports();
    let settings = Settings::new("embedded")
        .text("broker.listen", format!("127.0.0.1:{mqtt}"))
        .text("broker.websocket", format!("127.0.0.1:{websocket}"))
        .text("http.listen", format!("127.0.0.1:{http}"));
    let before = doctor(settings.clone()).await;
    before.well();
    let mut daemon = Daemon::run(settings.clone());
    Dashboard::connect(mqtt).await.availability("online").await;
    let said = doctor(settings).await;
    said.well();
    let words = |area: &str| said.findings(area)[0]["what"].as_str().expect("text").to_owned();
    assert!(words("broker").contains("of the running daemon"), "{}", words("broker"));
    assert!(words("ports").contains("in use by Porthole itself"), "{}", words("ports"));
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_configuration_the_demos_is_checked() {
    if Path::new("/etc/porthole/porthole.toml").exists() {
        eprintln!("SKIPPED: this machine has a configuration");
        return;
    }
    let mut command = porthole(&["doctor", "--json"]);
    command.env("PORTHOLE_CAMERA_DEVICE", "test");
    for key in ["PORTHOLE_HTTP_LISTEN", "PORTHOLE_BROKER_LISTEN", "PORTHOLE_BROKER_WEBSOCKET"] {
        command.env(key, "127.0.0.1:0");
    }
    let output = tokio::process::Command::from(command).output().await.expect("run the doctor");
    let said = Said::of(&output);
    said.well();
    let config = said.findings("config")[0];
    assert_eq!(config["verdict"], "warn", "{config}");
    assert!(config["next"].as_str().is_some_and(|next| next.contains("PORTHOLE_MQTT_URL")), "{config}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_used_exits_64() {
    let patient = Patient::new(Settings::new("mqtt://127.0.0.1:1").value("viewers.max", 0));
    let output = tokio::process::Command::from(patient.command).output().await.expect("run the doctor");
    let said = Said::of(&output);
    assert_eq!((said.code, &said.report["video"]), (Some(64), &Value::Bool(false)));
    let words = said.findings("config")[0]["what"].as_str().expect("text").to_owned();
    assert!(words.contains("viewers.max") && words.contains("1 to 1000"), "{words}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("viewers.max"));
}
