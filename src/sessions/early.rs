//! Candidates that wait for their offer (protocol.md section 2). Bounded in number, in bytes and in time; pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::key::Key;
use crate::signaling::message::Candidate;

/// How long they wait.
const LIMIT: Duration = Duration::from_secs(5);
/// How many of them wait for one session.
const MAX_OF_SESSION: usize = 32;
/// For how many sessions they may wait at once.
pub(super) const MAX_SESSIONS: usize = 64;
/// The longest candidate, with its mid and fragment, in bytes: those of browsers have up to about 250.
pub(super) const MAX_CANDIDATE_BYTES: usize = 1024;
/// All that wait, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// What waits for one session.
struct Early {
    since: Instant,
    bytes: usize,
    candidates: Vec<Option<Candidate>>,
}

/// All that wait.
#[derive(Default)]
pub(super) struct EarlyCandidates {
    by_key: HashMap<Key, Early>,
    bytes: usize,
}

/// What a candidate takes up.
pub(super) fn size(candidate: Option<&Candidate>) -> usize {
    candidate.map_or(0, |candidate| {
        let extra = [&candidate.sdp_mid, &candidate.username_fragment];
        candidate.candidate.len()
            + extra.into_iter().flatten().map(String::len).sum::<usize>()
            + size_of::<Candidate>()
    })
}

impl EarlyCandidates {
    /// Keeps one for `key`; gives whose were forgotten for it: those that waited longest. Nobody can keep others out by
    /// sending much.
    pub fn put(&mut self, now: Instant, key: Key, candidate: Option<Candidate>) -> Vec<Key> {
        let size = size(candidate.as_ref());
        let own = self.by_key.get(&key).map_or(0, |early| early.candidates.len());
        if own >= MAX_OF_SESSION {
            return Vec::new();
        }
        let mut forgotten = Vec::new();
        while self.bytes + size > MAX_BYTES
            || (!self.by_key.contains_key(&key) && self.by_key.len() >= MAX_SESSIONS)
        {
            let oldest = self.by_key.iter().filter(|(other, _)| **other != key).min_by_key(|(_, e)| e.since);
            let Some(oldest) = oldest.map(|(oldest, _)| oldest.clone()) else { break };
            self.take(&oldest);
            forgotten.push(oldest);
        }
        let early = self.by_key.entry(key).or_insert(Early { since: now, bytes: 0, candidates: Vec::new() });
        early.candidates.push(candidate);
        early.bytes += size;
        self.bytes += size;
        forgotten
    }

    /// Those of `key`, which wait no longer.
    pub fn take(&mut self, key: &Key) -> Vec<Option<Candidate>> {
        let Some(early) = self.by_key.remove(key) else { return Vec::new() };
        self.bytes = self.bytes.saturating_sub(early.bytes);
        early.candidates
    }

    /// Forgets those whose offer never came; gives whose they were.
    pub fn expire(&mut self, now: Instant) -> Vec<Key> {
        let is_late = |early: &Early| now.saturating_duration_since(early.since) >= LIMIT;
        let late: Vec<Key> =
            self.by_key.iter().filter(|(_, early)| is_late(early)).map(|(key, _)| key.clone()).collect();
        for key in &late {
            self.take(key);
        }
        late
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.by_key.values().map(|early| early.since + LIMIT).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::topic::Id;

    fn key(at: usize) -> Key {
        Key { viewer: Id::new(&format!("v{at}")).unwrap(), session: Id::default_session() }
    }

    fn of_bytes(bytes: usize) -> Option<Candidate> {
        let candidate = "c".repeat(bytes);
        Some(Candidate { candidate, sdp_mid: None, sdp_mline_index: None, username_fragment: None })
    }

    #[test]
    fn all_that_waits_is_bounded_in_bytes_and_the_newest_has_room() {
        let (mut early, start) = (EarlyCandidates::default(), Instant::now());
        for at in 0..10_000 {
            let now = start + Duration::from_millis(at as u64 / 32);
            early.put(now, key(at / 32), of_bytes(900));
            assert!(early.bytes <= MAX_BYTES && early.by_key.len() <= MAX_SESSIONS);
        }
        let now = start + Duration::from_secs(1);
        early.put(now, key(77_777), of_bytes(200));
        assert_eq!(early.take(&key(77_777)).len(), 1);
        let counted: usize = early.by_key.values().map(|early| early.bytes).sum();
        assert_eq!(counted, early.bytes);
        assert!(!early.expire(now + LIMIT).is_empty());
        assert_eq!((early.bytes, early.next_expiry()), (0, None));
    }
}
