//! What a dashboard may ask: `set/<setting>` and `do/<action>` to a checked [`Command`]. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::look::{self, LookChange};
use crate::base::text;
use crate::config::Commands;
use crate::media::MediaConfig;
use crate::media::snapshot;
use crate::signaling::topic::Id;

/// The longest command payload that is read, in bytes.
const MAX_COMMAND_BYTES: usize = 4096;
/// The longest `id` that is repeated, in bytes as JSON.
pub const MAX_ID_BYTES: usize = 200;
/// The longest value of a camera control: the text of a menu entry has at most 31.
const MAX_VALUE_CHARS: usize = 64;
/// What `do/warm` keeps warm without a number, and at most.
const WARM_DEFAULT_S: u64 = 60;
const WARM_MAX_S: u64 = 3600;

/// The bit rates that the configuration takes, in kbit/s.
pub const BITRATE_KBPS: RangeInclusive<u32> = MediaConfig::BITRATE_KBPS;

const SETTINGS: &str = "streaming, audio, bitrate, resolution, rotate, mirror, crop, mask, overlay, scene";

/// A checked request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The privacy switch.
    Streaming(bool),
    /// Whether sound is captured and played.
    Audio(bool),
    /// The most that the encoder may use, in kbit/s; `None` goes back to the configured bit rate.
    Bitrate(Option<u32>),
    /// Another picture size and rate.
    Resolution(Resolution),
    /// How the picture looks.
    Look(LookChange),
    /// A named set of the camera's controls.
    Scene(String),
    /// A control of the camera.
    Control {
        /// Its name, as in `info`.
        name: String,
        /// As it was written.
        value: String,
    },
    /// One still picture.
    Snapshot {
        /// Pixels; `None` for as wide as the video.
        width: Option<u32>,
    },
    /// A key frame now.
    KeyFrame,
    /// Keep the camera running.
    Warm(Duration),
    /// End sessions: those of a viewer, those of a name, or all.
    Close {
        /// Only this viewer's.
        viewer: Option<Id>,
        /// Only those called so.
        session: Option<Id>,
    },
    /// Restart the capture pipeline.
    Restart,
}

/// A picture size and rate, written `1280x720` or `1280x720@30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures per second; `None` for what the configuration or the board says.
    pub fps: Option<u32>,
}

impl FromStr for Resolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{}\" is not WIDTHxHEIGHT or WIDTHxHEIGHT@FPS", clip(text));
        let number = |text: &str| {
            let digits =
                !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u32>().ok()).flatten().filter(|number| *number > 0).ok_or_else(wrong)
        };
        let (size, fps) = text.split_once('@').map_or((text, None), |(size, fps)| (size, Some(fps)));
        let (width, height) = size.split_once('x').ok_or_else(wrong)?;
        Ok(Self { width: number(width)?, height: number(height)?, fps: fps.map(number).transpose()? })
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)?;
        self.fps.map_or(Ok(()), |fps| write!(f, "@{fps}"))
    }
}

/// How far whoever commands is trusted, and what that depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `[dashboard] commands`; everything to whoever needs no broker's word.
    pub commands: Commands,
    /// `[dashboard] snapshots`.
    pub snapshots: bool,
    /// The privacy switch was turned off at the device itself, not over the broker.
    pub off_locally: bool,
}

impl Policy {
    /// Whether the command may be carried out at all; the words say why not.
    fn permit(self, command: &Command) -> Result<(), String> {
        match (self.commands, command) {
            (Commands::None, _) => Err("not allowed: dashboard.commands is \"none\"".to_owned()),
            (Commands::Safe, Command::Streaming(true)) if self.off_locally => {
                Err("not allowed: streaming was turned off at the device, and dashboard.commands is \"safe\""
                    .to_owned())
            }
            (Commands::Safe, Command::Snapshot { .. }) if !self.snapshots => {
                Err("not allowed: dashboard.snapshots is false, and dashboard.commands is \"safe\""
                    .to_owned())
            }
            (Commands::Safe | Commands::All, _) => Ok(()),
        }
    }
}

/// A request as it came, for its confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `set/…` or `do/…`.
    pub topic: String,
    /// The `id` field of the command's JSON, whatever it was.
    pub id: Option<Value>,
    /// What to do, or why not, in words.
    pub command: Result<Command, String>,
}

/// Reads `set/<setting>`.
pub fn set(setting: &str, payload: &[u8], policy: Policy) -> Request {
    let topic = format!("set/{}", clip(setting));
    let read = text(payload).map_err(|error| {
        look::longest(setting).map_or_else(|| error.clone(), |right| format!("{error}; {right}"))
    });
    let command = read.and_then(|value| match setting {
        "streaming" => on_or_off(value).map(Command::Streaming),
        "audio" => on_or_off(value).map(Command::Audio),
        "bitrate" => bitrate(value).map(Command::Bitrate),
        "resolution" => value.parse().map(Command::Resolution),
        "scene" => scene(value),
        _ => match (look::change(setting, value), setting.strip_prefix("control/")) {
            (Some(change), _) => change.map(Command::Look),
            (None, Some(name)) => control(name, value),
            (None, None) => Err(format!("there is no such setting; there are {SETTINGS} and control/<name>")),
        },
    });
    // A value is plain text; whoever sends an object has put an id into it, and looks for that in the answer.
    let fields = text(payload).ok().and_then(|text| object(text).ok()).unwrap_or_default();
    let (id, command) = (id_of(&fields), command.and_then(|command| permitted(policy, command)));
    Request { topic, id: id.unwrap_or_default(), command }
}

