//! The key manager of one node, as an engine without I/O.
//!
//! ```text
//!            QKD module              key managers        router                     applications
//!   Draw, Fetch │ ▲ Drawn, Fetched   Send │ ▲ Message   RouteWanted │ ▲ Route   Supplied, Refused │ ▲ Supply, Collect
//!               ▼ │                       ▼ │                       ▼ │                           ▼ │
//!  ┌──────────────┴───────────────────────┴─────────────────────────┴───────────────────────────┴──────────┐
//!  │ links.rs: link key, agreed   relay/: and with nodes     bind.rs: link key becomes   supply.rs: blocks   │
//!  │ with the neighbour (KMA);    further away; who gets     a pad for a block at both   become keys (KSA);  │
//!  │ authentic.rs: tags under it  short key: scarcity.rs     ends, by policy: terms.rs   collect.rs: once    │
//!  └────────────────────────────────────────────────┬──────────────────────────────────────────────────────┘
//!                                                   ▼ KeyStore: one commit, then the outputs
//! ```
//!
//! The caller feeds [`Input`]s with the time they came, as many as are at hand, then polls [`Output`]s until there is none:
//! the first poll commits the store, and an output that depends on a change is never seen before that ("persist, then
//! speak"). [`poll_timeout`](KeyManager::poll_timeout) says when to feed [`Input::Timeout`] at the latest.
//!
//! Two nodes with a trusted node between them, as they share a key:
//!
//! ```
//! use std::collections::{BTreeMap, HashMap, VecDeque};
//! use std::num::NonZeroU32;
//! use std::time::Instant;
//!
//! use itu_y3803::{ApplicationId, KeyId, KeyMaterial, KeySize, KmId, LinkId, Parties, QkdKey, RandomSource, WallTime};
//! use relay_core::{Config, Input, KeyManager, LinkConfig, MemoryStore, Now, OrderId, Output};
//!
//! # fn random(mut state: u64) -> impl RandomSource {
//! #     move |out: &mut [u8]| for octet in out {
//! #         state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
//! #         *octet = (state >> 56) as u8;
//! #     }
//! # }
//! let now = Now { instant: Instant::now(), wall: WallTime::from_millis(0) };
//! let [north, middle, south] = ["north", "middle", "south"].map(|id| KmId::new(id).unwrap());
//! let [red, blue] = ["red", "blue"].map(|id| ApplicationId::new(id).unwrap());
//! let [n, s] = ["north to middle", "middle to south"].map(|id| LinkId::new(id).unwrap());
//! let link = |id: &LinkId, peer: &KmId| LinkConfig::new(id.clone(), peer.clone());
//! let mut nodes = BTreeMap::new();
//! for (seed, (id, links, distant)) in (1..).zip([
//!     (&north, vec![link(&n, &middle)], vec![south.clone()]),
//!     (&middle, vec![link(&n, &north), link(&s, &south)], vec![]),
//!     (&south, vec![link(&s, &middle)], vec![north.clone()]),
//! ]) {
//!     let mut config = Config::new(id.clone());
//!     (config.links, config.distant) = (links, distant);
//!     config.applications = [(red.clone(), north.clone()), (blue.clone(), south.clone())].into();
//!     nodes.insert(id.clone(), KeyManager::open(config, MemoryStore::default(), random(seed), now)?);
//! }
//!
//! // All know each other; red at north wants a key for blue at south.
//! let mut inputs = VecDeque::new();
//! for node in [&north, &middle, &south] {
//!     let others = [&north, &middle, &south].into_iter().filter(|peer| *peer != node);
//!     inputs.extend(others.map(|peer| (node.clone(), Input::PeerUp { peer: peer.clone() })));
//! }
//! let parties = Parties::new(red.clone(), vec![blue.clone()]).unwrap();
//! let (number, size) = (NonZeroU32::MIN, KeySize::BITS_256);
//! inputs.push_back((north.clone(), Input::Supply { order: OrderId(1), parties, number, size }));
//!
//! // What a caller does for its node, here for all three: QKD modules, messages, routes.
//! let mut modules: HashMap<KeyId, Vec<u8>> = HashMap::new();
//! let key = |(id, octets): (KeyId, Vec<u8>)| QkdKey { id, material: KeyMaterial::from_octets(octets).unwrap() };
//! let mut keys = Vec::new();
//! while let Some((node, input)) = inputs.pop_front() {
//!     let manager = nodes.get_mut(&node).unwrap();
//!     manager.handle_input(now, input)?;
//!     while let Some(output) = manager.poll_output()? {
//!         match output {
//!             Output::Send { to, message } => inputs.push_back((to, Input::Message { from: node.clone(), message })),
//!             Output::Draw { link, number, .. } => {
//!                 let ids = (modules.len() as u128..).take(number as usize);
//!                 let made: Vec<_> = ids.map(|id| (KeyId::from_octets(id.to_be_bytes()), vec![id as u8; 32])).collect();
//!                 modules.extend(made.iter().cloned());
//!                 inputs.push_back((node.clone(), Input::Drawn { link, keys: made.into_iter().map(key).collect() }));
//!             }
//!             Output::Fetch { link, key: id, qkd_keys } => {
//!                 let keys = qkd_keys.iter().map(|id| key((*id, modules[id].clone()))).collect();
//!                 inputs.push_back((node.clone(), Input::Fetched { link, key: id, keys }));
//!             }
//!             Output::RouteWanted { pool, .. } => {
//!                 let mut path = vec![north.clone(), middle.clone(), south.clone()];
//!                 if node == south {
//!                     path.reverse();
//!                 }
//!                 inputs.push_back((node.clone(), Input::Route { pool, paths: vec![path] }));
//!             }
//!             Output::Supplied { keys: supplied, .. } => keys.extend(supplied),
//!             _ => {}
//!         }
//!     }
//! }
//!
//! // Blue collects what red was given.
//! let manager = nodes.get_mut(&south).unwrap();
//! manager.handle_input(now, Input::Collect { order: OrderId(2), slave: blue, master: red, keys: vec![keys[0].id] })?;
//! while let Some(output) = manager.poll_output()? {
//!     if let Output::Supplied { keys: collected, .. } = output {
//!         assert_eq!(collected[0].material.expose_secret(), keys[0].material.expose_secret());
//!         keys.extend(collected);
//!     }
//! }
//! assert_eq!(keys.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authentic;
mod bind;
mod collect;
mod config;
mod event;
mod input;
mod links;
mod notes;
mod output;
mod peers;
mod relay;
mod scarcity;
mod supply;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use itu_y3803::message::Body;
use itu_y3803::{ApplicationId, KeyEvent, KeyId, KeySize, KmId, KmMessage, LinkId, Parties, Paths, RandomSource, WallTime};

