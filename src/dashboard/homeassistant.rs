//! The device as Home Assistant sees it: one retained message that announces every entity (MQTT device discovery). Pure.
//!
//! Entities read `state` and `info` through templates and write `set` and `do`; nothing of the protocol exists for them
//! alone. Names are written in full, so that people can read the message.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::command::BITRATE_KBPS;
use super::control_words::{can_be_shown, display_name, has_plain_menu, menu_text, shown_value};
use super::info::DeviceInfo;
use super::look;
use crate::base::stats::SystemFigures;
use crate::media::{CameraState, ControlInfo, ControlType, MediaStatus};
use crate::signaling::topic::Topics;

/// Controls that become entities; a device with more of them is a test driver.
const MAX_CONTROLS: usize = 64;
/// Picture sizes to choose from.
const MAX_SIZES: usize = 40;

/// Which entities were announced: by key, the platform of each.
pub type Announced = BTreeMap<String, String>;

/// What the announcement depends on.
pub struct DiscoveryFacts<'a> {
    /// The device.
    pub device: &'a DeviceInfo,
    /// Its topics.
    pub topics: &'a Topics,
    /// The capture side.
    pub media: &'a MediaStatus,
    /// Whether commands over the broker are obeyed at all.
    pub commands: bool,
    /// Whether still pictures are published and may be asked for.
    pub snapshots: bool,
    /// What the board tells of itself.
    pub system: &'a SystemFigures,
}

impl DiscoveryFacts<'_> {
    /// Whether everything that there is to announce is known: without a camera its controls are not.
    pub fn is_complete(&self) -> bool {
        self.media.ready && !self.media.modes().is_empty()
    }
}

/// Where the announcement goes.
pub fn discovery_topic(prefix: &str, device: &str) -> String {
    format!("{prefix}/device/{device}/config")
}

/// Where Home Assistant says `online` when it has started.
pub fn birth_topic(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// The announcement, and what it announces. Entities of `before` that there are no longer are named without a
/// configuration, which removes them from Home Assistant. `area` is where the device is, for people.
pub fn announcement(
    facts: &DiscoveryFacts<'_>,
    area: Option<&str>,
    before: &Announced,
) -> (Value, Announced) {
    let mut entities = Entities { facts, components: Map::new() };
    entities.pictures();
    entities.sensors();
    if facts.commands {
        entities.commands();
    }
    entities.controls();
    let mut components = entities.components;
    let announced: Announced = components
        .iter()
        .filter_map(|(key, entity)| Some((key.clone(), entity["platform"].as_str()?.to_owned())))
        .collect();
    for (key, platform) in before {
        if facts.is_complete() && !components.contains_key(key) {
            components.insert(key.clone(), json!({ "platform": platform }));
        }
    }
    let device = facts.device;
    let version = env!("CARGO_PKG_VERSION");
    let mut about = json!({
        "identifiers": [format!("porthole_{}", device.id)],
        "name": device.name,
        "manufacturer": "Porthole",
        "model": device.model,
        "sw_version": version,
    });
    // The viewer page, beside which the device speaks WHEP.
    if let Some(page) = device.whep.as_deref().and_then(|whep| whep.strip_suffix("whep")) {
        about["configuration_url"] = page.into();
    }
    if let Some(area) = area {
        about["suggested_area"] = area.into();
    }
    let message = json!({
        "device": about,
        "origin": { "name": "Porthole", "sw_version": version },
        "availability": [{ "topic": facts.topics.leaf("availability") }],
        "components": components,
    });
    (message, announced)
}

struct Entities<'a> {
    facts: &'a DiscoveryFacts<'a>,
    components: Map<String, Value>,
}

