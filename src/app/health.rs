//! Whether the daemon does its work: what the service manager's watchdog is fed by, and what its status says.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::gateway::{Presence, Pulse};
use crate::base::tasks::{EndedEarly, TaskGroup};
use crate::media::{CameraState, Media, MediaStatus};
use crate::sessions::Sessions;
use crate::stream::Fanout;

/// How long a part may take to answer one question.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// A task that has not answered for this long is stuck.
const TASK_LIMIT: Duration = Duration::from_secs(20);
/// The MQTT connection's task moves at least every 40 s, and so often only while a write hangs.
const LINK_LIMIT: Duration = Duration::from_mins(1);
/// The capture thread may be held up by a driver, and by looking for encoders on a slow board.
const CAMERA_LIMIT: Duration = Duration::from_mins(2);
/// A live camera without pictures: its own watchdog restarts the pipeline after 3 s.
const PICTURE_LIMIT: Duration = Duration::from_secs(20);

/// One look at the parts of the daemon.
#[derive(Debug, Clone)]
struct Vitals {
    /// The first task that is gone.
    ended_early: Option<EndedEarly>,
    sessions_answer: bool,
    gateway_answers: bool,
    camera_answers: bool,
    link_silence: Duration,
    camera: CameraState,
    /// Pictures since the start.
    pictures: u64,
}

/// A part of the daemon that does not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ailment {
    /// A task is gone: nothing brings it back but a restart.
    #[error(transparent)]
    Task(#[from] EndedEarly),
    /// The task with the table of sessions.
    #[error("the task of the sessions does not answer")]
    Sessions,
    /// The task that routes messages.
    #[error("the task that routes MQTT messages does not answer")]
    Gateway,
    /// The task of the broker connection.
    #[error("the task of the broker connection stands still")]
    Link,
    /// The capture thread.
    #[error("the camera's thread does not answer: a driver hangs")]
    Camera,
    /// Live without pictures.
    #[error("the camera is live, but no picture comes")]
    Pictures,
}

/// When each part was last seen well.
#[derive(Debug)]
struct Health {
    sessions: Instant,
    gateway: Instant,
    camera: Instant,
    pictures: Instant,
    seen_pictures: u64,
}

impl Health {
    fn new(now: Instant) -> Self {
        Self { sessions: now, gateway: now, camera: now, pictures: now, seen_pictures: 0 }
    }

    /// Takes a look into account; a part that was unwell for too long is an error.
    ///
    /// A camera that is lost or refuses is none: the daemon waits for it, and a restart would only
    /// end the sessions.
    fn check(&mut self, now: Instant, vitals: &Vitals) -> Result<(), Ailment> {
        if let Some(ended) = &vitals.ended_early {
            return Err(Ailment::Task(ended.clone()));
        }
        let flows = vitals.camera != CameraState::Live || vitals.pictures != self.seen_pictures;
        self.seen_pictures = vitals.pictures;
        let parts = [
            (&mut self.sessions, vitals.sessions_answer, TASK_LIMIT, Ailment::Sessions),
            (&mut self.gateway, vitals.gateway_answers, TASK_LIMIT, Ailment::Gateway),
            (&mut self.camera, vitals.camera_answers, CAMERA_LIMIT, Ailment::Camera),
            (&mut self.pictures, flows, PICTURE_LIMIT, Ailment::Pictures),
        ];
        let mut found = Ok(());
        for (last, is_well, limit, ailment) in parts {
            if is_well {
                *last = now;
            } else if now.saturating_duration_since(*last) >= limit {
                found = found.and(Err(ailment));
            }
        }
        if vitals.link_silence >= LINK_LIMIT {
            found = found.and(Err(Ailment::Link));
        }
        found
    }
}

/// Looks at a running daemon.
pub struct Checkup {
    sessions: Sessions,
    media: Media,
    pulse: Pulse,
    fanout: Fanout,
    status: watch::Receiver<MediaStatus>,
    presence: watch::Receiver<Presence>,
    ended_early: watch::Receiver<Option<EndedEarly>>,
    health: Health,
}

impl Checkup {
    /// `tasks`: those of the whole daemon.
    pub(super) fn new(
        sessions: Sessions,
        media: Media,
        pulse: Pulse,
        fanout: Fanout,
        tasks: &TaskGroup,
    ) -> Self {
        let (status, presence) = (media.status(), pulse.presence());
        let (ended_early, health) = (tasks.ended_early(), Health::new(Instant::now()));
        Self { sessions, media, pulse, fanout, status, presence, ended_early, health }
    }

