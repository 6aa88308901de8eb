//! Keeps the daemon's memory small for years: how glibc's allocator is to behave, and when it gives memory back.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Two arenas instead of eight a core, and freed memory given back in small pieces. Without it each
/// of the short-lived threads of GStreamer leaves fragments in an arena of its own: with one
/// viewer after 25 sessions a daemon held 44 MiB; with it, after 16, 36 MiB.
const SETTINGS: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_TRIM_THRESHOLD_", "65536"), ("MALLOC_MMAP_THRESHOLD_", "65536")];

/// From the first viewer that leaves until memory is given back: others often leave with it, and the camera closes after them.
const SETTLE: Duration = Duration::from_secs(12);

/// Starts this very program again with the settings in its environment, because glibc reads them
/// only there and only at the start. Returns when they are set already, or when it cannot be done:
/// then the daemon runs all the same.
pub fn configure() {
    if SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    // Replaces the process: the id stays, nothing is open yet, and it returns only on failure.
    let error = Command::new(program).args(std::env::args_os().skip(1)).envs(SETTINGS).exec();
    super::console::error(format_args!(
        "porthole: the allocator keeps its defaults, memory may grow a little: {error}"
    ));
}

/// Gives the system back the pages that nothing uses any more, wherever they are: by itself glibc gives back only
/// those at the end of its heap, and the little that remains there of a hundred viewers keeps all of theirs. Took 11 ms
/// for 27 MiB of a hundred viewers on a server, during which other threads may wait for memory.
#[allow(unsafe_code, reason = "no library wraps it; `tests/architecture.rs` knows of this one call")]
pub fn give_back() {
    // SAFETY: takes and gives plain numbers, and locks what it works on (malloc_trim(3): MT-Safe).
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Decides when to give back: some time after viewers have left, and no more often. Pure.
#[derive(Debug, Default)]
pub struct MemoryTrimmer {
    viewers: usize,
    due: Option<Instant>,
}

impl MemoryTrimmer {
    /// When it will be time, if nobody comes or goes until then.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is time, `viewers` being there at `now`.
    pub fn is_due(&mut self, now: Instant, viewers: usize) -> bool {
        if std::mem::replace(&mut self.viewers, viewers) > viewers {
            self.due.get_or_insert(now + SETTLE);
        }
        self.due.take_if(|due| now >= *due).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_viewers_have_left() {
        let (mut trimmer, start) = (MemoryTrimmer::default(), Instant::now());
        let counts = [0, 5, 9, 4, 0, 0, 3, 3];
        let mut viewers = counts.into_iter().chain(std::iter::repeat(3));
        let due: Vec<u64> = (0..40)
            .filter(|second| {
                trimmer.is_due(start + Duration::from_secs(*second), viewers.next().unwrap_or(0))
            })
            .collect();
        assert_eq!(due, [15], "12 s after the first of them left, and never for those that stay");
    }

    #[test]
    fn coming_and_going_all_the_time_costs_little() {
        let (mut trimmer, start) = (MemoryTrimmer::default(), Instant::now());
        let is_due = |second: &u64| {
            trimmer.is_due(start + Duration::from_secs(*second), usize::from(second.is_multiple_of(2)))
        };
        assert!((0..120).filter(is_due).count() <= 10);
    }
}
