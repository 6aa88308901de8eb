//! What outlives a planner whose thread hangs.

use crate::media::plan::encoders::KnownEncoders;
use crate::media::plan::set_aside::SetAside;

/// What a planner has found out, for another one of the same configuration.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    /// Encoders that were tried or given up.
    pub(super) encoders: KnownEncoders,
    /// Modes that are not asked for.
    pub(super) aside: SetAside,
}

#[cfg(test)]
impl Learnt {
    /// That an encoder is bad, for this reason.
    pub fn of_bad_encoder(reason: &str) -> Self {
        let bad = vec![("x264enc", reason.to_owned())];
        Self { encoders: KnownEncoders { bad, ..KnownEncoders::default() }, ..Self::default() }
    }
}
