//! Every control of a real V4L2 device, as a dashboard finds, sets and sees it: vivid in the lab machine.

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::client::Client;
use support::daemon::{DEVICE, Settings};
use support::homeassistant::{assert_accepts, assert_valid, is_available, shown};
use support::lab::{HOST, Lab, in_namespace};
use support::viewer::Dashboard;

#[test]
fn every_control_makes_its_round_trip_and_is_remembered() {
    if !in_namespace("every_control_makes_its_round_trip_and_is_remembered") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["camera", "on"]);
        lab.start_broker();
        let settings = Settings::new(&format!("mqtt://{HOST}:1883"))
            .text("camera.device", "auto")
            .value("camera.height", 360)
            .value("dashboard.snapshots", true);
        lab.configure(&settings);
        lab.run("systemctl restart porthole");
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        let info = dashboard.info("the camera", |info| info["camera"]["driver"] == "vivid").await;
        let announced = announcement().await;
        assert_valid(&announced);
        let at_first = in_the_driver(&lab);
        let set = every_one_is_set(&mut dashboard, &info, &announced).await;
        what_is_not_a_value_is_refused(&mut dashboard, &info).await;
        the_driver_has_them(&lab, &set);
        they_outlive_a_restart(&lab, &mut dashboard, &at_first, &set).await;
        off_lets_another_program_have_the_camera(&lab, &mut dashboard).await;
    });
}

async fn announcement() -> Value {
    let topic = format!("homeassistant/device/{DEVICE}/config");
    let mut home = Client::open(HOST, 1883, "home", &[topic], None).await;
    loop {
        // The first one may be from before the camera was known.
        let message = home.next("an announcement with controls").await.json();
        if entity_of(&message, "brightness").is_some() {
            return message;
        }
    }
}

/// Name and value of each control, as `v4l2-ctl` reads them.
fn in_the_driver(lab: &Lab) -> BTreeMap<String, i64> {
    let listed = lab.run("v4l2-ctl -d /dev/video0 --list-ctrls");
    let value = |line: &str| {
        let name = line.split_ascii_whitespace().next()?.to_owned();
        let value = line.split_once(" value=")?.1.split_ascii_whitespace().next()?.parse().ok()?;
        Some((name, value))
    };
    listed.lines().filter_map(value).collect()
}

/// Something else than `now`, as a dashboard writes it, and the number that the driver then has.
fn another(control: &Value, now: i64) -> Option<(String, i64)> {
    let number = |key: &str| control[key].as_i64();
    match control["type"].as_str()? {
        "bool" => Some(if now == 0 { ("ON".to_owned(), 1) } else { ("OFF".to_owned(), 0) }),
        "menu" => {
            let menu = control["menu"].as_object()?;
            // Home Assistant takes "None" for unknown, so that entry has another name there: a unit test's subject.
            let (value, text) =
                menu.iter().find(|(value, text)| value.parse() != Ok(now) && *text != "None")?;
            Some((text.as_str()?.to_owned(), value.parse().ok()?))
        }
        _ => {
            let (min, max, step) = (number("min")?, number("max")?, number("step")?.max(1));
            let next = now.checked_add(step).filter(|next| *next <= max).unwrap_or(min);
            (next != now).then(|| (next.to_string(), next))
        }
    }
}

/// The entity that commands a control, if there is one.
fn entity_of<'a>(announced: &'a Value, name: &str) -> Option<(&'a String, &'a Value)> {
    let topic = format!("porthole/{DEVICE}/set/control/{name}");
    announced["components"].as_object()?.iter().find(|(_, entity)| entity["command_topic"] == topic.as_str())
}

