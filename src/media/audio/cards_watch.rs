//! Tells when sound cards come and go, from what happens in /dev/snd.

use std::ffi::OsStr;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use inotify::{Inotify, WatchMask};
use tokio::sync::Notify;

use crate::base::tasks::TaskGroup;

/// Where the kernel puts its nodes; there only while there is a card, or the module that could have one.
const FOLDER: &str = "/dev/snd";
/// Room for a few dozen inotify events; more than fit stay in the kernel.
const BUFFER_BYTES: usize = 4096;

/// Notifies `changed` until `tasks` are cancelled.
pub fn follow(tasks: &TaskGroup, changed: Arc<Notify>) -> io::Result<()> {
    let inotify = Inotify::init()?;
    // ATTRIB: udev creates the node first and gives it its group afterwards.
    let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::ATTRIB | WatchMask::MOVED_TO;
    let mut watches = inotify.watches();
    watches.add("/dev", WatchMask::CREATE | WatchMask::DELETE)?;
    // Without one it is waited for.
    drop(watches.add(FOLDER, mask));
    let mut events = inotify.into_event_stream([0; BUFFER_BYTES])?;
    let cancelled = tasks.cancelled();
    tasks.spawn("sound-cards-watch", async move {
        let mut cancelled = pin!(cancelled);
        loop {
            let event = tokio::select! {
                () = &mut cancelled => return,
                event = events.next() => event,
            };
            let Some(Ok(event)) = event else { break };
            let name = event.name.as_deref().and_then(OsStr::to_str).unwrap_or_default();
            if name == "snd" {
                drop(watches.add(FOLDER, mask));
            } else if !name.starts_with("pcm") && !name.starts_with("control") {
                continue;
            }
            tracing::debug!(name, kind = ?event.mask, "a change of the sound cards");
            changed.notify_one();
        }
        tracing::warn!("inotify tells nothing of {FOLDER} any more; cards are looked for every few seconds");
        cancelled.await;
    });
    Ok(())
}
