//! The documented configuration, parsed into checked types before anything opens.
//!
//! Each section of the file has a file here, with its keys as they are written, the type they become, and what they may be.
//!
//! Sources, later ones win: built-in defaults, the TOML file, `PORTHOLE_SECTION_KEY` in the
//! environment. Secrets come from files only. A [`Config`] that exists is valid: every address
//! parses, every named file could be read.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "read before anything runs, or in a blocking thread")
)]

mod access;
mod audio;
mod broker;
mod camera;
mod dashboard;
mod device;
mod device_id;
mod file;
mod flavour;
mod homeassistant;
mod http;
mod ice;
mod mqtt;
mod provider;
mod scene;
mod secret;
mod value;
mod video;
mod viewers;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use figment::Figment;
use serde::Deserialize;

use crate::access::offer_authorizer::AccessMode;
use crate::media::{AudioConfig, MediaConfig};
pub use broker::Broker;
pub use dashboard::{Commands, Dashboard, Snapshots};
pub use device::Device;
pub use device_id::default_id;
pub use file::Moved;
pub use flavour::Flavour;
pub use homeassistant::HomeAssistant;
pub use http::Http;
pub use ice::Ice;
pub use mqtt::{BrokerChoice, Mqtt};
pub use provider::is_variable;
pub use scene::Scene;
pub use secret::Secret;
use value::Checked;
pub use video::Video;
pub use viewers::Viewers;

