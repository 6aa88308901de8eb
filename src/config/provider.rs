//! Where values come from: the file's text, and variables of the environment.

use std::path::Path;

use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Map};
use figment::{Error, Metadata, Profile, Provider, util};

/// The sections of the file, which are the first words of variables.
pub(super) const SECTIONS: [&str; 12] = [
    "device",
    "mqtt",
    "camera",
    "video",
    "audio",
    "viewers",
    "access",
    "http",
    "ice",
    "dashboard",
    "homeassistant",
    "broker",
];

/// The text of a file that is known to be TOML, with the name it has in errors.
pub(super) struct File<'a> {
    pub name: &'a Path,
    pub text: &'a str,
}

impl Provider for File<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("configuration", self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Toml::string(self.text).data()
    }
}

/// The environment of this process.
pub(super) fn process_environment() -> Env {
    Env::prefixed("PORTHOLE_").filter_map(|key| key_of(key.as_str()).map(Into::into))
}

/// Variables that are not those of this process.
pub(super) struct Variables<'a>(pub &'a [(String, String)]);

impl Provider for Variables<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment variable(s)")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let set = self.0.iter().filter_map(|(name, value)| {
            let key = key_of(name.strip_prefix("PORTHOLE_")?)?;
            // Read as figment reads its own: `12` is a number, everything else that is no list is text.
            util::nest(&key, value.parse().unwrap_or_else(|never| match never {})).into_dict()
        });
        let mut all = Dict::new();
        for (section, keys) in set.flatten() {
            match (all.get_mut(&section), keys) {
                (Some(figment::value::Value::Dict(_, known)), figment::value::Value::Dict(_, keys)) => {
                    known.extend(keys);
                }
                (_, keys) => {
                    all.insert(section, keys);
                }
            }
        }
        Ok(Profile::Default.collect(all))
    }
}

/// Whether a variable of this name sets a key (or would, if the key existed).
pub fn is_variable(name: &str) -> bool {
    name.strip_prefix("PORTHOLE_").is_some_and(|name| key_of(name).is_some())
}

/// `MQTT_PASSWORD_FILE` is `mqtt.password_file`: only the first underscore separates.
/// Variables that name no section (`PORTHOLE_LOG`, `PORTHOLE_CACHE`) are none of ours.
fn key_of(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let (section, key) = name.split_once('_')?;
    SECTIONS.contains(&section).then(|| format!("{section}.{key}"))
}
