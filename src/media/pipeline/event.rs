//! What a pipeline says of itself.

use std::sync::Arc;

use crate::media::encode::encoder_watch::EncoderTrouble;
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
    /// The encoder gives nothing for longer than it used to take: it may have to be replaced.
    EncoderIsLate,
    /// It gives nothing for so long that it hangs.
    EncoderHangs(MediaError),
    /// The pipeline cannot go on.
    Failed {
        /// Why.
        error: MediaError,
        /// Whether the encoder, not the camera, is the cause.
        by_encoder: bool,
    },
}

impl From<EncoderTrouble> for PipelineEvent {
    fn from(trouble: EncoderTrouble) -> Self {
        match trouble {
            EncoderTrouble::Late => Self::EncoderIsLate,
            EncoderTrouble::Hangs(error) => Self::EncoderHangs(error),
        }
    }
}
