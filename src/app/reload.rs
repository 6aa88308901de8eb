//! What of a changed configuration a running daemon takes over, and what has to wait for a restart.

use crate::config::Config;

/// Something to carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// What the gateway says and allows.
    Settings,
    /// The cap of the sessions.
    MaxViewers,
    /// The encoder's bit rate in kbit/s.
    Bitrate(u32),
}

/// What came of reading the configuration again; `section.key` each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// In force from now on.
    pub applied: Vec<String>,
    /// Read, but without effect before a restart.
    pub waiting: Vec<String>,
}

/// What it takes to get from `old` to `new`.
pub(super) fn compare(old: &Config, new: &Config) -> (Vec<Change>, Reloaded) {
    let mut changes = Vec::new();
    let mut reloaded = Reloaded::default();
    for key in old.changed_keys(new) {
        let change = match key {
            "device.name"
            | "dashboard.commands"
            | "dashboard.snapshots"
            | "dashboard.snapshot_interval_s" => Some(Change::Settings),
            "viewers.max" => {
                changes.push(Change::MaxViewers);
                // `state` tells the cap too, and at once.
                Some(Change::Settings)
            }
            // Without the key it depends on the mode, which is chosen at the start.
            "video.bitrate_kbps" => new.media.bitrate_kbps.map(Change::Bitrate),
            _ => None,
        };
        let list = if change.is_some() { &mut reloaded.applied } else { &mut reloaded.waiting };
        list.push(key.to_owned());
        changes.extend(change);
    }
    (changes, reloaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flavour;

    fn config(text: &str) -> Config {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("[mqtt]\nurl = \"mqtt://broker\"\n{text}")).unwrap();
        Config::load(Some(file.path()), Flavour::Run).unwrap()
    }

    #[test]
    fn nothing_changed_is_nothing_to_do() {
        let same = config("[viewers]\nmax = 4\n");
        assert_eq!(compare(&same, &same.clone()), (vec![], Reloaded::default()));
    }

    #[test]
    fn what_can_change_changes_and_the_rest_is_named() {
        let old = config("[viewers]\nmax = 4\n[camera]\nfps = 30\n[audio]\ngain_db = 3\n");
        let new = config("[viewers]\nmax = 2\n[video]\nbitrate_kbps = 700\n[camera]\nfps = 15\n");
        let (changes, reloaded) = compare(&old, &new);
        assert_eq!(changes, [Change::Bitrate(700), Change::MaxViewers, Change::Settings]);
        assert_eq!(reloaded.applied, ["video.bitrate_kbps", "viewers.max"]);
        assert_eq!(reloaded.waiting, ["audio.gain_db", "camera.fps"]);
    }

    #[test]
    fn a_bit_rate_that_is_no_longer_named_waits() {
        let (changes, reloaded) = compare(&config("[video]\nbitrate_kbps = 700\n"), &config(""));
        assert_eq!((changes, reloaded.waiting), (vec![], vec!["video.bitrate_kbps".to_owned()]));
    }
}
