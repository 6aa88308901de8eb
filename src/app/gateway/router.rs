//! The task between the MQTT link and the rest: one loop over everything that can happen.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

use super::announce::Announcer;
use super::commands::{Done, Waiting};
use super::stills::Stills;
use super::{Ask, GatewayParts, Presence};
use crate::app::address;
use crate::base::stats::{System, SystemFigures};
use crate::config::Commands;
use crate::dashboard::coalesce::Coalescer;
use crate::dashboard::documents::{self, Identity, StateParts, StateWriter};
use crate::dashboard::homeassistant::Facts;
use crate::dashboard::pace::Pace;
use crate::media::MediaStatus;
use crate::signaling::message::{Down, Rejected, Up};
use crate::signaling::mqtt::{Incoming, Link, LinkEvent, Outgoing};
use crate::signaling::topic::{Id, Inbound, Topics};

/// Reports of tasks that may wait.
const DONE_QUEUE: usize = 64;

/// Everything that the task owns.
pub(super) struct Router {
    pub(super) link: Link,
    pub(super) topics: Arc<Topics>,
    identity: Identity,
    pub(super) parts: GatewayParts,
    pub(super) pace: Pace,
    state: StateWriter,
    system: System,
    /// The `info` that the broker has, to publish it again only when it differs.
    info_sent: Option<Value>,
    presence: watch::Sender<Presence>,
    announcer: Announcer,
    /// The capture side when its camera was last known: Home Assistant keeps what an unplugged camera had.
    known: Option<MediaStatus>,
    /// Settings of dashboards that come faster than they can be carried out.
    pub(super) settings: Coalescer<Waiting>,
    pub(super) stills: Stills,
    pub(super) restarted: Option<Instant>,
    /// Commands that are answered once what they set is kept.
    pub(super) unanswered: usize,
    /// Where tasks of ours report.
    pub(super) done: mpsc::Sender<Done>,
}

impl Router {
    /// The second is what [`Self::run`] listens to.
    pub fn new(
        link: Link,
        topics: Arc<Topics>,
        identity: Identity,
        announcer: Announcer,
        parts: GatewayParts,
        presence: watch::Sender<Presence>,
    ) -> (Self, mpsc::Receiver<Done>) {
        let (done, reports) = mpsc::channel(DONE_QUEUE);
        let mut stills = Stills::new();
        stills.schedule(parts.settings.snapshots, Instant::now());
        let router = Self {
            link,
            topics,
            identity,
            parts,
            pace: Pace::new(),
            state: StateWriter::default(),
            system: System::new(),
            info_sent: None,
            presence,
            announcer,
            known: None,
            settings: Coalescer::new(),
            stills,
            restarted: None,
            unanswered: 0,
            done,
        };
        (router, reports)
    }

    /// Until told to stop, or the link ends.
    pub async fn run(
        mut self,
        mut inbox: mpsc::Receiver<LinkEvent>,
        mut asked: mpsc::Receiver<Ask>,
        mut reports: mpsc::Receiver<Done>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut media = self.parts.media.status();
        let mut before = media.borrow_and_update().clone();
        let mut ended_early = self.parts.tasks.ended_early();
        loop {
            let due = self.pace.due(Instant::now());
            let chore = [self.settings.due(), self.stills.due()].into_iter().flatten().min();
            let online = *self.presence.borrow() == Presence::Online;
            tokio::select! {
                _ = &mut stopped => break,
                event = inbox.recv() => match event {
                    Some(event) => self.link_event(event).await,
                    None => break,
                },
                Some(event) = self.parts.events.recv() => {
                    self.publish_event(&documents::session_event(SystemTime::now(), &event));
                    self.pace.change();
                }
                Ok(()) = media.changed() => {
                    let after = media.borrow_and_update().clone();
                    for event in documents::media_events(SystemTime::now(), &before, &after) {
                        self.publish_event(&event);
                    }
                    // While there is no camera there is no encoder: the next is compared with the last.
                    let encoder = after.encoder.clone().or(before.encoder);
                    before = MediaStatus { encoder, ..after };
                    self.pace.change();
                }
                Ok(()) = ended_early.changed() => self.pace.change(),
                Some(ask) = asked.recv() => self.ask(ask),
                Some(done) = reports.recv() => self.done(done).await,
                () = sleep_until(chore.unwrap_or_else(Instant::now).into()), if chore.is_some() => self.chores(online).await,
                () = sleep_until(due.into()), if online => self.publish_state(),
            }
        }
        if self.parts.tasks.ended_early().borrow().is_some() {
            // Why it ends: nobody hears it later.
            self.publish_state();
        }
        // Who was promised an answer gets it: what was set is kept now, or cannot be.
        self.parts.persist.flush().await;
        while self.unanswered > 0 {
            let Some(done) = reports.recv().await else { return };
            self.done(done).await;
        }
    }

