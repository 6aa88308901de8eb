//! What setup was told, by flags or in the dialogue, checked before anything is written.

use std::path::{Path, PathBuf};

use crate::base::text;
use crate::config::Secret;
use crate::media::DeviceChoice;
use crate::signaling::broker_url::{BrokerUrl, Scheme};
use crate::signaling::topic::{Id, Topics};

/// The MQTT users of people, in the settings for Mosquitto. The device's user is its id.
pub(super) const VIEWER: &str = "viewer";
/// See [`VIEWER`].
pub(super) const DASHBOARD: &str = "dashboard";
/// Where the settings for Mosquitto let it listen for MQTT over TLS.
pub(super) const MQTTS_PORT: u16 = 8883;
/// Where they let it listen for MQTT over WebSocket.
pub(super) const WEBSOCKET_PORT: u16 = 9001;

/// Everything that is needed to write the files.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub id: Id,
    /// For people; the id when absent.
    pub name: Option<String>,
    /// First part of all topics.
    pub root: String,
    pub broker: BrokerSetup,
    pub camera: DeviceChoice,
    /// Viewers need no invitation.
    pub is_open: bool,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // there is only ever one
pub(super) enum BrokerSetup {
    /// The one inside Porthole.
    Embedded,
    /// One that is there already.
    Existing {
        /// Without user name and password.
        url: BrokerUrl,
        login: Option<Login>,
        ca_file: Option<PathBuf>,
        /// Its address for browsers.
        websocket: BrokerUrl,
        /// Whether `websocket` is only what is usual.
        websocket_is_guessed: bool,
    },
    /// A Mosquitto for which all settings are made.
    Mosquitto {
        host: Host,
        /// Whether browsers use TLS too.
        secure_websocket: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Login {
    pub username: String,
    pub password: Password,
}

#[derive(Clone, Debug)]
pub(super) enum Password {
    /// It is in this file.
    File(PathBuf),
    /// It was typed, and will be written to a file.
    Typed(Secret),
}

/// A host name or address, as URLs and certificates can have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host(String);

/// An answer that cannot be used. Holds no secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{flag} cannot be used: {reason}")]
pub(super) struct BadAnswer {
    pub flag: &'static str,
    pub reason: String,
}

pub(super) fn bad(flag: &'static str, reason: impl std::fmt::Display) -> BadAnswer {
    BadAnswer { flag, reason: reason.to_string() }
}

impl Host {
    pub fn new(text: &str) -> Result<Self, BadAnswer> {
        let answer = text.trim();
        let bare = answer.trim_start_matches('[').trim_end_matches(']');
        let bracketed = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
        let host = Self(bare.to_owned());
        match format!("mqtts://{bracketed}:{MQTTS_PORT}").parse::<BrokerUrl>() {
            Ok(url) if url.host().eq_ignore_ascii_case(bare) => Ok(host),
            _ => Err(bad(
                "--broker-host",
                format!(
                    "\"{}\" is no host: write a name such as broker.local, or an address",
                    text::shown(answer)
                ),
            )),
        }
    }

    /// As it stands in a certificate: no brackets around an IPv6 address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands in a URL.
    pub fn in_url(&self) -> String {
        if self.0.contains(':') { format!("[{}]", self.0) } else { self.0.clone() }
    }
}

/// Checks a name for people as the configuration does.
pub(super) fn name(text: &str) -> Result<String, BadAnswer> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(bad("--name", "write 1 to 100 printable characters"));
    }
    Ok(name.to_owned())
}

/// Checks the first part of topics. Stricter than the configuration: it goes into the broker's rules too, and the
/// page knows no other characters.
pub(super) fn root(text: &str) -> Result<String, BadAnswer> {
    let fits = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    if text.len() > 128 || !text.split('/').all(fits) {
        return Err(bad("--root", "write letters, digits, _, . and -, parts separated by /"));
    }
    Ok(text.to_owned())
}

/// Checks which camera.
pub(super) fn camera(text: &str) -> Result<DeviceChoice, BadAnswer> {
    let choice = text
        .trim()
        .parse()
        .map_err(|_| bad("--camera", "write auto, test, or the path of a device; see `porthole cameras`"))?;
    if matches!(&choice, DeviceChoice::Path(path) if path.to_str().is_none_or(|p| p.chars().any(char::is_control)))
    {
        return Err(bad("--camera", "the path holds characters that cannot be written down"));
    }
    Ok(choice)
}

/// The URL of a broker that is there, and the user name that was in it.
pub(super) fn existing_url(text: &str) -> Result<(BrokerUrl, Option<String>), BadAnswer> {
    let url: BrokerUrl = text.parse().map_err(|error| bad("--broker", error))?;
    if url.password().is_some() {
        return Err(bad(
            "--broker",
            "a password does not belong into the URL, where others can read it: leave it out, and name a file that \
             holds it with --password-file",
        ));
    }
    let username = url.username().map(str::to_owned);
    let bare = url.address().parse().map_err(|error| bad("--broker", error))?;
    Ok((bare, username))
}

