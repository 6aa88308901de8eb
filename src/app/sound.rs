//! Sound in the daemon: the cards, the two switches over them, and who has the word.
//!
//! What becomes of it ends neither the picture nor the daemon: its tasks are a group of their own, and trouble is words in `state`.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::base::tasks::{EndedEarly, TaskGroup};
use crate::dashboard::sound::SoundState;
use crate::media::{Audio, AudioConfig, AudioState, AudioStatus};
use crate::peer::{AudioParts, MayTalk};
use crate::stream::{AudioFanout, Speaker, SpokenPacket, Talk};

/// What has to be on for a card to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Switches {
    /// The privacy switch.
    streaming: bool,
    /// `set/audio`.
    audio: bool,
}

impl Switches {
    fn are_on(self) -> bool {
        self.streaming && self.audio
    }
}

/// The sound side, as the daemon has it. Cheap to clone.
#[derive(Clone)]
pub(super) struct SoundSide {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` where it could not be started.
    audio: Option<Audio>,
    status: watch::Receiver<AudioStatus>,
    ended_early: watch::Receiver<Option<EndedEarly>>,
    switches: watch::Sender<Switches>,
    fanout: AudioFanout,
    talk: Talk,
    is_stereo: bool,
    has_microphone: bool,
    has_speaker: bool,
}

impl SoundSide {
    /// Starts it, as the switches were left. `tasks` are those of sound alone. Must be called inside a tokio runtime.
    pub fn start(config: &AudioConfig, streaming: bool, is_on: bool, tasks: &TaskGroup) -> Self {
        let (fanout, switches) = (AudioFanout::default(), Switches { streaming, audio: is_on });
        let (talk, voices) = Talk::new();
        let started = started(config, &fanout, voices, switches.are_on(), tasks);
        let (audio, status) = match started {
            Ok(audio) => {
                let status = audio.status();
                (Some(audio), status)
            }
            Err(error) => {
                tracing::error!(error, "there is no sound; the picture is not concerned");
                let status =
                    AudioStatus { state: AudioState::Error, error: Some(error), ..AudioStatus::default() };
                (None, watch::channel(status).1)
            }
        };
        let shared = Shared {
            audio,
            status,
            ended_early: tasks.ended_early(),
            switches: watch::Sender::new(switches),
            fanout,
            talk,
            is_stereo: config.channels == 2,
            has_microphone: config.has_microphone(),
            has_speaker: config.has_speaker(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What connections need of it. `may_talk`: whether a session of this grant may talk now.
    pub fn parts(&self, may_talk: MayTalk) -> AudioParts {
        let Shared { fanout, talk, is_stereo, has_microphone, has_speaker, .. } = &*self.shared;
        AudioParts {
            fanout: fanout.clone(),
            talk: talk.clone(),
            has_microphone: *has_microphone,
            is_stereo: *is_stereo,
            has_speaker: *has_speaker,
            may_talk,
        }
    }

    /// The way to the speaker.
    pub fn talk(&self) -> Talk {
        self.shared.talk.clone()
    }

    /// Whether there is any sound to switch.
    pub fn is_configured(&self) -> bool {
        self.shared.has_microphone || self.shared.has_speaker
    }

    /// The privacy switch was turned.
    pub fn set_streaming(&self, on: bool) {
        self.turn(|switches| switches.streaming = on);
    }

    /// `set/audio`.
    pub fn set_on(&self, on: bool) {
        self.turn(|switches| switches.audio = on);
    }

    fn turn(&self, change: impl FnOnce(&mut Switches)) {
        self.shared.switches.send_modify(change);
        let is_on = self.shared.switches.borrow().are_on();
        if let Some(audio) = &self.shared.audio {
            audio.set_on(is_on);
        }
        let speaker = *self.shared.talk.watch_speaker().borrow();
        if let Some(speaker) = speaker.filter(|_| !is_on) {
            self.shared.talk.end(speaker);
        }
    }

    /// Gives `speaker` the word; why not, in the code that programs read and in words.
    pub fn begin_talk(&self, speaker: Speaker, now: Instant) -> Result<(), (&'static str, String)> {
        if !self.shared.has_speaker {
            let words = "this device has no speaker: [audio] speaker is not configured";
            return Err(("unsupported", words.to_owned()));
        }
        let Switches { audio, .. } = *self.shared.switches.borrow();
        if !audio {
            return Err(("unsupported", "the sound is switched off (set/audio)".to_owned()));
        }
        self.shared.talk.begin(speaker, now).map_err(|busy| ("busy", busy.to_string()))
    }

    /// How it is; `None` where none is configured.
    pub fn state(&self) -> Option<SoundState> {
        if !self.is_configured() {
            return None;
        }
        // One after the other: whoever holds one of them keeps its writer waiting.
        let mut status = self.shared.status.borrow().clone();
        let ended = self.shared.ended_early.borrow().clone();
        let is_on = self.shared.switches.borrow().audio;
        if let Some(ended) = ended {
            status.error = Some(format!("the sound has ended ({ended}); restart Porthole to have it again"));
            (status.state, status.level) = (AudioState::Error, None);
        }
        Some(SoundState { is_on, status })
    }

    /// Word of every change of the cards; the level changes often.
    pub fn changes(&self) -> watch::Receiver<AudioStatus> {
        self.shared.status.clone()
    }
}

fn started(
    config: &AudioConfig,
    fanout: &AudioFanout,
    voices: mpsc::Receiver<SpokenPacket>,
    is_on: bool,
    tasks: &TaskGroup,
) -> Result<Audio, String> {
    Audio::start(config.clone(), fanout.clone(), voices, is_on, tasks).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::now;
    use crate::media::audio::{AudioChoice, SpeakerChoice};

    fn config() -> AudioConfig {
        AudioConfig { device: AudioChoice::Test, speaker: SpeakerChoice::Auto, ..AudioConfig::default() }
    }

    #[tokio::test]
    async fn both_switches_have_to_be_on_and_either_silences() {
        let tasks = TaskGroup::new();
        let sound = SoundSide::start(&config(), true, false, &tasks);
        let code = |sound: &SoundSide, speaker| sound.begin_talk(speaker, now()).map_err(|(code, _)| code);
        assert!(sound.state().is_some_and(|state| !state.is_on));
        assert_eq!(code(&sound, 1), Err("unsupported"));
        sound.set_on(true);
        assert_eq!((code(&sound, 1), code(&sound, 2)), (Ok(()), Err("busy")));
        sound.set_streaming(false);
        assert_eq!(sound.talk().speaker(now()), None, "privacy takes the word away");
        assert!(sound.state().is_some_and(|state| state.is_on), "set/audio stays as it was");
        assert!(!sound.shared.switches.borrow().are_on());
        sound.set_streaming(true);
        assert!(sound.shared.switches.borrow().are_on());
        tasks.close(std::time::Duration::from_secs(5)).await;
    }

    #[tokio::test]
    async fn a_device_without_sound_says_nothing_of_it_and_takes_none() {
        let tasks = TaskGroup::new();
        let sound = SoundSide::start(&AudioConfig::default(), true, true, &tasks);
        assert!(sound.state().is_none() && !sound.is_configured());
        let refused = sound.begin_talk(1, now());
        assert!(matches!(refused, Err(("unsupported", words)) if words.contains("[audio] speaker")));
        tasks.close(std::time::Duration::from_secs(5)).await;
    }

    #[tokio::test]
    async fn what_ends_of_it_is_said_and_ends_nothing_else() {
        let (all, tasks) = (TaskGroup::new(), TaskGroup::new());
        let sound = SoundSide::start(&config(), true, true, &tasks);
        let mut ended = tasks.ended_early();
        tasks.spawn("card", async {});
        ended.wait_for(Option::is_some).await.unwrap();
        let state = sound.state().unwrap();
        assert_eq!(state.status.state, AudioState::Error);
        assert!(state.status.error.is_some_and(|error| error.contains("restart Porthole")));
        assert!(all.ended_early().borrow().is_none());
    }
}
