//! What outlives a planner whose thread hangs.

use crate::media::encode::encoder::EncodeSettings;
use crate::media::plan::set_aside::SetAside;
use crate::stream::h264::Sps;

/// What a planner has found out, for another one of the same configuration.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    /// Encoders that were given up, and why.
    pub(super) bad_encoders: Vec<(&'static str, String)>,
    /// What encoders make of what they were asked for.
    pub(super) probed: Vec<(&'static str, EncodeSettings, Sps)>,
    /// Modes that are not asked for.
    pub(super) aside: SetAside,
}

#[cfg(test)]
impl Learnt {
    /// That an encoder is bad, for this reason.
    pub fn of_bad_encoder(reason: &str) -> Self {
        Self { bad_encoders: vec![("x264enc", reason.to_owned())], ..Self::default() }
    }
}
