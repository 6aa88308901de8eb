//! The JSON of `info`, `state` and `event` (protocol.md section 3), built from what is known. Pure.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use crate::media::{CameraInfo, CameraState, ControlInfo, Latency, MediaStatus};
use crate::peer::Live;
use crate::sessions::SessionEvent;
use crate::sessions::stages::SendLatency;
use crate::sessions::table::Key;
use crate::signaling::message::VERSION;
use crate::stats::{SystemFigures, round1};
use crate::stream::Rendition;

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The device id.
    pub id: String,
    /// The name for people.
    pub name: String,
    /// The board.
    pub model: String,
    /// First level of all topics.
    pub root: String,
    /// The key that signs its answers.
    pub key: String,
    /// Who may watch: `open` or `grants`.
    pub access: &'static str,
    /// Where WHEP players find the camera; `None` where nothing is served over HTTP.
    pub whep: Option<String>,
}

/// Time as the protocol writes it.
pub fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// The `info` document.
pub fn info(identity: &Identity, media: &MediaStatus) -> Value {
    let camera = media.camera.as_deref();
    json!({
        "v": VERSION,
        "device": identity.id,
        "name": identity.name,
        "version": env!("CARGO_PKG_VERSION"),
        "model": identity.model,
        "key": identity.key,
        "camera": camera.map_or_else(|| stand_in(media), camera_document),
        "controls": camera.map_or_else(Vec::new, |camera| camera.controls.iter().map(control_document).collect()),
        "codecs": [format!("video/H264;profile-level-id={};packetization-mode=1", media.profile)],
        "audio": false,
        "access": identity.access,
        "features": ["trickle", "rtx", "ice-full", "privacy", "warm", "snapshot", "settings"],
        "whep": identity.whep,
        "root": identity.root,
    })
}

fn camera_document(camera: &CameraInfo) -> Value {
    json!({ "card": camera.card, "driver": camera.driver, "modes": camera.modes })
}

/// The test picture has no name and no driver, but sizes to choose from.
fn stand_in(media: &MediaStatus) -> Value {
    let modes = media.modes();
    if modes.is_empty() {
        return Value::Null;
    }
    json!({ "card": "Test picture", "driver": "porthole", "modes": modes })
}

/// What a control is; what it is set to is in `state`.
fn control_document(control: &ControlInfo) -> Value {
    let mut document = json!(control);
    if let Some(fields) = document.as_object_mut() {
        fields.remove("value");
    }
    document
}

/// Makes `state` documents; keeps what a bit rate needs.
#[derive(Default)]
pub struct StateWriter {
    sent_before: HashMap<u64, (Instant, u64)>,
}

/// What a `state` document is made of.
pub struct StateParts<'a> {
    /// The clock on the wall.
    pub time: SystemTime,
    /// The clock that cannot jump.
    pub now: Instant,
    /// Since the start.
    pub uptime: Duration,
    /// The privacy switch.
    pub streaming: bool,
    /// The capture side.
    pub media: &'a MediaStatus,
    /// The cap.
    pub max_viewers: usize,
    /// Who watches.
    pub sessions: &'a [std::sync::Arc<Live>],
    /// Processor and memory.
    pub system: SystemFigures,
}

