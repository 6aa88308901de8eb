//! When viewers see a placeholder instead of the camera: a pure state machine over time, demand and what the camera does.
//!
//! It knows nothing of the worker, which a driver may hold up: what it is asked by is there whatever hangs.

use std::time::{Duration, Instant};

/// A camera that is known to give nothing is waited for so long: most restarts of a pipeline take less, and nobody wants a flicker.
const KNOWN_AFTER: Duration = Duration::from_millis(500);
/// The same where nothing is known to be wrong: while it starts, and where it just falls silent. With the time that a placeholder takes
/// to start it is less than two seconds.
const SILENT_AFTER: Duration = Duration::from_millis(1500);
/// From the end of one to the start of the next, at least: a camera that comes and goes does not cost a start each time.
const PAUSE: Duration = Duration::from_secs(1);
/// One that failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(5);

/// What is known at one moment.
#[derive(Clone, Copy, Debug)]
pub struct CameraFacts {
    /// Somebody watches, and the privacy switch lets them.
    pub is_wanted: bool,
    /// The capture side says what is wrong, which it may do late.
    pub is_trouble_known: bool,
    /// When the camera's last picture went to viewers. One that they cannot decode, for want of a key frame, does not count.
    pub last_picture: Instant,
    /// Whether a placeholder that was started has given way to the camera's pictures.
    pub has_given_way: bool,
}

/// What the owner of the placeholder has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceholderAction {
    /// Start it.
    Show,
    /// Stop it.
    Stop,
}

/// See the module.
#[derive(Debug)]
pub struct Placeholder {
    is_shown: bool,
    /// Since when somebody watches.
    wanted_since: Option<Instant>,
    not_before: Option<Instant>,
}

impl Placeholder {
    /// Nothing is shown, and nobody watches.
    pub fn new() -> Self {
        Self { is_shown: false, wanted_since: None, not_before: None }
    }

    /// Whether it is shown.
    #[cfg(test)]
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Takes note of what is known now and says what to do.
    pub fn poll(&mut self, now: Instant, facts: &CameraFacts) -> Option<PlaceholderAction> {
        if facts.is_wanted {
            self.wanted_since.get_or_insert(now);
        } else {
            self.wanted_since = None;
        }
        if self.is_shown && (!facts.is_wanted || facts.has_given_way) {
            self.is_shown = false;
            self.not_before = Some(now + PAUSE);
            return Some(PlaceholderAction::Stop);
        }
        if self.deadline(facts).is_some_and(|at| now >= at) {
            self.is_shown = true;
            return Some(PlaceholderAction::Show);
        }
        None
    }

    /// It did not start, or has ended by itself.
    pub fn failed(&mut self, now: Instant) {
        self.is_shown = false;
        self.not_before = Some(now + RETRY);
    }

    /// When [`Self::poll`] will say [`PlaceholderAction::Show`], if nothing else is known by then.
    pub fn deadline(&self, facts: &CameraFacts) -> Option<Instant> {
        if self.is_shown {
            return None;
        }
        let patience = if facts.is_trouble_known { KNOWN_AFTER } else { SILENT_AFTER };
        let since = self.wanted_since?.max(facts.last_picture);
        Some(self.not_before.map_or(since + patience, |at| at.max(since + patience)))
    }
}

#[cfg(test)]
#[path = "placeholder_tests.rs"]
mod tests;
