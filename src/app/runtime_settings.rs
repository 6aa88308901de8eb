//! What dashboards set, remembered over a restart: bit rate, resolution, camera controls. When it is written,
//! [`Persist`] decides.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::look_settings::{self, LookValues, MaskSettings};
use super::persist::{Manner, Persist, Saving};
use crate::base::durable_file::DurableFile;
use crate::dashboard::command::{BITRATE_KBPS, Resolution};
use crate::dashboard::look::LookChange;
use crate::media::{Media, MediaConfig, PictureLook};

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
    /// How the picture looks.
    pub look: LookValues,
}

/// The values and the file that remembers them.
pub struct RuntimeSettings {
    file: DurableFile,
    pub values: Values,
    masks: MaskSettings,
}

impl RuntimeSettings {
    /// As they were left. Blocks.
    #[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "for what runs in a blocking thread"))]
    pub fn load(state_dir: &Path) -> Self {
        let file = DurableFile::new(state_dir, "settings.json");
        let read = |text: Option<String>| text.map_or(Ok(Values::default()), |text| parse(&text));
        let values = file.load().map_err(|error| error.to_string()).and_then(read);
        let values = values.unwrap_or_else(|error| {
            tracing::warn!(file = %file.path().display(), error, "what dashboards had set is forgotten: the file cannot be read");
            Values::default()
        });
        Self { file, values, masks: MaskSettings::load(state_dir) }
    }

    /// The configuration with them: what the capture side says from its first word on.
    pub fn over(&self, mut config: MediaConfig) -> MediaConfig {
        if let Some(resolution) = self.values.resolution {
            (config.width, config.height) = (Some(resolution.width), Some(resolution.height));
            config.fps = resolution.fps.or(config.fps);
        }
        config.look = self.look(&config.look);
        config
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

    /// How the picture is to look.
    pub fn look(&self, configured: &PictureLook) -> PictureLook {
        look_settings::look(&self.values.look, &self.masks, configured)
    }

    /// Takes note of what somebody wants of the picture; how it is to look then. `may_uncover`: see
    /// [`look_settings::change`].
    pub fn change_look(
        &mut self,
        change: LookChange,
        configured: &PictureLook,
        may_uncover: bool,
    ) -> Result<PictureLook, String> {
        look_settings::change((&mut self.values.look, &mut self.masks), change, configured, may_uncover)?;
        Ok(self.look(configured))
    }

    /// Has the masks kept as they are now.
    pub fn save_masks(&self, persist: &Persist) -> Saving {
        self.masks.save(persist)
    }

    /// A control was set.
    pub fn set_control(&mut self, name: String, value: i64) {
        if self.values.controls.len() < MAX_CONTROLS || self.values.controls.contains_key(&name) {
            self.values.controls.insert(name, value);
        }
    }

    /// Has the values kept as they are now.
    pub fn save(&self, persist: &Persist) -> Saving {
        // Numbers and texts can always be written as JSON.
        let text = serde_json::to_string_pretty(&self.values).unwrap_or_default();
        persist.save(&self.file, text, Manner::Usual)
    }
}

fn parse(text: &str) -> Result<Values, String> {
    let mut values: Values = serde_json::from_str(text).map_err(|error| error.to_string())?;
    values.look = values.look.checked();
    values.bitrate_kbps = values.bitrate_kbps.filter(|kbps| BITRATE_KBPS.contains(kbps));
    while values.controls.len() > MAX_CONTROLS {
        values.controls.pop_last();
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tasks::TaskGroup;

    #[tokio::test(start_paused = true)]
    async fn they_survive_a_restart_from_the_first_one_on() {
        let dir = tempfile::tempdir().unwrap();
        let persist = Persist::start(&TaskGroup::new());
        let mut settings = RuntimeSettings::load(dir.path());
        settings.values.bitrate_kbps = Some(700);
        settings.values.resolution = "640x480@15".parse().ok();
        settings.set_control("hue".into(), -7);
        settings.values.look.overlay = Some("{name}".into());
        settings.values.look.rotate = 90.try_into().ok();
        settings.save(&persist).outcome().await.unwrap();
        assert_eq!(RuntimeSettings::load(dir.path()).values, settings.values);
        settings.values = Values::default();
        settings.save(&persist).outcome().await.unwrap();
        assert_eq!(RuntimeSettings::load(dir.path()).values, Values::default());
    }

    #[test]
    fn nonsense_in_the_file_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", r#"{"bitrate_kbps":7}"#, r#"{"controls":{"a":"b"}}"#] {
            std::fs::write(dir.path().join("settings.json"), text).unwrap();
            assert_eq!(RuntimeSettings::load(dir.path()).values, Values::default(), "{text}");
        }
    }
}
