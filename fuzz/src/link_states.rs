//! Sequences of operations on a meshed network of routing engines with a hostile network between them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use itu_y3803::{ApplicationId, KmId, LinkId};
use relay_core::routing::{
    Config, Constraints, FillMetric, Input, LinkStates, LinkStatus, Lsa, LsaAuth, Output, Path, Route, Router,
};

use crate::Outcome;

/// Operations, an octet for each and one for its choice: messages are delivered, lost, doubled, put out of order and changed,
/// links get fuller and emptier, connections break, nodes withdraw and restart, time passes, routes are asked for.
///
/// Whatever happens, no node takes an advertisement that its originator did not make, and every route is a way through the
/// network. When it is left in peace, all nodes come to have the same advertisements, and a route to whom they lead to. Accepted
/// when a route over another node was found meanwhile.
pub fn link_states(input: &[u8]) -> Outcome {
    let mut world = World::new();
    for operation in input.chunks(2) {
        if let [operation, choice] = operation {
            world.perform(*operation, usize::from(*choice));
        }
    }
    world.comes_to_agree();
    if world.relayed { Outcome::Accepted } else { Outcome::Refused }
}

const NAMES: [&str; 4] = ["east", "north", "south", "west"];
/// A ring, one of its sides doubled.
const LINKS: [(usize, usize, &str); 5] = [(0, 1, "1"), (0, 1, "2"), (1, 2, "1"), (2, 3, "1"), (3, 0, "1")];
const PAIRS: [(usize, usize); 4] = [(0, 1), (1, 2), (2, 3), (3, 0)];
const MOST_IN_FLIGHT: usize = 64;
/// Longer than routes are put off after a change.
const QUIET: Duration = Duration::from_secs(10);
/// Ages are not authenticated, so each advertisement may be dropped early once at each node, and is repaired half a minute later.
const PATIENCE: Duration = Duration::from_secs(1_800);

type Random = Box<dyn FnMut(&mut [u8])>;
type Node = LinkStates<FillMetric, Auth, Random>;

/// Remembers what was made.
struct Auth {
    id: KmId,
    made: Rc<RefCell<HashSet<Vec<u8>>>>,
}

impl LsaAuth for Auth {
    fn tag(&mut self, lsa: &[u8]) -> Vec<u8> {
        self.made.borrow_mut().insert(lsa.to_vec());
        mac(&self.id, lsa).to_vec()
    }

    fn verify(&mut self, origin: &KmId, lsa: &[u8], tag: &[u8]) -> bool {
        tag == mac(origin, lsa)
    }
}

fn mac(origin: &KmId, octets: &[u8]) -> [u8; 8] {
    let octets = origin.as_str().bytes().chain(octets.iter().copied());
    let hash = octets.fold(7_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17));
    hash.to_be_bytes()
}

struct World {
    now: Instant,
    nodes: Vec<Node>,
    boots: [u64; 4],
    connected: BTreeSet<(usize, usize)>,
    /// Messages with sender and receiver.
    in_flight: Vec<(usize, usize, Vec<u8>)>,
    made: Rc<RefCell<HashSet<Vec<u8>>>>,
    relayed: bool,
}

impl World {
    fn new() -> Self {
        let made = Rc::default();
        let now = Instant::now();
        let nodes = (0..NAMES.len()).map(|at| node(at, 0, &made, now)).collect();
        let connected = BTreeSet::new();
        let mut world = Self { now, nodes, boots: [0; 4], connected, in_flight: Vec::new(), made, relayed: false };
        for pair in PAIRS {
            world.connect(pair, true);
        }
        for (link, _) in LINKS.iter().enumerate() {
            world.link(link, 0, Some(100));
            world.link(link, 1, Some(100));
        }
        world
    }

