//! Leases: blocks moved out of the store to be served from memory.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use itu_y3803::{KeyId, KeySize, KsaKey, WallTime};

use crate::block::SupplyBlock;
use crate::key_id::IdCipher;

/// Key bound to one set of parties, to be supplied to the master without asking the store again.
///
/// The blocks in it have left the store, so a crash burns what has not been supplied, unless it is given back before
/// ([`Input::GiveBack`](crate::Input::GiveBack)); keys that were supplied are
/// safe at the slaves' key managers, which had their copies before the lease was given.
#[derive(Debug)]
pub struct Lease {
    blocks: VecDeque<SupplyBlock>,
    /// What the blocks have left.
    octets: usize,
    /// No block expires before.
    expires: WallTime,
    ids: Arc<IdCipher>,
    /// A key is supplied only when its slaves have at least this long to collect it.
    collect_time: Duration,
    /// How often its key manager had burnt key before it was given out.
    burns: u64,
}

impl Lease {
    pub(crate) fn new(ids: Arc<IdCipher>, collect_time: Duration, burns: u64) -> Self {
        Self { blocks: VecDeque::new(), octets: 0, expires: WallTime::NEVER, ids, collect_time, burns }
    }

    /// Whether it was given out by this run of a key manager, which has burnt nothing since.
    pub(crate) fn is_still_good(&self, ids: &Arc<IdCipher>, burns: u64) -> bool {
        Arc::ptr_eq(&self.ids, ids) && self.burns == burns
    }

    pub(crate) fn push(&mut self, block: SupplyBlock) {
        self.octets += block.octets_left();
        self.expires = self.expires.min(block.info.expires);
        self.blocks.push_back(block);
    }

    /// Cuts `number` keys of `size`, or none at all: `None` when it holds too little that is fresh enough at `now`, or the
    /// size is not whole octets.
    ///
    /// What is left of a block when the next key does not fit it is dropped.
    pub fn supply(&mut self, now: WallTime, number: NonZeroU32, size: KeySize) -> Option<Vec<KsaKey>> {
        let number = number.get() as usize;
        if !size.bits().is_multiple_of(8) {
            return None;
        }
        self.drop_stale(now);
        // Asked before anything is cut; it also bounds the allocation.
        if self.keys_left(size, number) < number {
            return None;
        }
        let mut keys = Vec::with_capacity(number);
        while keys.len() < number {
            let block = self.blocks.front_mut()?;
            let left = block.octets_left();
            match block.supply(size, &self.ids) {
                Some(key) => {
                    self.octets -= left - block.octets_left();
                    keys.push(key);
                }
                None => self.drop_first(),
            }
        }
        if self.blocks.front().is_some_and(|block| block.octets_left() == 0) {
            self.drop_first();
        }
        Some(keys)
    }

    /// How many keys of `size` it can supply, counting no further than `enough`.
    #[must_use]
    pub fn keys_left(&self, size: KeySize, enough: usize) -> usize {
        let mut keys = 0;
        for block in &self.blocks {
            keys += block.keys_left(size.octets());
            if keys >= enough {
                break;
            }
        }
        keys
    }

    /// Octets that have not been supplied.
    #[must_use]
    pub fn octets_left(&self) -> usize {
        self.octets
    }

    /// Adds what another lease of the same parties holds.
    pub fn extend(&mut self, other: Self) {
        if self.blocks.is_empty() {
            // Nothing of what was given out before a burn is left in it.
            self.burns = other.burns;
        }
        self.octets += other.octets;
        self.expires = self.expires.min(other.expires);
        self.burns = self.burns.min(other.burns);
        self.blocks.extend(other.blocks);
    }

    pub(crate) fn forget(&mut self, id: KeyId) {
        self.retain(|block| block.info.id != id);
    }

    fn retain(&mut self, keep: impl Fn(&SupplyBlock) -> bool) {
        self.blocks.retain(keep);
        self.octets = self.blocks.iter().map(SupplyBlock::octets_left).sum();
        self.expires = self.blocks.iter().map(|block| block.info.expires).min().unwrap_or(WallTime::NEVER);
    }

    fn drop_first(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.octets -= block.octets_left();
        }
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = &SupplyBlock> {
        self.blocks.iter()
    }

    pub(crate) fn into_blocks(self) -> impl Iterator<Item = SupplyBlock> {
        self.blocks.into_iter()
    }

    /// Drops blocks whose slaves would not have the time to collect.
    pub fn drop_stale(&mut self, now: WallTime) {
        let soon = now.after(self.collect_time);
        if soon >= self.expires {
            // Not only the oldest: a later block may have been given a shorter life.
            self.retain(|block| soon < block.info.expires);
        }
    }
}
