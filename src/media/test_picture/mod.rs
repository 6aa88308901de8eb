//! The picture that stands in for a camera: pure drawing.

use std::time::SystemTime;

mod font;
pub mod notice;
pub mod picture;

pub use picture::{check_size, modes};

/// A picture that is drawn anew each time.
pub trait Drawing: Send {
    /// The next one, made at `now`: I420 without padding.
    fn advance(&mut self, now: SystemTime) -> &[u8];
}
