//! Topic names of protocol.md section 1: building them and telling what an incoming one means.

use std::fmt;

use serde::Serialize;

/// An id as the protocol allows it: `[A-Za-z0-9_-]{1,64}`. Device, viewer and session ids are
/// `Id`s from the moment they enter, so nothing behind the edge handles `/`, `+` or `#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Id(String);

/// The text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to 64 letters, digits, `_` or `-`")]
pub struct InvalidId;

impl Id {
    /// Checks `text` against the protocol's rule.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidId) }
    }

    /// The session that a message without one means.
    pub fn default_session() -> Self {
        Self("default".to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

/// The topic names of one device under one root.
#[derive(Clone, Debug)]
pub struct Topics {
    base: String,
}

/// What `porthole doctor` sends on `set/` and `do/` to see it come back: the only thing there that gets no answer.
pub const PROBE: &str = "porthole doctor";

/// What a message on one of the device's own topics is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// A signal message from this viewer.
    Signal(Id),
    /// A signal topic whose viewer part is no id: nobody can be answered.
    BadViewer,
    /// `set/<setting>`; the setting may hold a `/` (`control/brightness`), and be empty, which is none.
    Set(&'a str),
    /// `do/<action>`, which may be empty, too.
    Do(&'a str),
    /// Not one of ours.
    Other,
}

impl Topics {
    /// Topics under `<root>/<device>/`.
    pub fn new(root: &str, device: &Id) -> Self {
        Self { base: format!("{root}/{device}") }
    }

    /// `<root>/<device>/<leaf>` for `availability`, `info`, `state`, `event`, `snapshot`.
    pub fn leaf(&self, leaf: &str) -> String {
        format!("{}/{leaf}", self.base)
    }

    /// Where the device answers `viewer`.
    pub fn down(&self, viewer: &Id) -> String {
        format!("{}/signal/{viewer}/down", self.base)
    }

    /// Where `viewer` speaks to the device.
    pub fn up(&self, viewer: &Id) -> String {
        format!("{}/signal/{viewer}/up", self.base)
    }

    /// What the device subscribes to: what is for it, and its own `availability`, to hear of a will that came too late.
    pub fn subscriptions(&self) -> Vec<String> {
        ["signal/+/up", "set/#", "do/#", "availability"].iter().map(|filter| self.leaf(filter)).collect()
    }

    /// Whether an answer may go to `topic`, which somebody else chose: a topic without wildcards, none of the broker's own,
    /// and none of the device's, whose voice an answer must not borrow, but for those of viewers.
    pub fn may_answer_on(&self, topic: &str) -> bool {
        if topic.is_empty() || topic.starts_with('$') || topic.contains(['+', '#', '\0']) {
            return false;
        }
        let own = topic.strip_prefix(&self.base).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        own.is_none_or(|rest| {
            let viewer = rest.strip_prefix("/signal/").and_then(|rest| rest.strip_suffix("/down"));
            viewer.is_some_and(|viewer| Id::new(viewer).is_ok())
        })
    }

    /// Tells what a message on `topic` is.
    pub fn parse<'a>(&self, topic: &'a str) -> Inbound<'a> {
        let Some(rest) = topic.strip_prefix(&self.base).and_then(|rest| rest.strip_prefix('/')) else {
            return Inbound::Other;
        };
        if let Some(viewer) = rest.strip_prefix("signal/").and_then(|rest| rest.strip_suffix("/up")) {
            return Id::new(viewer).map_or(Inbound::BadViewer, Inbound::Signal);
        }
        match rest.split_once('/') {
            Some(("set", setting)) => Inbound::Set(setting),
            Some(("do", action)) => Inbound::Do(action),
            // Their filters bring these, too (MQTT 5 section 4.7.1.2).
            None if rest == "set" => Inbound::Set(""),
            None if rest == "do" => Inbound::Do(""),
            _ => Inbound::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new("porthole", &Id::new("front-door").unwrap())
    }

    #[test]
    fn ids_are_what_the_protocol_allows() {
        for good in ["a", "front-door", "A_9-z", &"x".repeat(64)] {
            assert!(Id::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "+", "#", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert_eq!(Id::new(bad), Err(InvalidId), "{bad:?}");
        }
    }

    #[test]
    fn incoming_topics_are_told_apart() {
        let topics = topics();
        assert_eq!(
            topics.parse("porthole/front-door/signal/tab-1/up"),
            Inbound::Signal(Id::new("tab-1").unwrap())
        );
        assert_eq!(topics.parse("porthole/front-door/signal/a b/up"), Inbound::BadViewer);
        assert_eq!(topics.parse("porthole/front-door/signal/a/b/up"), Inbound::BadViewer);
        assert_eq!(topics.parse("porthole/front-door/signal//up"), Inbound::BadViewer);
        assert_eq!(topics.parse("porthole/front-door/signal/tab-1/down"), Inbound::Other);
        assert_eq!(topics.parse("porthole/front-door/set/streaming"), Inbound::Set("streaming"));
        assert_eq!(topics.parse("porthole/front-door/set/control/hue"), Inbound::Set("control/hue"));
        assert_eq!(topics.parse("porthole/front-door/do/keyframe"), Inbound::Do("keyframe"));
        for (empty, inbound) in [
            ("set/", Inbound::Set("")),
            ("set", Inbound::Set("")),
            ("do/", Inbound::Do("")),
            ("do", Inbound::Do("")),
        ] {
            assert_eq!(topics.parse(&format!("porthole/front-door/{empty}")), inbound);
        }
        assert_eq!(topics.parse("porthole/front-door/settle"), Inbound::Other);
        assert_eq!(topics.parse("porthole/front-doorway/do/keyframe"), Inbound::Other);
        assert_eq!(topics.parse("other/front-door/do/keyframe"), Inbound::Other);
    }

    #[test]
    fn answers_do_not_borrow_the_devices_voice() {
        let topics = topics();
        for good in
            ["reply", "porthole/answers", "porthole/front-door/signal/tab-1/down", "porthole/front-doorway"]
        {
            assert!(topics.may_answer_on(good), "{good}");
        }
        for bad in [
            "",
            "$SYS/x",
            "a/+",
            "a/#",
            "porthole/front-door",
            "porthole/front-door/state",
            "porthole/front-door/signal/x/up",
        ] {
            assert!(!topics.may_answer_on(bad), "{bad}");
        }
    }

    #[test]
    fn topics_are_built_as_documented() {
        let viewer = Id::new("tab-1").unwrap();
        assert_eq!(topics().down(&viewer), "porthole/front-door/signal/tab-1/down");
        assert_eq!(topics().up(&viewer), "porthole/front-door/signal/tab-1/up");
        assert_eq!(topics().leaf("state"), "porthole/front-door/state");
    }
}
