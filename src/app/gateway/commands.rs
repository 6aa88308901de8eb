//! Carries out what dashboards ask, and answers each command once.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::publisher::{Answer, Publisher};
use super::snapshots::SnapshotTaker;
use crate::app::adjustments::Adjustments;
use crate::app::privacy::PrivacySwitch;
use crate::base::clock::now;
use crate::config::Commands;
use crate::dashboard::coalesce::{Coalescer, Offered};
use crate::dashboard::command::{self, Command, Policy, Request, Resolution};
use crate::fanout::Fanout;
use crate::media::{Media, MediaError, mode};
use crate::sessions::Sessions;
use crate::signaling::mqtt::AnswerTo;
use crate::signaling::topic::Inbound;

/// Restarts of the pipeline are not worth more often than this.
const RESTART_GAP: Duration = Duration::from_secs(1);
/// Camera controls that may be set at the same time; a camera has a few dozen.
const MAX_CONTROLS_UNDER_WAY: usize = 64;
const SUPERSEDED: &str = "a later value came before it could be carried out";
const PRIVACY: &str = "set/streaming";

/// A setting that waits for its turn.
struct Waiting {
    command: Command,
    answer: Answer,
}

/// What came of setting a control of the camera.
pub(super) struct ControlSet {
    name: String,
    result: Result<i64, MediaError>,
    answer: Answer,
}

/// What commands act on.
pub(super) struct Controlled {
    pub sessions: Sessions,
    pub media: Media,
    pub fanout: Fanout,
    pub privacy: PrivacySwitch,
    pub adjustments: Adjustments,
    /// The configured rate in pictures per second.
    pub fps: Option<u32>,
}

/// Carries out commands.
pub(super) struct CommandExecutor {
    parts: Controlled,
    /// How far dashboards are trusted.
    allowed: Commands,
    /// Settings that come faster than they can be carried out.
    settings: Coalescer<Waiting>,
    /// Drivers may take their time, which viewers must not notice.
    controls: FuturesUnordered<Pin<Box<dyn Future<Output = ControlSet> + Send>>>,
    restarted: Option<Instant>,
}

impl CommandExecutor {
    pub fn new(parts: Controlled, allowed: Commands) -> Self {
        Self {
            parts,
            allowed,
            settings: Coalescer::new(),
            controls: FuturesUnordered::new(),
            restarted: None,
        }
    }

    /// Whether dashboards may command anything.
    pub fn are_allowed(&self) -> bool {
        self.allowed != Commands::None
    }

    /// Trusts dashboards this far from now on.
    pub fn set_allowed(&mut self, allowed: Commands) {
        self.allowed = allowed;
    }

    /// The privacy switch: whether the camera may run.
    pub fn is_streaming(&self) -> bool {
        self.parts.privacy.is_on()
    }

    /// A message on `set` or `do`.
    pub async fn receive(
        &mut self,
        inbound: &Inbound<'_>,
        payload: &[u8],
        to: Option<AnswerTo>,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) {
        let policy = Policy {
            commands: self.allowed,
            snapshots: snapshots.is_allowed(),
            off_locally: self.parts.privacy.is_off_locally(),
        };
        let Request { topic, id, command } = match inbound {
            Inbound::Set(setting) => command::set(setting, payload, policy),
            Inbound::Do(action) => command::action(action, payload, policy),
            _ => return,
        };
        let answer = Answer { topic, id, to };
        match command {
            Ok(command) => self.begin(command, answer, snapshots, publisher).await,
            Err(error) => tell(answer, &Err(error), publisher),
        }
    }

    async fn begin(
        &mut self,
        command: Command,
        answer: Answer,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) {
        let result = match command {
            // It waits for nothing, and nothing that waits may undo it.
            Command::Streaming(false) => {
                if let Some(waiting) = self.settings.withdraw(PRIVACY) {
                    tell(waiting.answer, &Err(SUPERSEDED.to_owned()), publisher);
                }
                self.set_streaming(false, snapshots, publisher).await
            }
            Command::Streaming(true)
            | Command::Bitrate(_)
            | Command::Resolution(_)
            | Command::Control { .. } => {
                let setting = answer.topic.clone();
                match self.settings.offer(now(), &setting, Waiting { command, answer }) {
                    Offered::Now(waiting) => self.set(&setting, waiting, snapshots, publisher).await,
                    Offered::Waits(Some(old)) => tell(old.answer, &Err(SUPERSEDED.to_owned()), publisher),
                    Offered::Waits(None) => {}
                }
                return;
            }
            Command::Snapshot { width } => return snapshots.ask(width, answer, publisher),
            Command::KeyFrame => {
                self.parts.fanout.request_key_frame();
                Ok(())
            }
            Command::Warm(time) => self.warm(time),
            Command::Close { viewer, session } => {
                self.parts.sessions.close(viewer, session).await;
                Ok(())
            }
            Command::Restart => self.restart(),
        };
        tell(answer, &result, publisher);
    }

