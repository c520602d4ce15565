//! The world of the simulation: two nodes, their links, applications and faults, on one event queue in virtual time.

mod disk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use itu_y3803::message::Body;
use itu_y3803::{
    ApplicationId, KeyEvent, KeyId, KeyMaterial, KeySize, KeyState, KmId, KmMessage, KsaKey, LinkId, Parties, QkdKey,
    RandomSource, WallTime,
};
use relay_core::{Config, Event, Input, KeyManager, Lease, LinkConfig, Now, OrderId, Output, Pool, Refusal};

use disk::{Disk, DiskStore};

/// Which faults there are.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) messages: bool,
    pub(crate) crashes: bool,
    pub(crate) cuts: bool,
    pub(crate) modules: bool,
    pub(crate) disks: bool,
}

impl Faults {
    pub(crate) fn all() -> Self {
        Self { messages: true, crashes: true, cuts: true, modules: true, disks: false }
    }

    /// All, and nodes that come back with an empty store.
    pub(crate) fn with_disks() -> Self {
        Self { disks: true, ..Self::all() }
    }

    pub(crate) fn none() -> Self {
        Self { messages: false, crashes: false, cuts: false, modules: false, disks: false }
    }
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) supplied: u64,
    pub(crate) collected: u64,
    pub(crate) refused: u64,
    /// Collections that a crash cut off, so that nobody knows whether the keys arrived.
    pub(crate) cut_off: u64,
    pub(crate) crashes: u64,
    pub(crate) lost: u64,
    pub(crate) pads: u64,
    pub(crate) hostile: u64,
    /// Keys that were lost with the store of their slave's node.
    pub(crate) lost_with_disk: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.supplied += other.supplied;
        self.collected += other.collected;
        self.refused += other.refused;
        self.cut_off += other.cut_off;
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.pads += other.pads;
        self.hostile += other.hostile;
        self.lost_with_disk += other.lost_with_disk;
    }
}

const NODES: [&str; 2] = ["north", "south"];
const LINKS: [&str; 2] = ["first", "second"];
const APPLICATIONS: [(&str, usize); 5] = [("red", 0), ("ruby", 0), ("blue", 1), ("green", 1), ("grey", 1)];
const END_OF_FAULTS: u64 = 20_000;
const END: u64 = 30_000;

/// A step to come, in virtual milliseconds.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Deliver { to: usize, message: u64 },
    Drawn { node: usize, life: u32, link: usize, number: u32 },
    Fetched { node: usize, life: u32, link: usize, key: KeyId },
    Load,
    Fault,
    Connect { node: usize },
    Start { node: usize },
    Timer,
}

struct Node {
    manager: Option<KeyManager<DiskStore, Random>>,
    disk: Disk,
    life: u32,
    connected: bool,
    strict: bool,
    /// Inputs that are handled together before one commit.
    inbox: Vec<Input>,
    leases: BTreeMap<Parties, Lease>,
}

