//! How long to wait before the next try.

use std::time::Duration;

const FIRST_MS: u64 = 250;
const MAX_MS: u64 = 5000;

/// The pause after `failures` failed tries (1 or more), `jitter` in 0..1: from 0.25 s up to 5 s, minus
/// up to a quarter, so that a room full of boards does not come back in one instant.
pub(super) fn pause(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    let full = Duration::from_millis((FIRST_MS << doublings).min(MAX_MS));
    full.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_five_seconds() {
        let full: Vec<u128> = (1..=7).map(|n| pause(n, 0.0).as_millis()).collect();
        assert_eq!(full, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(pause(u32::MAX, 0.0).as_millis(), 5000);
    }

    #[test]
    fn jitter_takes_away_at_most_a_quarter() {
        assert_eq!(pause(5, 1.0).as_millis(), 3000);
        assert_eq!(pause(5, 0.5).as_millis(), 3500);
        assert_eq!(pause(5, f64::MAX).as_millis(), 3000);
    }
}
