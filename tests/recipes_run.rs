//! The recipes of the docs, run as they are printed: only host, port, device and token are put in.

mod support;

use serde_json::Value;
use support::daemon::{DEVICE, Daemon, Settings};
use support::gst_player::GstPlayer;
use support::http::Site;
use support::invited;
use support::mosquitto::Mosquitto;
use support::recipes::{Shell, doc, fenced, indented, section};
use support::viewer::{Dashboard, OFFER};
use tokio::process::Command;

/// What the device answered to the commands since the last call.
async fn answers(dashboard: &mut Dashboard) -> Vec<Value> {
    // Its own question comes behind everything that the recipes asked.
    let mut all = Vec::new();
    dashboard.publish("do/keyframe", r#"{"id":"the end"}"#).await;
    loop {
        let event = dashboard.event("an answer", |event| event["type"] == "command").await;
        if event["id"] == "the end" {
            return all;
        }
        all.push(event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_steers_is_steered_by_a_default_installation() {
    if support::mosquitto::program().is_none() {
        return;
    }
    // As the package installs it: the built-in broker, invited viewers alone.
    let [mqtt, websocket] = support::free_ports();
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let settings = Settings::new("embedded")
        .text("access.mode", "grants")
        .text("broker.listen", listen(mqtt))
        .text("broker.websocket", listen(websocket));
    let mut daemon = Daemon::run(settings);
    daemon.page().await;
    let shell = Shell::new(None);
    let text = doc("README.md").replace("front-door", DEVICE);
    let mut commands = indented(section(&text, "Steer it"));
    let grant = commands.remove(0);
    let before = daemon.count("the grants were read again");
    let grant = format!("{grant} --config {}", daemon.config_file().display());
    let done = shell.run(&grant, 20).await;
    let token = String::from_utf8(done.stdout).expect("UTF-8").trim().to_owned();
    assert!(token.len() > 20, "{grant}: {}", String::from_utf8_lossy(&done.stderr));
    daemon
        .find("the new grant", |log| {
            (log.matches("the grants were read again").count() > before).then_some(())
        })
        .await;
    assert!(commands.len() >= 3, "{commands:?}");
    for command in commands {
        let command =
            command.replace("-h BOARD", &format!("-h 127.0.0.1 -p {mqtt}")).replace("TOKEN", &token);
        let said = shell.well(&command, 20).await;
        if command.contains("-C 1") {
            let state: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{command}: {said}"));
            assert_eq!(state["streaming"], "ON");
        }
        if command.contains("set/streaming") {
            let shown = format!(
                "mosquitto_sub -h 127.0.0.1 -p {mqtt} -u desk -P {token} -t porthole/{DEVICE}/state -C 2 -W 10 | tail -n 1"
            );
            let state: Value = serde_json::from_str(&shell.well(&shown, 20).await).expect("a state");
            let expected = if command.ends_with("OFF") { "OFF" } else { "ON" };
            assert_eq!(state["streaming"], expected, "{command}");
        }
    }
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shells_recipes_do_what_they_say() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()).value("dashboard.snapshots", true));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let shell = Shell::new(None);
    let text = doc("docs/dashboards/README.md").replace("front-door", DEVICE);
    let commands = indented(section(&text, "The shell"));
    let (variable, commands) = commands.split_first().expect("commands");
    assert!(variable.starts_with("T="), "{variable}");
    let login = format!("B='-h 127.0.0.1 -p {}'; {variable}", broker.port());
    assert!(commands.len() >= 12, "{commands:?}");
    for command in commands {
        let said = shell.well(&format!("{login}\n{command}"), 5).await;
        for answer in answers(&mut dashboard).await {
            let topic = answer["topic"].as_str().unwrap_or_default();
            // The test picture has no controls, and 1x1 is what the text says that it is.
            let is_meant = topic.starts_with("set/control/") || said.contains("1x1 is none of the modes");
            assert_eq!(answer["ok"], !is_meant, "{command}: {answer}");
        }
        if command.contains("mosquitto_rr") {
            assert!(said.contains("1x1 is none of the modes in info"), "{command}: {said}");
        }
        if command.contains("picture.jpg") {
            let picture = std::fs::read(shell.dir.path().join("picture.jpg")).expect("a picture");
            assert!(picture.starts_with(&[0xff, 0xd8, 0xff]), "{command}: {} bytes", picture.len());
        }
        if command.contains("set/streaming -m OFF") {
            assert_eq!(dashboard.ask("set/streaming", "ON").await["ok"], true);
        }
    }
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_is_told_who_begins_to_watch() {
    let Some(broker) = Mosquitto::start() else { return };
    let _daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let shell = Shell::new(None);
    let text = doc("docs/dashboards/README.md").replace("front-door", DEVICE);
    let commands = indented(section(&text, "The shell"));
    let command = commands.iter().find(|command| command.contains("notify-send")).expect("a telephone");
    let script = format!("B='-h 127.0.0.1 -p {}'; T=porthole/{DEVICE}\n{command}", broker.port());
    let listening = shell.run(&script, 20);
    let watching = async {
        // Until the listener is there, and has told.
        let url = broker.url();
        for _ in 0..10 {
            let watch = ["watch", "--broker", &url, "--device", DEVICE, "--seconds", "1"];
            let _ = Command::new(env!("CARGO_BIN_EXE_porthole")).args(watch).output().await;
            if shell.dir.path().join("told").exists() {
                return;
            }
        }
    };
    tokio::select! { _ = listening => {}, () = watching => {} }
    let told = std::fs::read_to_string(shell.dir.path().join("told")).expect("the telephone was told");
    assert!(told.contains("Front door watch-") && told.contains(" watches"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn players_play_by_their_recipes() {
    let Some(player) = GstPlayer::found() else { return };
    let Some(mut world) = invited::World::new().await else { return };
    let link = world.grant("player", &["--rights", "view"]).await;
    let token = link.grant.expect("a grant").1.bearer();
    let site = Site::of(&world.daemon.page().await);
    let shell = Shell::new(Some(player.folder()));
    std::fs::write(shell.dir.path().join("offer.sdp"), OFFER).expect("write");
    let text = doc("docs/dashboards/whep.md");
    let blocks = fenced(&text, "sh");
    assert!(blocks.len() >= 2, "{blocks:?}");
    for block in blocks {
        let command = block.replace("front-door.local:8080", &site.0).replace("TOKEN", &token);
        let done = shell.run(&command, 60).await;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&done.stderr);
        let is_good = said.contains("played ") || said.contains("201 Created");
        assert!(done.status.success() && is_good, "{block}: {said}\n{complaints}");
    }
    // Restreamers cannot be run here: the addresses in their configurations are ones that answer.
    let mut checked = 0;
    for block in fenced(&text, "yaml") {
        for part in block.split_ascii_whitespace() {
            let url = part.trim_start_matches("webrtc:").replace("GRANT:TOKEN@", "");
            let Some(path) = url.strip_prefix("whep://").or(url.strip_prefix("http://")) else { continue };
            let path =
                path.strip_prefix("front-door.local:8080").unwrap_or_else(|| panic!("{url}: which device?"));
            assert_eq!(site.request("OPTIONS", path, &[], "").await.header("accept-post"), "application/sdp");
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} addresses");
    assert!(!text.contains("\ngo2rtc:\n"), "Home Assistant's own go2rtc takes no streams");
    world.dashboard.viewers(0).await;
    world.daemon.assert_unharmed();
}
