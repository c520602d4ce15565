//! What applications do: masters ask for keys, slaves collect them, and some try what is not theirs.

use std::num::NonZeroU32;

use itu_y3803::{ApplicationId, KeyId, KeySize, KsaKey, Parties, Paths, WallTime};
use relay_core::{Input, OrderId, Refusal};

use super::{MICROS, Step, World, micros};
use crate::topology::Topology;

/// How long a slave waits when its node is down.
const TRY_AGAIN: u64 = MICROS / 2;
/// One in so many keys is asked for by someone who may not have it.
const HOSTILE: u64 = 8;

/// Which pairs of nodes have applications that share keys, and how many.
#[derive(Clone, Debug)]
pub struct Load {
    /// The nodes of master and slave.
    pub pairs: Vec<(usize, usize)>,
    /// How many keys each pair wants.
    pub keys_per_second: f64,
    /// Of which size.
    pub size: KeySize,
}

impl Load {
    /// Keys of 256 bits between all neighbours, in both directions.
    #[must_use]
    pub fn between_neighbours(topology: &Topology, keys_per_second: f64) -> Self {
        let pairs = topology.links.iter().flat_map(|link| [(link.ends[0], link.ends[1]), (link.ends[1], link.ends[0])]);
        Self { pairs: pairs.collect(), keys_per_second, size: KeySize::BITS_256 }
    }

    /// Keys of 256 bits between all nodes, in both directions.
    #[must_use]
    pub fn between_all(topology: &Topology, keys_per_second: f64) -> Self {
        let nodes = topology.nodes.len();
        let pairs = (0..nodes).flat_map(|a| (0..nodes).filter(move |&b| b != a).map(move |b| (a, b)));
        Self { pairs: pairs.collect(), keys_per_second, size: KeySize::BITS_256 }
    }
}

/// A request that is not answered yet.
pub(super) struct Order {
    pub(super) node: usize,
    pub(super) asked: u64,
    pub(super) what: Asked,
}

pub(super) enum Asked {
    Supply {
        pair: usize,
    },
    Collect {
        key: KeyId,
    },
    /// Of a key that the one who asks may not have, or not again.
    Forbidden,
}

/// A key that a master has.
pub(super) struct Given {
    pub(super) at: u64,
    pub(super) master: usize,
    pub(super) slave: usize,
    pub(super) octets: Vec<u8>,
    pub(super) expires: WallTime,
    pub(super) paths: Paths,
    pub(super) outcome: Outcome,
}

/// What became of a key at the slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The slave has yet to come.
    Open,
    Collected,
    /// The node crashed while it answered: nobody knows.
    CutOff,
    /// It was lost with the disk of the slave's node.
    Lost,
}

impl World {
    pub(super) fn plan_load(&mut self) {
        self.report.of_pairs = vec![[0; 2]; self.settings.load.pairs.len()];
        for pair in 0..self.settings.load.pairs.len() {
            let first = self.random.below(self.interval().max(1));
            self.after(micros(self.settings.load_starts) + first, Step::Ask { pair });
        }
    }

    fn interval(&self) -> u64 {
        (MICROS as f64 / self.settings.load.keys_per_second) as u64
    }

    fn parties(&self, pair: usize) -> Parties {
        let (master, slave) = self.settings.load.pairs[pair];
        let [master, slave] = [master, slave].map(|node| self.nodes[node].application.clone());
        Parties::new(master, vec![slave]).expect("one slave")
    }

    /// Key is held ready for the pairs whose master is here.
    pub(super) fn prepare_pairs_of(&mut self, node: usize) {
        for pair in 0..self.settings.load.pairs.len() {
            if self.settings.load.pairs[pair].0 == node {
                let parties = self.parties(pair);
                self.feed_key_manager(node, Input::Prepare { parties });
            }
        }
    }

    /// A master wants a key, and the next one after the usual time, give or take a tenth.
    pub(super) fn ask(&mut self, pair: usize) {
        if !self.is_busy() {
            return;
        }
        let interval = self.interval();
        let next = interval - interval / 10 + self.random.below(interval / 5 + 1);
        self.after(next.max(1), Step::Ask { pair });
        let node = self.settings.load.pairs[pair].0;
        if self.nodes[node].engines.is_none() {
            self.report.node_was_down += 1;
            return;
        }
        let order = self.order(node, Asked::Supply { pair });
        let (parties, size) = (self.parties(pair), self.settings.load.size);
        self.feed_key_manager(node, Input::Supply { order, parties, number: NonZeroU32::MIN, size });
    }

    pub(super) fn supplied(&mut self, node: usize, order: OrderId, keys: Vec<KsaKey>) {
        match self.end_of(order) {
            Asked::Supply { pair } => self.given_to_master(pair, keys),
            Asked::Collect { key } => self.given_to_slave(key, keys),
            Asked::Forbidden => panic!("{} gave away {keys:?}, which it may not", self.nodes[node].id),
        }
    }

