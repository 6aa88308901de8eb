//! What is drawn here, for whoever feeds it to an encoder.

use std::time::SystemTime;

/// A picture that is drawn anew each time.
pub trait Drawing: Send {
    /// The next one, made at `now`: I420 without padding.
    fn advance(&mut self, now: SystemTime) -> &[u8];
}
