//! The announcement to Home Assistant: by its own rules, after its start, and taken back.

mod support;

use serde_json::{Value, json};
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings};
use support::homeassistant::{assert_accepts, assert_valid, icons_exist, is_available, is_removal, shown};
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;

/// Home Assistant's end: hears announcements, tells of its start.
struct Home {
    client: Client,
    topic: String,
}

impl Home {
    async fn connect(broker: &Mosquitto, id: &str, prefix: &str) -> Self {
        let topic = format!("{prefix}/device/{DEVICE}/config");
        Self { client: Client::connect(broker.port(), id, &[format!("{prefix}/#")]).await, topic }
    }

    /// The next announcement, as text; empty when it was taken back.
    async fn heard(&mut self, what: &str) -> String {
        loop {
            let message = self.client.next(what).await;
            if message.topic == self.topic {
                return message.text();
            }
        }
    }

    async fn announced(&mut self, what: &str) -> Value {
        let text = self.heard(what).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text:?}"))
    }
}

fn settings(broker: &Mosquitto) -> Settings {
    Settings::new(&broker.url()).value("dashboard.snapshots", true).text("homeassistant.area", "Hall")
}

#[test]
fn every_icon_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in
        ["src/dashboard/homeassistant.rs", "docs/dashboards/home-assistant.yaml", "docs/dashboards/README.md"]
    {
        let text = std::fs::read_to_string(root.join(file)).expect(file);
        if !icons_exist(&text) {
            eprintln!("SKIPPED: there is no @mdi/font in viewer/node_modules; `make page` installs it");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_there_while_there_is_one_and_a_lost_camera_shows_nothing_wrong() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut home = Home::connect(&broker, "home", "homeassistant").await;
    let _daemon = Daemon::run(settings(&broker));
    let message = home.announced("an announcement").await;
    let mut dashboard = Dashboard::connect(broker.port()).await;
    let info = dashboard.info("info", |_| true).await;
    dashboard.ask("do/snapshot", "").await;
    let taken = dashboard.state("a picture", |state| state["snapshot"].is_string()).await;
    dashboard.ask("set/streaming", "OFF").await;
    let off = dashboard.camera("off").await;
    dashboard.ask("set/streaming", "ON").await;
    let on = dashboard.state("on again", |state| state["streaming"] == "ON").await;
    for key in ["camera", "image"] {
        let entity = &message["components"][key];
        let available = [&taken, &off, &on].map(|state| is_available(entity, &info, state));
        assert_eq!(available, [true, false, false], "{key}: {off:#} {on:#}");
    }
    dashboard.ask("do/snapshot", "").await;
    dashboard.state("a picture again", |state| state["snapshot"].is_string()).await;
    // As it is while a camera is lost.
    let mut lost = taken.clone();
    for (name, figure) in [("ceiling", 0), ("bitrate", 0), ("target", 0)] {
        lost["encoder"][name] = figure.into();
    }
    lost["camera"]["state"] = "lost".into();
    for state in [&lost, &off] {
        for (key, entity) in message["components"].as_object().expect("components") {
            if entity.get("value_template").is_some() {
                assert_accepts(key, entity, &shown(entity, &info, state));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_the_rules_and_every_entity_shows_something() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut home = Home::connect(&broker, "home", "homeassistant").await;
    let mut daemon = Daemon::run(settings(&broker));
    let message = home.announced("an announcement").await;
    assert_valid(&message);
    let components = message["components"].as_object().expect("components");
    for wanted in [
        "camera",
        "image",
        "streaming",
        "take_snapshot",
        "keyframe",
        "restart",
        "viewers",
        "bitrate_now",
        "fps",
        "camera_state",
        "encoder",
        "latency_encode",
        "uptime",
        "watched",
        "problem",
        "bitrate",
        "resolution",
        "version",
    ] {
        assert!(components.contains_key(wanted), "{wanted} is missing: {message:#}");
    }
    let mut dashboard = Dashboard::connect(broker.port()).await;
    let info = dashboard.info("info", |_| true).await;
    let idle = dashboard.camera("idle").await;
    dashboard.ask("do/warm", "").await;
    let live = dashboard.state("figures", |state| state["latency"]["encode"].is_object()).await;
    dashboard.ask("set/streaming", "OFF").await;
    let off = dashboard.camera("off").await;
    for state in [&idle, &live, &off] {
        for (key, entity) in components.iter().filter(|(_, entity)| entity.get("value_template").is_some()) {
            assert_accepts(key, entity, &shown(entity, &info, state));
            assert!(is_available(entity, &info, state), "{key}");
        }
    }
    let value = |key: &str, state: &Value| shown(&components[key], &info, state);
    assert_eq!((value("streaming", &live), value("streaming", &off)), ("ON".into(), "OFF".into()));
    assert_eq!((value("camera_state", &live), value("camera_state", &off)), ("live".into(), "off".into()));
    assert_eq!(value("resolution", &live), "640x480");
    assert_eq!(value("watched", &live), "OFF");
    assert_eq!((value("fps", &idle).as_str(), value("fps", &off).as_str()), ("0", "0"));
    assert_ne!(value("fps", &live), "0");
    let page = daemon.page().await;
    assert_eq!(message["device"]["configuration_url"], page.as_str());
    assert_eq!(message["device"]["suggested_area"], "Hall");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_entity_sends_is_done_and_shown() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut home = Home::connect(&broker, "home", "homeassistant").await;
    let _daemon = Daemon::run(settings(&broker));
    let message = home.announced("an announcement").await;
    let components = message["components"].as_object().expect("components");
    let mut dashboard = Dashboard::connect(broker.port()).await;
    let info = dashboard.info("info", |_| true).await;
    for (key, sends) in [
        ("bitrate", "700"),
        ("resolution", "640x360"),
        ("streaming", "OFF"),
        ("streaming", "ON"),
        ("take_snapshot", "{}"),
        ("warm", "{}"),
        ("keyframe", "{}"),
        ("restart", "{}"),
    ] {
        let entity = &components[key];
        let topic = entity["command_topic"].as_str().expect("a command topic");
        let topic = topic.strip_prefix(&format!("porthole/{DEVICE}/")).expect("the device's topic");
        if let Some(payload) = entity.get("payload_press") {
            assert_eq!(payload, sends, "{key}");
        }
        let event = dashboard.ask(topic, sends).await;
        assert_eq!(event["ok"], true, "{key}: {event}");
        if entity.get("value_template").is_some() {
            let fits = |state: &Value| shown(entity, &info, state) == sends;
            dashboard.state(&format!("{key} {sends}"), fits).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_again_when_home_assistant_starts_and_to_a_broker_that_forgot() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let mut home = Home::connect(&broker, "home", "homeassistant").await;
    let _daemon = Daemon::run(settings(&broker));
    let first = home.announced("an announcement").await;
    home.client.publish("homeassistant/status", "offline").await;
    home.client.publish("homeassistant/status", "online").await;
    assert_eq!(home.announced("it again").await, first);
    // One that comes later gets it from the broker.
    let mut late = Home::connect(&broker, "late", "homeassistant").await;
    assert_eq!(late.announced("the kept one").await, first);
    // This broker keeps nothing over a restart.
    broker.kill();
    broker.start_again();
    assert_eq!(home.announced("it again").await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_or_moved_it_is_taken_back() {
    let Some(broker) = Mosquitto::start() else { return };
    // The page's address is part of the announcement, so it stays the same over restarts.
    let [port] = support::free_ports();
    let settings = |broker: &Mosquitto| settings(broker).text("http.listen", format!("127.0.0.1:{port}"));
    let mut home = Home::connect(&broker, "home", "homeassistant").await;
    let mut moved = Home::connect(&broker, "moved", "other/home").await;
    let mut daemon = Daemon::run(settings(&broker));
    let first = home.announced("an announcement").await;
    // A restart does not take it back, and changes nothing.
    daemon.terminate().await;
    daemon.start_again();
    assert_eq!(home.announced("the same").await, first);
    daemon.terminate().await;
    daemon.configure(settings(&broker).text("homeassistant.prefix", "other/home"));
    daemon.start_again();
    assert_eq!(home.heard("an end").await, "");
    let there = moved.announced("the new place").await;
    assert_eq!(there, first);
    daemon.terminate().await;
    daemon.configure(settings(&broker).value("homeassistant.discovery", false));
    daemon.start_again();
    assert_eq!(moved.heard("an end").await, "");
    let mut late = Client::connect(broker.port(), "late", &["#".to_owned()]).await;
    loop {
        let message = late.next("availability").await;
        assert!(!message.topic.ends_with("/config"), "it is still announced on {}", message.topic);
        if message.topic.ends_with("/state") {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_removed_by_name() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut home = Home::connect(&broker, "home", "homeassistant").await;
    let mut daemon = Daemon::run(settings(&broker));
    let all = home.announced("everything").await;
    assert!(all["components"]["camera"]["topic"].is_string());
    daemon.terminate().await;
    daemon.configure(Settings::new(&broker.url()).text("dashboard.commands", "none"));
    daemon.start_again();
    let less = home.announced("less").await;
    assert_valid(&less);
    for gone in ["camera", "image", "streaming", "bitrate", "take_snapshot", "keyframe"] {
        let platform = &all["components"][gone]["platform"];
        assert_eq!(less["components"][gone], json!({ "platform": platform }), "{gone}: {less:#}");
    }
    assert!(!less.to_string().contains("command_topic"), "{less:#}");
    assert!(!is_removal(&less["components"]["viewers"]));
}
