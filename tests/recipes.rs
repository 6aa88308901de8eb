//! The recipes of docs/dashboards name what there is: entities, topics, and nodes that Node-RED has by itself.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;

fn recipe(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dashboards").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words of `text` made of `allowed` characters that begin with one of `starts`.
fn words<'a>(text: &'a str, starts: &[&str]) -> BTreeSet<&'a str> {
    let inside = |character: char| character.is_ascii_alphanumeric() || "_-./".contains(character);
    text.split(|character| !inside(character))
        .map(|word| word.trim_end_matches(['.', '/']))
        .filter(|word| starts.iter().any(|start| word.starts_with(start)))
        .collect()
}

/// As Home Assistant makes an entity id of a name.
fn slug(name: &str) -> String {
    let plain = name.to_ascii_lowercase();
    let words: Vec<&str> =
        plain.split(|one: char| !one.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.join("_")
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_of_the_recipes_are_announced() {
    let Some(broker) = Mosquitto::start() else { return };
    let topic = format!("homeassistant/device/{DEVICE}/config");
    let mut home = Client::connect(broker.port(), "home", &[topic]).await;
    let settings =
        Settings::new(&broker.url()).text("device.name", "Front door").value("dashboard.snapshots", true);
    let _daemon = Daemon::run(settings);
    let announced = home.next("an announcement").await.json();
    let ids: BTreeSet<String> = announced["components"]
        .as_object()
        .expect("components")
        .values()
        .map(|entity| {
            let text = |key: &str| entity[key].as_str().expect("text").to_owned();
            format!("{}.{}", text("platform"), slug(&format!("Front door {}", text("name"))))
        })
        .collect();
    let platforms =
        ["camera.", "image.", "switch.", "button.", "sensor.", "binary_sensor.", "number.", "select."];
    let mut checked = 0;
    for file in ["README.md", "home-assistant.yaml"] {
        let text = recipe(file);
        for id in words(&text, &platforms).into_iter().filter(|id| id.contains(".front_door")) {
            assert!(ids.contains(id), "{file}: there is no {id} among {ids:#?}");
            checked += 1;
        }
    }
    assert!(checked > 4, "only {checked} entities in the recipes");
}

#[test]
fn the_flow_for_node_red_can_be_imported() {
    let flow: Vec<Value> = serde_json::from_str(&recipe("node-red-flow.json")).expect("JSON");
    let text = |node: &Value, key: &str| node[key].as_str().unwrap_or_default().to_owned();
    let ids: BTreeSet<String> = flow.iter().map(|node| text(node, "id")).collect();
    assert_eq!(ids.len(), flow.len(), "an id is used twice");
    for node in &flow {
        let kind = text(node, "type");
        let core = ["tab", "mqtt-broker", "mqtt in", "mqtt out", "function", "debug"];
        assert!(core.contains(&kind.as_str()), "{kind} is no node of Node-RED's own");
        for to in
            node["wires"].as_array().into_iter().flatten().flat_map(|port| port.as_array().expect("a port"))
        {
            assert!(ids.contains(to.as_str().expect("an id")), "{node:#} leads to {to}");
        }
        for reference in ["z", "broker"] {
            let other = text(node, reference);
            let is_reference = !other.is_empty() && kind != "mqtt-broker";
            assert!(!is_reference || ids.contains(&other), "{node:#} names {other}");
        }
    }
}

/// Every topic that is asked in a recipe is one that the device answers for something else than its name.
#[tokio::test(flavor = "multi_thread")]
async fn the_device_knows_every_topic_of_the_recipes() {
    let Some(broker) = Mosquitto::start() else { return };
    let _daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let mut asked = BTreeSet::new();
    for file in ["README.md", "home-assistant.yaml", "node-red-flow.json"] {
        let text = recipe(file).replace("$T/", "porthole/front-door/");
        for topic in words(&text, &["porthole/front-door/set/", "porthole/front-door/do/"]) {
            asked.insert(topic.trim_start_matches("porthole/front-door/").to_owned());
        }
    }
    assert!(asked.len() > 5, "{asked:?}");
    for topic in asked {
        let answer = dashboard.ask(&topic, "?").await;
        assert_eq!(answer["ok"], false, "{answer}");
        assert!(!answer["error"].to_string().contains("there is no such"), "{answer}");
    }
}
