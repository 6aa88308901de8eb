//! How dashboards have set the picture to look, over what is configured, and as it is kept. Pure, but for reading the file.
//!
//! The masks have a file of their own: it is there and cannot be read means that there were masks, and then all is masked.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::persist::{Manner, Persist, Saving};
use crate::base::durable_file::DurableFile;
use crate::dashboard::look::LookChange;
use crate::media::PictureLook;
use crate::media::look::area::Area;
use crate::media::look::overlay::Overlay;
use crate::media::look::turn::Rotation;

/// What was set, but for the masks; `None`: as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookValues {
    /// Degrees, clockwise.
    pub rotate: Option<Rotation>,
    /// Whether left and right change places.
    pub mirror: Option<bool>,
    /// The part that is shown, as the camera delivers it; an empty list for all of it.
    pub crop: Option<Vec<Area>>,
    /// The text, or an empty one.
    pub overlay: Option<String>,
    /// The scene chosen last, as long as its controls are as it has them.
    pub scene: Option<String>,
}

impl LookValues {
    /// Only what can be meant.
    pub fn checked(mut self) -> Self {
        self.overlay = self.overlay.filter(|text| Overlay::new(text).is_ok());
        self
    }

    fn over(&self, configured: &PictureLook) -> PictureLook {
        let mut look = configured.clone();
        look.rotation = self.rotate.or(look.rotation);
        look.mirror = self.mirror.or(look.mirror);
        if let Some(crop) = &self.crop {
            look.crop = crop.first().copied();
        }
        if let Some(text) = &self.overlay {
            look.overlay = Overlay::new(text).unwrap_or_default();
        }
        look.scene.clone_from(&self.scene);
        look
    }
}

/// The masks that were set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// As the camera delivers them.
    masks: Vec<Area>,
    /// What was configured then. Where that has changed since, what is configured now is masked as well.
    instead_of: Vec<Area>,
}

/// The masks that were set, and the file that remembers them.
pub struct MaskSettings {
    file: DurableFile,
    kept: Option<Kept>,
}

impl MaskSettings {
    /// As they were left. Blocks.
    #[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "for what runs in a blocking thread"))]
    pub fn load(state_dir: &Path) -> Self {
        let file = DurableFile::new(state_dir, "masks.json");
        let read = file.load().map_err(|error| error.to_string());
        let parsed = read.and_then(|text| {
            text.map(|text| serde_json::from_str(&text).map_err(|error| error.to_string())).transpose()
        });
        let kept = parsed.unwrap_or_else(|error| {
            tracing::error!(file = %file.path().display(), error, "the privacy masks cannot be read, so all of the picture is masked; set/mask sets them anew");
            Some(Kept { masks: vec![Area::ALL], instead_of: Vec::new() })
        });
        Self { file, kept }
    }

    /// The masks, where these are configured.
    fn over(&self, configured: &[Area]) -> Vec<Area> {
        let Some(kept) = &self.kept else { return configured.to_vec() };
        let mut masks = kept.masks.clone();
        if kept.instead_of != configured {
            masks.extend(configured.iter().filter(|mask| !kept.masks.contains(mask)));
        }
        masks
    }

    /// Has them kept.
    pub fn save(&self, persist: &Persist) -> Saving {
        // Numbers can always be written as JSON.
        let text = serde_json::to_string(&self.kept.clone().unwrap_or_default()).unwrap_or_default();
        persist.save(&self.file, text, Manner::Usual)
    }
}

/// How the picture is to look.
pub fn look(values: &LookValues, masks: &MaskSettings, configured: &PictureLook) -> PictureLook {
    let mut look = values.over(configured);
    look.masks = masks.over(&configured.masks);
    look
}

/// Takes note of what somebody wants otherwise, who sees the picture as it is turned now. `may_uncover`: whether he may take
/// away what is masked by the configuration.
pub fn change(
    (values, masks): (&mut LookValues, &mut MaskSettings),
    change: LookChange,
    configured: &PictureLook,
    may_uncover: bool,
) -> Result<(), String> {
    let turn = values.over(configured).turn();
    match change {
        LookChange::Rotate(rotation) => values.rotate = Some(rotation),
        LookChange::Mirror(mirror) => values.mirror = Some(mirror),
        LookChange::Crop(crop) => {
            values.crop = Some(crop.into_iter().map(|crop| turn.to_camera(crop)).collect());
        }
        LookChange::Masks(seen) => {
            let wanted: Vec<Area> = seen.into_iter().map(|mask| turn.to_camera(mask)).collect();
            let is_covered = |area: &Area| wanted.iter().any(|mask| mask.covers(*area));
            if !may_uncover && !configured.masks.iter().all(is_covered) {
                return Err("not allowed: it would show what camera.mask covers, and dashboard.commands is \"safe\"; \
                            keep those masks among the new ones"
                    .to_owned());
            }
            masks.kept = Some(Kept { masks: wanted, instead_of: configured.masks.clone() });
        }
        LookChange::Overlay(overlay) => {
            values.overlay = Some(overlay.map(|overlay| overlay.text().to_owned()).unwrap_or_default());
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "look_settings_tests.rs"]
mod tests;