    fn perform(&mut self, operation: u8, choice: usize) {
        let node = choice % NAMES.len();
        match operation % 14 {
            0 | 1 => self.deliver(choice, |_| {}),
            2 => drop(self.pick(choice)),
            3 => {
                if let Some(message) = self.pick(choice) {
                    self.in_flight.extend([message.clone(), message]);
                }
            }
            4 | 5 => {
                // 5: the two octets after version, kind and count, which are the age of the first advertisement
                self.deliver(choice / 16, |octets| match operation % 14 {
                    4 => octets.iter_mut().skip(choice * 5).take(1).for_each(|octet| *octet ^= 1 << (choice % 8)),
                    _ => octets.iter_mut().skip(10).take(2).for_each(|octet| *octet = choice as u8),
                });
            }
            6 => self.link(choice % 5, choice / 5 % 2, Some((choice / 10 * 5) as u64)),
            7 => self.link(choice % 5, choice / 5 % 2, None),
            8 => self.connect(PAIRS[node], (choice / 4).is_multiple_of(2)),
            9 => {
                let applications = ["blue", "red"].iter().take(choice / 4 % 3);
                let applications = applications.map(|id| ApplicationId::new(id).expect("an identifier")).collect();
                self.feed(node, Input::Applications(applications));
            }
            10 => self.restart(node, choice / 4 % 4),
            11 => self.advance(Duration::from_millis(1 << (choice % 23))),
            12 => {
                let path = self.route(node, choice / 4 % NAMES.len());
                self.relayed |= path.is_some_and(|path| path.hops.len() > 1);
            }
            _ => self.settle(choice % 32),
        }
    }

    fn feed(&mut self, node: usize, input: Input) {
        self.nodes[node].handle_input(self.now, input);
        while let Some(output) = self.nodes[node].poll_output() {
            match output {
                Output::Send { to, octets } => {
                    let to = number(&to);
                    assert!(self.connected.contains(&(node.min(to), node.max(to))), "a message to no neighbour");
                    self.in_flight.push((node, to, octets));
                }
                Output::Boot(boot) => self.boots[node] = self.boots[node].max(boot),
                _ => {}
            }
        }
        let excess = self.in_flight.len().saturating_sub(MOST_IN_FLIGHT);
        self.in_flight.drain(..excess);
        let made = self.made.borrow();
        for lsa in self.nodes[node].advertisements() {
            assert!(made.contains(&lsa.to_octets()), "{} did not make this", lsa.origin);
        }
    }

    fn pick(&mut self, choice: usize) -> Option<(usize, usize, Vec<u8>)> {
        let count = self.in_flight.len();
        (count > 0).then(|| self.in_flight.remove(choice % count))
    }

    fn deliver(&mut self, choice: usize, change: impl FnOnce(&mut [u8])) {
        if let Some((from, to, mut octets)) = self.pick(choice) {
            change(&mut octets);
            self.feed(to, Input::Message { from: id(from), octets });
        }
    }

    /// One end sees the link as so full; or not at all.
    fn link(&mut self, link: usize, end: usize, percent: Option<u64>) {
        let (a, b, name) = LINKS[link];
        let (here, there) = if end == 0 { (a, b) } else { (b, a) };
        let (neighbour, link) = (id(there), LinkId::new(name).expect("an identifier"));
        let input = match percent {
            Some(percent) => {
                let stored = percent * 1_000;
                let status =
                    LinkStatus { up: true, stored, target: 100_000, floor: 0, rate: 0, consumption: 0, authentication: true };
                Input::Link { neighbour, link, status, labels: Vec::new() }
            }
            None => Input::LinkGone { neighbour, link },
        };
        self.feed(here, input);
    }

    fn connect(&mut self, (a, b): (usize, usize), up: bool) {
        let pair = (a.min(b), a.max(b));
        let changed = if up { self.connected.insert(pair) } else { self.connected.remove(&pair) };
        for (here, there) in [(a, b), (b, a)] {
            let peer = id(there);
            if changed {
                self.feed(here, if up { Input::PeerUp { peer } } else { Input::PeerDown { peer } });
            }
        }
    }

