//! The world of the simulation: three nodes, their links, clocks, applications and faults, on one event queue in virtual time.

mod checks;
mod disk;
mod faults;
mod load;
mod random;
mod settings;
mod wires;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::time::{Duration, Instant};

use itu_y3803::message::Body;
use itu_y3803::{ApplicationId, Incarnation, KeyId, KeySize, KeyState, KmMessage, LinkId, Parties, WallTime};
use relay_core::{Config, Input, KeyManager, Lease, Now, OrderId, Output, Pool};

use disk::{Disk, DiskStore};
use random::Random;
use settings::{Directory, Network, app, km, node_index, one};

/// Which faults there are.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) messages: bool,
    pub(crate) crashes: bool,
    pub(crate) cuts: bool,
    pub(crate) modules: bool,
    /// Nodes come back with an empty store.
    pub(crate) disks: bool,
    /// Stores fail.
    pub(crate) stores: bool,
    /// Clocks differ and are set.
    pub(crate) clocks: bool,
    /// Settings differ, and they and the directory change.
    pub(crate) operators: bool,
}

impl Faults {
    pub(crate) fn all() -> Self {
        Self {
            messages: true,
            crashes: true,
            cuts: true,
            modules: true,
            disks: false,
            stores: true,
            clocks: true,
            operators: true,
        }
    }

    /// All, and nodes that come back with an empty store.
    pub(crate) fn with_disks() -> Self {
        Self { disks: true, ..Self::all() }
    }

    pub(crate) fn none() -> Self {
        Self {
            messages: false,
            crashes: false,
            cuts: false,
            modules: false,
            disks: false,
            stores: false,
            clocks: false,
            operators: false,
        }
    }
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) supplied: u64,
    pub(crate) collected: u64,
    pub(crate) refused: u64,
    /// Refused since a limit was met.
    pub(crate) too_much: u64,
    /// Collections that a crash cut off, so that nobody knows whether the keys arrived.
    pub(crate) cut_off: u64,
    pub(crate) crashes: u64,
    /// Octets that came back from leases.
    pub(crate) given_back: u64,
    pub(crate) failures: u64,
    pub(crate) moves: u64,
    pub(crate) clock_steps: u64,
    pub(crate) set_back: u64,
    pub(crate) lost: u64,
    pub(crate) pads: u64,
    pub(crate) hostile: u64,
    pub(crate) forged: u64,
    /// Keys that were lost with the store of their slave's node.
    pub(crate) lost_with_disk: u64,
    /// Keys that had expired by the clock of their slave's node.
    pub(crate) expired: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.supplied += other.supplied;
        self.collected += other.collected;
        self.refused += other.refused;
        self.too_much += other.too_much;
        self.cut_off += other.cut_off;
        self.crashes += other.crashes;
        self.given_back += other.given_back;
        self.failures += other.failures;
        self.moves += other.moves;
        self.clock_steps += other.clock_steps;
        self.set_back += other.set_back;
        self.lost += other.lost;
        self.pads += other.pads;
        self.hostile += other.hostile;
        self.forged += other.forged;
        self.lost_with_disk += other.lost_with_disk;
        self.expired += other.expired;
    }
}

const END_OF_FAULTS: u64 = 13_000;
const END: u64 = 20_000;
/// The wall time at which the world begins.
const EPOCH: i64 = 1_700_000_000_000;

/// A step to come, in virtual milliseconds.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Deliver {
        to: usize,
        message: u64,
    },
    Drawn {
        node: usize,
        life: u32,
        link: LinkId,
        number: u32,
    },
    Fetched {
        node: usize,
        life: u32,
        link: LinkId,
        key: KeyId,
    },
    Load,
    Fault,
    Connect {
        node: usize,
        peer: usize,
    },
    Start {
        node: usize,
    },
    /// A node is stopped and started again, to read its files anew.
    Restart {
        node: usize,
    },
    /// A clock creeps back, or is set right again.
    Creep {
        node: usize,
        life: u32,
        steps: u32,
    },
    SetRight {
        node: usize,
    },
    SetClock {
        node: usize,
    },
    Timer {
        node: usize,
    },
    Second,
}

struct Node {
    manager: Option<KeyManager<DiskStore, Random>>,
    disk: Disk,
    life: u32,
    connected: [bool; 3],
    strict: bool,
    /// As it read it when it started.
    directory: Directory,
    config: Config,
    /// Inputs that are handled together before one commit.
    inbox: Vec<Input>,
    leases: BTreeMap<Parties, Lease>,
    clock: Clock,
    /// When it wants to be called.
    timer: Option<u64>,
    incarnation: Option<Incarnation>,
}

