//! Supply: blocks that are bound become keys for the master, in order and once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use itu_y3803::{KeyId, KeySize, KmId, KsaKey, Parties, RandomSource};

use super::bind::CannotBind;
use super::config::MAX_BLOCK_LIFE;
use super::relay::overhead;
use super::{KeyManager, Now, OrderId, Output, Refusal};
use crate::block::{SupplyBlock, keys_in};
use crate::key_id::{MAX_KEY_OCTETS, UNIT_OCTETS};
use crate::lease::Lease;
use crate::pad::TAG_KEY_OCTETS;
use crate::store::{KeyStore, Pool, StoredKey};

/// What is ready for one set of parties.
pub(super) struct SupplyPool {
    ready: Ready,
    /// Blocks that are being supplied from, one key at a time.
    open: Lease,
    /// Those of them that the store has, as they were at the last commit.
    written_back: Vec<KeyId>,
    binding_octets: usize,
    orders: VecDeque<Order>,
    prepared: bool,
    /// Octets asked for and supplied, from zero when it was found idle: no more than that is held ready.
    used: usize,
    last_used: Instant,
    last_bound: Instant,
    /// Since when orders came that there was too little for, and nothing was bound.
    short_since: Option<Instant>,
    /// The key managers of the slaves.
    homes: Vec<KmId>,
    /// Blocks that were refused in a row, and until when no other is tried: the next would be refused as well, and burn a pad.
    refused: u32,
    not_before: Option<Instant>,
    filling: bool,
}

/// Octets left in each block that is in the store and not being supplied from, and their sum: a pool may hold very many.
#[derive(Default)]
struct Ready {
    blocks: BTreeMap<KeyId, usize>,
    octets: usize,
}

impl Ready {
    fn insert(&mut self, block: KeyId, octets: usize) {
        self.remove(block);
        self.blocks.insert(block, octets);
        self.octets += octets;
    }

    fn remove(&mut self, block: KeyId) {
        self.octets -= self.blocks.remove(&block).unwrap_or(0);
    }

    fn pop_first(&mut self) -> Option<KeyId> {
        let (block, octets) = self.blocks.pop_first()?;
        self.octets -= octets;
        Some(block)
    }
}

struct Order {
    id: OrderId,
    number: NonZeroU32,
    size: KeySize,
    lease: bool,
    give_up: Instant,
}

impl Order {
    /// Octets of block that surely suffice.
    fn octets(&self) -> usize {
        (self.number.get() as usize).saturating_mul(self.size.octets().next_multiple_of(UNIT_OCTETS))
    }
}

