//! The handle by which the rest of the daemon has sound.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use super::cards_watch;
use super::choice::AudioChoice;
use super::config::AudioConfig;
use super::machine::SoundMachine;
use super::microphone::{MicrophoneInputs, MicrophoneLoop};
use super::outlet::Outlet;
use super::speaker::{SpeakerInputs, SpeakerLoop};
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
    /// Kept here too: whoever watches is told of no end before the end.
    status: watch::Sender<AudioStatus>,
    /// Whether sound may be captured and played.
    is_on: watch::Sender<bool>,
    outlet: Arc<Outlet>,
    tasks: TaskGroup,
}

impl Audio {
    /// Starts it: the microphone runs while `fanout` has subscriptions, the speaker while `voices` come. An absent or busy card is no
    /// error: it is waited for. `is_on` is `set/audio` and the privacy switch together. Must be called inside a tokio runtime.
    #[allow(clippy::unnecessary_wraps, reason = "what it is made of may come to refuse a configuration")]
    pub fn start(
        config: AudioConfig,
        fanout: AudioFanout,
        voices: mpsc::Receiver<SpokenPacket>,
        is_on: bool,
        tasks: &TaskGroup,
    ) -> Result<Self, MediaError> {
        let state = if is_on { AudioState::Idle } else { AudioState::Off };
        let status = watch::Sender::new(AudioStatus { state, ..AudioStatus::default() });
        let tasks = tasks.child();
        let demand = fanout.watch_demand();
        let (outlet, is_on) = (Arc::new(Outlet::new(fanout, is_on)), watch::Sender::new(is_on));
        if config.has_speaker() {
            let speaker = SpeakerLoop::new(config.clone(), status.clone(), *is_on.borrow());
            let inputs = SpeakerInputs { voices, is_on: is_on.subscribe() };
            tasks.spawn("speaker", speaker.run(inputs, tasks.cancelled()));
        }
        if config.has_microphone() {
            let cards_changed = Arc::new(Notify::new());
            if config.device != AudioChoice::Test
                && let Err(error) = cards_watch::follow(&tasks, Arc::clone(&cards_changed))
            {
                tracing::warn!(%error, "no inotify on /dev; sound cards are looked for every few seconds");
            }
            let inputs = MicrophoneInputs { demand, is_on: is_on.subscribe(), cards_changed };
            let machine = SoundMachine::new(config);
            let microphone =
                MicrophoneLoop::new(machine, Arc::clone(&outlet), status.clone(), *is_on.borrow());
            tasks.spawn("microphone", microphone.run(inputs, tasks.cancelled()));
        }
        Ok(Self { inner: Arc::new(Inner { status, is_on, outlet, tasks }) })
    }

    /// Its condition, on every change.
    pub fn status(&self) -> watch::Receiver<AudioStatus> {
        self.inner.status.subscribe()
    }

    /// Off closes the cards at once and keeps them closed.
    pub fn set_on(&self, on: bool) {
        // Nobody hears anything more even where a driver takes its time to close.
        self.inner.outlet.set_open(on);
        self.inner.is_on.send_if_modified(|is_on| std::mem::replace(is_on, on) != on);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