/// A wall clock, as far as it differs from true time.
#[derive(Default)]
struct Clock {
    /// Milliseconds ahead.
    ahead: i64,
    /// When it was set back, and what it showed before.
    set_back: Vec<(u64, WallTime)>,
    /// When it was set ahead by more than clocks may differ.
    set_ahead: Vec<u64>,
    /// Being set by the operator, now or soon.
    busy: bool,
}

/// A key that a master was given.
struct Given {
    at: u64,
    by: usize,
    /// When its block was made.
    made: u64,
    expires: WallTime,
    octets: Vec<u8>,
    parties: Parties,
    waiting: BTreeSet<ApplicationId>,
    /// Where each slave collects, by the directory of the node that gave it.
    homes: BTreeMap<ApplicationId, usize>,
}

enum Pending {
    Supply { node: usize, parties: Parties, number: u32, size: KeySize },
    Collect { node: usize, slave: ApplicationId, keys: Vec<KeyId> },
    Forbidden { node: usize },
}

pub(crate) struct World {
    seed: u64,
    random: Random,
    faults: Faults,
    network: Network,
    story: bool,
    now: u64,
    start: Instant,
    queue: BinaryHeap<Reverse<(u64, u64, Step)>>,
    next: u64,
    nodes: Vec<Node>,
    /// As the operators have written it last.
    directory: Directory,
    messages: HashMap<u64, (usize, KmMessage)>,
    /// What a module drew and the other has not fetched.
    modules: BTreeMap<KeyId, Vec<u8>>,
    /// The link key that each QKD key is part of.
    joined: HashMap<KeyId, KeyId>,
    fetches: HashMap<(usize, KeyId), Vec<KeyId>>,
    orders: BTreeMap<u64, Pending>,
    given: BTreeMap<KeyId, Given>,
    delivered: HashSet<(KeyId, ApplicationId)>,
    /// Keys and who has yet to collect them.
    open: Vec<(KeyId, ApplicationId)>,
    all_given: Vec<KeyId>,
    cut_off: HashSet<(KeyId, ApplicationId)>,
    /// When blocks were made, by their node and what its clock showed.
    made: HashMap<(usize, WallTime), u64>,
    pads: HashMap<KeyId, Vec<u8>>,
    /// What was said last of a block, to be forged.
    said: Option<(usize, usize, KmMessage)>,
    /// The block of the forged message that is being handled.
    forged: Option<KeyId>,
    link_keys: HashMap<(usize, Pool, KeyId), KeyState>,
    /// Until when a node gave keys whose other copy was lost with the store of another, or its own: `[who gave][who lost]`.
    lost_until: [[u64; 3]; 3],
    report: Report,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults, story: bool) -> Self {
        let mut random = Random::new(seed);
        let triangle = !random.one_in(3);
        let network = Network::new(triangle, faults.clocks && random.one_in(2), faults.operators && random.one_in(4));
        let directory = settings::first_directory();
        let nodes = (0..3)
            .map(|node| Node {
                manager: None,
                disk: Disk::default(),
                life: 0,
                connected: [false; 3],
                strict: random.one_in(2),
                directory: directory.clone(),
                config: network.config(node, &directory, None),
                inbox: Vec::new(),
                leases: BTreeMap::new(),
                clock: Clock::default(),
                timer: None,
                incarnation: None,
            })
            .collect();
        let mut world = Self {
            seed,
            random,
            faults,
            network,
            story,
            now: 0,
            start: Instant::now(),
            queue: BinaryHeap::new(),
            next: 0,
            nodes,
            directory,
            messages: HashMap::new(),
            modules: BTreeMap::new(),
            joined: HashMap::new(),
            fetches: HashMap::new(),
            orders: BTreeMap::new(),
            given: BTreeMap::new(),
            delivered: HashSet::new(),
            open: Vec::new(),
            all_given: Vec::new(),
            cut_off: HashSet::new(),
            made: HashMap::new(),
            pads: HashMap::new(),
            said: None,
            forged: None,
            link_keys: HashMap::new(),
            lost_until: [[0; 3]; 3],
            report: Report::default(),
        };
        for node in 0..3 {
            if faults.clocks {
                world.nodes[node].clock.ahead = world.small_difference();
            }
            world.after(0, Step::Start { node });
        }
        world.after(500, Step::Load);
        world.after(1_000, Step::Fault);
        world.after(1_000, Step::Second);
        world
    }

    pub(crate) fn run(mut self) -> Report {
        while let Some(Reverse((at, _, step))) = self.queue.pop() {
            if at > END {
                break;
            }
            self.now = self.now.max(at);
            self.step(step);
            for node in 0..3 {
                // Several inputs share one commit now and then.
                let inputs = self.nodes[node].inbox.len();
                if inputs > 3 || inputs > 0 && (!self.random.one_in(3) || self.settling()) {
                    self.handle(node);
                }
            }
        }
        assert!(self.orders.is_empty(), "{} orders were never answered", self.orders.len());
        for (id, given) in &self.given {
            assert!(given.waiting.is_empty(), "{id} was acknowledged to {} and lost", given.parties.master());
        }
        self.report
    }

    fn settling(&self) -> bool {
        self.now > END_OF_FAULTS
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver { to, message } => {
                if let Some((from, message)) = self.messages.remove(&message)
                    && self.nodes[to].manager.is_some()
                {
                    self.nodes[to].inbox.push(Input::Message { from: km(from), message });
                }
            }
            Step::Drawn { node, life, link, number } if life == self.nodes[node].life => {
                let keys = self.draw(number);
                self.nodes[node].inbox.push(Input::Drawn { link, keys });
            }
            Step::Fetched { node, life, link, key } if life == self.nodes[node].life => {
                let keys = self.fetch(node, key);
                self.nodes[node].inbox.push(Input::Fetched { link, key, keys });
            }
            Step::Drawn { .. } | Step::Fetched { .. } => {}
            Step::Load => self.load(),
            Step::Fault => self.fault(),
            Step::Connect { node, peer } => {
                let both_run = self.nodes[node].manager.is_some() && self.nodes[peer].manager.is_some();
                if both_run && !self.nodes[node].connected[peer] {
                    self.nodes[node].connected[peer] = true;
                    self.nodes[node].inbox.push(Input::PeerUp { peer: km(peer) });
                }
            }
            Step::Start { node } => self.start_node(node),
            Step::Restart { node } => self.restart(node),
            Step::Creep { node, life, steps } => self.creep(node, life, steps),
            Step::SetRight { node } => self.set_right(node),
            Step::SetClock { node } => self.set_clock(node),
            Step::Timer { node } => {
                if self.nodes[node].timer == Some(self.now) && self.nodes[node].manager.is_some() {
                    self.nodes[node].timer = None;
                    self.nodes[node].inbox.push(Input::Timeout);
                    self.handle(node);
                }
            }
            Step::Second => {
                self.after(1_000, Step::Second);
                for node in self.nodes.iter_mut().filter(|node| node.manager.is_some()) {
                    node.inbox.push(Input::Timeout);
                }
            }
        }
    }

    fn start_node(&mut self, node: usize) {
        if self.nodes[node].manager.is_some() {
            return;
        }
        let directory = self.directory.clone();
        let varied = self.faults.operators && self.random.one_in(2);
        let config = self.network.config(node, &directory, varied.then_some(&mut self.random));
        let random = Random::new(self.random.next());
        let store = self.nodes[node].disk.open();
        let manager = KeyManager::open(config.clone(), store, random, self.time(node)).expect("a disk that reads");
        let strict = if self.faults.operators { self.random.one_in(2) } else { self.nodes[node].strict };
        let of = &mut self.nodes[node];
        (of.manager, of.directory, of.config, of.strict) = (Some(manager), directory, config, strict);
        for peer in self.network.neighbours(node) {
            for (node, peer) in [(node, peer), (peer, node)] {
                let soon = self.random.below(100);
                self.after(soon, Step::Connect { node, peer });
            }
        }
    }

    /// Feeds the inbox, then does all outputs.
    fn handle(&mut self, node: usize) {
        let now = self.time(node);
        let inputs = std::mem::take(&mut self.nodes[node].inbox);
        let timed_out = matches!(inputs.last(), Some(Input::Timeout));
        let mut greeted = Vec::new();
        for input in inputs {
            if let Input::Message { from, message: KmMessage { sender, body: Body::Hello(_) } } = &input
                && self.nodes[node_index(from)].incarnation == Some(*sender)
            {
                greeted.push(node_index(from));
            }
            let Some(manager) = &mut self.nodes[node].manager else { return };
            if manager.handle_input(now, input).is_err() {
                return self.store_failed(node);
            }
        }
        // A crash before the commit loses all of it.
        if self.faults.crashes && self.random.one_in(200) && !self.settling() {
            return self.crash(node);
        }
        while let Some(manager) = &mut self.nodes[node].manager {
            let Ok(output) = manager.poll_output() else { return self.store_failed(node) };
            // Committed: from here on it knows who came with another store.
            for peer in greeted.drain(..) {
                self.lost_until[node][peer] = self.lost_until[node][peer].min(self.now);
            }
            let Some(output) = output else { break };
            self.output(node, output);
            // A crash after the commit loses the outputs that are left.
            if self.faults.crashes && self.random.one_in(2_000) && !self.settling() {
                return self.crash(node);
            }
        }
        self.set_timer(node, timed_out);
    }

    fn set_timer(&mut self, node: usize, timed_out: bool) {
        let now = self.time(node).instant;
        let Some(due) = self.nodes[node].manager.as_ref().and_then(KeyManager::poll_timeout) else { return };
        assert!(due > now || !timed_out, "{} has nothing left to do now, and asks to be called at once", settings::NODES[node]);
        let wait = due.saturating_duration_since(now).as_millis() as u64;
        if self.nodes[node].timer.is_none_or(|timer| timer <= self.now || timer > self.now + wait) {
            self.nodes[node].timer = Some(self.now + wait);
            self.after(wait, Step::Timer { node });
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        let life = self.nodes[node].life;
        match output {
            Output::Send { to, message } => self.send(node, node_index(&to), message),
            Output::Draw { link, number, .. } => {
                let wait = self.random.below(30);
                self.after(wait, Step::Drawn { node, life, link, number });
            }
            Output::Fetch { link, key, qkd_keys } => {
                self.fetches.insert((node, key), qkd_keys);
                let wait = self.random.below(30);
                self.after(wait, Step::Fetched { node, life, link, key });
            }
            Output::Supplied { order, keys } => match self.orders.remove(&order.0) {
                Some(Pending::Supply { parties, number, size, .. }) => self.give(node, &parties, keys, number, size),
                Some(Pending::Collect { slave, keys: asked, .. }) => self.collected(&slave, &asked, keys),
                Some(Pending::Forbidden { .. }) => panic!("keys were given to someone who may not have them: {keys:?}"),
                None => panic!("an order was answered twice"),
            },
            Output::Leased { order, mut lease } => {
                let Some(Pending::Supply { parties, number, size, .. }) = self.orders.remove(&order.0) else {
                    panic!("a lease that nobody asked for")
                };
                let keys = lease.supply(self.wall(node), one(number), size).expect("as promised");
                self.give(node, &parties, keys, number, size);
                match self.nodes[node].leases.get_mut(&parties) {
                    Some(former) => former.extend(lease),
                    None => drop(self.nodes[node].leases.insert(parties, lease)),
                }
            }
            Output::Refused { order, reason } => match self.orders.remove(&order.0) {
                Some(Pending::Supply { node, parties, .. }) => self.not_supplied(node, &parties, &reason),
                Some(Pending::Collect { node, keys, slave }) => self.not_collected(node, &slave, keys, &reason),
                Some(Pending::Forbidden { .. }) => checks::is_forbidden(&reason),
                None => panic!("an order was answered twice"),
            },
            Output::Revoked { parties } => drop(self.nodes[node].leases.remove(&*parties)),
            Output::Event(event) => self.event(node, event),
            _ => {}
        }
    }

    fn order(&mut self, pending: Pending) -> OrderId {
        let id = self.next_number();
        self.orders.insert(id, pending);
        OrderId(id)
    }

    fn after(&mut self, millis: u64, step: Step) {
        let number = self.next_number();
        self.queue.push(Reverse((self.now + millis, number, step)));
    }

    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn time(&self, node: usize) -> Now {
        Now { instant: self.start + Duration::from_millis(self.now), wall: self.wall(node) }
    }

    fn wall(&self, node: usize) -> WallTime {
        WallTime::from_millis((EPOCH + self.now as i64 + self.nodes[node].clock.ahead) as u64)
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.story {
            println!("[{}] {:>6} ms  {}", self.seed, self.now, what());
        }
    }
}

impl Pending {
    fn node(&self) -> usize {
        match self {
            Self::Supply { node, .. } | Self::Collect { node, .. } | Self::Forbidden { node } => *node,
        }
    }
}