    fn given_to_master(&mut self, pair: usize, keys: Vec<KsaKey>) {
        let (master, slave) = self.settings.load.pairs[pair];
        assert_eq!(keys.len(), 1, "as many keys as were asked for");
        for key in keys {
            self.tell(|world| format!("{} is given {}", world.nodes[master].application, key.id));
            assert_eq!(key.material.size(), self.settings.load.size, "a key of the size that was asked for");
            self.nobody_gets_a_key_twice(key.id, master);
            self.key_took_a_way_that_is_allowed(master, slave, &key.paths);
            let octets = key.material.expose_secret().to_vec();
            let given =
                Given { at: self.now, master, slave, octets, expires: key.expires, paths: key.paths, outcome: Outcome::Open };
            assert!(self.given.insert(key.id, given).is_none(), "{} is given as another key again", key.id);
            self.report.supplied += 1;
            self.report.of_pairs[pair][0] += 1;
            self.report.supplied_bits += u64::from(key.material.size().bits());
            // The master tells the slave which key it is.
            let told = self.delay(master, slave).unwrap_or(TRY_AGAIN);
            self.after(told, Step::Collect { key: key.id });
        }
    }

    pub(super) fn collect(&mut self, key: KeyId) {
        let given = &self.given[&key];
        let (slave, master) = (given.slave, self.nodes[given.master].application.clone());
        if self.random.one_in(HOSTILE) {
            self.ask_for_what_is_not_theirs(key);
        }
        // Also when it has just crashed over that.
        if self.nodes[slave].engines.is_none() {
            return self.after(TRY_AGAIN, Step::Collect { key });
        }
        let order = self.order(slave, Asked::Collect { key });
        let application = self.nodes[slave].application.clone();
        self.feed_key_manager(slave, Input::Collect { order, slave: application, master, keys: vec![key] });
    }

    fn given_to_slave(&mut self, asked: KeyId, keys: Vec<KsaKey>) {
        assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [asked], "the key that was asked for");
        for key in keys {
            self.both_ends_have_the_same(&key);
            let given = self.given.get_mut(&key.id).expect("asked for what was given");
            given.outcome = Outcome::Collected;
            let slave = given.slave;
            self.nobody_gets_a_key_twice(key.id, slave);
            self.report.collected += 1;
            if self.random.one_in(HOSTILE) {
                // Again, by the one who has it.
                self.ask_as(key.id, slave, self.nodes[slave].application.clone());
            }
        }
    }

    /// Someone who is no party of the key, at a node where the key is or at another.
    fn ask_for_what_is_not_theirs(&mut self, key: KeyId) {
        let given = &self.given[&key];
        let others: Vec<_> = (0..self.nodes.len()).filter(|&node| node != given.master && node != given.slave).collect();
        let at = [given.slave, given.master][self.random.below(2) as usize];
        if let Some(&other) = others.get(self.random.below(others.len() as u64) as usize) {
            let at = if self.random.one_in(2) { at } else { other };
            self.ask_as(key, at, self.nodes[other].application.clone());
        }
    }

    fn ask_as(&mut self, key: KeyId, node: usize, slave: ApplicationId) {
        if self.nodes[node].engines.is_none() {
            return;
        }
        self.report.forbidden += 1;
        let master = self.nodes[self.given[&key].master].application.clone();
        let order = self.order(node, Asked::Forbidden);
        self.feed_key_manager(node, Input::Collect { order, slave, master, keys: vec![key] });
    }

    pub(super) fn refused(&mut self, node: usize, order: OrderId, reason: &Refusal) {
        match self.end_of(order) {
            Asked::Supply { pair } => {
                self.a_refusal_has_its_reason(pair, reason);
                self.report.refused += 1;
                self.report.of_pairs[pair][1] += 1;
            }
            Asked::Collect { key } => self.only_what_is_excused_is_not_there(key, reason),
            Asked::Forbidden => {
                let kind = matches!(reason, Refusal::NotFound { .. } | Refusal::NotEntitled);
                assert!(kind, "{} says to someone who may not ask: {reason}", self.nodes[node].id);
            }
        }
    }

    fn order(&mut self, node: usize, what: Asked) -> OrderId {
        let id = self.number();
        self.orders.insert(id, Order { node, asked: self.now, what });
        OrderId(id)
    }

    fn end_of(&mut self, order: OrderId) -> Asked {
        self.orders.remove(&order.0).expect("an order is answered once").what
    }

    /// The node went down: what it was asked is never answered, and those who asked see their connection break.
    pub(super) fn end_orders_at(&mut self, node: usize) {
        let ended: Vec<_> = self.orders.iter().filter(|(_, order)| order.node == node).map(|(&id, _)| id).collect();
        for id in ended {
            match self.end_of(OrderId(id)) {
                Asked::Supply { .. } => self.report.cut_off += 1,
                Asked::Collect { key } => {
                    self.report.cut_off += 1;
                    self.given.get_mut(&key).expect("asked for what was given").outcome = Outcome::CutOff;
                }
                Asked::Forbidden => {}
            }
        }
    }
}
