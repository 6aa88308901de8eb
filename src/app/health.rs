//! Whether the daemon does its work: what the service manager's watchdog is fed by, and what its status says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::ailment::Ailment;
use super::gateway::{GatewayHandle, Presence};
use crate::base::systemd;
use crate::base::tasks::{EndedEarly, TaskGroup};
use crate::media::{CameraState, Media, MediaStatus};
use crate::peer::Factory;
use crate::sessions::Sessions;
use crate::stream::Fanout;

/// How often the daemon looks at itself where no watchdog waits for it.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// And while something is not well.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// How long a part may take to answer one question.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// A task that has not answered for this long is stuck.
const TASK_LIMIT: Duration = Duration::from_secs(20);
/// The MQTT connection's task moves at least every 40 s, and so often only while a write hangs.
const BROKER_LIMIT: Duration = Duration::from_mins(1);
/// The capture thread may be held up by a driver, and by looking for encoders on a slow board.
const CAMERA_LIMIT: Duration = Duration::from_mins(2);
/// As good as one look: many who ask cost no more than one.
const FRESH: Duration = Duration::from_secs(1);
/// A live camera without pictures: its own watchdog restarts the pipeline after 3 s.
const PICTURE_LIMIT: Duration = Duration::from_secs(20);

/// One look at the parts of the daemon.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "one answer of each part that is asked")]
struct HealthReadings {
    /// The first task that is gone.
    ended_early: Option<EndedEarly>,
    /// A task that holds its thread for too long.
    held: Option<&'static str>,
    sessions_answer: bool,
    gateway_answers: bool,
    peers_answer: bool,
    camera_answers: bool,
    broker_silence: Duration,
    camera: CameraState,
    /// Pictures since the start.
    pictures: u64,
}

/// Since when each part is not well.
#[derive(Debug, Default)]
struct Health {
    sessions: Option<Instant>,
    gateway: Option<Instant>,
    peers: Option<Instant>,
    camera: Option<Instant>,
    pictures: Option<Instant>,
    seen_pictures: u64,
}

impl Health {
    /// Takes a look into account; a part that was unwell for too long is an error.
    ///
    /// A camera that is lost or refuses is none: the daemon waits for it, and a restart would only
    /// end the sessions.
    fn check(&mut self, now: Instant, readings: &HealthReadings) -> Result<(), Ailment> {
        if let Some(ended) = &readings.ended_early {
            return Err(Ailment::Task(ended.clone()));
        }
        if let Some(task) = readings.held {
            return Err(Ailment::Held(task));
        }
        let flows = readings.camera != CameraState::Live || readings.pictures != self.seen_pictures;
        self.seen_pictures = readings.pictures;
        let parts = [
            (&mut self.sessions, readings.sessions_answer, TASK_LIMIT, Ailment::Sessions),
            (&mut self.gateway, readings.gateway_answers, TASK_LIMIT, Ailment::Gateway),
            (&mut self.peers, readings.peers_answer, TASK_LIMIT, Ailment::Peers),
            (&mut self.camera, readings.camera_answers, CAMERA_LIMIT, Ailment::Camera),
            (&mut self.pictures, flows, PICTURE_LIMIT, Ailment::Pictures),
        ];
        let mut found = Ok(());
        for (since, is_well, limit, ailment) in parts {
            if is_well {
                *since = None;
            } else if now.saturating_duration_since(*since.get_or_insert(now)) >= limit {
                found = found.and(Err(ailment));
            }
        }
        if readings.broker_silence >= BROKER_LIMIT {
            found = found.and(Err(Ailment::BrokerConnection));
        }
        found
    }

    /// Whether some part has not been well since the last look, and another look is due soon.
    fn is_suspicious(&self) -> bool {
        [self.sessions, self.gateway, self.peers, self.camera, self.pictures].iter().any(Option::is_some)
    }
}

/// The parts that are asked.
pub(super) struct CheckedParts {
    pub sessions: Sessions,
    pub media: Media,
    pub gateway: GatewayHandle,
    pub peers: Arc<Factory>,
    pub fanout: Fanout,
    /// Those of the whole daemon.
    pub tasks: TaskGroup,
}

/// Looks at a running daemon. There is one of it, so that all who ask hear the same.
pub(super) struct HealthCheck {
    parts: CheckedParts,
    health: Health,
    latest: Option<(Instant, Option<Ailment>)>,
    /// Where it is told.
    ailment: watch::Sender<Option<Ailment>>,
}

impl HealthCheck {
    /// Whatever is found is told by `ailment`.
    pub fn new(parts: CheckedParts, ailment: watch::Sender<Option<Ailment>>) -> Self {
        Self { parts, health: Health::default(), latest: None, ailment }
    }

    /// Asks every part for a sign of life, unless that was done within the last second. Takes two seconds at most.
    pub async fn check(&mut self) -> Option<Ailment> {
        let now = Instant::now();
        match &self.latest {
            Some((at, found)) if now.saturating_duration_since(*at) < FRESH => found.clone(),
            _ => self.check_at(now).await,
        }
    }

