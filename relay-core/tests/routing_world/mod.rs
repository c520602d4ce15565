//! A network of routing engines on one queue of events in virtual time.

#[expect(dead_code, reason = "shared with the other simulation")]
#[path = "../world/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use itu_y3803::{KmId, LinkId};
use petgraph::graph::{NodeIndex, UnGraph};
use random::Random;
use relay_core::routing::{
    Config, Constraints, FillMetric, Input, LinkStates, LinkStatus, Lsa, LsaAuth, Metric, Output, Path, Route, Router,
};

/// 17 nodes, 26 links.
pub(crate) const NOBEL_GERMANY: [(&str, &str); 26] = [
    ("berlin", "hamburg"),
    ("berlin", "hannover"),
    ("berlin", "leipzig"),
    ("bremen", "hamburg"),
    ("bremen", "hannover"),
    ("bremen", "norden"),
    ("dortmund", "essen"),
    ("dortmund", "hannover"),
    ("dortmund", "koeln"),
    ("dortmund", "norden"),
    ("duesseldorf", "essen"),
    ("duesseldorf", "koeln"),
    ("frankfurt", "hannover"),
    ("frankfurt", "koeln"),
    ("frankfurt", "leipzig"),
    ("frankfurt", "mannheim"),
    ("frankfurt", "nuernberg"),
    ("hamburg", "hannover"),
    ("hannover", "leipzig"),
    ("karlsruhe", "mannheim"),
    ("karlsruhe", "stuttgart"),
    ("leipzig", "nuernberg"),
    ("muenchen", "nuernberg"),
    ("muenchen", "ulm"),
    ("nuernberg", "stuttgart"),
    ("stuttgart", "ulm"),
];

/// The longest way of a message, in microseconds.
const HOP: u64 = 50_000;
const SECOND: u64 = 1_000_000;
/// Faults happen until then.
const FAULTS_END: u64 = 120 * SECOND;
/// By then damped links are usable again.
const END: u64 = FAULTS_END + 420 * SECOND;
/// The longest wait before something is repeated.
const RETRANSMIT: u64 = 4 * SECOND;

pub(crate) fn km(id: &str) -> KmId {
    KmId::new(id).expect("valid")
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) messages: u64,
    /// Advertisements sent are in so many of them.
    pub(crate) floods: u64,
    pub(crate) originated: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) corrupted: u64,
    pub(crate) cuts: u64,
    pub(crate) crashes: u64,
    /// Restarts without the boot counter.
    pub(crate) forgetful: u64,
    pub(crate) withdrawn: u64,
    pub(crate) routes: u64,
    pub(crate) unreachable: u64,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.floods += other.floods;
        self.originated += other.originated;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.corrupted += other.corrupted;
        self.cuts += other.cuts;
        self.crashes += other.crashes;
        self.forgetful += other.forgetful;
        self.withdrawn += other.withdrawn;
        self.routes += other.routes;
        self.unreachable += other.unreachable;
    }
}

struct Auth(KmId);

fn mac(origin: &KmId, octets: &[u8]) -> [u8; 8] {
    let hash = origin
        .as_str()
        .bytes()
        .chain(octets.iter().copied())
        .fold(7_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17));
    hash.to_be_bytes()
}

impl LsaAuth for Auth {
    fn tag(&mut self, lsa: &[u8]) -> Vec<u8> {
        mac(&self.0, lsa).to_vec()
    }

    fn verify(&mut self, origin: &KmId, lsa: &[u8], tag: &[u8]) -> bool {
        tag == mac(origin, lsa)
    }
}

type Engine<M> = LinkStates<M, Auth, Random>;

struct Node<M> {
    id: KmId,
    /// `None` while it is down.
    engine: Option<Engine<M>>,
    /// What is on its disk.
    boot: u64,
    /// Its clock began at another time, in microseconds, and runs by so many thousandths faster.
    offset: u64,
    drift: i64,
    wake: Option<u64>,
    /// Of its own last advertisement.
    version: Option<relay_core::routing::Version>,
}

struct Link {
    ends: [usize; 2],
    name: LinkId,
    up: bool,
    status: LinkStatus,
}

enum Event {
    Wake(usize),
    Deliver {
        from: usize,
        to: usize,
        connection: u64,
        octets: Vec<u8>,
    },
    Fault,
    /// All agree, if no advertisement was made since.
    Agreed(u64),
    Restart(usize),
    /// After it has withdrawn.
    Leave(usize),
}

