//! What a change costs in messages and time: engines of all nodes on one queue of events.
//!
//! Two ways of holding the engines, which give the same counts (a test and the program compare them):
//!
//! * [`Databases::Full`]: every engine has learnt of all nodes by flooding, as in a real network. Memory grows with the square
//!   of the number of nodes.
//! * [`Databases::Changed`]: nothing is delivered before the change, so every engine knows itself and later the node that
//!   changes. What an engine does with an advertisement that is new to it does not depend on what it knows of third nodes, so the
//!   messages are the same; the time to compute routes is missing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use itu_y3803::KmId;
use relay_core::routing::{Input, Output, Version};

use super::speaker::{ACKNOWLEDGEMENT, FLOOD, Router, id, link_input, router};
use crate::topology::{Cut, Topology};

const SECOND: u64 = 1_000_000;
/// Without answers, engines say everything again 1, 3, 7, 11 … s after their start, and nothing in between.
const QUIET_FROM: u64 = 63 * SECOND;
/// For so long.
const QUIET_FOR: u64 = 4 * SECOND;
/// Nothing but digests passes any more, if there was no other message for so long.
const SETTLED: u64 = 10 * SECOND;

/// What the engines know before the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Databases {
    /// All nodes.
    Full,
    /// Themselves.
    Changed,
}

/// What happened until all had learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flood {
    /// Messages with advertisements.
    pub floods: u64,
    /// Messages with acknowledgements.
    pub acknowledgements: u64,
    /// Octets of both.
    pub octets: u64,
    /// Virtual time until the last node had it.
    pub known: Duration,
    /// How many nodes have it.
    pub nodes: usize,
}

/// The network.
pub struct Network<'a> {
    topology: &'a Topology,
    databases: Databases,
    neighbours: Vec<Vec<(usize, usize)>>,
    numbers: BTreeMap<KmId, usize>,
    engines: Vec<Router>,
    wakes: Vec<Option<u64>>,
    start: Instant,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    counter: u64,
    flood: Flood,
    /// When a flood or acknowledgement was sent last.
    last_message: u64,
    /// When a node had other routes last.
    last_routes: u64,
    muted: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Deliver { from: usize, to: usize, octets: Vec<u8> },
    Wake(usize),
}

impl<'a> Network<'a> {
    /// All nodes start at once. When this returns, they are settled; the virtual time that this took is [`elapsed`](Self::elapsed).
    #[must_use]
    pub fn new(topology: &'a Topology, databases: Databases, changing: usize) -> Self {
        let start = Instant::now();
        let nodes = topology.nodes.len();
        let mut network = Self {
            topology,
            databases,
            neighbours: topology.neighbours(Cut::Nothing),
            numbers: (0..nodes).map(|node| (id(topology, node), node)).collect(),
            engines: (0..nodes).map(|node| router(topology, node, start)).collect(),
            wakes: vec![None; nodes],
            start,
            now: 0,
            queue: BinaryHeap::new(),
            counter: 0,
            flood: Flood::default(),
            last_message: 0,
            last_routes: 0,
            muted: databases == Databases::Changed,
        };
        for node in 0..nodes {
            for (peer, link) in network.neighbours[node].clone() {
                if databases == Databases::Full || node == changing {
                    network.input(node, link_input(topology, node, link, true));
                }
                network.input(node, Input::PeerUp { peer: id(topology, peer) });
            }
        }
        match databases {
            Databases::Full => while network.step(u64::MAX) && network.now < network.last_message + SETTLED {},
            Databases::Changed => {
                while network.step(QUIET_FROM + SECOND / 10) {}
                network.now = QUIET_FROM + SECOND / 10;
            }
        }
        network.muted = false;
        network
    }

    /// The virtual time.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// The virtual time at which the last flood or acknowledgement was sent.
    #[must_use]
    pub fn last_message(&self) -> Duration {
        Duration::from_micros(self.last_message)
    }

