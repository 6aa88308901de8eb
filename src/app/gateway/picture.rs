//! How the picture is configured to look, and what dashboards make of that.

use std::collections::BTreeMap;
use std::future::Future;

use crate::app::persist::{Persist, Saving};
use crate::app::runtime_settings::RuntimeSettings;
use crate::app::scene::{self, SceneOutcome};
use crate::base::text;
use crate::config::{Config, Scene};
use crate::dashboard::command::Resolution;
use crate::dashboard::look::LookChange;
use crate::media::{Media, PictureLook, mode};

/// The topic by which masks are set.
pub(super) const MASKS: &str = "set/mask";

/// As configured.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfiguredPicture {
    look: PictureLook,
    /// Named sets of the camera's controls.
    scenes: BTreeMap<String, Scene>,
}

impl ConfiguredPicture {
    pub fn of(config: &Config) -> Self {
        Self { look: config.media.look.clone(), scenes: config.scenes.clone() }
    }

    /// Takes note of how the picture is to look; [`Self::tell`] follows. `may_uncover`: whether whoever asks may show what is
    /// masked by the configuration.
    pub fn note(
        &self,
        change: LookChange,
        may_uncover: bool,
        settings: &mut RuntimeSettings,
        media: &Media,
        persist: &Persist,
    ) -> Result<Saving, String> {
        let is_about_masks = matches!(change, LookChange::Masks(_));
        let before = settings.values.look.clone();
        let look = settings.change_look(change, &self.look, may_uncover)?;
        if is_about_masks {
            return Ok(settings.save_masks(persist));
        }
        if let Some(reason) = media.status().borrow().refusal(&look) {
            settings.values.look = before;
            return Err(reason);
        }
        Ok(settings.save(persist))
    }

    /// Hands the capture side how the picture is to look; what it gives resolves when it does.
    pub fn tell(
        &self,
        settings: &RuntimeSettings,
        media: &Media,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        media.set_look(settings.look(&self.look))
    }

    /// The device is called otherwise; whether it is.
    pub fn set_name(&mut self, name: &str) -> bool {
        let is_other = self.look.name != name;
        name.clone_into(&mut self.look.name);
        is_other
    }

    /// Sets the controls of this scene.
    pub fn choose(
        &self,
        name: &str,
        media: &Media,
    ) -> Result<impl Future<Output = SceneOutcome> + Send + 'static + use<>, String> {
        let Some(scene) = self.scenes.get(name).cloned() else {
            let known: Vec<&str> = self.scenes.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
            return Err(format!(
                "there is no scene \"{}\" ([camera.scene.NAME]: {known})",
                text::shown(name)
            ));
        };
        let media = media.clone();
        Ok(async move {
            let set = |name, value| {
                let media = media.clone();
                async move { media.set_control(name, value).await }
            };
            scene::choose(&scene, set).await
        })
    }

    /// Takes note of what came of choosing a scene; why it is not all in force, if it is not.
    pub fn chosen(name: String, outcome: SceneOutcome, settings: &mut RuntimeSettings) -> Option<String> {
        for (control, value) in outcome.set {
            settings.set_control(control, value);
        }
        settings.values.look.scene = outcome.failed.is_none().then_some(name);
        outcome.failed
    }

    /// Whether this control, which was set by hand, is one of the scene's in force: then that ends.
    pub fn ends_scene(&self, control: &str, settings: &mut RuntimeSettings) -> bool {
        let chosen = settings.values.look.scene.as_ref();
        let scene = chosen.and_then(|name| self.scenes.get(name));
        let ends = scene.is_some_and(|scene| scene.contains_key(control));
        if ends {
            settings.values.look.scene = None;
        }
        ends
    }
}

/// Has the camera take another mode. `configured_fps`: the rate in pictures per second where none is asked for.
pub(super) fn set_resolution(
    resolution: Resolution,
    configured_fps: Option<u32>,
    settings: &mut RuntimeSettings,
    media: &Media,
    persist: &Persist,
) -> Result<Saving, String> {
    let Resolution { width, height, fps } = resolution;
    let modes = media.status().borrow().modes();
    if modes.is_empty() {
        return Err("there is no camera whose sizes are known".to_owned());
    }
    if !mode::offers(&modes, (width, height), fps) {
        return Err(format!("{resolution} is none of the modes in info"));
    }
    media.set_mode(Some((width, height)), fps.or(configured_fps));
    settings.values.resolution = Some(resolution);
    Ok(settings.save(persist))
}
