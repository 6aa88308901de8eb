//! How long pictures take from the encoder to the network, over the last few seconds. Pure but for its lock.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Pictures looked back on: five seconds at 30 fps.
const SAMPLES: usize = 150;

/// One picture's times after it left the encoder, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureSendTime {
    /// Until its first packet was handed to the network.
    pub first_us: u32,
    /// Until its last packet was.
    pub last_us: u32,
}

/// The last pictures' [`PictureSendTime`]s of one viewer.
#[derive(Debug, Default)]
pub struct SendTimes {
    window: Mutex<VecDeque<PictureSendTime>>,
}

impl SendTimes {
    /// Takes one picture's times; the oldest of a full window goes.
    pub fn record(&self, first: Duration, last: Duration) {
        let us = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.len() == SAMPLES {
            window.pop_front();
        }
        window.push_back(PictureSendTime { first_us: us(first), last_us: us(last) });
    }

    /// Adds what is in the window to `all`.
    pub fn collect_into(&self, all: &mut Vec<PictureSendTime>) {
        all.extend(self.window.lock().unwrap_or_else(PoisonError::into_inner).iter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_pictures_count() {
        let send_times = SendTimes::default();
        for ms in 0..1000 {
            send_times.record(Duration::from_millis(ms), Duration::from_millis(ms + 1));
        }
        let mut all = Vec::new();
        send_times.collect_into(&mut all);
        assert_eq!(all.len(), SAMPLES);
        assert_eq!(all[0], PictureSendTime { first_us: 850_000, last_us: 851_000 });
    }
}
