//! `[device]`

use std::path::PathBuf;

use serde::Deserialize;

use super::device_id;
use super::flavour::Flavour;
use super::value::{Checked, Text, problem};
use crate::signaling::topic::Id;

/// Characters of a name.
const MAX_NAME_CHARS: usize = 100;

/// Who this device is.
#[derive(Clone, Debug)]
pub struct Device {
    /// The id in topics and links.
    pub id: Id,
    /// The name people see.
    pub name: String,
    /// Where what must survive a restart is kept.
    pub state_dir: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDevice {
    id: Option<Text>,
    name: Option<Text>,
    state_dir: Option<Text>,
}

pub(super) fn checked(raw: &RawDevice, flavour: Flavour) -> Checked<Device> {
    let id = match &raw.id {
        Some(id) => Id::new(&id.0).map_err(|error| problem("device.id", &id.0, error))?,
        None => device_id::default_id(),
    };
    let name = raw.name.as_ref().map_or_else(|| id.to_string(), |name| name.0.trim().to_owned());
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        let expected = format!("write 1 to {MAX_NAME_CHARS} printable characters");
        return Err(problem("device.name", &name, expected));
    }
    let state_dir = match &raw.state_dir {
        Some(dir) => PathBuf::from(&dir.0),
        None if flavour == Flavour::Demo => demo_dir(&id),
        None => PathBuf::from("/var/lib/porthole"),
    };
    Ok(Device { id, name, state_dir })
}

/// In the user's own folder for such things (XDG base directories): under the temporary directory somebody else could have made it.
fn demo_dir(id: &Id) -> PathBuf {
    let own = |name, below: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        folder.filter(|folder| folder.is_absolute()).map(|folder| folder.join(below))
    };
    let folder = own("XDG_STATE_HOME", "").or_else(|| own("HOME", ".local/state"));
    // Without one the demo makes a new folder for each start.
    folder.map_or_else(PathBuf::new, |folder| folder.join(format!("porthole-demo-{id}")))
}