    async fn check_at(&mut self, now: Instant) -> Option<Ailment> {
        let readings = self.readings(now).await;
        let found = self.health.check(now, &readings).err();
        self.latest = Some((now, found.clone()));
        self.ailment.send_if_modified(|told| {
            let is_other = *told != found;
            told.clone_from(&found);
            is_other
        });
        found
    }

    async fn readings(&self, now: Instant) -> HealthReadings {
        let CheckedParts { sessions, media, gateway, peers, fanout, tasks } = &self.parts;
        let ended_early = tasks.ended_early().borrow().clone();
        let is_gone = ended_early.is_some();
        // Nothing brings back what is gone, and asking it could only take time.
        let asked = async {
            tokio::join!(
                tokio::time::timeout(ANSWER_LIMIT, sessions.ping()),
                tokio::time::timeout(ANSWER_LIMIT, gateway.ping()),
                tokio::time::timeout(ANSWER_LIMIT, peers.ping()),
                tokio::time::timeout(ANSWER_LIMIT, media.ping()),
            )
        };
        let answers = if is_gone { (Ok(true), Ok(true), Ok(true), Ok(true)) } else { asked.await };
        HealthReadings {
            // One that is gone answers no less quickly.
            sessions_answer: answers.0 == Ok(true),
            gateway_answers: answers.1 == Ok(true),
            peers_answer: answers.2 == Ok(true),
            camera_answers: answers.3 == Ok(true),
            ended_early,
            held: tasks.held(now, TASK_LIMIT),
            broker_silence: gateway.broker_silence(),
            camera: media.status().borrow().state,
            pictures: fanout.published(),
        }
    }
}

/// One health_check for all who ask.
pub(super) type SharedHealthCheck = Arc<tokio::sync::Mutex<HealthCheck>>;

/// Tells the service manager how the daemon is, and feeds its watchdog while all is well. Never ends.
pub(super) async fn watch_over(
    health_check: SharedHealthCheck,
    mut condition: Condition,
    mut ended_early: watch::Receiver<Option<EndedEarly>>,
) {
    systemd::ready();
    let every = systemd::feed_every().unwrap_or(CHECK_EVERY);
    let (mut said, mut ailing, mut next) = (String::new(), None, tokio::time::Instant::now());
    loop {
        let words = condition.words();
        if words != said {
            systemd::status(&words);
            said = words;
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = condition.changed() => continue,
            Ok(()) = ended_early.changed() => {}
        }
        let mut health_check = health_check.lock().await;
        let found = health_check.check().await;
        let is_suspicious = found.is_some() || health_check.health.is_suspicious();
        drop(health_check);
        // What may be ill is looked at more often, so that it is known within its limit.
        next = tokio::time::Instant::now() + if is_suspicious { every.min(LOOK_AGAIN) } else { every };
        if found.is_none() {
            systemd::feed_watchdog();
        }
        match &found {
            Some(ailment) if ailing.as_ref() != Some(ailment) => {
                tracing::error!(%ailment, "the daemon is not well");
            }
            None if ailing.is_some() => tracing::info!("the daemon is well again"),
            _ => {}
        }
        ailing = found;
    }
}

/// How the daemon is, for people.
pub(super) struct Condition {
    sessions: Sessions,
    status: watch::Receiver<MediaStatus>,
    presence: watch::Receiver<Presence>,
}

impl Condition {
    pub fn new(sessions: Sessions, media: &Media, gateway: &GatewayHandle) -> Self {
        Self { sessions, status: media.status(), presence: gateway.presence() }
    }

    /// In one line.
    fn words(&self) -> String {
        // One after the other: whoever holds a status keeps its writer waiting, and with it all who read after.
        let viewers = self.sessions.live().len();
        let media = self.status.borrow().clone();
        let presence = self.presence.borrow().clone();
        words(&presence, media.state, media.error.as_deref(), viewers)
    }

    /// Resolves when [`Self::words`] may have changed.
    async fn changed(&mut self) {
        // The other ends live as long as the daemon; when they are gone there is nothing to tell.
        let gone = tokio::select! {
            changed = self.status.changed() => changed.is_err(),
            changed = self.presence.changed() => changed.is_err(),
        };
        if gone {
            std::future::pending::<()>().await;
        }
    }
}

fn words(presence: &Presence, camera: CameraState, error: Option<&str>, viewers: usize) -> String {
    let broker = match presence {
        Presence::Connecting => "connecting to the broker".to_owned(),
        Presence::Online => "online".to_owned(),
        Presence::Offline(reason) => format!("no broker ({reason})"),
    };
    let viewers = match viewers {
        0 => "nobody watches".to_owned(),
        1 => "1 viewer".to_owned(),
        viewers => format!("{viewers} viewers"),
    };
    let camera = match error {
        Some(error) => format!("camera {camera}: {error}"),
        None => format!("camera {camera}"),
    };
    format!("{broker}; {viewers}; {camera}")
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
