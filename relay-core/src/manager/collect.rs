//! Collection: a slave comes for keys that its master was given, and gets each once (014-5.4-03 to 014-5.4-05,
//! Y3803-9.4-02).

use std::collections::BTreeSet;
use std::sync::Arc;

use itu_y3803::{ApplicationId, Incarnation, KeyId, KmId, Parties, RandomSource, WallTime};

use super::bind::has_slaves_here;
use super::peers::Peer;
use super::{KeyManager, Now, OrderId, Output, Refusal};
use crate::block::{CollectBlock, Collected};
use crate::encoding::path_octets;
use crate::key_id::{IdCipher, Place};
use crate::store::{KeyStore, Pool, StoredKey};

/// What a block counts for beside its octets, against the limit of what is held for collection.
const BLOCK_COSTS: usize = 128;

/// What is known of a block in the store.
pub(super) struct Collectable {
    parties: Arc<Parties>,
    octets: usize,
    /// How much it counts for: what was collected by all counts no more, or what is left of blocks by keys that do not fill them
    /// would in time leave room for nothing else.
    counts: usize,
    expires: WallTime,
    tag: [u8; 16],
    /// As in the store: what is not there is refused without touching the store.
    collected: Collected,
}

impl From<&CollectBlock> for Collectable {
    fn from(block: &CollectBlock) -> Self {
        Self {
            parties: Arc::clone(&block.info.parties),
            octets: block.material.size().octets(),
            counts: counts(block),
            expires: block.info.expires,
            tag: block.tag,
            collected: block.collected.clone(),
        }
    }
}

fn counts(block: &CollectBlock) -> usize {
    let octets = block.material.size().octets();
    BLOCK_COSTS + path_octets(&block.info.paths) + octets.saturating_sub(block.collected.octets_by_all(octets))
}

/// A key that was asked for, if it can be one.
enum Asked {
    At { block: KeyId, slave: usize, place: Place },
    ForOthers,
    Unknown,
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    pub(super) fn index_collect(&mut self, id: KeyId, block: Collectable) {
        if let Some(home) = self.home(block.parties.master()).cloned() {
            *self.collectable_from.entry(home).or_default() += block.counts;
        }
        self.collectable.insert(id, block);
    }

    pub(super) fn forget_collect(&mut self, block: KeyId) {
        self.in_hand.remove(&block);
        if let Some(known) = self.collectable.remove(&block) {
            self.count_less(&known.parties, known.counts);
        }
    }

    fn count_less(&mut self, parties: &Parties, octets: usize) {
        let home = self.home(parties.master()).cloned();
        if let Some(total) = home.and_then(|home| self.collectable_from.get_mut(&home)) {
            *total = total.saturating_sub(octets);
        }
    }

    /// Whether `octets` more are held for collection, of blocks that the key manager `from` binds.
    pub(super) fn has_room_to_collect(&self, from: &KmId, octets: usize) -> bool {
        let held = self.collectable_from.get(from).copied().unwrap_or(0);
        held.saturating_add(BLOCK_COSTS + octets) <= self.config.max_collectable
    }

    pub(super) fn collectable_tag(&self, block: KeyId) -> Option<[u8; 16]> {
        self.collectable.get(&block).map(|known| known.tag)
    }

