//! How many offers are looked at, and from whom. Pure in time.
//!
//! What fails the proof draws from buckets of its own, so that strangers never use up what the invited have. Who has
//! proved to hold a grant is counted by that grant alone: a hundred viewers may share one address.

use std::time::Instant;

use super::rate::{Buckets, RateLimit, Requester, TokenRate};
use crate::signaling::topic::Id;

const fn rate(burst: f64, per_second: f64) -> TokenRate {
    TokenRate { burst, per_second }
}

/// In open access, where nobody proves anything: offers of one viewer or host, and of all.
const OPEN: (TokenRate, TokenRate) = (rate(20.0, 2.0), rate(200.0, 50.0));
/// Proved offers of one grant, and of all: a link may be shared by as many as there can be sessions to start at once.
const PROVED: (TokenRate, TokenRate) = (rate(200.0, 20.0), rate(400.0, 100.0));
/// Proved offers of one viewer on the broker: a page in a loop is not its grant's other viewers' matter.
const OF_VIEWER: TokenRate = rate(20.0, 2.0);
/// Offers that failed the proof, of one viewer or host, and of all.
const FAILED: (TokenRate, TokenRate) = (rate(20.0, 2.0), rate(200.0, 50.0));
/// Signatures that were verified and are wrong, by the grant that they name, and of all. One costs up to half a
/// millisecond on a Raspberry Pi 4 (Ed25519, and SHA-256 over at most 64 KiB).
const FORGED: (TokenRate, TokenRate) = (rate(100.0, 10.0), rate(400.0, 100.0));

/// The buckets.
pub(super) struct OfferLimits {
    open: RateLimit,
    proved: RateLimit,
    of_viewer: Buckets,
    repeated: Buckets,
    failed: RateLimit,
    forged: RateLimit,
}

impl OfferLimits {
    /// All are full.
    pub fn new() -> Self {
        let two = |(one, all)| RateLimit::new(one, all);
        Self {
            open: two(OPEN),
            proved: two(PROVED),
            of_viewer: Buckets::new(OF_VIEWER),
            repeated: Buckets::new(OF_VIEWER),
            failed: two(FAILED),
            forged: two(FORGED),
        }
    }

    /// An offer where access is open. `Err`, here and below, holds the seconds to wait.
    pub fn open(&mut self, now: Instant, sender: Requester) -> Result<(), u32> {
        self.open.take(now, sender)
    }

    /// Whether a signature that names `grant` is to be verified at all. Takes nothing: a good one costs nothing here. Who
    /// only failed so far has to wait; a grant whose name is misused is refused only while all verifying is used up as well.
    pub fn may_prove(
        &mut self,
        now: Instant,
        sender: &Requester,
        grant: &Id,
        has_session: bool,
    ) -> Result<(), u32> {
        // Whose session runs must be able to restart it, whoever else uses the viewer's name.
        if let Some(wait) = self.failed.wait(now, sender).filter(|_| !has_session) {
            return Err(wait);
        }
        let misused = self.forged.wait(now, &Requester::Grant(grant.clone()));
        misused.and_then(|wait| Some(self.forged.wait_together(now)?.max(wait))).map_or(Ok(()), Err)
    }

    /// An offer failed the proof; `forged` is the grant whose key had to be asked.
    pub fn failed(&mut self, now: Instant, sender: Requester, forged: Option<Id>) -> Result<(), u32> {
        if let Some(grant) = forged {
            self.forged.charge(now, Requester::Grant(grant));
        }
        self.failed.take(now, sender)
    }

    /// An offer of who holds `grant`; `viewer` is his name on the broker.
    pub fn proved(&mut self, now: Instant, grant: Id, viewer: Option<Id>) -> Result<(), u32> {
        if let Some(viewer) = viewer {
            self.of_viewer.take(now, Requester::Viewer(viewer))?;
        }
        self.proved.take(now, Requester::Grant(grant))
    }

    /// The offer that the running session came in with, once more. Whoever recorded it can send it, so it draws from
    /// nothing that a new one needs.
    pub fn repeated(&mut self, now: Instant, viewer: Id) -> Result<(), u32> {
        self.repeated.take(now, Requester::Viewer(viewer))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn viewer(at: usize) -> Requester {
        Requester::Viewer(id(&format!("v{at}")))
    }

    #[test]
    fn whatever_strangers_send_a_good_offer_is_looked_at() {
        let (mut limits, now) = (OfferLimits::new(), Instant::now());
        // Without a signature, each under another name, and from one host.
        for at in 0..5000 {
            let _ = limits.failed(now, viewer(at), None);
            let _ = limits.failed(now, Requester::host([192, 0, 2, 1].into()), None);
        }
        // Signed wrongly in the name of one grant.
        for at in 0..5000 {
            if limits.may_prove(now, &viewer(at), &id("anna"), false).is_ok() {
                let _ = limits.failed(now, viewer(at), Some(id("anna")));
            }
        }
        assert_eq!(limits.may_prove(now, &Requester::Viewer(id("tab")), &id("bob"), false), Ok(()));
        assert_eq!(limits.proved(now, id("bob"), Some(id("tab"))), Ok(()));
        // Beyond what the device can verify, it is the one grant whose name is misused that waits.
        assert!(limits.may_prove(now, &Requester::Viewer(id("tab")), &id("anna"), false).is_err());
        let later = now + Duration::from_secs(1);
        assert_eq!(limits.may_prove(later, &Requester::Viewer(id("tab")), &id("anna"), false), Ok(()));
    }

    #[test]
    fn verifying_is_bounded() {
        let (mut limits, now) = (OfferLimits::new(), Instant::now());
        let mut verified = 0;
        for at in 0..20_000 {
            let grant = id(&format!("g{}", at % 3));
            if limits.may_prove(now, &viewer(at), &grant, false).is_ok() {
                verified += 1;
                let _ = limits.failed(now, viewer(at), Some(grant));
            }
        }
        assert!(verified <= 700, "{verified}");
        // One sender is told to wait much earlier.
        let sender = viewer(99_999);
        let (mut limits, mut verified) = (OfferLimits::new(), 0);
        for _ in 0..1000 {
            if limits.may_prove(now, &sender, &id("anna"), false).is_ok() {
                verified += 1;
                let _ = limits.failed(now, sender.clone(), Some(id("anna")));
            }
        }
        assert_eq!(verified, 20);
        assert_eq!(limits.may_prove(now, &sender, &id("anna"), true), Ok(()), "its session may be restarted");
    }

    #[test]
    fn a_hundred_viewers_of_one_link_come_at_once_and_one_loop_is_slowed_down() {
        let (mut limits, now) = (OfferLimits::new(), Instant::now());
        for at in 0..100 {
            assert_eq!(limits.proved(now, id("family"), Some(id(&format!("tab{at}")))), Ok(()));
        }
        let looping = (0..50).filter(|_| limits.proved(now, id("family"), Some(id("loop"))).is_err()).count();
        assert_eq!(looping, 30);
        let repeats = (0..50).filter(|_| limits.repeated(now, id("tab0")).is_err()).count();
        assert_eq!(repeats, 30);
        assert_eq!(limits.proved(now, id("family"), Some(id("tab0"))), Ok(()), "repeats cost it nothing");
    }
}
