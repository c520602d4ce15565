//! A line or ring of key managers in virtual time, in which one thing goes wrong at a chosen moment.

#[path = "../world/disk.rs"]
#[expect(dead_code, reason = "shared with the other simulation")]
mod disk;
#[path = "../world/random.rs"]
#[expect(dead_code, reason = "shared with the other simulation")]
mod random;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use disk::{Disk, DiskStore};
use itu_y3803::message::{Body, RelayMessage, RelayStep};
use itu_y3803::{ApplicationId, KeyId, KeyMaterial, KeySize, KmId, KmMessage, LinkId, Parties, Paths, QkdKey, WallTime};
use random::Random;
use relay_core::{Config, Event, Input, KeyManager, LinkConfig, Misbehaviour, Now, OrderId, Output, Pool, Refusal, Use};

/// Milliseconds that a message takes.
const DELAY: u64 = 5;

pub(crate) fn km(node: usize) -> KmId {
    KmId::new(&format!("n{node}")).expect("valid")
}

pub(crate) fn app(node: usize) -> ApplicationId {
    ApplicationId::new(&format!("app{node}")).expect("valid")
}

/// What goes wrong with the message that is counted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Lose,
    /// Comes twice.
    Repeat,
    /// Comes a second time long after.
    RepeatLate,
    /// Comes when all have given up.
    Delay,
    /// A bit of it, chosen by this number, is wrong.
    Change(u32),
    /// If it says that a relay is complete, another that says so untruly comes just before it.
    Forestall,
    /// Its receiver crashes just before it, and comes back with its store.
    Crash,
    /// Its receiver crashes when it has committed what it made of it, before it can say anything.
    CrashAfterCommit,
    /// Its receiver comes back without its store.
    LoseStore,
}

pub(crate) struct Node {
    manager: Option<KeyManager<DiskStore, Random>>,
    disk: Disk,
}

pub(crate) struct World {
    random: Random,
    pub(crate) now: u64,
    start: Instant,
    nodes: Vec<Node>,
    links: Vec<(usize, usize)>,
    /// Messages and timers in the order of time.
    queue: BTreeMap<(u64, u64), What>,
    count: u64,
    messages: u64,
    fault: (u64, Fault),
    modules: HashMap<KeyId, Vec<u8>>,
    /// QKD keys that each link may still make.
    pub(crate) left: Vec<u64>,
    /// Nodes and links of theirs whose modules give three keys at a time, which is too little to relay under.
    pub(crate) meagre: BTreeSet<(usize, usize)>,
    /// The octets of each key, and the paths it came over.
    pub(crate) given: HashMap<KeyId, (Vec<u8>, Paths)>,
    delivered: BTreeSet<(KeyId, ApplicationId)>,
    answers: HashMap<u64, Answer>,
    orders: u64,
    /// What was sent under each pad, and with each tag.
    pads: HashMap<(usize, KeyId), Vec<u8>>,
    set_aside: HashMap<(usize, KeyId), KeyId>,
    tags: HashMap<(usize, KeyId, u32), [u8; 16]>,
    spent: BTreeSet<(usize, Pool, KeyId)>,
    pub(crate) used: BTreeMap<(usize, Use), usize>,
    pub(crate) paths: Vec<Vec<KmId>>,
    pub(crate) failures: Vec<String>,
    pub(crate) misbehaviour: Vec<Misbehaviour>,
    /// Nodes that routes go around.
    pub(crate) closed: BTreeSet<usize>,
    /// See [`World::share_with_neighbours`].
    also_neighbours: bool,
    pub(crate) settings: fn(&mut Config),
}

#[derive(Debug)]
pub(crate) enum Answer {
    Keys(Vec<KeyId>),
    Refused(Refusal),
}

enum What {
    Message { from: usize, to: usize, message: KmMessage },
    Input { node: usize, input: Input },
    Start { node: usize },
}

