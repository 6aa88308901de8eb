//! Files that an installer left on the boot partition: taken over if they can be used, refused in plain words if not.
//!
//! A card's boot partition is FAT, so any PC can write `porthole.toml` and `porthole.env` there. At boot,
//! before the daemon, they are checked together and installed where the daemon looks. Each step can be
//! the last before the power goes: the new files are whole before they get their names, `porthole.toml`
//! gets its name last, and the card's own are put away only after that; the next boot does the rest.
//!
//! | part | what it does |
//! |---|---|
//! | `text`, `variables`, `refusal` | pure: from bytes to text and variables, and words for what is wrong |
//! | `card` | the boot partition: what is there, putting it away, the error file |
//! | `installed` | the daemon's folder: whole files or none, the previous ones kept |
#![cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "a program that ends by itself"))]

mod card;
mod failure;
mod installed;
mod names;
mod refusal;
mod text;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::{Config, Moved};
use card::Card;
pub use failure::Failure;
use failure::Stop;
use installed::Folder;
use names::{ENV, TOML};
pub use refusal::CardRefusal;

/// What became of the files.
#[derive(Debug)]
pub enum Outcome {
    /// There are none, or those that are there were taken before and could not be put away.
    Nothing,
    /// They are in force from the daemon's next start.
    Taken {
        /// The folder that they were in.
        from: PathBuf,
        /// Names of those whose content is new; none where the same was in force before.
        new: Vec<String>,
        /// What they mean.
        config: Box<Config>,
        /// What else the installer should know, a sentence each.
        notes: Vec<String>,
    },
    /// They cannot be used. What was in force before still is.
    Refused {
        /// Why.
        refusal: CardRefusal,
        /// The error file, or why there is none.
        error_file: Result<PathBuf, String>,
    },
}

/// The variables that the service `porthole` has in its environment, for commands that mean that service: those of
/// `porthole.env` in `folder`. What cannot be read there, or is no variable, is passed over, as systemd does.
pub fn service_variables(folder: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(folder.join(ENV)).unwrap_or_default();
    text.lines().flat_map(|line| variables::parse(ENV, line).unwrap_or_default()).collect()
}

/// Takes over what is in the first of the folders `boot` that has something, into the folder `into`.
///
/// # Errors
/// [`Failure`] where the machine does not let us; the next attempt goes on from there.
pub fn take_over(boot: &[PathBuf], into: &Path) -> Result<Outcome, Failure> {
    let Some(card) = Card::find(boot)? else { return Ok(Outcome::Nothing) };
    let folder = Folder::new(into);
    match take(&card, &folder) {
        Ok(outcome) => Ok(outcome),
        Err(Stop::Failed(failure)) => Err(failure),
        Err(Stop::Refused(refusal)) => {
            folder.clear();
            let error_file = card.tell(&refusal).map_err(|failure| failure.to_string());
            Ok(Outcome::Refused { refusal: *refusal, error_file })
        }
    }
}

fn take(card: &Card, folder: &Folder) -> Result<Outcome, Stop> {
    let mut on_card: BTreeMap<&str, String> = [TOML, ENV]
        .into_iter()
        .filter_map(|name| card.text(name).map(|text| text.map(|text| (name, text))).transpose())
        .collect::<Result<_, Stop>>()?;
    on_card.retain(|name, text| !folder.had_to_leave(name, text));
    if on_card.is_empty() {
        return Ok(Outcome::Nothing);
    }
    let (config, companions) = rehearse(card, folder, &on_card)?;
    // What others refer to comes first: with the power gone in between, an old configuration with a new
    // password may fail to connect until the next boot, but a new one without its files would not start.
    let mut new = Vec::new();
    for name in companions.iter().map(String::as_str).chain([ENV, TOML]) {
        if folder.commit(name)? {
            new.push(name.to_owned());
        }
    }
    let mut notes = Vec::new();
    for (name, text) in &on_card {
        match card.put_away(name, text) {
            Ok(note) => {
                folder.forget_left(name);
                notes.extend(note);
            }
            Err(failure) => {
                folder.remember_left(name, text)?;
                notes.push(format!("{failure}. It stays, and is taken over again only when it changes."));
            }
        }
    }
    notes.extend(
        companions.iter().filter_map(|name| card.remove(name).err()).map(|failure| failure.to_string()),
    );
    notes.extend(card.all_is_well().err().map(|failure| failure.to_string()));
    Ok(Outcome::Taken { from: card.folder().to_owned(), new, config: Box::new(config), notes })
}

