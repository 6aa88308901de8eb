//! Carries out what dashboards ask, and answers each command once.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;

use super::controlled::Controlled;
use super::handle::ChannelCommand;
use super::picture::{self, ConfiguredPicture, MASKS};
use super::publisher::{AUDIO, Answer, Asker, PRIVACY, Publisher, tell};
use super::snapshots::SnapshotTaker;
use crate::app::persist::{FileReading, Persist, SaveError, Saving};
use crate::app::privacy::Look;
use crate::app::scene::SceneOutcome;
use crate::base::clock::now;
use crate::config::Commands;
use crate::dashboard::coalesce::{Coalescer, Offered};
use crate::dashboard::command::{self, Command, Policy, Request, Resolution};
use crate::dashboard::look::LookChange;
use crate::media::MediaError;
use crate::signaling::mqtt::AnswerTo;
use crate::signaling::topic::Inbound;

/// Camera controls that may be set at the same time; a camera has a few dozen.
const MAX_CONTROLS_UNDER_WAY: usize = 64;
const SUPERSEDED: &str = "a later value came before it could be carried out";
const ENDS: &str = "the device stops";

/// A setting that waits for its turn.
struct Waiting {
    command: Command,
    answer: Answer,
}

/// What came of something that took its time.
pub(super) enum Done {
    /// A control of the camera was set, or was not.
    Control { name: String, result: Result<i64, MediaError>, answer: Answer },
    /// The picture looks as it is to, and that is kept or not.
    Looks { result: Result<(), SaveError>, answer: Answer },
    /// The controls of a scene were set, or were not.
    Scene { name: String, outcome: SceneOutcome, answer: Answer },
    /// What was set is kept, or not.
    Saved { result: Result<(), SaveError>, answer: Answer },
    /// The file of the privacy switch was read, or could not be asked for.
    Privacy { look: Look, found: Option<FileReading> },
}

/// Carries out commands.
pub(super) struct CommandExecutor {
    parts: Controlled,
    /// How far dashboards are trusted.
    allowed: Commands,
    /// Settings that come faster than they can be carried out.
    settings: Coalescer<Waiting>,
    /// Drivers and cards may take their time, which viewers must not notice.
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Controls among them.
    controls: usize,
}

impl CommandExecutor {
    pub fn new(parts: Controlled, allowed: Commands) -> Self {
        Self { parts, allowed, settings: Coalescer::new(), under_way: FuturesUnordered::new(), controls: 0 }
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
        self.asked(inbound, payload, None, Asker::Dashboard(to), snapshots, publisher).await;
    }

    /// What a viewer asks by its data channel.
    pub async fn asked_by_viewer(
        &mut self,
        command: ChannelCommand,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) {
        let ChannelCommand { channel, id, is_set, name, payload } = command;
        let inbound = if is_set { Inbound::Set(&name) } else { Inbound::Do(&name) };
        self.asked(&inbound, payload.as_bytes(), id, Asker::Viewer(channel), snapshots, publisher).await;
    }

