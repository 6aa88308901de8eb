//! Small files in the state directory that remember what people set: written whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// No file of ours is longer; what is, is not ours.
const MAX_BYTES: u64 = 64 * 1024;

/// One file.
#[derive(Clone, Debug)]
pub struct KeptFile {
    path: PathBuf,
}

impl KeptFile {
    /// The file called `name`.
    pub fn new(state_dir: &Path, name: &str) -> Self {
        Self { path: state_dir.join(name) }
    }

    /// Where it is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was saved last; `None` when there is nothing, as on a new card.
    pub fn load(&self) -> Option<String> {
        let size = std::fs::metadata(&self.path).ok()?.len();
        (size <= MAX_BYTES).then(|| std::fs::read_to_string(&self.path).ok()).flatten()
    }

    /// Saves `text` in place of what there was. May wait for a slow card.
    pub fn save(&self, text: &str) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        // Written beside and renamed, so that a power cut leaves the old or the new, never half.
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        // The new name is on the card only when its directory is.
        File::open(dir)?.sync_all()
    }

    /// Forgets it.
    pub fn remove(&self) {
        // One that is not there is forgotten already.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("made/on/demand");
        let file = KeptFile::new(&state_dir, "name");
        assert_eq!(file.load(), None);
        file.save("one").unwrap();
        file.save("two").unwrap();
        assert_eq!(file.load().as_deref(), Some("two"));
        assert_eq!(std::fs::read_dir(&state_dir).unwrap().count(), 1);
        file.remove();
        assert_eq!(file.load(), None);
    }

    #[test]
    fn what_cannot_be_saved_says_so_and_what_is_too_long_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let blocker = dir.path().join("file");
        std::fs::write(&blocker, "x".repeat(70_000)).unwrap();
        assert!(KeptFile::new(&blocker.join("state"), "name").save("x").is_err());
        assert_eq!(KeptFile::new(dir.path(), "file").load(), None);
    }
}
