//! Announces the device to Home Assistant, and takes the announcement back when it is no longer wanted.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::publisher::BrokerOutbox;
use crate::app::persist::{Manner, Persist};
use crate::base::durable_file::DurableFile;
use crate::config::HomeAssistant;
use crate::dashboard::homeassistant::{self, Announced, DiscoveryFacts};
use crate::media::MediaStatus;
use crate::signaling::mqtt::Outgoing;

/// When Home Assistant starts it hears of every device at once: each waits for a time of its own before it is announced again.
const BIRTH_PAUSE_S: Range<f64> = 1.0..10.0;

/// What the broker keeps of us, so that it can be taken back in a later life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    topic: String,
    entities: Announced,
}

/// The announcement's state.
pub(super) struct Announcer {
    /// `None` when switched off.
    wanted: Option<HomeAssistant>,
    file: DurableFile,
    memory: Option<Memory>,
    /// The text that this connection's broker has.
    sent: Option<String>,
    /// The capture side when its camera was last known: Home Assistant keeps what an unplugged camera had.
    last_camera: Option<MediaStatus>,
    /// When to announce again.
    again: Option<Instant>,
}

impl Announcer {
    /// `wanted` as configured. Blocks.
    #[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "read once, before anything is served"))]
    pub fn new(wanted: Option<HomeAssistant>, state_dir: &Path) -> Self {
        let file = DurableFile::new(state_dir, "homeassistant.json");
        let memory = file.load().ok().flatten().and_then(|text| serde_json::from_str(&text).ok());
        Self { wanted, file, memory, sent: None, last_camera: None, again: None }
    }

    /// Whether `topic` is where Home Assistant tells of its start.
    pub fn is_birth(&self, topic: &str, payload: &[u8]) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_some_and(|wanted| topic == homeassistant::birth_topic(&wanted.prefix))
            && payload == b"online"
    }

    /// Announce again in any case.
    pub fn reset(&mut self) {
        self.sent = None;
        self.again = None;
    }

    /// Home Assistant has started: announce again in a while. `random` is in 0..1.
    pub fn is_born(&mut self, now: Instant, random: f64) {
        self.again.get_or_insert(now + birth_pause(random));
    }

    /// When [`Self::is_due`] becomes true.
    pub fn due(&self) -> Option<Instant> {
        self.again
    }

    /// Whether it is time to announce again.
    pub fn is_due(&self, now: Instant) -> bool {
        self.again.is_some_and(|at| at <= now)
    }

    /// Publishes what differs from what was announced.
    pub fn tell(&mut self, outbox: &BrokerOutbox, persist: &Persist, facts: &DiscoveryFacts<'_>) {
        if facts.is_complete() {
            self.last_camera = Some(facts.media.clone());
        }
        let topic = self
            .wanted
            .as_ref()
            .map(|wanted| homeassistant::discovery_topic(&wanted.prefix, &facts.device.id));
        if let Some(old) = self.memory.take_if(|memory| topic.as_ref() != Some(&memory.topic)) {
            // An empty retained message removes the device with all of its entities.
            if outbox.publish(Outgoing::retained(old.topic.clone(), "")) {
                // Trouble with the disk is said in the log, and it is tried again.
                persist.remove(&self.file);
            } else {
                self.memory = Some(old);
            }
        }
        let Some(topic) = topic else { return };
        let media = self.last_camera.as_ref().unwrap_or(facts.media);
        let facts = DiscoveryFacts { media, ..*facts };
        let announced = self.memory.as_ref().map(|memory| memory.entities.clone()).unwrap_or_default();
        // Announced without its controls, those would be removed and lose their history: the broker has the last
        // announcement, which is good until the camera is there.
        if !facts.is_complete() && !announced.is_empty() {
            return;
        }
        let (message, entities) = homeassistant::announcement(&facts, self.area(), &announced);
        let text = message.to_string();
        if self.sent.as_ref() == Some(&text)
            || !outbox.publish(Outgoing::retained(topic.clone(), text.clone()))
        {
            return;
        }
        // Names of what is gone stay in this connection's announcement, for a Home Assistant that is away.
        let gone =
            announced.into_iter().filter(|(key, _)| !entities.contains_key(key)).collect::<Announced>();
        self.sent = Some(text);
        self.remember(Memory { topic, entities: entities.into_iter().chain(gone).collect() }, persist);
    }

    fn area(&self) -> Option<&str> {
        self.wanted.as_ref()?.area.as_deref()
    }

    fn remember(&mut self, memory: Memory, persist: &Persist) {
        if self.memory.as_ref() == Some(&memory) {
            return;
        }
        match serde_json::to_string(&memory) {
            Ok(text) => drop(persist.save(&self.file, text, Manner::Usual)),
            Err(error) => tracing::warn!(%error, "a later life cannot take the announcement back"),
        }
        self.memory = Some(memory);
    }
}

fn birth_pause(random: f64) -> Duration {
    let Range { start, end } = BIRTH_PAUSE_S;
    Duration::from_secs_f64(start + (end - start) * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_house_of_devices_is_not_announced_in_one_instant() {
        let pauses = [-1.0, 0.0, 0.5, 1.0, f64::INFINITY].map(|random| birth_pause(random).as_secs_f64());
        assert_eq!(pauses, [1.0, 1.0, 5.5, 10.0, 10.0]);
        let dir = tempfile::tempdir().expect("a folder");
        let mut announcer = Announcer::new(None, dir.path());
        let now = Instant::now();
        assert!(announcer.due().is_none() && !announcer.is_due(now));
        announcer.is_born(now, 1.0);
        announcer.is_born(now, 0.0);
        assert_eq!(announcer.due(), Some(now + Duration::from_secs(10)), "once for several births");
        assert!(
            !announcer.is_due(now + Duration::from_secs(9))
                && announcer.is_due(now + Duration::from_secs(10))
        );
        announcer.reset();
        assert!(!announcer.is_due(now + Duration::from_secs(60)));
    }
}
