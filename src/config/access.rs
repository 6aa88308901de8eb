//! `[access]`

use serde::Deserialize;

use super::value::{Checked, Text, problem};
use crate::access::gate::Mode;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAccess {
    mode: Option<Text>,
}

pub(super) fn checked(raw: &RawAccess) -> Checked<Mode> {
    match raw.mode.as_ref().map(|mode| mode.0.as_str()) {
        None | Some("grants") => Ok(Mode::Grants),
        Some("open") => Ok(Mode::Open),
        Some(other) => Err(problem("access.mode", other, "write \"grants\" or \"open\"")),
    }
}
