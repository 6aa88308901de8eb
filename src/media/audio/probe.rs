//! Tries the configured microphone and speaker, for `porthole doctor`.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::capture::{CaptureEvent, CapturePipeline, CaptureReporter};
use super::config::AudioConfig;
use super::find;
use super::loudspeaker::{FailureReporter, Loudspeaker};
use super::machine::{CaptureMachine, SoundMachine};
use super::outlet::Outlet;
use super::source::SoundDevice;
use super::status::AudioLevel;
use crate::media::error::MediaError;
use crate::media::helper_thread::run_for;
use crate::stream::AudioFanout;

/// All of it ends by then, whatever a driver does.
const LIMIT: Duration = Duration::from_secs(10);
/// A card gives its first samples within this.
const START_LIMIT: Duration = Duration::from_secs(4);
/// It is listened to for so long.
const LISTEN: Duration = Duration::from_secs(1);
/// What becomes of the pipeline and is not taken note of yet.
const MAX_EVENTS: usize = 32;

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AudioProbe {
    /// The microphone's card, where it was found.
    pub card: Option<String>,
    /// Samples per second that the card gives, and of how many channels.
    pub format: Option<(u32, u32)>,
    /// The loudest of about a second.
    pub level: Option<AudioLevel>,
    /// Why there is no sound, for people.
    pub error: Option<String>,
    /// The speaker's card, where it was found.
    pub speaker: Option<String>,
    /// Why it cannot play, for people.
    pub speaker_error: Option<String>,
}

/// Listens to the microphone for a second and opens the speaker, of those that are configured; takes ten seconds at most. Not while the
/// daemon runs: it has them itself.
pub fn probe(config: &AudioConfig) -> AudioProbe {
    let mut probe = AudioProbe::default();
    if config.has_microphone() {
        let wanted = config.clone();
        let outcome = run_for("audio-probe", LIMIT, move || microphone(wanted));
        let hung = |failure: crate::media::helper_thread::HelperFailure| AudioProbe {
            error: Some(failure.reason(|| hung("the microphone"))),
            ..AudioProbe::default()
        };
        probe = outcome.unwrap_or_else(hung);
    }
    if config.has_speaker() {
        let wanted = config.clone();
        let outcome = run_for("audio-probe", LIMIT, move || speaker(&wanted));
        (probe.speaker, probe.speaker_error) =
            outcome.unwrap_or_else(|failure| (None, Some(failure.reason(|| hung("the speaker")))));
    }
    probe
}

fn hung(what: &str) -> String {
    let error = MediaError::AudioHung { card: what.to_owned(), what: "being tried" };
    error.to_string()
}

fn microphone(config: AudioConfig) -> AudioProbe {
    let machine = SoundMachine::new(config);
    let found = match machine.find(None) {
        Ok(found) => found,
        Err(error) => return AudioProbe { error: Some(error.to_string()), ..AudioProbe::default() },
    };
    let mut tried = listen(&machine, &found);
    if let Err(MediaError::AudioFormat { .. }) = tried {
        // With ALSA's conversion now.
        tried = listen(&machine, &found);
    }
    let card = Some(found.card);
    match tried {
        Ok((format, level)) => AudioProbe { card, format, level, ..AudioProbe::default() },
        Err(error) => AudioProbe { card, error: Some(error.to_string()), ..AudioProbe::default() },
    }
}

type Heard = (Option<(u32, u32)>, Option<AudioLevel>);

fn listen(machine: &SoundMachine, microphone: &SoundDevice) -> Result<Heard, MediaError> {
    let (sender, events) = sync_channel(MAX_EVENTS);
    let report: CaptureReporter = Arc::new(move |event| drop(sender.try_send(event)));
    let outlet = Arc::new(Outlet::new(AudioFanout::default(), true));
    let capture = machine.open(microphone, &outlet, &report)?;
    let silent = || MediaError::Audio {
        card: microphone.card.clone(),
        reason: format!("no sound within {} s of the start", START_LIMIT.as_secs()),
    };
    // The first event is the first sound, or the failure.
    match events.recv_timeout(START_LIMIT) {
        Ok(CaptureEvent::Failed(error)) => return Err(error),
        Ok(_) => {}
        Err(_) => return Err(silent()),
    }
    let level = loudest(&events)?;
    Ok((CapturePipeline::format(&capture), level))
}

fn loudest(events: &Receiver<CaptureEvent>) -> Result<Option<AudioLevel>, MediaError> {
    let (end, mut loudest) = (Instant::now() + LISTEN, None::<AudioLevel>);
    loop {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(CaptureEvent::Level(level)) => {
                let louder = loudest.is_none_or(|loudest| level.peak_dbfs > loudest.peak_dbfs);
                loudest = if louder { Some(level) } else { loudest };
            }
            Ok(CaptureEvent::Failed(error)) => return Err(error),
            Ok(CaptureEvent::FirstSound) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(loudest),
        }
    }
}

/// The card, and why it cannot play.
fn speaker(config: &AudioConfig) -> (Option<String>, Option<String>) {
    let found = match find::speaker(&config.speaker) {
        Ok(found) => found,
        Err(error) => return (None, Some(error.to_string())),
    };
    let report: FailureReporter = Arc::new(|_| {});
    let opened = Loudspeaker::start(&found, config, &report);
    (Some(found.card), opened.err().map(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::audio::{AudioChoice, SpeakerChoice};

    #[test]
    fn a_microphone_is_heard_and_one_that_is_missing_is_told() {
        let heard = probe(&AudioConfig { device: AudioChoice::Test, ..AudioConfig::default() });
        assert_eq!((heard.card.as_deref(), heard.format), (Some("test tone"), Some((48_000, 1))));
        // A beep falls into each second.
        let level = heard.level.expect("heard");
        assert!((-10.0..0.0).contains(&level.peak_dbfs), "{level:?}");
        assert_eq!((heard.error, heard.speaker, heard.speaker_error), (None, None, None));

        let named = AudioConfig {
            device: AudioChoice::Named("nobody's".into()),
            speaker: SpeakerChoice::Named("hw:31,0".into()),
            ..AudioConfig::default()
        };
        let missing = probe(&named);
        assert!(missing.error.unwrap().contains("nobody's is not there"));
        assert!(missing.speaker_error.unwrap().contains("hw:31,0 is not there"));
        assert_eq!((missing.card, missing.level, missing.format), (None, None, None));
    }

    #[test]
    fn nothing_is_opened_of_what_is_off() {
        assert_eq!(probe(&AudioConfig::default()), AudioProbe::default());
    }
}
