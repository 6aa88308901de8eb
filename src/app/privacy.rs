//! The privacy switch: what people expect to stay off stays off over a restart.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The switch and the file that remembers it.
pub struct PrivacySwitch {
    file: PathBuf,
    on: bool,
}

impl PrivacySwitch {
    /// The switch as it was left; streaming is on when nothing was remembered.
    pub fn load(state_dir: &Path) -> Self {
        let file = state_dir.join("streaming");
        // Anything but an explicit OFF counts as on: an empty or lost file is a new card.
        let on = std::fs::read_to_string(&file).map_or(true, |text| text.trim() != "OFF");
        if !on {
            tracing::warn!(file = %file.display(), "the privacy switch is off: nobody can watch until set/streaming ON");
        }
        Self { file, on }
    }

    /// Whether streaming is allowed.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Turns the switch and remembers it.
    ///
    /// # Errors
    /// When it could not be written: the switch is turned all the same, but a restart would forget it.
    pub fn set(&mut self, on: bool) -> Result<(), std::io::Error> {
        self.on = on;
        if let Some(dir) = self.file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        // Written beside and renamed, so that a power cut leaves the old or the new, never half.
        let new = self.file.with_extension("new");
        let mut file = std::fs::File::create(&new)?;
        file.write_all(if on { b"ON\n" } else { b"OFF\n" })?;
        file.sync_all()?;
        std::fs::rename(&new, &self.file)
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
    }
}
