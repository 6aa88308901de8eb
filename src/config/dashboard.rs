//! `[dashboard]` and `[homeassistant]`, checked.

use std::time::Duration;

use super::check::{Checked, in_range, problem};
use super::raw::{RawDashboard, RawHomeAssistant, Text};
use super::{Commands, HomeAssistant, Snapshots};
use crate::access::gate::Mode;

/// Without a word: with grants the broker is trusted no further than a viewer, with open access it is the lock.
pub(super) fn commands(text: Option<&Text>, access: Mode) -> Checked<Commands> {
    match text.map(|text| text.0.as_str()) {
        None if access == Mode::Grants => Ok(Commands::Safe),
        None | Some("all") => Ok(Commands::All),
        Some("safe") => Ok(Commands::Safe),
        Some("none") => Ok(Commands::None),
        Some(other) => Err(problem("dashboard.commands", other, "write \"all\", \"safe\" or \"none\"")),
    }
}

pub(super) fn snapshots(raw: &RawDashboard) -> Checked<Snapshots> {
    let allowed = raw.snapshots.unwrap_or(false);
    let key = "dashboard.snapshot_interval_s";
    let interval = match raw.snapshot_interval_s {
        Some(seconds) if !allowed => {
            return Err(problem(key, seconds, "it needs dashboard.snapshots = true"));
        }
        Some(seconds) => Some(Duration::from_secs(in_range(key, seconds, 1..=86_400)?.into())),
        None => None,
    };
    Ok(Snapshots { allowed, interval })
}

pub(super) fn homeassistant(raw: &RawHomeAssistant) -> Checked<HomeAssistant> {
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
    Ok(HomeAssistant { discovery: raw.discovery.unwrap_or(true), prefix: prefix.to_owned() })
}