    pub(super) fn collect(
        &mut self,
        now: Now,
        order: OrderId,
        slave: &ApplicationId,
        master: &ApplicationId,
        keys: Vec<KeyId>,
    ) -> Result<(), S::Error> {
        let asked: Vec<_> = keys.iter().map(|&id| self.locate(slave, master, id)).collect();
        if asked.iter().any(|asked| matches!(asked, Asked::ForOthers)) {
            self.refuse(order, Refusal::NotEntitled);
            return Ok(());
        }
        // All are looked at before any is handed out: all or none.
        let mut seen = BTreeSet::new();
        let mut missing = Vec::new();
        for (id, asked) in keys.iter().zip(&asked) {
            let there = matches!(asked, Asked::At { block, slave, place } if self.offers(now, *block, *slave, *place));
            if !there || !seen.insert(*id) {
                missing.push(*id);
            }
        }
        if !missing.is_empty() {
            self.refuse(order, Refusal::NotFound { keys: missing });
            return Ok(());
        }
        let wanted = keys.len();
        let mut supplied = Vec::with_capacity(wanted);
        for (id, asked) in keys.into_iter().zip(asked) {
            let Asked::At { block, slave: index, place } = asked else { continue };
            if let Some(known) = self.collectable.get_mut(&block) {
                known.collected.add(index, place);
            }
            if let Some(block) = self.in_hand(block)?
                && let Some(key) = block.collect(slave, place, id)
            {
                supplied.push(key);
            }
        }
        if supplied.len() == wanted {
            self.staged.push_back(Output::Supplied { order, keys: supplied });
        } else {
            // The index promised what the store did not have.
            self.refuse(order, Refusal::NotFound { keys: Vec::new() });
        }
        Ok(())
    }

    fn offers(&self, now: Now, block: KeyId, slave: usize, place: Place) -> bool {
        self.collectable.get(&block).is_some_and(|known| {
            let inside = place.start + place.octets <= known.octets;
            inside && now.wall < known.expires && known.collected.lacks(slave, place)
        })
    }

    fn locate(&self, slave: &ApplicationId, master: &ApplicationId, id: KeyId) -> Asked {
        let Some((block, place)) = self.find_place(master, id) else { return Asked::Unknown };
        match self.collectable.get(&block) {
            Some(known) if known.parties.master() != master => Asked::Unknown,
            Some(known) => match known.parties.slaves().binary_search(slave) {
                Ok(slave) => Asked::At { block, slave, place },
                Err(_) => Asked::ForOthers,
            },
            // The master itself never has a part in it; nobody of this node has when all slaves are elsewhere.
            None if slave == master => Asked::ForOthers,
            None if self.is_own(block) && !has_slaves_here(place.block) => Asked::ForOthers,
            None => Asked::Unknown,
        }
    }

    fn is_own(&self, block: KeyId) -> bool {
        Incarnation::split(block).0 == self.notes.incarnation
    }

    /// The block that `id` names, if it was made by this key manager or a life of a neighbour: by that of the master as a rule,
    /// but the master may have moved since, or be in the directory no more.
    fn find_place(&self, master: &ApplicationId, id: KeyId) -> Option<(KeyId, Place)> {
        let place_in = |incarnation: Incarnation, ids: &IdCipher| {
            let place = ids.place(id)?;
            Some((incarnation.key_id(place.block), place))
        };
        let own = || place_in(self.notes.incarnation, &self.ids);
        let made_by = |peer: &Peer| peer.ids.iter().rev().find_map(|(incarnation, ids)| place_in(*incarnation, ids));
        let of_master = self.home(master).and_then(|home| self.peers.get(home));
        of_master.and_then(made_by).or_else(own).or_else(|| self.peers.values().find_map(made_by))
    }

    /// The block, out of the store until the next commit.
    fn in_hand(&mut self, block: KeyId) -> Result<Option<&mut CollectBlock>, S::Error> {
        if !self.in_hand.contains_key(&block) {
            let Some(StoredKey::Collect(taken)) = self.take(Pool::Collect, block)? else { return Ok(None) };
            self.in_hand.insert(block, taken);
        }
        Ok(self.in_hand.get_mut(&block))
    }

    pub(super) fn put_back_in_hand(&mut self) -> Result<(), S::Error> {
        for (id, block) in std::mem::take(&mut self.in_hand) {
            if block.is_finished() {
                self.forget_collect(id);
            } else {
                if let Some(known) = self.collectable.get_mut(&id) {
                    let former = std::mem::replace(&mut known.counts, counts(&block));
                    let (parties, less) = (Arc::clone(&known.parties), former.saturating_sub(known.counts));
                    self.count_less(&parties, less);
                }
                self.put(StoredKey::Collect(block))?;
            }
        }
        Ok(())
    }
}
