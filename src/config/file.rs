//! Files that the configuration names.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::value::{Checked, Text, problem};

/// Files that are named by the place they will have, and where each of them is now.
pub type Moved = BTreeMap<PathBuf, PathBuf>;

/// Keys, certificates and passwords are far smaller.
const LONGEST_FILE_BYTES: u64 = 1 << 20;

/// Where a file is that the configuration names. A name without a folder may be a systemd credential
/// (`LoadCredential=` in systemd.exec(5)).
fn located(file: &Path, moved: &Moved) -> PathBuf {
    if let Some(now) = moved.get(file) {
        return now.clone();
    }
    let is_name = file.components().count() == 1 && file.file_name().is_some();
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(file));
    credential.filter(|path| is_name && path.is_file()).unwrap_or_else(|| file.to_owned())
}

pub(super) fn read(key: &str, file: &Path, moved: &Moved) -> Checked<String> {
    let unreadable = |error| problem(key, file.display(), format!("the file cannot be read: {error}"));
    let mut text = String::new();
    // One byte more than may be there: a device file has no end.
    std::fs::File::open(located(file, moved))
        .and_then(|file| file.take(LONGEST_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > LONGEST_FILE_BYTES {
        return Err(problem(key, file.display(), "a file of at most 1 MiB"));
    }
    if text.trim().is_empty() { Err(problem(key, file.display(), "the file is empty")) } else { Ok(text) }
}

pub(super) fn existing(key: &str, file: Option<Text>, moved: &Moved) -> Checked<Option<PathBuf>> {
    let Some(file) = file else { return Ok(None) };
    let file = Path::new(&file.0);
    read(key, file, moved).map(|_| Some(located(file, moved)))
}
