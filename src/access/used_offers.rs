//! Which offers were used, by grant: each is good once, also after a restart of the device. Pure.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write;

use super::proof::Nonce;
use crate::signaling::topic::Id;

/// Nonces remembered for each grant, and of all in the text that is kept; beyond it the oldest are forgotten. Whoever replays an offer
/// that old gets a session that he can neither read nor keep: he has not the key to the offer's fingerprint.
const MAX_OF_GRANT: usize = 1024;
const MAX_KEPT: usize = 4096;

/// The nonces of offers that were let in.
#[derive(Debug, Default)]
pub struct UsedOffers(BTreeMap<Id, Used>);

#[derive(Debug, Default)]
struct Used {
    order: VecDeque<Nonce>,
    known: HashSet<Nonce>,
}

impl UsedOffers {
    /// As they were kept. What is not understood is passed over: it is better to remember the others.
    pub fn parse(text: &str) -> Self {
        let mut used = Self::default();
        for line in text.lines().take(MAX_KEPT) {
            let Some((grant, nonce)) = line.split_once(' ') else { continue };
            if let (Ok(grant), Some(nonce)) = (Id::new(grant), Nonce::parse(nonce)) {
                used.remember(&grant, nonce);
            }
        }
        used
    }

    /// As [`Self::parse`] reads it, a line for each.
    pub fn text(&self) -> String {
        let each = MAX_KEPT / self.0.len().max(1);
        let mut text = String::new();
        for (grant, used) in &self.0 {
            for nonce in used.order.iter().skip(used.order.len().saturating_sub(each)) {
                // Writing into a string does not fail.
                let _ = writeln!(text, "{grant} {}", nonce.encode());
            }
        }
        text
    }

    /// Whether an offer of `grant` had this nonce.
    pub fn has(&self, grant: &Id, nonce: &Nonce) -> bool {
        self.0.get(grant).is_some_and(|used| used.known.contains(nonce))
    }

    /// An offer of `grant` with this nonce was let in; gives whether it was the first.
    pub fn remember(&mut self, grant: &Id, nonce: Nonce) -> bool {
        let used = self.0.entry(grant.clone()).or_default();
        if !used.known.insert(nonce) {
            return false;
        }
        used.order.push_back(nonce);
        if used.order.len() > MAX_OF_GRANT
            && let Some(oldest) = used.order.pop_front()
        {
            used.known.remove(&oldest);
        }
        true
    }

    /// Forgets those of grants that `is_there` does not know.
    pub fn retain(&mut self, is_there: impl Fn(&Id) -> bool) {
        self.0.retain(|grant, _| is_there(grant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_known_after_a_restart() {
        let (anna, ben) = (Id::new("anna").unwrap(), Id::new("ben").unwrap());
        let mut used = UsedOffers::default();
        let nonces: Vec<_> = (0..MAX_OF_GRANT + 3).map(|_| Nonce::random().unwrap()).collect();
        for nonce in &nonces {
            assert!(used.remember(&anna, *nonce));
        }
        assert!(used.remember(&ben, nonces[0]) && !used.remember(&ben, nonces[0]));
        let again = UsedOffers::parse(&used.text());
        assert!(nonces[3..].iter().all(|nonce| again.has(&anna, nonce)));
        assert!(again.has(&ben, &nonces[0]) && !again.has(&ben, &nonces[1]));
        assert!(!again.has(&anna, &nonces[0]), "bounded");
        assert_eq!(again.text(), used.text());
    }

    #[test]
    fn a_damaged_file_keeps_what_can_be_read() {
        let nonce = Nonce::random().unwrap();
        let good = format!("anna {}", nonce.encode());
        let used = UsedOffers::parse(&format!("\0\nanna\n../x y\n{good}\nanna zz\n"));
        assert!(used.has(&Id::new("anna").unwrap(), &nonce));
        assert!(UsedOffers::parse("").text().is_empty());
    }
}
