//! `[mqtt]`

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::file::{Moved, existing, read};
use super::flavour::Flavour;
use super::secret::Secret;
use super::value::{Checked, Text, parsed, problem};
use crate::signaling::broker_url::BrokerUrl;

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

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMqtt {
    url: Option<Text>,
    username: Option<Text>,
    password_file: Option<Text>,
    ca_file: Option<Text>,
    client_cert_file: Option<Text>,
    client_key_file: Option<Text>,
    root: Option<Text>,
}

pub(super) fn checked(raw: RawMqtt, flavour: Flavour, moved: &Moved) -> Checked<Mqtt> {
    let broker = match (&raw.url, flavour) {
        (Some(url), _) if url.0 == "embedded" => BrokerChoice::Embedded,
        (Some(url), _) => BrokerChoice::External(parsed("mqtt.url", url)?),
        (None, Flavour::Demo) => BrokerChoice::Embedded,
        (None, Flavour::Run) => {
            return Err(problem(
                "mqtt.url",
                "(not set)",
                "name your broker, for example \"mqtt://broker.local:1883\", or \"embedded\" for the built-in one",
            ));
        }
    };
    let password = match &raw.password_file {
        Some(file) => {
            let text = read("mqtt.password_file", Path::new(&file.0), moved)?;
            Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
        }
        None => None,
    };
    if password.is_some() && raw.username.is_none() {
        return Err(problem(
            "mqtt.username",
            "(not set)",
            "mqtt.password_file is set, so a user name is needed too",
        ));
    }
    let client_cert_file = existing("mqtt.client_cert_file", raw.client_cert_file, moved)?;
    let client_key_file = existing("mqtt.client_key_file", raw.client_key_file, moved)?;
    if client_cert_file.is_some() != client_key_file.is_some() {
        let missing =
            if client_cert_file.is_some() { "mqtt.client_key_file" } else { "mqtt.client_cert_file" };
        return Err(problem(missing, "(not set)", "client_cert_file and client_key_file belong together"));
    }
    let root = raw.root.map_or_else(|| "porthole".to_owned(), |root| root.0);
    if root.is_empty()
        || root.starts_with('/')
        || root.ends_with('/')
        || root.contains(['+', '#', '\0'])
        || root.len() > 128
    {
        return Err(problem("mqtt.root", root, "write a topic without wildcards and without / at its ends"));
    }
    Ok(Mqtt {
        broker,
        username: raw.username.map(|name| name.0),
        password,
        ca_file: existing("mqtt.ca_file", raw.ca_file, moved)?,
        client_cert_file,
        client_key_file,
        root,
    })
}
