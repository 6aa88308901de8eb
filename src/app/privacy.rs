//! The privacy switch: what people expect to stay off stays off over a restart.

use std::io;
use std::path::Path;

use super::kept::KeptFile;

/// What the switch can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    On,
    Off,
    /// Turned off at the device itself: whoever trusts the broker only so far does not let it turn this on again.
    OffLocally,
}

impl Switch {
    fn read(text: &str) -> Self {
        // Anything but an explicit OFF counts as on: an empty or lost file is a new card.
        match text.trim() {
            "OFF" => Self::Off,
            "OFF local" => Self::OffLocally,
            _ => Self::On,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::On => "ON\n",
            Self::Off => "OFF\n",
            Self::OffLocally => "OFF local\n",
        }
    }
}

/// The switch and the file that remembers it.
pub struct PrivacySwitch {
    file: KeptFile,
    switch: Switch,
    /// Whether the file says what `switch` does.
    saved: bool,
}

impl PrivacySwitch {
    /// The switch as it was left; streaming is on when nothing was remembered.
    pub fn load(state_dir: &Path) -> Self {
        let file = KeptFile::new(state_dir, "streaming");
        let switch = file.load().map_or(Switch::On, |text| Switch::read(&text));
        if switch != Switch::On {
            tracing::warn!(file = %file.path().display(), "the privacy switch is off: nobody can watch until set/streaming ON");
        }
        Self { file, switch, saved: true }
    }

    /// Whether streaming is allowed.
    pub fn is_on(&self) -> bool {
        self.switch == Switch::On
    }

    /// Whether it was turned off at the device itself.
    pub fn is_off_locally(&self) -> bool {
        self.switch == Switch::OffLocally
    }

    /// Turns the switch at the wish of a dashboard, and remembers it.
    ///
    /// # Errors
    /// When it could not be written: the switch is turned all the same, but a restart would forget it.
    pub fn set(&mut self, on: bool) -> Result<(), io::Error> {
        let switch = match (on, self.switch) {
            (true, _) => Switch::On,
            // Turned off twice, it stays as firmly off as it was.
            (false, Switch::OffLocally) => Switch::OffLocally,
            (false, _) => Switch::Off,
        };
        if self.saved && switch == self.switch {
            return Ok(());
        }
        self.switch = switch;
        self.saved = false;
        self.file.save(switch.text())?;
        self.saved = true;
        Ok(())
    }

    /// Looks whether somebody has turned it at the device, by writing the file. Tells whether it is another now.
    pub fn read_again(&mut self) -> bool {
        let Some(text) = self.file.load() else { return false };
        let was_on = self.is_on();
        self.switch = Switch::read(&text);
        was_on != self.is_on()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("made/on/demand");
        let mut switch = PrivacySwitch::load(&state_dir);
        assert!(switch.is_on());
        switch.set(false).unwrap();
        assert!(!PrivacySwitch::load(&state_dir).is_on());
        switch.set(true).unwrap();
        assert!(PrivacySwitch::load(&state_dir).is_on());
    }

    #[test]
    fn a_switch_that_cannot_be_remembered_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let blocker = dir.path().join("file");
        std::fs::write(&blocker, "").unwrap();
        let mut switch = PrivacySwitch::load(&blocker.join("state"));
        assert!(switch.set(false).is_err());
        assert!(!switch.is_on());
        assert!(switch.set(false).is_err(), "it is tried again");
    }

    #[test]
    fn turned_off_at_the_device_is_told_apart_and_seen_while_running() {
        let dir = tempfile::tempdir().unwrap();
        let mut switch = PrivacySwitch::load(dir.path());
        assert!(!switch.read_again());
        std::fs::write(dir.path().join("streaming"), "OFF local\n").unwrap();
        assert!(switch.read_again() && !switch.is_on() && switch.is_off_locally());
        switch.set(false).unwrap();
        assert!(PrivacySwitch::load(dir.path()).is_off_locally(), "a dashboard's OFF does not loosen it");
        switch.set(true).unwrap();
        assert!(switch.is_on() && !switch.is_off_locally());
    }
}
