//! What a decoder must be able to do for a stream, as SDP writes it.

/// H.264 `profile-level-id` (RFC 6184 section 8.1), e.g. `42e01f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileLevelId {
    /// `profile_idc` of the SPS.
    pub profile_idc: u8,
    /// The constraint flags byte that follows it (`profile-iop`).
    pub profile_iop: u8,
    /// `level_idc` of the SPS.
    pub level_idc: u8,
}

impl ProfileLevelId {
    /// The form browsers offer. Encoders mark the same profile with different constraint flags
    /// (x264 writes Constrained Baseline as `42c0..`, browsers as `42e0..`), and an answer is
    /// compared with the offer byte by byte, the level aside.
    #[must_use]
    pub fn as_offered(self) -> Self {
        let set0 = self.profile_iop & 0x80 != 0;
        let set1 = self.profile_iop & 0x40 != 0;
        let (profile_idc, profile_iop) = match self.profile_idc {
            0x42 if set1 => (0x42, 0xe0),
            0x4d if set0 => (0x42, 0xe0),
            0x64 if self.profile_iop & 0x0c == 0x0c => (0x64, 0x0c),
            other => (other, 0x00),
        };
        Self { profile_idc, profile_iop, level_idc: self.level_idc }
    }
}

impl std::fmt::Display for ProfileLevelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}{:02x}{:02x}", self.profile_idc, self.profile_iop, self.level_idc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_written_as_browsers_offer_them() {
        for (made, offered) in [
            ([0x42, 0xc0, 0x1e], "42e01e"),
            ([0x42, 0x00, 0x1f], "42001f"),
            ([0x4d, 0x40, 0x28], "4d0028"),
            ([0x4d, 0x80, 0x28], "42e028"),
            ([0x64, 0x00, 0x28], "640028"),
            ([0x64, 0x0c, 0x28], "640c28"),
        ] {
            let [profile_idc, profile_iop, level_idc] = made;
            let profile = ProfileLevelId { profile_idc, profile_iop, level_idc };
            assert_eq!(profile.as_offered().to_string(), offered);
        }
    }
}
