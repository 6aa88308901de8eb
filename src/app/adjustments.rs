//! What dashboards adjusted, remembered over a restart: bit rate, resolution, camera controls.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::kept::KeptFile;
use crate::dashboard::command::{BITRATE_KBPS, Resolution};
use crate::media::Media;

/// Least time between two writes: cards wear out.
const GAP: Duration = Duration::from_secs(1);
/// A card that takes nothing is not asked every second.
const AFTER_FAILURE: Duration = Duration::from_mins(1);
/// Controls that are remembered; a camera has a few dozen.
const MAX_CONTROLS: usize = 256;

/// As it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Values {
    /// The most that the encoder may use, in kbit/s.
    pub bitrate_kbps: Option<u32>,
    /// Picture size and rate.
    pub resolution: Option<Resolution>,
    /// Camera controls by name.
    pub controls: BTreeMap<String, i64>,
}

/// The values and the file that remembers them.
pub struct Adjustments {
    file: KeptFile,
    pub values: Values,
    saved: Values,
    written: Option<Instant>,
}

impl Adjustments {
    /// As they were left.
    pub fn load(state_dir: &Path) -> Self {
        let file = KeptFile::new(state_dir, "settings.json");
        let mut values = match file.load().map(|text| serde_json::from_str::<Values>(&text)) {
            None => Values::default(),
            Some(Ok(values)) => values,
            Some(Err(error)) => {
                tracing::warn!(file = %file.path().display(), %error, "what dashboards had set is forgotten: the file cannot be read");
                Values::default()
            }
        };
        values.bitrate_kbps = values.bitrate_kbps.filter(|kbps| BITRATE_KBPS.contains(kbps));
        while values.controls.len() > MAX_CONTROLS {
            values.controls.pop_last();
        }
        Self { file, saved: values.clone(), values, written: None }
    }

    /// Hands them to a capture side that has just started. `fps` is the configured rate.
    pub fn apply(&self, media: &Media, fps: Option<u32>) {
        if self.values.bitrate_kbps.is_some() {
            media.set_ceiling_kbps(self.values.bitrate_kbps);
        }
        if let Some(resolution) = self.values.resolution {
            media.set_mode(Some((resolution.width, resolution.height)), resolution.fps.or(fps));
        }
        media.keep_controls(self.values.controls.clone());
    }

    /// A control was set.
    pub fn set_control(&mut self, name: String, value: i64) {
        if self.values.controls.len() < MAX_CONTROLS || self.values.controls.contains_key(&name) {
            self.values.controls.insert(name, value);
        }
    }

    /// When [`Self::unsaved`] has to be saved.
    pub fn due(&self) -> Option<Instant> {
        (self.values != self.saved).then(|| self.written.map_or_else(Instant::now, |written| written + GAP))
    }

    /// What to write and where, if it is time; counts as written.
    pub fn take_unsaved(&mut self, now: Instant, in_any_case: bool) -> Option<(KeptFile, String)> {
        let due = self.due().is_some_and(|due| in_any_case || due <= now);
        if !due {
            return None;
        }
        self.written = Some(now);
        self.saved = self.values.clone();
        Some((self.file.clone(), serde_json::to_string_pretty(&self.values).ok()?))
    }

    /// What was to be written could not be: it is tried again.
    pub fn not_saved(&mut self, error: &io::Error) {
        tracing::warn!(file = %self.file.path().display(), %error, "what dashboards set will be forgotten at a restart");
        self.saved = Values::default();
        self.written = Some(Instant::now() + AFTER_FAILURE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_survive_a_restart_and_are_written_at_most_once_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let mut adjustments = Adjustments::load(dir.path());
        assert_eq!(adjustments.due(), None);
        adjustments.values.bitrate_kbps = Some(700);
        adjustments.values.resolution = "640x480@15".parse().ok();
        adjustments.set_control("hue".into(), -7);
        let start = Instant::now() + GAP;
        let (file, text) = adjustments.take_unsaved(start, false).unwrap();
        file.save(&text).unwrap();
        assert_eq!(Adjustments::load(dir.path()).values, adjustments.values);
        adjustments.set_control("hue".into(), 8);
        assert!(adjustments.take_unsaved(start + GAP / 2, false).is_none());
        assert!(adjustments.take_unsaved(start + GAP, false).is_some());
        adjustments.set_control("hue".into(), 9);
        assert!(adjustments.take_unsaved(start + GAP, true).is_some(), "at the end in any case");
    }

    #[test]
    fn nonsense_in_the_file_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", r#"{"bitrate_kbps":7}"#, r#"{"controls":{"a":"b"}}"#] {
            std::fs::write(dir.path().join("settings.json"), text).unwrap();
            assert_eq!(Adjustments::load(dir.path()).values, Values::default(), "{text}");
        }
    }
}
