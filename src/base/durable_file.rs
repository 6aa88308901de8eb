//! Files that a power cut leaves old or new, never half: written beside, flushed, renamed, and the folder flushed.
//!
//! The file beside has a fixed name, so that one which a power cut left behind is replaced by the next. Whoever may
//! write the same file at the same time as somebody else holds a lock of his own.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "it is what the others call in a blocking thread")
)]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::folder::OpenFolder;

/// How often a lock that another process holds is tried.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// No [`DurableFile`] is longer; what is, is not ours.
const MAX_BYTES: u64 = 64 * 1024;

/// Whose a new file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOwner {
    /// This process's user.
    Process,
    /// The user and group of the folder, where that is another user's: what root writes into the daemon's folder is the daemon's.
    LikeFolder,
    /// This process's user, and this group.
    Group(u32),
}

/// Who may do what with a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Permission bits; `None` for what the process's umask leaves of 0666.
    pub mode: Option<u32>,
    /// Whose it is.
    pub owner: FileOwner,
}

impl Access {
    /// As any file of this process.
    pub const USUAL: Self = Self { mode: None, owner: FileOwner::Process };
}

/// Makes a new file, on the disk for good but for its name (see [`rename`]). One that is there is removed first, so that
/// nobody's link is followed; of a failure nothing is left.
pub fn create(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let (folder, name) = OpenFolder::of(path)?;
    create_in(&folder, name, content, access)
}

fn create_in(folder: &OpenFolder, name: &OsStr, content: &[u8], access: Access) -> io::Result<()> {
    match folder.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody else may look before owner and mode are set.
    let file = folder.new_file(name, if access.mode.is_some() { 0o600 } else { 0o666 })?;
    let filled = fill(file, folder, content, access);
    if filled.is_err() {
        // What cannot be removed is replaced by the next one.
        let _ = folder.remove(name);
    }
    filled
}

fn fill(mut file: File, folder: &OpenFolder, content: &[u8], access: Access) -> io::Result<()> {
    match access.owner {
        FileOwner::Process => {}
        FileOwner::LikeFolder => folder.adopt(&file)?,
        FileOwner::Group(group) => {
            if file.metadata()?.gid() != group {
                fchown(&file, None, Some(group))?;
            }
        }
    }
    if let Some(mode) = access.mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// Puts a file of [`create`] in its place beside it, for good.
pub fn rename(new: &Path, path: &Path) -> io::Result<()> {
    let (folder, name) = OpenFolder::of(path)?;
    folder.rename(new.file_name().ok_or(io::ErrorKind::InvalidInput)?, name)?;
    folder.sync()
}

/// Names made and removed in `folder` are on the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    OpenFolder::open(folder)?.sync()
}

/// Puts `content` in the place of what there was, whole or not at all.
pub fn write(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let (folder, name) = OpenFolder::of(path)?;
    let mut new = name.to_owned();
    new.push(".new");
    create_in(&folder, &new, content, access)?;
    folder.rename(&new, name).and_then(|()| folder.sync()).inspect_err(|_| {
        // Where it is in its place already there is nothing to remove.
        let _ = folder.remove(&new);
    })
}

/// Held while a file beside it is read, changed and written, by one process at a time. Gone on drop, also when the process ends.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock at `path`, which is made where it is missing. Waits while another process holds it, for `limit` at most.
    pub fn take(path: &Path, limit: Duration) -> io::Result<Self> {
        let (folder, name) = OpenFolder::of(path)?;
        let file = match folder.new_file(name, 0o600) {
            Ok(file) => {
                folder.adopt(&file)?;
                file
            }
            // It keeps the owner that it has: whoever made it may have meant another file.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => folder.file(name, true)?,
            Err(error) => return Err(error),
        };
        let end = Instant::now() + limit;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => {
                    let words = "another process holds it, and does not let go: `fuser` names it";
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, words));
                }
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file's version: another one after every change, because every change is a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    inode: u64,
    modified: SystemTime,
    bytes: u64,
}

impl FileStamp {
    /// The version that is there now; `None` when there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self { inode: found.ino(), modified: found.modified().ok()?, bytes: found.len() })
    }
}

/// A small text file that remembers what people set. Its methods may wait for a slow card.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurableFile {
    path: PathBuf,
}

impl DurableFile {
    /// The file called `name`; neither it nor its folder need to be there.
    pub fn new(folder: &Path, name: &str) -> Self {
        Self { path: folder.join(name) }
    }

    /// Where it is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was saved last; `None` when there is no such file, as on a new card.
    ///
    /// # Errors
    /// It is there, and cannot be read or is no text of ours.
    pub fn load(&self) -> io::Result<Option<String>> {
        let content = OpenFolder::of(&self.path).and_then(|(folder, name)| folder.read(name, MAX_BYTES));
        match content {
            Ok(None) => Ok(None),
            Ok(Some(content)) => {
                let no_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is no text");
                String::from_utf8(content).map(Some).map_err(no_text)
            }
            // Where a folder on the way is none, there can be no file.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Saves `text` in place of what there was; makes the folder if it is missing. It is for this process's user alone: it may tell
    /// who was invited, and when somebody watched.
    pub fn save(&self, text: &str) -> io::Result<()> {
        fs::create_dir_all(folder_of(&self.path))?;
        let owner = FileOwner::Process;
        write(&self.path, text.as_bytes(), Access { mode: Some(0o600), owner })
    }

    /// Empties it where it is, for good: what a full disk still allows.
    pub fn blank(&self) -> io::Result<()> {
        let (folder, name) = OpenFolder::of(&self.path)?;
        folder.blank(name)
    }

    /// Forgets it, for good. One that is not there is forgotten already.
    pub fn remove(&self) -> io::Result<()> {
        let removed = OpenFolder::of(&self.path).and_then(|(folder, name)| {
            folder.remove(name)?;
            folder.sync()
        });
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_saved_is_loaded_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("made/on/demand");
        let file = DurableFile::new(&folder, "name");
        assert_eq!(file.load().unwrap(), None);
        file.save("one").unwrap();
        // As a power cut leaves it.
        fs::write(folder.join("name.new"), "tw").unwrap();
        file.save("two").unwrap();
        assert_eq!(file.load().unwrap().as_deref(), Some("two"));
        assert_eq!(names(&folder), ["name"]);
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    #[test]
    fn what_cannot_be_saved_says_so_and_what_is_not_ours_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let blocker = dir.path().join("file");
        fs::write(&blocker, "x".repeat(70_000)).unwrap();
        assert!(DurableFile::new(&blocker.join("state"), "name").save("x").is_err());
        assert!(DurableFile::new(dir.path(), "file").load().is_err(), "too long");
        fs::write(&blocker, [0xff]).unwrap();
        assert!(DurableFile::new(dir.path(), "file").load().is_err(), "no text");
    }

    #[test]
    fn a_failure_leaves_the_old_one_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        // A folder cannot be replaced by a file.
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"x", Access::USUAL).is_err());
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn what_the_daemon_keeps_is_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = DurableFile::new(dir.path(), "kept");
        file.save("x").unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_private_file_follows_no_link_and_is_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("secret"), dir.path().join("other"));
        fs::write(&other, "untouched").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join("secret.new")).unwrap();
        let before = FileStamp::of(&path);
        write(&path, b"x", Access { mode: Some(0o600), owner: FileOwner::LikeFolder }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&other).unwrap(), "untouched");
        assert_ne!(FileStamp::of(&path), before);
    }
}
