//! The daemon's folder: a file is there whole or not at all, and the one before it is kept.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::names::{ENV, TOML};
use crate::base::durable_file::{self, Access, FileOwner};

/// The daemon's user may read by its group; nobody else may.
const MODE: u32 = 0o640;

/// Ends the hidden names of files on their way.
const STAGED: &str = "first-boot";

/// Where the daemon looks for its configuration.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What a file says; empty where there is none.
    pub(super) fn text(&self, name: &str) -> Result<String, Failure> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Failure::of("read", &path)(error)),
        }
    }

    /// Writes what is to become the file `name`, on the disk for good, and gives its path until then.
    pub(super) fn stage(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.staged(name);
        self.write(&path, text.as_bytes()).map_err(Failure::of("write", &path))?;
        Ok(path)
    }

    /// Gives a staged file its name, and the one before it `….previous`. Whether the content is another one;
    /// a file that is not staged is left as it is.
    pub(super) fn commit(&self, name: &str) -> Result<bool, Failure> {
        let (new, path) = (self.staged(name), self.0.join(name));
        let content = match fs::read(&new) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Failure::of("read", &new)(error)),
        };
        let before = fs::read(&path).ok();
        // After a loss of power this may be the second time: the previous file must not become a copy of this one.
        let is_new = before.as_ref() != Some(&content);
        if let Some(before) = before.filter(|_| is_new) {
            let previous = self.0.join(format!("{name}.previous"));
            let part = self.staged(&format!("{name}.previous"));
            self.write(&part, &before)
                .and_then(|()| durable_file::rename(&part, &previous))
                .map_err(Failure::of("write", &previous))?;
        }
        // Also where the content is the same: owner and mode may not be.
        durable_file::rename(&new, &path).map_err(Failure::of("write", &path))?;
        Ok(is_new)
    }

    /// Removes what was staged and is not wanted; what cannot be removed is overwritten the next time.
    pub(super) fn clear(&self) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == STAGED) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Whether exactly this was taken over before and could not be put away: on a read-only boot partition
    /// the same file is there at each start, and must not undo what was changed on the board since.
    pub(super) fn had_to_leave(&self, name: &str, text: &str) -> bool {
        fs::read(self.left(name)).is_ok_and(|left| left == text.as_bytes())
    }

    pub(super) fn remember_left(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.left(name);
        self.write(&path, text.as_bytes()).map_err(Failure::of("write", &path))
    }

    pub(super) fn forget_left(&self, name: &str) {
        debug_assert!([TOML, ENV].contains(&name));
        let _ = fs::remove_file(self.left(name));
    }

    fn staged(&self, name: &str) -> PathBuf {
        self.0.join(format!(".{name}.{STAGED}"))
    }

    fn left(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.left"))
    }

    /// The folder's group is the daemon's; files get it too.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let group = fs::metadata(&self.0)?.gid();
        durable_file::create(path, content, Access { mode: Some(MODE), owner: FileOwner::Group(group) })?;
        durable_file::sync_folder(&self.0)
    }
}
