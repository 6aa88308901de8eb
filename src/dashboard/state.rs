//! The JSON of `state` (protocol.md, "state"), built from what is known. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::events::rfc3339;
use super::look;
use crate::base::stats::{SystemFigures, round1};
use crate::media::{Latency, MediaStatus};
use crate::peer::SessionStats;
use crate::sessions::send_latency::SendLatency;
use crate::signaling::message::VERSION;
use crate::stream::Rendition;

/// Bit rates are measured over at least this long: over less, one picture more or less would double them.
const MIN_MEASURED: Duration = Duration::from_millis(500);

/// Makes `state` documents; keeps what a bit rate needs.
#[derive(Default)]
pub struct StateWriter {
    /// By the number of the session.
    sent: HashMap<u64, Sent>,
}

/// What had been sent to a viewer, and how fast.
struct Sent {
    since: Instant,
    bytes: u64,
    /// Bit/s, before `since`.
    bitrate: f64,
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
    pub sessions: &'a [Arc<SessionStats>],
    /// Processor and memory.
    pub system: SystemFigures,
}

impl StateWriter {
    /// The `state` document.
    pub fn state(&mut self, parts: &StateParts<'_>) -> Value {
        let media = parts.media;
        let sessions: Vec<Value> = parts.sessions.iter().map(|live| self.session(parts.now, live)).collect();
        self.sent.retain(|number, _| parts.sessions.iter().any(|live| live.number == *number));
        let sending = SendLatency::of(parts.sessions);
        json!({
            "v": VERSION,
            "time": rfc3339(parts.time),
            "uptime": parts.uptime.as_secs(),
            "streaming": if parts.streaming { "ON" } else { "OFF" },
            "camera": camera(media),
            "picture": look::document(media),
            "encoder": media.encoder.as_ref().map(|encoder| json!({
                "name": encoder.name,
                "kind": encoder.kind,
                "bitrate": media.bitrate,
                "target": media.target,
                "ceiling": media.ceiling,
                "keyframes": media.key_frames,
                "small": media.small.as_ref().map(|small| json!({
                    "running": small.is_running,
                    "name": small.encoder,
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

    fn session(&mut self, now: Instant, live: &SessionStats) -> Value {
        let path = live.path();
        json!({
            "viewer": live.viewer,
            "session": live.session,
            "grant": live.grant,
            "since": rfc3339(live.since),
            "path": path.as_ref().map(|path| &path.path),
            "protocol": path.as_ref().map(|path| &path.protocol),
            "rtt": path.as_ref().map(|path| path.rtt),
            "loss": live.feedback.loss(),
            "bitrate": self.bitrate(now, live),
            "estimate": live.feedback.rate(now).map(f64::round),
            "skipped": live.skipped.load(Ordering::Relaxed),
            "tier": live.control.rendition.current().as_str(),
            "first_frame": live.first_frame.get().map(|time| round1(time.as_secs_f64() * 1e3)),
        })
    }

    /// Bit/s to a viewer, since the state before if that was long enough ago.
    fn bitrate(&mut self, now: Instant, live: &SessionStats) -> f64 {
        let bytes = live.sent.bytes.load(Ordering::Relaxed);
        let sent = self.sent.entry(live.number).or_insert(Sent { since: now, bytes, bitrate: 0.0 });
        let elapsed = now.saturating_duration_since(sent.since);
        if elapsed >= MIN_MEASURED {
            let bitrate = (bytes.saturating_sub(sent.bytes) as f64 * 8.0 / elapsed.as_secs_f64()).round();
            *sent = Sent { since: now, bytes, bitrate };
        }
        sent.bitrate
    }
}

/// `state` for a reader that may not know who else watches: without the names of those sessions that are not of its grant `own`.
/// How they fare is told.
pub fn without_other_viewers(mut state: Value, own: Option<&str>) -> Value {
    let sessions = state.pointer_mut("/viewers/sessions").and_then(Value::as_array_mut);
    for session in sessions.into_iter().flatten().filter_map(Value::as_object_mut) {
        if own.is_none() || session.get("grant").and_then(Value::as_str) != own {
            for name in ["viewer", "session", "grant"] {
                session.remove(name);
            }
        }
    }
    state
}

/// How many viewers get this rendition.
pub fn in_tier(sessions: &[Arc<SessionStats>], tier: Rendition) -> usize {
    sessions.iter().filter(|live| live.control.rendition.current() == tier).count()
}

fn rounded(latency: Latency) -> Latency {
    Latency { p50_ms: round1(latency.p50_ms), p95_ms: round1(latency.p95_ms) }
}

/// What is told of the camera.
pub fn camera(media: &MediaStatus) -> Value {
    json!({
        "state": media.state,
        "device": media.device,
        "width": media.width,
        "height": media.height,
        "fps": round1(media.fps),
        "error": media.error,
        "note": media.note,
        "since": rfc3339(media.since),
    })
}

/// What the camera's controls are set to.
pub fn controls(media: &MediaStatus) -> Value {
    let controls = media.camera.iter().flat_map(|camera| &camera.controls);
    Value::Object(controls.map(|control| (control.name.clone(), json!(control.value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{CameraState, SmallStatus};
    use crate::signaling::topic::Id;

    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> =
            value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    fn live() -> Arc<SessionStats> {
        Arc::new(SessionStats::new(Id::new("tab-1").unwrap(), Id::default_session(), 1, Id::new("anna").ok()))
    }

    fn state_at(writer: &mut StateWriter, now: Instant, sessions: &[Arc<SessionStats>]) -> Value {
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
        let expected = "camera controls encoder latency picture streaming system time uptime v viewers"
            .split(' ')
            .collect::<Vec<_>>();
        assert_eq!(keys(&state), expected);
        assert_eq!(keys(&state["camera"]).join(" "), "device error fps height note since state width");
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
    fn who_else_watches_is_left_out_for_who_may_not_know() {
        let state = state_at(&mut StateWriter::default(), Instant::now(), &[live()]);
        let of = |own| without_other_viewers(state.clone(), own)["viewers"]["sessions"][0].clone();
        assert_eq!(of(Some("anna")), state["viewers"]["sessions"][0], "her own");
        for other in [Some("ben"), None] {
            assert_eq!(
                keys(&of(other)).join(" "),
                "bitrate estimate first_frame loss path protocol rtt since skipped tier"
            );
        }
        let open = SessionStats::new(Id::new("tab-1").unwrap(), Id::default_session(), 1, None);
        let state = state_at(&mut StateWriter::default(), Instant::now(), &[Arc::new(open)]);
        let told = without_other_viewers(state, None);
        assert_eq!(told["viewers"]["sessions"][0].get("viewer"), None, "no grant is nobody's own");
    }

    #[test]
    fn the_small_rendition_is_shown_with_its_viewers() {
        let (small, full) = (live(), live());
        // Moved as the fan-out does it: at a key frame.
        let fanout = crate::stream::Fanout::default().at(Arc::clone(&small.control.rendition));
        let _subscription = fanout.subscribe();
        small.control.rendition.want(Rendition::Small);
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
                encoder: Some("x264enc"),
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
        assert_eq!(rendition["name"], "x264enc");
        let tiers = [0, 1].map(|at| state["viewers"]["sessions"][at]["tier"].clone());
        assert_eq!(tiers, ["small", "full"]);
    }

    #[test]
    fn a_viewers_bit_rate_is_what_was_sent_since_the_last_state() {
        let (mut writer, live, start) = (StateWriter::default(), live(), Instant::now());
        state_at(&mut writer, start, &[Arc::clone(&live)]);
        live.sent.bytes.fetch_add(125_000, Ordering::Relaxed);
        let second = start + Duration::from_secs(2);
        let state = state_at(&mut writer, second, &[Arc::clone(&live)]);
        assert_eq!(state["viewers"]["sessions"][0]["bitrate"], 500_000.0);
        live.sent.bytes.fetch_add(125_000, Ordering::Relaxed);
        let state = state_at(&mut writer, second + Duration::from_millis(1), &[live]);
        assert_eq!(state["viewers"]["sessions"][0]["bitrate"], 500_000.0, "measured over a millisecond");
        state_at(&mut writer, start, &[]);
        assert!(writer.sent.is_empty(), "ended sessions are forgotten");
    }
}