impl StateWriter {
    /// The `state` document.
    pub fn state(&mut self, parts: &StateParts<'_>) -> Value {
        let media = parts.media;
        let sessions: Vec<Value> = parts.sessions.iter().map(|live| self.session(parts.now, live)).collect();
        self.sent_before
            .retain(|generation, _| parts.sessions.iter().any(|live| live.generation == *generation));
        let sending = SendLatency::of(parts.sessions);
        json!({
            "v": VERSION,
            "time": rfc3339(parts.time),
            "uptime": parts.uptime.as_secs(),
            "streaming": if parts.streaming { "ON" } else { "OFF" },
            "camera": {
                "state": media.state,
                "device": media.device,
                "width": media.width,
                "height": media.height,
                "fps": round1(media.fps),
                "error": media.error,
                "since": rfc3339(media.since),
            },
            "encoder": media.encoder.as_ref().map(|encoder| json!({
                "name": encoder.name,
                "kind": encoder.kind,
                "bitrate": media.bitrate,
                "target": media.target,
                "ceiling": media.ceiling,
                "keyframes": media.key_frames,
                "small": media.small.as_ref().map(|small| json!({
                    "running": small.is_running,
                    "width": small.width,
                    "height": small.height,
                    "bitrate": small.bitrate,
                    "target": small.target,
                    "ceiling": small.ceiling,
                    "viewers": in_tier(parts.sessions, Rendition::Small),
                })),
            })),
            "viewers": { "count": sessions.len(), "max": parts.max_viewers, "sessions": sessions },
            "latency": {
                "encode": media.encode_latency,
                "first_packet": sending.first_packet.map(rounded),
                "send": sending.last_packet.map(rounded),
            },
            "controls": controls(media),
            "system": parts.system,
        })
    }

    fn session(&mut self, now: Instant, live: &Live) -> Value {
        let path = live.path();
        let sent = live.sent.bytes.load(Ordering::Relaxed);
        let (then, before) = self.sent_before.insert(live.generation, (now, sent)).unwrap_or((now, sent));
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        let bitrate =
            if seconds > 0.0 { (sent.saturating_sub(before) as f64 * 8.0 / seconds).round() } else { 0.0 };
        json!({
            "viewer": live.viewer,
            "session": live.session,
            "grant": live.grant,
            "since": rfc3339(live.since),
            "path": path.as_ref().map(|path| &path.path),
            "protocol": path.as_ref().map(|path| &path.protocol),
            "rtt": path.as_ref().map(|path| path.rtt),
            "loss": live.feedback.loss(),
            "bitrate": bitrate,
            "estimate": live.feedback.rate(now).map(f64::round),
            "skipped": live.skipped.load(Ordering::Relaxed),
            "tier": live.feedback.place.current().as_str(),
            "first_frame": live.first_frame.get().map(|time| round1(time.as_secs_f64() * 1e3)),
        })
    }
}

/// How many viewers get this rendition.
pub fn in_tier(sessions: &[std::sync::Arc<Live>], tier: Rendition) -> usize {
    sessions.iter().filter(|live| live.feedback.place.current() == tier).count()
}

fn rounded(latency: Latency) -> Latency {
    Latency { p50_ms: round1(latency.p50_ms), p95_ms: round1(latency.p95_ms) }
}

