//! What is said on a viewer's data channel (docs/protocol.md, section 6), both ways. Pure.

use serde_json::{Map, Value, json};

use super::command::MAX_ID_BYTES;
use crate::base::text;
use crate::signaling::topic::Id;

/// The longest `t` of a ping, in bytes as JSON.
const MAX_PING_BYTES: usize = 200;

/// A request of a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRequest {
    /// Goes back with the answer.
    pub id: Option<Value>,
    /// What is asked.
    pub ask: Ask,
}

/// What a viewer can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Answered at once, with `t`.
    Ping { t: Value },
    /// As on `set/<name>`.
    Set { name: String, value: String },
    /// As on `do/<action>`, with that as the payload.
    Do { action: String, payload: String },
}

/// Why a request is refused: the code that programs read, where there is one, and the words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelError {
    /// One of section 2.1 of the protocol.
    pub code: Option<&'static str>,
    /// In words.
    pub message: String,
}

impl ChannelError {
    fn bad(message: impl Into<String>) -> Self {
        Self { code: Some("bad-message"), message: message.into() }
    }
}

/// Reads a message.
///
/// # Errors
/// The `id`, as far as it could be read, and what is wrong.
pub fn request(message: &str) -> Result<ChannelRequest, (Option<Value>, ChannelError)> {
    let fields = match serde_json::from_str(message) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err((None, ChannelError::bad("the message is no JSON object"))),
        Err(error) => return Err((None, ChannelError::bad(format!("the message is no JSON: {error}")))),
    };
    let id = fields.get("id").filter(|id| id.to_string().len() <= MAX_ID_BYTES).cloned();
    if id.is_none() && fields.contains_key("id") {
        return Err((None, ChannelError::bad(format!("`id` has more than {MAX_ID_BYTES} bytes"))));
    }
    match ask(fields) {
        Ok(ask) => Ok(ChannelRequest { id, ask }),
        Err(error) => Err((id, ChannelError::bad(error))),
    }
}

fn ask(mut fields: Map<String, Value>) -> Result<Ask, String> {
    let mut name = |of: &str| match fields.remove(of) {
        Some(Value::String(name)) => Ok(name),
        _ => Err(format!("`{of}` is missing, or no text")),
    };
    match name("type")?.as_str() {
        "ping" => {
            let t = fields.remove("t").unwrap_or_default();
            let is_short = t.to_string().len() <= MAX_PING_BYTES;
            is_short
                .then_some(Ask::Ping { t })
                .ok_or_else(|| format!("`t` has more than {MAX_PING_BYTES} bytes"))
        }
        "set" => {
            let name = name("name")?;
            let value = fields.remove("value").ok_or("`value` is missing")?;
            Ok(Ask::Set { name, value: plain(value) })
        }
        "do" => {
            let action = name("action")?;
            // Its answer goes back by this channel.
            fields.remove("id");
            let payload = if fields.is_empty() { String::new() } else { Value::Object(fields).to_string() };
            Ok(Ask::Do { action, payload })
        }
        other => Err(format!("there is no type \"{}\"; there are set, do and ping", text::shown(other))),
    }
}

/// A value as dashboards write it.
fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Bool(true) => "ON".to_owned(),
        Value::Bool(false) => "OFF".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The answer to a request that was carried out, or was not.
pub fn reply(id: Option<&Value>, result: Result<(), &ChannelError>) -> String {
    let mut reply = json!({ "type": "reply", "ok": result.is_ok() });
    if let Some(id) = id {
        reply["id"] = id.clone();
    }
    if let Err(ChannelError { code, message }) = result {
        let message = text::sentence(message);
        reply["error"] = code.map_or_else(|| message.clone(), str::to_owned).into();
        reply["message"] = message.into();
    }
    reply.to_string()
}

/// The answer to a ping; `time_ms` is the device's clock, since 1970.
pub fn pong(id: Option<&Value>, t: &Value, time_ms: u64) -> String {
    let mut pong = json!({ "type": "pong", "t": t, "time": time_ms });
    if let Some(id) = id {
        pong["id"] = id.clone();
    }
    pong.to_string()
}

