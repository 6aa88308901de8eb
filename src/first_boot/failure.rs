//! Why nothing was taken over.

use std::io;
use std::path::{Path, PathBuf};

use super::refusal::CardRefusal;

/// The machine did not let us: which file, and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {reason}", file.display())]
pub struct Failure {
    what: &'static str,
    file: PathBuf,
    reason: io::Error,
}

impl Failure {
    pub(super) fn of(what: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |reason| Self { what, file, reason }
    }
}

/// Why the way to a new configuration ended.
pub(super) enum Stop {
    Refused(Box<CardRefusal>),
    Failed(Failure),
}

impl From<Box<CardRefusal>> for Stop {
    fn from(refusal: Box<CardRefusal>) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
