//! Carries out what dashboards ask, and answers each command once: by an event, and where an answer was asked for.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::router::Router;
use crate::app::persist::{Found, NotKept, Saving};
use crate::app::privacy::Look;
use crate::dashboard::coalesce::Offered;
use crate::dashboard::command::{self, Command, Policy, Request, Resolution};
use crate::dashboard::documents;
use crate::media::{MediaError, Snapshot, mode};
use crate::signaling::mqtt::{AnswerTo, Outgoing};
use crate::signaling::topic::Inbound;

/// Restarts of the pipeline are not worth more often than this.
const RESTART_GAP: Duration = Duration::from_secs(1);
const SUPERSEDED: &str = "a later value came before it could be carried out";
const PRIVACY: &str = "set/streaming";

/// Whom to answer, and about what.
pub(super) struct Answer {
    topic: String,
    id: Option<Value>,
    to: Option<AnswerTo>,
}

/// A setting that waits for its turn.
pub(super) struct Waiting {
    command: Command,
    answer: Answer,
}

/// What a task of ours has finished.
pub(super) enum Done {
    Control {
        name: String,
        result: Result<i64, MediaError>,
        answer: Answer,
    },
    Snapshot(Result<Snapshot, MediaError>),
    /// What was set is kept, or not.
    Saved {
        result: Result<(), NotKept>,
        answer: Answer,
    },
    /// The file of the privacy switch was read.
    Privacy {
        look: Look,
        found: Found,
    },
}

impl Router {
    pub(super) fn policy(&self) -> Policy {
        let settings = &self.parts.settings;
        Policy {
            commands: settings.commands,
            snapshots: settings.snapshots.allowed,
            off_locally: self.parts.privacy.is_off_locally(),
        }
    }

    /// A message on `set` or `do`.
    pub(super) async fn command(&mut self, inbound: &Inbound<'_>, payload: &[u8], to: Option<AnswerTo>) {
        let Request { topic, id, command } = match inbound {
            Inbound::Set(setting) => command::set(setting, payload, self.policy()),
            Inbound::Do(action) => command::action(action, payload, self.policy()),
            _ => return,
        };
        let answer = Answer { topic, id, to };
        match command {
            Ok(command) => self.begin(command, answer).await,
            Err(error) => self.answer(answer, &Err(error)),
        }
    }

    async fn begin(&mut self, command: Command, answer: Answer) {
        match command {
            // It waits for nothing, and nothing that waits may undo it.
            Command::Streaming(false) => {
                if let Some(waiting) = self.settings.withdraw(PRIVACY) {
                    self.answer(waiting.answer, &Err(SUPERSEDED.to_owned()));
                }
                let saving = self.set_streaming(false).await;
                self.answer_when_kept(answer, saving);
            }
            Command::Streaming(true)
            | Command::Bitrate(_)
            | Command::Resolution(_)
            | Command::Control { .. } => {
                let setting = answer.topic.clone();
                match self.settings.offer(Instant::now(), &setting, Waiting { command, answer }) {
                    Offered::Now(waiting) => self.set(&setting, waiting).await,
                    Offered::Waits(Some(old)) => self.answer(old.answer, &Err(SUPERSEDED.to_owned())),
                    Offered::Waits(None) => {}
                }
            }
            Command::Snapshot { width } => self.ask_snapshot(width, answer),
            Command::KeyFrame => {
                self.parts.fanout.request_key_frame();
                self.answer(answer, &Ok(()));
            }
            Command::Warm(time) => {
                let result = self.warm(time);
                self.answer(answer, &result);
            }
            Command::Close { viewer, session } => {
                self.parts.sessions.close(viewer, session).await;
                self.answer(answer, &Ok(()));
            }
            Command::Restart => {
                let result = self.restart();
                self.answer(answer, &result);
            }
        }
    }

    /// Settings whose turn has come.
    pub(super) async fn set_what_waited(&mut self) {
        while let Some((setting, waiting)) = self.settings.take_due(Instant::now()) {
            self.set(&setting, waiting).await;
        }
    }

    async fn set(&mut self, setting: &str, waiting: Waiting) {
        let Waiting { command, answer } = waiting;
        let saving = match command {
            Command::Control { name, value } => return self.set_control(name, value, answer),
            // Turned off at the device while it waited: asked for again, it will be refused.
            Command::Streaming(true)
                if self.policy().off_locally
                    && self.parts.settings.commands != crate::config::Commands::All =>
            {
                Err("streaming was turned off at the device".to_owned())
            }
            Command::Streaming(on) => Ok(self.set_streaming(on).await),
            Command::Bitrate(kbps) => {
                self.parts.media.set_ceiling_kbps(kbps);
                self.parts.runtime_settings.values.bitrate_kbps = kbps;
                Ok(self.parts.runtime_settings.save(&self.parts.persist))
            }
            Command::Resolution(resolution) => self.set_resolution(resolution),
            _ => Err("this is no setting".to_owned()),
        };
        // The next value does not wait for the card: a slider moves on while it is written.
        self.settings.finish(Instant::now(), setting);
        match saving {
            Ok(saving) => self.answer_when_kept(answer, saving),
            Err(error) => self.answer(answer, &Err(error)),
        }
    }

