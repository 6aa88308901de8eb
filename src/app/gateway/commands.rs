//! Carries out what dashboards ask, and answers each command once: by an event, and where an answer was asked for.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::router::Router;
use crate::dashboard::coalesce::Offered;
use crate::dashboard::command::{self, Command, Policy, Request, Resolution};
use crate::dashboard::events;
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
    Control { name: String, result: Result<i64, MediaError>, answer: Answer },
    Snapshot(Result<Snapshot, MediaError>),
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
                let result = self.set_streaming(false).await;
                self.answer(answer, &result);
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
        let result = match command {
            Command::Control { name, value } => return self.set_control(name, value, answer),
            // Turned off at the device while it waited: asked for again, it will be refused.
            Command::Streaming(true)
                if self.policy().off_locally
                    && self.parts.settings.commands != crate::config::Commands::All =>
            {
                Err("streaming was turned off at the device".to_owned())
            }
            Command::Streaming(on) => self.set_streaming(on).await,
            Command::Bitrate(kbps) => {
                self.parts.media.set_ceiling_kbps(kbps);
                self.parts.adjustments.values.bitrate_kbps = kbps;
                self.save(false).await
            }
            Command::Resolution(resolution) => self.set_resolution(resolution).await,
            _ => Ok(()),
        };
        self.settings.finish(Instant::now(), setting);
        self.answer(answer, &result);
    }

    async fn set_streaming(&mut self, on: bool) -> Result<(), String> {
        // First the camera, then the file: what was asked for must not wait for a slow card.
        self.apply_streaming(on).await;
        self.parts.privacy.set(on).map_err(|error| {
            format!("done, but a restart will forget it: the state directory cannot be written: {error}")
        })?;
        Ok(())
    }

    /// Turns everything but the switch itself.
    pub(super) async fn apply_streaming(&mut self, on: bool) {
        self.parts.media.set_streaming(on);
        self.parts.sessions.set_streaming(on).await;
        if !on {
            self.clear_snapshot();
        }
        self.schedule.change();
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

    /// The camera's driver may take its time, which viewers must not notice.
    fn set_control(&mut self, name: String, value: String, answer: Answer) {
        let (media, done) = (self.parts.media.clone(), self.done.clone());
        tokio::spawn(async move {
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
                let result = match result {
                    Ok(value) => {
                        self.parts.adjustments.set_control(name, value);
                        self.save(false).await
                    }
                    Err(error) => Err(error.to_string()),
                };
                self.answer(answer, &result);
            }
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

    /// Writes what was adjusted, if it is time. A card may be slow, and viewers' tasks must not wait with it.
    pub(super) async fn save(&mut self, in_any_case: bool) -> Result<(), String> {
        let Some((file, text)) = self.parts.adjustments.take_unsaved(Instant::now(), in_any_case) else {
            return Ok(());
        };
        let saved = tokio::task::spawn_blocking(move || file.save(&text)).await;
        let saved = saved.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        saved.map_err(|error| {
            self.parts.adjustments.not_saved(&error);
            format!("done, but a restart will forget it: the state directory cannot be written: {error}")
        })
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
        let event = events::event(SystemTime::now(), "command", fields);
        self.publish_event(&event);
        if let Some(to) = to.filter(|to| self.topics.may_answer_on(&to.topic)) {
            let reply = Outgoing::signal(to.topic, event.to_string());
            self.link.publish(Outgoing { correlation: to.correlation, ..reply });
        }
        self.schedule.change();
    }
}
