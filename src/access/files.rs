//! Private files of the state directory: only their owner may read them, whole or not there, one writer at a time.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "it is what the others call in a blocking thread")
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::AccessError;
use crate::base::durable_file::{self, Access, FileOwner, own_like_folder};

/// Far more than any file of ours holds.
const MAX_BYTES: u64 = 1024 * 1024;

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AccessError {
    let path = path.to_owned();
    move |reason| AccessError::File { what, path, reason }
}

/// The file's text, `None` when there is no such file.
pub(crate) fn read_private(path: &Path) -> Result<Option<String>, AccessError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(Some(text))
}

/// Puts the file in place at once and whole, for its owner alone, who is the folder's: `sudo porthole grant`
/// must not take the file away from the daemon's user.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), AccessError> {
    let private = Access { mode: Some(0o600), owner: FileOwner::LikeFolder };
    durable_file::write(path, text.as_bytes(), private).map_err(failed("write", path))
}

/// Held while a file is read, changed and written. Gone on drop, also when the process ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other process holds it. Makes the folder if it is missing.
    pub fn take(dir: &Path) -> Result<Self, AccessError> {
        let path: PathBuf = dir.join("access.lock");
        let lock = || {
            fs::create_dir_all(dir)?;
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            own_like_folder(&file, &path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map(|file| Self { _file: file }).map_err(failed("lock", &path))
    }
}