pub(crate) struct World<M> {
    now: u64,
    base: Instant,
    metric: M,
    random: Random,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    nodes: Vec<Node<M>>,
    links: Vec<Link>,
    /// Between these two there is a connection, with this number.
    connections: BTreeMap<(usize, usize), u64>,
    faulty: bool,
    corrupting: bool,
    tell: bool,
    report: Report,
}

impl World<FillMetric> {
    /// A connected graph of 2 to 12 nodes with some parallel links.
    pub(crate) fn random(seed: u64, tell: bool) -> Self {
        let mut random = Random::new(seed);
        let nodes = 2 + random.below(11) as usize;
        let names: Vec<String> = (0..nodes).map(|node| format!("n{node:02}")).collect();
        let mut links = Vec::new();
        for node in 1..nodes {
            links.push((names[random.below(node as u64) as usize].as_str(), names[node].as_str()));
        }
        for _ in 0..random.below(2 * nodes as u64) {
            let (a, b) = (random.below(nodes as u64) as usize, random.below(nodes as u64) as usize);
            if a != b {
                links.push((names[a].as_str(), names[b].as_str()));
            }
        }
        let mut world = Self::build(&links, FillMetric::default(), random, tell);
        world.faulty = true;
        world.corrupting = seed.is_multiple_of(4);
        world.after(SECOND, Event::Fault);
        world
    }

    pub(crate) fn run(mut self) -> Report {
        while self.now < END {
            self.step(END);
        }
        for _ in 0..3 {
            // an age that was corrupted may just now have ended an advertisement, until databases are compared
            if self.corrupting && self.disagreement().is_some() {
                self.run_for(Duration::from_secs(35));
            }
        }
        self.assert_agreed();
        let before = self.report;
        self.run_for(Duration::from_secs(60));
        assert!(self.corrupting || before.originated == self.report.originated, "advertisements without a cause");
        assert!(self.corrupting || before.floods == self.report.floods, "endless flooding");
        self.check_routes();
        self.report
    }

    /// Against what is true: which links are up, and what nodes at both ends say they cost.
    fn check_routes(&mut self) {
        let alive: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].engine.is_some()).collect();
        let Some(&first) = alive.first() else { return };
        for &from in &alive {
            let mut graph = UnGraph::<(), u32>::default();
            for _ in &self.nodes {
                graph.add_node(());
            }
            for link in self.links.iter().filter(|link| self.is_usable(link)) {
                let [a, b] = link.ends;
                let own = |here: usize, there: usize| {
                    let engine = self.nodes[here].engine.as_ref().expect("alive");
                    let lsa = engine.advertisements().find(|lsa| lsa.origin == self.nodes[here].id).expect("its own");
                    let advert = lsa.link(&self.nodes[there].id, &link.name).expect("told");
                    u32::from(advert.cost.expect("usable again").get())
                };
                graph.add_edge(NodeIndex::new(a), NodeIndex::new(b), own(a, b).max(own(b, a)));
            }
            let distances = petgraph::algo::dijkstra(&graph, NodeIndex::new(from), None, |edge| *edge.weight());
            for to in 0..self.nodes.len() {
                let id = self.nodes[to].id.clone();
                let now = self.local(from);
                let engine = self.nodes[from].engine.as_mut().expect("alive");
                match (engine.route(now, &id, &Constraints::default()), distances.get(&NodeIndex::new(to))) {
                    (Route::Path(path), Some(&distance)) => {
                        let good = engine.good_paths(&id, 1, &Constraints::default());
                        assert!(from == to || good[0].cost == distance, "{from} to {to}: {good:?}, not {distance}");
                        assert!(path.cost <= distance * 120 / 100, "{from} to {to}: {path:?}, not {distance}");
                        self.report.routes += 1;
                        self.assert_alive(from, &path);
                    }
                    (Route::Unreachable(_), None) => self.report.unreachable += 1,
                    (route, distance) => panic!("{first} {from} to {to}: {route:?}, but {distance:?}"),
                }
            }
        }
    }
}

impl<M: Metric + Copy> World<M> {
    /// Without faults.
    pub(crate) fn of(links: &[(&str, &str)], metric: M, seed: u64) -> Self {
        Self::build(links, metric, Random::new(seed), false)
    }

