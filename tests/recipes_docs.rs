//! Recipes of the documentation outside docs/dashboards, run as they are printed: only folder, host, port and device are put in.

mod support;

use std::process::Stdio;

use support::certificates::Certificates;
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::recipes::{Shell, all_blocks, blocks, doc};
use support::viewer::Dashboard;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// The commands of `file` that begin so.
fn commands(file: &str, begin: &str) -> Vec<String> {
    let all = blocks(&doc(file)).into_iter().flat_map(|block| block.commands());
    let found: Vec<String> = all.filter(|command| command.starts_with(begin)).collect();
    assert!(!found.is_empty(), "{file} has no command that begins with {begin:?}");
    found
}

#[test]
fn configurations_of_the_docs_are_taken() {
    let certificates = Certificates::new();
    let folder = certificates.dir();
    std::fs::copy(certificates.path("server.pem"), folder.join("camera.pem")).expect("copy");
    std::fs::copy(certificates.path("server.key"), folder.join("camera.key")).expect("copy");
    std::fs::write(folder.join("mqtt-password"), "a secret of the broker").expect("write");
    let mut checked = 0;
    for (file, block) in all_blocks() {
        let is_configuration =
            block.language == "toml" || block.lines.first().is_some_and(|line| line.starts_with("[mqtt]"));
        if !is_configuration {
            continue;
        }
        // A part of one stands in a whole one, which names a broker.
        let broker = if block.text().contains("[mqtt]") { "" } else { "[mqtt]\nurl = \"embedded\"\n" };
        let text = block.text().replace("/etc/porthole", folder.to_str().expect("UTF-8")) + broker;
        let path = folder.join("porthole.toml");
        std::fs::write(&path, text).expect("write");
        let check = ["check", "--config", path.to_str().expect("UTF-8")];
        let done = support::daemon::porthole(&check).output().expect("run check");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() && said.is_empty(), "{file}: {}\n{said}", block.text());
        checked += 1;
    }
    assert!(checked > 8, "only {checked}");
}

/// A shell in which `porthole` has the configuration of a device that nobody was invited to yet.
fn installed() -> Shell {
    let shell = Shell::new(None);
    let folder = shell.dir.path();
    let settings = Settings::new("mqtt://127.0.0.1:1").text("access.mode", "grants");
    let file = folder.join("porthole.toml");
    std::fs::write(&file, settings.path("device.state_dir", &folder.join("state")).toml()).expect("write");
    shell.porthole(&format!("--config {}", file.display()));
    shell
}

#[tokio::test]
async fn invitations_are_made_as_printed() {
    let mut made = 0;
    for (file, block) in all_blocks() {
        for command in block.commands() {
            let is_check = command.starts_with("sudo porthole check");
            if !is_check && !command.starts_with("sudo porthole grant ") {
                continue;
            }
            let done = installed().run(&command, 30).await;
            let said = String::from_utf8_lossy(&done.stdout).into_owned();
            let expected = if is_check { "cam (Test camera)" } else { "" };
            let is_token = command.contains("--token") && said.trim().len() > 20;
            let is_good = said.contains(expected) && (is_check || is_token || said.contains("&secret="));
            let complaints = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success() && is_good, "{file}: {command}: {said}{complaints}");
            made += usize::from(!is_check);
        }
    }
    assert!(made >= 6, "only {made}");
}

#[tokio::test]
async fn setup_is_done_as_printed() {
    let shell = Shell::new(None);
    let folder = shell.dir.path().join("etc");
    std::fs::create_dir(&folder).expect("a folder");
    shell.porthole(&format!("--output {}", folder.join("porthole.toml").display()));
    let mut has_rules = false;
    for command in commands("docs/setup.md", "sudo porthole setup ") {
        if command.contains("mqtts://") {
            continue;
        }
        let done = shell.run(&command, 60).await;
        let complaints = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{command}: {}{complaints}", String::from_utf8_lossy(&done.stdout));
        let Ok(rules) = std::fs::read_to_string(folder.join("broker/acl")) else { continue };
        // What docs/protocol.md prints is what is written.
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        };
        let id = rules.lines().find_map(|line| line.strip_prefix("user ")).expect("a user").to_owned();
        let printed = blocks(&doc("docs/protocol.md")).into_iter();
        let printed = printed.filter(|block| {
            let first = block.lines.first().map_or("", String::as_str);
            block.language.is_empty() && (first.starts_with("user ") || first.starts_with("pattern "))
        });
        let printed: String = printed.map(|block| block.text().replace("front-door", &id)).collect();
        let (mut printed, mut written) = (lines(&printed), lines(&rules));
        printed.sort();
        written.sort();
        assert_eq!(printed, written, "the rules of docs/protocol.md");
        has_rules = true;
    }
    assert!(has_rules, "setup of a Mosquitto made no rules");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_at_the_device_is_the_printed_one() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let shell = Shell::new(None);
    shell.script("systemctl", &format!("exec kill -HUP {}", daemon.pid()));
    let state = daemon.config_file().with_file_name("state");
    let commands = commands("docs/configuration.md", "echo O");
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        let expected = if command.starts_with("echo OFF") { "OFF" } else { "ON" };
        shell.well(&command.replace("/var/lib/porthole", state.to_str().expect("UTF-8")), 20).await;
        dashboard.state(expected, |state| state["streaming"] == expected).await;
    }
    daemon.assert_unharmed();
}

