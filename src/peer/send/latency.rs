//! How long pictures take from the encoder to the network, over the last few seconds. Pure but for its lock.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Pictures looked back on: five seconds at 30 fps.
const SAMPLES: usize = 150;

/// One picture's times after it left the encoder, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Until its first packet was handed to the network.
    pub first_us: u32,
    /// Until its last packet was.
    pub last_us: u32,
}

/// The last pictures' [`Stage`]s of one viewer.
#[derive(Debug, Default)]
pub struct Stages {
    window: Mutex<VecDeque<Stage>>,
}

impl Stages {
    /// Takes one picture's times; the oldest of a full window goes.
    pub fn record(&self, first: Duration, last: Duration) {
        let us = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.len() == SAMPLES {
            window.pop_front();
        }
        window.push_back(Stage { first_us: us(first), last_us: us(last) });
    }

    /// Adds what is in the window to `all`.
    pub fn collect_into(&self, all: &mut Vec<Stage>) {
        all.extend(self.window.lock().unwrap_or_else(PoisonError::into_inner).iter());
    }
}

/// The abs-capture-time value of a picture captured at `since_unix`: NTP time as Q32.32 seconds
/// since 1900, modulo 2^32 seconds (RFC 5905 section 6).
pub(in crate::peer) fn ntp_q32(since_unix: Duration) -> u64 {
    /// Seconds from 1900 to 1970.
    const UNIX_EPOCH: u64 = 2_208_988_800;
    let fraction = (u64::from(since_unix.subsec_nanos()) << 32) / 1_000_000_000;
    (since_unix.as_secs().wrapping_add(UNIX_EPOCH) << 32) | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_pictures_count() {
        let stages = Stages::default();
        for ms in 0..1000 {
            stages.record(Duration::from_millis(ms), Duration::from_millis(ms + 1));
        }
        let mut all = Vec::new();
        stages.collect_into(&mut all);
        assert_eq!(all.len(), SAMPLES);
        assert_eq!(all[0], Stage { first_us: 850_000, last_us: 851_000 });
    }

    #[test]
    fn ntp_time_counts_from_1900_in_halves_of_2_to_32() {
        assert_eq!(ntp_q32(Duration::ZERO), 2_208_988_800 << 32);
        assert_eq!(ntp_q32(Duration::from_millis(500)), (2_208_988_800 << 32) | 0x8000_0000);
    }
}
