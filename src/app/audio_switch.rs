//! `set/audio`, remembered over a restart. What cannot be read is off: nobody must be heard because of a damaged file.

use std::path::Path;

use super::persist::{Manner, Persist, Saving};
use crate::base::durable_file::DurableFile;

/// The switch and the file that remembers it.
pub struct AudioSwitch {
    file: DurableFile,
    is_on: bool,
}

impl AudioSwitch {
    /// As it was left; on when nothing was ever remembered: whether there is sound at all, the configuration says. Blocks.
    #[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "for what runs in a blocking thread"))]
    pub fn load(state_dir: &Path) -> Self {
        let file = DurableFile::new(state_dir, "audio");
        let path = file.path().display();
        let is_on = match file.load() {
            Ok(text) => match text.as_deref().map(str::trim) {
                None | Some("ON") => true,
                Some("OFF") => false,
                Some(_) => {
                    tracing::error!(file = %path, "the switch of the sound says neither ON nor OFF, which counts as off");
                    false
                }
            },
            Err(error) => {
                tracing::error!(file = %path, %error, "the switch of the sound cannot be read, which counts as off");
                false
            }
        };
        Self { file, is_on }
    }

    /// Whether sound is wanted.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Turns it; [`Self::save`] follows.
    pub fn set(&mut self, on: bool) {
        self.is_on = on;
    }

    /// Has it kept as it is now.
    pub fn save(&self, persist: &Persist) -> Saving {
        let (text, manner) = if self.is_on { ("ON\n", Manner::Once) } else { ("OFF\n", Manner::AtOnce) };
        persist.save(&self.file, text.to_owned(), manner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tasks::TaskGroup;

    #[tokio::test(start_paused = true)]
    async fn it_survives_a_restart_and_what_cannot_be_read_is_off() {
        let dir = tempfile::tempdir().unwrap();
        let persist = Persist::start(&TaskGroup::new());
        let mut switch = AudioSwitch::load(dir.path());
        assert!(switch.is_on());
        for on in [false, true, false] {
            switch.set(on);
            switch.save(&persist).outcome().await.unwrap();
            assert_eq!(AudioSwitch::load(dir.path()).is_on(), on);
        }
        let file = dir.path().join("audio");
        for text in ["", "on", "ONN", "\0\0"] {
            std::fs::write(&file, text).unwrap();
            assert!(!AudioSwitch::load(dir.path()).is_on(), "{text:?}");
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(!AudioSwitch::load(dir.path()).is_on(), "it is there, and no file");
    }

    #[tokio::test(start_paused = true)]
    async fn off_on_a_full_disk_is_off_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let persist = Persist::start(&TaskGroup::new());
        let mut switch = AudioSwitch::load(dir.path());
        // No new file can be filled, as where no room is left.
        std::fs::create_dir(dir.path().join("audio.new")).unwrap();
        switch.set(false);
        switch.save(&persist).outcome().await.unwrap();
        assert!(!AudioSwitch::load(dir.path()).is_on());
    }
}
