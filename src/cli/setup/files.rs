//! Files written whole or not at all: beside, then renamed; what was there is kept; undone if setup fails.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::base::durable_file::{self, Access, FileOwner};

/// Backups of one file that are kept apart.
const MAX_BACKUPS: u32 = 100;
/// The group of the service's user.
const GROUP: &str = "porthole";

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// No secret.
    Everybody,
    /// Whoever runs setup, and the daemon where that is another user.
    Daemon,
    /// Whoever runs setup.
    Owner,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {reason}", path.display())]
pub(super) struct WriteError {
    path: PathBuf,
    reason: io::Error,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    |reason| WriteError { path, reason }
}

/// Writes files, and takes all of it back on drop unless [`Writer::keep`] was called.
pub(super) struct Writer {
    /// The group that may read [`Readers::Daemon`]'s files.
    group: Option<u32>,
    done: Vec<Done>,
    /// Those that were made, outer ones first.
    folders: Vec<PathBuf>,
}

struct Done {
    path: PathBuf,
    /// What was there before.
    backup: Option<PathBuf>,
}

impl Writer {
    pub fn new() -> Self {
        Self::for_group(if is_root() { group_id(GROUP) } else { None })
    }

    fn for_group(group: Option<u32>) -> Self {
        Self { group, done: Vec::new(), folders: Vec::new() }
    }

    /// Whether secrets can be read by the service's own user.
    pub fn daemon_can_read(&self) -> bool {
        self.group.is_some() || !is_root()
    }

