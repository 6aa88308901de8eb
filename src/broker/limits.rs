//! How much one client, one address and all of them may ask of the embedded broker. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Connections at once: viewers, dashboards, and those that have not said yet who they are.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// More of them for this machine, so that the device finds room at its own broker when strangers fill it.
pub(super) const OWN_CONNECTIONS: usize = 16;
/// Of them from one address (IPv6: one /64 network, which one host has to itself): a household with
/// many tabs, and not everything for one attacker. This machine is exempt: a proxy may stand there.
pub(super) const MAX_CONNECTIONS_PER_ADDRESS: usize = 64;
/// Messages and subscriptions of one client at once: a viewer with all of its candidates needs about 40.
pub(super) const MESSAGE_BURST: u32 = 200;
/// And how many more each second, far above what the device answers with `rate-limited`. Whoever sends
/// faster is read slower: nothing is lost.
pub(super) const MESSAGES_PER_SECOND: u32 = 100;

/// Counts connections.
#[derive(Default)]
pub(super) struct ConnectionSlots {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl ConnectionSlots {
    /// Takes a slot; false if there is none for this address.
    pub fn enter(&mut self, address: IpAddr) -> bool {
        let own = address.to_canonical().is_loopback();
        let room = MAX_CONNECTIONS + if own { OWN_CONNECTIONS } else { 0 };
        let count = self.by_address.get(&neighbourhood(address)).copied().unwrap_or(0);
        if self.all >= room || (!own && count >= MAX_CONNECTIONS_PER_ADDRESS) {
            return false;
        }
        self.all += 1;
        self.by_address.insert(neighbourhood(address), count + 1);
        true
    }

    /// Gives it back.
    pub fn leave(&mut self, address: IpAddr) {
        self.all = self.all.saturating_sub(1);
        let address = neighbourhood(address);
        if let Some(count) = self.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// What one host has: an IPv4 address, or a /64 network.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// When one client's next message may be taken: the instant at which its bucket would be full again.
pub(super) struct MessageRate {
    full_at: Instant,
}

impl MessageRate {
    pub fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Counts one message; says how long to wait before it is looked at.
    pub fn take(&mut self, now: Instant) -> Duration {
        let each = Duration::from_secs(1) / MESSAGES_PER_SECOND;
        self.full_at = self.full_at.max(now) + each;
        let owed = self.full_at.saturating_duration_since(now);
        owed.saturating_sub(each * MESSAGE_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places() {
        let mut slots = ConnectionSlots::default();
        let greedy: IpAddr = "192.0.2.1".parse().unwrap();
        let taken = (0..MAX_CONNECTIONS).filter(|_| slots.enter(greedy)).count();
        assert_eq!(taken, MAX_CONNECTIONS_PER_ADDRESS);
        assert!(slots.enter("192.0.2.2".parse().unwrap()));
        slots.leave(greedy);
        assert!(slots.enter(greedy));
        assert!(!slots.enter("::ffff:192.0.2.1".parse().unwrap()), "the same, written for IPv6");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_host() {
        let mut slots = ConnectionSlots::default();
        let address = |at: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + at));
        assert_eq!((0..100).filter(|at| slots.enter(address(*at))).count(), MAX_CONNECTIONS_PER_ADDRESS);
        assert!(slots.enter(address(1 << 64)));
    }

    #[test]
    fn the_device_finds_room_in_a_full_broker() {
        let mut slots = ConnectionSlots::default();
        let strangers =
            (0..=u8::MAX).flat_map(|host| std::iter::repeat_n(IpAddr::from([192, 0, 2, host]), 2));
        assert_eq!(strangers.filter(|ip| slots.enter(*ip)).count(), MAX_CONNECTIONS);
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!((0..100).filter(|_| slots.enter(own)).count(), OWN_CONNECTIONS);
        slots.leave(own);
        assert!(slots.enter(own));
        assert!(!slots.enter("192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn a_flood_is_slowed_down_and_a_burst_is_not() {
        let start = Instant::now();
        let mut message_rate = MessageRate::new(start);
        assert!((0..MESSAGE_BURST).all(|_| message_rate.take(start).is_zero()));
        let each = Duration::from_secs(1) / MESSAGES_PER_SECOND;
        assert_eq!(message_rate.take(start), each);
        assert_eq!(message_rate.take(start + each), each);
        assert!(message_rate.take(start + each * 4).is_zero());
        let rested = start + Duration::from_mins(1);
        assert!((0..MESSAGE_BURST).all(|_| message_rate.take(rested).is_zero()));
        assert!(!message_rate.take(rested).is_zero());
    }
}
