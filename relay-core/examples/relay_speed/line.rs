//! A line of nodes in one thread. Messages take one unit of time, whoever they are from and to; all else takes none.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use itu_y3803::message::{Body, Proof, RelayStep};
use itu_y3803::{ApplicationId, KeyId, KeyMaterial, KeySize, KmId, KmMessage, LinkId, Parties, QkdKey, WallTime};
use relay_core::{Config, Event, Input, KeyManager, LinkConfig, MemoryStore, Now, OrderId, Output};

/// 256 of them, and the tag of what is hidden under them.
const QKD_KEYS: u32 = 257;
/// What is left of a relayed block beside its tags, in keys of 256 bits.
const BATCH: u32 = 254;
const BATCHES: u32 = 400;
/// How long a message takes.
const UNIT: Duration = Duration::from_millis(1);

pub(crate) struct Measured {
    pub(crate) keys: u64,
    pub(crate) took: Duration,
    pub(crate) inputs: u64,
    /// Octets of fields of messages about relays, over all hops,
    pub(crate) relayed: u64,
    /// of those that bring blocks from end to end, under what was relayed,
    pub(crate) bound: u64,
    /// and of those that agree on link key.
    pub(crate) offered: u64,
    /// Octets of link key spent, on pads and tags, over all links.
    pub(crate) spent: u64,
    /// Messages one after the other between a request and its answer, with link key in store and nothing else.
    pub(crate) on_demand: u64,
    /// And with pools full.
    pub(crate) from_pool: u64,
}

type Random = Box<dyn FnMut(&mut [u8])>;

struct Line {
    hops: u32,
    now: u64,
    start: Instant,
    nodes: BTreeMap<KmId, KeyManager<MemoryStore, Random>>,
    path: Vec<KmId>,
    /// By time, since each takes as long as the others.
    messages: VecDeque<(u64, KmId, KmId, KmMessage)>,
    modules: HashMap<KeyId, KeyMaterial>,
    supplied: Vec<KeyId>,
    collected: u64,
    orders: u64,
    inputs: u64,
    relayed: u64,
    bound: u64,
    offered: u64,
    spent: u64,
}

pub(crate) fn measure(hops: u32) -> Measured {
    let mut line = Line::new(hops);
    line.begin();
    let [on_demand, from_pool] = [(); 2].map(|()| {
        let asked = line.now;
        line.order(1);
        while line.supplied.is_empty() {
            line.step();
        }
        let took = line.now - asked;
        line.collect();
        line.rest(20_000);
        took
    });
    // From here on it is all full: what is spent is made anew.
    let warm = Instant::now();
    let before = (line.collected, line.inputs, [line.relayed, line.bound, line.offered], line.spent);
    for _ in 0..BATCHES {
        line.order(BATCH);
        while line.supplied.is_empty() {
            line.step();
        }
        line.collect();
    }
    line.rest(20_000);
    let (keys, inputs, [relayed, bound, offered], spent) = before;
    Measured {
        keys: line.collected - keys,
        took: warm.elapsed(),
        inputs: line.inputs - inputs,
        relayed: line.relayed - relayed,
        bound: line.bound - bound,
        offered: line.offered - offered,
        spent: line.spent - spent,
        on_demand,
        from_pool,
    }
}