    /// A node leaves, or starts again, with or without its memory of how often it did.
    fn restart(&mut self, at: usize, how: usize) {
        if how == 0 {
            return self.feed(at, Input::Withdraw);
        }
        let pairs: Vec<_> = PAIRS.into_iter().filter(|(a, b)| *a == at || *b == at).collect();
        pairs.iter().for_each(|pair| self.connect(*pair, false));
        // Who forgot its boots is told them by those that have its advertisement, or remember it.
        self.boots[at] = if how == 1 { 0 } else { self.boots[at] + 1 };
        self.nodes[at] = node(at, self.boots[at], &self.made, self.now);
        pairs.iter().for_each(|pair| self.connect(*pair, true));
        for (link, (a, b, _)) in LINKS.iter().enumerate() {
            for (end, _) in [a, b].into_iter().enumerate().filter(|(_, end)| **end == at) {
                self.link(link, end, Some(100));
            }
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        for node in 0..NAMES.len() {
            for round in 0.. {
                self.feed(node, Input::Timeout);
                if self.nodes[node].poll_timeout().is_none_or(|next| next > self.now) {
                    break;
                }
                assert!(round < 100, "a timer that does nothing");
            }
        }
    }

    /// Everything arrives, for some rounds.
    fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for _ in 0..self.in_flight.len() {
                self.deliver(0, |_| {});
            }
            self.advance(Duration::from_millis(100));
        }
    }

    /// A path leads over links that exist, to no node twice.
    fn route(&mut self, from: usize, to: usize) -> Option<Path> {
        let Route::Path(path) = self.nodes[from].route(self.now, &id(to), &Constraints::default()) else { return None };
        let mut at = from;
        let mut visited = BTreeSet::from([from]);
        for hop in &path.hops {
            let next = number(&hop.to);
            let is_this = |&(a, b, name): &(usize, usize, &str)| {
                name == hop.link.as_str() && (a.min(b), a.max(b)) == (at.min(next), at.max(next))
            };
            assert!(LINKS.iter().any(is_this), "no such link");
            assert!(visited.insert(next), "a loop");
            at = next;
        }
        assert_eq!(at, to, "leads elsewhere");
        Some(path)
    }

    fn comes_to_agree(&mut self) {
        for pair in PAIRS {
            self.connect(pair, true);
        }
        let end = self.now + PATIENCE;
        let (mut known, mut since) = (Vec::new(), self.now);
        while known.is_empty() || self.now < since + QUIET {
            assert!(self.now < end, "they do not agree");
            self.settle(1);
            let all: Vec<Vec<Lsa>> = self.nodes.iter().map(|node| node.advertisements().cloned().collect()).collect();
            if all != known || all.iter().any(|one| *one != all[0]) {
                (known, since) = (all, self.now);
            }
        }
        let advertised = known.swap_remove(0);
        for from in 0..NAMES.len() {
            let reachable = reachable(&advertised, from);
            for to in 0..NAMES.len() {
                assert_eq!(self.route(from, to).is_some(), reachable.contains(&to), "from {from} to {to}");
            }
        }
    }
}

/// Where the links lead that both ends advertise as usable.
fn reachable(advertised: &[Lsa], from: usize) -> BTreeSet<usize> {
    let by_origin: BTreeMap<usize, &Lsa> = advertised.iter().map(|lsa| (number(&lsa.origin), lsa)).collect();
    let mut reachable = BTreeSet::from([from]);
    let mut next = vec![from];
    while let Some(at) = next.pop() {
        for link in by_origin.get(&at).into_iter().flat_map(|lsa| &lsa.links) {
            let there = number(&link.neighbour);
            let back = by_origin.get(&there).and_then(|lsa| lsa.link(&id(at), &link.link));
            if link.cost.is_some() && back.is_some_and(|back| back.cost.is_some()) && reachable.insert(there) {
                next.push(there);
            }
        }
    }
    reachable
}

fn node(at: usize, boot: u64, made: &Rc<RefCell<HashSet<Vec<u8>>>>, now: Instant) -> Node {
    let config = Config { boot, ..Config::new(id(at)) };
    let auth = Auth { id: id(at), made: Rc::clone(made) };
    let mut state = 1 + at as u64;
    let random: Random = Box::new(move |out| {
        out.fill_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
    });
    LinkStates::new(config, FillMetric::default(), auth, random, now)
}

fn id(node: usize) -> KmId {
    KmId::new(NAMES[node]).expect("an identifier")
}

fn number(id: &KmId) -> usize {
    NAMES.iter().position(|name| *name == id.as_str()).expect("a node of this network")
}
