//! Why the camera gives no picture: in words for its owner, and for those who watch.

use crate::media::error::{CameraTrouble, MediaError};

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For the person who has to act on it.
    pub text: String,
    /// For those who watch.
    pub trouble: CameraTrouble,
}

impl Cause {
    /// A start that failed.
    pub fn of_start(by_encoder: bool, reason: &str) -> Self {
        let trouble = if by_encoder { CameraTrouble::Encoder } else { CameraTrouble::Silent };
        Self { text: reason.to_owned(), trouble }
    }
}

impl From<&MediaError> for Cause {
    fn from(error: &MediaError) -> Self {
        Self { text: error.to_string(), trouble: error.trouble() }
    }
}

impl From<String> for Cause {
    /// What the life cycle finds out by itself: no picture came.
    fn from(text: String) -> Self {
        Self { text, trouble: CameraTrouble::Silent }
    }
}

#[cfg(test)]
impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}
