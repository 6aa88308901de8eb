//! The task between the MQTT client and the rest: one loop over everything that can happen.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::announcer::Announcer;
use super::commands::CommandExecutor;
use super::handle::{ChannelCommand, GatewayRequest, Presence};
use super::publisher::Publisher;
use super::snapshots::SnapshotTaker;
use crate::app::ailment::Ailment;
use crate::base::clock::now;
use crate::base::tasks::EndedEarly;
use crate::dashboard::events;
use crate::dashboard::homeassistant::DiscoveryFacts;
use crate::dashboard::sound;
use crate::media::{AudioStatus, MediaStatus};
use crate::sessions::{SessionEvent, Sessions};
use crate::signaling::message::{Rejected, Up};
use crate::signaling::mqtt::{Incoming, MqttEvent};
use crate::signaling::topic::{Id, Inbound, PROBE, Topics};

/// Decides what each thing that happens is for; others carry it out.
pub(super) struct Router {
    pub sessions: Sessions,
    pub topics: Arc<Topics>,
    pub publisher: Publisher,
    pub commands: CommandExecutor,
    pub snapshots: SnapshotTaker,
    pub announcer: Announcer,
    pub presence: watch::Sender<Presence>,
    pub inputs: Inputs,
}

/// What the task listens to.
pub(super) struct Inputs {
    /// From the broker.
    pub mqtt_events: mpsc::Receiver<MqttEvent>,
    /// From the sessions.
    pub events: mpsc::Receiver<SessionEvent>,
    /// From the rest of the daemon.
    pub requests: mpsc::Receiver<GatewayRequest>,
    /// From the viewers' data channels.
    pub channel_commands: mpsc::Receiver<ChannelCommand>,
    /// The capture side.
    pub media: watch::Receiver<MediaStatus>,
    /// The sound side.
    pub sound: watch::Receiver<AudioStatus>,
    /// A task that ended early.
    pub ended_early: watch::Receiver<Option<EndedEarly>>,
    /// What is not well.
    pub ailment: watch::Receiver<Option<Ailment>>,
}