    fn build(links: &[(&str, &str)], metric: M, mut random: Random, tell: bool) -> Self {
        let names: BTreeSet<&str> = links.iter().flat_map(|link| [link.0, link.1]).collect();
        let number: BTreeMap<&str, usize> = names.iter().enumerate().map(|(number, name)| (*name, number)).collect();
        let mut world = Self {
            now: 0,
            base: Instant::now(),
            metric,
            queue: BTreeMap::new(),
            events: 0,
            nodes: Vec::new(),
            links: Vec::new(),
            connections: BTreeMap::new(),
            faulty: false,
            corrupting: false,
            tell,
            report: Report::default(),
            random: Random::new(random.next()),
        };
        for name in names {
            let (offset, drift) = (random.below(1 << 40), random.below(21) as i64 - 10);
            world.nodes.push(Node { id: km(name), engine: None, boot: 0, offset, drift, wake: None, version: None });
        }
        for (at, (a, b)) in links.iter().enumerate() {
            let status = full(100);
            let name = LinkId::new(&format!("{a}-{b} {at}")).expect("valid");
            world.links.push(Link { ends: [number[a], number[b]], name, up: true, status });
        }
        for node in 0..world.nodes.len() {
            world.start(node);
        }
        world
    }

    pub(crate) fn report(&self) -> Report {
        self.report
    }

    pub(crate) fn names(&self) -> Vec<KmId> {
        self.nodes.iter().map(|node| node.id.clone()).collect()
    }

    pub(crate) fn good_paths(&self, from: usize, to: &KmId, most: usize) -> Vec<Path> {
        self.nodes[from].engine.as_ref().expect("up").good_paths(to, most, &Constraints::default())
    }

    pub(crate) fn disjoint_pair(&self, from: usize, to: &KmId) -> Vec<Path> {
        self.nodes[from].engine.as_ref().expect("up").disjoint_paths(to, 2, &Constraints::default())
    }

    pub(crate) fn route(&mut self, from: &str, to: &str) -> Path {
        match self.any_route(from, to) {
            Route::Path(path) => {
                self.assert_alive(self.number(from), &path);
                path
            }
            other => panic!("{from} to {to}: {other:?}"),
        }
    }

    pub(crate) fn any_route(&mut self, from: &str, to: &str) -> Route {
        let from = self.number(from);
        let now = self.local(from);
        self.nodes[from].engine.as_mut().expect("up").route(now, &km(to), &Constraints::default())
    }

    pub(crate) fn cut(&mut self, a: &str, b: &str) {
        self.set_up(self.link(a, b), false);
    }

    pub(crate) fn restore(&mut self, a: &str, b: &str) {
        self.set_up(self.link(a, b), true);
    }

    pub(crate) fn set_fill(&mut self, a: &str, b: &str, percent: u64) {
        self.set_status(a, b, full(percent));
    }

    pub(crate) fn set_status(&mut self, a: &str, b: &str, status: LinkStatus) {
        let link = self.link(a, b);
        self.links[link].status = status;
        self.tell_ends(link);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time.as_micros() as u64;
        while self.now < end {
            self.step(end);
        }
    }

    /// All nodes that are connected have the same advertisements.
    pub(crate) fn assert_agreed(&self) {
        if let Some(what) = self.disagreement() {
            panic!("at {:.3} s: {what}", self.now as f64 / SECOND as f64);
        }
    }

    fn disagreement(&self) -> Option<String> {
        let databases: Vec<Option<Vec<&Lsa>>> =
            self.nodes.iter().map(|node| node.engine.as_ref().map(|engine| engine.advertisements().collect())).collect();
        self.connections.keys().find(|(a, b)| databases[*a] != databases[*b]).map(|&(a, b)| {
            let versions = |node: usize| -> Vec<_> {
                let all = databases[node].iter().flatten();
                all.map(|lsa| format!("{} {}.{}", lsa.origin, lsa.version.boot, lsa.version.sequence)).collect()
            };
            format!("{} has {:?}\n{} has {:?}", self.nodes[a].id, versions(a), self.nodes[b].id, versions(b))
        })
    }

    fn assert_alive(&self, from: usize, path: &Path) {
        let mut at = &self.nodes[from].id;
        for hop in &path.hops {
            let link = self.links.iter().find(|link| link.name == hop.link).expect("a link of the network");
            let ends = link.ends.map(|end| &self.nodes[end].id);
            assert!(ends == [at, &hop.to] || ends == [&hop.to, at], "{path:?}");
            assert!(self.is_usable(link), "dead: {path:?}");
            at = &hop.to;
        }
    }

    fn is_usable(&self, link: &Link) -> bool {
        link.up && self.connections.contains_key(&(link.ends[0].min(link.ends[1]), link.ends[0].max(link.ends[1])))
    }

    fn number(&self, name: &str) -> usize {
        self.nodes.iter().position(|node| node.id.as_str() == name).expect("a node of the network")
    }

