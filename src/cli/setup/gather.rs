//! From flags, and questions about what they leave open, to [`Answers`].

use std::path::PathBuf;

use super::answers::{self, Answers, BadAnswer, BrokerSetup, Host, Login, Password, bad};
use super::args::SetupArgs;
use super::dialogue::{Dialogue, DialogueError};
use crate::base::text;
use crate::config::Secret;
use crate::media::{CameraInfo, DeviceChoice};
use crate::signaling::topic::Id;

/// What this machine says of itself.
pub(super) struct ThisMachine {
    pub id: Id,
    /// Its name or address in the network.
    pub address: String,
    /// The cameras that can be used, in the order in which `auto` takes them.
    pub cameras: Vec<CameraInfo>,
}

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatherError {
    #[error(transparent)]
    Bad(#[from] BadAnswer),
    #[error(transparent)]
    Dialogue(#[from] DialogueError),
}

/// Flags are taken as they are; what they leave open is asked, or takes its default where nobody can be asked.
pub(super) fn gather(
    args: &SetupArgs,
    mut dialogue: Option<&mut Dialogue<'_>>,
    found: &ThisMachine,
) -> Result<Answers, GatherError> {
    let id = match &args.id {
        Some(id) => Id::new(id).map_err(|error| bad("--id", error))?,
        None => found.id.clone(),
    };
    let name = match (&args.name, dialogue.as_deref_mut()) {
        (Some(name), _) => Some(answers::name(name)?),
        (None, Some(dialogue)) => {
            let name = dialogue.ask("Name of this camera, for people", id.as_str(), answers::name)?;
            (name != id.as_str()).then_some(name)
        }
        (None, None) => None,
    };
    let root = answers::root(&args.root)?;
    let broker = broker(args, dialogue.as_deref_mut(), found)?;
    let camera = match (&args.camera, dialogue) {
        (Some(camera), _) => answers::camera(camera)?,
        (None, Some(dialogue)) => ask_camera(dialogue, &found.cameras)?,
        (None, None) => DeviceChoice::Auto,
    };
    Ok(Answers { id, name, root, broker, camera, is_open: args.open }.check()?)
}

fn broker(
    args: &SetupArgs,
    mut dialogue: Option<&mut Dialogue<'_>>,
    found: &ThisMachine,
) -> Result<BrokerSetup, GatherError> {
    let choice = match (&args.broker, dialogue.as_deref_mut()) {
        (Some(choice), _) => choice.clone(),
        (None, Some(dialogue)) => ask_broker(dialogue)?,
        (None, None) => "embedded".to_owned(),
    };
    let given = [
        ("--broker-host", args.broker_host.is_some(), "mosquitto"),
        ("--plain-websocket", args.plain_websocket, "mosquitto"),
        ("--broker-files", args.broker_files.is_some(), "mosquitto"),
        ("--username", args.username.is_some(), "URL"),
        ("--password-file", args.password_file.is_some(), "URL"),
        ("--ca-file", args.ca_file.is_some(), "URL"),
        ("--websocket", args.websocket.is_some(), "URL"),
    ];
    let kind = if ["embedded", "mosquitto"].contains(&choice.as_str()) { choice.as_str() } else { "URL" };
    if let Some((flag, _, of)) = given.iter().find(|(_, is_given, of)| *is_given && *of != kind) {
        return Err(bad(flag, format!("it belongs to --broker {of}")).into());
    }
    match kind {
        "embedded" => Ok(BrokerSetup::Embedded),
        "mosquitto" => mosquitto(args, dialogue, found),
        _ => existing(args, dialogue, &choice),
    }
}

fn ask_broker(dialogue: &mut Dialogue<'_>) -> Result<String, DialogueError> {
    dialogue.say(
        "\nViewers and camera find each other over an MQTT broker:\n  \
         1  the one inside Porthole: nothing else to install\n  \
         2  one that you have already\n  \
         3  a Mosquitto of your own: its settings are made here, with TLS, users and rules",
    )?;
    let choice = dialogue.ask("Which broker", "1", |answer| match answer {
        "1" | "embedded" => Ok("embedded".to_owned()),
        "2" => Ok(String::new()),
        "3" | "mosquitto" => Ok("mosquitto".to_owned()),
        url => answers::existing_url(url).map(|_| url.to_owned()).map_err(|error| {
            // A number that is none of them should not be explained as a URL.
            if url.contains("://") { error.to_string() } else { "write 1, 2 or 3".to_owned() }
        }),
    })?;
    if choice.is_empty() {
        return dialogue.ask(
            "Its URL (mqtt://, mqtts://, ws:// or wss://)",
            "mqtt://localhost:1883",
            |url| answers::existing_url(url).map(|_| url.to_owned()),
        );
    }
    Ok(choice)
}

fn mosquitto(
    args: &SetupArgs,
    mut dialogue: Option<&mut Dialogue<'_>>,
    found: &ThisMachine,
) -> Result<BrokerSetup, GatherError> {
    let host = match (&args.broker_host, dialogue.as_deref_mut()) {
        (Some(host), _) => Host::new(host)?,
        (None, Some(dialogue)) => {
            let question = "Name or address of the machine that Mosquitto runs on, as others reach it";
            dialogue.ask(question, &found.address, Host::new)?
        }
        (None, None) => Host::new(&found.address)?,
    };
    let secure_websocket = match dialogue {
        Some(dialogue) if !args.plain_websocket => {
            dialogue.say(
                "\nBrowsers need to reach it too. Encrypted, each browser has to be told once to trust the\n\
                 certificate that is made now; not encrypted, others on the network can read the viewers' password.",
            )?;
            dialogue.ask("Encrypt it for browsers", "yes", |answer| {
                match answer.to_ascii_lowercase().as_str() {
                    "y" | "yes" => Ok(true),
                    "n" | "no" => Ok(false),
                    _ => Err("write yes or no"),
                }
            })?
        }
        _ => !args.plain_websocket,
    };
    Ok(BrokerSetup::Mosquitto { host, secure_websocket })
}

fn existing(
    args: &SetupArgs,
    mut dialogue: Option<&mut Dialogue<'_>>,
    choice: &str,
) -> Result<BrokerSetup, GatherError> {
    let (url, user_in_url) = answers::existing_url(choice)?;
    let login = login(args, dialogue.as_deref_mut(), user_in_url)?;
    let ca_file = match (&args.ca_file, dialogue.as_deref_mut()) {
        (Some(_), _) if !url.is_tls() => {
            return Err(bad("--ca-file", "only mqtts:// and wss:// have certificates").into());
        }
        (Some(file), _) => Some(answers::readable("--ca-file", file)?),
        (None, Some(dialogue)) if url.is_tls() => ask_ca(dialogue)?,
        (None, _) => None,
    };
    let usual = answers::usual_websocket(&url)
        .ok_or_else(|| bad("--websocket", "name the broker's address for browsers"))?;
    let is_itself = usual == url;
    let (websocket, websocket_is_guessed) = match (&args.websocket, dialogue) {
        (Some(url), _) => (answers::websocket(url)?, false),
        (None, Some(dialogue)) if !is_itself => {
            let question = "Its WebSocket address, for browsers";
            (dialogue.ask(question, &usual.address(), answers::websocket)?, false)
        }
        (None, _) => (usual, !is_itself),
    };
    Ok(BrokerSetup::Existing { url, login, ca_file, websocket, websocket_is_guessed })
}

fn user(name: &str) -> Result<String, &'static str> {
    if name.chars().any(char::is_control) { Err("write printable characters") } else { Ok(name.to_owned()) }
}

fn login(
    args: &SetupArgs,
    mut dialogue: Option<&mut Dialogue<'_>>,
    user_in_url: Option<String>,
) -> Result<Option<Login>, GatherError> {
    let mut username = args.username.clone().or(user_in_url);
    if username.is_none() {
        if args.password_file.is_some() {
            return Err(bad("--password-file", "a user name is needed too: --username").into());
        }
        if let Some(dialogue) = dialogue.as_deref_mut() {
            let answer = dialogue.ask("User name at the broker", "none", user)?;
            username = (answer != "none").then_some(answer);
        }
    }
    let Some(username) = username else { return Ok(None) };
    let password = match (&args.password_file, dialogue) {
        (Some(file), _) => Password::File(answers::readable("--password-file", file)?),
        (None, Some(dialogue)) => Password::Typed(Secret::new(dialogue.ask_hidden("Its password")?)),
        (None, None) => {
            let hint = "name the file that holds its password with --password-file";
            return Err(bad("--username", hint).into());
        }
    };
    if matches!(&password, Password::Typed(secret) if secret.expose().trim().is_empty()) {
        return Err(bad("the password", "it is empty").into());
    }
    Ok(Some(Login { username, password }))
}

fn ask_ca(dialogue: &mut Dialogue<'_>) -> Result<Option<PathBuf>, DialogueError> {
    let question = "File with the certificate that signed the broker's, unless the system knows it";
    dialogue.ask(question, "the system knows it", |answer| match answer {
        "the system knows it" => Ok(None),
        file => answers::readable("--ca-file", file.as_ref()).map(Some),
    })
}

/// One camera needs no question, and `auto` finds it.
fn ask_camera(dialogue: &mut Dialogue<'_>, cameras: &[CameraInfo]) -> Result<DeviceChoice, DialogueError> {
    match cameras {
        [] => {
            dialogue.say(
                "\nNo camera was found. It may come later (auto), or a test picture takes its place (test).",
            )?;
            dialogue.ask("Camera", "auto", answers::camera)
        }
        [only] => {
            dialogue.say(&format!(
                "\nThe camera is {} ({}).",
                text::shown(&only.card),
                only.path.display()
            ))?;
            Ok(DeviceChoice::Auto)
        }
        several => {
            dialogue.say("\nThese cameras were found:")?;
            for (n, camera) in several.iter().enumerate() {
                dialogue.say(&format!(
                    "  {}  {} ({})",
                    n + 1,
                    text::shown(&camera.card),
                    camera.path.display()
                ))?;
            }
            dialogue.ask("Which camera (its number, a path, or test)", "1", |answer| {
                let n = answer.parse::<usize>().ok();
                match n.and_then(|n| several.get(n.checked_sub(1)?)) {
                    Some(camera) => Ok(camera.lasting_choice()),
                    None if n.is_some() => Err(format!("write a number from 1 to {}", several.len())),
                    None => answers::camera(answer).map_err(|error| error.to_string()),
                }
            })
        }
    }
}

/// The device to try now, and the one to write down: `auto` becomes the camera that it means, by a name that lasts.
/// A node's number is none, so where there is nothing else `auto` is the better word.
pub(super) fn now_and_later(choice: &DeviceChoice, cameras: &[CameraInfo]) -> (DeviceChoice, DeviceChoice) {
    match (choice, cameras.first()) {
        (DeviceChoice::Auto, Some(camera)) => {
            let now = camera.lasting_choice();
            let by_number = now == DeviceChoice::Path(camera.path.clone());
            (now.clone(), if by_number { DeviceChoice::Auto } else { now })
        }
        (chosen, _) => (chosen.clone(), chosen.clone()),
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