/// Writes the new files beside the old ones and checks them together; gives what they mean and the names of
/// the files that came with them.
fn rehearse(
    card: &Card,
    folder: &Folder,
    on_card: &BTreeMap<&str, String>,
) -> Result<(Config, Vec<String>), Stop> {
    let here = folder.path().join(TOML).display().to_string();
    let (toml_name, toml) = match on_card.get(TOML) {
        Some(text) => (TOML, text.clone()),
        None => (here.as_str(), folder.text(TOML)?),
    };
    let env = on_card.get(ENV).map_or_else(|| folder.text(ENV), |text| Ok(text.clone()))?;
    let variables: Vec<(String, String)> = if on_card.contains_key(ENV) {
        variables::parse(ENV, &env)?
    } else {
        // The service manager passes over lines that it does not understand; so must we, for those in force.
        env.lines().filter_map(|line| variables::parse(ENV, line).ok()).flatten().collect()
    };
    let mut moved = Moved::new();
    let mut companions = Vec::new();
    for name in companions_of(&toml, &variables, folder.path()) {
        if let Some(text) = card.text(&name)? {
            moved.insert(folder.path().join(&name), folder.stage(&name, &text)?);
            companions.push(name);
        }
    }
    for (name, text) in on_card {
        folder.stage(name, text)?;
    }
    let config = Config::rehearse(Path::new(toml_name), &toml, &variables, &moved).map_err(|error| {
        Box::new(CardRefusal::of_configuration(error, (toml_name, &toml), Some((ENV, &env))))
    })?;
    Ok((config, companions))
}

/// Names of the files right below `into` that a `…_file` key or a `…_FILE` variable refers to.
fn companions_of(toml: &str, variables: &[(String, String)], into: &Path) -> BTreeSet<String> {
    let table = toml.parse::<toml::Table>().unwrap_or_default();
    let mut named: Vec<&str> = Vec::new();
    let mut todo: Vec<(&str, &toml::Value)> =
        table.iter().map(|(key, value)| (key.as_str(), value)).collect();
    while let Some((key, value)) = todo.pop() {
        match value {
            toml::Value::String(text) if key.ends_with("_file") => named.push(text),
            toml::Value::Table(inner) => todo.extend(inner.iter().map(|(key, value)| (key.as_str(), value))),
            toml::Value::Array(list) => todo.extend(list.iter().map(|value| (key, value))),
            _ => {}
        }
    }
    let in_variables = variables.iter().filter(|(name, _)| name.ends_with("_FILE"));
    named.extend(in_variables.map(|(_, value)| value.as_str()));
    let here = named.into_iter().map(Path::new).filter(|path| path.parent() == Some(into));
    let files = here.filter_map(|path| path.file_name()?.to_str());
    // The daemon's own files come under their own rules.
    files.filter(|name| !name.to_ascii_lowercase().starts_with("porthole")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_are_named_by_file_keys_in_that_folder_alone() {
        let toml = r#"
            [device]
            name = "/etc/porthole/name"
            [mqtt]
            password_file = "/etc/porthole/mqtt-password"
            ca_file = "/etc/ssl/ca.pem"
            client_key_file = "client.key"
            client_cert_file = "/etc/porthole/porthole.toml"
            [ice]
            servers = [{ urls = ["turn:x"], username = "u", credential_file = "/etc/porthole/turn-password" }]
        "#;
        let variables = [
            ("PORTHOLE_MQTT_CA_FILE".to_owned(), "/etc/porthole/ca.pem".to_owned()),
            ("A".into(), "/etc/porthole/x".into()),
        ];
        let names = companions_of(toml, &variables, Path::new("/etc/porthole"));
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["ca.pem", "mqtt-password", "turn-password"]);
        assert!(companions_of("not = toml = at all", &[], Path::new("/etc/porthole")).is_empty());
    }
}
