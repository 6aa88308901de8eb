//! What the HTTP server asks of the rest: who may, how the daemon is, its figures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::Value;

use super::gateway::{GatewayHandle, Presence};
use super::health::SharedHealthCheck;
use super::sound::SoundSide;
use super::state::StateSource;
use crate::base::clock;
use crate::base::console;
use crate::base::stats;
use crate::dashboard::state::{in_tier, without_other_viewers};
use crate::http::{Facts, Figures};
use crate::media::{GlibMessages, Media};
use crate::sessions::Sessions;
use crate::sessions::send_latency::SendLatency;
use crate::signaling::topic::Id;
use crate::stream::{Fanout, Rendition};

/// A running daemon, as its HTTP server sees it.
pub(super) struct DaemonFacts {
    sessions: Sessions,
    media: Media,
    sound: SoundSide,
    fanout: Fanout,
    gateway: GatewayHandle,
    started: SystemTime,
    state: Arc<StateSource>,
    health_check: SharedHealthCheck,
}

impl DaemonFacts {
    pub fn new(
        sessions: Sessions,
        (media, sound): (Media, SoundSide),
        fanout: Fanout,
        gateway: GatewayHandle,
        state: Arc<StateSource>,
        health_check: SharedHealthCheck,
    ) -> Self {
        let started = SystemTime::now();
        Self { sessions, media, sound, fanout, gateway, started, state, health_check }
    }
}

#[async_trait]
impl Facts for DaemonFacts {
    fn state(&self) -> Value {
        self.state.latest(clock::now())
    }

    fn state_without_other_viewers(&self, own: Option<&Id>) -> Value {
        without_other_viewers(Facts::state(self), own.map(Id::as_str))
    }

    fn figures(&self) -> Figures {
        let live = self.sessions.live();
        let paths = live.iter().filter_map(|live| live.path());
        let loss = live.iter().filter(|live| live.connected.load(Ordering::Relaxed));
        let system = stats::snapshot();
        Figures {
            started: self.started,
            cpu_s: stats::cpu_used_s(),
            rss_bytes: system.rss,
            temperature_c: system.temperature,
            lost_log_lines: console::lost_lines(),
            glib: GlibMessages::so_far(),
            mqtt_connected: *self.gateway.presence().borrow() == Presence::Online,
            media: self.media.status().borrow().clone(),
            sound: self.sound.state().map(|sound| sound.status),
            frames: self.fanout.published(),
            encoded_bytes: self.fanout.published_bytes(),
            dropped_frames: self.fanout.dropped(),
            viewers: live.len(),
            connected_viewers: loss.clone().count(),
            small_viewers: in_tier(&live, Rendition::Small),
            max_viewers: self.sessions.max_viewers(),
            worst_round_trip: paths
                .map(|path| Duration::try_from_secs_f64(path.rtt / 1e3).unwrap_or_default())
                .max(),
            send_latency: SendLatency::of(&live),
            worst_loss: loss.map(|live| live.feedback.loss()).max_by(f64::total_cmp),
            totals: self.sessions.totals(),
        }
    }

    async fn ailment(&self) -> Option<String> {
        self.health_check.lock().await.check().await.map(|ailment| ailment.to_string())
    }
}
