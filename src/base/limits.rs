//! How much one host, and all together, may have or ask.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The host at `address`: an IPv4 address, also one written for IPv6, or a /64 network, which one host has to itself.
pub fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// How much of something is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenRate {
    /// At once.
    pub burst: f64,
    /// More of it each second.
    pub per_second: f64,
}

/// Holds tokens, up to the burst; one is taken for each thing done. Pure in time.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: TokenRate,
    /// Negative while some were taken in advance.
    tokens: f64,
    filled_at: Instant,
}

impl TokenBucket {
    /// Full at `now`.
    pub fn full(rate: TokenRate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, filled_at: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed_s = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed_s * self.rate.per_second).min(self.rate.burst);
        self.filled_at = self.filled_at.max(now);
    }

    /// Whether nothing would be lost by forgetting it.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.rate.burst
    }

    /// Takes a token, or none and says how long there will be none.
    ///
    /// # Errors
    /// The time until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(self.time_for(1.0 - self.tokens))
    }

    /// How long there will be no token; `None` while there is one.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        (self.tokens < 1.0).then(|| self.time_for(1.0 - self.tokens))
    }

    /// Takes a token in any case, and says how long to wait until it would have been there.
    pub fn take_in_advance(&mut self, now: Instant) -> Duration {
        self.fill(now);
        self.tokens -= 1.0;
        self.time_for((-self.tokens).max(0.0))
    }

    fn time_for(&self, tokens: f64) -> Duration {
        Duration::try_from_secs_f64(tokens / self.rate.per_second).unwrap_or(Duration::MAX)
    }
}

/// How many places there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// In all.
    pub all: usize,
    /// For one host.
    pub one_host: usize,
    /// This machine is exempt from `one_host`: behind a proxy on it everybody is this machine.
    pub is_own_exempt: bool,
    /// Beyond `all`, for this machine: strangers cannot take these.
    pub own: usize,
}

/// Counts what each host has at once: connections. Clones count together.
#[derive(Clone, Debug)]
pub struct PerHost {
    capacity: Capacity,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_host: HashMap<IpAddr, usize>,
}

/// One place; given back on drop.
#[derive(Debug)]
pub struct Slot {
    of: PerHost,
    host: IpAddr,
}

impl PerHost {
    /// All places are free.
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity, taken: Arc::default() }
    }

    /// A place for the host at `address`, if there is one.
    pub fn enter(&self, address: IpAddr) -> Option<Slot> {
        let (host, is_own) = (host_of(address), address.to_canonical().is_loopback());
        let room = self.capacity.all + if is_own { self.capacity.own } else { 0 };
        let mut taken = self.lock();
        let count = taken.by_host.get(&host).copied().unwrap_or(0);
        if taken.all >= room || (!(is_own && self.capacity.is_own_exempt) && count >= self.capacity.one_host)
        {
            return None;
        }
        taken.all += 1;
        taken.by_host.insert(host, count + 1);
        Some(Slot { of: self.clone(), host })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.of.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.by_host.get_mut(&self.host) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_host.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Capacity = Capacity { all: 256, one_host: 64, is_own_exempt: true, own: 16 };

    /// As many places as `address` can have, and no more than asked for.
    fn take(places: &PerHost, address: IpAddr, at_most: usize) -> Vec<Slot> {
        std::iter::from_fn(|| places.enter(address)).take(at_most).collect()
    }

    #[test]
    fn one_host_cannot_take_all_places_and_is_forgotten_with_the_last() {
        let places = PerHost::new(CAPACITY);
        let greedy: IpAddr = "192.0.2.1".parse().unwrap();
        let mut taken = take(&places, greedy, 1000);
        assert_eq!(taken.len(), CAPACITY.one_host);
        let other = places.enter("192.0.2.2".parse().unwrap());
        assert!(other.is_some());
        taken.pop();
        taken.extend(places.enter(greedy));
        assert_eq!(taken.len(), CAPACITY.one_host);
        assert!(places.enter("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same, written for IPv6");
        drop((taken, other));
        assert!(places.lock().by_host.is_empty());
        assert_eq!(places.lock().all, 0);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_host() {
        let places = PerHost::new(CAPACITY);
        let address = |at: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + at));
        let taken: Vec<_> = (0..100).filter_map(|at| places.enter(address(at))).collect();
        assert_eq!(taken.len(), CAPACITY.one_host);
        assert!(places.enter(address(1 << 64)).is_some());
    }

    #[test]
    fn this_machine_finds_room_where_strangers_have_taken_all() {
        let places = PerHost::new(CAPACITY);
        let strangers =
            (0..=u8::MAX).flat_map(|host| std::iter::repeat_n(IpAddr::from([192, 0, 2, host]), 2));
        let taken: Vec<_> = strangers.filter_map(|address| places.enter(address)).collect();
        assert_eq!(taken.len(), CAPACITY.all);
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        let mut owned = take(&places, own, 100);
        assert_eq!(owned.len(), CAPACITY.own);
        owned.pop();
        assert!(places.enter("192.0.2.9".parse().unwrap()).is_none());
        assert!(places.enter(own).is_some());
    }

    #[test]
    fn tokens_are_taken_in_a_burst_and_then_at_the_rate() {
        let rate = TokenRate { burst: 20.0, per_second: 2.0 };
        let start = Instant::now();
        let mut bucket = TokenBucket::full(rate, start);
        assert!((0..20).all(|_| bucket.take(start).is_ok()));
        assert_eq!(bucket.take(start), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Ok(()));
        assert!(!bucket.is_full(start + Duration::from_secs(9)));
        assert!(bucket.is_full(start + Duration::from_secs(11)));
    }

    #[test]
    fn what_is_taken_in_advance_is_owed() {
        let (rate, start) = (TokenRate { burst: 200.0, per_second: 100.0 }, Instant::now());
        let mut bucket = TokenBucket::full(rate, start);
        assert!((0..200).all(|_| bucket.take_in_advance(start).is_zero()));
        let each = Duration::from_millis(10);
        assert_eq!(bucket.take_in_advance(start), each);
        assert_eq!(bucket.take_in_advance(start + each), each);
        assert!(bucket.take_in_advance(start + each * 4).is_zero());
        let rested = start + Duration::from_mins(1);
        assert!((0..200).all(|_| bucket.take_in_advance(rested).is_zero()));
        assert!(!bucket.take_in_advance(rested).is_zero());
    }
}
