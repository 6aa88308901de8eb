//! What decisions start from: what the encoders may be asked for, and what the viewers' paths carry.

use crate::base::bitrate::Bitrate;
use crate::stream::Rendition;

/// The stream's share of what a path carries; headers, repairs and key frames need the rest.
pub(super) const SHARE: f64 = 0.92;
/// A viewer is left behind below this part of the stream's rate.
pub(super) const STARVED_BELOW: f64 = 0.85;

/// What an encoder may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Least.
    pub floor: Bitrate,
    /// Most: the configuration's or the dashboard's.
    pub ceiling: Bitrate,
}

/// What the encoders may be asked for, as the capture side tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderLimits {
    /// `None`: nothing. A camera that encodes by itself goes on as it is; only the viewers can get less of it.
    pub full: Option<Bounds>,
    /// `None`: there is no smaller rendition.
    pub small: Option<Bounds>,
    /// What the full rendition came to lately.
    pub measured: Bitrate,
}

impl EncoderLimits {
    /// With the highest bit rates of both renditions, and the lowest of the full one.
    pub fn new(
        ceiling: Option<Bitrate>,
        small_ceiling: Option<Bitrate>,
        floor: Bitrate,
        measured: Bitrate,
    ) -> Self {
        let full = ceiling.map(|ceiling| Bounds { floor, ceiling });
        // The same part of the floor as of the ceiling.
        let small = full.zip(small_ceiling).map(|(full, ceiling)| {
            let part = ceiling.bps_f64() / full.ceiling.bps_f64().max(1.0);
            Bounds { floor: floor * part, ceiling }
        });
        Self { full, small, measured }
    }
}

/// One viewer, as it is.
#[derive(Clone, Copy, Debug)]
pub struct ViewerPath {
    /// Tells it from the others.
    pub id: u64,
    /// What its path carries; `None`: no limit was seen.
    pub rate: Option<Bitrate>,
    /// What it gets.
    pub rendition: Rendition,
    /// It gets fewer pictures.
    pub is_starved: bool,
}
