//! Media time that outlives pipelines, and the figures of the running stream. Pure.

use std::time::{Duration, Instant};

use crate::media::latency::Latency;

/// Smallest step of media time: above the 11 µs of a 90 kHz RTP clock.
const MIN_STEP: Duration = Duration::from_micros(100);

/// Stamps that say that a picture is older than this when it comes, or this far in the future, are not those of its capture: a camera's
/// clock has jumped, or runs at another speed.
const OLDEST: Duration = Duration::from_secs(5);
const NEWEST: Duration = Duration::from_secs(1);

/// Turns the time stamps of one pipeline run after another into one rising media time.
///
/// Each run's stamps start near zero. The first picture of a run anchors it to the time since the
/// process started; later pictures follow the stamps alone, so scheduling does not jitter them. Stamps are a camera's word: where
/// they stand still, go back, or leave the time of arrival behind, they are anchored afresh to that.
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

    /// Media time of a picture with `stamp` (its running time, if the source gives one) that came at `now`, and that was captured
    /// at `captured_at` if the stamp is right.
    pub fn media_time(&mut self, stamp: Option<Duration>, captured_at: Instant, now: Instant) -> Duration {
        let stamped = self.stamped(stamp, captured_at, now).filter(|time| *time > self.last);
        let time = stamped.unwrap_or_else(|| self.since_epoch(now));
        self.last = time.max(self.last + MIN_STEP);
        if let Some(stamp) = stamp
            && (stamped.is_none() || self.anchor.is_none())
        {
            self.anchor = Some((stamp, self.last));
        }
        self.last
    }

    /// The time that [`Self::media_time`] gives, or gave, a picture of this run with the same stamp; for another rendition
    /// of the pictures.
    pub fn same_time(&self, stamp: Option<Duration>, captured_at: Instant, now: Instant) -> Duration {
        self.stamped(stamp, captured_at, now).unwrap_or_else(|| self.since_epoch(now))
    }

    /// When a picture of this media time was captured, where it came at `now`.
    pub fn captured_at(&self, media_time: Duration, now: Instant) -> Instant {
        (self.epoch + media_time).min(now)
    }

    /// The time by the stamp, where that can be.
    fn stamped(&self, stamp: Option<Duration>, captured_at: Instant, now: Instant) -> Option<Duration> {
        let time = match (stamp?, self.anchor) {
            (stamp, Some((from, at))) => (at + stamp).checked_sub(from)?,
            (_, None) => self.since_epoch(captured_at),
        };
        let came = self.since_epoch(now);
        (time + OLDEST >= came && time <= came + NEWEST).then_some(time)
    }

    fn since_epoch(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
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
        let at = |ms_after| epoch + ms(ms_after);
        assert_eq!(timeline.media_time(Some(ms(5)), at(1000), at(1040)), ms(1000));
        // The second picture was handled late; its stamp says when it was taken.
        assert_eq!(timeline.media_time(Some(ms(38)), at(1050), at(1090)), ms(1033));
        // Another rendition was encoded later or earlier, and does not move the time of this one.
        assert_eq!(timeline.same_time(Some(ms(38)), at(1090), at(1130)), ms(1033));
        assert_eq!(timeline.same_time(Some(ms(72)), at(1060), at(1100)), ms(1067));
        assert_eq!(timeline.media_time(Some(ms(72)), at(1110), at(1150)), ms(1067));
        assert_eq!(timeline.captured_at(ms(1067), at(1150)), at(1067));
        timeline.start_run();
        assert_eq!(timeline.media_time(Some(ms(0)), at(3000), at(3040)), ms(3000));
        assert_eq!(timeline.media_time(Some(ms(33)), at(3033), at(3073)), ms(3033));
    }

    #[test]
    fn a_repeated_or_missing_stamp_still_rises() {
        let epoch = Instant::now();
        let mut timeline = Timeline::new(epoch);
        let first = timeline.media_time(Some(ms(0)), epoch + ms(10), epoch + ms(10));
        let second = timeline.media_time(Some(ms(0)), epoch + ms(10), epoch + ms(10));
        let third = timeline.media_time(None, epoch, epoch);
        assert!(first < second && second < third);
        timeline.start_run();
        assert!(timeline.media_time(Some(ms(0)), epoch, epoch) > third);
    }

    /// Media time at 30 pictures a second for ten seconds of right stamps and ten seconds of those that `lie` makes of them: how far
    /// it is off the time of arrival at most, and its longest step.
    fn under(lie: impl Fn(Duration) -> Duration) -> (Duration, Duration) {
        let epoch = Instant::now();
        let (mut timeline, mut last) = (Timeline::new(epoch), None);
        let (mut error, mut step) = (Duration::ZERO, Duration::ZERO);
        for number in 0..600_u64 {
            let right = ms(60_000 + number * 33);
            let stamp = if number < 300 { right } else { lie(right) };
            let now = epoch + right + ms(40);
            let age = (right + ms(40)).saturating_sub(stamp);
            let time = timeline.media_time(Some(stamp), now.checked_sub(age).unwrap(), now);
            error = error.max(time.abs_diff(right));
            assert!(last.is_none_or(|last| time > last), "time stands still at {number}");
            step = step.max(last.map_or(Duration::ZERO, |last| time.saturating_sub(last)));
            last = Some(time);
        }
        (error, step)
    }

    #[test]
    fn time_goes_on_under_a_clock_that_lies() {
        assert_eq!(under(|right| right), (ms(0), ms(33)));
        let last_right = ms(60_000 + 299 * 33);
        let stands = under(|_| last_right);
        let lies = [
            ("it jumps back by 3 s", under(|right| right.saturating_sub(ms(3000)))),
            ("it jumps back by 8 s", under(|right| right.saturating_sub(ms(8000)))),
            ("it jumps back by an hour", under(|right| right.saturating_sub(ms(3_600_000)))),
            ("it jumps ahead by 3 s", under(|right| right + ms(3000))),
            ("it jumps ahead by an hour", under(|right| right + ms(3_600_000))),
            ("it stands still", stands),
            (
                "it jumps to and fro",
                under(|right| right.saturating_sub(ms(u64::from(right.subsec_millis() % 2 * 4000)))),
            ),
        ];
        for (lie, (error, step)) in lies {
            assert!(error <= ms(50) && step <= ms(80), "{lie}: off by {error:?}, longest step {step:?}");
        }
        // What cannot be told from a camera that is late is bounded.
        let (error, step) = under(|right| last_right + right.saturating_sub(last_right) / 2);
        assert!(error < OLDEST + ms(50) && step < OLDEST + ms(50), "half as fast: {error:?}, {step:?}");
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