    /// What is due by time.
    async fn chores(&mut self, online: bool) {
        self.set_what_waited().await;
        let now = Instant::now();
        if self.stills.due().is_some_and(|at| at <= now) {
            if online {
                self.take_scheduled(now);
            } else {
                self.stills.schedule(self.parts.settings.snapshots, now);
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Ping(done) => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            Ask::Settings(settings) => {
                self.identity.name.clone_from(&settings.name);
                if self.parts.settings.snapshots != settings.snapshots {
                    self.stills.schedule(settings.snapshots, Instant::now());
                }
                self.parts.settings = settings;
                self.refresh_snapshot();
                self.pace.change();
            }
            Ask::Privacy => self.look_at_privacy(),
        }
    }

    async fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => {
                self.presence.send_replace(Presence::Online);
                self.info_sent = None;
                self.announcer.reset();
                self.pace.reset();
                self.link.publish(Outgoing::retained(self.topics.leaf("availability"), "online"));
                self.refresh_snapshot();
            }
            LinkEvent::Disconnected { reason } => {
                self.presence.send_replace(Presence::Offline(reason));
            }
            LinkEvent::Message(incoming) => self.message(incoming).await,
        }
    }

    async fn message(&mut self, incoming: Incoming) {
        // A stale offer or command, kept by the broker, must not start the camera.
        if incoming.retain {
            return;
        }
        if self.announcer.is_birth(&incoming.topic, &incoming.payload) {
            self.announcer.reset();
            self.pace.change();
            return;
        }
        let topics = Arc::clone(&self.topics);
        match topics.parse(&incoming.topic) {
            Inbound::Signal(viewer) => self.signal(viewer, &incoming.payload).await,
            inbound @ (Inbound::Set(_) | Inbound::Do(_)) => {
                self.command(&inbound, &incoming.payload, incoming.answer_to).await;
            }
            // Nobody could be answered: the topic of the reply would not be valid either.
            Inbound::BadViewer | Inbound::Other => {}
        }
    }

    async fn signal(&self, viewer: Id, payload: &[u8]) {
        match Up::parse(payload) {
            Ok(up) => self.parts.sessions.message(viewer, up.session, up.kind).await,
            Err(Rejected { session, refusal }) => {
                tracing::debug!(%viewer, %refusal, "a signal message was refused");
                let reply = Down::Error(refusal).to_json(&session);
                self.link.publish(Outgoing::signal(self.topics.down(&viewer), reply));
            }
        }
    }

    pub(super) fn publish_event(&self, event: &Value) {
        self.link.publish(Outgoing::signal(self.topics.leaf("event"), event.to_string()));
    }

    fn publish_state(&mut self) {
        let status = self.parts.media.status();
        let media = status.borrow().clone();
        let address = |(scheme, listen)| format!("{scheme}://{}/whep", address::reachable(listen));
        self.identity.whep = self.parts.page.map(address);
        let info = documents::info(&self.identity, &media);
        if self.info_sent.as_ref() != Some(&info) {
            self.link.publish(Outgoing::retained(self.topics.leaf("info"), info.to_string()));
            self.info_sent = Some(info);
        }
        let system = self.system.read();
        self.announce(&media, &system);
        let now = Instant::now();
        let mut state = self.state.state(&StateParts {
            time: SystemTime::now(),
            now,
            uptime: self.system.uptime(),
            streaming: self.parts.privacy.is_on(),
            media: &media,
            max_viewers: self.parts.settings.max_viewers,
            sessions: &self.parts.sessions.live(),
            system,
        });
        if let Some(ended) = self.parts.tasks.ended_early().borrow().as_ref() {
            state["ailment"] = ended.to_string().into();
        }
        self.link.publish(Outgoing::retained(self.topics.leaf("state"), state.to_string()));
        self.pace.published(now);
    }

    fn announce(&mut self, media: &MediaStatus, system: &SystemFigures) {
        if media.ready && !media.modes().is_empty() {
            self.known = Some(media.clone());
        }
        let facts = Facts {
            identity: &self.identity,
            topics: &self.topics,
            media: self.known.as_ref().unwrap_or(media),
            commands: self.parts.settings.commands != Commands::None,
            snapshots: self.parts.settings.snapshots.allowed,
            system,
        };
        self.announcer.tell(&self.link, &self.parts.persist, &facts);
    }
}
