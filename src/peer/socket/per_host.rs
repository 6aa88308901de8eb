//! How many of something there may be, from one host and from all together. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what each host has.
#[derive(Debug)]
pub(in crate::peer) struct PerHost {
    most: usize,
    most_of_one: usize,
    hosts: HashMap<IpAddr, usize>,
}

impl PerHost {
    /// At most `most` in all and `most_of_one` from one host.
    pub fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, hosts: HashMap::new() }
    }

    /// Counts one more from `address`; `false` if that is too much.
    fn enter(&mut self, address: IpAddr) -> bool {
        let own = self.hosts.get(&host(address)).copied().unwrap_or(0);
        let is_allowed = own < self.most_of_one && self.hosts.values().sum::<usize>() < self.most;
        if is_allowed {
            self.hosts.insert(host(address), own + 1);
        }
        is_allowed
    }

    fn leave(&mut self, address: IpAddr) {
        let own = self.hosts.get(&host(address)).copied().unwrap_or(0);
        if own > 1 {
            self.hosts.insert(host(address), own - 1);
        } else {
            self.hosts.remove(&host(address));
        }
    }
}

/// What one host has: an IPv4 address, or a /64 network.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// One that is counted; given back on drop.
#[derive(Debug)]
pub(in crate::peer) struct Counted {
    among: Arc<Mutex<PerHost>>,
    address: IpAddr,
}

impl Counted {
    /// Counts one more from `address`; `None` if that is too much.
    pub fn enter(among: &Arc<Mutex<PerHost>>, address: IpAddr) -> Option<Self> {
        let entered = among.lock().unwrap_or_else(PoisonError::into_inner).enter(address);
        entered.then(|| Self { among: Arc::clone(among), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.among.lock().unwrap_or_else(PoisonError::into_inner).leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_bounded_each_and_together() {
        let mut counts = PerHost::new(20, 8);
        let address = |host: u8| IpAddr::from([192, 0, 2, host]);
        let entered = [1, 2, 3].map(|host| (0..20).filter(|_| counts.enter(address(host))).count());
        assert_eq!(entered, [8, 8, 4]);
        assert!(!counts.enter(address(4)), "all are taken");
        counts.leave(address(1));
        assert!(counts.enter(address(4)) && !counts.enter(address(4)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_host_and_nothing_is_kept_of_who_left() {
        let counts = Arc::new(Mutex::new(PerHost::new(20, 8)));
        let address = |at: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + at));
        let mut held: Vec<_> = (0..20).filter_map(|at| Counted::enter(&counts, address(at))).collect();
        assert_eq!(held.len(), 8);
        held.extend(Counted::enter(&counts, address(1 << 64)));
        assert_eq!(held.len(), 9);
        drop(held);
        assert!(counts.lock().unwrap().hosts.is_empty());
    }
}
