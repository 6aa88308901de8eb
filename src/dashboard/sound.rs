//! Sound as dashboards and viewers are told of it: `state.audio`. Pure.

use serde_json::{Value, json};

use crate::base::stats::round1;
use crate::media::AudioStatus;

/// How the sound of a device is that has some.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundState {
    /// `set/audio`.
    pub is_on: bool,
    /// The cards.
    pub status: AudioStatus,
}

/// `state.audio`.
pub fn document(sound: &SoundState) -> Value {
    let status = &sound.status;
    json!({
        "on": if sound.is_on { "ON" } else { "OFF" },
        "state": status.state,
        "card": status.card,
        "error": status.error,
        "level": status.level.map(|level| round1(level.rms_dbfs)),
        "peak": status.level.map(|level| round1(level.peak_dbfs)),
        "speaker": status.speaker,
        "speaker_error": status.speaker_error,
    })
}

/// Whether `after` is news for those who read `state`: the level and the counts, which always change, are not.
pub fn differs(before: &AudioStatus, after: &AudioStatus) -> bool {
    let told = |of: &AudioStatus| {
        (of.state, of.card.clone(), of.error.clone(), of.speaker.clone(), of.speaker_error.clone())
    };
    told(before) != told(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::AudioState;
    use crate::media::audio::AudioLevel;

    #[test]
    fn what_is_told_has_its_switch_its_card_and_its_level() {
        let level = Some(AudioLevel { rms_dbfs: -31.26, peak_dbfs: -12.0 });
        let status = AudioStatus {
            state: AudioState::Live,
            card: Some("USB Audio".into()),
            level,
            ..AudioStatus::default()
        };
        let told = document(&SoundState { is_on: true, status: status.clone() });
        let expected = json!({
            "on": "ON", "state": "live", "card": "USB Audio", "error": null, "level": -31.3, "peak": -12.0,
            "speaker": null, "speaker_error": null
        });
        assert_eq!(told, expected);
        let louder = AudioStatus { level: None, starts: 2, gaps: 1, ..status.clone() };
        assert!(!differs(&status, &louder));
        assert!(differs(&status, &AudioStatus { state: AudioState::Lost, ..louder.clone() }));
        assert!(differs(&status, &AudioStatus { speaker_error: Some("busy".into()), ..louder }));
    }
}
