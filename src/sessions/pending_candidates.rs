//! Candidates that wait for their offer (protocol.md section 2). Bounded in number, in bytes and in time; pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::session_key::SessionKey;
use crate::signaling::message::Candidate;

/// How long they wait.
const LIMIT: Duration = Duration::from_secs(5);
/// How many of them wait for one session.
const MAX_OF_SESSION: usize = 32;
/// For how many sessions they may wait at once.
pub(super) const MAX_SESSIONS: usize = 64;
/// The longest candidate, with its mid and ufrag, in bytes: those of browsers have up to about 250.
pub(super) const MAX_CANDIDATE_BYTES: usize = 1024;
/// All that wait, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// What waits for one session.
struct Pending {
    since: Instant,
    bytes: usize,
    candidates: Vec<Option<Candidate>>,
}

/// All that wait.
#[derive(Default)]
pub(super) struct PendingCandidates {
    by_key: HashMap<SessionKey, Pending>,
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

impl PendingCandidates {
    /// Keeps one for `key`; gives whose were forgotten for it: those that waited longest. Nobody can keep others out by
    /// sending much.
    pub fn put(&mut self, now: Instant, key: SessionKey, candidate: Option<Candidate>) -> Vec<SessionKey> {
        let size = size(candidate.as_ref());
        let own = self.by_key.get(&key).map_or(0, |pending| pending.candidates.len());
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
        let pending =
            self.by_key.entry(key).or_insert(Pending { since: now, bytes: 0, candidates: Vec::new() });
        pending.candidates.push(candidate);
        pending.bytes += size;
        self.bytes += size;
        forgotten
    }

    /// Those of `key`, which wait no longer.
    pub fn take(&mut self, key: &SessionKey) -> Vec<Option<Candidate>> {
        let Some(pending) = self.by_key.remove(key) else { return Vec::new() };
        self.bytes = self.bytes.saturating_sub(pending.bytes);
        pending.candidates
    }

    /// Forgets those whose offer never came; gives whose they were.
    pub fn expire(&mut self, now: Instant) -> Vec<SessionKey> {
        let is_late = |pending: &Pending| now.saturating_duration_since(pending.since) >= LIMIT;
        let late: Vec<SessionKey> =
            self.by_key.iter().filter(|(_, pending)| is_late(pending)).map(|(key, _)| key.clone()).collect();
        for key in &late {
            self.take(key);
        }
        late
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.by_key.values().map(|pending| pending.since + LIMIT).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::topic::Id;

    fn key(at: usize) -> SessionKey {
        SessionKey { viewer: Id::new(&format!("v{at}")).unwrap(), session: Id::default_session() }
    }

    fn of_bytes(bytes: usize) -> Candidate {
        let candidate = "c".repeat(bytes);
        Candidate { candidate, sdp_mid: None, sdp_mline_index: None, username_fragment: None }
    }

    #[test]
    fn all_that_waits_is_bounded_in_bytes_and_the_newest_has_room() {
        let (mut pending, start) = (PendingCandidates::default(), Instant::now());
        for at in 0..10_000 {
            let now = start + Duration::from_millis(at as u64 / 32);
            pending.put(now, key(at / 32), Some(of_bytes(900)));
            assert!(pending.bytes <= MAX_BYTES && pending.by_key.len() <= MAX_SESSIONS);
        }
        let now = start + Duration::from_secs(1);
        pending.put(now, key(77_777), Some(of_bytes(200)));
        assert_eq!(pending.take(&key(77_777)).len(), 1);
        let counted: usize = pending.by_key.values().map(|pending| pending.bytes).sum();
        assert_eq!(counted, pending.bytes);
        assert!(!pending.expire(now + LIMIT).is_empty());
        assert_eq!((pending.bytes, pending.next_expiry()), (0, None));
    }
}
