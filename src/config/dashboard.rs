//! `[dashboard]`

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::value::{Checked, Text, in_range, problem};
use crate::access::offer_authorizer::AccessMode;

/// What MQTT dashboards may see and ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dashboard {
    /// How far their commands are trusted.
    pub commands: Commands,
    /// `snapshots` and `snapshot_interval_s`
    pub snapshots: Snapshots,
}

/// How far commands from MQTT dashboards are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// All of them.
    All,
    /// All but those that show more than a viewer was granted.
    Safe,
    /// None.
    None,
}

/// Still pictures on the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// Whether the broker may see and keep them.
    pub allowed: bool,
    /// How often one is taken without being asked for.
    pub interval: Option<Duration>,
}

impl Snapshots {
    /// What `dashboard.snapshot_interval_s` may be: up to a day.
    pub const INTERVAL_S: RangeInclusive<u32> = 1..=86_400;
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDashboard {
    commands: Option<Text>,
    snapshots: Option<bool>,
    snapshot_interval_s: Option<u32>,
}

pub(super) fn checked(raw: &RawDashboard, access: AccessMode) -> Checked<Dashboard> {
    Ok(Dashboard { commands: commands(raw.commands.as_ref(), access)?, snapshots: snapshots(raw)? })
}

/// Without a word: with grants the broker is trusted no further than a viewer, with open access it is the lock.
fn commands(text: Option<&Text>, access: AccessMode) -> Checked<Commands> {
    match text.map(|text| text.0.as_str()) {
        None if access == AccessMode::Grants => Ok(Commands::Safe),
        None | Some("all") => Ok(Commands::All),
        Some("safe") => Ok(Commands::Safe),
        Some("none") => Ok(Commands::None),
        Some(other) => Err(problem("dashboard.commands", other, "write \"all\", \"safe\" or \"none\"")),
    }
}

fn snapshots(raw: &RawDashboard) -> Checked<Snapshots> {
    let allowed = raw.snapshots.unwrap_or(false);
    let key = "dashboard.snapshot_interval_s";
    let interval = match raw.snapshot_interval_s {
        Some(seconds) if !allowed => {
            return Err(problem(key, seconds, "it needs dashboard.snapshots = true"));
        }
        Some(seconds) => Some(Duration::from_secs(in_range(key, seconds, Snapshots::INTERVAL_S)?.into())),
        None => None,
    };
    Ok(Snapshots { allowed, interval })
}
