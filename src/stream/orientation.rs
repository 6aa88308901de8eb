//! How whoever shows a picture has to turn it, where it could not be turned before it was encoded. Pure.

/// Quarters clockwise, none to three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    /// Shown as it is.
    pub const UPRIGHT: Self = Self(0);

    /// So many quarters clockwise; four are none.
    pub fn of_quarters(quarters: u8) -> Self {
        Self(quarters % 4)
    }

    /// So many.
    pub fn quarters(self) -> u8 {
        self.0
    }

    /// As RTP carries it: `0 0 0 0 C F R1 R0` (3GPP TS 26.114 section 7.4.5). C: nobody knows where the camera points, which is 0.
    /// F, the mirror: 0, because browsers do not look at it, and who mirrors the picture himself would have it mirrored twice by one
    /// that does. R: what compensates a picture that lies as many quarters counterclockwise.
    pub fn cvo(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bits_tell_the_quarters() {
        let told: Vec<u8> = (0..6).map(|quarters| Orientation::of_quarters(quarters).cvo()).collect();
        assert_eq!(told, [0b00, 0b01, 0b10, 0b11, 0b00, 0b01]);
        assert_eq!(Orientation::default(), Orientation::UPRIGHT);
    }
}