    fn link(&self, a: &str, b: &str) -> usize {
        let (a, b) = (self.number(a), self.number(b));
        self.links.iter().position(|link| link.ends == [a, b] || link.ends == [b, a]).expect("a link of the network")
    }

    fn story(&self, text: impl Fn() -> String) {
        if self.tell {
            println!("{:10.6} {}", self.now as f64 / SECOND as f64, text());
        }
    }

    fn after(&mut self, time: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.now + time, self.events), event);
    }

    /// The clock of a node.
    fn local(&self, node: usize) -> Instant {
        let Node { offset, drift, .. } = self.nodes[node];
        let drifted = self.now as i64 * (1_000 + drift) / 1_000;
        self.base + Duration::from_micros(offset + drifted as u64)
    }

    fn step(&mut self, end: u64) {
        let Some((&(at, _), _)) = self.queue.first_key_value() else {
            self.now = end;
            return;
        };
        if at > end {
            self.now = end;
            return;
        }
        let ((at, _), event) = self.queue.pop_first().expect("just seen");
        self.now = at;
        match event {
            Event::Wake(node) => {
                if self.nodes[node].wake == Some(at) {
                    self.nodes[node].wake = None;
                    self.input(node, Input::Timeout);
                }
            }
            Event::Deliver { from, to, connection, octets } => {
                if self.connections.get(&(from.min(to), from.max(to))) == Some(&connection) {
                    let from = self.nodes[from].id.clone();
                    self.input(to, Input::Message { from, octets });
                }
            }
            Event::Fault => self.fault(),
            Event::Agreed(originated) => {
                if originated == self.report.originated && self.now > FAULTS_END && !self.corrupting {
                    self.assert_agreed();
                }
            }
            Event::Restart(node) => self.start(node),
            Event::Leave(node) => self.crash(node),
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        let now = self.local(node);
        let Node { id, engine: Some(engine), .. } = &mut self.nodes[node] else { return };
        engine.handle_input(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = engine.poll_output() {
            outputs.push(output);
        }
        let own = engine.advertisements().find(|lsa| lsa.origin == *id);
        let (version, text) = (own.map(|lsa| lsa.version), own.filter(|_| self.tell).map(|own| format!("{own:?}")));
        if version != self.nodes[node].version {
            self.nodes[node].version = version;
            self.report.originated += 1;
            self.story(|| format!("advertises {text:?}"));
            let bound = self.nodes.len() as u64 * HOP + SECOND + RETRANSMIT;
            // faults that were before its end may have left something to be repeated
            let wait = FAULTS_END.saturating_sub(self.now) + bound;
            self.after(wait, Event::Agreed(self.report.originated));
        }
        for output in outputs {
            self.output(node, output);
        }
        let next = self.nodes[node].engine.as_ref().and_then(LinkStates::poll_timeout);
        let Node { offset, drift, wake, .. } = &self.nodes[node];
        let Some(next) = next else { return };
        let local = next.saturating_duration_since(self.base).as_micros() as u64;
        let at = (local.saturating_sub(*offset) as i64 * 1_000 / (1_000 + drift)) as u64 + 2;
        let at = at.max(self.now + 1);
        if wake.is_none_or(|wake| wake != at) {
            self.nodes[node].wake = Some(at);
            self.after(at - self.now, Event::Wake(node));
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, octets } => {
                let to = self.number(to.as_str());
                let Some(&connection) = self.connections.get(&(node.min(to), node.max(to))) else { return };
                self.report.messages += 1;
                self.report.floods += u64::from(octets[1] == 1);
                let noisy = self.faulty && self.now < FAULTS_END;
                if noisy && self.random.one_in(10) {
                    self.report.lost += 1;
                    return;
                }
                let copies = if noisy && self.random.one_in(10) { 2 } else { 1 };
                self.report.repeated += copies - 1;
                for _ in 0..copies {
                    let mut octets = octets.clone();
                    if noisy && self.corrupting && self.random.one_in(20) {
                        let at = self.random.below(octets.len() as u64) as usize;
                        octets[at] ^= 1 << self.random.below(8);
                        self.report.corrupted += 1;
                    }
                    let delay = 1_000 + self.random.below(HOP - 1_000);
                    self.after(delay, Event::Deliver { from: node, to, connection, octets });
                }
            }
            Output::Boot(boot) => self.nodes[node].boot = boot,
            Output::Misbehaved { from, what } => {
                assert!(self.corrupting, "{from} is said to misbehave: {what:?}");
            }
            Output::Routes => self.story(|| format!("{} has routes", self.nodes[node].id)),
            other => panic!("what is {other:?}?"),
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].engine.is_some() {
            return;
        }
        self.nodes[node].boot += 1;
        let (id, boot, now) = (self.nodes[node].id.clone(), self.nodes[node].boot, self.local(node));
        self.story(|| format!("{id} starts, boot {boot}"));
        let config = Config { boot, ..Config::new(id.clone()) };
        let random = Random::new(self.random.next());
        self.nodes[node].engine = Some(LinkStates::new(config, self.metric, Auth(id), random, now));
        self.nodes[node].version = None;
        for link in 0..self.links.len() {
            if self.links[link].ends.contains(&node) {
                self.connect(link);
                self.tell_ends(link);
            }
        }
        self.input(node, Input::Timeout);
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].engine.take().is_none() {
            return;
        }
        self.report.crashes += 1;
        self.story(|| format!("{} crashes", self.nodes[node].id));
        self.nodes[node].wake = None;
        let gone: Vec<_> = self.connections.keys().copied().filter(|&(a, b)| a == node || b == node).collect();
        gone.into_iter().for_each(|pair| self.disconnect(pair));
        if self.random.one_in(3) {
            self.report.forgetful += 1;
            self.nodes[node].boot = 0;
        }
        if !self.random.one_in(4) {
            let down = SECOND / 10 + self.random.below(20 * SECOND);
            self.after(down, Event::Restart(node));
        }
    }

    /// Neighbours are connected while one of their links is up.
    fn connect(&mut self, link: usize) {
        let [a, b] = self.links[link].ends;
        let pair = (a.min(b), a.max(b));
        let alive = [a, b].iter().all(|&end| self.nodes[end].engine.is_some());
        if self.links[link].up && alive && !self.connections.contains_key(&pair) {
            self.events += 1;
            self.connections.insert(pair, self.events);
            for (here, there) in [(a, b), (b, a)] {
                let peer = self.nodes[there].id.clone();
                self.input(here, Input::PeerUp { peer });
            }
        }
    }

    fn disconnect(&mut self, pair: (usize, usize)) {
        self.connections.remove(&pair);
        for (here, there) in [pair, (pair.1, pair.0)] {
            let peer = self.nodes[there].id.clone();
            self.input(here, Input::PeerDown { peer });
        }
    }

    fn set_up(&mut self, link: usize, up: bool) {
        self.story(|| format!("{} is {}", self.links[link].name, if up { "up" } else { "down" }));
        self.links[link].up = up;
        self.report.cuts += u64::from(!up);
        self.connect(link);
        let [a, b] = self.links[link].ends;
        let pair = (a.min(b), a.max(b));
        let others = self.links.iter().any(|link| link.up && (link.ends == [a, b] || link.ends == [b, a]));
        if !others && self.connections.contains_key(&pair) {
            self.disconnect(pair);
        }
        self.tell_ends(link);
    }

    fn tell_ends(&mut self, link: usize) {
        let Link { ends: [a, b], ref name, up, status } = self.links[link];
        let name = name.clone();
        for (here, there) in [(a, b), (b, a)] {
            let neighbour = self.nodes[there].id.clone();
            let status = LinkStatus { up, ..status };
            self.input(here, Input::Link { neighbour, link: name.clone(), status, labels: Vec::new() });
        }
    }

    fn fault(&mut self) {
        if self.now >= FAULTS_END {
            return;
        }
        let next = SECOND / 50 + self.random.below(8 * SECOND);
        self.after(next, Event::Fault);
        let link = self.random.below(self.links.len() as u64) as usize;
        let node = self.random.below(self.nodes.len() as u64) as usize;
        match self.random.below(10) {
            0..4 => self.set_up(link, !self.links[link].up),
            4 | 5 => self.crash(node),
            6 => self.start(node),
            7 => {
                self.story(|| format!("{} withdraws", self.nodes[node].id));
                self.report.withdrawn += u64::from(self.nodes[node].engine.is_some());
                self.input(node, Input::Withdraw);
                self.after(3 * SECOND, Event::Leave(node));
            }
            _ => {
                let percent = self.random.below(101);
                self.links[link].status = full(percent);
                self.tell_ends(link);
            }
        }
    }
}

/// A pool that is full to so many percent.
fn full(percent: u64) -> LinkStatus {
    LinkStatus {
        up: true,
        stored: 10_000 * percent,
        target: 1_000_000,
        floor: 1_000,
        rate: 1_000,
        consumption: 1_000,
        authentication: true,
    }
}
