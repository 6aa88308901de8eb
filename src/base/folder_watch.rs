//! Word of changes in folders, by inotify: whoever follows a file sleeps until somebody touches it.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};

/// Room for a few dozen events; more than fit stay in the kernel.
const BUFFER_BYTES: usize = 4096;

/// Watches some folders, not what is below them.
pub struct FolderWatch {
    events: EventStream<[u8; BUFFER_BYTES]>,
}

impl FolderWatch {
    /// Watches `folders` from now on. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// One of them is not there, or the system watches no more.
    pub fn new<'a>(folders: impl IntoIterator<Item = &'a Path>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        // ATTRIB: a new file gets its owner and mode after its name.
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF;
        for folder in folders {
            inotify.watches().add(folder, mask)?;
        }
        Ok(Self { events: inotify.into_event_stream([0; BUFFER_BYTES])? })
    }

    /// Resolves with the name of something in one of the folders that was made, written, renamed or removed; without a name
    /// when a folder itself was, or when events were lost. Losing the future loses no event.
    ///
    /// # Errors
    /// The system gives no more events.
    pub async fn changed(&mut self) -> io::Result<Option<OsString>> {
        match self.events.next().await {
            Some(event) => Ok(event?.name),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::durable_file::{Access, write};

    #[tokio::test]
    async fn a_file_that_is_replaced_is_heard_of_by_name() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut watch = FolderWatch::new([one.path(), two.path()]).unwrap();
        for dir in [&one, &two] {
            write(&dir.path().join("file"), b"x", Access::USUAL).unwrap();
            while watch.changed().await.unwrap().is_none_or(|name| name != "file") {}
        }
        two.close().unwrap();
        while watch.changed().await.unwrap().is_some() {}
        assert!(FolderWatch::new([one.path(), Path::new("/nowhere/at/all")]).is_err());
    }
}
