//! How much of something each may do, and all together: token buckets, pure in time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use crate::base::limits::TokenRate;
use crate::base::limits::{TokenBucket, host_of};
use crate::signaling::topic::Id;

/// Keys remembered; beyond it, those whose bucket is full again are forgotten first.
const MAX_KEYS: usize = 1024;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requester {
    /// A viewer on the broker.
    Viewer(Id),
    /// A host that speaks HTTP and has not shown who it is.
    Host(IpAddr),
    /// Whoever has shown to hold this grant, from wherever.
    Grant(Id),
}

impl Requester {
    /// The host at `address`. One that has a whole network of IPv6 addresses is still one.
    pub fn host(address: IpAddr) -> Self {
        Self::Host(host_of(address))
    }
}

/// A bucket for each key.
pub(super) struct Buckets {
    rate: TokenRate,
    by_key: HashMap<Requester, TokenBucket>,
}

impl Buckets {
    /// So much for each.
    pub fn new(rate: TokenRate) -> Self {
        Self { rate, by_key: HashMap::new() }
    }

    /// The seconds to wait before `key` may do something; `None`: nothing is in its way. Changes nothing.
    pub fn wait(&mut self, now: Instant, key: &Requester) -> Option<u32> {
        self.by_key.get_mut(key)?.wait(now).map(whole_seconds)
    }

    /// Counts one of `key`; `Err` holds the seconds to wait.
    pub fn take(&mut self, now: Instant, key: Requester) -> Result<(), u32> {
        if self.by_key.len() >= MAX_KEYS && !self.by_key.contains_key(&key) {
            self.by_key.retain(|_, bucket| !bucket.is_full(now));
            if self.by_key.len() >= MAX_KEYS {
                return Err(1);
            }
        }
        let bucket = self.by_key.entry(key).or_insert_with(|| TokenBucket::full(self.rate, now));
        bucket.take(now).map_err(whole_seconds)
    }
}

/// Buckets of all who ask, and one for all of them together.
pub struct RateLimit {
    one: Buckets,
    all: TokenRate,
    together: Option<TokenBucket>,
}

impl RateLimit {
    /// So much of each, and so much of all of them together.
    pub fn new(one: TokenRate, all: TokenRate) -> Self {
        Self { one: Buckets::new(one), all, together: None }
    }

    /// Counts one of `sender`; `Err` holds the seconds to wait.
    ///
    /// # Errors
    /// It is too much.
    pub fn take(&mut self, now: Instant, sender: Requester) -> Result<(), u32> {
        self.one.take(now, sender)?;
        self.together(now).take(now).map_err(whole_seconds)
    }

    /// Counts one of `sender`, and one of all in any case.
    pub(super) fn charge(&mut self, now: Instant, sender: Requester) {
        // What they say is for the next.
        let _ = (self.one.take(now, sender), self.together(now).take(now));
    }

    /// What of this `sender` alone is in the way of another; changes nothing.
    pub(super) fn wait(&mut self, now: Instant, sender: &Requester) -> Option<u32> {
        self.one.wait(now, sender)
    }

    /// What of all together is in the way of another; changes nothing.
    pub(super) fn wait_together(&mut self, now: Instant) -> Option<u32> {
        self.together(now).wait(now).map(whole_seconds)
    }

    fn together(&mut self, now: Instant) -> &mut TokenBucket {
        self.together.get_or_insert_with(|| TokenBucket::full(self.all, now))
    }
}

/// Rounded up, and never none.
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_offers() -> RateLimit {
        let (one, all) =
            (TokenRate { burst: 20.0, per_second: 2.0 }, TokenRate { burst: 200.0, per_second: 50.0 });
        RateLimit::new(one, all)
    }

    fn id(text: &str) -> Requester {
        Requester::Viewer(Id::new(text).unwrap())
    }

    #[test]
    fn a_host_is_one_sender_whatever_its_addresses() {
        let host = |text: &str| Requester::host(text.parse().unwrap());
        assert_eq!(host("2001:db8::1"), host("2001:db8::2:0:0:1"));
        assert_ne!(host("2001:db8::1"), host("2001:db8:0:1::1"));
        assert_eq!(host("::ffff:192.0.2.1"), host("192.0.2.1"));
        assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
    }

    #[test]
    fn a_burst_is_allowed_then_the_rate_holds_and_recovers() {
        let mut rate = of_offers();
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(rate.take(start, id("a")), Ok(()));
        }
        assert_eq!(rate.take(start, id("a")), Err(1));
        assert_eq!(rate.take(start, id("b")), Ok(()), "one viewer's noise is not another's");
        assert_eq!(rate.take(start + Duration::from_millis(600), id("a")), Ok(()));
    }

    #[test]
    fn all_viewers_together_are_limited_and_memory_is_bounded() {
        let mut rate = of_offers();
        let start = Instant::now();
        let refused = (0..5_000).filter(|n| rate.take(start, id(&format!("v{n}"))).is_err()).count();
        assert_eq!(refused, 4_800);
        assert!(rate.one.by_key.len() <= MAX_KEYS);
        assert_eq!(rate.take(start + Duration::from_mins(1), id("late")), Ok(()));
    }
}
