//! A folder that another user may write into, as root sees the daemon's: held by a descriptor, and nothing in it is reached through
//! a link. What a command of root's opens, gives away or replaces is in that folder and nowhere else.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "it is what the others call in a blocking thread")
)]

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, readlinkat, renameat, unlinkat};
use rustix::process::geteuid;

/// Links that a path may lead over, as the kernel counts them.
const MAX_LINKS: usize = 40;

/// An open folder.
#[derive(Debug)]
pub struct OpenFolder {
    file: File,
}

impl OpenFolder {
    /// Opens the folder at `path`. Links on the way count only where root or this process's own user has made them.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] on a link of somebody else.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut left: VecDeque<OsString> = names(path);
        let mut at = start(path.is_absolute())?;
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::PATH;
            match openat(&at, &*name, flags, Mode::empty()) {
                Ok(folder) => at = folder,
                // What is no folder may be a link to one.
                Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                    links += 1;
                    let target = trusted_link(&at, &name, links)?;
                    if target.is_absolute() {
                        at = start(true)?;
                    }
                    for name in names(&target).into_iter().rev() {
                        left.push_front(name);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { file: openat(&at, ".", flags, Mode::empty())?.into() })
    }

    /// The folder that `path` is in, and its name there.
    ///
    /// # Errors
    /// The same, and a path without a name.
    pub fn of(path: &Path) -> io::Result<(Self, &OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Ok((Self::open(folder.unwrap_or(Path::new(".")))?, name))
    }

    /// Whose it is.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Opens a file that is there for reading and, where it `may_write`, writing.
    ///
    /// # Errors
    /// It is a link, or no file: a pipe would hold up whoever opens it.
    pub fn file(&self, name: &OsStr, may_write: bool) -> io::Result<File> {
        let how = if may_write { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&self.file, name, flags, Mode::empty());
        let file: File = opened.map_err(|error| no_link(error.into()))?.into();
        if file.metadata()?.is_file() { Ok(file) } else { Err(not_ours()) }
    }

    /// Makes a file that is not there yet.
    pub fn new_file(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.file, name, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// What a file holds; `None` when there is none.
    ///
    /// # Errors
    /// It holds more than `limit` bytes, or is no file.
    pub fn read(&self, name: &OsStr, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.file(name, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long to be ours"));
        }
        Ok(Some(content))
    }

    /// Empties a file in its place, or makes an empty one: what needs no room on a disk that is full.
    pub fn blank(&self, name: &OsStr) -> io::Result<()> {
        let how = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = openat(&self.file, name, flags, Mode::from_raw_mode(0o644))?.into();
        file.sync_all()?;
        self.sync()
    }

    /// Removes a file or a link.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.file, name, AtFlags::empty())?)
    }

    /// Gives a file another name, in place of one that has it.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.file, from, &self.file, to)?)
    }

    /// Names made and removed here are on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives a file that was just made here to this folder's user, if that is another one.
    pub fn adopt(&self, file: &File) -> io::Result<()> {
        let own = self.metadata()?;
        if own.uid() == file.metadata()?.uid() {
            return Ok(());
        }
        fchown(file, Some(own.uid()), Some(own.gid()))
    }
}

fn start(is_absolute: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
    Ok(openat(CWD, if is_absolute { "/" } else { "." }, flags, Mode::empty())?)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// Where a link leads that may be followed.
fn trusted_link(at: &OwnedFd, name: &OsStr, links: usize) -> io::Result<PathBuf> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Held, so that it is this one whose owner counts.
    let link: File = openat(at, name, flags, Mode::empty())?.into();
    let found = link.metadata()?;
    if !found.is_symlink() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if links > MAX_LINKS {
        return Err(rustix::io::Errno::LOOP.into());
    }
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        let words = "a link on the way to it belongs to another user, whom this program does not follow";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    let target = readlinkat(&link, "", Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

fn no_link(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) { not_ours() } else { error }
}

fn not_ours() -> io::Error {
    let words =
        "it is a link or no file at all, which Porthole does not make: look who put it there, and remove it";
    io::Error::new(io::ErrorKind::InvalidData, words)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const NAME: &str = "file";

    fn name() -> &'static OsStr {
        OsStr::new(NAME)
    }

    #[test]
    fn nothing_in_it_is_reached_through_a_link_or_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, folder) = (dir.path().join("victim"), OpenFolder::open(dir.path()).unwrap());
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, dir.path().join(NAME)).unwrap();
        assert!(folder.file(name(), false).is_err());
        assert!(folder.file(name(), true).is_err());
        assert!(folder.read(name(), 100).is_err());
        assert!(folder.blank(name()).is_err());
        assert!(folder.new_file(name(), 0o600).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        folder.remove(name()).unwrap();
        assert!(victim.exists());
        // One that dangles makes no file elsewhere.
        symlink(dir.path().join("made"), dir.path().join(NAME)).unwrap();
        assert!(folder.new_file(name(), 0o600).is_err() && folder.blank(name()).is_err());
        assert!(!dir.path().join("made").exists());
        folder.remove(name()).unwrap();
        // A pipe would be waited for.
        let made = std::process::Command::new("mkfifo").arg(dir.path().join(NAME)).status().unwrap();
        assert!(made.success());
        assert!(folder.file(name(), false).is_err());
        assert!(folder.read(name(), 100).is_err());
    }

    #[test]
    fn a_path_may_lead_over_ones_own_links_and_the_folder_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        symlink("real", &link).unwrap();
        let folder = OpenFolder::open(&link.join("../link")).unwrap();
        assert_eq!(folder.metadata().unwrap().ino(), fs::metadata(&real).unwrap().ino());
        // Somebody puts another one in its place.
        fs::rename(&real, dir.path().join("moved")).unwrap();
        fs::create_dir(&real).unwrap();
        folder.new_file(name(), 0o600).unwrap();
        assert!(dir.path().join("moved").join(NAME).exists() && !real.join(NAME).exists());
        symlink("round", dir.path().join("round")).unwrap();
        assert!(OpenFolder::open(&dir.path().join("round")).is_err());
        fs::write(dir.path().join("plain"), "").unwrap();
        assert!(OpenFolder::open(&dir.path().join("plain")).is_err());
        assert_eq!(OpenFolder::open(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_of_somebody_else_is_not_followed() {
        // Only root can make one.
        if geteuid().as_raw() != 0 {
            eprintln!("SKIPPED: making a file of another user needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12_345), None).unwrap();
        for path in [link.clone(), link.join("below")] {
            let error = OpenFolder::open(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        }
        assert!(OpenFolder::of(&link).is_ok(), "the link's own folder is meant");
    }
}
