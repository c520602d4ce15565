//! Sequences of operations on two key managers with a hostile network between them.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use itu_y3803::message::Body;
use itu_y3803::{ApplicationId, Incarnation, KeyId, KeyMaterial, KeySize, KmId, KmMessage, LinkId, Parties, QkdKey, WallTime};
use relay_core::{Config, Input, KeyManager, LinkConfig, MemoryStore, Now, OrderId, Output};

use crate::Outcome;
use crate::neighbours_record::Record;

/// Operations, an octet for each and one for its choice: messages between two neighbours are delivered, lost, doubled, put out of
/// order and changed, QKD modules fail or give other keys, applications ask for keys and collect them, time passes.
///
/// Whatever happens, no key manager stops, no order is answered twice, no key is supplied twice to one application or to one it is not
/// for, and master and slave get the same key under the same identifier. Accepted when a slave collected a key.
pub fn neighbours(input: &[u8]) -> Outcome {
    let mut world = World::new();
    for operation in input.chunks(2) {
        if let [operation, choice] = operation {
            world.perform(*operation, usize::from(*choice));
        }
    }
    if world.record.collected() > 0 { Outcome::Accepted } else { Outcome::Refused }
}

const NORTH: usize = 0;
const NAMES: [&str; 2] = ["north", "south"];
const LINKS: [&str; 2] = ["a", "b"];
/// Applications, and the node that serves each.
const APPLICATIONS: [(&str, usize); 4] = [("red", 0), ("grey", 0), ("blue", 1), ("green", 1)];
const MOST_IN_FLIGHT: usize = 64;

type Random = Box<dyn FnMut(&mut [u8])>;

struct Node {
    manager: KeyManager<MemoryStore, Random>,
    draws: Vec<(LinkId, u32, KeySize)>,
    fetches: Vec<(LinkId, KeyId, Vec<KeyId>)>,
}

