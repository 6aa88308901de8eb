//! How many offers per sender and in all: token buckets, pure in time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use crate::base::limits::TokenRate;
use crate::base::limits::{TokenBucket, host_of};
use crate::signaling::topic::Id;

/// Offers one sender may send at once, and how many more each second.
const OFFERS_OF_ONE: TokenRate = TokenRate { burst: 20.0, per_second: 2.0 };
/// The same for all of them together.
const OFFERS_OF_ALL: TokenRate = TokenRate { burst: 200.0, per_second: 50.0 };
/// Senders remembered; beyond it, those whose bucket is full again are forgotten first.
const MAX_SENDERS: usize = 1024;

/// Whose offers are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requester {
    /// A viewer on the broker.
    Viewer(Id),
    /// A host that speaks HTTP, where a viewer id is made for every offer.
    Host(IpAddr),
}

impl Requester {
    /// The host at `address`. One that has a whole network of IPv6 addresses is still one.
    pub fn host(address: IpAddr) -> Self {
        Self::Host(host_of(address))
    }
}

/// The buckets of all senders.
pub struct RateLimit {
    one: TokenRate,
    all: TokenRate,
    together: Option<TokenBucket>,
    senders: HashMap<Requester, TokenBucket>,
}

impl RateLimit {
    /// So much of each sender, and so much of all of them together.
    pub fn new(one: TokenRate, all: TokenRate) -> Self {
        Self { one, all, together: None, senders: HashMap::new() }
    }

    /// What is allowed of offers.
    pub fn of_offers() -> Self {
        Self::new(OFFERS_OF_ONE, OFFERS_OF_ALL)
    }

    /// Counts one of `sender`; `Err` holds the seconds to wait.
    ///
    /// # Errors
    /// It is too much.
    pub fn take(&mut self, now: Instant, sender: Requester) -> Result<(), u32> {
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(&sender) {
            self.senders.retain(|_, bucket| !bucket.is_full(now));
            if self.senders.len() >= MAX_SENDERS {
                return Err(1);
            }
        }
        let bucket = self.senders.entry(sender).or_insert_with(|| TokenBucket::full(self.one, now));
        bucket.take(now).map_err(whole_seconds)?;
        self.together.get_or_insert_with(|| TokenBucket::full(self.all, now)).take(now).map_err(whole_seconds)
    }
}

/// Rounded up, and never none.
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut rate = RateLimit::of_offers();
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
        let mut rate = RateLimit::of_offers();
        let start = Instant::now();
        let refused = (0..5_000).filter(|n| rate.take(start, id(&format!("v{n}"))).is_err()).count();
        assert_eq!(refused, 4_800);
        assert!(rate.senders.len() <= MAX_SENDERS);
        assert_eq!(rate.take(start + Duration::from_mins(1), id("late")), Ok(()));
    }
}