    /// Asks every part for a sign of life. Takes two seconds at most.
    pub async fn check(&mut self) -> Result<(), Ailment> {
        let (sessions, gateway, camera) = tokio::join!(
            tokio::time::timeout(ANSWER_LIMIT, self.sessions.ping()),
            tokio::time::timeout(ANSWER_LIMIT, self.pulse.ping()),
            tokio::time::timeout(ANSWER_LIMIT, self.media.ping()),
        );
        let vitals = Vitals {
            // One that is gone answers no less quickly.
            sessions_answer: sessions == Ok(true),
            gateway_answers: gateway == Ok(true),
            camera_answers: camera == Ok(true),
            ended_early: self.ended_early.borrow().clone(),
            link_silence: self.pulse.link_silence(),
            camera: self.status.borrow().state,
            pictures: self.fanout.published(),
        };
        self.health.check(Instant::now(), &vitals)
    }

    /// How the daemon is, in one line for people.
    pub fn words(&self) -> String {
        let media = self.status.borrow();
        let viewers = self.sessions.live().len();
        words(&self.presence.borrow(), media.state, media.error.as_deref(), viewers)
    }

    /// Resolves when [`Self::words`] may have changed.
    pub async fn changed(&mut self) {
        // The other ends live as long as the daemon; when they are gone there is nothing to tell.
        let gone = tokio::select! {
            changed = self.status.changed() => changed.is_err(),
            changed = self.presence.changed() => changed.is_err(),
            changed = self.ended_early.changed() => changed.is_err(),
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
mod tests {
    use super::*;

    const WELL: Vitals = Vitals {
        ended_early: None,
        sessions_answer: true,
        gateway_answers: true,
        camera_answers: true,
        link_silence: Duration::ZERO,
        camera: CameraState::Idle,
        pictures: 0,
    };

    /// Looks each second; gives after how many seconds something was found.
    fn found(mut look: impl FnMut(u64) -> Vitals, seconds: u64) -> Option<(u64, Ailment)> {
        let start = Instant::now();
        let mut health = Health::new(start);
        (0..seconds).find_map(|second| {
            let result = health.check(start + Duration::from_secs(second), &look(second));
            result.err().map(|ailment| (second, ailment))
        })
    }

    #[test]
    fn a_daemon_at_work_is_well() {
        assert_eq!(found(|_| WELL, 1000), None);
        let live = |second| Vitals { camera: CameraState::Live, pictures: second * 30, ..WELL };
        assert_eq!(found(live, 1000), None);
    }

    #[test]
    fn each_part_may_be_busy_for_a_while_and_no_longer() {
        let sessions = |_| Vitals { sessions_answer: false, ..WELL };
        assert_eq!(found(sessions, 1000), Some((20, Ailment::Sessions)));
        let gateway = |_| Vitals { gateway_answers: false, ..WELL };
        assert_eq!(found(gateway, 1000), Some((20, Ailment::Gateway)));
        let camera = |_| Vitals { camera_answers: false, ..WELL };
        assert_eq!(found(camera, 1000), Some((120, Ailment::Camera)));
        let link = |second| Vitals { link_silence: Duration::from_secs(second), ..WELL };
        assert_eq!(found(link, 1000), Some((60, Ailment::Link)));
        let now_and_then = |second| Vitals { sessions_answer: second % 19 == 0, ..WELL };
        assert_eq!(found(now_and_then, 1000), None);
    }

    #[test]
    fn a_task_that_is_gone_is_found_at_once_and_for_good() {
        let ended = EndedEarly { task: "grants", reason: "panic: on purpose".into() };
        let gone = |second| Vitals { ended_early: (second >= 5).then(|| ended.clone()), ..WELL };
        assert_eq!(found(gone, 1000), Some((5, Ailment::Task(ended.clone()))));
        let words = Ailment::Task(ended.clone()).to_string();
        assert_eq!(words, "the task \"grants\" ended early: panic: on purpose");
    }

    #[test]
    fn pictures_have_to_flow_while_the_camera_is_live_only() {
        let frozen = |second: u64| Vitals { camera: CameraState::Live, pictures: second.min(50), ..WELL };
        assert_eq!(found(frozen, 1000), Some((70, Ailment::Pictures)));
        for camera in [CameraState::Lost, CameraState::Error, CameraState::Off, CameraState::Starting] {
            assert_eq!(found(|_| Vitals { camera, ..WELL }, 1000), None, "{camera}");
        }
    }

    #[test]
    fn the_status_is_for_people() {
        assert_eq!(
            words(&Presence::Online, CameraState::Idle, None, 0),
            "online; nobody watches; camera idle"
        );
        assert_eq!(
            words(&Presence::Offline("refused".into()), CameraState::Lost, Some("unplugged"), 2),
            "no broker (refused); 2 viewers; camera lost: unplugged"
        );
    }
}
