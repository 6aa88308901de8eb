//! Home Assistant's rules for MQTT device discovery, as its own schemas state them, and its templates.
//!
//! From homeassistant/components/mqtt (schemas.py, config.py and the file of each platform) of release 2025.2: which keys
//! a platform must have and which it knows, what their values may be, and which units go with a device class.

use std::collections::BTreeSet;

use minijinja::Environment;
use serde_json::{Value, json};

/// What every entity may have, whatever its platform.
const COMMON: &str = "availability availability_mode availability_template availability_topic encoding enabled_by_default \
     entity_category icon json_attributes_template json_attributes_topic name object_id payload_available \
     payload_not_available platform qos unique_id";

/// A platform: the keys that it must have, and those that it may have.
const PLATFORMS: &[(&str, &str, &str)] = &[
    ("camera", "topic", "image_encoding"),
    ("image", "image_topic", "content_type image_encoding"),
    (
        "switch",
        "command_topic",
        "command_template device_class optimistic payload_off payload_on retain state_off state_on state_topic \
         value_template",
    ),
    ("button", "command_topic", "command_template device_class payload_press retain"),
    (
        "sensor",
        "state_topic",
        "device_class expire_after force_update last_reset_value_template options state_class \
         suggested_display_precision unit_of_measurement value_template",
    ),
    (
        "binary_sensor",
        "state_topic",
        "device_class expire_after force_update off_delay payload_off payload_on value_template",
    ),
    (
        "number",
        "command_topic",
        "command_template device_class max min mode optimistic payload_reset retain state_topic step \
         unit_of_measurement value_template",
    ),
    ("text", "command_topic", "command_template max min mode pattern retain state_topic value_template"),
    ("select", "command_topic options", "command_template optimistic retain state_topic value_template"),
    (
        "update",
        "",
        "command_topic device_class display_precision entity_picture latest_version_template latest_version_topic \
         payload_install release_summary release_url retain state_topic title value_template",
    ),
];

/// Device classes that are used here, by platform, and the units that go with them; empty for none.
const CLASSES: &[(&str, &str, &str)] = &[
    ("sensor", "data_rate", "bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s"),
    ("sensor", "duration", "d h min s ms"),
    ("sensor", "temperature", "°C °F K"),
    ("sensor", "signal_strength", "dB dBm"),
    ("sensor", "enum", ""),
    ("number", "data_rate", "bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s"),
    ("binary_sensor", "problem", ""),
    ("binary_sensor", "running", ""),
    ("button", "restart", ""),
    ("button", "identify", ""),
    ("button", "update", ""),
];

fn words(text: &str) -> BTreeSet<&str> {
    text.split_ascii_whitespace().collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn assert_known(what: &str, value: &Value, known: &str) {
    let (has, known) = (keys(value), words(known));
    assert!(has.is_subset(&known), "{what}: Home Assistant knows no {:?}", has.difference(&known));
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("{what} is no text: {value}"))
}

fn assert_topic(topic: &Value, what: &str) {
    let topic = text(topic, what);
    let bytes = topic.len();
    assert!(
        (1..=65_535).contains(&bytes) && !topic.contains(['+', '#', '\0']),
        "{what} is no topic: {topic}"
    );
}

/// The message follows the rules. Entities that are only named, to remove them, are left out.
pub fn assert_valid(message: &Value) {
    let shared = "availability availability_mode availability_template availability_topic command_topic components device \
                  encoding origin payload_available payload_not_available qos state_topic";
    assert_known("the message", message, shared);
    let device = &message["device"];
    assert_known(
        "device",
        device,
        "configuration_url connections hw_version identifiers manufacturer model model_id name serial_number \
         suggested_area sw_version via_device",
    );
    assert!(
        device["identifiers"].as_array().is_some_and(|ids| !ids.is_empty()),
        "nothing identifies: {device}"
    );
    assert_known("origin", &message["origin"], "name support_url sw_version");
    assert!(message["origin"]["name"].is_string(), "an origin needs a name");
    assert_availability("the message", message);
    let mut ids = BTreeSet::new();
    for (key, entity) in message["components"].as_object().expect("components") {
        let legal = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        assert!(legal && !key.is_empty(), "{key:?} is no object id");
        if is_removal(entity) {
            continue;
        }
        assert_entity(key, entity);
        assert!(ids.insert(text(&entity["unique_id"], key)), "{key}: its unique id is taken");
    }
}