/// How a session is doing, out of `state`, and the `rights` that it has; `None`: it is not there yet.
pub fn stats(state: &Value, viewer: &Id, session: &Id, rights: &[&str]) -> Option<String> {
    let rows = state.pointer("/viewers/sessions")?.as_array()?;
    let row =
        rows.iter().find(|row| row["viewer"] == viewer.as_str() && row["session"] == session.as_str())?;
    let [time, encoder, latency] = ["time", "encoder", "latency"].map(|of| &state[of]);
    let mut told = json!({
        "type": "stats", "time": time, "session": row, "encoder": encoder, "latency": latency, "rights": rights
    });
    // Where the device has sound.
    if let Some(audio) = state.get("audio") {
        told["audio"] = audio.clone();
    }
    Some(told.to_string())
}

/// Whether `do talk` asks for the word, or gives it back. `payload` is what stands beside the action.
///
/// # Errors
/// `on` is neither true nor false.
pub fn talk_wish(payload: &str) -> Result<bool, ChannelError> {
    let fields: Map<String, Value> = serde_json::from_str(payload).unwrap_or_default();
    let on = fields.get("on").and_then(Value::as_bool);
    on.ok_or_else(|| ChannelError::bad("`on` is true to talk, and false to stop"))
}

/// Who has the word, for one viewer: nobody, this viewer, or somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TalkState {
    /// Nobody.
    #[default]
    Free,
    /// This viewer.
    You,
    /// Somebody else.
    Busy,
}

impl TalkState {
    /// For the session `own`, where `speaker` has the word.
    pub fn of(speaker: Option<u64>, own: u64) -> Self {
        match speaker {
            None => Self::Free,
            Some(speaker) if speaker == own => Self::You,
            Some(_) => Self::Busy,
        }
    }
}

/// What is told of who has the word.
pub fn talk(state: TalkState) -> String {
    let state = match state {
        TalkState::Free => "free",
        TalkState::You => "you",
        TalkState::Busy => "busy",
    };
    json!({ "type": "talk", "state": state }).to_string()
}

/// What is told of the camera.
pub fn camera(camera: &Value) -> String {
    json!({ "type": "camera", "camera": camera }).to_string()
}

/// A control's new value.
pub fn control(name: &str, value: &Value) -> String {
    json!({ "type": "control", "name": name, "value": value }).to_string()
}

