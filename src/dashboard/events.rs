//! The JSON of `event` (protocol.md, "event"), of what happens to sessions and to the camera. Pure.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::media::{CameraState, MediaStatus};
use crate::sessions::SessionEvent;
use crate::sessions::table::SessionKey;
use crate::signaling::message::VERSION;

/// Time as the protocol writes it.
pub fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// An `event` document of type `kind`.
pub fn event(time: SystemTime, kind: &str, fields: Map<String, Value>) -> Value {
    let mut event = Map::new();
    event.insert("v".to_owned(), VERSION.into());
    event.insert("time".to_owned(), rfc3339(time).into());
    event.insert("type".to_owned(), kind.into());
    event.extend(fields);
    Value::Object(event)
}

/// The `event` document of something that happened to a session.
pub fn session_event(time: SystemTime, event_: &SessionEvent) -> Value {
    let who = |key: &SessionKey| {
        let mut fields = Map::new();
        fields.insert("viewer".to_owned(), json!(key.viewer));
        fields.insert("session".to_owned(), json!(key.session));
        fields
    };
    match event_ {
        SessionEvent::Started { key, grant } => {
            let mut fields = who(key);
            fields.insert("grant".to_owned(), json!(grant));
            event(time, "session-started", fields)
        }
        SessionEvent::Ended { key, grant, address, reason } => {
            let mut fields = who(key);
            fields.insert("grant".to_owned(), json!(grant));
            fields.insert("address".to_owned(), json!(address));
            fields.insert("reason".to_owned(), reason.text().into());
            event(time, "session-ended", fields)
        }
        SessionEvent::Refused { key, claimed, refusal } => {
            let mut fields = who(key);
            fields.insert("grant".to_owned(), json!(claimed));
            fields.insert("code".to_owned(), refusal.code.as_str().into());
            fields.insert("message".to_owned(), refusal.message.as_str().into());
            event(time, "session-refused", fields)
        }
        SessionEvent::RefusedMore { code, count } => {
            let mut fields = Map::new();
            fields.insert("code".to_owned(), code.as_str().into());
            fields.insert("count".to_owned(), (*count).into());
            let text = "so many more were refused in the last seconds, each without an event of its own";
            fields.insert("message".to_owned(), text.into());
            event(time, "session-refused", fields)
        }
    }
}

/// The `event` documents of what changed on the capture side between two looks.
pub fn media_events(time: SystemTime, before: &MediaStatus, after: &MediaStatus) -> Vec<Value> {
    let mut events = Vec::new();
    let lost = |status: &MediaStatus| status.state == CameraState::Lost;
    if lost(before) != lost(after) {
        let kind = if lost(after) { "camera-lost" } else { "camera-found" };
        let mut fields = Map::new();
        fields.insert("device".to_owned(), json!(after.device));
        fields.insert("error".to_owned(), json!(after.error));
        events.push(event(time, kind, fields));
    }
    // The first choice after the start is no change.
    if before.encoder.is_some() && after.encoder.is_some() && before.encoder != after.encoder {
        let mut fields = Map::new();
        fields.insert("from".to_owned(), json!(before.encoder));
        fields.insert("to".to_owned(), json!(after.encoder));
        events.push(event(time, "encoder-changed", fields));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{EncoderKind, EncoderStatus};
    use crate::peer::EndReason;
    use crate::signaling::message::{ErrorCode, Refusal};
    use crate::signaling::topic::Id;

    #[test]
    fn events_say_who_and_why() {
        let key = SessionKey { viewer: Id::new("tab-1").unwrap(), session: Id::default_session() };
        let reason = EndReason::ViewerGone;
        let ended =
            SessionEvent::Ended { key: key.clone(), grant: Id::new("anna").ok(), address: None, reason };
        let ended = session_event(SystemTime::UNIX_EPOCH, &ended);
        assert_eq!(ended["type"], "session-ended");
        assert_eq!((&ended["reason"], &ended["grant"]), (&json!("the viewer is gone"), &json!("anna")));
        let refusal = Refusal::new(ErrorCode::Busy, "all 8 places are taken");
        let refused = SessionEvent::Refused { key, claimed: Some("bob".into()), refusal };
        let refused = session_event(SystemTime::UNIX_EPOCH, &refused);
        assert_eq!((&refused["type"], &refused["code"]), (&json!("session-refused"), &json!("busy")));
    }

    #[test]
    fn a_camera_that_goes_and_comes_and_another_encoder_are_events() {
        let kinds = |before: &MediaStatus, after: &MediaStatus| {
            let events = media_events(SystemTime::UNIX_EPOCH, before, after);
            events
                .iter()
                .map(|event| event["type"].as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        let (live, idle) = (MediaStatus::sample(CameraState::Live), MediaStatus::sample(CameraState::Idle));
        let lost = MediaStatus { error: Some("unplugged".into()), ..MediaStatus::sample(CameraState::Lost) };
        assert_eq!(kinds(&live, &lost), ["camera-lost"]);
        assert_eq!(kinds(&lost, &idle), ["camera-found"]);
        assert!(kinds(&idle, &live).is_empty());
        let encoder = EncoderStatus { name: "openh264enc".into(), kind: EncoderKind::Software };
        let other = MediaStatus { encoder: Some(encoder), ..live.clone() };
        assert_eq!(kinds(&live, &other), ["encoder-changed"]);
        assert!(kinds(&MediaStatus { encoder: None, ..live.clone() }, &live).is_empty());
    }
}
