//! The privacy switch: off stays off, over restarts and whatever becomes of the disk, until somebody turns it on.
//!
//! Pure but for [`PrivacySwitch::load`]. While the daemon runs, only two things turn it on: `set/streaming`, and a file
//! that says `ON` after everything of ours that was to be in it had been written. What cannot be read turns nothing on.

use std::io;
use std::path::Path;

use super::persist::{FileReading, Manner, Persist, Saving};
use crate::base::durable_file::DurableFile;

/// What the switch can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Switch {
    On,
    Off,
    /// Turned off at the device itself: whoever trusts the broker only so far does not let it turn this on again.
    OffLocally,
}

impl Switch {
    /// `None`: it cannot be told.
    fn read(text: &str) -> Option<Self> {
        match text.trim().to_ascii_uppercase().as_str() {
            "ON" => Some(Self::On),
            "OFF" => Some(Self::Off),
            "OFF LOCAL" => Some(Self::OffLocally),
            _ => None,
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

/// What the file says; `None`: there is none. Whatever is not clearly ON is off: nobody must be watched because of a file that
/// is damaged, cut short or written in a hurry.
fn says(file: &DurableFile, text: &io::Result<Option<String>>) -> Option<Switch> {
    let path = file.path().display();
    match text {
        Ok(None) => None,
        Ok(Some(text)) => Some(Switch::read(text).unwrap_or_else(|| {
            tracing::error!(file = %path, "the privacy switch says neither ON nor OFF, which counts as off");
            Switch::Off
        })),
        Err(error) => {
            tracing::error!(file = %path, %error, "the privacy switch cannot be read, which counts as off");
            Some(Switch::Off)
        }
    }
}

/// The switch and the file that remembers it.
pub struct PrivacySwitch {
    file: DurableFile,
    switch: Switch,
    /// How often a dashboard has turned it.
    change_count: u64,
}

/// When the file began to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    change_count: u64,
}

/// What looking at the file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether streaming is allowed is another answer now.
    pub is_turned: bool,
    /// Something else may be on its way into the file: the switch has to be saved again.
    pub has_to_be_saved: bool,
}

impl PrivacySwitch {
    /// The switch as it was left; streaming is on when nothing was ever remembered, and off when what was cannot be
    /// read. Blocks.
    #[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "for what runs in a blocking thread"))]
    pub fn load(state_dir: &Path) -> Self {
        let file = DurableFile::new(state_dir, "streaming");
        let switch = says(&file, &file.load()).unwrap_or(Switch::On);
        if switch != Switch::On {
            tracing::warn!(file = %file.path().display(), "the privacy switch is off: nobody can watch until set/streaming ON");
        }
        Self { file, switch, change_count: 0 }
    }

    /// Whether streaming is allowed.
    pub fn is_on(&self) -> bool {
        self.switch == Switch::On
    }

    /// Whether it was turned off at the device itself.
    pub fn is_off_locally(&self) -> bool {
        self.switch == Switch::OffLocally
    }

    /// Turns the switch at the wish of a dashboard; [`Self::save`] follows.
    pub fn set(&mut self, on: bool) {
        self.change_count += 1;
        self.switch = match (on, self.switch) {
            (true, _) => Switch::On,
            // Turned off twice, it stays as firmly off as it was.
            (false, Switch::OffLocally) => Switch::OffLocally,
            (false, _) => Switch::Off,
        };
    }

    /// Has the switch kept as it is now.
    pub fn save(&self, persist: &Persist) -> Saving {
        // Tried again later, ON could undo an OFF that somebody writes by hand until then.
        let manner = if self.is_on() { Manner::Once } else { Manner::AtOnce };
        persist.save(&self.file, self.switch.text().to_owned(), manner)
    }

    /// Begins to look whether somebody has turned it at the device, by writing the file; [`Self::seen`] follows with
    /// what [`Persist::read`] finds.
    pub fn look(
        &self,
        persist: &Persist,
    ) -> (Look, impl Future<Output = Option<FileReading>> + Send + use<>) {
        (Look { change_count: self.change_count }, persist.read(&self.file))
    }

