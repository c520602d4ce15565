//! Counting connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ConnectionLimit, Limits};

/// How many connections there are, in total and by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Arc<Mutex<Counts>>);

impl Slots {
    /// A place for a connection from `address`, given back when the slot is dropped.
    pub(super) fn take(&self, address: IpAddr, limits: &Limits) -> Result<Slot, ConnectionLimit> {
        let site = site(address);
        let mut counts = self.lock();
        let here = counts.room(site, limits)?;
        counts.total += 1;
        counts.by_site.insert(site, here + 1);
        Ok(Slot { counts: self.0.clone(), site })
    }

    /// Whether there is a place now, for whoever has to earn it by a handshake first.
    pub(super) fn look(&self, address: IpAddr, limits: &Limits) -> Result<(), ConnectionLimit> {
        self.lock().room(site(address), limits).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Slot {
    counts: Arc<Mutex<Counts>>,
    site: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        match counts.by_site.get_mut(&self.site) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                counts.by_site.remove(&self.site);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_site: HashMap<IpAddr, usize>,
}

impl Counts {
    /// How many are taken from there, if there is room for one more.
    fn room(&self, site: IpAddr, limits: &Limits) -> Result<usize, ConnectionLimit> {
        if self.total >= limits.connections {
            return Err(ConnectionLimit::Total);
        }
        let here = self.by_site.get(&site).copied().unwrap_or_default();
        if here >= limits.connections_per_address {
            return Err(ConnectionLimit::PerAddress);
        }
        Ok(here)
    }
}

/// One customer's addresses count as one: an IPv6 host commands a whole /64.
pub(super) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, connections_per_address: usize) -> Limits {
        Limits { connections, connections_per_address, ..Limits::default() }
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let slots = Slots::default();
        let take = |address: &str| slots.take(address.parse().expect("an address"), &limits(3, 2));
        let first = take("192.0.2.1").expect("free");
        let second = take("192.0.2.1").expect("free");
        assert_eq!(take("192.0.2.1").expect_err("two from there"), ConnectionLimit::PerAddress);
        let third = take("192.0.2.2").expect("free");
        assert_eq!(take("192.0.2.3").expect_err("three in all"), ConnectionLimit::Total);
        drop(second);
        let second = take("192.0.2.1").expect("free again");
        drop((first, second, third));
        assert!(slots.0.lock().expect("not poisoned").by_site.is_empty());
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let slots = Slots::default();
        let take = |address: &str| slots.take(address.parse().expect("an address"), &limits(9, 1));
        let _first = take("2001:db8::1").expect("free");
        assert_eq!(take("2001:db8::2").expect_err("same /64"), ConnectionLimit::PerAddress);
        let _other = take("2001:db8:0:1::1").expect("another /64");
        let _mapped = take("::ffff:192.0.2.1").expect("free");
        assert_eq!(take("192.0.2.1").expect_err("the same host"), ConnectionLimit::PerAddress);
    }
}
