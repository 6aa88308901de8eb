//! What whoever follows the rates of all viewers decides for one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::stream::ViewerRendition;

/// What one viewer is to get; written by the loop that adapts, read by what sends. Each is a plain value: whoever reads an old
/// one reads the new one a moment later.
#[derive(Debug, Default)]
pub struct ViewerControl {
    /// Which rendition of the picture it gets, and is to get; key frames are asked of that one.
    pub rendition: Arc<ViewerRendition>,
    /// Bit/s that it should get if its path carried them.
    pub wanted: AtomicU64,
    /// Its path carries less than the stream: it gets fewer pictures.
    pub starved: AtomicBool,
}