impl World {
    /// Nodes on these links, with one application each.
    pub(crate) fn new(nodes: usize, links: &[(usize, usize)], fault: (u64, Fault), settings: fn(&mut Config)) -> Self {
        let mut world = Self {
            random: Random::new(1),
            now: 0,
            start: Instant::now(),
            nodes: (0..nodes).map(|_| Node { manager: None, disk: Disk::default() }).collect(),
            links: links.to_vec(),
            queue: BTreeMap::new(),
            count: 0,
            messages: 0,
            fault,
            modules: HashMap::new(),
            left: vec![u64::MAX; links.len()],
            meagre: BTreeSet::new(),
            given: HashMap::new(),
            delivered: BTreeSet::new(),
            answers: HashMap::new(),
            orders: 0,
            pads: HashMap::new(),
            set_aside: HashMap::new(),
            tags: HashMap::new(),
            spent: BTreeSet::new(),
            used: BTreeMap::new(),
            paths: Vec::new(),
            failures: Vec::new(),
            misbehaviour: Vec::new(),
            closed: BTreeSet::new(),
            also_neighbours: false,
            settings,
        };
        for node in 0..nodes {
            world.start(node);
        }
        world
    }

    /// All nodes share relayed key also with their neighbours, from a new start on.
    pub(crate) fn share_with_neighbours(&mut self) {
        self.also_neighbours = true;
        for node in 0..self.nodes.len() {
            self.nodes[node].manager = None;
        }
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    fn config(&self, node: usize) -> Config {
        let mut config = Config::new(km(node));
        let neighbours: BTreeSet<_> = self.neighbours(node).collect();
        config.links = (0..self.links.len())
            .filter_map(|link| {
                let peer = km(self.other_end(link, node)?);
                Some(LinkConfig::new(link_id(link), peer))
            })
            .collect();
        config.distant = (0..self.nodes.len())
            .filter(|other| *other != node && (self.also_neighbours || !neighbours.contains(other)))
            .map(km)
            .collect();
        config.applications = (0..self.nodes.len()).map(|node| (app(node), km(node))).collect();
        config.qkd_keys_per_link_key = 9;
        config.link_low = 8;
        config.link_high = 12;
        config.pool_low = 64;
        config.pool_high = 128;
        config.patience = Duration::from_secs(30);
        (self.settings)(&mut config);
        config
    }

    fn other_end(&self, link: usize, node: usize) -> Option<usize> {
        match self.links[link] {
            (a, b) if a == node => Some(b),
            (a, b) if b == node => Some(a),
            _ => None,
        }
    }

    fn neighbours(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.links.len()).filter_map(move |link| self.other_end(link, node))
    }