/// Where browsers reach the broker at `url`, if nothing else was said: itself, or what is usual beside it.
pub(super) fn usual_websocket(url: &BrokerUrl) -> Option<BrokerUrl> {
    let host = Host(url.host().to_owned()).in_url();
    let text = match url.scheme() {
        Scheme::Ws | Scheme::Wss => url.address(),
        Scheme::Mqtt => format!("ws://{host}:{WEBSOCKET_PORT}"),
        Scheme::Mqtts => format!("wss://{host}:{WEBSOCKET_PORT}"),
    };
    text.parse().ok()
}

/// The address for browsers that was named.
pub(super) fn websocket(text: &str) -> Result<BrokerUrl, BadAnswer> {
    let url: BrokerUrl = text.parse().map_err(|error| bad("--websocket", error))?;
    match url.scheme() {
        Scheme::Ws | Scheme::Wss if url.username().is_none() && url.password().is_none() => Ok(url),
        Scheme::Ws | Scheme::Wss => Err(bad("--websocket", "leave user name and password out")),
        _ => Err(bad("--websocket", "browsers speak WebSocket only: write ws://… or wss://…")),
    }
}

/// A file that has to be there and hold something; its absolute path.
pub(super) fn readable(flag: &'static str, file: &Path) -> Result<PathBuf, BadAnswer> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| bad(flag, format!("{shown}: {error}")))?;
    if text.trim().is_empty() {
        return Err(bad(flag, format!("{shown} is empty")));
    }
    std::path::absolute(file).map_err(|error| bad(flag, format!("{shown}: {error}")))
}

impl Answers {
    /// What only shows when all answers are there.
    pub fn check(self) -> Result<Self, BadAnswer> {
        let is_people = [VIEWER, DASHBOARD].contains(&self.id.as_str());
        if matches!(self.broker, BrokerSetup::Mosquitto { .. }) && is_people {
            let id = &self.id;
            return Err(bad("--id", format!("\"{id}\" is a user of the broker already; choose another id")));
        }
        Ok(self)
    }

    /// The device's topics.
    pub fn topics(&self) -> Topics {
        Topics::new(&self.root, &self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_and_nothing_else() {
        for (text, in_url) in [
            ("broker.local", "broker.local"),
            ("192.0.2.7", "192.0.2.7"),
            ("::1", "[::1]"),
            ("[fe80::2]", "[fe80::2]"),
        ] {
            assert_eq!(Host::new(text).expect(text).in_url(), in_url);
        }
        for text in ["", "a b", "mqtt://x", "x:8883", "u@x", "x/y", "x\ny", "*", "[", "a;b"] {
            let refusal = Host::new(text).expect_err(text);
            assert!(refusal.to_string().starts_with("--broker-host cannot be used"), "{refusal}");
        }
    }

    #[test]
    fn no_password_in_a_url() {
        let refusal = existing_url("mqtt://u:s3cret@broker").expect_err("a password").to_string();
        assert!(refusal.contains("--password-file") && !refusal.contains("s3cret"), "{refusal}");
        let (url, user) = existing_url("mqtts://cam@broker").expect("a user");
        assert_eq!((url.to_string().as_str(), user.as_deref()), ("mqtts://broker:8883", Some("cam")));
    }

    #[test]
    fn browsers_are_sent_to_a_websocket() {
        for (broker, expected) in [
            ("mqtt://broker", "ws://broker:9001/"),
            ("mqtts://[::1]:1", "wss://[::1]:9001/"),
            ("wss://broker/mqtt", "wss://broker:443/mqtt"),
        ] {
            let (url, _) = existing_url(broker).expect(broker);
            assert_eq!(usual_websocket(&url).expect(broker).address(), expected);
        }
        assert!(websocket("mqtt://broker").is_err());
        assert!(websocket("ws://u:p@broker").is_err());
        assert!(websocket("ws://broker:80/mqtt").is_ok());
    }

    #[test]
    fn words_are_checked() {
        assert!(name(" Front door ").is_ok_and(|name| name == "Front door"));
        assert!(name("a\nb").is_err() && name(" ").is_err() && name(&"x".repeat(101)).is_err());
        assert!(root("home/porthole").is_ok());
        assert!(
            root("").is_err() && root("a//b").is_err() && root("a/#").is_err() && root("a\nuser x").is_err()
        );
        assert!(camera("auto").is_ok() && camera("webcam").is_err() && camera("/dev/a\nb").is_err());
    }
}