impl Entities<'_> {
    fn leaf(&self, leaf: &str) -> String {
        self.facts.topics.leaf(leaf)
    }

    /// Adds an entity; `fields` are those of its platform.
    fn add(&mut self, platform: &str, key: &str, name: &str, icon: &str, fields: Value) {
        let mut entity = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        entity.insert("platform".to_owned(), platform.into());
        entity.insert("unique_id".to_owned(), format!("porthole_{}_{key}", self.facts.device.id).into());
        entity.insert("name".to_owned(), name.into());
        entity.insert("icon".to_owned(), icon.into());
        self.components.insert(key.to_owned(), Value::Object(entity));
    }

    /// An entity that reads `state` through a template.
    fn read(&mut self, platform: &str, key: &str, name: &str, icon: &str, template: &str, fields: Value) {
        let mut fields = fields;
        fields["state_topic"] = self.leaf("state").into();
        fields["value_template"] = format!("{{{{ {template} }}}}").into();
        self.add(platform, key, name, icon, fields);
    }

    fn pictures(&mut self) {
        if self.facts.snapshots {
            let topic = self.leaf("snapshot");
            let available = self.while_there_is_a_picture();
            let camera = json!({ "topic": topic, "availability": available, "availability_mode": "all" });
            self.add("camera", "camera", "Snapshot", "mdi:cctv", camera);
            let image = json!({
                "image_topic": topic,
                "content_type": "image/jpeg",
                "availability": available,
                "availability_mode": "all",
            });
            self.add("image", "image", "Last snapshot", "mdi:image", image);
        }
    }

    fn sensors(&mut self) {
        let count = json!({ "state_class": "measurement", "unit_of_measurement": "viewers" });
        self.read("sensor", "viewers", "Viewers", "mdi:account-multiple", "value_json.viewers.count", count);
        let watched = "'ON' if value_json.viewers.count > 0 else 'OFF'";
        self.read("binary_sensor", "watched", "Someone is watching", "mdi:eye", watched, json!({}));
        self.camera_sensors();
        let rate = |fields: Value| {
            let mut fields = fields;
            fields["entity_category"] = "diagnostic".into();
            fields["state_class"] = "measurement".into();
            fields
        };
        let kbps = "value_json.encoder.bitrate / 1000 if value_json.encoder else 0";
        let unit = rate(
            json!({ "device_class": "data_rate", "unit_of_measurement": "kbit/s", "suggested_display_precision": 0 }),
        );
        self.read("sensor", "bitrate_now", "Bit rate now", "mdi:speedometer", kbps, unit);
        let unit = rate(json!({ "unit_of_measurement": "fps", "suggested_display_precision": 1 }));
        // Nominal in `state` while nothing runs.
        let now = "value_json.camera.fps if value_json.camera.state == 'live' else 0";
        self.read("sensor", "fps", "Picture rate", "mdi:filmstrip", now, unit);
        let name = "value_json.encoder.name if value_json.encoder else None";
        let diagnostic = json!({ "entity_category": "diagnostic" });
        self.read("sensor", "encoder", "Encoder", "mdi:chip", name, diagnostic);
        for (key, name) in [("encode", "Encoding latency"), ("send", "Sending latency")] {
            let template = format!("value_json.latency.{key}.p95 if value_json.latency.{key} else None");
            let unit = rate(
                json!({ "device_class": "duration", "unit_of_measurement": "ms", "suggested_display_precision": 1 }),
            );
            self.read("sensor", &format!("latency_{key}"), name, "mdi:timer-outline", &template, unit);
        }
        if self.facts.system.temperature.is_some() {
            let unit = rate(json!({ "device_class": "temperature", "unit_of_measurement": "°C" }));
            let value = "value_json.system.temperature";
            self.read("sensor", "temperature", "Temperature", "mdi:thermometer", value, unit);
        }
        if self.facts.system.rssi.is_some() {
            let unit = rate(json!({ "device_class": "signal_strength", "unit_of_measurement": "dBm" }));
            self.read("sensor", "rssi", "Wi-Fi signal", "mdi:wifi", "value_json.system.rssi", unit);
        }
        let unit = rate(
            json!({ "device_class": "duration", "unit_of_measurement": "s", "enabled_by_default": false }),
        );
        self.read("sensor", "uptime", "Uptime", "mdi:clock-start", "value_json.uptime", unit);
        // No update entity: which version is the latest is not known here, and without that it would be unknown for ever.
        let version = json!({
            "state_topic": self.leaf("info"),
            "value_template": "{{ value_json.version }}",
            "entity_category": "diagnostic",
        });
        self.add("sensor", "version", "Version", "mdi:package-up", version);
    }

    fn camera_sensors(&mut self) {
        let options: Vec<String> = CameraState::ALL.iter().map(ToString::to_string).collect();
        let attributes = "{{ {'error': value_json.camera.error, 'device': value_json.camera.device, \
                          'since': value_json.camera.since} | tojson }}";
        let camera = json!({
            "device_class": "enum",
            "options": options,
            "entity_category": "diagnostic",
            "json_attributes_topic": self.leaf("state"),
            "json_attributes_template": attributes,
        });
        self.read("sensor", "camera_state", "Camera", "mdi:video", "value_json.camera.state", camera);
        let problem = json!({
            "device_class": "problem",
            "entity_category": "diagnostic",
            "json_attributes_topic": self.leaf("state"),
            "json_attributes_template": attributes,
        });
        let template = "'ON' if value_json.camera.state in ['lost', 'error'] else 'OFF'";
        self.read("binary_sensor", "problem", "Camera problem", "mdi:video-off", template, problem);
    }

    fn commands(&mut self) {
        let streaming = json!({ "command_topic": self.leaf("set/streaming") });
        self.read("switch", "streaming", "Streaming", "mdi:shield-lock", "value_json.streaming", streaming);
        if self.facts.device.has_microphone || self.facts.device.has_speaker {
            let audio = json!({ "command_topic": self.leaf("set/audio") });
            self.read("switch", "audio", "Sound", "mdi:microphone", "value_json.audio.on", audio);
        }
        let press = |topic: String, fields: Value| {
            let mut fields = fields;
            fields["command_topic"] = topic.into();
            // What Home Assistant sends by itself is no JSON.
            fields["payload_press"] = "{}".into();
            fields
        };
        if self.facts.snapshots {
            let snapshot = press(self.leaf("do/snapshot"), json!({}));
            self.add("button", "take_snapshot", "Take a snapshot", "mdi:camera", snapshot);
        }
        let warm = press(self.leaf("do/warm"), json!({}));
        self.add("button", "warm", "Warm up", "mdi:fire", warm);
        let keyframe = press(self.leaf("do/keyframe"), json!({ "entity_category": "diagnostic" }));
        self.add("button", "keyframe", "Key frame", "mdi:key-variant", keyframe);
        let restart =
            press(self.leaf("do/restart"), json!({ "entity_category": "config", "device_class": "restart" }));
        self.add("button", "restart", "Restart the camera", "mdi:restart", restart);
        // 0 while there is no picture to encode, which is none of the numbers to choose from.
        let ceiling = format!(
            "(value_json.encoder.ceiling / 1000) | int if value_json.encoder and value_json.encoder.ceiling >= {} else None",
            1000 * *BITRATE_KBPS.start()
        );
        let bitrate = json!({
            "command_topic": self.leaf("set/bitrate"),
            "min": BITRATE_KBPS.start(),
            "max": BITRATE_KBPS.end(),
            "step": 10,
            "mode": "box",
            "unit_of_measurement": "kbit/s",
            "device_class": "data_rate",
            "entity_category": "config",
        });
        self.read("number", "bitrate", "Highest bit rate", "mdi:speedometer", &ceiling, bitrate);
        let sizes = sizes(self.facts.media);
        if !sizes.is_empty() {
            let resolution = json!({
                "command_topic": self.leaf("set/resolution"),
                "options": sizes,
                "entity_category": "config",
            });
            let now = "(value_json.camera.height ~ 'x' ~ value_json.camera.width) if value_json.picture.rotate in [90, 270] \
                       else (value_json.camera.width ~ 'x' ~ value_json.camera.height)";
            self.read("select", "resolution", "Resolution", "mdi:monitor-screenshot", now, resolution);
        }
        for mut entity in look::entities(&self.facts.device.scenes) {
            entity.fields["command_topic"] = self.leaf(&format!("set/{}", entity.key)).into();
            entity.fields["entity_category"] = "config".into();
            self.read(entity.platform, entity.key, entity.name, entity.icon, entity.template, entity.fields);
        }
    }

    fn controls(&mut self) {
        let camera = self.facts.media.camera.clone();
        for control in camera.iter().flat_map(|camera| &camera.controls).take(MAX_CONTROLS) {
            self.control(control);
        }
    }

    fn control(&mut self, control: &ControlInfo) {
        if !can_be_shown(control) {
            return;
        }
        let name = display_name(&control.name);
        let value = format!("(value_json.controls['{}'] | default(None))", control.name);
        if control.read_only || !self.facts.commands {
            let fields = json!({ "entity_category": "diagnostic" });
            let template = shown_value(control, &value);
            self.read(
                "sensor",
                &format!("sensor_{}", control.name),
                &name,
                "mdi:tune-variant",
                &template,
                fields,
            );
            return;
        }
        let mut fields = json!({
            "command_topic": self.leaf(&format!("set/control/{}", control.name)),
            "entity_category": "config",
            "availability": self.while_active(control),
            "availability_mode": "all",
        });
        match control.kind {
            ControlType::Bool => {
                let template = format!("'ON' if {value} else 'OFF'");
                self.read(
                    "switch",
                    &format!("switch_{}", control.name),
                    &name,
                    "mdi:toggle-switch",
                    &template,
                    fields,
                );
            }
            ControlType::Menu if has_plain_menu(control) => {
                fields["options"] =
                    control.menu.values().map(|text| menu_text(text)).collect::<Vec<_>>().into();
                if let Some((value, text)) = control.menu.iter().find(|(_, text)| menu_text(text) != **text) {
                    let template =
                        format!("{{{{ '{value}' if value == '{}' else value }}}}", menu_text(text));
                    fields["command_template"] = template.into();
                }
                let template = shown_value(control, &value);
                self.read(
                    "select",
                    &format!("select_{}", control.name),
                    &name,
                    "mdi:form-dropdown",
                    &template,
                    fields,
                );
            }
            // A menu that cannot be shown by its texts is one by its numbers.
            ControlType::Menu | ControlType::Int => {
                fields["min"] = control.min.into();
                fields["max"] = control.max.into();
                fields["step"] = control.step.max(1).into();
                fields["mode"] =
                    if control.max.saturating_sub(control.min) > 1000 { "box" } else { "slider" }.into();
                self.read("number", &format!("number_{}", control.name), &name, "mdi:tune", &value, fields);
            }
        }
    }

    /// Available with the device, while the privacy switch is on and the broker has not been told to forget the picture.
    fn while_there_is_a_picture(&self) -> Value {
        let template = "{{ 'online' if value_json.streaming == 'ON' and value_json.snapshot | default('kept') else 'offline' }}";
        json!([
            { "topic": self.leaf("availability") },
            { "topic": self.leaf("state"), "value_template": template },
        ])
    }

    /// Available with the device, and while no other control overrides this one.
    fn while_active(&self, control: &ControlInfo) -> Value {
        let name = &control.name;
        let template = format!(
            "{{{{ 'offline' if value_json.controls | selectattr('name', 'eq', '{name}') | selectattr('inactive') | list \
             else 'online' }}}}"
        );
        json!([
            { "topic": self.leaf("availability") },
            { "topic": self.leaf("info"), "value_template": template },
        ])
    }
}

/// Every size once, the largest first; the one in use is among them.
fn sizes(media: &MediaStatus) -> Vec<String> {
    let mut sizes: Vec<(u32, u32)> = media.modes().iter().map(|mode| (mode.width, mode.height)).collect();
    if sizes.is_empty() {
        return Vec::new();
    }
    sizes.sort_unstable_by_key(|(width, height)| {
        std::cmp::Reverse((u64::from(*width) * u64::from(*height), *width))
    });
    sizes.dedup();
    sizes.truncate(MAX_SIZES);
    // Those of the camera, however its picture is turned.
    let now = media.look.turn().size((media.width, media.height));
    if !sizes.contains(&now) {
        sizes.push(now);
    }
    sizes.iter().map(|(width, height)| format!("{width}x{height}")).collect()
}

#[cfg(test)]
#[path = "homeassistant_tests.rs"]
mod tests;