impl SupplyPool {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let retry = self.not_before.filter(|_| !self.orders.is_empty());
        self.orders.iter().map(|order| order.give_up).chain(retry).min()
    }

    /// How many keys of `size` are ready, counting no further than `enough`.
    pub(super) fn keys_ready(&self, size: KeySize, enough: usize) -> usize {
        let mut keys = self.open.keys_left(size, enough);
        for &left in self.ready.blocks.values() {
            if keys >= enough {
                break;
            }
            keys += keys_in(left, size.octets());
        }
        keys
    }

    pub(super) fn octets_coming(&self) -> usize {
        self.ready.octets + self.open.octets_left() + self.binding_octets
    }

    /// Whether orders wait for more than is ready and being bound. Octets alone do not tell: keys do not cross the border
    /// between blocks, so what is left of several blocks may be of no use to a large key.
    fn is_short(&self) -> bool {
        let missing = |order: &Order| {
            let number = order.number.get() as usize;
            let keys = number.saturating_sub(self.keys_ready(order.size, number));
            keys.saturating_mul(order.size.octets().next_multiple_of(UNIT_OCTETS))
        };
        let waiting = self.orders.iter().skip(1).map(Order::octets).fold(0, usize::saturating_add);
        self.orders.front().is_some_and(|order| missing(order).saturating_add(waiting) > self.binding_octets)
    }

    /// Since when somebody has wanted key in vain, if there is not as much again as is to be ready.
    pub(super) fn short_since(&self, most: usize) -> Option<Instant> {
        self.short_since.filter(|_| self.wants_more(most))
    }

    /// Whether all its slaves are at this node.
    pub(super) fn is_with(&self, node: &KmId) -> bool {
        self.homes.iter().all(|home| home == node)
    }

    /// How much is to be ready, in octets. What is ready grows with use, and is all there at once for those who were announced: whoever
    /// asks for one key only does not cost the link key of many.
    pub(super) fn mark(&self, most: usize) -> usize {
        if self.prepared { most } else { most.min(self.used) }
    }

    /// Whether less is ready and coming than this mark.
    fn wants_more(&self, mark: usize) -> bool {
        self.octets_coming() < self.mark(mark) || self.is_short()
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    pub(super) fn index_supply(&mut self, now: Now, block: KeyId, parties: &Arc<Parties>, octets: usize) -> bool {
        let wanted = self.are_known(parties);
        if wanted {
            self.pool(now, parties).ready.insert(block, octets);
        }
        wanted
    }

    pub(super) fn forget_supply(&mut self, parties: &Arc<Parties>, block: KeyId) {
        if let Some(pool) = self.pools.get_mut(parties) {
            pool.ready.remove(block);
            pool.open.forget(block);
        }
        self.watch(parties);
    }

    /// Has a pool looked at when pools are filled, since it may want more now.
    fn watch(&mut self, parties: &Parties) {
        if let Some((parties, _)) = self.pools.get_key_value(parties) {
            self.watched.insert(Arc::clone(parties));
            self.pools_wanting = true;
        }
    }

    /// Empties the pool of these parties, and says what of it is in the store.
    pub(super) fn drain_pool(&mut self, parties: &Arc<Parties>) -> Vec<KeyId> {
        let empty = self.empty_lease();
        let Some(pool) = self.pools.get_mut(parties) else { return Vec::new() };
        let open = std::mem::replace(&mut pool.open, empty);
        let mut blocks: Vec<_> = std::mem::take(&mut pool.ready).blocks.into_keys().collect();
        blocks.extend(open.blocks().map(|block| block.info.id));
        blocks.append(&mut pool.written_back);
        blocks
    }

    pub(super) fn add_binding_octets(&mut self, parties: &Parties, octets: usize) {
        if let Some(pool) = self.pools.get_mut(parties) {
            pool.binding_octets += octets;
        }
    }

    pub(super) fn remove_binding_octets(&mut self, parties: &Parties, octets: usize) {
        if let Some(pool) = self.pools.get_mut(parties) {
            pool.binding_octets = pool.binding_octets.saturating_sub(octets);
        }
        self.watch(parties);
    }

    pub(super) fn prepare(&mut self, now: Now, parties: Parties) {
        let parties = Arc::new(parties);
        if self.are_known(&parties) && self.has_room_for(&parties) {
            self.pool(now, &parties).prepared = true;
            self.watch(&parties);
        }
    }

    pub(super) fn order(
        &mut self,
        now: Now,
        id: OrderId,
        parties: Parties,
        number: NonZeroU32,
        size: KeySize,
        lease: bool,
    ) -> Result<(), S::Error> {
        let parties = Arc::new(parties);
        let mut order = Order { id, number, size, lease, give_up: now.instant };
        let granted = if !self.are_known(&parties) {
            Err(Refusal::UnknownApplication)
        } else if !size.bits().is_multiple_of(8) || size.octets() > self.largest_key(&parties) {
            Err(Refusal::SizeNotSupported)
        } else if order.octets() > self.config.pool_limit || !self.has_room_for(&parties) {
            Err(Refusal::TooMuch)
        } else {
            self.grant(&parties, size)
        };
        match granted {
            Ok(wait) => order.give_up += wait,
            Err(reason) => {
                self.refuse(id, reason);
                return Ok(());
            }
        }
        let pool = self.pool(now, &parties);
        pool.last_used = now.instant;
        pool.used = pool.used.max(order.octets());
        pool.orders.push_back(order);
        self.watch(&parties);
        self.serve_waiting(now, &parties)
    }

    /// Serves the orders for these parties in turn, as far as the key goes.
    pub(super) fn serve_waiting(&mut self, now: Now, parties: &Arc<Parties>) -> Result<(), S::Error> {
        while let Some(order) = self.pools.get_mut(parties).and_then(|pool| pool.orders.pop_front()) {
            let served = if order.lease {
                self.lease(now, parties, &order)?.map(|lease| Output::Leased { order: order.id, lease })
            } else {
                self.supply(now, parties, &order)?.map(|keys| Output::Supplied { order: order.id, keys })
            };
            match served {
                Some(output) => {
                    let octets = if let Output::Leased { lease, .. } = &output { lease.octets_left() } else { order.octets() };
                    if let Some(pool) = self.pools.get_mut(parties) {
                        pool.used = pool.used.saturating_add(octets);
                    }
                    self.staged.push_back(output);
                }
                None => {
                    if let Some(pool) = self.pools.get_mut(parties) {
                        pool.orders.push_front(order);
                        pool.short_since.get_or_insert(now.instant);
                    }
                    break;
                }
            }
        }
        if self.pools.get(parties).is_some_and(|pool| pool.wants_more(self.config.pool_low)) {
            self.watch(parties);
        }
        Ok(())
    }

    fn supply(&mut self, now: Now, parties: &Arc<Parties>, order: &Order) -> Result<Option<Vec<KsaKey>>, S::Error> {
        let wanted = order.number.get() as usize;
        loop {
            let Some(pool) = self.pools.get_mut(parties) else { return Ok(None) };
            let keys = pool.open.supply(now.wall, order.number, order.size);
            let ready = keys.is_some() || pool.keys_ready(order.size, wanted) >= wanted;
            self.supplied_from.insert(Arc::clone(parties));
            if keys.is_some() || !ready || !self.open_next(now, parties)? {
                return Ok(keys);
            }
        }
    }

    /// Moves the oldest block from the store to the open ones. False when there is none.
    fn open_next(&mut self, now: Now, parties: &Arc<Parties>) -> Result<bool, S::Error> {
        while let Some(block) = self.pools.get_mut(parties).and_then(|pool| pool.ready.pop_first()) {
            let Some(StoredKey::Supply(block)) = self.take(Pool::Supply, block)? else { continue };
            // Its slaves would not have the time to collect.
            if now.wall.after(self.config.collect_time) >= block.info.expires {
                continue;
            }
            if let Some(pool) = self.pools.get_mut(parties) {
                pool.open.push(block);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Makes the store hold what is left of the open blocks, in the same commit as the supply from them: a block that is used
    /// up leaves it, or its keys would be supplied again after a restart.
    pub(super) fn write_back(&mut self) -> Result<(), S::Error> {
        for parties in std::mem::take(&mut self.supplied_from) {
            let Some(pool) = self.pools.get_mut(&parties) else { continue };
            let copies: Vec<_> = pool.open.blocks().map(SupplyBlock::duplicate).collect();
            let ids = copies.iter().map(|block| block.info.id).collect();
            for block in std::mem::replace(&mut pool.written_back, ids) {
                if copies.iter().all(|copy| copy.info.id != block) {
                    self.remove(Pool::Supply, block)?;
                }
            }
            for block in copies {
                self.put(StoredKey::Supply(block))?;
            }
        }
        Ok(())
    }

    fn lease(&mut self, now: Now, parties: &Arc<Parties>, order: &Order) -> Result<Option<Lease>, S::Error> {
        let wanted = order.number.get() as usize;
        let Some(pool) = self.pools.get(parties) else { return Ok(None) };
        if pool.keys_ready(order.size, wanted) < wanted {
            return Ok(None);
        }
        let mut lease = self.empty_lease();
        loop {
            let enough = lease.keys_left(order.size, wanted) >= wanted;
            if enough && lease.octets_left() >= self.config.lease_octets {
                break;
            }
            let Some(block) = self.pools.get_mut(parties).and_then(|pool| pool.ready.pop_first()) else { break };
            let Some(StoredKey::Supply(block)) = self.take(Pool::Supply, block)? else { continue };
            if now.wall.after(self.config.collect_time) < block.info.expires {
                lease.push(block);
            }
        }
        if lease.keys_left(order.size, wanted) >= wanted {
            let lasts = lease.blocks().map(|block| now.wall.until(block.info.expires)).max().unwrap_or_default();
            let lasts = lasts.min(MAX_BLOCK_LIFE);
            let until = self.leased.entry(Arc::clone(parties)).or_insert(now.instant);
            *until = (*until).max(now.instant + lasts);
            return Ok(Some(lease));
        }
        // Some were too old after all: what is left goes back, and the order waits.
        for block in lease.into_blocks() {
            if let Some(pool) = self.pools.get_mut(parties) {
                pool.ready.insert(block.info.id, block.octets_left());
            }
            self.put(StoredKey::Supply(block))?;
        }
        Ok(None)
    }

    /// What was not supplied from a lease is supplied later, also after a restart. Nothing of it may have been burnt since.
    pub(super) fn give_back(&mut self, now: Now, lease: Lease) -> Result<(), S::Error> {
        if !lease.is_still_good(&self.ids, self.burns) {
            return Ok(());
        }
        for block in lease.into_blocks() {
            let parties = Arc::clone(&block.info.parties);
            let fresh = now.wall.after(self.config.collect_time) < block.info.expires;
            if fresh && block.octets_left() > 0 && self.index_supply(now, block.info.id, &parties, block.octets_left()) {
                self.put(StoredKey::Supply(block))?;
            }
        }
        Ok(())
    }

    pub(super) fn give_up_orders(&mut self, now: Now) {
        let mut refused = Vec::new();
        for parties in &self.watched {
            let unreachable = parties.slaves().iter().any(|slave| self.is_unreachable(parties, slave));
            let Some(pool) = self.pools.get_mut(parties) else { continue };
            pool.orders.retain(|order| {
                let over = order.give_up <= now.instant;
                if over {
                    refused.push((order.id, Arc::clone(parties), unreachable));
                }
                !over
            });
        }
        for (order, parties, unreachable) in refused {
            let reason = if unreachable { Refusal::Unreachable } else { self.short_by_rule(&parties) };
            self.refuse(order, reason);
        }
    }

    /// Whether no way leads to a slave that key may take.
    fn is_unreachable(&self, parties: &Parties, slave: &itu_y3803::ApplicationId) -> bool {
        let Some(home) = self.home(slave).filter(|home| **home != self.config.id) else { return false };
        let Some(ways) = self.ways(parties) else { return true };
        // A link to a neighbour may be empty; it is a way all the same.
        let direct = self.links.values().any(|link| link.peer == *home && link.serves(ways));
        let mut pool = self.links.values().filter(|link| link.peer == *home && link.ways() == Some(ways));
        !direct && pool.all(super::links::Link::is_unreachable)
    }

    /// Binds blocks for the parties that run low, the emptiest first, as far as the link key goes.
    pub(super) fn fill_pools(&mut self, now: Now) -> Result<(), S::Error> {
        self.pools_wanting = false;
        let mut wanting = Vec::new();
        let mut watched = std::mem::take(&mut self.watched);
        watched.retain(|parties| {
            let Some(pool) = self.pools.get_mut(parties) else { return false };
            let active = pool.prepared || !pool.orders.is_empty() || now.instant < pool.last_used + self.config.idle;
            pool.not_before = pool.not_before.filter(|until| *until > now.instant);
            if !active {
                (pool.used, pool.short_since) = (0, None);
            }
            if !active || !pool.wants_more(self.config.pool_high) {
                pool.filling = false;
            } else if pool.filling || pool.wants_more(self.config.pool_low) {
                pool.filling = true;
                if pool.not_before.is_none() {
                    wanting.push((pool.octets_coming(), pool.last_bound, Arc::clone(parties)));
                }
            }
            pool.filling || !pool.orders.is_empty()
        });
        self.watched.append(&mut watched);
        // Among those that are as empty, whoever has waited longest: or those behind would never get any.
        let mut wanting: BTreeSet<_> = wanting.into_iter().collect();
        while let Some((coming, _, parties)) = wanting.pop_first() {
            if !self.pools.get(&parties).is_some_and(|pool| pool.wants_more(self.config.pool_high)) {
                continue;
            }
            match self.bind(now, &parties)? {
                Ok(octets) => {
                    if let Some(pool) = self.pools.get_mut(&parties) {
                        pool.last_bound = now.instant;
                    }
                    wanting.insert((coming + octets, now.instant, parties));
                }
                Err(CannotBind::LinkKey | CannotBind::Numbers | CannotBind::Room) => {}
            }
        }
        Ok(())
    }

    fn pool(&mut self, now: Now, parties: &Arc<Parties>) -> &mut SupplyPool {
        let open = self.empty_lease();
        let applications = &self.config.applications;
        self.pools.entry(Arc::clone(parties)).or_insert_with(|| {
            let homes = parties.slaves().iter().filter_map(|slave| applications.get(slave).cloned()).collect();
            SupplyPool {
                ready: Ready::default(),
                open,
                written_back: Vec::new(),
                binding_octets: 0,
                orders: VecDeque::new(),
                prepared: false,
                used: 0,
                last_used: now.instant,
                last_bound: now.instant,
                short_since: None,
                homes,
                refused: 0,
                not_before: None,
                filling: true,
            }
        })
    }

    fn has_room_for(&self, parties: &Arc<Parties>) -> bool {
        let of_master = || self.pools.keys().filter(|pool| pool.master() == parties.master()).count();
        self.pools.contains_key(parties)
            || self.pools.len() < self.config.max_pools && of_master() < self.config.max_pools_per_master
    }

    /// Forgets parties that hold nothing and ask for nothing.
    pub(super) fn drop_idle_pools(&mut self, now: Now) {
        let idle = self.config.idle;
        self.leased.retain(|_, until| now.instant < *until);
        self.pools.retain(|_, pool| {
            let empty = pool.octets_coming() == 0 && pool.orders.is_empty() && pool.written_back.is_empty();
            pool.prepared || !empty || now.instant < pool.last_used + idle
        });
    }

    /// Burns all that is ready for some parties, and what is out on lease.
    pub(super) fn burn_supply(&mut self, concerns: impl Fn(&Parties) -> bool) -> Result<(), S::Error> {
        self.burns += 1;
        let parties: BTreeSet<_> =
            self.pools.keys().chain(self.leased.keys()).filter(|parties| concerns(parties)).cloned().collect();
        for parties in parties {
            for block in self.drain_pool(&parties) {
                self.remove(Pool::Supply, block)?;
            }
            self.leased.remove(&parties);
            self.watch(&parties);
            self.staged.push_back(Output::Revoked { parties });
        }
        self.pools_wanting = true;
        Ok(())
    }

    pub(super) fn bound_at_last(&mut self, parties: &Parties, now: Now) {
        if let Some(pool) = self.pools.get_mut(parties) {
            (pool.refused, pool.not_before, pool.last_bound) = (0, None, now.instant);
            pool.short_since = pool.is_short().then_some(now.instant);
        }
    }

    /// After a block was refused: the next one in a while, later each time.
    pub(super) fn back_off(&mut self, parties: &Parties, now: Now) {
        if let Some(pool) = self.pools.get_mut(parties) {
            let pause = self.config.draw_pause.saturating_mul(1 << pool.refused.min(8));
            pool.refused += 1;
            pool.not_before = Some(now.instant + pause);
        }
    }

    /// The largest key that a block for these parties can hold, in octets.
    fn largest_key(&self, parties: &Parties) -> usize {
        let link_key = self.config.qkd_keys_per_link_key as usize * self.config.qkd_key_size.octets();
        let remote = parties.slaves().iter().any(|slave| self.home(slave) != Some(&self.config.id));
        let distant =
            parties.slaves().iter().any(|slave| self.home(slave).is_some_and(|home| self.config.distant.contains(home)));
        let overhead = self.ways(parties).map_or(0, |ways| overhead(ways.sharing));
        let block = match (distant, remote) {
            // Of relayed key, more went into tags.
            (true, _) => link_key.saturating_sub(2 * TAG_KEY_OCTETS + overhead),
            (false, true) => link_key.saturating_sub(TAG_KEY_OCTETS),
            (false, false) => self.config.local_block_octets,
        };
        block.min(MAX_KEY_OCTETS)
    }

    /// Whether the master is of this node, and its slaves are of this node or a neighbour.
    fn are_known(&self, parties: &Parties) -> bool {
        let own = &self.config.id;
        self.home(parties.master()) == Some(own)
            && parties
                .slaves()
                .iter()
                .all(|slave| self.home(slave).is_some_and(|home| home == own || self.peers.contains_key(home)))
    }

    fn empty_lease(&self) -> Lease {
        Lease::new(Arc::clone(&self.ids), self.config.collect_time, self.burns)
    }
}