/// Where `porthole run` looks when no `--config` is given.
pub const DEFAULT_FILE: &str = "/etc/porthole/porthole.toml";

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[device]`
    pub device: Device,
    /// `[mqtt]`
    pub mqtt: Mqtt,
    /// `[camera]`, and of `[video]` what the capture side reads.
    pub media: MediaConfig,
    /// `[camera.scene.NAME]`, by name.
    pub scenes: BTreeMap<String, Scene>,
    /// The rest of `[video]`
    pub video: Video,
    /// `[audio]`
    pub audio: AudioConfig,
    /// `[viewers]`
    pub viewers: Viewers,
    /// `[access] mode`
    pub access: AccessMode,
    /// `[http]`
    pub http: Http,
    /// `[ice]`
    pub ice: Ice,
    /// `[dashboard]`
    pub dashboard: Dashboard,
    /// `[homeassistant]`
    pub homeassistant: HomeAssistant,
    /// `[broker]`, used when `mqtt.url = "embedded"`.
    pub broker: Broker,
    /// Every key that is set, as `section.key`, with its value as JSON; a URL may hold a password.
    written: BTreeMap<String, Secret>,
}

/// The configuration as it is written: every key of the file, none of it checked yet.
///
/// `deny_unknown_fields` everywhere: a mistyped key must be an error, not a silent default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    device: device::RawDevice,
    mqtt: mqtt::RawMqtt,
    camera: camera::RawCamera,
    video: video::RawVideo,
    audio: audio::RawAudio,
    viewers: viewers::RawViewers,
    access: access::RawAccess,
    http: http::RawHttp,
    ice: ice::RawIce,
    dashboard: dashboard::RawDashboard,
    homeassistant: homeassistant::RawHomeAssistant,
    broker: broker::RawBroker,
}

impl RawConfig {
    fn checked(self, flavour: Flavour, moved: &Moved) -> Checked<Config> {
        let device = device::checked(&self.device, flavour)?;
        let (mut media, video) = video::checked(&self.video, camera::checked(&self.camera, flavour)?)?;
        media.look.name.clone_from(&device.name);
        let viewers = viewers::checked(&self.viewers)?;
        let access = access::checked(&self.access)?;
        Ok(Config {
            device,
            media,
            scenes: scene::checked(&self.camera.scene)?,
            video,
            audio: audio::checked(&self.audio)?,
            viewers,
            access,
            mqtt: mqtt::checked(self.mqtt, flavour, moved)?,
            http: http::checked(self.http, moved)?,
            ice: ice::checked(self.ice, moved)?,
            dashboard: dashboard::checked(&self.dashboard, access)?,
            homeassistant: homeassistant::checked(&self.homeassistant)?,
            broker: broker::checked(&self.broker)?,
            written: BTreeMap::new(),
        })
    }
}

/// A configuration that cannot be used: which file, which key, which value, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {reason}", file.display())]
    Unreadable {
        /// The file that was asked for.
        file: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The file is not TOML, or a key is unknown or of the wrong type.
    #[error("{origin}: {problem}")]
    Malformed {
        /// The file or the environment.
        origin: String,
        /// `section.key`; empty where it is the whole file.
        key: String,
        /// What is wrong, with key and value.
        problem: String,
    },
    /// A value of the right type that makes no sense.
    #[error("{origin}: {key} = {value} cannot be used: {expected}")]
    Invalid {
        /// The file or the environment variable it came from.
        origin: String,
        /// `section.key`.
        key: String,
        /// As it was written.
        value: String,
        /// What would be right.
        expected: String,
    },
}

/// [`DEFAULT_FILE`], if it is there.
///
/// # Errors
/// [`ConfigError::Unreadable`] where its folder may not be looked into: whether it is there is not known then.
pub fn default_file() -> Result<Option<&'static Path>, ConfigError> {
    let file = Path::new(DEFAULT_FILE);
    let is_there = file.try_exists();
    let is_there = is_there.map_err(|reason| ConfigError::Unreadable { file: file.to_owned(), reason })?;
    Ok(is_there.then_some(file))
}

impl Config {
    /// Loads `file` (or [`DEFAULT_FILE`] if that exists) and the environment.
    ///
    /// # Errors
    /// [`ConfigError`], before anything was opened.
    pub fn load(file: Option<&Path>, flavour: Flavour) -> Result<Self, ConfigError> {
        Self::load_with(file, &[], flavour)
    }

    /// The same, with `variables` between the file and the environment: for commands that mean a service that has
    /// them in its environment.
    ///
    /// # Errors
    /// [`ConfigError`], before anything was opened.
    pub fn load_with(
        file: Option<&Path>,
        variables: &[(String, String)],
        flavour: Flavour,
    ) -> Result<Self, ConfigError> {
        let file = match file {
            None if flavour == Flavour::Run => default_file()?,
            file => file,
        };
        let text = file
            .map(|file| {
                std::fs::read_to_string(file)
                    .map_err(|reason| ConfigError::Unreadable { file: file.to_owned(), reason })
            })
            .transpose()?;
        let figment = written_in(file.zip(text.as_deref()))?
            .merge(provider::Variables(variables))
            .merge(provider::process_environment());
        Self::from_figment(&figment, file, flavour, &Moved::default())
    }

    /// Checks what may become the configuration of `porthole run`: `text`, which is called `name` in
    /// errors, with `variables` as the environment. Files that it names are read from where `moved` has
    /// them.
    ///
    /// # Errors
    /// [`ConfigError`], before anything was opened.
    pub fn rehearse(
        name: &Path,
        text: &str,
        variables: &[(String, String)],
        moved: &Moved,
    ) -> Result<Self, ConfigError> {
        let figment = written_in(Some((name, text)))?.merge(provider::Variables(variables));
        Self::from_figment(&figment, Some(name), Flavour::Run, moved)
    }

    /// What `file` means to `porthole run` where the environment says nothing.
    ///
    /// # Errors
    /// [`ConfigError`], before anything was opened.
    pub fn load_file_alone(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |reason| ConfigError::Unreadable { file: file.to_owned(), reason };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        Self::rehearse(file, &text, &[], &Moved::default())
    }

    fn from_figment(
        figment: &Figment,
        file: Option<&Path>,
        flavour: Flavour,
        moved: &Moved,
    ) -> Result<Self, ConfigError> {
        let raw: RawConfig = figment.extract().map_err(malformed)?;
        let written = figment.extract().map(written).map_err(malformed)?;
        raw.checked(flavour, moved).map(|config| Self { written, ..config }).map_err(|problem| {
            // `ice.servers[0].urls` comes from wherever `ice.servers` does.
            let written = problem.key.split('[').next().unwrap_or_default();
            let nowhere = || file.map_or_else(|| "environment".to_owned(), |file| file.display().to_string());
            ConfigError::Invalid {
                origin: figment.find_metadata(written).map_or_else(nowhere, |found| origin(found, written)),
                key: problem.key,
                value: problem.value,
                expected: problem.expected,
            }
        })
    }

    /// The keys (`section.key`) that are set to something else in `other`, or in only one of the two.
    pub fn changed_keys<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let keys = self.written.keys().chain(other.written.keys());
        keys.filter(|key| self.written.get(*key) != other.written.get(*key)).map(String::as_str).collect()
    }
}

fn written(sections: BTreeMap<String, BTreeMap<String, serde_json::Value>>) -> BTreeMap<String, Secret> {
    let keys = sections.into_iter().flat_map(|(section, keys)| {
        keys.into_iter().map(move |(key, value)| (format!("{section}.{key}"), Secret::new(value.to_string())))
    });
    keys.collect()
}

fn written_in(file: Option<(&Path, &str)>) -> Result<Figment, ConfigError> {
    let Some((name, text)) = file else { return Ok(Figment::new()) };
    // Parsed here only for its message, which shows the line; figment's does not.
    if let Err(error) = toml::from_str::<toml::Table>(text) {
        let problem = format!("this is not TOML:\n{}", error.to_string().trim_end());
        return Err(ConfigError::Malformed {
            origin: name.display().to_string(),
            key: String::new(),
            problem,
        });
    }
    Ok(Figment::from(provider::File { name, text }))
}

fn origin(metadata: &figment::Metadata, key: &str) -> String {
    match metadata.source.as_ref().and_then(figment::Source::file_path) {
        Some(path) => path.display().to_string(),
        None => format!("PORTHOLE_{}", key.to_ascii_uppercase().replacen('.', "_", 1)),
    }
}

fn malformed(error: figment::Error) -> ConfigError {
    let key = error.path.join(".");
    let origin = error.metadata.as_ref().map_or_else(|| "configuration".to_owned(), |m| origin(m, &key));
    let at = if key.is_empty() { String::new() } else { format!("{key}: ") };
    let problem = match error.kind {
        figment::error::Kind::UnknownField(field, known) => {
            let at = at.trim_end_matches(": ");
            let known = known.join(", ");
            format!("`{field}` is not a key of [{}]; known here: {known}", section_of(at, &field))
        }
        figment::error::Kind::InvalidType(found, wanted)
        | figment::error::Kind::InvalidValue(found, wanted) => {
            format!("{at}{} stands here; write {}", words::found(&found), words::wanted(&wanted))
        }
        kind => format!("{at}{kind}"),
    };
    ConfigError::Malformed { origin, key, problem }
}

/// The path of an unknown key ends with the key itself; what stands before it is the section.
fn section_of<'a>(path: &'a str, field: &str) -> &'a str {
    let section = path.strip_suffix(field).unwrap_or(path).trim_end_matches('.');
    if section.is_empty() { "the file" } else { section }
}

#[cfg(test)]
mod tests;
