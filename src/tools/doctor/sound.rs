//! Microphone and speaker: are they there, may they be opened, and is anything heard? Never a failure: video works without.

use super::report::Finding;
use crate::base::stats::round1;
use crate::base::text;
use crate::media::AudioConfig;
use crate::media::audio::{AudioProbe, probe};

const AREA: &str = "sound";
/// Quieter than any room is for a microphone that is switched on.
const SILENCE_DBFS: f64 = -75.0;

/// Tries what is configured. Blocks for seconds.
pub(super) fn check(config: &AudioConfig, may_capture: bool, daemon_has_it: bool) -> Vec<Finding> {
    if !config.has_microphone() && !config.has_speaker() {
        return Vec::new();
    }
    if !may_capture {
        return vec![Finding::skip(AREA, "not opened: the privacy switch is off")];
    }
    if daemon_has_it {
        let words = "not opened: the daemon runs, and may have it; state.audio says how it is";
        return vec![Finding::skip(AREA, words)];
    }
    findings(config, &probe(config))
}

fn findings(config: &AudioConfig, probe: &AudioProbe) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.has_microphone() {
        findings.push(microphone(probe));
    }
    if config.has_speaker() {
        findings.push(match (&probe.speaker, &probe.speaker_error) {
            (_, Some(error)) => Finding::warn(AREA, error.clone()).explained(),
            (Some(card), None) => Finding::ok(AREA, format!("speaker {}", text::shown(card))),
            (None, None) => Finding::warn(AREA, "there is no speaker to be found").next(CHOOSE),
        });
    }
    findings
}

/// What to do where no card answers.
const CHOOSE: &str = "name one of those that `arecord -l` and `aplay -l` list in [audio] (docs/sound.md)";

fn microphone(probe: &AudioProbe) -> Finding {
    if let Some(error) = &probe.error {
        return Finding::warn(AREA, error.clone()).explained();
    }
    let Some(card) = &probe.card else {
        return Finding::warn(AREA, "there is no microphone to be found").next(CHOOSE);
    };
    let card = text::shown(card);
    let format = probe.format.map_or_else(String::new, |(rate, channels)| {
        let channels = if channels == 1 { "mono".to_owned() } else { format!("{channels} channels") };
        format!(", {rate} Hz {channels}")
    });
    let Some(level) = probe.level else {
        return Finding::warn(
            AREA,
            format!("microphone {card}{format}: nothing came from it within a second"),
        )
        .next("plug it in again, or try another card");
    };
    let words = format!(
        "microphone {card}{format}: {:.0} dBFS, at most {:.0}, over a second",
        level.rms_dbfs, level.peak_dbfs
    );
    let finding = if level.peak_dbfs < SILENCE_DBFS {
        Finding::warn(AREA, words)
            .next("nothing is heard: it may be muted or turned down (alsamixer, key F4)")
    } else {
        Finding::ok(AREA, words)
    };
    finding.figure("level_dbfs", round1(level.rms_dbfs)).figure("peak_dbfs", round1(level.peak_dbfs))
}

#[cfg(test)]
mod tests {
    use super::super::report::Severity;
    use super::*;
    use crate::media::audio::{AudioChoice, AudioLevel, SpeakerChoice};

    fn heard(peak_dbfs: f64) -> AudioProbe {
        AudioProbe {
            card: Some("USB Audio".into()),
            format: Some((48_000, 1)),
            level: Some(AudioLevel { rms_dbfs: peak_dbfs - 12.0, peak_dbfs }),
            speaker: Some("HDMI".into()),
            ..AudioProbe::default()
        }
    }

    #[test]
    fn what_is_found_is_said_and_nothing_of_it_fails() {
        let both =
            AudioConfig { device: AudioChoice::Auto, speaker: SpeakerChoice::Auto, ..AudioConfig::default() };
        let well = findings(&both, &heard(-20.0));
        assert!(well.iter().all(|finding| finding.verdict == Severity::Ok), "{well:?}");
        assert_eq!(well[0].what, "microphone USB Audio, 48000 Hz mono: -32 dBFS, at most -20, over a second");
        assert_eq!(well[1].what, "speaker HDMI");
        let error = Some("the card X is not there: plug it in".to_owned());
        let lost = AudioProbe { error: error.clone(), speaker_error: error, ..AudioProbe::default() };
        for (probe, advice) in [
            (heard(-90.0), "alsamixer"),
            (AudioProbe { level: None, ..heard(0.0) }, "another card"),
            (AudioProbe::default(), "arecord -l"),
            (lost, "plug it in"),
        ] {
            let found = microphone(&probe);
            assert_eq!(found.verdict, Severity::Warn, "{found:?}");
            assert!(found.next.as_deref().is_some_and(|next| next.contains(advice)), "{found:?}");
        }
    }

    #[test]
    fn what_is_not_configured_or_may_not_be_opened_is_not_looked_at() {
        assert_eq!(check(&AudioConfig::default(), true, false), Vec::new());
        let tone = AudioConfig { device: AudioChoice::Test, ..AudioConfig::default() };
        for (may_capture, daemon_has_it) in [(false, false), (true, true)] {
            let found = check(&tone, may_capture, daemon_has_it);
            assert_eq!((found.len(), found[0].verdict), (1, Severity::Skip));
        }
    }
}