struct World {
    nodes: [Node; 2],
    start: Instant,
    elapsed: Duration,
    /// Messages with the node they are for.
    in_flight: Vec<(usize, KmMessage)>,
    drawn: u64,
    orders: u64,
    record: Record,
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        let mut world = Self {
            nodes: [0, 1].map(|node| Node::new(node, now(start, Duration::ZERO))),
            start,
            elapsed: Duration::ZERO,
            in_flight: Vec::new(),
            drawn: 0,
            orders: 0,
            record: Record::default(),
        };
        world.connect(true);
        world
    }

    fn perform(&mut self, operation: u8, choice: usize) {
        let node = choice % 2;
        match operation % 16 {
            0 | 1 => self.deliver(choice, None),
            2 => drop(self.pick(choice)),
            3 => {
                if let Some((to, message)) = self.pick(choice) {
                    self.in_flight.extend(copy(&message).map(|copy| (to, copy)));
                    self.in_flight.push((to, message));
                }
            }
            4 | 5 => self.deliver(choice / 16, Some(choice)),
            6 => self.draw(node, true),
            7 => self.draw(node, false),
            8 => self.fetch(node, Module::Honest),
            9 => self.fetch(node, if choice & 2 == 0 { Module::Empty } else { Module::Other }),
            10 => self.supply(choice),
            11 => self.collect(choice),
            12 => {
                if let Some(parties) = parties(choice) {
                    self.feed(node, Input::Prepare { parties });
                }
            }
            13 => self.advance(Duration::from_millis(1 << (choice % 25))),
            14 => self.connect(choice & 2 == 0),
            _ => self.settle(choice % 32),
        }
    }

    fn feed(&mut self, node: usize, input: Input) {
        let now = now(self.start, self.elapsed);
        let of = &mut self.nodes[node];
        of.manager.handle_input(now, input).expect("a store in memory does not fail");
        while let Some(output) = of.manager.poll_output().expect("a store in memory does not fail") {
            match output {
                Output::Send { to, message } => {
                    assert_eq!(to.as_str(), NAMES[1 - node], "a message for nobody");
                    self.in_flight.push((1 - node, message));
                }
                Output::Draw { link, number, size } => of.draws.push((link, number, size)),
                Output::Fetch { link, key, qkd_keys } => of.fetches.push((link, key, qkd_keys)),
                Output::Supplied { order, keys } => self.record.supplied(order, keys),
                Output::Refused { order, .. } => self.record.refused(order),
                _ => {}
            }
        }
        let excess = self.in_flight.len().saturating_sub(MOST_IN_FLIGHT);
        self.in_flight.drain(..excess);
    }

    fn pick(&mut self, choice: usize) -> Option<(usize, KmMessage)> {
        let count = self.in_flight.len();
        (count > 0).then(|| self.in_flight.remove(choice % count))
    }

    fn deliver(&mut self, choice: usize, change: Option<usize>) {
        if let Some((to, mut message)) = self.pick(choice) {
            if let Some(change) = change {
                tamper(&mut message, change);
            }
            self.feed(to, Input::Message { from: id(1 - to), message });
        }
    }

    fn draw(&mut self, node: usize, honest: bool) {
        if let Some((link, number, size)) = self.nodes[node].draws.pop() {
            let first = self.drawn;
            self.drawn += u64::from(number);
            let keys = if honest { (first..self.drawn).map(|n| qkd_key(qkd_id(n), size)).collect() } else { Vec::new() };
            self.feed(node, Input::Drawn { link, keys });
        }
    }

    fn fetch(&mut self, node: usize, module: Module) {
        if let Some((link, key, qkd_keys)) = self.nodes[node].fetches.pop() {
            let given = |id: &KeyId| match module {
                Module::Honest => Some(qkd_key(*id, KeySize::BITS_256)),
                Module::Empty => None,
                Module::Other => Some(QkdKey { id: *id, ..qkd_key(KeyId::from_octets([9; 16]), KeySize::BITS_256) }),
            };
            let keys = qkd_keys.iter().filter_map(given).collect();
            self.feed(node, Input::Fetched { link, key, keys });
        }
    }

    fn supply(&mut self, choice: usize) {
        let Some(parties) = parties(choice) else { return };
        let number = NonZeroU32::new(1 + (choice / 32) as u32).unwrap_or(NonZeroU32::MIN);
        let size = KeySize::from_bits([256, 64, 128, 257][choice / 8 % 4]).unwrap_or(KeySize::MIN);
        let (node, order) = (home(parties.master()), self.next_order());
        self.record.asks_to_supply(order, &parties, number.get() as usize, size);
        self.feed(node, Input::Supply { order, parties, number, size });
    }

    fn collect(&mut self, choice: usize) {
        let (slave, _) = APPLICATIONS[choice % 4];
        let Some((master, keys)) = self.record.keys_to_ask_for(choice / 4) else { return };
        let (slave, order) = (application(slave), self.next_order());
        self.record.asks_to_collect(order, &slave, &master, &keys);
        self.feed(home(&slave), Input::Collect { order, slave, master, keys });
    }

    fn advance(&mut self, time: Duration) {
        self.elapsed += time;
        for node in 0..2 {
            self.feed(node, Input::Timeout);
        }
    }

    fn connect(&mut self, up: bool) {
        for node in 0..2 {
            let peer = id(1 - node);
            self.feed(node, if up { Input::PeerUp { peer } } else { Input::PeerDown { peer } });
        }
    }

    /// Everybody does what is to be done, for some rounds.
    fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for node in 0..2 {
                self.draw(node, true);
                self.fetch(node, Module::Honest);
            }
            for _ in 0..self.in_flight.len() {
                self.deliver(0, None);
            }
            self.advance(Duration::from_millis(50));
        }
    }

    fn next_order(&mut self) -> OrderId {
        self.orders += 1;
        OrderId(self.orders)
    }
}

impl Node {
    /// With small limits, so that they are met.
    fn new(node: usize, now: Now) -> Self {
        let mut config = Config::new(id(node));
        config.links = LINKS.map(|link| LinkConfig::new(link_id(link), id(1 - node))).into();
        config.applications = APPLICATIONS.iter().map(|(name, home)| (application(name), id(*home))).collect();
        config.qkd_keys_per_link_key = 3;
        config.draw_limit = 6;
        (config.link_low, config.link_high, config.max_incoming) = (1, 3, 4);
        (config.pool_low, config.pool_high, config.pool_limit) = (32, 64, 256);
        (config.local_block_octets, config.max_pools, config.max_collectable) = (64, 4, 512);
        let mut state = 1 + node as u64;
        let random: Random = Box::new(move |out| out.fill_with(|| next(&mut state)));
        let manager = KeyManager::open(config, MemoryStore::default(), random, now).expect("settings that make sense");
        Self { manager, draws: Vec::new(), fetches: Vec::new() }
    }
}

#[derive(Clone, Copy)]
enum Module {
    Honest,
    Empty,
    /// Gives other octets under the right identifiers.
    Other,
}

