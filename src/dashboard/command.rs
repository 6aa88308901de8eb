//! What a dashboard may ask: `set/<setting>` and `do/<action>` to a checked [`Command`]. Pure.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::Commands;
use crate::signaling::topic::Id;

/// The longest command payload that is read, in bytes.
const MAX_COMMAND_BYTES: usize = 4096;
/// What `do/warm` keeps warm without a number, and at most.
const WARM_DEFAULT_S: u64 = 60;
const WARM_MAX_S: u64 = 3600;

/// A checked request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The privacy switch.
    Streaming(bool),
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
pub fn set(setting: &str, payload: &[u8], allowed: Commands) -> Request {
    let topic = format!("set/{}", clip(setting));
    let command = text(payload).and_then(|value| match setting {
        "streaming" => match value {
            "ON" => permit(allowed != Commands::None, allowed).map(|()| Command::Streaming(true)),
            "OFF" => permit(allowed != Commands::None, allowed).map(|()| Command::Streaming(false)),
            other => Err(format!("\"{}\" is neither ON nor OFF", clip(other))),
        },
        _ => Err("this version knows no such setting; it knows streaming".to_owned()),
    });
    Request { topic, id: None, command }
}

/// Reads `do/<action>`.
pub fn action(action: &str, payload: &[u8], allowed: Commands) -> Request {
    let topic = format!("do/{}", clip(action));
    let fields = match text(payload).and_then(object) {
        Ok(fields) => fields,
        Err(error) => return Request { topic, id: None, command: Err(error) },
    };
    let id = fields.get("id").cloned();
    let command = permit(allowed != Commands::None, allowed).and_then(|()| match action {
        "keyframe" => Ok(Command::KeyFrame),
        "restart" => Ok(Command::Restart),
        "warm" => seconds(&fields).map(Command::Warm),
        "close" => Ok(Command::Close {
            viewer: id_field(&fields, "viewer")?,
            session: id_field(&fields, "session")?,
        }),
        _ => Err("this version knows no such action; it knows keyframe, warm, close and restart".to_owned()),
    });
    Request { topic, id, command }
}

fn permit(yes: bool, allowed: Commands) -> Result<(), String> {
    if yes { Ok(()) } else { Err(format!("not allowed: dashboard.commands is {allowed:?}").to_lowercase()) }
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

fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(64).map_or(text.len(), |(index, _)| index);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_privacy_switch_is_on_or_off() {
        assert_eq!(set("streaming", b"OFF", Commands::All).command, Ok(Command::Streaming(false)));
        assert_eq!(set("streaming", b"ON\n", Commands::All).command, Ok(Command::Streaming(true)));
        for payload in [&b"off"[..], b"", b"\xff", b"1", &[b'x'; 5000]] {
            assert!(set("streaming", payload, Commands::All).command.is_err());
        }
        assert!(set("streaming", b"ON", Commands::None).command.unwrap_err().contains("dashboard.commands"));
    }

    #[test]
    fn actions_take_nothing_or_an_object() {
        assert_eq!(action("keyframe", b"", Commands::All).command, Ok(Command::KeyFrame));
        assert_eq!(action("restart", b"{}", Commands::Safe).command, Ok(Command::Restart));
        assert_eq!(
            action("warm", br#"{"seconds":9}"#, Commands::All).command,
            Ok(Command::Warm(Duration::from_secs(9)))
        );
        assert_eq!(action("warm", b"", Commands::All).command, Ok(Command::Warm(Duration::from_mins(1))));
        let close = action("close", br#"{"viewer":"tab-1","id":7}"#, Commands::All);
        assert_eq!(close.id, Some(json!(7)));
        assert_eq!(
            close.command,
            Ok(Command::Close { viewer: Some(Id::new("tab-1").unwrap()), session: None })
        );
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (name, payload) in [
            ("warm", &br#"{"seconds":0}"#[..]),
            ("warm", br#"{"seconds":"long"}"#),
            ("close", br#"{"viewer":"a/b"}"#),
            ("close", br#"{"session":7}"#),
            ("keyframe", b"[]"),
            ("keyframe", b"{"),
            ("dance", b""),
            ("keyframe", b"\0"),
        ] {
            assert!(action(name, payload, Commands::All).command.is_err(), "{name}");
        }
        assert!(action("keyframe", b"", Commands::None).command.is_err());
        assert!(set("control/hue", b"7", Commands::All).command.is_err());
    }
}
