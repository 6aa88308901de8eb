//! Serves the viewers' data channels: tells them how things are, and has carried out what they ask, as far as their rights go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::authenticator::GrantAuthenticator;
use super::gateway::{ChannelCommand, GatewayHandle};
use super::sound::SoundSide;
use super::state::StateSource;
use crate::access::grant::Right;
use crate::access::permissions::Privilege;
use crate::base::clock::now;
use crate::base::limits::{TokenBucket, TokenRate};
use crate::base::text;
use crate::dashboard::channel::{self, Ask, ChannelError, TalkState};
use crate::dashboard::state;
use crate::media::{Media, MediaStatus};
use crate::peer::channel::{About, ChannelEvent, MAX_MESSAGE_BYTES, Said, ViewerChannel};
use crate::stream::Speaker;

/// How often viewers are told how their session is doing.
const STATS_EVERY: Duration = Duration::from_secs(1);
/// Commands of one viewer: a slider that is drawn stays below.
const COMMANDS: TokenRate = TokenRate { burst: 60.0, per_second: 30.0 };

/// What serves them.
pub(super) struct ChannelServer {
    events: mpsc::Receiver<ChannelEvent>,
    state: Arc<StateSource>,
    media: watch::Receiver<MediaStatus>,
    sound: SoundSide,
    /// Who has the word.
    speaker: watch::Receiver<Option<Speaker>>,
    /// To what carries commands out.
    commands: mpsc::Sender<ChannelCommand>,
    authenticator: Arc<GrantAuthenticator>,
    open: HashMap<u64, OpenChannel>,
    /// When the next stats are due.
    due: Instant,
}

/// One channel, and what its viewer was told last.
struct OpenChannel {
    channel: Arc<ViewerChannel>,
    commands: TokenBucket,
    camera: Value,
    controls: Map<String, Value>,
    talk: TalkState,
}

impl ChannelServer {
    pub fn new(
        events: mpsc::Receiver<ChannelEvent>,
        state: &Arc<StateSource>,
        (media, sound): (&Media, &SoundSide),
        gateway: &GatewayHandle,
        authenticator: &Arc<GrantAuthenticator>,
    ) -> Self {
        let (state, authenticator) = (Arc::clone(state), Arc::clone(authenticator));
        let (media, commands) = (media.status(), gateway.channel_commands());
        let (sound, speaker) = (sound.clone(), sound.talk().watch_speaker());
        let (open, due) = (HashMap::new(), now());
        Self { events, state, media, sound, speaker, commands, authenticator, open, due }
    }