    /// Makes a folder with all that lead to it, if it is missing.
    pub fn make_dir(&mut self, path: &Path) -> Result<(), WriteError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder).map_err(failed(folder))?;
            self.folders.push(folder.to_owned());
        }
        Ok(())
    }

    /// The same, for a folder that only its owner may enter. One that is there stays as it is.
    pub fn make_private_dir(&mut self, path: &Path) -> Result<(), WriteError> {
        if path.is_dir() {
            return Ok(());
        }
        self.make_dir(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed(path))
    }

    /// Writes a file that is in place at once and whole.
    pub fn put(&mut self, path: &Path, readers: Readers, text: &str) -> Result<(), WriteError> {
        let staged = self.stage(path, readers, text)?;
        self.place(&staged, path)
    }

    /// Writes the file under another name beside it, so that it can be looked at first.
    pub fn stage(&self, path: &Path, readers: Readers, text: &str) -> Result<Staged, WriteError> {
        let new = beside(path, &format!(".new-{}", std::process::id()));
        let group = self.group.filter(|_| readers == Readers::Daemon);
        let mode = match (readers, group) {
            (Readers::Everybody, _) => 0o644,
            (Readers::Daemon, Some(_)) => 0o640,
            (Readers::Daemon | Readers::Owner, _) => 0o600,
        };
        let access = Access { mode: Some(mode), owner: group.map_or(FileOwner::Process, FileOwner::Group) };
        durable_file::create(&new, text.as_bytes(), access).map_err(failed(path))?;
        Ok(Staged(new))
    }

    /// Puts a staged file in its place; another file that is there is kept as `….bak`.
    pub fn place(&mut self, staged: &Staged, path: &Path) -> Result<(), WriteError> {
        let is_other = match fs::read(path) {
            Ok(old) => old != fs::read(&staged.0).map_err(failed(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(path)(error)),
        };
        let existed = path.exists();
        let backup = if is_other { Some(back_up(path).map_err(failed(path))?) } else { None };
        durable_file::rename(&staged.0, path).map_err(failed(path))?;
        if !existed || backup.is_some() {
            self.done.push(Done { path: path.to_owned(), backup });
        }
        Ok(())
    }

    /// Everything stays. Returns the backups that were made.
    pub fn keep(mut self) -> Vec<PathBuf> {
        self.folders.clear();
        std::mem::take(&mut self.done).into_iter().filter_map(|done| done.backup).collect()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        for Done { path, backup } in self.done.drain(..).rev() {
            let undone = match backup {
                Some(backup) => fs::rename(backup, &path),
                None => fs::remove_file(&path),
            };
            if let Err(error) = undone {
                eprintln!("porthole: {} could not be put back as it was: {error}", path.display());
            }
        }
        for folder in self.folders.drain(..).rev() {
            // One that somebody else has put something into stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A file that waits for its place; removed if it never gets there.
pub(super) struct Staged(PathBuf);

impl Staged {
    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone when it was placed.
        let _ = fs::remove_file(&self.0);
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Copies with the old permissions, so that a secret stays one.
fn back_up(path: &Path) -> io::Result<PathBuf> {
    for n in 0..MAX_BACKUPS {
        let backup = beside(path, &if n == 0 { ".bak".to_owned() } else { format!(".bak{n}") });
        let old = fs::metadata(path)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&backup) {
            Ok(mut to) => {
                io::copy(&mut File::open(path)?, &mut to)?;
                if is_root() {
                    chown(&backup, Some(old.uid()), Some(old.gid()))?;
                }
                to.set_permissions(old.permissions())?;
                to.sync_all()?;
                return Ok(backup);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("there are too many .bak files beside it; remove some"))
}

/// Whether files can be made in `dir`, or the folder itself where it is missing.
pub(super) fn is_writable(dir: &Path) -> bool {
    let Some(there) = dir.ancestors().find(|folder| folder.exists()) else { return false };
    let probe = there.join(format!(".porthole-setup-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe).is_ok();
    if made {
        // What cannot be removed is empty and named after us.
        let _ = fs::remove_file(&probe);
    }
    made
}

/// Whether this runs as root.
pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// From the system's list of groups; other places of groups do not hold those of services.
fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn secrets_are_for_their_owner() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = Writer::for_group(None);
        for (name, readers, expected) in [
            ("all", Readers::Everybody, 0o644),
            ("daemon", Readers::Daemon, 0o600),
            ("own", Readers::Owner, 0o600),
        ] {
            let path = dir.path().join(name);
            writer.put(&path, readers, "x").expect("written");
            assert_eq!(mode(&path), expected, "{name}");
        }
        assert!(writer.keep().is_empty());
    }

    #[test]
    fn the_service_may_read_what_root_wrote_for_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let own = fs::metadata(dir.path()).expect("its owner").gid();
        let mut writer = Writer::for_group(Some(own));
        let path = dir.path().join("password");
        writer.put(&path, Readers::Daemon, "x").expect("written");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(fs::metadata(&path).expect("a file").gid(), own);
        writer.keep();
    }

    #[test]
    fn what_was_there_is_kept_each_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a");
        for text in ["one", "two", "two", "three"] {
            let mut writer = Writer::for_group(None);
            writer.put(&path, Readers::Owner, text).expect("written");
            writer.keep();
        }
        assert_eq!(names(dir.path()), ["a", "a.bak", "a.bak1"]);
        assert_eq!(fs::read_to_string(dir.path().join("a.bak")).expect("a backup"), "one");
        assert_eq!(fs::read_to_string(dir.path().join("a.bak1")).expect("a backup"), "two");
        assert_eq!(mode(&dir.path().join("a.bak")), 0o600);
    }

    #[test]
    fn a_failure_leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().expect("a folder");
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "before").expect("written");
        let mut writer = Writer::for_group(None);
        writer.put(&old, Readers::Everybody, "after").expect("written");
        writer.put(&new, Readers::Everybody, "new").expect("written");
        writer.make_private_dir(&dir.path().join("made/folder")).expect("made");
        assert_eq!(mode(&dir.path().join("made/folder")), 0o700);
        let staged = writer.stage(&dir.path().join("x"), Readers::Owner, "x").expect("staged");
        assert!(writer.put(&dir.path().join("no/such/folder"), Readers::Owner, "x").is_err());
        drop((staged, writer));
        assert_eq!(names(dir.path()), ["old"]);
        assert_eq!(fs::read_to_string(&old).expect("the old one"), "before");
    }

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("no-such-group"), None);
    }
}