async fn every_one_is_set(
    dashboard: &mut Dashboard,
    info: &Value,
    announced: &Value,
) -> BTreeMap<String, i64> {
    let controls = info["controls"].as_array().expect("controls");
    let mut set = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for control in controls {
        let name = control["name"].as_str().expect("a name");
        let topic = format!("set/control/{name}");
        let state = dashboard.state("controls", |state| state["controls"].get(name).is_some()).await;
        if control["read_only"] == true {
            assert_eq!(dashboard.ask(&topic, "1").await["ok"], false, "{name} can only be read");
            let sensor = &announced["components"][format!("sensor_{name}")];
            assert_accepts(name, sensor, &shown(sensor, info, &state));
            *kinds.entry("read-only").or_insert(0) += 1;
            continue;
        }
        // The library that asks the driver cannot read menus of numbers; it can set them.
        let now = state["controls"][name].as_i64();
        assert!(now.is_some() || name == "integer_menu", "{name} has no value: {state:#}");
        let Some((text, value)) = another(control, now.unwrap_or(i64::MIN)) else { continue };
        let (key, entity) = entity_of(announced, name).unwrap_or_else(|| panic!("{name} has no entity"));
        // A menu too long for a list is a number.
        let text = if entity["platform"] == "number" { value.to_string() } else { text };
        let event = dashboard.ask(&topic, text.clone()).await;
        assert_eq!(event["ok"], true, "{topic} {text}: {event}");
        if now.is_none() {
            set.insert(name.to_owned(), value);
            continue;
        }
        let took = |state: &Value| state["controls"][name] == value;
        let state = dashboard.state(&format!("{name} = {text}"), took).await;
        let seen = shown(entity, info, &state);
        assert_accepts(key, entity, &seen);
        assert_eq!(seen, text, "{key}: {entity:#}");
        set.insert(name.to_owned(), value);
        *kinds.entry(control["type"].as_str().expect("a type")).or_insert(0) += 1;
    }
    eprintln!("controls that made their round trip: {kinds:?}");
    for kind in ["int", "bool", "menu"] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 0), "none of {kind}: {kinds:?}");
    }
    inactive_ones_say_so(dashboard, announced).await;
    set
}

/// Automatic gain overrides gain, which then cannot be used, and is shown so.
async fn inactive_ones_say_so(dashboard: &mut Dashboard, announced: &Value) {
    let (_, gain) = entity_of(announced, "gain").expect("an entity for gain");
    for (automatic, usable) in [("ON", false), ("OFF", true)] {
        assert_eq!(dashboard.ask("set/control/gain_automatic", automatic).await["ok"], true);
        let told = |info: &Value| is_available(gain, info, &Value::Null) == usable;
        let info = dashboard.info(&format!("gain with automatic gain {automatic}"), told).await;
        let control =
            info["controls"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "gain"));
        assert_eq!(control.expect("gain")["inactive"], !usable);
    }
}

async fn what_is_not_a_value_is_refused(dashboard: &mut Dashboard, info: &Value) {
    for control in info["controls"].as_array().expect("controls") {
        let name = control["name"].as_str().expect("a name");
        for nonsense in ["bright", "99999999999999999999", "1.5", "; reboot", ""] {
            let event = dashboard.ask(&format!("set/control/{name}"), nonsense).await;
            assert_eq!(event["ok"], false, "{name} {nonsense:?}: {event}");
        }
        if control["type"] != "int" {
            break;
        }
    }
}

fn the_driver_has_them(lab: &Lab, set: &BTreeMap<String, i64>) {
    let found = in_the_driver(lab);
    for (name, value) in set.iter().filter(|(name, _)| !name.contains("gain")) {
        if let Some(there) = found.get(name) {
            assert_eq!(there, value, "{name}: {found:#?}");
        }
    }
    let compared = set.keys().filter(|name| found.contains_key(*name)).count();
    assert!(compared * 2 > set.len(), "v4l2-ctl knows too few of {set:?}: {found:?}");
}

/// The camera is back at its defaults, as after it was unplugged; the daemon remembers.
async fn they_outlive_a_restart(
    lab: &Lab,
    dashboard: &mut Dashboard,
    at_first: &BTreeMap<String, i64>,
    set: &BTreeMap<String, i64>,
) {
    let brightness = set["brightness"];
    lab.run("systemctl stop porthole");
    dashboard.availability("offline").await;
    lab.run(&format!("v4l2-ctl -d /dev/video0 --set-ctrl brightness={}", at_first["brightness"]));
    lab.run("systemctl start porthole");
    dashboard.availability("online").await;
    dashboard.new_state("the brightness again", |state| state["controls"]["brightness"] == brightness).await;
    assert_eq!(in_the_driver(lab)["brightness"], brightness);
}

async fn off_lets_another_program_have_the_camera(lab: &Lab, dashboard: &mut Dashboard) {
    assert_eq!(dashboard.ask("do/warm", json!({"seconds": 600}).to_string()).await["ok"], true);
    dashboard.camera("live").await;
    assert_eq!(
        lab.camera_holders().first().map(String::as_str),
        Some("porthole"),
        "live, but it is not open"
    );
    assert_eq!(dashboard.ask("set/streaming", "OFF").await["ok"], true);
    dashboard.camera("off").await;
    assert_eq!(lab.camera_holders(), [""; 0], "off, but it is open");
    lab.run("timeout 60 v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=5");
}
