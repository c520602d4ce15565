//! Paths from this node: the best and those nearly as good, within constraints, and sets that share no node.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt;

use itu_y3803::{KmId, LinkId};

use crate::routing::lsa::LinkAdvert;
use crate::routing::lsdb::Database;
use crate::routing::spf::{Edge, ShortestPaths};
use crate::routing::topology::{Topology, adverts_between};

const INFINITY: u32 = u32::MAX;
/// Where the search for alternatives ends, however many there are.
const SEARCH_LIMIT: usize = 20_000;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Over this link …
    pub link: LinkId,
    /// … to this key manager.
    pub to: KmId,
}

/// A path from this node to the last of its hops, no node twice. Empty for this node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// In the order of travel.
    pub hops: Vec<Hop>,
    /// The sum of the costs of its links when it was chosen.
    pub cost: u32,
}

impl Path {
    /// The nodes between the ends: those that are trusted with the key.
    pub fn between(&self) -> impl Iterator<Item = &KmId> {
        self.hops.iter().rev().skip(1).rev().map(|hop| &hop.to)
    }
}

/// Whether a path may pass from one node to its neighbour.
pub type MayPass<'a> = &'a dyn Fn(&KmId, &KmId) -> bool;

/// What a path has to keep to.
#[derive(Clone, Copy, Default)]
pub struct Constraints<'a> {
    /// The most hops.
    pub max_hops: Option<usize>,
    /// Which nodes may be between the ends.
    pub node: Option<&'a dyn Fn(&KmId) -> bool>,
    /// Which nodes have to be, all of them. A network in which too many ways miss them is not searched to the end.
    pub via: Option<&'a BTreeSet<KmId>>,
    /// Between which neighbours a path may pass, in either direction.
    pub hop: Option<MayPass<'a>>,
    /// Which links may be used; asked for what each end advertises, of all links between two nodes.
    pub link: Option<&'a dyn Fn(&LinkAdvert) -> bool>,
}

impl fmt::Debug for Constraints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraints")
            .field("max_hops", &self.max_hops)
            .field("node", &self.node.is_some())
            .field("via", &self.via)
            .field("hop", &self.hop.is_some())
            .field("link", &self.link.is_some())
            .finish()
    }
}

impl Constraints<'_> {
    pub(super) fn is_none(&self) -> bool {
        self.max_hops.is_none() && self.node.is_none() && self.via.is_none() && self.hop.is_none() && self.link.is_none()
    }

    /// Whether nodes and number of hops are as wanted.
    pub(super) fn admit(&self, path: &Path) -> bool {
        self.max_hops.is_none_or(|most| path.hops.len() <= most)
            && path.between().all(|node| self.node.is_none_or(|may| may(node)))
            && self.via.is_none_or(|via| via.iter().all(|node| path.between().any(|on_way| on_way == node)))
    }
}

/// Where to search.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) topology: &'a Topology,
    pub(super) database: &'a Database,
    pub(super) shortest: &'a ShortestPaths,
    pub(super) root: u32,
    pub(super) constraints: Constraints<'a>,
}

