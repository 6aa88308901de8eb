//! What became of one packet, as the viewer reports it.

use std::time::{Duration, Instant};

/// One packet's fate.
#[derive(Clone, Copy, Debug)]
pub struct PacketResult {
    /// When it left.
    pub departure: Instant,
    /// When it came, on the viewer's clock; `None` for a lost one.
    pub arrival: Option<Duration>,
    /// Whether it came.
    pub arrived: bool,
    /// Its size.
    pub bytes: usize,
}