/// Whether an entity is only named, to remove it.
pub fn is_removal(entity: &Value) -> bool {
    keys(entity) == words("platform")
}

fn assert_availability(what: &str, of: &Value) {
    let Some(list) = of.get("availability") else { return };
    assert!(of.get("availability_topic").is_none(), "{what}: a list or a topic of availability, not both");
    for one in list.as_array().expect("a list of availability") {
        assert_known(what, one, "payload_available payload_not_available topic value_template");
        assert_topic(&one["topic"], what);
    }
    let mode = of.get("availability_mode").unwrap_or(&json!("latest")).clone();
    assert!(["all", "any", "latest"].contains(&text(&mode, what)), "{what}: availability_mode {mode}");
}

fn assert_entity(key: &str, entity: &Value) {
    let platform = text(&entity["platform"], key);
    let (_, required, optional) =
        PLATFORMS.iter().find(|(name, ..)| *name == platform).unwrap_or_else(|| panic!("{key}: {platform}?"));
    assert!(words(required).is_subset(&keys(entity)), "{key}: a {platform} needs {required}: {entity:#}");
    assert_known(key, entity, &format!("{COMMON} {required} {optional}"));
    assert_availability(key, entity);
    for (name, value) in entity.as_object().expect("an entity") {
        match name.as_str() {
            name if name.ends_with("topic") => assert_topic(value, key),
            name if name.ends_with("template") => assert_template(key, text(value, key)),
            "icon" => assert!(text(value, key).starts_with("mdi:"), "{key}: {value}"),
            "name" => assert!((1..=100).contains(&text(value, key).len()), "{key}: {value}"),
            "qos" => assert!(value.as_u64().is_some_and(|qos| qos < 3), "{key}: {value}"),
            "entity_category" => {
                let category = text(value, key);
                // "Entity category `config` is not allowed for sensors": it raises, and the sensor is missing.
                let only_shown = ["sensor", "binary_sensor"].contains(&platform);
                assert!(category == "diagnostic" || category == "config" && !only_shown, "{key}: {category}");
            }
            "enabled_by_default" | "optimistic" | "retain" => assert!(value.is_boolean(), "{key}: {value}"),
            _ => {}
        }
    }
    assert_class(key, platform, entity);
    assert_choices(key, platform, entity);
}

fn assert_class(key: &str, platform: &str, entity: &Value) {
    let unit = entity.get("unit_of_measurement").and_then(Value::as_str);
    let Some(class) = entity.get("device_class") else { return };
    let class = text(class, key);
    let (.., units) = CLASSES
        .iter()
        .find(|(of, name, _)| (*of, *name) == (platform, class))
        .unwrap_or_else(|| panic!("{key}: a {platform} of class {class}?"));
    match unit {
        None => assert!(units.is_empty(), "{key}: class {class} needs a unit"),
        Some(unit) => assert!(words(units).contains(unit), "{key}: class {class} in {unit}"),
    }
}