impl Search<'_> {
    /// The best paths to `target`, best first, none dearer than the best by more than `percent`, at most `most`.
    ///
    /// From the target back to the root, always on from what promises the least total: the distance that is left is known, so
    /// the first path to arrive is the best, and hardly anything beside the paths themselves is looked at.
    pub(super) fn near_best(&self, target: u32, percent: u32, most: usize) -> Vec<Path> {
        let left = self.lower_bounds(target);
        let mut partials = vec![Partial { node: target, link: None, before: usize::MAX, cost: 0, hops: 0 }];
        let mut heap = BinaryHeap::new();
        let mut worst = INFINITY - 1;
        let mut found = Vec::new();
        heap.push(Reverse((left.of(target, 0), 0, 0)));
        while let Some(Reverse((total, _, at))) = heap.pop() {
            if total > worst || found.len() >= most || partials.len() > SEARCH_LIMIT {
                break;
            }
            let (node, cost, hops) = (partials[at].node, partials[at].cost, partials[at].hops);
            if node == self.root {
                let path = self.path(&partials, at);
                if self.constraints.via.is_some() && !self.constraints.admit(&path) {
                    continue;
                }
                if found.is_empty() {
                    worst = (u64::from(total) * u64::from(100 + percent) / 100).min(u64::from(INFINITY - 1)) as u32;
                }
                found.push(path);
                continue;
            }
            for (edge, link) in self.topology.edges(node) {
                let lower = left.of(edge.to, hops + 1);
                let total = cost.saturating_add(edge.cost).saturating_add(lower);
                if total > worst || !self.may(node, edge, target) || on_way(&partials, at, edge.to) {
                    continue;
                }
                let partial =
                    Partial { node: edge.to, link: Some(link.clone()), before: at, cost: cost + edge.cost, hops: hops + 1 };
                // Of equal totals the one nearest to the root, else all ties would be followed side by side.
                heap.push(Reverse((total, lower, partials.len())));
                partials.push(partial);
            }
        }
        found
    }

    fn path(&self, partials: &[Partial], mut at: usize) -> Path {
        let mut path = Path { hops: Vec::new(), cost: partials[at].cost };
        while let (Some(link), Some(before)) = (&partials[at].link, partials.get(partials[at].before)) {
            path.hops.push(Hop { link: link.clone(), to: self.topology.id(before.node).clone() });
            at = partials[at].before;
        }
        path
    }

    /// Whether the constraints allow the step between `node` and the far end of `edge` on the way to `target`.
    fn may(&self, node: u32, edge: Edge, target: u32) -> bool {
        let ends = [node, edge.to].map(|end| self.topology.id(end));
        let is_end = |node: u32| node == target || node == self.root;
        let node_may = |at: u32| is_end(at) || self.constraints.node.is_none_or(|may| may(self.topology.id(at)));
        let link_may = || self.constraints.link.is_none_or(|may| adverts_between(self.database, ends[0], ends[1]).all(may));
        let hop_may = self.constraints.hop.is_none_or(|may| may(ends[0], ends[1]) && may(ends[1], ends[0]));
        node_may(node) && node_may(edge.to) && hop_may && link_may()
    }

    fn lower_bounds(&self, target: u32) -> LowerBounds<'_> {
        let nodes = self.topology.graph.nodes();
        if let Some(most) = self.constraints.max_hops {
            // The least cost within 0, 1, 2 … hops
            let mut within = vec![vec![INFINITY; nodes]];
            within[0][self.root as usize] = 0;
            for hops in 1..=most.min(nodes) {
                let last = &within[hops - 1];
                let mut next = last.clone();
                for node in (0..nodes as u32).filter(|&node| last[node as usize] != INFINITY) {
                    for (edge, _) in self.topology.edges(node) {
                        let cost = last[node as usize].saturating_add(edge.cost);
                        if cost < next[edge.to as usize] && self.may(node, edge, target) {
                            next[edge.to as usize] = cost;
                        }
                    }
                }
                if next == *last {
                    break;
                }
                within.push(next);
            }
            return LowerBounds::Hops { most, within };
        }
        if self.constraints.is_none() {
            return LowerBounds::Shortest(self.shortest);
        }
        let mut distance = vec![INFINITY; nodes];
        distance[self.root as usize] = 0;
        let mut heap = BinaryHeap::from([Reverse((0, self.root))]);
        while let Some(Reverse((cost, node))) = heap.pop() {
            if cost > distance[node as usize] {
                continue;
            }
            for (edge, _) in self.topology.edges(node) {
                let cost = cost.saturating_add(edge.cost);
                if cost < distance[edge.to as usize] && self.may(node, edge, target) {
                    distance[edge.to as usize] = cost;
                    heap.push(Reverse((cost, edge.to)));
                }
            }
        }
        LowerBounds::Filtered(distance)
    }

    /// Up to `most` paths to `target` that share no node but their ends, at the least total cost: as many as there are.
    ///
    /// A flow of least cost in the graph of split nodes, one path more at a time (Suurballe, Bhandari).
    pub(super) fn disjoint(&self, target: u32, most: usize) -> Vec<Path> {
        let mut flow = Flow::new(self, target);
        let mut number = 0;
        while number < most && flow.augment() {
            number += 1;
        }
        let mut paths: Vec<_> = (0..number).map(|_| flow.take(self)).collect();
        paths.sort_by(|a, b| (a.cost, a.hops.len(), &a.hops).cmp(&(b.cost, b.hops.len(), &b.hops)));
        paths
    }
}

/// A way from `node` to the target.
struct Partial {
    node: u32,
    link: Option<LinkId>,
    before: usize,
    cost: u32,
    hops: usize,
}

