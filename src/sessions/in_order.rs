//! What waits while an offer of the same session is being read: nothing overtakes the offer that it was sent after. Pure.

use std::collections::{HashMap, VecDeque};

use super::input::SessionInput;
use super::pending_candidates;
use super::session_key::SessionKey;
use super::whep::WhepMessage;
use crate::signaling::message::UpKind;

/// Sessions of which an offer may be read, or wait to be, at once: more than can begin in a moment.
const MAX_SESSIONS: usize = 512;
/// Messages that may wait for one session's offer.
const MAX_OF_SESSION: usize = 64;
/// All of it, in bytes: some 800 offers of a browser.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// What anything takes up beside its text, in bytes.
const OVERHEAD_BYTES: usize = 256;

/// One session's.
struct Waiting {
    /// Of the offer and of all that waits.
    bytes: usize,
    inputs: VecDeque<SessionInput>,
}

/// All that waits.
#[derive(Default)]
pub(super) struct InOrder {
    reading: HashMap<SessionKey, Waiting>,
    bytes: usize,
    /// What waited for an offer that has been read.
    released: VecDeque<(SessionKey, SessionInput)>,
}

/// What is to become of something that came.
pub(super) enum Delivery {
    /// It is next.
    Now(SessionInput),
    /// It is kept.
    Later,
    /// There is no room to keep it.
    NoRoom(SessionInput),
}

/// Whose session a message is for.
fn key_of(input: &SessionInput) -> Option<&SessionKey> {
    match input {
        SessionInput::Message { key, .. } | SessionInput::Whep { key, .. } => Some(key),
        _ => None,
    }
}

fn size(input: &SessionInput) -> usize {
    let candidate = |candidate: &Option<_>| pending_candidates::size(candidate.as_ref());
    let text = match input {
        SessionInput::Message { kind: UpKind::Offer(offer), .. } => offer.sdp.len(),
        SessionInput::Whep { message: WhepMessage::Offer(offer), .. } => offer.offer.sdp.len(),
        SessionInput::Message { kind: UpKind::Candidate(sent), .. }
        | SessionInput::Whep { message: WhepMessage::Candidate(sent), .. } => candidate(sent),
        SessionInput::Message { kind: UpKind::Bye { reason }, .. } => reason.as_ref().map_or(0, String::len),
        _ => 0,
    };
    text + OVERHEAD_BYTES
}

impl InOrder {
    /// An offer of `key` with so many bytes is being read from now on; false if there is no room for one more.
    #[must_use]
    pub fn begin(&mut self, key: &SessionKey, bytes: usize) -> bool {
        let bytes = bytes + OVERHEAD_BYTES;
        let has_room = self.reading.len() < MAX_SESSIONS && self.bytes + bytes <= MAX_BYTES;
        if has_room {
            self.bytes += bytes;
            self.reading.insert(key.clone(), Waiting { bytes, inputs: VecDeque::new() });
        }
        has_room
    }

    /// Gives `input` back if its turn is now; otherwise it waits.
    pub fn pass(&mut self, input: SessionInput) -> Delivery {
        let Some(waiting) = key_of(&input).and_then(|key| self.reading.get_mut(key)) else {
            return Delivery::Now(input);
        };
        let bytes = size(&input);
        if waiting.inputs.len() >= MAX_OF_SESSION || self.bytes + bytes > MAX_BYTES {
            return Delivery::NoRoom(input);
        }
        waiting.bytes += bytes;
        self.bytes += bytes;
        waiting.inputs.push_back(input);
        Delivery::Later
    }

    /// A dashboard closes the sessions that `which` names: so it does those that these offers lead to.
    pub fn close(&mut self, which: impl Fn(&SessionKey) -> bool) {
        for (key, waiting) in self.reading.iter_mut().filter(|(key, _)| which(key)) {
            // Once is enough, so that these are no more than the messages are.
            if !matches!(waiting.inputs.back(), Some(SessionInput::Close { .. })) {
                let (viewer, session) = (Some(key.viewer.clone()), Some(key.session.clone()));
                waiting.inputs.push_back(SessionInput::Close { viewer, session });
            }
        }
    }

