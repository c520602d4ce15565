//! The counter: leases from which masters are served without asking the engine.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use itu_y3803::{KeySize, KsaKey, Parties};
use relay_core::Lease;

use crate::wall_now;

/// The leases that are out.
#[derive(Debug)]
pub(super) struct Counter {
    leases: Mutex<HashMap<Parties, Slot>>,
    /// With less than this left, more is asked for ahead of demand.
    low_octets: usize,
}

#[derive(Debug)]
struct Slot {
    lease: Lease,
    /// More has been asked for.
    refilling: bool,
}

impl Counter {
    pub(super) fn new(lease_octets: usize) -> Self {
        Self { leases: Mutex::default(), low_octets: lease_octets / 2 }
    }

    /// Keys from the lease of these parties if it has enough, and whether it should be refilled.
    pub(super) fn supply(&self, parties: &Parties, number: NonZeroU32, size: KeySize) -> (Option<Vec<KsaKey>>, bool) {
        let mut leases = self.lock();
        let Some(slot) = leases.get_mut(parties) else { return (None, false) };
        let keys = slot.lease.supply(wall_now(), number, size);
        let low = !slot.refilling && slot.lease.octets_left() < self.low_octets;
        slot.refilling |= low && keys.is_some();
        (keys, low)
    }

    pub(super) fn keys_left(&self, parties: &Parties, size: KeySize) -> usize {
        self.lock().get(parties).map_or(0, |slot| slot.lease.keys_left(size, usize::MAX))
    }

    /// Adds a lease to what these parties have.
    pub(super) fn add(&self, parties: Parties, lease: Lease) {
        match self.lock().entry(parties) {
            std::collections::hash_map::Entry::Occupied(mut slot) => {
                slot.get_mut().lease.extend(lease);
                slot.get_mut().refilling = false;
            }
            std::collections::hash_map::Entry::Vacant(slot) => drop(slot.insert(Slot { lease, refilling: false })),
        }
    }

    /// A refill did not come.
    pub(super) fn not_refilled(&self, parties: &Parties) {
        if let Some(slot) = self.lock().get_mut(parties) {
            slot.refilling = false;
        }
    }

    /// Burns what is too old to be supplied, so that it does not stay in memory.
    pub(super) fn sweep(&self) {
        let now = wall_now();
        self.lock().retain(|_, slot| {
            slot.lease.drop_stale(now);
            slot.refilling || slot.lease.octets_left() > 0
        });
    }

    /// Burns everything, at the end.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    /// Burns what these parties have.
    pub(super) fn revoke(&self, parties: &Parties) {
        self.lock().remove(parties);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Parties, Slot>> {
        // A panic while it was held may have lost keys of a lease, but gave none out twice.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
