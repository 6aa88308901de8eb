//! NTP timestamps, as abs-capture-time and sender reports have them. Pure.

use std::time::Duration;

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
    fn ntp_time_counts_from_1900_in_halves_of_2_to_32() {
        assert_eq!(ntp_q32(Duration::ZERO), 2_208_988_800 << 32);
        assert_eq!(ntp_q32(Duration::from_millis(500)), (2_208_988_800 << 32) | 0x8000_0000);
    }
}