    /// When [`Self::set_what_waited`] or [`Self::save`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        [self.settings.due(), self.parts.adjustments.due()].into_iter().flatten().min()
    }

    /// Carries out the settings whose turn has come.
    pub async fn set_what_waited(&mut self, snapshots: &mut SnapshotTaker, publisher: &mut Publisher) {
        while let Some((setting, waiting)) = self.settings.take_due(now()) {
            self.set(&setting, waiting, snapshots, publisher).await;
        }
    }

    async fn set(
        &mut self,
        setting: &str,
        waiting: Waiting,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) {
        let Waiting { command, answer } = waiting;
        let result = match command {
            Command::Control { name, value } if self.controls.len() < MAX_CONTROLS_UNDER_WAY => {
                return self.begin_control(name, value, answer);
            }
            Command::Control { .. } => {
                Err("too many controls are being set; try again in a moment".to_owned())
            }
            // Turned off at the device while it waited: asked for again, it will be refused.
            Command::Streaming(true)
                if self.parts.privacy.is_off_locally() && self.allowed != Commands::All =>
            {
                Err("streaming was turned off at the device".to_owned())
            }
            Command::Streaming(on) => self.set_streaming(on, snapshots, publisher).await,
            Command::Bitrate(kbps) => {
                self.parts.media.set_ceiling_kbps(kbps);
                self.parts.adjustments.values.bitrate_kbps = kbps;
                self.save(false).await
            }
            Command::Resolution(resolution) => self.set_resolution(resolution).await,
            _ => Ok(()),
        };
        self.settings.finish(now(), setting);
        tell(answer, &result, publisher);
    }

    async fn set_streaming(
        &mut self,
        on: bool,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) -> Result<(), String> {
        // First the camera, then the file: what was asked for must not wait for a slow card.
        self.apply_streaming(on, snapshots, publisher).await;
        self.parts.privacy.set(on).map_err(|error| {
            format!("done, but a restart will forget it: the state directory cannot be written: {error}")
        })?;
        Ok(())
    }

    /// Looks whether somebody has turned the privacy switch by writing its file.
    pub async fn look_at_privacy(&mut self, snapshots: &mut SnapshotTaker, publisher: &mut Publisher) {
        if self.parts.privacy.read_again() {
            let on = self.parts.privacy.is_on();
            tracing::info!(on, "the privacy switch was turned at the device");
            self.apply_streaming(on, snapshots, publisher).await;
        }
    }

    /// Turns everything but the switch itself.
    async fn apply_streaming(&mut self, on: bool, snapshots: &mut SnapshotTaker, publisher: &mut Publisher) {
        publisher.set_streaming(on);
        self.parts.media.set_streaming(on);
        self.parts.sessions.set_streaming(on).await;
        if !on {
            snapshots.clear(publisher);
        }
    }

    async fn set_resolution(&mut self, resolution: Resolution) -> Result<(), String> {
        let Resolution { width, height, fps } = resolution;
        let modes = self.parts.media.status().borrow().modes();
        if modes.is_empty() {
            return Err("there is no camera whose sizes are known".to_owned());
        }
        if !mode::offers(&modes, (width, height), fps) {
            return Err(format!("{resolution} is none of the modes in info"));
        }
        self.parts.media.set_mode(Some((width, height)), fps.or(self.parts.fps));
        self.parts.adjustments.values.resolution = Some(resolution);
        self.save(false).await
    }

    /// [`Self::control_set`] gives what comes of it.
    fn begin_control(&self, name: String, value: String, answer: Answer) {
        let media = self.parts.media.clone();
        self.controls.push(Box::pin(async move {
            let result = media.set_control(name.clone(), value).await;
            ControlSet { name, result, answer }
        }));
    }

    /// The next control that was set, or was not; `None` while none is being set. Can be cancelled.
    pub async fn control_set(&mut self) -> Option<ControlSet> {
        self.controls.next().await
    }

    /// Remembers and answers what [`Self::control_set`] gave.
    pub async fn finish_control(&mut self, set: ControlSet, publisher: &mut Publisher) {
        let ControlSet { name, result, answer } = set;
        self.settings.finish(now(), &answer.topic);
        let result = match result {
            Ok(value) => {
                self.parts.adjustments.set_control(name, value);
                self.save(false).await
            }
            Err(error) => Err(error.to_string()),
        };
        tell(answer, &result, publisher);
    }

    fn warm(&self, time: Duration) -> Result<(), String> {
        if !self.parts.privacy.is_on() {
            return Err("the privacy switch is off".to_owned());
        }
        self.parts.media.warm(time);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        let now = now();
        if self.restarted.is_some_and(|at| now.saturating_duration_since(at) < RESTART_GAP) {
            return Err("it was restarted less than a second ago".to_owned());
        }
        self.restarted = Some(now);
        self.parts.media.restart();
        Ok(())
    }

    /// Writes what was adjusted, if it is time. A card may be slow, and viewers' tasks must not wait with it.
    pub async fn save(&mut self, in_any_case: bool) -> Result<(), String> {
        let Some((file, text)) = self.parts.adjustments.take_unsaved(now(), in_any_case) else {
            return Ok(());
        };
        let saved = tokio::task::spawn_blocking(move || file.save(&text)).await;
        let saved = saved.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        saved.map_err(|error| {
            self.parts.adjustments.not_saved(&error);
            format!("done, but a restart will forget it: the state directory cannot be written: {error}")
        })
    }
}

/// Tells the outcome of one command, to the log and to whoever asked.
fn tell(answer: Answer, result: &Result<(), String>, publisher: &mut Publisher) {
    let topic = &answer.topic;
    match result {
        Ok(()) if topic == PRIVACY || topic.starts_with("do/") => {
            tracing::info!(topic, "command carried out");
        }
        Ok(()) => tracing::debug!(topic, "command carried out"),
        Err(error) => tracing::debug!(topic, error, "command refused"),
    }
    publisher.answer(answer, result);
}
