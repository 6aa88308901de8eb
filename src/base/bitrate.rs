//! One type for bit rates, so that bit/s and kbit/s cannot be mistaken for each other.

use std::fmt;
use std::ops::Mul;

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than any path carries.
    pub const MAX: Self = Self(u64::MAX);

    /// So many bit/s.
    pub const fn from_bps(bits_per_s: u64) -> Self {
        Self(bits_per_s)
    }

    /// So many kbit/s, each 1000 bit/s.
    pub const fn from_kbps(kbps: u32) -> Self {
        Self(kbps as u64 * 1000)
    }

    /// So many bit/s of a calculation: rounded, and nothing where that is negative or no number.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates, and NaN becomes 0
    pub fn from_bps_f64(bits_per_s: f64) -> Self {
        Self(bits_per_s.round() as u64)
    }

    /// In bit/s.
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// In bit/s, to calculate with.
    #[allow(clippy::cast_precision_loss)] // exact up to 9 Pbit/s
    pub fn bps_f64(self) -> f64 {
        self.0 as f64
    }

    /// In kbit/s, rounded.
    pub fn kbps(self) -> u32 {
        u32::try_from(self.0.saturating_add(500) / 1000).unwrap_or(u32::MAX)
    }
}

impl Mul<f64> for Bitrate {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self::from_bps_f64(self.bps_f64() * factor)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbit/s", self.kbps())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_converted_with_rounding_and_without_overflow() {
        assert_eq!(Bitrate::from_kbps(u32::MAX).kbps(), u32::MAX);
        assert_eq!((Bitrate::from_bps(1_499).kbps(), Bitrate::from_bps(1_500).kbps()), (1, 2));
        assert_eq!((Bitrate::MAX.kbps(), Bitrate::ZERO.kbps()), (u32::MAX, 0));
        assert_eq!(Bitrate::from_kbps(250).to_string(), "250 kbit/s");
    }

    #[test]
    fn what_comes_of_a_calculation_is_never_absurd() {
        assert_eq!(Bitrate::from_kbps(3) * 0.5, Bitrate::from_bps(1_500));
        for (wrong, is) in [(f64::NAN, 0), (-1.0, 0), (f64::NEG_INFINITY, 0), (f64::INFINITY, u64::MAX)] {
            assert_eq!(Bitrate::from_bps_f64(wrong).bps(), is, "{wrong}");
        }
    }
}
