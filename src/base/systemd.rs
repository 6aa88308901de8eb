//! What the daemon tells the service manager (`sd_notify(3)`); without one every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Feeds are sent this many times within the watchdog's time: one that is late must not be the end.
const FEEDS: u32 = 3;

/// The daemon serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The daemon reads its configuration again; [`ready`] ends that.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How the daemon is, one line, seen in `systemctl status`.
pub fn status(words: &str) {
    // A line break would begin another assignment.
    let line = words.replace(['\n', '\r'], " ");
    tell(&[NotifyState::Status(&line)]);
}

/// The daemon is well.
pub fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`feed_watchdog`] is wanted; `None` where there is no watchdog.
pub fn feed_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / FEEDS)
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
