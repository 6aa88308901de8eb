//! `[homeassistant]`

use serde::Deserialize;

use super::value::{Checked, Text, problem};

/// How the device is announced to Home Assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeAssistant {
    /// Whether it is.
    pub discovery: bool,
    /// The first level of Home Assistant's topics.
    pub prefix: String,
    /// The room or place that Home Assistant proposes for the device.
    pub area: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHomeAssistant {
    discovery: Option<bool>,
    prefix: Option<Text>,
    area: Option<Text>,
}

pub(super) fn checked(raw: &RawHomeAssistant) -> Checked<HomeAssistant> {
    let prefix = raw.prefix.as_ref().map_or("homeassistant", |prefix| prefix.0.as_str());
    let is_topic = (1..=128).contains(&prefix.len())
        && !prefix.starts_with(['/', '$'])
        && !prefix.ends_with('/')
        && !prefix.contains(['+', '#', '\0']);
    if !is_topic {
        return Err(problem(
            "homeassistant.prefix",
            prefix,
            "write Home Assistant's discovery prefix: a topic without wildcards and without / at its ends",
        ));
    }
    let area = raw.area.as_ref().map(|area| area.0.trim());
    if let Some(area) =
        area.filter(|area| !(1..=100).contains(&area.len()) || area.chars().any(char::is_control))
    {
        return Err(problem(
            "homeassistant.area",
            area,
            "write the name of an area, up to 100 characters, as \"Garden\"",
        ));
    }
    Ok(HomeAssistant {
        discovery: raw.discovery.unwrap_or(true),
        prefix: prefix.to_owned(),
        area: area.map(str::to_owned),
    })
}
