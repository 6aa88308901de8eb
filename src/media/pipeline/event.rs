//! What a pipeline says of itself.

use std::sync::Arc;

use crate::media::error::MediaError;
use crate::media::still::snapshot::CapturedPicture;

/// Where a pipeline's events go.
pub type EventReporter = Arc<dyn Fn(PipelineEvent) + Send + Sync>;

/// What a pipeline says of itself, from its own threads.
#[derive(Debug)]
pub enum PipelineEvent {
    /// The first picture of this run came out.
    FirstPicture {
        /// Whether decoders can start at it.
        key_frame: bool,
    },
    /// A key frame is about to be published.
    KeyFrame,
    /// The picture that [`super::running::Pipeline::copy_picture`] asked for.
    PictureCopied(CapturedPicture),
    /// The pipeline cannot go on.
    Failed {
        /// Why.
        error: MediaError,
        /// Whether the encoder, not the camera, is the cause.
        by_encoder: bool,
    },
}