/// A change that a network can make: anything but what needs the link key.
fn tamper(message: &mut KmMessage, change: usize) {
    let flip = |id: KeyId| {
        let mut octets = id.octets();
        octets[change % 16] ^= 1;
        KeyId::from_octets(octets)
    };
    if change % 16 == 15 {
        message.sender = Incarnation::from_octets([change as u8; 8]);
        return;
    }
    match &mut message.body {
        Body::Offer(offer) => match change % 5 {
            0 => offer.key = flip(offer.key),
            1 => offer.spent_below = flip(offer.spent_below),
            2 => offer.qkd_keys.reverse(),
            3 => offer.link = link_id(["a", "b", "c"][change / 16 % 3]),
            _ => offer.expires = WallTime::NEVER,
        },
        Body::OfferAnswer(answer) => match change % 3 {
            0 => answer.key = flip(answer.key),
            1 => answer.link = link_id(["a", "b", "c"][change / 16 % 3]),
            _ => answer.accepted = !answer.accepted,
        },
        Body::SupplyNotification(notification) => match change % 8 {
            0 => notification.block = flip(notification.block),
            1 => notification.pad = flip(notification.pad),
            2 => notification.tag[change / 16] ^= 1,
            3 => notification.sealed.truncate(change),
            4 => notification.sealed.iter_mut().for_each(|octet| *octet ^= 1),
            5 => notification.expires = WallTime::NEVER,
            6 => notification.link = link_id(["a", "b", "c"][change / 16 % 3]),
            _ => notification.parties = parties(change / 16).unwrap_or_else(|| notification.parties.clone()),
        },
        Body::SupplyResponse(response) => match change % 2 {
            0 => response.block = flip(response.block),
            _ => response.accepted = !response.accepted,
        },
        Body::Hello(hello) => hello.id_secret = qkd_key(qkd_id(change as u64), KeySize::BITS_256).material,
        _ => {}
    }
}

fn copy(message: &KmMessage) -> Option<KmMessage> {
    let body = match &message.body {
        Body::Hello(hello) => Body::Hello(hello.clone()),
        Body::Offer(offer) => Body::Offer(offer.clone()),
        Body::OfferAnswer(answer) => Body::OfferAnswer(answer.clone()),
        Body::SupplyNotification(notification) => Body::SupplyNotification(notification.clone()),
        Body::SupplyResponse(response) => Body::SupplyResponse(response.clone()),
        _ => return None,
    };
    Some(KmMessage { sender: message.sender, body })
}

/// A master and its slaves, of one node or both.
fn parties(choice: usize) -> Option<Parties> {
    const PARTIES: [(&str, &[&str]); 8] = [
        ("red", &["blue"]),
        ("red", &["grey"]),
        ("red", &["blue", "green"]),
        ("red", &["blue", "grey"]),
        ("grey", &["green"]),
        ("blue", &["red"]),
        ("green", &["blue"]),
        ("red", &["red", "nobody"]),
    ];
    let (master, slaves) = PARTIES[choice % PARTIES.len()];
    Parties::new(application(master), slaves.iter().copied().map(application).collect())
}

fn home(application: &ApplicationId) -> usize {
    APPLICATIONS.iter().find(|(name, _)| *name == application.as_str()).map_or(NORTH, |(_, home)| *home)
}

/// Both modules of a link give the same octets under one identifier.
fn qkd_key(id: KeyId, size: KeySize) -> QkdKey {
    let mut state = id.octets().iter().fold(7, |state: u64, octet| state.wrapping_mul(257).wrapping_add(u64::from(*octet)));
    let mut random = |out: &mut [u8]| out.fill_with(|| next(&mut state));
    QkdKey { id, material: KeyMaterial::generate(size, &mut random) }
}

fn qkd_id(number: u64) -> KeyId {
    Incarnation::from_octets(*b"qkd keys").key_id(number)
}

fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}

fn now(start: Instant, elapsed: Duration) -> Now {
    Now { instant: start + elapsed, wall: WallTime::from_millis(1_700_000_000_000).after(elapsed) }
}

fn id(node: usize) -> KmId {
    KmId::new(NAMES[node]).expect("an identifier")
}

fn link_id(name: &str) -> LinkId {
    LinkId::new(name).expect("an identifier")
}

fn application(name: &str) -> ApplicationId {
    ApplicationId::new(name).expect("an identifier")
}