impl Router {
    /// Until `stop` resolves, or the client ends.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut before = self.inputs.media.borrow_and_update().clone();
        let mut sound_before = self.inputs.sound.borrow_and_update().clone();
        loop {
            let online = self.is_online();
            let chores = [self.commands.due(), self.snapshots.due(), self.announcer.due()];
            let chore = chores.into_iter().flatten().min();
            let state = self.publisher.due(now());
            tokio::select! {
                () = &mut stop => break,
                event = self.inputs.mqtt_events.recv() => match event {
                    Some(event) => self.mqtt_event(event).await,
                    None => break,
                },
                Some(event) = self.inputs.events.recv() => self.publisher.session_event(&event),
                Ok(()) = self.inputs.media.changed() => before = self.media_changed(before),
                Ok(()) = self.inputs.sound.changed() => sound_before = self.sound_changed(&sound_before),
                Some(request) = self.inputs.requests.recv() => self.request(request),
                Some(command) = self.inputs.channel_commands.recv() => {
                    self.commands.asked_by_viewer(command, &mut self.snapshots, &mut self.publisher).await;
                }
                Some(done) = self.commands.done() => {
                    self.commands.finish(done, &mut self.snapshots, &mut self.publisher).await;
                }
                Ok(()) = self.inputs.ended_early.changed() => self.publisher.changed(),
                Ok(()) = self.inputs.ailment.changed() => self.publisher.changed(),
                picture = self.snapshots.taken() => {
                    let streaming = self.commands.is_streaming();
                    self.snapshots.finish(picture, streaming, now(), &mut self.publisher);
                }
                () = sleep_until(chore.unwrap_or_else(now).into()), if chore.is_some() => self.chores(online).await,
                () = sleep_until(state.into()), if online => self.publish_state(),
            }
        }
        self.finish().await;
    }

    /// What happened to the last sessions is told before the device says `offline`.
    async fn finish(mut self) {
        while let Ok(event) = self.inputs.events.try_recv() {
            self.publisher.session_event(&event);
        }
        if self.inputs.ended_early.borrow().is_some() {
            // Why it ends: nobody hears it later.
            self.publish_state();
        }
        self.commands.close(&mut self.snapshots, &mut self.publisher).await;
    }

    fn is_online(&self) -> bool {
        *self.presence.borrow() == Presence::Online
    }

    /// What is due by time.
    async fn chores(&mut self, online: bool) {
        self.commands.set_what_waited(&mut self.snapshots, &mut self.publisher).await;
        self.snapshots.take_due(now(), online && self.commands.is_streaming());
        if self.announcer.is_due(now()) {
            self.announcer.reset();
            self.publisher.changed();
        }
    }

    /// Tells what is different; gives what the next change is compared with.
    fn media_changed(&mut self, before: MediaStatus) -> MediaStatus {
        let after = self.inputs.media.borrow_and_update().clone();
        for event in events::media_events(SystemTime::now(), &before, &after) {
            self.publisher.event(&event);
        }
        self.publisher.changed();
        // While there is no camera there is no encoder: the next is compared with the last.
        let encoder = after.encoder.clone().or(before.encoder);
        MediaStatus { encoder, ..after }
    }

    /// The same of sound, whose level alone is no news.
    fn sound_changed(&mut self, before: &AudioStatus) -> AudioStatus {
        let after = self.inputs.sound.borrow_and_update().clone();
        if sound::differs(before, &after) {
            self.publisher.changed();
        }
        after
    }

    fn request(&mut self, request: GatewayRequest) {
        match request {
            GatewayRequest::Ping(done) => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            GatewayRequest::Settings(settings) => {
                self.commands.set_name(&settings.name);
                self.publisher.set_name(settings.name);
                self.commands.set_allowed(settings.commands);
                self.snapshots.set_policy(settings.snapshots, now());
                self.snapshots.refresh(self.commands.is_streaming(), &self.publisher);
            }
            GatewayRequest::Privacy => self.commands.look_at_privacy(),
        }
    }

    async fn mqtt_event(&mut self, event: MqttEvent) {
        match event {
            MqttEvent::Connected => {
                self.presence.send_replace(Presence::Online);
                self.announcer.reset();
                self.publisher.connected();
                self.snapshots.refresh(self.commands.is_streaming(), &self.publisher);
            }
            MqttEvent::Disconnected { reason } => {
                self.presence.send_replace(Presence::Offline(reason));
            }
            MqttEvent::Message(incoming) => self.message(incoming).await,
        }
    }

    async fn message(&mut self, incoming: Incoming) {
        // A stale offer or command, kept by the broker, must not start the camera.
        if incoming.retain {
            return;
        }
        if self.publisher.is_absence(&incoming.topic, &incoming.payload) {
            // The will of a former connection, whose end the broker has found out just now.
            self.publisher.deny_absence();
            return;
        }
        if self.announcer.is_birth(&incoming.topic, &incoming.payload) {
            self.announcer.is_born(now(), rand::random());
            return;
        }
        match self.topics.parse(&incoming.topic) {
            Inbound::Signal(viewer) => self.signal(viewer, &incoming.payload).await,
            Inbound::Set("") | Inbound::Do("") if incoming.payload == PROBE.as_bytes() => {}
            inbound @ (Inbound::Set(_) | Inbound::Do(_)) => {
                let (snapshots, publisher) = (&mut self.snapshots, &mut self.publisher);
                let Incoming { payload, answer_to, .. } = incoming;
                self.commands.receive(&inbound, &payload, answer_to, snapshots, publisher).await;
            }
            // Nobody could be answered: the topic of the reply would not be valid either.
            Inbound::BadViewer | Inbound::Other => {}
        }
    }

    async fn signal(&mut self, viewer: Id, payload: &[u8]) {
        match Up::parse(payload) {
            Ok(up) => self.sessions.message(viewer, up.session, up.kind).await,
            Err(Rejected { session, refusal }) => {
                self.sessions.refuse(viewer, session, refusal).await;
            }
        }
    }

    fn publish_state(&mut self) {
        let media = self.inputs.media.borrow().clone();
        self.publisher.publish_info(&media);
        let facts = DiscoveryFacts {
            device: self.publisher.device(),
            topics: &self.topics,
            media: &media,
            commands: self.commands.are_allowed(),
            snapshots: self.snapshots.is_allowed(),
            system: &self.publisher.system(now()),
        };
        self.announcer.tell(self.publisher.outbox(), self.commands.persist(), &facts);
        self.publisher.publish_state(now());
    }
}
