//! `[access]`

use serde::Deserialize;

use super::value::{Checked, Text, problem};
use crate::access::offer_authorizer::AccessMode;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAccess {
    mode: Option<Text>,
}

pub(super) fn checked(raw: &RawAccess) -> Checked<AccessMode> {
    match raw.mode.as_ref().map(|mode| mode.0.as_str()) {
        None | Some("grants") => Ok(AccessMode::Grants),
        Some("open") => Ok(AccessMode::Open),
        Some(other) => Err(problem("access.mode", other, "write \"grants\" or \"open\"")),
    }
}
