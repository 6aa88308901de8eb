//! The two bounded queues of a client: what waits to be published, and what waits to be told to the app.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::message::{Incoming, MqttEvent, Outgoing};

/// Messages that may wait for a broker that is away.
const OFFLINE_LIMIT: usize = 64;
/// Messages that may wait for a broker that is there: when a house of a thousand viewers ends, each is told, and so are
/// dashboards of each.
const ONLINE_LIMIT: usize = 4096;
/// Messages older than this when the broker comes back are of no use to anybody.
const STALE: Duration = Duration::from_secs(10);
/// Messages that may wait for a slow application, and the bytes they may hold.
const EVENT_LIMIT: usize = 1024;
const EVENT_BYTES_LIMIT: usize = 8 * 1024 * 1024;

/// What waits to be published, oldest first.
#[derive(Debug, Default)]
pub(super) struct OutQueue {
    waiting: VecDeque<(Instant, Outgoing)>,
    online: bool,
    lost: u64,
}

impl OutQueue {
    /// False when there is no room: the message is counted as lost.
    pub(super) fn push(&mut self, now: Instant, message: Outgoing) -> bool {
        let limit = if self.online { ONLINE_LIMIT } else { OFFLINE_LIMIT };
        if !self.online && self.waiting.len() >= limit {
            self.drop_stale(now);
        }
        if self.waiting.len() >= limit {
            self.lost += 1;
            return false;
        }
        self.waiting.push_back((now, message));
        true
    }

    pub(super) fn pop(&mut self) -> Option<(Instant, Outgoing)> {
        self.waiting.pop_front()
    }

    pub(super) fn put_back(&mut self, message: (Instant, Outgoing)) {
        self.waiting.push_front(message);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The broker is there: what waited too long is dropped, because an old answer only confuses.
    pub(super) fn go_online(&mut self, now: Instant) {
        self.drop_stale(now);
        self.online = true;
    }

    pub(super) fn go_offline(&mut self) {
        self.online = false;
    }

    pub(super) fn count_lost(&mut self) {
        self.lost += 1;
    }

    /// How many were lost since the last call, for one line in the log.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn drop_stale(&mut self, now: Instant) {
        let before = self.waiting.len();
        self.waiting.retain(|(since, _)| now.saturating_duration_since(*since) <= STALE);
        self.lost += (before - self.waiting.len()) as u64;
    }
}

/// What waits to be told to the application, oldest first.
#[derive(Debug, Default)]
pub(super) struct MqttEventQueue {
    waiting: VecDeque<MqttEvent>,
    bytes: usize,
    lost: u64,
}

impl MqttEventQueue {
    /// A message that finds no room is lost; a change of state never is, but replaces older ones that
    /// the application has not read.
    pub(super) fn push(&mut self, event: MqttEvent) {
        let full = self.waiting.len() >= EVENT_LIMIT;
        match event {
            MqttEvent::Message(ref message) => {
                let size = size(message);
                if full || self.bytes + size > EVENT_BYTES_LIMIT {
                    self.lost += 1;
                } else {
                    self.bytes += size;
                    self.waiting.push_back(event);
                }
            }
            MqttEvent::Connected | MqttEvent::Disconnected { .. } => {
                if full {
                    self.waiting.retain(|e| matches!(e, MqttEvent::Message(_)));
                }
                self.waiting.push_back(event);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<MqttEvent> {
        let event = self.waiting.pop_front()?;
        if let MqttEvent::Message(message) = &event {
            self.bytes -= size(message);
        }
        Some(event)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }

    /// How many were lost since the last call, for one line in the log.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

fn size(message: &Incoming) -> usize {
    message.topic.len() + message.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: usize) -> Outgoing {
        Outgoing::signal(format!("t/{n}"), "x")
    }

    fn incoming() -> MqttEvent {
        MqttEvent::Message(Incoming {
            topic: "t".into(),
            payload: "x".into(),
            retain: false,
            answer_to: None,
        })
    }

    #[test]
    fn a_full_queue_refuses_and_counts() {
        let (mut queue, now) = (OutQueue::default(), Instant::now());
        for n in 0..OFFLINE_LIMIT {
            assert!(queue.push(now, message(n)));
        }
        assert!(!queue.push(now, message(99)));
        assert_eq!((queue.take_lost(), queue.take_lost()), (1, 0));
        assert_eq!(queue.pop().map(|(_, m)| m.topic).as_deref(), Some("t/0"));
    }

    #[test]
    fn what_waited_too_long_for_the_broker_is_dropped() {
        let (mut queue, start) = (OutQueue::default(), Instant::now());
        queue.push(start, message(0));
        queue.push(start + Duration::from_secs(8), message(1));
        queue.go_online(start + Duration::from_secs(11));
        assert_eq!(queue.pop().map(|(_, m)| m.topic).as_deref(), Some("t/1"));
        assert!(queue.is_empty());
        assert_eq!(queue.take_lost(), 1);
    }

    #[test]
    fn offline_the_stale_make_room_for_the_fresh() {
        let (mut queue, start) = (OutQueue::default(), Instant::now());
        for n in 0..OFFLINE_LIMIT {
            queue.push(start, message(n));
        }
        assert!(queue.push(start + Duration::from_mins(1), message(99)));
        assert_eq!(queue.pop().map(|(_, m)| m.topic).as_deref(), Some("t/99"));
    }

    #[test]
    fn a_flood_loses_messages_but_no_change_of_state() {
        let mut queue = MqttEventQueue::default();
        queue.push(MqttEvent::Connected);
        for _ in 0..EVENT_LIMIT + 999 {
            queue.push(incoming());
        }
        for _ in 0..1000 {
            queue.push(MqttEvent::Disconnected { reason: "gone".into() });
            queue.push(MqttEvent::Connected);
        }
        let mut events = Vec::new();
        while let Some(event) = queue.pop() {
            events.push(event);
        }
        assert!(events.len() <= EVENT_LIMIT + 1, "{}", events.len());
        assert!(matches!(events.last(), Some(MqttEvent::Connected)));
        assert_eq!(queue.take_lost(), 1000);
    }

    #[test]
    fn huge_messages_are_limited_by_their_bytes() {
        let mut queue = MqttEventQueue::default();
        let huge = || {
            let payload = vec![0; 256 * 1024].into();
            MqttEvent::Message(Incoming { topic: String::new(), payload, retain: false, answer_to: None })
        };
        for _ in 0..40 {
            queue.push(huge());
        }
        assert_eq!(queue.take_lost(), 8);
        queue.pop();
        queue.push(huge());
        assert_eq!(queue.take_lost(), 0);
    }
}