/// Reads `do/<action>`.
pub fn action(action: &str, payload: &[u8], policy: Policy) -> Request {
    let topic = format!("do/{}", clip(action));
    let fields = match text(payload).and_then(object) {
        Ok(fields) => fields,
        Err(error) => return Request { topic, id: None, command: Err(error) },
    };
    let id = match id_of(&fields) {
        Ok(id) => id,
        Err(error) => return Request { topic, id: None, command: Err(error) },
    };
    let command = match action {
        "snapshot" => width(&fields).map(|width| Command::Snapshot { width }),
        "keyframe" => Ok(Command::KeyFrame),
        "restart" => Ok(Command::Restart),
        "warm" => seconds(&fields).map(Command::Warm),
        "close" => close(&fields),
        // It is about the session of whoever asks.
        "talk" => {
            Err("do/talk is asked for on the data channel of the session that is to be heard".to_owned())
        }
        _ => Err("there is no such action; there are snapshot, keyframe, warm, close and restart".to_owned()),
    };
    Request { topic, id, command: command.and_then(|command| permitted(policy, command)) }
}

fn id_of(fields: &Map<String, Value>) -> Result<Option<Value>, String> {
    let Some(id) = fields.get("id") else { return Ok(None) };
    if id.to_string().len() > MAX_ID_BYTES {
        return Err(format!("`id` has more than {MAX_ID_BYTES} bytes"));
    }
    Ok(Some(id.clone()))
}

fn permitted(policy: Policy, command: Command) -> Result<Command, String> {
    policy.permit(&command).map(|()| command)
}

fn on_or_off(value: &str) -> Result<bool, String> {
    match value {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        other => Err(format!("\"{}\" is neither ON nor OFF", clip(other))),
    }
}

fn bitrate(value: &str) -> Result<Option<u32>, String> {
    if value == "auto" {
        return Ok(None);
    }
    let (min, max) = (BITRATE_KBPS.start(), BITRATE_KBPS.end());
    let kbps = value.parse().ok().filter(|kbps| BITRATE_KBPS.contains(kbps));
    kbps.map(Some).ok_or_else(|| {
        format!("\"{}\" is neither auto nor a number of kbit/s from {min} to {max}", clip(value))
    })
}

fn control(name: &str, value: &str) -> Result<Command, String> {
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_name {
        return Err("no camera has a control of that name; `info` lists those of this one".to_owned());
    }
    if value.is_empty() {
        return Err("no value: write a number, ON or OFF, or the text of a menu entry".to_owned());
    }
    Ok(Command::Control { name: name.to_owned(), value: value.chars().take(MAX_VALUE_CHARS).collect() })
}

fn scene(name: &str) -> Result<Command, String> {
    if name.is_empty() || name.chars().count() > MAX_VALUE_CHARS {
        return Err("set/scene takes the name of a scene; `info` lists those of this device".to_owned());
    }
    Ok(Command::Scene(name.to_owned()))
}

fn close(fields: &Map<String, Value>) -> Result<Command, String> {
    Ok(Command::Close { viewer: id_field(fields, "viewer")?, session: id_field(fields, "session")? })
}

fn width(fields: &Map<String, Value>) -> Result<Option<u32>, String> {
    let (min, max) = (snapshot::MIN_WIDTH, snapshot::MAX_WIDTH);
    match fields.get("width") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|width| u32::try_from(width).ok())
            .filter(|width| (min..=max).contains(width))
            .map(Some)
            .ok_or_else(|| format!("`width` is a whole number of pixels from {min} to {max}")),
    }
}

fn text(payload: &[u8]) -> Result<&str, String> {
    if payload.len() > MAX_COMMAND_BYTES {
        return Err(format!("the payload has {} bytes; at most {MAX_COMMAND_BYTES} are read", payload.len()));
    }
    std::str::from_utf8(payload).map(str::trim).map_err(|_| "the payload is not UTF-8 text".to_owned())
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("the payload is neither empty nor a JSON object".to_owned()),
        Err(error) => Err(format!("the payload is neither empty nor JSON: {error}")),
    }
}

fn seconds(fields: &Map<String, Value>) -> Result<Duration, String> {
    let seconds = match fields.get("seconds") {
        None | Some(Value::Null) => WARM_DEFAULT_S,
        Some(value) => value
            .as_u64()
            .filter(|seconds| (1..=WARM_MAX_S).contains(seconds))
            .ok_or_else(|| format!("`seconds` is a whole number from 1 to {WARM_MAX_S}"))?,
    };
    Ok(Duration::from_secs(seconds))
}

fn id_field(fields: &Map<String, Value>, name: &str) -> Result<Option<Id>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Id::new(text).map(Some).map_err(|error| format!("`{name}`: {error}")),
        Some(_) => Err(format!("`{name}` is not text")),
    }
}

/// What a dashboard wrote, as it is quoted.
fn clip(text: &str) -> String {
    text::shown(text)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