impl Line {
    fn new(hops: u32) -> Self {
        let path: Vec<_> = (0..=hops).map(|node| KmId::new(&format!("node-{node}")).expect("valid")).collect();
        let start = Instant::now();
        let ends = [&path[0], &path[path.len() - 1]];
        let mut nodes = BTreeMap::new();
        for (at, id) in path.iter().enumerate() {
            let mut config = Config::new(id.clone());
            for (a, b) in [(at.wrapping_sub(1), at), (at, at + 1)] {
                if let (Some(left), Some(right)) = (path.get(a), path.get(b)) {
                    let peer = if left == id { right } else { left };
                    config.links.push(LinkConfig::new(link(left, right), peer.clone()));
                }
            }
            if hops > 1 && ends.contains(&id) {
                let peer = ends.into_iter().find(|end| *end != id).expect("two ends").clone();
                config.distant = vec![peer];
            }
            (config.qkd_keys_per_link_key, config.draw_limit) = (QKD_KEYS, 4 * QKD_KEYS);
            (config.pool_low, config.pool_high) = (16 << 10, 32 << 10);
            config.applications = [(application("red"), path[0].clone()), (application("blue"), ends[1].clone())].into();
            let mut state = 1 + at as u64;
            // Not for keys: a real generator takes more time.
            let random: Random = Box::new(move |out| {
                for octets in out.chunks_mut(8) {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    octets.copy_from_slice(&(state ^ (state >> 29)).to_be_bytes()[..octets.len()]);
                }
            });
            let now = Now { instant: start, wall: WallTime::from_millis(0) };
            nodes.insert(id.clone(), KeyManager::open(config, MemoryStore::default(), random, now).expect("settings fit"));
        }
        Self {
            hops,
            now: 0,
            start,
            nodes,
            path,
            messages: VecDeque::new(),
            modules: HashMap::new(),
            supplied: Vec::new(),
            collected: 0,
            orders: 0,
            inputs: 0,
            relayed: 0,
            bound: 0,
            offered: 0,
            spent: 0,
        }
    }

    fn begin(&mut self) {
        for (a, b) in (0..self.path.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let ends = (a == self.path.len() - 1 && b == 0) || a == b + 1;
            if ends {
                let (a, b) = (self.path[a].clone(), self.path[b].clone());
                self.feed(&a, Input::PeerUp { peer: b.clone() });
                self.feed(&b, Input::PeerUp { peer: a });
            }
        }
        self.rest(20_000);
    }

    fn order(&mut self, number: u32) {
        self.orders += 1;
        let order = OrderId(self.orders);
        let parties = Parties::new(application("red"), vec![application("blue")]).expect("one slave");
        let number = NonZeroU32::new(number).expect("not zero");
        let node = self.path[0].clone();
        self.feed(&node, Input::Supply { order, parties, number, size: KeySize::BITS_256 });
    }

    fn collect(&mut self) {
        self.orders += 1;
        let (order, keys) = (OrderId(self.orders), std::mem::take(&mut self.supplied));
        let node = self.path[self.hops as usize].clone();
        self.feed(&node, Input::Collect { order, slave: application("blue"), master: application("red"), keys });
    }

    /// Until nothing has happened for so long.
    fn rest(&mut self, units: u64) {
        let until = self.now + units;
        while self.now < until {
            self.step();
        }
    }

    /// The next message, or a timer.
    fn step(&mut self) {
        let timers = self.nodes.iter().filter_map(|(id, node)| Some((node.poll_timeout()?, id.clone()))).min();
        let timer = timers.map(|(at, id)| {
            let units = at.saturating_duration_since(self.start).as_nanos().div_ceil(UNIT.as_nanos()) as u64;
            (units.max(self.now + 1), id)
        });
        let message = self.messages.front().map(|(at, ..)| *at);
        match (message, timer) {
            (Some(at), timer) if timer.as_ref().is_none_or(|(due, _)| at <= *due) => {
                let (at, from, to, message) = self.messages.pop_front().expect("just seen");
                self.now = at;
                self.feed(&to, Input::Message { from, message });
            }
            (_, Some((at, node))) => {
                self.now = at;
                self.feed(&node, Input::Timeout);
            }
            (_, None) => self.now += 1_000,
        }
    }