/// A key that a master was given.
struct Given {
    at: u64,
    octets: Vec<u8>,
    parties: Parties,
    waiting: BTreeSet<ApplicationId>,
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
    story: bool,
    now: u64,
    start: Instant,
    queue: BinaryHeap<Reverse<(u64, u64, Step)>>,
    next: u64,
    nodes: Vec<Node>,
    messages: HashMap<u64, (usize, KmMessage)>,
    /// What each module drew and the other has not fetched.
    modules: [BTreeMap<KeyId, Vec<u8>>; 2],
    fetches: HashMap<KeyId, Vec<KeyId>>,
    orders: BTreeMap<u64, Pending>,
    given: BTreeMap<KeyId, Given>,
    delivered: HashSet<(KeyId, ApplicationId)>,
    /// Keys and who has yet to collect them.
    open: Vec<(KeyId, ApplicationId)>,
    all_given: Vec<KeyId>,
    cut_off: HashSet<(KeyId, ApplicationId)>,
    pads: HashMap<KeyId, Vec<u8>>,
    link_keys: HashMap<(usize, Pool, KeyId), KeyState>,
    disks_lost: [bool; 2],
    /// Until when keys were given whose other copy was lost with the store of this node.
    lost_until: [u64; 2],
    report: Report,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults, story: bool) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let nodes = (0..2)
            .map(|_| Node {
                manager: None,
                disk: Disk::default(),
                life: 0,
                connected: false,
                strict: random.one_in(2),
                inbox: Vec::new(),
                leases: BTreeMap::new(),
            })
            .collect();
        let mut world = Self {
            seed,
            random,
            faults,
            story,
            now: 0,
            start: Instant::now(),
            queue: BinaryHeap::new(),
            next: 0,
            nodes,
            messages: HashMap::new(),
            modules: [BTreeMap::new(), BTreeMap::new()],
            fetches: HashMap::new(),
            orders: BTreeMap::new(),
            given: BTreeMap::new(),
            delivered: HashSet::new(),
            open: Vec::new(),
            all_given: Vec::new(),
            cut_off: HashSet::new(),
            pads: HashMap::new(),
            link_keys: HashMap::new(),
            disks_lost: [false; 2],
            lost_until: [0; 2],
            report: Report::default(),
        };
        for node in 0..2 {
            world.after(0, Step::Start { node });
        }
        world.after(500, Step::Load);
        world.after(1_000, Step::Fault);
        world
    }

    pub(crate) fn run(mut self) -> Report {
        while let Some(Reverse((at, _, step))) = self.queue.pop() {
            if at > END {
                break;
            }
            self.now = self.now.max(at);
            self.step(step);
            for node in 0..2 {
                // Several inputs share one commit now and then.
                if self.nodes[node].inbox.len() > 3 || !self.random.one_in(3) || self.settling() {
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
                let keys = self.draw(node, number);
                self.nodes[node].inbox.push(Input::Drawn { link: link_id(link), keys });
            }
            Step::Fetched { node, life, link, key } if life == self.nodes[node].life => {
                let keys = self.fetch(node, key);
                self.nodes[node].inbox.push(Input::Fetched { link: link_id(link), key, keys });
            }
            Step::Drawn { .. } | Step::Fetched { .. } => {}
            Step::Load => self.load(),
            Step::Fault => self.fault(),
            Step::Connect { node } => {
                let peer_runs = self.nodes[1 - node].manager.is_some();
                if self.nodes[node].manager.is_some() && !self.nodes[node].connected && peer_runs {
                    self.nodes[node].connected = true;
                    self.nodes[node].inbox.push(Input::PeerUp { peer: km(1 - node) });
                }
            }
            Step::Start { node } => self.start_node(node),
            Step::Timer => {
                for node in 0..2 {
                    let now = self.time();
                    let due = |node: &Node| node.manager.as_ref().and_then(KeyManager::poll_timeout);
                    if due(&self.nodes[node]).is_some_and(|due| due <= now.instant) {
                        self.nodes[node].inbox.push(Input::Timeout);
                    }
                }
            }
        }
    }

    /// Applications ask for keys, and for keys that are not theirs.
    fn load(&mut self) {
        if !self.settling() {
            let next = 20 + self.random.below(200);
            self.after(next, Step::Load);
            if self.random.one_in(2) {
                self.ask_for_keys();
            }
            if self.random.one_in(3) {
                self.ask_for_what_is_not_theirs();
            }
        } else {
            self.after(100, Step::Load);
        }
        for _ in 0..if self.settling() { 20 } else { 3 } {
            self.collect_something();
        }
    }

    fn ask_for_keys(&mut self) {
        let (master, home) = self.random.pick(&APPLICATIONS);
        let mut slaves: Vec<_> = APPLICATIONS.iter().map(|(id, _)| app(id)).filter(|id| *id != app(master)).collect();
        while slaves.len() > 1 && self.random.one_in(2) || slaves.len() > 3 {
            slaves.remove(self.random.below(slaves.len() as u64) as usize);
        }
        let parties = Parties::new(app(master), slaves).expect("distinct");
        let number = 1 + self.random.below(4) as u32;
        let size = KeySize::from_octets(1 + self.random.below(40) as usize).expect("not zero");
        let node = &mut self.nodes[home];
        if node.manager.is_none() {
            return;
        }
        let lease = !node.strict;
        if lease {
            let wall = WallTime::from_millis(self.now);
            let served = node.leases.get_mut(&parties).and_then(|lease| lease.supply(wall, one(number), size));
            if let Some(keys) = served {
                self.give(&parties, keys, number, size);
                return;
            }
        }
        let order = self.order(Pending::Supply { node: home, parties: parties.clone(), number, size });
        let number = one(number);
        self.nodes[home].inbox.push(match lease {
            true => Input::Lease { order, parties, number, size },
            false => Input::Supply { order, parties, number, size },
        });
    }

    fn collect_something(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let at = self.random.below(self.open.len() as u64) as usize;
        let (id, slave) = self.open.swap_remove(at);
        let master = self.given[&id].parties.master().clone();
        let node = home(&slave);
        if self.nodes[node].manager.is_none() {
            self.open.push((id, slave));
            return;
        }
        let mut keys = vec![id];
        // Now and then several in one request.
        let more = self.random.below(3) as usize;
        let fits = |(other, who): &(KeyId, ApplicationId)| *who == slave && *self.given[other].parties.master() == master;
        let others: Vec<_> = (0..self.open.len().min(20)).filter(|&at| fits(&self.open[at])).take(more).collect();
        for at in others.into_iter().rev() {
            keys.push(self.open.swap_remove(at).0);
        }
        for key in &keys {
            self.given.get_mut(key).expect("given").waiting.remove(&slave);
        }
        let order = self.order(Pending::Collect { node, slave: slave.clone(), keys: keys.clone() });
        self.nodes[node].inbox.push(Input::Collect { order, slave, master, keys });
    }

    fn ask_for_what_is_not_theirs(&mut self) {
        let Some(at) = (!self.given.is_empty()).then(|| self.random.below(self.given.len() as u64) as usize) else { return };
        let id = self.all_given[at];
        let master = self.given[&id].parties.master().clone();
        let (who, node) = self.random.pick(&APPLICATIONS);
        let who = app(who);
        // Whoever was cut off may come again, and get it then.
        let entitled = self.given[&id].waiting.contains(&who) || self.cut_off.contains(&(id, who.clone()));
        if entitled || self.nodes[node].manager.is_none() {
            return;
        }
        // Not among the slaves, or it has the key already, or the wrong master, or an identifier that was never given.
        let (key, master) = match self.random.below(4) {
            0 => (id, app("nobody")),
            1 => (KeyId::from_octets(self.random.octets()), master),
            _ => (id, master),
        };
        self.report.hostile += 1;
        let order = self.order(Pending::Forbidden { node });
        self.nodes[node].inbox.push(Input::Collect { order, slave: who, master, keys: vec![key] });
    }

    fn fault(&mut self) {
        if self.settling() {
            return;
        }
        let next = 200 + self.random.below(3_000);
        self.after(next, Step::Fault);
        let node = self.random.below(2) as usize;
        if self.faults.crashes && self.random.one_in(2) {
            self.crash(node);
        } else if self.faults.cuts && self.nodes[node].connected {
            self.nodes[node].connected = false;
            self.nodes[node].inbox.push(Input::PeerDown { peer: km(1 - node) });
            let back = self.random.below(2_000);
            self.after(back, Step::Connect { node });
        }
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].manager.take().is_none() {
            return;
        }
        self.tell(|| format!("{} crashes", NODES[node]));
        self.report.crashes += 1;
        self.nodes[node].life += 1;
        self.nodes[node].leases.clear();
        self.nodes[node].connected = false;
        self.nodes[node].inbox.clear();
        if self.nodes[1 - node].connected {
            self.nodes[1 - node].connected = false;
            self.nodes[1 - node].inbox.push(Input::PeerDown { peer: km(node) });
        }
        // Requests in flight are never answered; of a collection nobody knows how far it got.
        let in_flight: Vec<_> = self.orders.iter().filter(|(_, pending)| pending.node() == node).map(|(&id, _)| id).collect();
        for order in in_flight {
            if let Some(Pending::Collect { keys, slave, .. }) = self.orders.remove(&order) {
                self.report.cut_off += keys.len() as u64;
                self.cut_off.extend(keys.into_iter().map(|key| (key, slave.clone())));
            }
        }
        // Events that were not seen may be missing from here on; what was seen to be used stays used.
        self.link_keys.retain(|(at, ..), state| *at != node || matches!(state, KeyState::InUse | KeyState::Deleted));
        if self.faults.disks && self.random.one_in(3) {
            self.tell(|| format!("{} loses its disk", NODES[node]));
            self.nodes[node].disk = Disk::default();
            self.disks_lost[node] = true;
            // Until the other end has learnt of it.
            self.lost_until[node] = u64::MAX;
            self.link_keys.retain(|(at, ..), _| *at != node);
        }
        let down = 10 + self.random.below(1_500);
        self.after(down, Step::Start { node });
    }

    fn start_node(&mut self, node: usize) {
        let random = Random(self.random.next());
        let store = self.nodes[node].disk.open();
        let manager = KeyManager::open(config(node), store, random, self.time()).expect("a disk that reads");
        self.nodes[node].manager = Some(manager);
        for node in 0..2 {
            let soon = self.random.below(100);
            self.after(soon, Step::Connect { node });
        }
    }

    /// Feeds the inbox, then does all outputs.
    fn handle(&mut self, node: usize) {
        let now = self.time();
        let inputs = std::mem::take(&mut self.nodes[node].inbox);
        let Some(manager) = &mut self.nodes[node].manager else { return };
        if inputs.is_empty() {
            return;
        }
        for input in inputs {
            manager.handle_input(now, input).expect("a disk that works");
        }
        // A crash before the commit loses all of it.
        if self.faults.crashes && self.random.one_in(200) && !self.settling() {
            self.crash(node);
            return;
        }
        while let Some(manager) = &mut self.nodes[node].manager
            && let Some(output) = manager.poll_output().expect("a disk that works")
        {
            self.output(node, output);
            // A crash after the commit loses the outputs that are left.
            if self.faults.crashes && self.random.one_in(2_000) && !self.settling() {
                self.crash(node);
                return;
            }
        }
        if let Some(due) = self.nodes[node].manager.as_ref().and_then(KeyManager::poll_timeout) {
            let wait = due.saturating_duration_since(now.instant).as_millis() as u64;
            self.after(wait.max(1), Step::Timer);
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        let life = self.nodes[node].life;
        match output {
            Output::Send { message, .. } => self.send(node, message),
            Output::Draw { link, number, .. } => {
                let wait = self.random.below(30);
                self.after(wait, Step::Drawn { node, life, link: link_index(&link), number });
            }
            Output::Fetch { link, key, qkd_keys } => {
                self.fetches.insert(key, qkd_keys);
                let wait = self.random.below(30);
                self.after(wait, Step::Fetched { node, life, link: link_index(&link), key });
            }
            Output::Supplied { order, keys } => match self.orders.remove(&order.0) {
                Some(Pending::Supply { parties, number, size, .. }) => self.give(&parties, keys, number, size),
                Some(Pending::Collect { slave, keys: asked, .. }) => self.collected(&slave, &asked, keys),
                Some(Pending::Forbidden { .. }) => panic!("keys were given to someone who may not have them: {keys:?}"),
                None => panic!("an order was answered twice"),
            },
            Output::Leased { order, mut lease } => {
                let Some(Pending::Supply { parties, number, size, .. }) = self.orders.remove(&order.0) else {
                    panic!("a lease that nobody asked for")
                };
                let keys = lease.supply(WallTime::from_millis(self.now), one(number), size).expect("as promised");
                self.give(&parties, keys, number, size);
                match self.nodes[node].leases.get_mut(&parties) {
                    Some(former) => former.extend(lease),
                    None => drop(self.nodes[node].leases.insert(parties, lease)),
                }
            }
            Output::Refused { order, reason } => match self.orders.remove(&order.0) {
                Some(Pending::Supply { .. }) => {
                    assert_eq!(reason, Refusal::NotEnoughKeys);
                    self.report.refused += 1;
                }
                Some(Pending::Collect { node, keys, slave }) if self.disks_lost[node] => {
                    // Lost are keys that were given before the other node knew; then it gives no more from lost blocks.
                    let lost = keys.iter().any(|key| self.given[key].at <= self.lost_until[node]);
                    assert!(lost, "{slave} was refused {keys:?}, given after the loss was known");
                    self.report.lost_with_disk += keys.len() as u64;
                    self.cut_off.extend(keys.into_iter().map(|key| (key, slave.clone())));
                }
                Some(Pending::Collect { slave, keys, .. }) => panic!("{slave} was refused {keys:?}: {reason}"),
                Some(Pending::Forbidden { .. }) => assert!(matches!(reason, Refusal::NotFound { .. } | Refusal::NotEntitled)),
                None => panic!("an order was answered twice"),
            },
            Output::Revoked { parties } => drop(self.nodes[node].leases.remove(&*parties)),
            Output::Event(Event::Misbehaviour { what, .. }) if !self.faults.modules => panic!("without faults: {what}"),
            Output::Event(event) => self.event(node, event),
            _ => {}
        }
    }

    /// A master has its keys.
    fn give(&mut self, parties: &Parties, keys: Vec<KsaKey>, number: u32, size: KeySize) {
        assert_eq!(keys.len(), number as usize);
        for key in keys {
            self.tell(|| format!("{} is given {}", parties.master(), key.id));
            assert_eq!(key.material.size(), size);
            assert!(self.delivered.insert((key.id, parties.master().clone())), "{} given twice", key.id);
            let waiting = parties.slaves().iter().cloned().collect();
            self.open.extend(parties.slaves().iter().map(|slave| (key.id, slave.clone())));
            let octets = key.material.expose_secret().to_vec();
            self.all_given.push(key.id);
            let given = Given { at: self.now, octets, parties: parties.clone(), waiting };
            assert!(self.given.insert(key.id, given).is_none(), "{} given twice", key.id);
            self.report.supplied += 1;
        }
    }

    /// A slave has its keys.
    fn collected(&mut self, slave: &ApplicationId, asked: &[KeyId], keys: Vec<KsaKey>) {
        assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), asked);
        for key in keys {
            self.tell(|| format!("{slave} collects {}", key.id));
            let given = &self.given[&key.id];
            assert!(given.parties.slaves().contains(slave), "{slave} collected what is for others");
            assert_eq!(given.octets, key.material.expose_secret(), "the ends of {} differ", key.id);
            assert!(self.delivered.insert((key.id, slave.clone())), "{slave} collected {} twice", key.id);
            self.report.collected += 1;
        }
    }

    fn send(&mut self, from: usize, message: KmMessage) {
        if let Body::SupplyNotification(told) = &message.body {
            let mut octets = told.sealed.clone();
            octets.extend(told.tag);
            match self.pads.get(&told.pad) {
                Some(former) => assert_eq!(*former, octets, "pad {} hides two messages", told.pad),
                None => {
                    self.report.pads += 1;
                    self.pads.insert(told.pad, octets);
                }
            }
        }
        let faulty = self.faults.messages && !self.settling();
        let copies = match self.random.below(20) {
            0 if faulty => 0,
            1 | 2 if faulty => 2,
            _ => 1,
        };
        if copies == 0 || !self.nodes[from].connected {
            self.report.lost += 1;
            return;
        }
        let more = (1..copies).map(|_| again(&message)).collect::<Vec<_>>();
        for message in more.into_iter().chain([message]) {
            let late = faulty && self.random.one_in(8);
            let delay = if late { self.random.below(1_500) } else { 1 + self.random.below(5) };
            let id = self.next_number();
            self.messages.insert(id, (from, message));
            self.after(delay, Step::Deliver { to: 1 - from, message: id });
        }
    }

    fn draw(&mut self, node: usize, number: u32) -> Vec<QkdKey> {
        if self.faults.modules && !self.settling() && self.random.one_in(4) {
            return Vec::new();
        }
        (0..number)
            .map(|_| {
                let id = KeyId::from_octets(self.random.octets());
                let octets = [self.random.octets(), self.random.octets()].concat();
                self.modules[node].insert(id, octets.clone());
                qkd_key(id, octets)
            })
            .collect()
    }

    fn fetch(&mut self, node: usize, key: KeyId) -> Vec<QkdKey> {
        let wanted = self.fetches.remove(&key).unwrap_or_default();
        if self.faults.modules && !self.settling() && self.random.one_in(20) {
            return Vec::new();
        }
        // There are modules that give out a key again and again, although they must not (014-5.4-05).
        let forgetful = self.faults.modules && self.seed.is_multiple_of(2);
        let module = &mut self.modules[1 - node];
        let mut give = |id| if forgetful { module.get(&id).cloned() } else { module.remove(&id) };
        let mut keys: Vec<_> = wanted.into_iter().filter_map(|id| Some(qkd_key(id, give(id)?))).collect();
        // Modules that disagree: the two ends must notice.
        if self.faults.modules && !self.settling() && self.random.one_in(20) && !keys.is_empty() {
            let at = self.random.below(keys.len() as u64) as usize;
            let mut octets = keys[at].material.expose_secret().to_vec();
            octets[17] ^= 1;
            keys[at] = qkd_key(keys[at].id, octets);
        }
        keys
    }

    fn event(&mut self, node: usize, event: Event) {
        self.tell(|| format!("{}: {event:?}", NODES[node]));
        if let Event::PeerRenewed { .. } = event {
            self.lost_until[1 - node] = self.now;
        }
        if let Event::LinkKey { pool, id, event } = event {
            // Of a key that is not known, a crash has swallowed the beginning.
            let unknown = if event == KeyEvent::Reserve { KeyState::Available } else { KeyState::Received };
            let known_from_the_start = self.nodes[node].life == 0;
            let first = if known_from_the_start { KeyState::Received } else { unknown };
            let state = self.link_keys.entry((node, pool, id)).or_insert(first);
            *state = match state.on(event) {
                Ok(next) => next,
                Err(forbidden) => panic!("{} of {}: {forbidden}", id, NODES[node]),
            };
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

    fn time(&self) -> Now {
        Now { instant: self.start + Duration::from_millis(self.now), wall: WallTime::from_millis(self.now) }
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

fn config(node: usize) -> Config {
    let mut config = Config::new(km(node));
    config.links = LINKS.iter().map(|id| LinkConfig { id: LinkId::new(id).expect("valid"), peer: km(1 - node) }).collect();
    config.applications = APPLICATIONS.iter().map(|(id, node)| (app(id), km(*node))).collect();
    config.qkd_keys_per_link_key = 5;
    config.draw_limit = 17;
    (config.link_low, config.link_high) = (3, 6);
    (config.pool_low, config.pool_high, config.lease_octets) = (128, 256, 192);
    config.local_block_octets = 200;
    config.idle = Duration::from_secs(3);
    config.repeat = Duration::from_millis(250);
    config
}

fn again(message: &KmMessage) -> KmMessage {
    let body = match &message.body {
        Body::Hello(hello) => Body::Hello(hello.clone()),
        Body::Offer(offer) => Body::Offer(offer.clone()),
        Body::OfferAnswer(answer) => Body::OfferAnswer(answer.clone()),
        Body::SupplyNotification(told) => Body::SupplyNotification(told.clone()),
        Body::SupplyResponse(response) => Body::SupplyResponse(response.clone()),
        _ => unreachable!("all messages are listed"),
    };
    KmMessage { sender: message.sender, body }
}

fn qkd_key(id: KeyId, octets: Vec<u8>) -> QkdKey {
    QkdKey { id, material: KeyMaterial::from_octets(octets).expect("whole octets") }
}

fn km(node: usize) -> KmId {
    KmId::new(NODES[node]).expect("valid")
}

fn app(id: &str) -> ApplicationId {
    ApplicationId::new(id).expect("valid")
}

fn home(application: &ApplicationId) -> usize {
    APPLICATIONS.iter().find(|(id, _)| *id == application.as_str()).map(|(_, home)| *home).expect("listed")
}

fn link_id(link: usize) -> LinkId {
    LinkId::new(LINKS[link]).expect("valid")
}

fn link_index(link: &LinkId) -> usize {
    LINKS.iter().position(|id| *id == link.as_str()).expect("listed")
}

fn one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("at least one")
}

/// SplitMix64: the same everywhere for the same seed.
struct Random(u64);

impl RandomSource for Random {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill_with(|| self.next() as u8);
    }
}

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    fn octets(&mut self) -> [u8; 16] {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.next().to_be_bytes());
        octets[8..].copy_from_slice(&self.next().to_be_bytes());
        octets
    }
}
