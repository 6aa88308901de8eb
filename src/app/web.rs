//! What the HTTP server asks of the rest: who may, how the daemon is, its figures.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use serde_json::Value;

use super::access::Doorkeeper;
use super::gateway::{Presence, Pulse};
use super::health::Checkup;
use crate::access::clock::Clock;
use crate::access::gate::Mode;
use crate::access::grant::Right;
use crate::dashboard::documents::{StateParts, StateWriter, in_tier};
use crate::http::{Door, Facts, Figures};
use crate::media::{CameraState, Media};
use crate::sessions::Sessions;
use crate::sessions::stages::SendLatency;
use crate::signaling::message::Refusal;
use crate::stats::{self, System};
use crate::stream::{Fanout, Rendition};

/// What was found out is good for as long as this: many who ask cost no more than one.
const FRESH: Duration = Duration::from_secs(1);

/// The door of the HTTP server.
pub(super) struct WebDoor {
    pub mode: Mode,
    pub grants: Arc<Doorkeeper>,
}

impl Door for WebDoor {
    fn admit(&self, token: Option<&str>, right: Right) -> Result<(), Refusal> {
        match self.mode {
            Mode::Open => Ok(()),
            Mode::Grants => self.grants.admit_bearer(Clock::read(), token, right),
        }
    }
}

/// A running daemon, as its HTTP server sees it.
pub(super) struct DaemonFacts {
    sessions: Sessions,
    media: Media,
    fanout: Fanout,
    pulse: Pulse,
    started: SystemTime,
    state: Mutex<StateMaker>,
    health: tokio::sync::Mutex<HealthMaker>,
}

struct StateMaker {
    writer: StateWriter,
    system: System,
    made: Option<(Instant, Value)>,
}

struct HealthMaker {
    checkup: Checkup,
    made: Option<(Instant, Option<String>)>,
}

impl DaemonFacts {
    pub fn new(sessions: Sessions, media: Media, fanout: Fanout, pulse: Pulse) -> Self {
        let checkup = Checkup::new(sessions.clone(), media.clone(), pulse.clone(), fanout.clone());
        let state = StateMaker { writer: StateWriter::default(), system: System::new(), made: None };
        Self {
            sessions,
            media,
            fanout,
            pulse,
            started: SystemTime::now(),
            state: Mutex::new(state),
            health: tokio::sync::Mutex::new(HealthMaker { checkup, made: None }),
        }
    }

    fn maker(&self) -> MutexGuard<'_, StateMaker> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn still_fresh<T: Clone>(made: Option<&(Instant, T)>, now: Instant) -> Option<T> {
    made.filter(|(at, _)| now.saturating_duration_since(*at) < FRESH).map(|(_, value)| value.clone())
}

#[async_trait]
impl Facts for DaemonFacts {
    fn state(&self) -> Value {
        let now = Instant::now();
        let mut maker = self.maker();
        if let Some(state) = still_fresh(maker.made.as_ref(), now) {
            return state;
        }
        let media = self.media.status().borrow().clone();
        let system = maker.system.read();
        let parts = StateParts {
            time: SystemTime::now(),
            now,
            uptime: maker.system.uptime(),
            streaming: media.state != CameraState::Off,
            media: &media,
            max_viewers: self.sessions.max_viewers(),
            sessions: &self.sessions.live(),
            system,
        };
        let state = maker.writer.state(&parts);
        maker.made = Some((now, state.clone()));
        state
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
        if let Some(ailment) = still_fresh(maker.made.as_ref(), Instant::now()) {
            return ailment;
        }
        let ailment = maker.checkup.check().await.err().map(|ailment| ailment.to_string());
        maker.made = Some((Instant::now(), ailment.clone()));
        ailment
    }
}