    /// Answers once what was set is kept: `ok` holds over a restart.
    fn answer_when_kept(&mut self, answer: Answer, saving: Saving) {
        self.unanswered += 1;
        let done = self.done.clone();
        self.parts.tasks.spawn_finite("answer", async move {
            let result = saving.kept().await;
            // Fails only while the daemon ends.
            let _ = done.send(Done::Saved { result, answer }).await;
        });
    }

    async fn set_streaming(&mut self, on: bool) -> Saving {
        // First the camera, then the file: what was asked for must not wait for a slow card.
        self.apply_streaming(on).await;
        self.parts.privacy.set(on);
        self.parts.privacy.save(&self.parts.persist)
    }

    /// Looks whether somebody has turned the privacy switch by writing its file.
    pub(super) fn look_at_privacy(&mut self) {
        let (look, found) = self.parts.privacy.look(&self.parts.persist);
        let done = self.done.clone();
        self.parts.tasks.spawn_finite("privacy", async move {
            if let Some(found) = found.await {
                // Fails only while the daemon ends.
                let _ = done.send(Done::Privacy { look, found }).await;
            } else {
                tracing::warn!("the privacy switch's file could not be read now; it stays as it is");
            }
        });
    }

    async fn saw_privacy(&mut self, look: Look, found: &Found) {
        let seen = self.parts.privacy.seen(look, found);
        if seen.is_turned {
            let on = self.parts.privacy.is_on();
            tracing::info!(on, "the privacy switch was turned at the device");
            self.apply_streaming(on).await;
        }
        if seen.has_to_be_saved {
            // Trouble with the disk is said in the log.
            drop(self.parts.privacy.save(&self.parts.persist));
        }
    }

    /// Turns everything but the switch itself.
    pub(super) async fn apply_streaming(&mut self, on: bool) {
        self.parts.media.set_streaming(on);
        self.parts.sessions.set_streaming(on).await;
        if !on {
            self.clear_snapshot();
        }
        self.pace.change();
    }

    fn set_resolution(&mut self, resolution: Resolution) -> Result<Saving, String> {
        let Resolution { width, height, fps } = resolution;
        let modes = self.parts.media.status().borrow().modes();
        if modes.is_empty() {
            return Err("there is no camera whose sizes are known".to_owned());
        }
        if !mode::offers(&modes, (width, height), fps) {
            return Err(format!("{resolution} is none of the modes in info"));
        }
        self.parts.media.set_mode(Some((width, height)), fps.or(self.parts.fps));
        self.parts.runtime_settings.values.resolution = Some(resolution);
        Ok(self.parts.runtime_settings.save(&self.parts.persist))
    }

    /// The camera's driver may take its time, which viewers must not notice.
    fn set_control(&mut self, name: String, value: String, answer: Answer) {
        let (media, done) = (self.parts.media.clone(), self.done.clone());
        self.parts.tasks.spawn_finite("control", async move {
            let result = media.set_control(name.clone(), value).await;
            // Fails only while the daemon ends.
            let _ = done.send(Done::Control { name, result, answer }).await;
        });
    }

    pub(super) async fn done(&mut self, done: Done) {
        match done {
            Done::Snapshot(result) => self.snapshot_taken(result),
            Done::Control { name, result, answer } => {
                self.settings.finish(Instant::now(), &answer.topic);
                match result {
                    Ok(value) => {
                        self.parts.runtime_settings.set_control(name, value);
                        let saving = self.parts.runtime_settings.save(&self.parts.persist);
                        self.answer_when_kept(answer, saving);
                    }
                    Err(error) => self.answer(answer, &Err(error.to_string())),
                }
            }
            Done::Saved { result, answer } => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.answer(answer, &result.map_err(|reason| reason.to_string()));
            }
            Done::Privacy { look, found } => self.saw_privacy(look, &found).await,
        }
    }

    fn warm(&self, time: Duration) -> Result<(), String> {
        if !self.parts.privacy.is_on() {
            return Err("the privacy switch is off".to_owned());
        }
        self.parts.media.warm(time);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        let now = Instant::now();
        if self.restarted.is_some_and(|at| now.saturating_duration_since(at) < RESTART_GAP) {
            return Err("it was restarted less than a second ago".to_owned());
        }
        self.restarted = Some(now);
        self.parts.media.restart();
        Ok(())
    }

    /// Tells the outcome of one command.
    pub(super) fn answer(&mut self, answer: Answer, result: &Result<(), String>) {
        let Answer { topic, id, to } = answer;
        match result {
            Ok(()) if topic == PRIVACY || topic.starts_with("do/") => {
                tracing::info!(topic, "command carried out");
            }
            Ok(()) => tracing::debug!(topic, "command carried out"),
            Err(error) => tracing::debug!(topic, error, "command refused"),
        }
        let mut fields = Map::new();
        fields.insert("topic".to_owned(), topic.into());
        fields.insert("ok".to_owned(), result.is_ok().into());
        fields.insert("error".to_owned(), json!(result.as_ref().err()));
        if let Some(id) = id {
            fields.insert("id".to_owned(), id);
        }
        let event = documents::event(SystemTime::now(), "command", fields);
        self.publish_event(&event);
        if let Some(to) = to.filter(|to| self.topics.may_answer_on(&to.topic)) {
            let reply = Outgoing::signal(to.topic, event.to_string());
            self.link.publish(Outgoing { correlation: to.correlation, ..reply });
        }
        self.pace.change();
    }
}