    fn feed(&mut self, node: &KmId, input: Input) {
        let now = Now { instant: self.start + UNIT * self.now as u32, wall: WallTime::from_millis(self.now) };
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.inputs += 1;
            let manager = self.nodes.get_mut(node).expect("a node of the line");
            manager.handle_input(now, input).expect("the store works");
            while let Some(output) = self.nodes.get_mut(node).and_then(|manager| manager.poll_output().expect("it works")) {
                inputs.extend(self.says(node, output));
            }
        }
    }

    /// Does what a node says. What it is told at once.
    fn says(&mut self, node: &KmId, output: Output) -> Option<Input> {
        match output {
            Output::Send { to, message } => {
                let places = [node, &to].map(|id| self.path.iter().position(|other| other == id).unwrap_or(0));
                // What is said to a node further away goes over all the links between.
                let octets = octets(&message) * places[0].abs_diff(places[1]) as u64;
                match message.body {
                    Body::Offer(_) | Body::OfferAnswer(_) => self.offered += octets,
                    Body::Relay(_) => self.relayed += octets,
                    Body::SupplyNotification(_) | Body::SupplyResponse(_) => self.bound += octets,
                    _ => {}
                }
                self.messages.push_back((self.now + 1, node.clone(), to, message));
                None
            }
            Output::Draw { link, number, .. } => {
                let keys = (0..number).map(|_| {
                    let number = self.modules.len() as u128;
                    let mut octets = vec![0x11; 32];
                    octets[..16].copy_from_slice(&number.to_be_bytes());
                    let key = QkdKey {
                        id: KeyId::from_octets(number.to_be_bytes()),
                        material: KeyMaterial::from_octets(octets).expect("32 octets"),
                    };
                    self.modules.insert(key.id, key.material.duplicate());
                    key
                });
                Some(Input::Drawn { link, keys: keys.collect() })
            }
            Output::Fetch { link, key, qkd_keys } => {
                let fetched = qkd_keys.iter().map(|id| QkdKey { id: *id, material: self.modules[id].duplicate() });
                Some(Input::Fetched { link, key, keys: fetched.collect() })
            }
            Output::RouteWanted { pool, to, .. } => {
                let mut path = self.path.clone();
                if to == path[0] {
                    path.reverse();
                }
                Some(Input::Route { pool, paths: vec![path] })
            }
            Output::Supplied { keys, .. } => {
                if *node == self.path[0] {
                    self.supplied.extend(keys.iter().map(|key| key.id));
                } else {
                    self.collected += keys.len() as u64;
                }
                None
            }
            Output::Refused { reason, .. } => panic!("an order was refused: {reason}"),
            // At the end that takes it out first. A relayed key is no key of a link.
            Output::Event(Event::Spent { pool: relay_core::store::Pool::Outgoing, link, octets, .. })
                if !link.as_str().starts_with("relay") =>
            {
                self.spent += octets as u64;
                None
            }
            _ => None,
        }
    }
}

fn application(name: &str) -> ApplicationId {
    ApplicationId::new(name).expect("valid")
}

fn link(a: &KmId, b: &KmId) -> LinkId {
    LinkId::new(&format!("{a} to {b}")).expect("valid")
}

/// The octets of all fields; of a text those of its length, too.
fn octets(message: &KmMessage) -> u64 {
    let text = |text: &str| 1 + text.len();
    let path = |path: &[KmId]| 1 + path.iter().map(|node| text(node.as_str())).sum::<usize>();
    let proof = |proof: &Proof| text(proof.link.as_str()) + 16 + 4 + 16;
    8 + match &message.body {
        Body::Hello(_) => 32,
        Body::Offer(offer) => text(offer.link.as_str()) + 16 + 16 * offer.qkd_keys.len() + 4 + 8 + 16,
        Body::OfferAnswer(answer) => text(answer.link.as_str()) + 16 + 1,
        Body::SupplyNotification(told) => {
            let parties = [told.parties.master()].into_iter().chain(told.parties.slaves());
            let parties: usize = parties.map(|id| text(id.as_str())).sum();
            16 + parties + 1 + 8 + 8 + text(told.link.as_str()) + 16 + 4 + told.sealed.len() + 16
        }
        Body::SupplyResponse(_) => 17,
        Body::Relay(relay) => {
            let step = match &relay.step {
                RelayStep::Announce(said) => 1 + said.paths.iter().map(|nodes| path(nodes)).sum::<usize>() + 4 + 8 + 16,
                RelayStep::Reserve(said) => 16 + 3 + path(&said.path) + 1 + 4 + 8 + text(said.link.as_str()) + 16 + 1,
                RelayStep::Refused { at, .. } => text(at.as_str()) + 1,
                RelayStep::Key { sealed, .. } => 4 + sealed.len() + 16,
                RelayStep::Complete { .. } => 16,
                _ => 0,
            };
            16 + 1 + step + relay.proof.as_ref().map_or(0, proof)
        }
        _ => 0,
    } as u64
}