use crate::block::CollectBlock;
use crate::encoding::Unreadable;
use crate::key_id::{BLOCK_NUMBERS, IdCipher};
use crate::store::{KeyStore, Pool, StoredKey};

pub use config::{Config, Entitlement, InvalidConfig, LinkAuthentication, LinkConfig};
pub use event::{Event, Misbehaviour, Use};
pub use input::{Input, Now, OrderId};
pub use output::{Output, Refusal};
pub use terms::Ruling;

use bind::Binding;
use collect::Collectable;
use links::Link;
use notes::Notes;
use peers::Peer;
use relay::Relays;
use scarcity::Takers;
use supply::SupplyPool;

/// What the wall clock shows is noted no more often than this.
const NOTE_CLOCK_AT_LEAST: Duration = Duration::from_millis(100);

/// The key manager has stopped, at this error of its store or at an earlier one.
#[derive(Debug, thiserror::Error)]
pub enum Stopped<E: std::error::Error> {
    /// The store failed. What is durable is found out by opening it again.
    #[error("the key store failed: {0}")]
    Store(#[source] E),
    /// The store failed before.
    #[error("the key manager has stopped because its key store failed")]
    Before,
}

/// Why a key manager could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError<E: std::error::Error> {
    /// The settings make no sense together.
    #[error("the settings make no sense: {0}")]
    Config(#[from] InvalidConfig),
    /// The store failed.
    #[error("the key store failed: {0}")]
    Store(#[source] E),
    /// The key manager's notes in the store are of a later release, or broken.
    #[error(transparent)]
    Notes(#[from] Unreadable),
}

/// One node's key manager: KMA and KSA over one store.
pub struct KeyManager<S: KeyStore, R> {
    config: Config,
    store: S,
    random: R,
    notes: Notes,
    notes_changed: bool,
    next_number: u64,
    ids: Arc<IdCipher>,
    peers: BTreeMap<KmId, Peer>,
    links: BTreeMap<LinkId, Link>,
    pools: BTreeMap<Arc<Parties>, SupplyPool>,
    /// Those of them that may want more key, and all that have orders waiting.
    watched: BTreeSet<Arc<Parties>>,
    /// Until when something may be out on lease, also where the pool is gone since.
    leased: BTreeMap<Arc<Parties>, Instant>,
    /// How often blocks were burnt, so that none comes back from a lease.
    burns: u64,
    binding: BTreeMap<KeyId, Binding>,
    relays: Relays,
    /// By neighbour.
    takers: BTreeMap<KmId, Takers>,
    collectable: HashMap<KeyId, Collectable>,
    /// Octets held for collection, by the key manager that bound them.
    collectable_from: HashMap<KmId, usize>,
    /// Blocks taken from the store in this batch; they go back before the commit.
    in_hand: BTreeMap<KeyId, CollectBlock>,
    /// Parties that were supplied in this batch, not from leases.
    supplied_from: BTreeSet<Arc<Parties>>,
    expiry: BTreeSet<(WallTime, Pool, KeyId)>,
    /// When the wall clock was furthest ahead of the monotonic one, since it was last set back.
    furthest: Now,
    staged: VecDeque<Output>,
    released: VecDeque<Output>,
    store_changed: bool,
    pools_wanting: bool,
    stopped: bool,
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// A key manager that goes on where the store ends.
    ///
    /// # Errors
    /// [`OpenError`] when the store cannot be read, or the settings make no sense.
    pub fn open(config: Config, mut store: S, mut random: R, now: Now) -> Result<Self, OpenError<S::Error>> {
        config.check()?;
        let found = store.notes().map_err(OpenError::Store)?;
        let notes_changed = found.is_none();
        let notes = match found {
            Some(notes) => Notes::from_octets(&notes)?,
            None => Notes::first(&mut random),
        };
        let mut manager = Self {
            next_number: notes.numbers_below,
            ids: Arc::new(notes.id_cipher()),
            peers: Peer::all(&config, &notes),
            links: Link::all(&config),
            config,
            store,
            random,
            notes,
            notes_changed,
            pools: BTreeMap::new(),
            watched: BTreeSet::new(),
            leased: BTreeMap::new(),
            burns: 0,
            binding: BTreeMap::new(),
            relays: Relays::default(),
            takers: BTreeMap::new(),
            collectable: HashMap::new(),
            collectable_from: HashMap::new(),
            in_hand: BTreeMap::new(),
            supplied_from: BTreeSet::new(),
            expiry: BTreeSet::new(),
            furthest: now,
            staged: VecDeque::new(),
            released: VecDeque::new(),
            store_changed: false,
            pools_wanting: true,
            stopped: false,
        };
        manager.load(now).map_err(OpenError::Store)?;
        Ok(manager)
    }

    /// Takes in what happened at `now`.
    ///
    /// # Errors
    /// [`Stopped`] when the store failed, now or before: nothing is promised to anyone any more.
    pub fn handle_input(&mut self, now: Now, input: Input) -> Result<(), Stopped<S::Error>> {
        if self.stopped {
            return Err(Stopped::Before);
        }
        let watched = self.watch_clock(now);
        let done = match input {
            Input::PeerUp { peer } => {
                self.peer_up(&peer, now);
                Ok(())
            }
            Input::PeerDown { peer } => self.peer_down(now, &peer),
            Input::Message { from, message } => self.message(now, &from, message),
            Input::Drawn { link, keys } => {
                self.drawn(now, &link, keys);
                Ok(())
            }
            Input::Fetched { link, key, keys } => self.fetched(now, &link, key, keys),
            Input::Route { pool, paths } => self.route(now, &pool, paths),
            Input::Prepare { parties } => {
                self.prepare(now, parties);
                Ok(())
            }
            Input::Supply { order, parties, number, size } => self.order(now, order, parties, number, size, false),
            Input::Lease { order, parties, number, size } => self.order(now, order, parties, number, size, true),
            Input::GiveBack { lease } => self.give_back(now, lease),
            Input::Collect { order, slave, master, keys } => self.collect(now, order, &slave, &master, keys),
            Input::Timeout => self.timeout(now),
        };
        let done = watched.and(done);
        let done = done.and_then(|()| if self.pools_wanting { self.fill_pools(now) } else { Ok(()) });
        // After the pools, which use link key up.
        self.offer_rests(now);
        self.fill_links(now);
        self.fill_relayed(now);
        self.stop_on_error(done)
    }

    /// The next thing to do, or `None` when there is nothing until the next input.
    ///
    /// The first call after inputs makes their changes durable.
    ///
    /// # Errors
    /// [`Stopped`] when the store failed, now or before; outputs that depended on it are never seen.
    pub fn poll_output(&mut self) -> Result<Option<Output>, Stopped<S::Error>> {
        if self.stopped {
            return Err(Stopped::Before);
        }
        if self.released.is_empty() {
            let committed = self.commit();
            self.stop_on_error(committed)?;
            std::mem::swap(&mut self.released, &mut self.staged);
        }
        Ok(self.released.pop_front())
    }

    /// Whether polling will make the store write: a caller with more inputs at hand may feed them first.
    #[must_use]
    pub fn must_commit(&self) -> bool {
        self.store_changed || self.notes_changed || !self.in_hand.is_empty() || !self.supplied_from.is_empty()
    }

    /// When [`Input::Timeout`] is due at the latest. Feed it every second as well: what expires does so by wall time, which
    /// is no timer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.values().filter_map(|link| link.deadline(self.is_up(&link.peer), &self.config));
        let binding = self.binding.values().map(Binding::deadline);
        let orders = self.watched.iter().filter_map(|parties| self.pools.get(parties)?.deadline());
        links.chain(binding).chain(orders).chain(self.relay_deadline()).min()
    }

    /// This node's settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The key manager that serves an application, if the directory has it.
    #[must_use]
    pub fn home(&self, application: &ApplicationId) -> Option<&KmId> {
        self.config.applications.get(application)
    }

    /// How many keys of `size` can be supplied to these parties at once, without what is out on lease.
    #[must_use]
    pub fn keys_ready(&self, parties: &Parties, size: KeySize) -> usize {
        self.pools.get(parties).map_or(0, |pool| pool.keys_ready(size, usize::MAX))
    }

    /// How many link keys of a link are ready to be used by this node, and how many octets of block they can seal
    /// (Y3803-9.2-02).
    #[must_use]
    pub fn link_level(&self, link: &LinkId) -> (usize, usize) {
        self.links.get(link).map_or((0, 0), Link::level)
    }

    /// How many octets of block can be sealed for this key manager, a neighbour or a distant one.
    #[must_use]
    pub fn level_to(&self, peer: &KmId) -> usize {
        self.links.values().filter(|link| link.peer == *peer).map(|link| link.level().1).sum()
    }

    /// The store, for reports of its own.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    fn commit(&mut self) -> Result<(), S::Error> {
        self.put_back_in_hand()?;
        self.write_back()?;
        if self.notes_changed {
            self.store.save_notes(&self.notes.to_octets())?;
        }
        if self.notes_changed || self.store_changed {
            self.store.commit()?;
            (self.notes_changed, self.store_changed) = (false, false);
        }
        Ok(())
    }

    fn stop_on_error(&mut self, done: Result<(), S::Error>) -> Result<(), Stopped<S::Error>> {
        done.map_err(|error| {
            self.stopped = true;
            self.staged.clear();
            Stopped::Store(error)
        })
    }

    /// Rebuilds the index from the store.
    fn load(&mut self, now: Now) -> Result<(), S::Error> {
        // While this node was down; what was ready is burnt then, as it is while it runs.
        let set_back = now.wall.after(self.config.clock_skew) < self.notes.clock;
        if set_back {
            self.notes.clock = now.wall;
            self.notes_changed = true;
            self.event(Event::ClockSetBack);
        }
        let mut found = Vec::new();
        let mut collectable = Vec::new();
        self.store.visit(&mut |key| {
            found.push(Found::from(key));
            if let StoredKey::Collect(block) = key {
                collectable.push((block.info.id, Collectable::from(block)));
            }
        })?;
        for (id, block) in collectable {
            self.index_collect(id, block);
        }
        found.sort_unstable_by_key(|key| (key.pool, key.id));
        for key in found {
            let wanted = match &key.what {
                What::Link { link, peer, octets } => {
                    let same_end = self.links.get(link).is_some_and(|link| link.peer == *peer);
                    same_end && self.index_link_key(key.pool, key.id, link, *octets, key.expires)
                }
                What::Supply { parties, homes, paths, octets } => {
                    // Not bound for other key managers than those where the slaves will ask today.
                    let as_bound = parties.slaves().iter().zip(homes).all(|(slave, home)| self.home(slave) == Some(home));
                    // Nor with key that passed a node which is not to be trusted any more.
                    let allowed = self.ways(parties).is_some_and(|ways| ways.allow_nodes_of(paths));
                    as_bound && allowed && !set_back && self.index_supply(now, key.id, parties, *octets)
                }
                What::Collect => true,
            };
            if wanted {
                self.expiry.insert((self.due(key.pool, key.expires), key.pool, key.id));
            } else {
                self.remove(key.pool, key.id)?;
            }
        }
        Ok(())
    }

    /// A clock that was set back would let keys be supplied that are long deleted at the other end: they are burnt.
    fn watch_clock(&mut self, now: Now) -> Result<(), S::Error> {
        let passed = now.instant.saturating_duration_since(self.furthest.instant);
        let expected = self.furthest.wall.after(passed);
        let set_back = now.wall.after(self.config.clock_skew) < expected;
        // Small steps add up: so the measure is not what it showed last.
        if set_back || now.wall >= expected {
            self.furthest = now;
        }
        if set_back || now.wall > self.notes.clock.after((self.config.clock_skew / 2).max(NOTE_CLOCK_AT_LEAST)) {
            self.notes.clock = now.wall;
            self.notes_changed = true;
        }
        if !set_back {
            return Ok(());
        }
        self.event(Event::ClockSetBack);
        let binding: Vec<_> = self.binding.keys().copied().collect();
        for block in binding {
            self.drop_binding(now, block);
        }
        self.burn_supply(|_| true)
    }

    fn message(&mut self, now: Now, from: &KmId, message: KmMessage) -> Result<(), S::Error> {
        let KmMessage { sender, body } = message;
        let Some(peer) = self.peers.get(from) else {
            self.misbehaviour(from, Misbehaviour::NoNeighbour);
            return Ok(());
        };
        if let Body::Hello(hello) = body {
            return self.hello(now, from, sender, &hello);
        }
        if peer.current != Some(sender) {
            // Of a life that is over, or not yet introduced; if it matters, it is said again after a greeting.
            return Ok(());
        }
        match body {
            Body::Offer(offer) => self.offer(from, sender, offer),
            Body::OfferAnswer(answer) => self.offer_answer(now, from, answer),
            Body::SupplyNotification(notification) => self.supply_notification(now, from, sender, notification),
            Body::SupplyResponse(response) => self.supply_response(now, from, &response),
            Body::Relay(message) => self.relay(now, from, sender, message),
            _ => Ok(()),
        }
    }

    fn timeout(&mut self, now: Now) -> Result<(), S::Error> {
        self.expire(now)?;
        self.repeat_offers(now);
        self.repeat_notifications(now);
        self.give_up_relays(now)?;
        self.greet_strangers();
        self.drop_idle_pools(now);
        self.give_up_orders(now);
        self.pools_wanting = true;
        Ok(())
    }

    fn expire(&mut self, now: Now) -> Result<(), S::Error> {
        while let Some(&(expires, pool, id)) = self.expiry.first()
            && expires <= now.wall
        {
            self.expiry.pop_first();
            match (pool, self.take(pool, id)?) {
                (Pool::Outgoing | Pool::Incoming, _) => self.forget_link_key(pool, id),
                (Pool::Supply, Some(StoredKey::Supply(block))) => self.forget_supply(&block.info.parties, id),
                (Pool::Supply, _) => {}
                (Pool::Collect, _) => self.forget_collect(id),
            }
            self.event(Event::Expired { pool, id });
        }
        Ok(())
    }

    /// When a key is of no more use, which for some is before it expires: a block for masters as soon as its slaves would not
    /// have the time to collect.
    fn due(&self, pool: Pool, expires: WallTime) -> WallTime {
        match pool {
            Pool::Supply => expires.before(self.config.collect_time),
            // The other end may have deleted it already.
            Pool::Outgoing => expires.before(self.config.clock_skew),
            Pool::Incoming | Pool::Collect => expires,
        }
    }

    fn put(&mut self, key: StoredKey) -> Result<(), S::Error> {
        self.expiry.insert((self.due(key.pool(), key.expires()), key.pool(), key.id()));
        self.store_changed = true;
        self.store.put(key)
    }

    fn take(&mut self, pool: Pool, id: KeyId) -> Result<Option<StoredKey>, S::Error> {
        let taken = self.store.take(pool, id)?;
        if let Some(key) = &taken {
            self.expiry.remove(&(self.due(pool, key.expires()), pool, id));
            self.store_changed = true;
        }
        Ok(taken)
    }

    /// Burns a key: wherever it was going, nobody gets it.
    fn remove(&mut self, pool: Pool, id: KeyId) -> Result<(), S::Error> {
        self.take(pool, id).map(drop)
    }

    /// The next number for a link key or block. Numbers are set aside durably before any of them is used.
    fn number(&mut self) -> u64 {
        const SET_ASIDE: u64 = 4096;
        let number = self.next_number;
        self.next_number += 1;
        if self.next_number > self.notes.numbers_below {
            self.notes.numbers_below = self.next_number + SET_ASIDE;
            self.notes_changed = true;
            let left = BLOCK_NUMBERS.saturating_sub(self.next_number);
            if left < BLOCK_NUMBERS / 8 {
                self.event(Event::NumbersRunLow { left });
            }
        }
        number
    }

    fn send(&mut self, to: &KmId, body: Body) {
        let message = KmMessage { sender: self.notes.incarnation, body };
        self.staged.push_back(Output::Send { to: to.clone(), message });
    }

    fn refuse(&mut self, order: OrderId, reason: Refusal) {
        self.staged.push_back(Output::Refused { order, reason });
    }

    fn event(&mut self, event: Event) {
        self.staged.push_back(Output::Event(event));
    }

    fn link_key_event(&mut self, pool: Pool, id: KeyId, event: KeyEvent) {
        self.event(Event::LinkKey { pool, id, event });
    }

    fn misbehaviour(&mut self, from: &KmId, what: Misbehaviour) {
        self.event(Event::Misbehaviour { from: from.clone(), what });
    }
}

impl<S: KeyStore, R> fmt::Debug for KeyManager<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyManager").field("id", &self.config.id).finish_non_exhaustive()
    }
}

/// What the index needs of a stored key.
struct Found {
    pool: Pool,
    id: KeyId,
    expires: WallTime,
    what: What,
}

enum What {
    Link { link: LinkId, peer: KmId, octets: usize },
    Supply { parties: Arc<Parties>, homes: Vec<KmId>, paths: Paths, octets: usize },
    Collect,
}

impl From<&StoredKey> for Found {
    fn from(key: &StoredKey) -> Self {
        let what = match key {
            StoredKey::Outgoing(key) | StoredKey::Incoming(key) => {
                What::Link { link: key.link.clone(), peer: key.peer.clone(), octets: key.material.size().octets() }
            }
            StoredKey::Supply(block) => What::Supply {
                parties: Arc::clone(&block.info.parties),
                homes: block.homes.clone(),
                paths: block.info.paths.clone(),
                octets: block.octets_left(),
            },
            StoredKey::Collect(_) => What::Collect,
        };
        Self { pool: key.pool(), id: key.id(), expires: key.expires(), what }
    }
}