    async fn asked(
        &mut self,
        inbound: &Inbound<'_>,
        payload: &[u8],
        own_id: Option<Value>,
        to: Asker,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) {
        let policy = Policy {
            commands: to.trust(self.allowed),
            snapshots: snapshots.is_allowed(),
            off_locally: self.parts.privacy.is_off_locally(),
        };
        let Request { topic, id, command } = match inbound {
            Inbound::Set(setting) => command::set(setting, payload, policy),
            Inbound::Do(action) => command::action(action, payload, policy),
            _ => return,
        };
        let answer = Answer { topic, id: own_id.or(id), to };
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
            Command::Audio(false) => return self.silence(answer, publisher),
            Command::Streaming(false) => {
                self.withdraw(PRIVACY, publisher);
                let saving = self.set_streaming(false, snapshots, publisher).await;
                return self.answer_when_kept(answer, saving);
            }
            Command::Streaming(true)
            | Command::Audio(true)
            | Command::Bitrate(_)
            | Command::Resolution(_)
            | Command::Look(_)
            | Command::Scene(_)
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
            Command::Warm(time) => self.parts.warm(time),
            Command::Close { viewer, session } => {
                self.parts.sessions.close(viewer, session).await;
                Ok(())
            }
            Command::Restart => self.parts.restart(),
        };
        tell(answer, &result, publisher);
    }

    /// When [`Self::set_what_waited`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.settings.due()
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
        let saving = match command {
            Command::Control { name, value } if self.controls < MAX_CONTROLS_UNDER_WAY => {
                return self.begin_control(name, value, answer);
            }
            Command::Scene(name) if self.controls < MAX_CONTROLS_UNDER_WAY => {
                match self.parts.picture.choose(&name, &self.parts.media) {
                    Ok(chosen) => {
                        self.controls += 1;
                        let done = async move { Done::Scene { name, outcome: chosen.await, answer } };
                        return self.under_way.push(Box::pin(done));
                    }
                    Err(error) => Err(error),
                }
            }
            Command::Control { .. } | Command::Scene(_) => {
                Err("too many controls are being set; try again in a moment".to_owned())
            }
            // Turned off at the device while it waited: asked for again, it will be refused.
            Command::Streaming(true)
                if self.parts.privacy.is_off_locally() && answer.to.trust(self.allowed) != Commands::All =>
            {
                Err("streaming was turned off at the device".to_owned())
            }
            Command::Streaming(on) => Ok(self.set_streaming(on, snapshots, publisher).await),
            Command::Audio(on) => self.parts.set_audio(on),
            Command::Bitrate(kbps) => {
                self.parts.media.set_ceiling_kbps(kbps);
                self.parts.runtime_settings.values.bitrate_kbps = kbps;
                Ok(self.parts.runtime_settings.save(&self.parts.persist))
            }
            Command::Resolution(resolution) => self.set_resolution(resolution),
            Command::Look(change) => return self.begin_look(change, answer, snapshots, publisher),
            _ => Err("this is no setting".to_owned()),
        };
        // The next value does not wait for the card: a slider moves on while it is written.
        self.settings.finish(now(), setting);
        match saving {
            Ok(saving) => self.answer_when_kept(answer, saving),
            Err(error) => tell(answer, &Err(error), publisher),
        }
    }

    /// Answers once what was set is kept: `ok` holds over a restart.
    fn answer_when_kept(&self, answer: Answer, saving: Saving) {
        self.under_way.push(Box::pin(async move { Done::Saved { result: saving.outcome().await, answer } }));
    }

    async fn set_streaming(
        &mut self,
        on: bool,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) -> Saving {
        // First the camera, then the file: what was asked for must not wait for a slow card.
        self.apply_streaming(on, snapshots, publisher).await;
        self.parts.privacy.set(on);
        self.parts.privacy.save(&self.parts.persist)
    }

    fn silence(&mut self, answer: Answer, publisher: &mut Publisher) {
        self.withdraw(AUDIO, publisher);
        match self.parts.set_audio(false) {
            Ok(saving) => self.answer_when_kept(answer, saving),
            Err(error) => tell(answer, &Err(error), publisher),
        }
    }

    fn withdraw(&mut self, setting: &str, publisher: &mut Publisher) {
        if let Some(waiting) = self.settings.withdraw(setting) {
            tell(waiting.answer, &Err(SUPERSEDED.to_owned()), publisher);
        }
    }

    /// Looks whether somebody has turned the privacy switch by writing its file.
    pub fn look_at_privacy(&self) {
        let (look, found) = self.parts.privacy.look(&self.parts.persist);
        self.under_way.push(Box::pin(async move { Done::Privacy { look, found: found.await } }));
    }

    async fn saw_privacy(
        &mut self,
        look: Look,
        found: &FileReading,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) {
        let seen = self.parts.privacy.seen(look, found);
        if seen.is_turned {
            let on = self.parts.privacy.is_on();
            tracing::info!(on, "the privacy switch was turned at the device");
            self.apply_streaming(on, snapshots, publisher).await;
        }
        if seen.has_to_be_saved {
            // Trouble with the disk is said in the log.
            drop(self.parts.privacy.save(&self.parts.persist));
        }
    }

    /// Turns everything but the switch itself.
    async fn apply_streaming(&mut self, on: bool, snapshots: &mut SnapshotTaker, publisher: &mut Publisher) {
        publisher.set_streaming(on);
        self.parts.media.set_streaming(on);
        self.parts.sound.set_streaming(on);
        self.parts.sessions.set_streaming(on).await;
        if !on {
            snapshots.clear(publisher);
        }
    }

    fn set_resolution(&mut self, resolution: Resolution) -> Result<Saving, String> {
        let Controlled { runtime_settings, media, persist, fps, .. } = &mut self.parts;
        picture::set_resolution(resolution, *fps, runtime_settings, media, persist)
    }

    /// Has the picture look so; [`Self::done`] tells when it does, and whether that is kept.
    fn begin_look(
        &mut self,
        change: LookChange,
        answer: Answer,
        snapshots: &mut SnapshotTaker,
        publisher: &mut Publisher,
    ) {
        self.settings.finish(now(), &answer.topic);
        let is_trusted = answer.to.trust(self.allowed) == Commands::All;
        let Controlled { picture, runtime_settings, media, persist, .. } = &mut self.parts;
        let noted = picture.note(change, is_trusted, runtime_settings, media, persist);
        let saving = match noted {
            Ok(saving) => saving,
            Err(error) => return tell(answer, &Err(error), publisher),
        };
        if answer.topic == MASKS {
            snapshots.masks_changed(publisher);
        }
        let applied = self.tell_look();
        self.under_way.push(Box::pin(async move {
            // One that a later one has replaced is as good as in force.
            applied.await;
            Done::Looks { result: saving.outcome().await, answer }
        }));
    }

    /// The device is called otherwise.
    pub fn set_name(&mut self, name: &str) {
        if self.parts.picture.set_name(name) {
            drop(self.tell_look());
        }
    }

    fn tell_look(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.parts.picture.tell(&self.parts.runtime_settings, &self.parts.media)
    }

    fn scene_chosen(
        &mut self,
        name: String,
        outcome: SceneOutcome,
        answer: Answer,
        publisher: &mut Publisher,
    ) {
        self.controls = self.controls.saturating_sub(1);
        self.settings.finish(now(), &answer.topic);
        let failed = ConfiguredPicture::chosen(name, outcome, &mut self.parts.runtime_settings);
        drop(self.tell_look());
        let saving = self.parts.runtime_settings.save(&self.parts.persist);
        match failed {
            None => self.answer_when_kept(answer, saving),
            Some(words) => tell(answer, &Err(words), publisher),
        }
    }

    /// [`Self::done`] gives what comes of it.
    fn begin_control(&mut self, name: String, value: String, answer: Answer) {
        let media = self.parts.media.clone();
        self.controls += 1;
        self.under_way.push(Box::pin(async move {
            let result = media.set_control(name.clone(), value).await;
            Done::Control { name, result, answer }
        }));
    }

    /// What has come of something; `None` while nothing is under way. Can be cancelled.
    pub async fn done(&mut self) -> Option<Done> {
        self.under_way.next().await
    }

    /// Remembers and answers what [`Self::done`] gave.
    pub async fn finish(&mut self, done: Done, snapshots: &mut SnapshotTaker, publisher: &mut Publisher) {
        match done {
            Done::Control { name, result, answer } => {
                self.controls = self.controls.saturating_sub(1);
                self.settings.finish(now(), &answer.topic);
                match result {
                    Ok(value) => {
                        if self.parts.picture.ends_scene(&name, &mut self.parts.runtime_settings) {
                            drop(self.tell_look());
                        }
                        self.parts.runtime_settings.set_control(name, value);
                        let saving = self.parts.runtime_settings.save(&self.parts.persist);
                        self.answer_when_kept(answer, saving);
                    }
                    Err(error) => tell(answer, &Err(error.to_string()), publisher),
                }
            }
            Done::Scene { name, outcome, answer } => self.scene_chosen(name, outcome, answer, publisher),
            Done::Looks { result, answer } => {
                if answer.topic == MASKS {
                    // Once more: until now a picture without them could be taken.
                    snapshots.masks_changed(publisher);
                }
                tell(answer, &result.map_err(|reason| reason.to_string()), publisher);
            }
            Done::Saved { result, answer } => {
                tell(answer, &result.map_err(|reason| reason.to_string()), publisher);
            }
            Done::Privacy { look, found: Some(found) } => {
                self.saw_privacy(look, &found, snapshots, publisher).await;
            }
            Done::Privacy { found: None, .. } => {
                tracing::warn!("the privacy switch's file could not be read now; it stays as it is");
            }
        }
    }

    /// Whoever was promised an answer gets it: what was set is kept now, or cannot be.
    pub async fn close(mut self, snapshots: &mut SnapshotTaker, publisher: &mut Publisher) {
        for waiting in self.settings.withdraw_all() {
            tell(waiting.answer, &Err(ENDS.to_owned()), publisher);
        }
        snapshots.give_up(ENDS, publisher);
        self.parts.persist.flush().await;
        while let Some(done) = self.done().await {
            self.finish(done, snapshots, publisher).await;
        }
    }

    /// What keeps what is set.
    pub fn persist(&self) -> &Persist {
        &self.parts.persist
    }
}
