//! The documented configuration, parsed into checked types before anything opens.
//!
//! Sources, later ones win: built-in defaults, the TOML file, `PORTHOLE_SECTION_KEY` in the
//! environment. Secrets come from files only. A [`Config`] that exists is valid: every address
//! parses, every named file could be read.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "read before anything runs, or in a blocking thread")
)]

mod check;
mod dashboard;
mod device_id;
mod provider;
mod raw;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
pub use provider::is_variable;

use crate::access::gate::Mode;
use crate::media::MediaConfig;
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::message::IceServer;
use crate::signaling::topic::Id;

/// Where `porthole run` looks when no `--config` is given.
pub const DEFAULT_FILE: &str = "/etc/porthole/porthole.toml";

pub use device_id::default_id;

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[device]`
    pub device: Device,
    /// `[mqtt]`
    pub mqtt: Mqtt,
    /// `[camera]` and `[video]`
    pub media: MediaConfig,
    /// `[video] playout_delay_ms`: how long viewers hold a picture before they show it.
    pub playout_delay_ms: u32,
    /// `[viewers] max`: sessions at the same time.
    pub max_viewers: usize,
    /// `[access] mode`
    pub access: Mode,
    /// `[http] listen`; `None` when switched off.
    pub http_listen: Option<SocketAddr>,
    /// `[http] tls_cert_file` and `tls_key_file`: served with TLS, by this certificate and key.
    pub http_tls: Option<(PathBuf, PathBuf)>,
    /// `[http] metrics`: whether figures for Prometheus are served.
    pub metrics: bool,
    /// `[ice]`
    pub ice: Ice,
    /// `[dashboard] commands`
    pub commands: Commands,
    /// `[dashboard] snapshots` and `snapshot_interval_s`
    pub snapshots: Snapshots,
    /// `[homeassistant]`
    pub homeassistant: HomeAssistant,
    /// `[broker]`, used when `mqtt.url = "embedded"`.
    pub broker: Broker,
    /// Every key that is set, as `section.key`, with its value as JSON; a URL may hold a password.
    written: BTreeMap<String, Secret>,
}

/// Who this device is.
#[derive(Clone, Debug)]
pub struct Device {
    /// The id in topics and links.
    pub id: Id,
    /// The name people see.
    pub name: String,
    /// Where what must survive a restart is kept.
    pub state_dir: PathBuf,
}

/// How the broker is reached.
#[derive(Clone, Debug)]
pub struct Mqtt {
    /// Which broker.
    pub broker: BrokerChoice,
    /// User name, if the broker wants one.
    pub username: Option<String>,
    /// Password, read from `password_file`.
    pub password: Option<Secret>,
    /// CA certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain (PEM).
    pub client_cert_file: Option<PathBuf>,
    /// Its private key (PEM).
    pub client_key_file: Option<PathBuf>,
    /// First level of all topics.
    pub root: String,
}

/// An external broker or the built-in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerChoice {
    /// The broker inside this process.
    Embedded,
    /// A broker somewhere else.
    External(BrokerUrl),
}

/// Network settings of the media connections.
#[derive(Clone, Debug, Default)]
pub struct Ice {
    /// STUN and TURN servers, also told to viewers in answers.
    pub servers: Vec<IceServer>,
    /// UDP ports of which one is used for all viewers; any when `None`. `udp_port` is a range of one.
    pub port_range: Option<RangeInclusive<u16>>,
    /// One TCP port for ICE-TCP of all viewers; off when `None`.
    pub tcp_port: Option<u16>,
    /// Address that a 1:1 NAT maps to this device, announced beside the local ones.
    pub public_ip: Option<IpAddr>,
}

/// How far commands from MQTT dashboards are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// All of them.
    All,
    /// All but those that show more than a viewer was granted.
    Safe,
    /// None.
    None,
}

/// Still pictures on the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// Whether the broker may see and keep them.
    pub allowed: bool,
    /// How often one is taken without being asked for.
    pub interval: Option<Duration>,
}

/// How the device is announced to Home Assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeAssistant {
    /// Whether it is.
    pub discovery: bool,
    /// The first level of Home Assistant's topics.
    pub prefix: String,
}

/// Where the built-in broker listens.
#[derive(Clone, Copy, Debug)]
pub struct Broker {
    /// MQTT over TCP.
    pub listen: SocketAddr,
    /// MQTT over WebSocket, for browsers.
    pub websocket: SocketAddr,
}

/// A secret that never shows up in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; for handing it to the one library that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
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

/// Files that are named by the place they will have, and where each of them is now.
pub type Moved = BTreeMap<PathBuf, PathBuf>;

/// Which defaults apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `porthole run`: a broker must be named.
    Run,
    /// `porthole demo`: embedded broker, a camera or the test picture.
    Demo,
}

impl Config {
    /// How addresses of the page begin.
    pub fn page_scheme(&self) -> &'static str {
        if self.http_tls.is_some() { "https" } else { "http" }
    }

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
        let default = Path::new(DEFAULT_FILE);
        let file = file.or_else(|| (flavour == Flavour::Run && default.exists()).then_some(default));
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
        let raw: raw::RawConfig = figment.extract().map_err(malformed)?;
        let written = figment.extract().map(written).map_err(malformed)?;
        check::checked(raw, flavour, moved).map(|config| Self { written, ..config }).map_err(|problem| {
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