/// Whether what is told of the camera differs in more than the measured rate, which always does.
pub fn camera_differs(before: &Value, after: &Value) -> bool {
    let fields = |of: &Value| {
        let mut fields = of.as_object().cloned().unwrap_or_default();
        fields.remove("fps");
        fields
    };
    fields(before) != fields(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_dashboards_write_them() {
        let read = |message: Value| request(&message.to_string()).unwrap();
        for (value, expected) in [
            (json!("1280x720"), "1280x720"),
            (json!(900), "900"),
            (json!(true), "ON"),
            (json!(false), "OFF"),
            (json!([0, 0, 0.5, 1]), "[0,0,0.5,1]"),
            (json!(null), ""),
        ] {
            let asked = read(json!({"type": "set", "id": 7, "name": "control/focus", "value": value}));
            let set = Ask::Set { name: "control/focus".to_owned(), value: expected.to_owned() };
            assert_eq!((asked.id, asked.ask), (Some(json!(7)), set));
        }
        let asked = read(json!({"type": "do", "id": {"a": 1}, "action": "warm", "seconds": 60}));
        let warm = Ask::Do { action: "warm".to_owned(), payload: "{\"seconds\":60}".to_owned() };
        assert_eq!((asked.id, asked.ask), (Some(json!({"a": 1})), warm));
        let asked = read(json!({"type": "do", "action": "keyframe", "unknown": []})).ask;
        assert!(matches!(asked, Ask::Do { action, .. } if action == "keyframe"));
        assert_eq!(read(json!({"type": "ping", "t": 1.5})).ask, Ask::Ping { t: json!(1.5) });
    }

    #[test]
    fn what_cannot_be_read_is_answered_in_words_with_the_id_if_there_was_one() {
        for (message, id, words) in [
            ("", None, "no JSON"),
            ("[1]", None, "no JSON object"),
            (r#"{"id":"a"}"#, Some(json!("a")), "`type`"),
            (r#"{"id":"a","type":7}"#, Some(json!("a")), "`type`"),
            (r#"{"id":"a","type":"fly"}"#, Some(json!("a")), "set, do and ping"),
            (r#"{"id":"a","type":"set","value":1}"#, Some(json!("a")), "`name`"),
            (r#"{"id":"a","type":"set","name":"bitrate"}"#, Some(json!("a")), "`value`"),
            (r#"{"id":"a","type":"do"}"#, Some(json!("a")), "`action`"),
        ] {
            let (read, error) = request(message).unwrap_err();
            assert_eq!((read, error.code), (id, Some("bad-message")), "{message}");
            assert!(error.message.contains(words), "{message}: {}", error.message);
        }
        let long = "x".repeat(MAX_ID_BYTES);
        for field in ["id", "t"] {
            let message = json!({"type": "ping", field: long}).to_string();
            assert!(request(&message).unwrap_err().1.message.contains(field), "{field}");
        }
    }

    #[test]
    fn replies_name_the_code_for_programs_and_the_words_for_people() {
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(read(reply(Some(&json!(7)), Ok(()))), json!({"type": "reply", "id": 7, "ok": true}));
        let words = ChannelError { code: None, message: "no such mode\u{1b}[2J".to_owned() };
        let told = read(reply(None, Err(&words)));
        assert_eq!((&told["ok"], told.get("id")), (&json!(false), None));
        assert!(told["error"].as_str().is_some_and(|told| !told.contains('\u{1b}')), "{told}");
        let forbidden = ChannelError { code: Some("forbidden"), message: "needs control".to_owned() };
        let told = read(reply(Some(&json!("a")), Err(&forbidden)));
        assert_eq!(
            told,
            json!({"type": "reply", "id": "a", "ok": false, "error": "forbidden", "message": "needs control"})
        );
        let pong = read(pong(None, &json!(1), 1_700_000_000_000));
        assert_eq!(pong, json!({"type": "pong", "t": 1, "time": 1_700_000_000_000_u64}));
    }

    #[test]
    fn stats_are_the_viewers_own_row_and_what_all_share() {
        let row = |viewer: &str| json!({"viewer": viewer, "session": "s", "rtt": 1.5});
        let state = json!({
            "time": "T", "encoder": {"name": "x264enc"}, "latency": {"send": null}, "system": {},
            "viewers": {"sessions": [row("other"), row("own")]}
        });
        let rights = ["view", "control"];
        let of = |viewer: &str| stats(&state, &Id::new(viewer).unwrap(), &Id::new("s").unwrap(), &rights);
        let told: Value = serde_json::from_str(&of("own").unwrap()).unwrap();
        let expected = json!({
            "type": "stats", "time": "T", "session": row("own"), "encoder": {"name": "x264enc"}, "latency": {"send": null},
            "rights": ["view", "control"]
        });
        assert_eq!(told, expected);
        assert_eq!(of("nobody"), None);
        let mut loud = state.clone();
        loud["audio"] = json!({"state": "live"});
        let told = stats(&loud, &Id::new("own").unwrap(), &Id::new("s").unwrap(), &rights).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["audio"], json!({"state": "live"}));
    }

    #[test]
    fn the_word_is_asked_for_by_true_and_told_to_each_as_it_concerns_him() {
        assert_eq!(talk_wish("{\"on\":true}"), Ok(true));
        assert_eq!(talk_wish("{\"on\":false,\"more\":1}"), Ok(false));
        for wrong in ["", "{}", "{\"on\":1}", "{\"on\":\"true\"}", "[]", "on"] {
            let code = talk_wish(wrong).map_err(|error| error.code);
            assert_eq!(code, Err(Some("bad-message")), "{wrong}");
        }
        let told = |speaker| talk(TalkState::of(speaker, 7));
        assert_eq!(told(None), r#"{"state":"free","type":"talk"}"#);
        assert_eq!(told(Some(7)), r#"{"state":"you","type":"talk"}"#);
        assert_eq!(told(Some(8)), r#"{"state":"busy","type":"talk"}"#);
    }

    #[test]
    fn the_measured_rate_alone_is_no_news() {
        let live = json!({"state": "live", "fps": 29.9});
        assert!(!camera_differs(&live, &json!({"state": "live", "fps": 30.0})));
        assert!(camera_differs(&live, &json!({"state": "lost", "fps": 29.9})));
    }
}
