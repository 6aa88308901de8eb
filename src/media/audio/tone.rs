//! The test tone: what `audio.device = "test"` hears. Pure.
//!
//! A quiet tone of 440 Hz that never ends, and one of 1 kHz for 100 ms from each whole second of UNIX time on, while the test picture
//! flashes: whoever hears and sees both can measure latency and lip sync from outside.

use std::time::Duration;

use crate::media::test_picture::picture::FLASH_MS;

/// Samples per second; mono.
pub const RATE_HZ: u32 = 48_000;
/// How long the beep at each whole second lasts: as long as the test picture's flash.
const BEEP_SAMPLES: u64 = FLASH_MS * RATE / 1000;
/// Both divide the rate's second into whole periods, so that a second ends where it began.
const TONE_HZ: u64 = 440;
const BEEP_HZ: u64 = 1000;
/// 30 and 6 dB below full scale.
const TONE_AMPLITUDE: f64 = 0.0316;
const BEEP_AMPLITUDE: f64 = 0.5;

const RATE: u64 = RATE_HZ as u64;

fn sine(hertz: u64, sample: u64) -> f64 {
    let periods = (hertz * (sample % RATE)) as f64 / RATE as f64;
    (periods * std::f64::consts::TAU).sin()
}

/// Where in its second of UNIX time a moment lies, in samples.
pub fn sample_of_second(unix_time: Duration) -> u64 {
    u64::from(unix_time.subsec_nanos()) * RATE / 1_000_000_000
}

/// The sample of this number, which is heard at `of_second` samples after a whole second.
#[allow(clippy::cast_possible_truncation)] // a sample of at most 0.6
pub fn sample(number: u64, of_second: u64) -> i16 {
    let of_second = of_second % RATE;
    let beep = if of_second < BEEP_SAMPLES { BEEP_AMPLITUDE * sine(BEEP_HZ, of_second) } else { 0.0 };
    ((TONE_AMPLITUDE * sine(TONE_HZ, number) + beep) * f64::from(i16::MAX)) as i16
}

/// UNIX time as samples count it: it follows the wall clock where that is set, and not its jitter.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToneClock {
    /// UNIX time of sample 0.
    zero: Option<Duration>,
}

/// The wall clock may be off so far before it is followed: half of what a beep's beginning can be told by.
const TOLERANCE: Duration = Duration::from_millis(2);

impl ToneClock {
    /// Where in its second the sample of this number lies, which was taken when the wall clock showed `unix_time`.
    pub fn of_second(&mut self, number: u64, unix_time: Duration) -> u64 {
        let since_zero =
            Duration::from_nanos(number % RATE * 1_000_000_000 / RATE) + Duration::from_secs(number / RATE);
        let zero = unix_time.saturating_sub(since_zero);
        let kept = self.zero.filter(|kept| kept.abs_diff(zero) < TOLERANCE);
        let zero = *self.zero.insert(kept.unwrap_or(zero));
        (sample_of_second(zero) + number) % RATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beeps_at_whole_seconds_and_hums_between() {
        let loudest = |seconds: std::ops::Range<u64>| {
            seconds.map(|at| sample(at + 77, at).unsigned_abs()).max().unwrap()
        };
        for second in [0, 48_000 * 1_000_003] {
            assert!((16_000..17_500).contains(&loudest(second..second + 4800)));
            assert!((1000..1040).contains(&loudest(second + 4800..second + 48_000)));
        }
        // A second ends where it began: no click.
        assert_eq!(sample(48_000, 6000), sample(0, 6000));
        let step = (0..96_000).map(|at| (sample(at + 1, 9000) - sample(at, 9000)).unsigned_abs()).max();
        assert!(step < Some(62), "{step:?}");
    }

    #[test]
    fn the_beep_follows_the_wall_clock_but_not_its_jitter() {
        let mut clock = ToneClock::default();
        let start = Duration::from_millis(1_762_182_125_250);
        assert_eq!(clock.of_second(0, start), 12_000);
        let jitter = Duration::from_micros(700);
        assert_eq!(clock.of_second(480, start + Duration::from_millis(10) + jitter), 12_480);
        let early = Duration::from_secs(1).checked_sub(jitter).unwrap();
        assert_eq!(clock.of_second(48_000, start + early), 12_000);
        // Somebody sets it.
        assert_eq!(clock.of_second(48_480, start + Duration::from_millis(5510)), 36_480);
        assert_eq!(clock.of_second(48_960, start + Duration::from_millis(5520)), 36_960);
    }
}