fn assert_choices(key: &str, platform: &str, entity: &Value) {
    if let Some(class) = entity.get("state_class") {
        assert!(["measurement", "total", "total_increasing"].contains(&text(class, key)), "{key}: {class}");
    }
    if let Some(options) = entity.get("options") {
        let options: Vec<&str> =
            options.as_array().expect("options").iter().map(|one| text(one, key)).collect();
        assert!(!options.is_empty(), "{key}: nothing to choose from");
        assert_eq!(options.iter().collect::<BTreeSet<_>>().len(), options.len(), "{key}: {options:?}");
        // A select takes the word for "not known", and says nothing of an empty text.
        assert!(
            options.iter().all(|one| !one.trim().is_empty() && !one.eq_ignore_ascii_case("none")),
            "{key}"
        );
        if platform == "sensor" {
            assert_eq!(entity["device_class"], "enum", "{key}");
            assert!(
                entity.get("state_class").or_else(|| entity.get("unit_of_measurement")).is_none(),
                "{key}"
            );
        }
    }
    if platform == "number" {
        let number = |name: &str, default: f64| entity.get(name).map_or(Some(default), Value::as_f64);
        let (min, max, step) = (number("min", 1.0), number("max", 100.0), number("step", 1.0));
        assert!(min < max, "{key}: {min:?} to {max:?}");
        assert!(step >= Some(0.001), "{key}: step {step:?}");
        let mode = entity.get("mode").map_or("auto", |mode| text(mode, key));
        assert!(["auto", "box", "slider"].contains(&mode), "{key}: mode {mode}");
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment
}

fn assert_template(key: &str, template: &str) {
    let environment = environment();
    if let Err(error) = environment.template_from_str(template) {
        panic!("{key}: {template}: {error}");
    }
}

/// What a template makes of a payload.
pub fn render(template: &str, payload: &Value) -> String {
    let context = json!({ "value_json": payload, "value": payload.to_string() });
    environment()
        .render_str(template, context)
        .unwrap_or_else(|error| panic!("{template}: {error:#}\n{payload:#}"))
}

/// What an entity shows: its template over the document of its topic.
pub fn shown(entity: &Value, info: &Value, state: &Value) -> String {
    let topic = text(&entity["state_topic"], "state_topic");
    let payload = if topic.ends_with("/info") { info } else { state };
    render(text(&entity["value_template"], "value_template"), payload)
}

/// Whether an entity can be used: everything that it depends on says so.
pub fn is_available(entity: &Value, info: &Value, state: &Value) -> bool {
    let list = entity.get("availability").and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter().all(|one| {
        let document = match text(&one["topic"], "availability").rsplit('/').next() {
            Some("info") => info,
            Some("state") => state,
            _ => return true,
        };
        render(text(&one["value_template"], "availability"), document) == "online"
    })
}

/// Every icon is one of Material Design Icons, as its npm package lists them; false where that is not installed.
pub fn icons_exist(text: &str) -> bool {
    let css = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("viewer/node_modules/@mdi/font/css/materialdesignicons.css");
    let Ok(css) = std::fs::read_to_string(css) else { return false };
    let is_of_name = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-';
    for part in text.split("mdi:").skip(1) {
        let name = part.split(|one| !is_of_name(one)).next().unwrap_or_default();
        assert!(css.contains(&format!(".mdi-{name}::before")), "there is no icon mdi:{name}");
    }
    true
}

/// An entity of the platform whose state is `shown`: Home Assistant would take it.
pub fn assert_accepts(key: &str, entity: &Value, shown: &str) {
    let unknown = shown == "None" || shown == "none";
    let fits = match text(&entity["platform"], key) {
        "switch" | "binary_sensor" => shown == "ON" || shown == "OFF",
        "number" => {
            let limit =
                |name: &str, default: f64| entity.get(name).and_then(Value::as_f64).unwrap_or(default);
            let limits = limit("min", 1.0)..=limit("max", 100.0);
            unknown || shown.parse::<f64>().is_ok_and(|number| limits.contains(&number))
        }
        "select" => {
            unknown || entity["options"].as_array().is_some_and(|all| all.iter().any(|one| one == shown))
        }
        "sensor" if entity.get("options").is_some() => {
            entity["options"].as_array().is_some_and(|all| all.iter().any(|one| one == shown))
        }
        "sensor" if entity.get("unit_of_measurement").is_some() => unknown || shown.parse::<f64>().is_ok(),
        "sensor" => (1..=255).contains(&shown.len()),
        "update" => {
            serde_json::from_str::<Value>(shown).is_ok_and(|json| json["installed_version"].is_string())
        }
        _ => true,
    };
    assert!(fits, "{key}: Home Assistant cannot show {shown:?}: {entity:#}");
}