    /// Messages so far that were floods or acknowledgements.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.flood.floods + self.flood.acknowledgements
    }

    /// Whether all nodes know the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let known =
            |engine: &Router| -> Vec<_> { engine.advertisements().map(|lsa| (lsa.origin.clone(), lsa.version)).collect() };
        let first = known(&self.engines[0]);
        first.len() == self.engines.len() && self.engines[1..].iter().all(|engine| known(engine) == first)
    }

    /// Lets time pass.
    pub fn rest(&mut self, time: Duration) {
        let end = self.now + u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        while self.step(end) {}
        self.now = end;
    }

    /// One end of a link tells that it is down: one advertisement goes through the network.
    pub fn one_end_tells(&mut self, node: usize, link: usize) -> Flood {
        (self.flood, self.last_message) = (Flood::default(), self.now);
        let began = self.now;
        self.input(node, link_input(self.topology, node, link, false));
        let origin = id(self.topology, node);
        let version = self.version(node, &origin);
        let deadline = began + QUIET_FOR - SECOND / 5;
        let mut known = began;
        while self.step(deadline) {
            // The last change of who knows is when the last of them learnt.
            if self.last_message == self.now {
                known = self.now;
            }
        }
        self.flood.nodes = (0..self.engines.len()).filter(|&at| self.version(at, &origin) == version).count();
        // Whoever learns of it acknowledges at once, so the last acknowledgement is sent when the last one learnt.
        self.flood.known = Duration::from_micros(known - began);
        self.flood
    }

    /// Both ends tell: two advertisements. Virtual time until the last node had other routes, and real time of all nodes together.
    pub fn both_ends_tell(&mut self, link: usize) -> (Duration, Duration) {
        let (began, real) = (self.now, Instant::now());
        self.last_routes = began;
        for node in self.topology.links[link].ends {
            self.input(node, link_input(self.topology, node, link, false));
        }
        while self.step(began + QUIET_FOR) {}
        (Duration::from_micros(self.last_routes - began), real.elapsed())
    }

    fn version(&self, at: usize, origin: &KmId) -> Option<Version> {
        self.engines[at].advertisements().find(|lsa| lsa.origin == *origin).map(|lsa| lsa.version)
    }

    /// Does the next thing, if there is one until `end`.
    fn step(&mut self, end: u64) -> bool {
        if self.queue.peek().is_none_or(|Reverse((at, ..))| *at > end) {
            return false;
        }
        let Some(Reverse((at, _, event))) = self.queue.pop() else { return false };
        self.now = at;
        match event {
            Event::Deliver { from, to, octets } => {
                let from = id(self.topology, from);
                self.input(to, Input::Message { from, octets });
            }
            Event::Wake(node) => {
                if self.wakes[node].take_if(|wake| *wake == at).is_some() {
                    self.input(node, Input::Timeout);
                }
            }
        }
        true
    }

    fn input(&mut self, node: usize, input: Input) {
        let now = self.start + Duration::from_micros(self.now);
        self.engines[node].handle_input(now, input);
        while let Some(output) = self.engines[node].poll_output() {
            match output {
                Output::Send { to, octets } => self.send(node, self.numbers[&to], octets),
                Output::Routes => self.last_routes = self.now,
                _ => {}
            }
        }
        if let Some(due) = self.engines[node].poll_timeout() {
            let due = due.saturating_duration_since(self.start).as_nanos().div_ceil(1_000) as u64;
            let due = due.max(self.now + 1);
            if self.wakes[node].is_none_or(|wake| wake > due) {
                self.wakes[node] = Some(due);
                self.push(due, Event::Wake(node));
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, octets: Vec<u8>) {
        if self.muted {
            return;
        }
        if matches!(octets[1], FLOOD | ACKNOWLEDGEMENT) {
            let flood = octets[1] == FLOOD;
            self.flood.floods += u64::from(flood);
            self.flood.acknowledgements += u64::from(!flood);
            self.flood.octets += octets.len() as u64;
            self.last_message = self.now;
        } else if self.databases == Databases::Changed {
            // Databases are not compared here: they differ, on purpose.
            return;
        }
        let link = self.neighbours[from].iter().find(|(peer, _)| *peer == to).map(|&(_, link)| link);
        let km = link.and_then(|link| self.topology.links[link].km).unwrap_or(50.0);
        // Light in fibre takes 5 us for a kilometre; a millisecond for the machines.
        self.push(self.now + 1_000 + (5.0 * km) as u64, Event::Deliver { from, to, octets });
    }

    fn push(&mut self, at: u64, event: Event) {
        self.counter += 1;
        self.queue.push(Reverse((at, self.counter, event)));
    }
}

impl std::fmt::Debug for Network<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("nodes", &self.engines.len()).field("now", &self.now).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::metropolitan;

    #[test]
    fn full_databases_and_those_of_the_changed_node_alone_give_the_same_flood() {
        let topology = metropolitan(120, 3).expect("made");
        for node in [0, 17, 101] {
            let link = topology.neighbours(Cut::Nothing)[node][0].1;
            let [full, changed] = [Databases::Full, Databases::Changed].map(|databases| {
                let mut network = Network::new(&topology, databases, node);
                assert_eq!(network.agrees(), databases == Databases::Full);
                network.one_end_tells(node, link)
            });
            assert_eq!(full, changed);
            assert_eq!(full.nodes, 120);
            // At least once over a tree that spans all, at most twice over each link.
            let links = topology.links.len() as u64;
            assert!((119..=2 * links).contains(&full.floods), "{full:?}");
        }
    }

    #[test]
    fn a_cut_is_known_everywhere_within_a_second() {
        let topology = metropolitan(60, 4).expect("made");
        let mut network = Network::new(&topology, Databases::Full, 0);
        let (routes, _) = network.both_ends_tell(5);
        assert!((Duration::from_millis(50)..Duration::from_secs(1)).contains(&routes), "{routes:?}");
        assert!(network.agrees());
    }
}
