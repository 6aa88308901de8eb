//! What the device says of itself: `availability`, `info`, `state`, `event`, and answers to commands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::app::address;
use crate::app::state::StateSource;
use crate::base::stats::SystemFigures;
use crate::base::text;
use crate::config::Commands;
use crate::dashboard::channel::{self, ChannelError};
use crate::dashboard::events;
use crate::dashboard::info::{self, DeviceInfo};
use crate::dashboard::schedule::PublishSchedule;
use crate::dashboard::state;
use crate::media::MediaStatus;
use crate::peer::channel::ViewerChannel;
use crate::sessions::SessionEvent;
use crate::signaling::mqtt::{AnswerTo, Outgoing};
use crate::signaling::topic::Topics;

/// The topics of the two switches over what can be seen and heard, which the log tells of.
pub(super) const PRIVACY: &str = "set/streaming";
pub(super) const AUDIO: &str = "set/audio";

/// Takes messages for the broker without waiting.
#[derive(Clone)]
pub(super) struct BrokerOutbox(Arc<dyn Fn(Outgoing) -> bool + Send + Sync>);

impl BrokerOutbox {
    /// What it takes goes to `put`, which tells whether there was room.
    pub fn new(put: impl Fn(Outgoing) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(put))
    }

    /// Queues a message; false when there is no room.
    pub fn publish(&self, message: Outgoing) -> bool {
        (self.0)(message)
    }
}

/// Whom to answer, and about what.
pub(super) struct Answer {
    /// The command's topic, without root and device.
    pub topic: String,
    /// The `id` of the command's JSON.
    pub id: Option<Value>,
    pub to: Asker,
}

/// Who has asked.
pub(super) enum Asker {
    /// A dashboard, by the broker. It hears of the outcome by an event, and where it has asked for that.
    Dashboard(Option<AnswerTo>),
    /// A viewer, by its data channel, which alone hears of it.
    Viewer(Arc<ViewerChannel>),
}

impl Asker {
    /// How far it is trusted, where dashboards are trusted as `dashboards` says. A viewer's offer was signed, so that it needs no
    /// broker's word; in open access nothing is.
    pub fn trust(&self, dashboards: Commands) -> Commands {
        match self {
            Self::Viewer(channel) if channel.live.grant.is_some() => Commands::All,
            Self::Viewer(_) | Self::Dashboard(_) => dashboards,
        }
    }
}

/// Publishes what the device says, and knows when `state` is due.
pub(super) struct Publisher {
    outbox: BrokerOutbox,
    topics: Arc<Topics>,
    device: DeviceInfo,
    /// How the page's addresses begin, and where it listens.
    page: Option<(&'static str, SocketAddr)>,
    state: Arc<StateSource>,
    schedule: PublishSchedule,
    /// Whoever may watch reads `state` at this broker.
    is_read_by_viewers: bool,
    /// The `info` that the broker has, to publish it again only when it differs.
    info_sent: Option<Value>,
    /// Somebody said that we are away.
    is_denied: bool,
}

impl Publisher {
    pub fn new(
        outbox: BrokerOutbox,
        topics: Arc<Topics>,
        device: DeviceInfo,
        page: Option<(&'static str, SocketAddr)>,
        state: Arc<StateSource>,
        is_read_by_viewers: bool,
    ) -> Self {
        Self {
            outbox,
            topics,
            device,
            page,
            state,
            is_read_by_viewers,
            schedule: PublishSchedule::new(),
            info_sent: None,
            is_denied: false,
        }
    }

    /// A broker is there that may have heard nothing yet.
    pub fn connected(&mut self) {
        self.info_sent = None;
        self.schedule.reset();
        self.retain("availability", "online");
    }

    /// Whether somebody says in our name that we are away.
    pub fn is_absence(&self, topic: &str, payload: &[u8]) -> bool {
        payload == b"offline" && topic == self.topics.leaf("availability")
    }

    /// `online` is said again with the next `state`, which comes soon, and not more than once a second.
    pub fn deny_absence(&mut self) {
        self.is_denied = true;
        self.changed();
    }

    /// Something is different: `state` is published soon.
    pub fn changed(&mut self) {
        self.schedule.change();
    }

    /// When `state` is to be published next.
    pub fn due(&self, now: Instant) -> Instant {
        self.schedule.due(now)
    }

    /// The name for people, as it is in `info`.
    pub fn set_name(&mut self, name: String) {
        self.device.name = name;
        self.changed();
    }

    /// The privacy switch, as it is in `state`.
    pub fn set_streaming(&mut self, on: bool) {
        self.state.set_streaming(on);
        self.changed();
    }

    /// The picture that the broker keeps from now on, by the time it was taken; `None` for none.
    pub fn set_snapshot(&self, taken: Option<SystemTime>) {
        self.state.set_snapshot(taken);
    }

    /// What `info` is made of.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// Where messages on other topics go.
    pub fn outbox(&self) -> &BrokerOutbox {
        &self.outbox
    }

    /// Processor and memory, as they are in `state`.
    pub fn system(&self, now: Instant) -> SystemFigures {
        self.state.system(now)
    }

    /// Publishes `info` if the broker does not have it yet.
    pub fn publish_info(&mut self, media: &MediaStatus) {
        // Looked for each time: the machine may get its address later than the daemon starts.
        let whep = |(scheme, listen)| format!("{scheme}://{}/whep", address::reachable(listen));
        self.device.whep = self.page.map(whep);
        let mut info = info::info(&self.device, media);
        // Cameras choose their own names.
        text::clean(&mut info);
        if self.info_sent.as_ref() != Some(&info) {
            self.retain("info", info.to_string());
            self.info_sent = Some(info);
        }
    }

    /// Publishes `state` as it is now.
    pub fn publish_state(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_denied) {
            self.retain("availability", "online");
        }
        let state = self.state.renewed(now);
        let told = if self.is_read_by_viewers { state::without_other_viewers(state, None) } else { state };
        self.retain("state", told.to_string());
        self.schedule.published(now);
    }