    /// Until nobody can open one any more.
    pub async fn run(mut self) {
        loop {
            // Nothing wakes this while no channel is open.
            let is_watched = !self.open.is_empty();
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.event(event),
                    None => return,
                },
                Ok(()) = self.media.changed(), if is_watched => self.tell_changes(),
                Ok(()) = self.speaker.changed(), if is_watched => self.tell_talk(),
                () = sleep_until(self.due.into()), if is_watched => self.tell_stats(),
            }
        }
    }

    fn event(&mut self, event: ChannelEvent) {
        match event {
            ChannelEvent::Opened(channel) => {
                if self.open.is_empty() {
                    self.due = now();
                }
                let commands = TokenBucket::full(COMMANDS, now());
                let (number, camera, controls) = (channel.live.number, Value::Null, Map::new());
                let talk = TalkState::default();
                self.open.insert(number, OpenChannel { channel, commands, camera, controls, talk });
                self.tell_changes();
                self.tell_talk();
            }
            ChannelEvent::Said(channel, Said::Binary) => {
                let message = format!("a message is JSON as text, of at most {MAX_MESSAGE_BYTES} bytes");
                let error = ChannelError { code: Some("bad-message"), message };
                channel.answer(channel::reply(None, Err(&error)));
            }
            ChannelEvent::Said(channel, Said::Text(text)) => self.request(channel, &text),
        }
    }

    /// Answers `text` once, now or by whoever carries it out.
    fn request(&mut self, channel: Arc<ViewerChannel>, text: &str) {
        let (id, ask) = match channel::request(text) {
            Ok(request) => (request.id, request.ask),
            Err((id, error)) => return channel.answer(channel::reply(id.as_ref(), Err(&error))),
        };
        let (is_set, name, payload) = match ask {
            Ask::Ping { t } => return channel.answer(channel::pong(id.as_ref(), &t, time_ms())),
            Ask::Set { name, value } => (true, name, value),
            Ask::Do { action, payload } => (false, action, payload),
        };
        let is_talk = !is_set && name == "talk";
        let wish = match (is_set, is_talk) {
            (true, _) => Privilege::Set(&name),
            (false, true) => Privilege::Talk,
            (false, false) => Privilege::Do(&name),
        };
        if let Err(refusal) = self.authenticator.permit(channel.live.grant.as_ref(), wish) {
            let error = ChannelError { code: Some(refusal.code.as_str()), message: refusal.message };
            return channel.answer(channel::reply(id.as_ref(), Err(&error)));
        }
        let open = self.open.get_mut(&channel.live.number);
        let is_slow_enough = open.is_some_and(|open| open.commands.take(now()).is_ok());
        if is_slow_enough && is_talk {
            let refused = self.talk(channel.live.number, &payload).err();
            return channel.answer(channel::reply(id.as_ref(), refused.as_ref().map_or(Ok(()), Err)));
        }
        let command = ChannelCommand { channel, id, is_set, name, payload };
        let refused = if is_slow_enough {
            self.commands.try_send(command).err().map(mpsc::error::TrySendError::into_inner)
        } else {
            Some(command)
        };
        if let Some(command) = refused {
            let message = "too many commands came at once; wait a second".to_owned();
            let error = ChannelError { code: Some("rate-limited"), message };
            command.channel.answer(channel::reply(command.id.as_ref(), Err(&error)));
        }
    }

    /// Gives the word to this session, or takes it back.
    fn talk(&self, number: Speaker, payload: &str) -> Result<(), ChannelError> {
        if !channel::talk_wish(payload)? {
            self.sound.talk().end(number);
            return Ok(());
        }
        self.sound
            .begin_talk(number, now())
            .map_err(|(code, message)| ChannelError { code: Some(code), message })
    }

    /// Tells each viewer who has the word, if that has changed for it.
    fn tell_talk(&mut self) {
        self.speaker.mark_unchanged();
        // Who fell silent has lost it, which nobody else says.
        let speaker = self.sound.talk().speaker(now());
        for (number, open) in &mut self.open {
            let talk = TalkState::of(speaker, *number);
            if std::mem::replace(&mut open.talk, talk) != talk {
                open.channel.tell(About::Talk, channel::talk(talk));
            }
        }
    }

    /// Tells each viewer what differs from what it was told last.
    fn tell_changes(&mut self) {
        let media = self.media.borrow_and_update().clone();
        let (mut camera, mut controls) = (state::camera(&media), state::controls(&media));
        // Cameras and drivers choose their own words.
        text::clean(&mut camera);
        text::clean(&mut controls);
        let controls = controls.as_object().cloned().unwrap_or_default();
        for open in self.open.values_mut() {
            let OpenChannel { channel, camera: told, controls: told_controls, .. } = open;
            if channel::camera_differs(told, &camera) {
                told.clone_from(&camera);
                channel.tell(About::Camera, channel::camera(&camera));
            }
            for (name, value) in
                controls.iter().filter(|(name, value)| told_controls.get(*name) != Some(*value))
            {
                channel.tell(About::Control(name.clone()), channel::control(name, value));
            }
            if *told_controls != controls {
                told_controls.clone_from(&controls);
            }
        }
    }

    /// Tells each viewer how its session is doing, and forgets those whose channel has ended.
    fn tell_stats(&mut self) {
        self.due = now() + STATS_EVERY;
        self.open.retain(|_, open| open.channel.is_open());
        if self.open.is_empty() {
            return;
        }
        self.tell_talk();
        let state = self.state.latest(now());
        for open in self.open.values() {
            let live = &open.channel.live;
            let rights = self.authenticator.rights(live.grant.as_ref());
            if !rights.allow(Right::Talk) {
                // Taken away while he spoke.
                self.sound.talk().end(live.number);
            }
            let rights: Vec<_> = rights.iter().map(Right::as_str).collect();
            if let Some(stats) = channel::stats(&state, &live.viewer, &live.session, &rights) {
                open.channel.tell(About::Stats, stats);
            }
        }
    }
}

/// The device's clock, in ms since 1970.
fn time_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
