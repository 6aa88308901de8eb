//! `[viewers]`

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::value::{Checked, in_range};

/// How many may watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewers {
    /// Sessions at the same time.
    pub max: usize,
}

impl Viewers {
    /// What `viewers.max` may be.
    pub const MAX: RangeInclusive<u32> = 1..=1000;
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawViewers {
    max: Option<u32>,
}

pub(super) fn checked(raw: &RawViewers) -> Checked<Viewers> {
    let max = in_range("viewers.max", raw.max.unwrap_or(8), Viewers::MAX)?;
    Ok(Viewers { max: max as usize })
}