    /// Publishes an event.
    pub fn event(&self, event: &Value) {
        self.signal("event", harmless(event));
    }

    /// Publishes what happened to a session.
    pub fn session_event(&mut self, event: &SessionEvent) {
        self.event(&events::session_event(SystemTime::now(), event));
        self.changed();
    }

    /// Tells the outcome of one command: by an event, and where an answer was asked for.
    pub fn answer(&mut self, answer: Answer, result: &Result<(), String>) {
        let Answer { topic, id, to } = answer;
        let to = match to {
            Asker::Dashboard(to) => to,
            Asker::Viewer(channel) => {
                let error =
                    result.as_ref().err().map(|error| ChannelError { code: None, message: error.clone() });
                channel.answer(channel::reply(id.as_ref(), error.as_ref().map_or(Ok(()), Err)));
                self.changed();
                return;
            }
        };
        let mut fields = Map::new();
        fields.insert("topic".to_owned(), topic.into());
        fields.insert("ok".to_owned(), result.is_ok().into());
        fields.insert("error".to_owned(), json!(result.as_ref().err().map(|error| text::sentence(error))));
        if let Some(id) = id {
            fields.insert("id".to_owned(), id);
        }
        let event = events::event(SystemTime::now(), "command", fields);
        self.event(&event);
        self.changed();
        if let Some(to) = to.filter(|to| self.topics.may_answer_on(&to.topic)) {
            let reply = Outgoing::signal(to.topic, harmless(&event));
            self.outbox.publish(Outgoing { correlation: to.correlation, ..reply });
        }
    }

    /// Publishes what the broker keeps for those who come later; false when there is no room.
    pub fn retain(&self, leaf: &str, payload: impl Into<Bytes>) -> bool {
        self.outbox.publish(Outgoing::retained(self.topics.leaf(leaf), payload))
    }

    /// Publishes for whoever listens now; false when there is no room.
    pub fn signal(&self, leaf: &str, payload: impl Into<Bytes>) -> bool {
        self.outbox.publish(Outgoing::signal(self.topics.leaf(leaf), payload))
    }
}

/// Tells the outcome of one command, to the log and to whoever asked.
pub(super) fn tell(answer: Answer, result: &Result<(), String>, publisher: &mut Publisher) {
    let topic = &answer.topic;
    match result {
        Ok(()) if topic == PRIVACY || topic == AUDIO || topic.starts_with("do/") => {
            tracing::info!(topic, "command carried out");
        }
        Ok(()) => tracing::debug!(topic, "command carried out"),
        Err(error) => tracing::debug!(topic, error = text::sentence(error), "command refused"),
    }
    publisher.answer(answer, result);
}

/// An event as it goes out. Viewers, cameras and drivers choose their own words, which are cut; the `id` of a command is for whoever
/// sent it, and stays what it was.
fn harmless(event: &Value) -> String {
    let mut event = event.clone();
    let id = event.as_object_mut().and_then(|fields| fields.remove("id"));
    text::clean(&mut event);
    if let (Some(id), Some(fields)) = (id, event.as_object_mut()) {
        fields.insert("id".to_owned(), id);
    }
    text::json(&event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_carry_nothing_that_moves_a_cursor_and_ids_as_they_came() {
        let hostile = "a\n2026 \u{1b}[2J\u{9b}31m\u{202e}";
        let event = json!({"type": "camera-lost", "error": hostile.repeat(200), "device": hostile, "id": {"of": hostile}});
        let told = harmless(&event);
        assert!(told.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{told:?}");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["id"], event["id"]);
        assert!(
            told["error"].as_str().unwrap().len() < 3000 && !told["device"].as_str().unwrap().contains('\n')
        );
    }
}
