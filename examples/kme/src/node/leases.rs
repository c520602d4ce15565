//! Leases that are out: masters are served from them without asking the engine.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use itu_y3803::{KeySize, KsaKey, Parties};
use relay_core::Lease;

use crate::wall_now;

/// All leases that are out, by their parties.
#[derive(Debug)]
pub(super) struct Leases {
    shelves: Mutex<HashMap<Parties, Arc<Shelf>>>,
    low_octets: usize,
}

/// What is leased for one set of parties; whoever asks often keeps hold of it.
pub struct Shelf {
    parties: Parties,
    /// With less than this left, more is asked for ahead of demand.
    low_octets: usize,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    lease: Option<Lease>,
    /// More has been asked for.
    refilling: bool,
}

impl Leases {
    pub(super) fn new(lease_octets: usize) -> Self {
        Self { shelves: Mutex::default(), low_octets: lease_octets / 2 }
    }

    /// The one shelf of these parties, for as long as somebody holds it or something is on it.
    pub(super) fn shelf(&self, parties: Parties) -> Arc<Shelf> {
        let mut shelves = lock(&self.shelves);
        if let Some(shelf) = shelves.get(&parties) {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(Shelf { parties: parties.clone(), low_octets: self.low_octets, slot: Mutex::default() });
        shelves.insert(parties, Arc::clone(&shelf));
        shelf
    }

    /// Burns what is too old to be supplied, so that it does not stay in memory.
    pub(super) fn sweep(&self) {
        let now = wall_now();
        lock(&self.shelves).retain(|_, shelf| {
            let mut slot = lock(&shelf.slot);
            if let Some(lease) = &mut slot.lease {
                lease.drop_stale(now);
            }
            // Nobody else can take hold of it meanwhile: that needs the lock on all shelves.
            slot.octets_left() > 0 || Arc::strong_count(shelf) > 1
        });
    }

    /// All leases, which are served from no more.
    pub(super) fn take_all(&self) -> Vec<Lease> {
        lock(&self.shelves).values().filter_map(|shelf| lock(&shelf.slot).lease.take()).collect()
    }

    /// Burns everything, at the end.
    pub(super) fn close(&self) {
        lock(&self.shelves).drain().for_each(|(_, shelf)| shelf.burn());
    }

    /// Burns what these parties have.
    pub(super) fn revoke(&self, parties: &Parties) {
        if let Some(shelf) = lock(&self.shelves).get(parties) {
            shelf.burn();
        }
    }
}

impl Shelf {
    pub(super) fn parties(&self) -> &Parties {
        &self.parties
    }

    /// Keys from the lease if it has enough, and whether it should be refilled.
    pub(super) fn supply(&self, number: NonZeroU32, size: KeySize) -> (Option<Vec<KsaKey>>, bool) {
        let mut slot = lock(&self.slot);
        let Some(lease) = &mut slot.lease else { return (None, false) };
        let keys = lease.supply(wall_now(), number, size);
        let low = !slot.refilling && slot.octets_left() < self.low_octets;
        slot.refilling |= low && keys.is_some();
        (keys, low)
    }

    pub(super) fn keys_left(&self, size: KeySize) -> usize {
        lock(&self.slot).lease.as_ref().map_or(0, |lease| lease.keys_left(size, usize::MAX))
    }

    /// Adds a lease to what is there.
    pub(super) fn add(&self, more: Lease) {
        let mut slot = lock(&self.slot);
        match &mut slot.lease {
            Some(lease) => lease.extend(more),
            None => slot.lease = Some(more),
        }
        slot.refilling = false;
    }

    /// A refill did not come.
    pub(super) fn not_refilled(&self) {
        lock(&self.slot).refilling = false;
    }

    fn burn(&self) {
        *lock(&self.slot) = Slot::default();
    }
}

impl Slot {
    fn octets_left(&self) -> usize {
        self.lease.as_ref().map_or(0, Lease::octets_left)
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("parties", &self.parties).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held may have lost keys of a lease, but gave none out twice.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