    /// Takes into account what the file says.
    pub fn seen(&mut self, look: Look, found: &FileReading) -> Seen {
        let was_on = self.is_on();
        let is_overtaken = found.is_stale || look.change_count != self.change_count;
        let says = says(&self.file, &found.text);
        let switch = match says {
            // It may only make the switch firmer: it was read before a dashboard turned it, or what a dashboard
            // wanted could not be written.
            Some(says) if is_overtaken => says.max(self.switch),
            Some(says) => says,
            None => self.switch,
        };
        // Off has to be remembered, also where the file was lost.
        let is_forgotten = says.is_none() && switch != Switch::On;
        let has_to_be_saved = is_forgotten || (is_overtaken && switch != self.switch);
        self.switch = switch;
        Seen { is_turned: was_on != self.is_on(), has_to_be_saved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tasks::TaskGroup;

    fn found(text: &str) -> FileReading {
        FileReading { text: Ok(Some(text.to_owned())), is_stale: false }
    }

    fn look(switch: &PrivacySwitch) -> Look {
        Look { change_count: switch.change_count }
    }

    /// SIGHUP.
    async fn reload(switch: &mut PrivacySwitch, persist: &Persist) -> Seen {
        let (look, found) = switch.look(persist);
        switch.seen(look, &found.await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_switch_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let persist = Persist::start(&TaskGroup::new());
        let state_dir = dir.path().join("made/on/demand");
        let mut switch = PrivacySwitch::load(&state_dir);
        assert!(switch.is_on());
        for on in [false, true, false] {
            switch.set(on);
            switch.save(&persist).outcome().await.unwrap();
            assert_eq!(PrivacySwitch::load(&state_dir).is_on(), on);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn off_that_could_not_be_written_stays_off_until_somebody_turns_it_on() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = TaskGroup::new();
        let persist = Persist::start(&tasks);
        let mut switch = PrivacySwitch::load(dir.path());
        switch.set(true);
        switch.save(&persist).outcome().await.unwrap();
        // Folders in the place of the file and of the new one, which cannot be removed: as a read-only disk refuses it.
        let blockers = ["streaming.new", "streaming"].map(|name| dir.path().join(name));
        std::fs::remove_file(&blockers[1]).unwrap();
        for blocker in &blockers {
            std::fs::create_dir(blocker).unwrap();
        }
        switch.set(false);
        assert!(switch.save(&persist).outcome().await.is_err());
        // As it could be read there.
        let says_on = FileReading { is_stale: true, ..found("ON") };
        for _ in 0..2 {
            assert!(!switch.seen(look(&switch), &says_on).is_turned, "the file still says ON");
            assert!(!switch.is_on());
        }
        // The disk is well again: what was not kept is kept, without anybody asking again.
        for blocker in &blockers {
            std::fs::remove_dir(blocker).unwrap();
        }
        assert!(!reload(&mut switch, &persist).await.is_turned);
        assert!(!PrivacySwitch::load(dir.path()).is_on());
        // Now somebody turns it on at the device.
        std::fs::write(dir.path().join("streaming"), "ON\n").unwrap();
        assert!(reload(&mut switch, &persist).await.is_turned);
        assert!(switch.is_on());
    }

    #[tokio::test(start_paused = true)]
    async fn off_on_a_full_disk_is_off_after_a_restart() {
        for was_set_before in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let persist = Persist::start(&TaskGroup::new());
            let mut switch = PrivacySwitch::load(dir.path());
            if was_set_before {
                switch.set(true);
                switch.save(&persist).outcome().await.unwrap();
            }
            // No new file can be filled, as where no room is left.
            std::fs::create_dir(dir.path().join("streaming.new")).unwrap();
            switch.set(false);
            switch.save(&persist).outcome().await.unwrap();
            assert!(!PrivacySwitch::load(dir.path()).is_on(), "set before: {was_set_before}");
            // Once there is room, it says so in words.
            std::fs::remove_dir(dir.path().join("streaming.new")).unwrap();
            persist.flush().await;
            assert_eq!(std::fs::read_to_string(dir.path().join("streaming")).unwrap(), "OFF\n");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turned_off_at_the_device_is_told_apart_and_seen_while_running() {
        let dir = tempfile::tempdir().unwrap();
        let persist = Persist::start(&TaskGroup::new());
        let mut switch = PrivacySwitch::load(dir.path());
        assert!(!reload(&mut switch, &persist).await.is_turned);
        std::fs::write(dir.path().join("streaming"), "OFF local\n").unwrap();
        assert!(reload(&mut switch, &persist).await.is_turned);
        assert!(!switch.is_on() && switch.is_off_locally());
        switch.set(false);
        switch.save(&persist).outcome().await.unwrap();
        assert!(PrivacySwitch::load(dir.path()).is_off_locally(), "a dashboard's OFF does not loosen it");
        switch.set(true);
        assert!(switch.is_on() && !switch.is_off_locally());
    }

    #[test]
    fn what_cannot_be_read_turns_nothing_on() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("streaming");
        for text in ["", "off", "OFF LOCAL", "no", "\0\0\0\0", "ON OFF", "O", "ONN"] {
            std::fs::write(&file, text).unwrap();
            let switch = PrivacySwitch::load(dir.path());
            assert!(!switch.is_on(), "{text:?} after a start");
            let mut running = PrivacySwitch { switch: Switch::On, ..switch };
            assert!(running.seen(look(&running), &found(text)).is_turned);
            assert!(!running.is_on(), "{text:?} after a reload");
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let mut switch = PrivacySwitch::load(dir.path());
        assert!(!switch.is_on(), "it is there, and no file");
        let lost = switch.seen(look(&switch), &FileReading { text: Ok(None), is_stale: false });
        assert!(!switch.is_on() && lost.has_to_be_saved, "off is remembered where the file was lost");
        let mut running = PrivacySwitch { switch: Switch::On, ..switch };
        let nothing = FileReading { text: Ok(None), is_stale: false };
        assert!(!running.seen(look(&running), &nothing).is_turned, "nothing was ever set");
        let damaged = FileReading { text: Err(io::Error::other("damaged")), is_stale: false };
        assert!(running.seen(look(&running), &damaged).is_turned && !running.is_on());
    }

    #[test]
    fn a_look_that_was_overtaken_only_makes_it_firmer() {
        let dir = tempfile::tempdir().unwrap();
        let mut switch = PrivacySwitch::load(dir.path());
        let before = look(&switch);
        switch.set(false);
        let nothing = Seen { is_turned: false, has_to_be_saved: false };
        assert_eq!(switch.seen(before, &found("ON")), nothing, "it said so before OFF came");
        let stale = FileReading { is_stale: true, ..found("ON") };
        assert_eq!(switch.seen(look(&switch), &stale), nothing);
        assert_eq!(
            switch.seen(before, &found("OFF local")),
            Seen { is_turned: false, has_to_be_saved: true }
        );
        let before = look(&switch);
        switch.set(true);
        assert_eq!(switch.seen(before, &found("OFF")), Seen { is_turned: true, has_to_be_saved: true });
        assert!(!switch.is_on());
    }
}