    /// The offer of `key` has been read, or given up: what waited for it is next.
    pub fn done(&mut self, key: &SessionKey) {
        let Some(waiting) = self.reading.remove(key) else { return };
        self.bytes = self.bytes.saturating_sub(waiting.bytes);
        self.released.extend(waiting.inputs.into_iter().map(|input| (key.clone(), input)));
    }

    /// What waited, and has its turn now.
    pub fn next(&mut self) -> Option<SessionInput> {
        while let Some((key, input)) = self.released.pop_front() {
            // It was another offer that waited; what came after that waits on.
            match self.reading.get_mut(&key) {
                Some(waiting) => {
                    let bytes = size(&input);
                    waiting.bytes += bytes;
                    self.bytes += bytes;
                    waiting.inputs.push_back(input);
                }
                None => return Some(input),
            }
        }
        None
    }

    /// Nothing of it is wanted any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::message::Offer;
    use crate::signaling::topic::Id;

    fn key(viewer: &str) -> SessionKey {
        SessionKey { viewer: Id::new(viewer).unwrap(), session: Id::default_session() }
    }

    fn bye(viewer: &str, reason: &str) -> SessionInput {
        SessionInput::Message { key: key(viewer), kind: UpKind::Bye { reason: Some(reason.to_owned()) } }
    }

    fn offer(viewer: &str, bytes: usize) -> SessionInput {
        let kind = UpKind::Offer(Offer { sdp: "v".repeat(bytes), full_ice: false, auth: None });
        SessionInput::Message { key: key(viewer), kind }
    }

    /// What it is, shortened.
    fn shown(input: &SessionInput) -> String {
        match input {
            SessionInput::Message { kind: UpKind::Bye { reason }, .. } => reason.clone().unwrap(),
            SessionInput::Message { kind: UpKind::Offer(_), .. } => "offer".to_owned(),
            SessionInput::Close { .. } => "close".to_owned(),
            _ => unreachable!(),
        }
    }

    #[test]
    fn what_comes_after_an_offer_waits_for_it_and_others_do_not() {
        let mut order = InOrder::default();
        assert!(order.begin(&key("a"), 5000));
        for input in [bye("a", "1"), offer("a", 100), bye("a", "2")] {
            assert!(matches!(order.pass(input), Delivery::Later));
        }
        order.close(|key| key.viewer.as_str() == "a");
        order.close(|_| true);
        assert!(matches!(order.pass(bye("a", "3")), Delivery::Later));
        assert!(matches!(order.pass(bye("b", "other")), Delivery::Now(_)));
        assert!(order.next().is_none());
        order.done(&key("a"));
        let mut seen = Vec::new();
        while let Some(input) = order.next() {
            seen.push(shown(&input));
            if seen.last().is_some_and(|last| last == "offer") {
                assert!(order.begin(&key("a"), 100));
            }
        }
        assert_eq!(seen, ["1", "offer"], "what came after the second offer waits for that one");
        order.done(&key("a"));
        let rest: Vec<String> = std::iter::from_fn(|| order.next()).map(|input| shown(&input)).collect();
        assert_eq!((rest, order.bytes), (vec!["2".into(), "close".into(), "3".to_owned()], 0));
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let mut order = InOrder::default();
        assert!(order.begin(&key("a"), 5000));
        let held =
            (0..1000).filter(|at| matches!(order.pass(bye("a", &at.to_string())), Delivery::Later)).count();
        assert_eq!(held, MAX_OF_SESSION);
        let begun = (0..5000).filter(|at| order.begin(&key(&format!("v{at}")), 60_000)).count();
        assert!((32..MAX_SESSIONS).contains(&begun) && order.bytes <= MAX_BYTES, "{begun}");
        assert!(matches!(order.pass(offer("v1", 60_000)), Delivery::NoRoom(_)));
        order.clear();
        let begun = (0..5000).filter(|at| order.begin(&key(&format!("v{at}")), 1)).count();
        assert_eq!(begun, MAX_SESSIONS);
        for at in 0..5000 {
            order.done(&key(&format!("v{at}")));
        }
        assert_eq!((order.bytes, order.reading.len(), order.released.len()), (0, 0, 0));
    }
}
