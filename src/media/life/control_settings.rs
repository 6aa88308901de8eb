//! What people set on the camera's controls, kept for a camera that comes back without it. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often a live camera's controls are read again, for changes that come from elsewhere.
const READ_INTERVAL: Duration = Duration::from_secs(2);
/// The same of a camera with a privacy switch: those who watch are to know soon.
const SWITCH_INTERVAL: Duration = Duration::from_millis(900);

/// What is wanted, and which camera has it.
#[derive(Debug, Default)]
pub struct ControlSettings {
    wanted: BTreeMap<String, i64>,
    /// The camera that `wanted` was last set on, by the place it is attached to.
    applied_to: Option<String>,
    /// At once, if `None`.
    next_read: Option<Instant>,
}

impl ControlSettings {
    /// What people set before a restart of the process.
    pub fn restore(&mut self, wanted: BTreeMap<String, i64>) {
        self.wanted = wanted;
        self.applied_to = None;
    }

    /// Somebody set this one.
    pub fn set(&mut self, name: &str, value: i64) {
        self.wanted.insert(name.to_owned(), value);
    }

    /// Values by the controls' names.
    pub fn wanted(&self) -> &BTreeMap<String, i64> {
        &self.wanted
    }

    /// Whether something is to be set on the camera at this place: one that has just come. Saying yes counts as done.
    pub fn poll_apply(&mut self, bus_info: Option<&str>) -> bool {
        if self.applied_to.as_deref() == bus_info {
            return false;
        }
        self.applied_to = bus_info.map(ToOwned::to_owned);
        bus_info.is_some() && !self.wanted.is_empty()
    }

    /// Whether a live camera's controls, with or without a privacy switch, are to be read again. Saying yes counts as done.
    pub fn poll_read(&mut self, now: Instant, has_switch: bool) -> bool {
        let is_due = self.next_read.is_none_or(|at| now >= at);
        if is_due {
            self.next_read = Some(now + if has_switch { SWITCH_INTERVAL } else { READ_INTERVAL });
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_set_once_on_each_camera_that_comes() {
        let mut settings = ControlSettings::default();
        assert!(!settings.poll_apply(Some("usb-1")), "there is nothing to set");
        settings.restore(BTreeMap::from([("gain".to_owned(), 7)]));
        assert!(settings.poll_apply(Some("usb-1")));
        assert!(!settings.poll_apply(Some("usb-1")));
        assert!(settings.poll_apply(Some("usb-2")));
        assert!(!settings.poll_apply(None));
        assert!(settings.poll_apply(Some("usb-2")), "it was unplugged meanwhile");
    }

    #[test]
    fn controls_are_read_now_and_then() {
        let (mut settings, now) = (ControlSettings::default(), Instant::now());
        assert!(settings.poll_read(now, false));
        assert!(!settings.poll_read(now + READ_INTERVAL / 2, false));
        assert!(settings.poll_read(now + READ_INTERVAL, true));
        assert!(settings.poll_read(now + READ_INTERVAL + SWITCH_INTERVAL, true));
    }
}