/// Whether `said` is what is `shown`, in which `…` stands for anything.
fn fits(shown: &str, said: &str) -> bool {
    let mut rest = said;
    for (at, piece) in shown.split('…').enumerate() {
        match rest.find(piece) {
            Some(begin) if at > 0 || begin == 0 => rest = &rest[begin + piece.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || shown.ends_with('…')
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocols_examples_get_the_answers_that_are_printed() {
    assert!(fits("a…c", "abbc") && fits("a", "a") && !fits("a…c", "abcd") && !fits("b", "ab"));
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    Dashboard::connect(broker.port()).await.camera("idle").await;
    let shell = Shell::new(None);
    let mut examples = 0;
    for block in blocks(&doc("docs/protocol.md")) {
        let text = block.text().replace("front-door", DEVICE);
        let Some((command, answer)) = text.strip_prefix("$ ").and_then(|text| text.split_once('\n')) else {
            continue;
        };
        let (topic, shown) = answer.trim_end().split_once(' ').expect("a topic and what is said there");
        let mut listener =
            Client::connect(broker.port(), &format!("listener-{examples}"), &[topic.to_owned()]).await;
        shell.well(&command.replace("-h BROKER", &format!("-h 127.0.0.1 -p {}", broker.port())), 20).await;
        loop {
            let said = listener.next(shown).await.text();
            if fits(shown, &said) {
                break;
            }
            // A word about the example before this one.
            assert!(said.contains("session-refused"), "{command}\n{said}\ninstead of\n{shown}");
        }
        examples += 1;
    }
    assert!(examples >= 3, "only {examples}");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_no_picture_asks_as_printed() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    Dashboard::connect(broker.port()).await.camera("idle").await;
    let shell = Shell::new(None);
    let (host, url) = (format!("-h 127.0.0.1 -p {}", broker.port()), broker.url());
    for command in commands("docs/troubleshooting.md", "mosquitto_sub ") {
        let said = shell.well(&command.replace("-h BROKER", &host), 5).await;
        assert!(said.contains(&format!("porthole/{DEVICE}/availability online")), "{command}: {said}");
        assert!(said.contains("\"state\":\"idle\""), "{command}: {said}");
    }
    for command in commands("docs/troubleshooting.md", "porthole watch ") {
        let command = command.replace("mqtt://BROKER", &url).replace(" ID", &format!(" {DEVICE}"));
        let done = shell.run(&command, 60).await;
        let complaints = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{command}: {}{complaints}", String::from_utf8_lossy(&done.stdout));
    }
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_on_other_ports_starts_as_printed() {
    let shell = Shell::new(None);
    let [mqtt, websocket] = support::free_ports();
    for command in commands("docs/troubleshooting.md", "PORTHOLE_BROKER_LISTEN") {
        let command =
            command.replace(":2883", &format!(":{mqtt}")).replace(":9002", &format!(":{websocket}"));
        let mut demo = Command::new("bash")
            .args([
                "-c",
                &command.replace("porthole demo", &format!("{} demo", env!("CARGO_BIN_EXE_porthole"))),
            ])
            .env("PORTHOLE_HTTP_LISTEN", "127.0.0.1:0")
            .env("PORTHOLE_CAMERA_DEVICE", "test")
            .env("XDG_STATE_HOME", shell.dir.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("start the demo");
        let mut lines = BufReader::new(demo.stdout.take().expect("its words")).lines();
        let link = async {
            while let Some(line) = lines.next_line().await.expect("UTF-8") {
                if line.contains("&secret=") {
                    return line;
                }
            }
            panic!("{command}: no link");
        };
        let link = timeout(support::PATIENCE, link).await.expect("a link");
        assert!(link.contains(&websocket.to_string()), "{command}: {link}");
    }
}
