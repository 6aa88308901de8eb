//! The clock on the wall, and whether it can be believed: a board without one wakes up in the past.
#![cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "asks what the kernel itself holds"))]

use std::path::Path;
use std::time::{Duration, SystemTime};

/// No clock of a working device shows an earlier time: 2026-01-01.
const EARLIEST: Duration = Duration::from_hours(490_896);

/// The time, and whether it is more than a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// As the system says.
    pub now: SystemTime,
    /// Whether anything set it since the start.
    pub is_set: bool,
}

impl Clock {
    /// Reads the system's clock. It counts as set unless it shows an impossible time, or systemd-timesyncd has
    /// not reached a time server yet and the board has no clock of its own: then the time is the one at which
    /// the board was switched off.
    pub fn read() -> Self {
        let waits_for_network = Path::new("/run/systemd/timesync").is_dir()
            && !Path::new("/run/systemd/timesync/synchronized").exists()
            && !Path::new("/sys/class/rtc/rtc0").exists();
        Self::of_time(SystemTime::now(), waits_for_network)
    }

    fn of_time(now: SystemTime, waits_for_network: bool) -> Self {
        Self { now, is_set: !waits_for_network && now >= SystemTime::UNIX_EPOCH + EARLIEST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_the_past_or_without_a_source_is_not_set() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(!Clock::of_time(at(0), false).is_set);
        assert!(!Clock::of_time(at(1_700_000_000), false).is_set);
        assert!(Clock::of_time(at(1_800_000_000), false).is_set);
        assert!(!Clock::of_time(at(1_800_000_000), true).is_set);
    }
}