fn on_way(partials: &[Partial], mut at: usize, node: u32) -> bool {
    while let Some(partial) = partials.get(at) {
        if partial.node == node {
            return true;
        }
        at = partial.before;
    }
    false
}

/// The least that is left from a node to the root.
enum LowerBounds<'a> {
    Shortest(&'a ShortestPaths),
    Filtered(Vec<u32>),
    Hops { most: usize, within: Vec<Vec<u32>> },
}

impl LowerBounds<'_> {
    fn of(&self, node: u32, hops_gone: usize) -> u32 {
        match self {
            Self::Shortest(shortest) => shortest.distance(node).unwrap_or(INFINITY),
            Self::Filtered(distance) => distance[node as usize],
            Self::Hops { most, within } => match most.checked_sub(hops_gone) {
                Some(left) => within[left.min(within.len() - 1)][node as usize],
                None => INFINITY,
            },
        }
    }
}

/// Node `v` is split into its entry `2v` and its exit `2v + 1`, with one unit of room between them.
struct Flow {
    source: usize,
    sink: usize,
    arcs: Vec<FlowArc>,
    from: Vec<Vec<usize>>,
    potential: Vec<i64>,
}

/// Each arc is followed by its reverse.
struct FlowArc {
    to: usize,
    cost: i64,
    room: bool,
    link: Option<LinkId>,
}

impl Flow {
    fn new(search: &Search<'_>, target: u32) -> Self {
        let nodes = search.topology.graph.nodes();
        let mut flow = Self {
            source: 2 * search.root as usize + 1,
            sink: 2 * target as usize,
            arcs: Vec::new(),
            from: vec![Vec::new(); 2 * nodes],
            potential: vec![0; 2 * nodes],
        };
        for node in 0..nodes as u32 {
            let at = node as usize;
            flow.arc(2 * at, 2 * at + 1, 0, None);
            for (edge, link) in search.topology.edges(node).filter(|(edge, _)| search.may(node, *edge, target)) {
                flow.arc(2 * at + 1, 2 * edge.to as usize, i64::from(edge.cost), Some(link.clone()));
            }
        }
        flow
    }

    fn arc(&mut self, from: usize, to: usize, cost: i64, link: Option<LinkId>) {
        self.from[from].push(self.arcs.len());
        self.arcs.push(FlowArc { to, cost, room: true, link });
        self.from[to].push(self.arcs.len());
        self.arcs.push(FlowArc { to: from, cost: -cost, room: false, link: None });
    }

    /// One path more; `false` when there is none. Potentials keep all costs from being negative.
    fn augment(&mut self) -> bool {
        let mut distance = vec![i64::MAX; self.from.len()];
        let mut by = vec![usize::MAX; self.from.len()];
        distance[self.source] = 0;
        let mut heap = BinaryHeap::from([Reverse((0, self.source))]);
        while let Some(Reverse((cost, node))) = heap.pop() {
            if cost > distance[node] {
                continue;
            }
            for &at in self.from[node].iter().filter(|&&at| self.arcs[at].room) {
                let arc = &self.arcs[at];
                let cost = cost + arc.cost + self.potential[node] - self.potential[arc.to];
                if cost < distance[arc.to] {
                    distance[arc.to] = cost;
                    by[arc.to] = at;
                    heap.push(Reverse((cost, arc.to)));
                }
            }
        }
        let length = distance[self.sink];
        if length == i64::MAX {
            return false;
        }
        for (potential, distance) in self.potential.iter_mut().zip(distance) {
            *potential += distance.min(length);
        }
        let mut node = self.sink;
        while node != self.source {
            let at = by[node];
            self.arcs[at].room = false;
            self.arcs[at ^ 1].room = true;
            node = self.arcs[at ^ 1].to;
        }
        true
    }

    /// Takes one path out of the flow.
    fn take(&mut self, search: &Search<'_>) -> Path {
        let mut path = Path { hops: Vec::new(), cost: 0 };
        let mut node = self.source;
        while node != self.sink {
            let used = self.from[node].iter().copied().find(|&at| at % 2 == 0 && !self.arcs[at].room);
            let at = used.expect("what flows into a node flows out of it");
            self.arcs[at].room = true;
            let arc = &self.arcs[at];
            if let Some(link) = &arc.link {
                path.hops.push(Hop { link: link.clone(), to: search.topology.id((arc.to / 2) as u32).clone() });
                path.cost = path.cost.saturating_add(arc.cost as u32);
            }
            node = arc.to;
        }
        path
    }
}