    fn start(&mut self, node: usize) {
        let store = self.nodes[node].disk.open();
        let random = Random::new(self.random.next());
        let manager = KeyManager::open(self.config(node), store, random, self.time()).expect("a disk that reads");
        self.nodes[node].manager = Some(manager);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            if self.nodes[peer].manager.is_some() {
                self.after(1, What::Input { node, input: Input::PeerUp { peer: km(peer) } });
                self.after(1, What::Input { node: peer, input: Input::PeerUp { peer: km(node) } });
            }
        }
    }

    fn time(&self) -> Now {
        Now { instant: self.start + Duration::from_millis(self.now), wall: WallTime::from_millis(1_000_000 + self.now) }
    }

    fn after(&mut self, millis: u64, what: What) {
        self.count += 1;
        self.queue.insert((self.now + millis, self.count), what);
    }

    /// `master` asks for a key for `slave`; both are known by their nodes.
    pub(crate) fn supply(&mut self, master: usize, slave: usize) -> u64 {
        self.orders += 1;
        let parties = Parties::new(app(master), vec![app(slave)]).expect("one slave");
        let order = OrderId(self.orders);
        let input = Input::Supply { order, parties, number: NonZeroU32::MIN, size: KeySize::BITS_256 };
        self.feed(master, input);
        self.orders
    }

    pub(crate) fn collect(&mut self, slave: usize, master: usize, key: KeyId) -> u64 {
        self.orders += 1;
        let order = OrderId(self.orders);
        self.feed(slave, Input::Collect { order, slave: app(slave), master: app(master), keys: vec![key] });
        self.orders
    }

    pub(crate) fn answer(&mut self, order: u64) -> Option<Answer> {
        self.answers.remove(&order)
    }

    pub(crate) fn link_level(&self, node: usize, link: usize) -> usize {
        self.nodes[node].manager.as_ref().expect("runs").link_level(&link_id(link)).0
    }

    /// Messages so far: a fault may be put at each of them.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Lets virtual time pass.
    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let timer = self.nodes.iter().enumerate().filter_map(|(node, of)| {
                let due = of.manager.as_ref()?.poll_timeout()?;
                Some((due.saturating_duration_since(self.start).as_millis() as u64, node))
            });
            let timer = timer.min().map(|(at, node)| (at.max(self.now + 1), node));
            let next = self.queue.first_key_value().map(|(&(at, _), _)| at);
            match (next, timer) {
                (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                    self.now = at;
                    let (_, what) = self.queue.pop_first().expect("just seen");
                    self.step(what);
                }
                (_, Some((due, node))) if due <= end => {
                    self.now = due;
                    self.feed(node, Input::Timeout);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn step(&mut self, what: What) {
        match what {
            What::Input { node, input } => self.feed(node, input),
            What::Start { node } => self.start(node),
            What::Message { from, to, message } => {
                self.messages += 1;
                let fault = if self.messages == self.fault.0 { self.fault.1 } else { Fault::None };
                match fault {
                    Fault::None => self.deliver(from, to, message),
                    Fault::Lose => {}
                    Fault::Repeat => {
                        self.deliver(from, to, again(&message));
                        self.deliver(from, to, message);
                    }
                    Fault::RepeatLate => {
                        self.after(15_000, What::Message { from, to, message: again(&message) });
                        self.deliver(from, to, message);
                    }
                    Fault::Delay => self.after(15_000, What::Message { from, to, message }),
                    Fault::Forestall => {
                        if let Body::Relay(RelayMessage { step: RelayStep::Complete { .. }, .. }) = &message.body {
                            self.deliver(from, to, changed(again(&message), 2));
                        }
                        self.deliver(from, to, message);
                    }
                    Fault::Change(bit) => self.deliver(from, to, changed(message, bit)),
                    Fault::Crash => self.crash(to),
                    Fault::LoseStore => {
                        self.nodes[to].disk = Disk::default();
                        self.crash(to);
                    }
                    Fault::CrashAfterCommit => {
                        let now = self.time();
                        if let Some(manager) = &mut self.nodes[to].manager {
                            manager.handle_input(now, Input::Message { from: km(from), message }).expect("a disk that works");
                            let first = manager.poll_output().expect("a disk that works");
                            // What it meant to do is not done, but the facts are noted.
                            if let Some(Output::Event(event)) = first {
                                self.event(to, event);
                            }
                        }
                        self.crash(to);
                    }
                }
            }
        }
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].manager = None;
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            self.feed(peer, Input::PeerDown { peer: km(node) });
        }
        self.queue.retain(|_, what| !matches!(what, What::Message { to, .. } if *to == node));
        self.after(50, What::Start { node });
    }

    fn deliver(&mut self, from: usize, to: usize, message: KmMessage) {
        self.feed(to, Input::Message { from: km(from), message });
    }

    fn feed(&mut self, node: usize, input: Input) {
        let now = self.time();
        let Some(manager) = &mut self.nodes[node].manager else { return };
        manager.handle_input(now, input).expect("a disk that works");
        let mut outputs = VecDeque::new();
        while let Some(output) = manager.poll_output().expect("a disk that works") {
            outputs.push_back(output);
        }
        outputs.into_iter().for_each(|output| self.output(node, output));
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, message } => {
                let to = index(&to);
                self.note_pads(node, &message);
                self.after(DELAY, What::Message { from: node, to, message });
            }
            Output::Draw { link, number, .. } => {
                let at = link_index(&link);
                let most = if self.meagre.contains(&(node, at)) { 3 } else { number };
                let number = u64::from(number.min(most)).min(self.left[at]);
                self.left[at] -= number;
                let keys = (0..number).map(|_| self.qkd_key()).collect();
                self.after(1, What::Input { node, input: Input::Drawn { link, keys } });
            }
            Output::Fetch { link, key, qkd_keys } => {
                let keys = qkd_keys.iter().filter_map(|id| self.modules.remove(id).map(|octets| qkd_key(*id, octets))).collect();
                self.after(1, What::Input { node, input: Input::Fetched { link, key, keys } });
            }
            Output::RouteWanted { pool, to, ways, avoid } => {
                let mut paths = Vec::new();
                for _ in 0..ways.sharing.of() {
                    let taken = between(&paths);
                    // What was refused of late is better than nothing.
                    let path = self.path(node, index(&to), &taken, &avoid).or_else(|| self.path(node, index(&to), &taken, &[]));
                    paths.extend(path);
                }
                self.after(1, What::Input { node, input: Input::Route { pool, paths } });
            }
            Output::Supplied { order, keys } => {
                for key in &keys {
                    let found = (key.material.expose_secret().to_vec(), key.paths.clone());
                    let application = app(node);
                    if let Some(given) = self.given.get(&key.id) {
                        assert_eq!(*given, found, "the ends of {} differ", key.id);
                    }
                    assert!(self.delivered.insert((key.id, application)), "{} was given twice", key.id);
                    self.given.insert(key.id, found);
                }
                self.answers.insert(order.0, Answer::Keys(keys.iter().map(|key| key.id).collect()));
            }
            Output::Refused { order, reason } => drop(self.answers.insert(order.0, Answer::Refused(reason))),
            Output::Event(event) => self.event(node, event),
            _ => {}
        }
    }

    fn event(&mut self, node: usize, event: Event) {
        match event {
            Event::Spent { pool, id, octets, on, .. } => {
                assert!(self.spent.insert((node, pool, id)), "{id} was spent twice at {node}");
                *self.used.entry((node, on)).or_default() += octets;
            }
            Event::Relayed { paths, .. } => self.paths.extend(paths),
            Event::NotRelayed { at, reason, .. } => self.failures.push(format!("{at}: {reason}")),
            Event::Misbehaviour { what, .. } => self.misbehaviour.push(what),
            _ => {}
        }
    }

    /// No pad hides two messages, and no place of a tag key makes two tags.
    fn note_pads(&mut self, node: usize, message: &KmMessage) {
        let (pad, sealed) = match &message.body {
            Body::SupplyNotification(told) => (Some(told.pad), &told.sealed[..]),
            Body::Relay(relay) => match &relay.step {
                RelayStep::Reserve(reservation) => {
                    self.set_aside.insert((node, relay.relay), reservation.pad);
                    (None, &[][..])
                }
                RelayStep::Key { sealed, .. } => (self.set_aside.get(&(node, relay.relay)).copied(), &sealed[..]),
                _ => (None, &[][..]),
            },
            _ => (None, &[][..]),
        };
        if let Some(pad) = pad {
            let former = self.pads.insert((node, pad), sealed.to_vec());
            assert!(former.is_none_or(|former| former == sealed), "{pad} hides two messages");
        }
        if let Body::Relay(relay) = &message.body
            && let Some(proof) = &relay.proof
        {
            let former = self.tags.insert((node, proof.key, proof.place), proof.tag);
            assert!(former.is_none(), "{} makes two tags at place {}", proof.key, proof.place);
        }
    }

    fn qkd_key(&mut self) -> QkdKey {
        let id = KeyId::from_octets(self.random.octets());
        let octets = [self.random.octets(), self.random.octets()].concat();
        self.modules.insert(id, octets.clone());
        qkd_key(id, octets)
    }

    /// The shortest way that is open.
    fn path(&self, from: usize, to: usize, taken: &[KmId], avoid: &[(KmId, KmId)]) -> Option<Vec<KmId>> {
        let mut before = HashMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for next in self.neighbours(node) {
                let open = next == to || !self.closed.contains(&next) && !taken.contains(&km(next));
                let open = open && !avoid.contains(&(km(node), km(next)));
                if open && !before.contains_key(&next) {
                    before.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        let mut path = vec![to];
        while *path.last().expect("not empty") != from {
            path.push(*before.get(path.last().expect("not empty"))?);
        }
        path.reverse();
        Some(path.into_iter().map(km).collect())
    }
}

fn between(paths: &[Vec<KmId>]) -> Vec<KmId> {
    paths.iter().flat_map(|path| path[1..path.len() - 1].to_vec()).collect()
}

fn index(id: &KmId) -> usize {
    id.as_str()[1..].parse().expect("named by number")
}

fn link_id(link: usize) -> LinkId {
    LinkId::new(&format!("l{link}")).expect("valid")
}

fn link_index(id: &LinkId) -> usize {
    id.as_str()[1..].parse().expect("named by number")
}

fn qkd_key(id: KeyId, octets: Vec<u8>) -> QkdKey {
    QkdKey { id, material: KeyMaterial::from_octets(octets).expect("whole octets") }
}

fn again(message: &KmMessage) -> KmMessage {
    let body = match &message.body {
        Body::Hello(hello) => Body::Hello(hello.clone()),
        Body::Offer(offer) => Body::Offer(offer.clone()),
        Body::OfferAnswer(answer) => Body::OfferAnswer(answer.clone()),
        Body::SupplyNotification(told) => Body::SupplyNotification(told.clone()),
        Body::SupplyResponse(response) => Body::SupplyResponse(response.clone()),
        Body::Relay(relay) => Body::Relay(relay.clone()),
        _ => unreachable!("all messages are listed"),
    };
    KmMessage { sender: message.sender, body }
}

/// The message with one thing changed, if it is of a relay.
fn changed(mut message: KmMessage, bit: u32) -> KmMessage {
    let Body::Relay(relay) = &mut message.body else { return message };
    let flip = |octets: &mut [u8]| {
        let at = (bit / 4) as usize % (octets.len() * 8);
        octets[at / 8] ^= 1 << (at % 8);
    };
    let id = |id: &mut KeyId| {
        let mut octets = id.octets();
        flip(&mut octets);
        *id = KeyId::from_octets(octets);
    };
    match (bit % 4, &mut relay.proof, &mut relay.step) {
        (0, Some(proof), _) => match bit / 4 % 3 {
            0 => flip(&mut proof.tag),
            1 => proof.place ^= 1,
            _ => id(&mut proof.key),
        },
        (1, ..) => id(&mut relay.relay),
        (_, _, RelayStep::Announce(announcement)) => match bit / 4 % 3 {
            0 => announcement.octets ^= 16,
            1 => id(&mut announcement.spent_below),
            _ => announcement.paths.iter_mut().for_each(|path| path.reverse()),
        },
        (_, _, RelayStep::Reserve(reservation)) => match bit / 4 % 7 {
            0 => reservation.octets ^= 1 << (bit % 12),
            1 => reservation.expires = reservation.expires.after(Duration::from_secs(1)),
            2 => id(&mut reservation.pad),
            3 => id(&mut reservation.key),
            4 => reservation.path.reverse(),
            5 => reservation.part ^= 3,
            _ => reservation.hop ^= 1,
        },
        (_, _, RelayStep::Refused { at, .. }) => *at = km(7),
        (part, _, RelayStep::Key { sealed, tag }) => flip(if part == 2 { sealed } else { tag }),
        (_, _, RelayStep::Complete { tag }) => flip(tag),
        (_, _, step) => *step = RelayStep::Complete { tag: [0; 16] },
    }
    message
}
