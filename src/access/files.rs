//! Private files of the state directory: only their owner may read them, whole or not there, one writer at a time.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "it is what the others call in a blocking thread")
)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::AccessError;
use crate::base::durable_file::{self, Access, FileLock, FileOwner};
use crate::base::folder::OpenFolder;

/// Far more than any file of ours holds.
const MAX_BYTES: u64 = 1024 * 1024;
/// A change takes milliseconds; whoever holds the lock for longer hangs, or means harm.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AccessError {
    let path = path.to_owned();
    move |reason| AccessError::File { what, path, reason }
}

/// The file's text, `None` when there is no such file. What is no text is read as such a one: it is damaged.
pub(crate) fn read_private(path: &Path) -> Result<Option<String>, AccessError> {
    let content = OpenFolder::of(path).and_then(|(folder, name)| folder.read(name, MAX_BYTES));
    match content {
        Ok(content) => Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Puts the file in place at once and whole, for its owner alone, who is the folder's: `sudo porthole grant`
/// must not take the file away from the daemon's user.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), AccessError> {
    let private = Access { mode: Some(0o600), owner: FileOwner::LikeFolder };
    durable_file::write(path, text.as_bytes(), private).map_err(failed("write", path))
}

/// Held while a file is read, changed and written. Gone on drop, also when the process ends.
pub(crate) struct Lock {
    _lock: FileLock,
}

impl Lock {
    /// Waits until no other process holds it. Makes the folder if it is missing.
    pub fn take(dir: &Path) -> Result<Self, AccessError> {
        let path: PathBuf = dir.join("access.lock");
        let lock = || {
            fs::create_dir_all(dir)?;
            FileLock::take(&path, LOCK_LIMIT)
        };
        lock().map(|lock| Self { _lock: lock }).map_err(failed("lock", &path))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};

    use super::*;

    /// What the daemon's user may have put there while root works in its folder.
    #[test]
    fn nobody_gets_a_file_of_somebody_else_by_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (state, victim) = (dir.path().join("state"), dir.path().join("shadow"));
        fs::create_dir(&state).unwrap();
        fs::write(&victim, "root:secret").unwrap();
        // As the test may: only root can give files away.
        let is_root = chown(&state, Some(12_345), Some(12_345)).is_ok();
        let owner = fs::metadata(&victim).unwrap().uid();
        for name in ["access.lock", "file", "file.new"] {
            let link = state.join(name);
            let _ = fs::remove_file(state.join("file"));
            symlink(&victim, &link).unwrap();
            if is_root {
                lchown(&link, Some(12_345), None).unwrap();
            }
            assert_eq!(Lock::take(&state).is_ok(), name != "access.lock", "{name}");
            assert_eq!(read_private(&state.join("file")).is_err(), name == "file", "{name}");
            write_private(&state.join("file"), "ours").unwrap();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "root:secret", "{name}");
            assert_eq!(fs::metadata(&victim).unwrap().uid(), owner, "{name}");
            let made = fs::symlink_metadata(state.join("file")).unwrap();
            assert!(made.is_file() && (!is_root || made.uid() == 12_345), "{name}");
            let _ = fs::remove_file(link);
            let _ = fs::remove_file(state.join("access.lock"));
        }
        // A second name of the same file is no link that could be seen.
        fs::hard_link(&victim, state.join("access.lock")).unwrap();
        let _lock = Lock::take(&state).unwrap();
        assert_eq!(fs::metadata(&victim).unwrap().uid(), owner, "given away");
    }

    #[test]
    fn a_lock_that_is_never_let_go_is_an_error_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileLock::take(&path, Duration::ZERO).unwrap();
        assert_eq!(FileLock::take(&path, Duration::ZERO).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        FileLock::take(&path, Duration::ZERO).unwrap();
    }
}
