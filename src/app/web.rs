//! What the HTTP server asks of the rest: who may, how the daemon is, its figures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use serde_json::Value;

use super::gateway::{Presence, Pulse};
use super::health::Checkup;
use super::state::StateSource;
use crate::base::clock;
use crate::base::stats;
use crate::dashboard::state::in_tier;
use crate::http::{Facts, Figures};
use crate::media::Media;
use crate::sessions::Sessions;
use crate::sessions::stages::SendLatency;
use crate::stream::{Fanout, Rendition};

/// What was found out is good for as long as this: many who ask cost no more than one.
const FRESH: Duration = Duration::from_secs(1);

/// A running daemon, as its HTTP server sees it.
pub(super) struct DaemonFacts {
    sessions: Sessions,
    media: Media,
    fanout: Fanout,
    pulse: Pulse,
    started: SystemTime,
    state: Arc<StateSource>,
    health: tokio::sync::Mutex<HealthMaker>,
}

struct HealthMaker {
    checkup: Checkup,
    last_check: Option<(Instant, Option<String>)>,
}

impl DaemonFacts {
    pub fn new(
        sessions: Sessions,
        media: Media,
        fanout: Fanout,
        pulse: Pulse,
        state: Arc<StateSource>,
        checkup: Checkup,
    ) -> Self {
        Self {
            sessions,
            media,
            fanout,
            pulse,
            started: SystemTime::now(),
            state,
            health: tokio::sync::Mutex::new(HealthMaker { checkup, last_check: None }),
        }
    }
}

fn still_fresh<T: Clone>(last_check: Option<&(Instant, T)>, now: Instant) -> Option<T> {
    last_check.filter(|(at, _)| now.saturating_duration_since(*at) < FRESH).map(|(_, value)| value.clone())
}

#[async_trait]
impl Facts for DaemonFacts {
    fn state(&self) -> Value {
        self.state.latest(clock::now())
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
            mqtt_connected: *self.pulse.presence().borrow() == Presence::Online,
            media: self.media.status().borrow().clone(),
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
        let mut maker = self.health.lock().await;
        if let Some(ailment) = still_fresh(maker.last_check.as_ref(), Instant::now()) {
            return ailment;
        }
        let ailment = maker.checkup.check().await.err().map(|ailment| ailment.to_string());
        maker.last_check = Some((Instant::now(), ailment.clone()));
        ailment
    }
}
