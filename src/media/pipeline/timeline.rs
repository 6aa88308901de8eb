//! Media time that outlives pipelines, and the figures of the running stream. Pure.

use std::time::{Duration, Instant};

use crate::media::latency::Latency;

/// Smallest step of media time: above the 11 µs of a 90 kHz RTP clock.
const MIN_STEP: Duration = Duration::from_micros(100);

/// Turns the time stamps of one pipeline run after another into one rising media time.
///
/// Each run's stamps start near zero. The first picture of a run anchors it to the time since the
/// process started; later pictures follow the stamps alone, so scheduling does not jitter them.
#[derive(Debug)]
pub struct Timeline {
    epoch: Instant,
    anchor: Option<(Duration, Duration)>,
    last: Duration,
}

impl Timeline {
    /// Media time zero is `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self { epoch, anchor: None, last: Duration::ZERO }
    }

    /// A new pipeline run begins: its stamps are anchored afresh.
    pub fn start_run(&mut self) {
        self.anchor = None;
    }

    /// Media time of a picture with `stamp` (its running time, if the source gives one) that was
    /// captured at `captured_at`.
    pub fn media_time(&mut self, stamp: Option<Duration>, captured_at: Instant) -> Duration {
        let since_epoch = captured_at.saturating_duration_since(self.epoch);
        let time = match (stamp, self.anchor) {
            (Some(stamp), Some((from, at))) => (at + stamp).checked_sub(from).unwrap_or(since_epoch),
            (Some(stamp), None) => {
                self.anchor = Some((stamp, since_epoch));
                since_epoch
            }
            (None, _) => since_epoch,
        };
        self.last = time.max(self.last + MIN_STEP);
        self.last
    }

    /// The time that [`Self::media_time`] gives, or gave, a picture of this run with the same stamp; for another rendition
    /// of the pictures.
    pub fn same_time(&self, stamp: Option<Duration>, captured_at: Instant) -> Duration {
        let anchored = stamp.zip(self.anchor).and_then(|(stamp, (from, at))| (at + stamp).checked_sub(from));
        anchored.unwrap_or_else(|| captured_at.saturating_duration_since(self.epoch))
    }
}

/// Latencies kept for the percentiles: about ten seconds of pictures at 30 fps.
const LATENCY_SAMPLES: usize = 300;

/// Counts pictures and gives figures over windows of at least a second.
#[derive(Debug)]
pub struct Meter {
    window_start: Option<Instant>,
    frames: u32,
    bytes: u64,
    key_frames: u64,
    latencies_us: Vec<u32>,
    next_latency: usize,
}

/// Figures of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamFigures {
    /// Pictures per second.
    pub fps: f64,
    /// Bit/s.
    pub bitrate: u64,
    /// Capture to encoder output over the last pictures.
    pub latency: Option<Latency>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            window_start: None,
            frames: 0,
            bytes: 0,
            key_frames: 0,
            latencies_us: Vec::with_capacity(LATENCY_SAMPLES),
            next_latency: 0,
        }
    }
}

impl Meter {
    /// A new run begins; key frames go on counting.
    pub fn start_run(&mut self) {
        *self = Self { key_frames: self.key_frames, ..Self::default() };
    }

    /// One picture of `bytes` came out of the encoder `latency` after its capture.
    pub fn frame(&mut self, now: Instant, bytes: usize, key_frame: bool, latency: Duration) {
        self.key_frames += u64::from(key_frame);
        let sample = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        if self.latencies_us.len() < LATENCY_SAMPLES {
            self.latencies_us.push(sample);
        } else {
            self.latencies_us[self.next_latency] = sample;
            self.next_latency = (self.next_latency + 1) % LATENCY_SAMPLES;
        }
        if self.window_start.is_none() {
            // The first picture opens the window: n pictures later, n intervals have passed.
            self.window_start = Some(now);
            return;
        }
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    /// Key frames since the process started.
    pub fn key_frames(&self) -> u64 {
        self.key_frames
    }

    /// Figures since the last call that gave some; `None` before a second has passed.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a bit rate, not negative
    pub fn figures(&mut self, now: Instant) -> Option<StreamFigures> {
        let seconds = now.saturating_duration_since(self.window_start?).as_secs_f64();
        if seconds < 1.0 {
            return None;
        }
        let fps = f64::from(self.frames) / seconds;
        let bitrate = (self.bytes as f64 * 8.0 / seconds) as u64;
        self.window_start = Some(now);
        (self.frames, self.bytes) = (0, 0);
        Some(StreamFigures { fps, bitrate, latency: Latency::of(self.latencies_us.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn media_time_follows_the_stamps_and_never_jumps_back() {
        let epoch = Instant::now();
        let mut timeline = Timeline::new(epoch);
        assert_eq!(timeline.media_time(Some(ms(5)), epoch + ms(1000)), ms(1000));
        // The second picture was handled late; its stamp says when it was taken.
        assert_eq!(timeline.media_time(Some(ms(38)), epoch + ms(1050)), ms(1033));
        // Another rendition was encoded later or earlier, and does not move the time of this one.
        assert_eq!(timeline.same_time(Some(ms(38)), epoch + ms(1090)), ms(1033));
        assert_eq!(timeline.same_time(Some(ms(72)), epoch + ms(1060)), ms(1067));
        assert_eq!(timeline.media_time(Some(ms(72)), epoch + ms(1110)), ms(1067));
        timeline.start_run();
        assert_eq!(timeline.media_time(Some(ms(0)), epoch + ms(3000)), ms(3000));
        assert_eq!(timeline.media_time(Some(ms(33)), epoch + ms(3033)), ms(3033));
    }

    #[test]
    fn a_repeated_or_missing_stamp_still_rises() {
        let epoch = Instant::now();
        let mut timeline = Timeline::new(epoch);
        let first = timeline.media_time(Some(ms(0)), epoch + ms(10));
        let second = timeline.media_time(Some(ms(0)), epoch + ms(10));
        let third = timeline.media_time(None, epoch);
        assert!(first < second && second < third);
        timeline.start_run();
        assert!(timeline.media_time(Some(ms(0)), epoch) > third);
    }

    #[test]
    fn figures_come_once_a_second() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.figures(start), None);
        for frame in 0..=30_u64 {
            let now = start + Duration::from_micros(frame * 33_333);
            meter.frame(now, 1000, frame == 0, ms(frame));
        }
        assert_eq!(meter.figures(start + ms(999)), None);
        let figures = meter.figures(start + ms(1000)).unwrap();
        assert!((figures.fps - 30.0).abs() < 0.01);
        assert_eq!(figures.bitrate, 240_000);
        assert_eq!(figures.latency, Some(Latency { p50_ms: 15.0, p95_ms: 29.0 }));
        assert_eq!(meter.figures(start + ms(1500)), None);
        assert_eq!(meter.key_frames(), 1);
        meter.start_run();
        assert_eq!(meter.figures(start + ms(9000)), None);
        assert_eq!(meter.key_frames(), 1);
    }
}
