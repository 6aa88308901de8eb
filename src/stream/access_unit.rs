//! One encoded picture on its way from the encoder to the viewers.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::h264::{self, PictureKind};
use super::orientation::Orientation;

/// One H.264 access unit in Annex B byte-stream format (ITU-T H.264 annex B), complete and in
/// decoding order. Cheap to clone: all viewers share the bytes.
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// The NAL units with their start codes; a key frame carries its SPS and PPS.
    pub data: Bytes,
    /// Media time since the process started, strictly increasing across pipeline restarts, so
    /// that RTP timestamps made from it never jump back.
    pub media_time: Duration,
    /// When the encoder's output reached us.
    pub encoded_at: Instant,
    /// When the picture was captured, as far as the source can tell.
    pub captured_at: Instant,
    /// Whether a decoder can start here (an IDR with SPS and PPS).
    pub key_frame: bool,
    /// Whether nothing refers to it: a viewer can do without it alone.
    pub disposable: bool,
    /// How those who show it have to turn it.
    pub orientation: Orientation,
    /// See [`Self::payloads`].
    payloads: Arc<OnceLock<Vec<Bytes>>>,
}

impl AccessUnit {
    /// A unit whose payloads have not been made yet.
    pub fn new(
        data: Bytes,
        media_time: Duration,
        captured_at: Instant,
        encoded_at: Instant,
        key_frame: bool,
    ) -> Self {
        let disposable = h264::picture_kind(&data).disposable;
        Self::of_kind(data, media_time, captured_at, encoded_at, PictureKind { key_frame, disposable })
    }

    /// The same of a picture that was looked at already.
    pub fn of_kind(
        data: Bytes,
        media_time: Duration,
        captured_at: Instant,
        encoded_at: Instant,
        kind: PictureKind,
    ) -> Self {
        let PictureKind { key_frame, disposable } = kind;
        let (orientation, payloads) = (Orientation::UPRIGHT, Arc::default());
        Self { data, media_time, encoded_at, captured_at, key_frame, disposable, orientation, payloads }
    }

    /// The same, to be turned so.
    #[must_use]
    pub fn oriented(self, orientation: Orientation) -> Self {
        Self { orientation, ..self }
    }

    /// What is sent of this unit: made of its data by the first sender that needs it, and shared by all.
    pub fn payloads(&self, make: impl FnOnce(&Bytes) -> Vec<Bytes>) -> &[Bytes] {
        self.payloads.get_or_init(|| make(&self.data))
    }
}