fn controls(media: &MediaStatus) -> Value {
    let controls = media.camera.iter().flat_map(|camera| &camera.controls);
    Value::Object(controls.map(|control| (control.name.clone(), json!(control.value))).collect())
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
    let who = |key: &Key| {
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
    use std::sync::Arc;

    use super::*;
    use crate::media::{EncoderKind, EncoderStatus, SmallStatus};
    use crate::peer::EndReason;
    use crate::signaling::message::{ErrorCode, Refusal};
    use crate::signaling::topic::Id;

    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> =
            value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    fn live() -> Arc<Live> {
        Arc::new(Live::new(Id::new("tab-1").unwrap(), Id::default_session(), 1, Id::new("anna").ok()))
    }

    fn state_at(writer: &mut StateWriter, now: Instant, sessions: &[Arc<Live>]) -> Value {
        writer.state(&StateParts {
            time: SystemTime::UNIX_EPOCH,
            now,
            uptime: Duration::from_secs(7),
            streaming: true,
            media: &MediaStatus::sample(CameraState::Live),
            max_viewers: 8,
            sessions,
            system: SystemFigures { cpu: 1.5, rss: 1, temperature: None, rssi: None },
        })
    }

    #[test]
    fn state_has_every_field_of_the_contract() {
        let state = state_at(&mut StateWriter::default(), Instant::now(), &[live()]);
        let expected = "camera controls encoder latency streaming system time uptime v viewers"
            .split(' ')
            .collect::<Vec<_>>();
        assert_eq!(keys(&state), expected);
        assert_eq!(keys(&state["camera"]).join(" "), "device error fps height since state width");
        assert_eq!(keys(&state["encoder"]).join(" "), "bitrate ceiling keyframes kind name small target");
        assert_eq!(
            keys(&state["viewers"]["sessions"][0]).join(" "),
            "bitrate estimate first_frame grant loss path protocol rtt session since skipped tier viewer"
        );
        assert_eq!(state["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(state["camera"]["state"], "live");
        assert_eq!(state["viewers"]["count"], 1);
        assert_eq!(state["viewers"]["sessions"][0]["grant"], "anna");
    }

    #[test]
    fn the_small_rendition_is_shown_with_its_viewers() {
        let (small, full) = (live(), live());
        // Moved as the fan-out does it: at a key frame.
        let fanout = crate::stream::Fanout::default().at(Arc::clone(&small.feedback.place));
        let _subscription = fanout.subscribe();
        small.feedback.place.want(Rendition::Small);
        let (now, data) = (Instant::now(), bytes::Bytes::new());
        let unit = crate::stream::AccessUnit::new(data, Duration::ZERO, now, now, true);
        fanout.publish_to(Rendition::Small, &unit);
        let media = MediaStatus {
            small: Some(SmallStatus {
                width: 320,
                height: 240,
                bitrate: 90_000,
                target: 100_000,
                ceiling: 330_000,
                is_running: true,
            }),
            ..MediaStatus::sample(CameraState::Live)
        };
        let sessions = [small, full];
        let parts = StateParts {
            time: SystemTime::UNIX_EPOCH,
            now,
            uptime: Duration::ZERO,
            streaming: true,
            media: &media,
            max_viewers: 8,
            sessions: &sessions,
            system: SystemFigures { cpu: 1.5, rss: 1, temperature: None, rssi: None },
        };
        let state = StateWriter::default().state(&parts);
        let rendition = &state["encoder"]["small"];
        assert_eq!((&rendition["running"], &rendition["width"]), (&json!(true), &json!(320)), "{state:#}");
        assert_eq!((&rendition["viewers"], &rendition["target"]), (&json!(1), &json!(100_000)));
        let tiers = [0, 1].map(|at| state["viewers"]["sessions"][at]["tier"].clone());
        assert_eq!(tiers, ["small", "full"]);
    }

    #[test]
    fn a_viewers_bit_rate_is_what_was_sent_since_the_last_state() {
        let (mut writer, live, start) = (StateWriter::default(), live(), Instant::now());
        state_at(&mut writer, start, &[Arc::clone(&live)]);
        live.sent.bytes.fetch_add(125_000, Ordering::Relaxed);
        let state = state_at(&mut writer, start + Duration::from_secs(2), &[live]);
        assert_eq!(state["viewers"]["sessions"][0]["bitrate"], 500_000.0);
        state_at(&mut writer, start, &[]);
        assert!(writer.sent_before.is_empty(), "ended sessions are forgotten");
    }

    #[test]
    fn info_has_every_field_of_the_contract() {
        let identity = Identity {
            id: "cam".into(),
            name: "Cam".into(),
            model: "board".into(),
            root: "porthole".into(),
            key: "k".into(),
            access: "grants",
            whep: None,
        };
        let info = info(&identity, &MediaStatus::sample(CameraState::Idle));
        assert_eq!(
            keys(&info).join(" "),
            "access audio camera codecs controls device features key model name root v version whep"
        );
        assert_eq!(
            (&info["device"], &info["key"], &info["access"]),
            (&json!("cam"), &json!("k"), &json!("grants"))
        );
        assert_eq!(info["codecs"][0], "video/H264;profile-level-id=42e01f;packetization-mode=1");
    }

    #[test]
    fn events_say_who_and_why() {
        let key = Key { viewer: Id::new("tab-1").unwrap(), session: Id::default_session() };
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
