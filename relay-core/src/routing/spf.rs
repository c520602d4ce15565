//! Shortest paths from one node to all: computed afresh, or repaired after some links changed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The distance of what cannot be reached.
const INFINITY: u32 = u32::MAX;

/// A link as seen from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) to: u32,
    pub(super) cost: u32,
}

/// Nodes with numbers, links between them, several between two nodes if need be.
///
/// Costs are 1 to 65,535 and nodes at most 65,536, so that no distance overflows 32 bits.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(super) edges: Vec<Vec<Edge>>,
}

/// A link that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// One end.
    pub a: u32,
    /// The other.
    pub b: u32,
    /// The cost it had; `None` when there was no such link.
    pub old: Option<u32>,
}

impl Graph {
    /// Nodes without links.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self { edges: vec![Vec::new(); nodes] }
    }

    /// How many nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.edges.len()
    }

    /// A change from `old` to `new` of one link between two nodes: a link with the old cost is taken, if there is one.
    ///
    /// # Panics
    /// For a node that is not there, or a link from a node to itself.
    #[must_use = "what was computed before has to be repaired"]
    pub fn change(&mut self, a: u32, b: u32, old: Option<u32>, new: Option<u32>) -> Change {
        assert_ne!(a, b, "a link has two ends");
        for (from, to) in [(a, b), (b, a)] {
            let edges = &mut self.edges[from as usize];
            let at = edges.iter().position(|edge| edge.to == to && Some(edge.cost) == old);
            match (at, new) {
                (Some(at), Some(cost)) => edges[at].cost = cost,
                (Some(at), None) => drop(edges.swap_remove(at)),
                (None, Some(cost)) => edges.push(Edge { to, cost }),
                (None, None) => {}
            }
        }
        Change { a, b, old }
    }
}

/// Distances from one node. Which paths are shortest follows from them: those of links `u` to `v` with
/// `distance(u) + cost = distance(v)`, all ties included.
#[derive(Clone, Debug)]
pub struct ShortestPaths {
    root: u32,
    distance: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
    /// Marks of the last repair, told from older ones by its number.
    affected: Vec<u32>,
    repair: u32,
}

impl ShortestPaths {
    /// Computes the distances from `root`.
    #[must_use]
    pub fn new(graph: &Graph, root: u32) -> Self {
        let mut paths = Self { root, distance: Vec::new(), heap: BinaryHeap::new(), affected: vec![0; graph.nodes()], repair: 0 };
        paths.run(graph);
        paths
    }

    /// The sum of costs of a shortest path to `node`; `None` when there is none.
    #[must_use]
    pub fn distance(&self, node: u32) -> Option<u32> {
        self.distance.get(node as usize).copied().filter(|&distance| distance != INFINITY)
    }

    /// Computes all distances afresh.
    pub fn run(&mut self, graph: &Graph) {
        self.distance.clear();
        self.distance.resize(graph.nodes(), INFINITY);
        self.offer(self.root, 0);
        self.relax(graph);
    }

    /// Computes what these changes, which are in `graph` already, have changed: the same distances as [`run`](Self::run), in a
    /// time that goes with the number of nodes concerned (after Ramalingam and Reps).
    pub fn repair(&mut self, graph: &Graph, changes: &[Change]) {
        self.distance.resize(graph.nodes(), INFINITY);
        self.affected.resize(graph.nodes(), 0);
        // In most of a graph at once there is nothing to gain.
        if changes.len() > 8 + graph.nodes() / 8 {
            return self.run(graph);
        }
        let affected = self.cut_off(graph, changes);
        for &node in &affected {
            self.distance[node as usize] = INFINITY;
        }
        for node in affected.into_iter().chain(changes.iter().flat_map(|change| [change.a, change.b])) {
            let best = graph.edges[node as usize].iter().map(|edge| self.over(edge.to, edge.cost)).min();
            self.offer(node, best.unwrap_or(INFINITY));
        }
        self.relax(graph);
    }

    /// The nodes whose distance no path has any more. A node keeps its distance if some neighbour, nearer to the root and not
    /// cut off itself, still leads to it; costs being positive, all nearer nodes are decided before it.
    fn cut_off(&mut self, graph: &Graph, changes: &[Change]) -> Vec<u32> {
        self.repair = self.repair.wrapping_add(1);
        if self.repair == 0 {
            self.affected.fill(0);
            self.repair = 1;
        }
        for change in changes {
            let Some(old) = change.old else { continue };
            for (from, to) in [(change.a, change.b), (change.b, change.a)] {
                let distance = self.distance[to as usize];
                if distance != INFINITY && self.over(from, old) == distance {
                    self.heap.push(Reverse(entry(distance, to)));
                }
            }
        }
        let mut affected = Vec::new();
        while let Some(Reverse(entry)) = self.heap.pop() {
            let node = node(entry);
            let distance = self.distance[node as usize];
            let cut = |paths: &Self, node: u32| paths.affected[node as usize] == paths.repair;
            let leads = |edge: &Edge| !cut(self, edge.to) && self.over(edge.to, edge.cost) <= distance;
            if node == self.root || cut(self, node) || graph.edges[node as usize].iter().any(leads) {
                continue;
            }
            self.affected[node as usize] = self.repair;
            affected.push(node);
            for edge in &graph.edges[node as usize] {
                let beyond = self.distance[edge.to as usize];
                if beyond != INFINITY && distance.saturating_add(edge.cost) <= beyond && !cut(self, edge.to) {
                    self.heap.push(Reverse(self::entry(beyond, edge.to)));
                }
            }
        }
        affected
    }

    /// The distance of a neighbour of `node` over a link of this cost.
    fn over(&self, node: u32, cost: u32) -> u32 {
        self.distance[node as usize].saturating_add(cost)
    }

    fn offer(&mut self, node: u32, distance: u32) {
        if distance < self.distance[node as usize] {
            self.distance[node as usize] = distance;
            self.heap.push(Reverse(entry(distance, node)));
        }
    }

    /// Dijkstra's algorithm from what is on the heap.
    fn relax(&mut self, graph: &Graph) {
        while let Some(Reverse(entry)) = self.heap.pop() {
            let node = node(entry);
            let distance = (entry >> 32) as u32;
            if distance > self.distance[node as usize] {
                continue;
            }
            for edge in &graph.edges[node as usize] {
                self.offer(edge.to, distance.saturating_add(edge.cost));
            }
        }
    }
}

/// Distance and node in one number: the heap compares once.
fn entry(distance: u32, node: u32) -> u64 {
    u64::from(distance) << 32 | u64::from(node)
}

fn node(entry: u64) -> u32 {
    entry as u32
}

#[cfg(test)]
mod tests {
    use petgraph::graph::{NodeIndex, UnGraph};
    use proptest::prelude::*;

    use super::*;

    fn by_petgraph(graph: &Graph) -> Vec<Option<u32>> {
        let mut other = UnGraph::<(), u32>::default();
        for _ in 0..graph.nodes() {
            other.add_node(());
        }
        for (from, edges) in graph.edges.iter().enumerate() {
            for edge in edges.iter().filter(|edge| edge.to as usize > from) {
                other.add_edge(NodeIndex::new(from), NodeIndex::new(edge.to as usize), edge.cost);
            }
        }
        let distances = petgraph::algo::dijkstra(&other, NodeIndex::new(0), None, |edge| *edge.weight());
        (0..graph.nodes()).map(|node| distances.get(&NodeIndex::new(node)).copied()).collect()
    }

    fn all(paths: &ShortestPaths, graph: &Graph) -> Vec<Option<u32>> {
        (0..graph.nodes() as u32).map(|node| paths.distance(node)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]
        /// Small costs for many ties; parallel links; batches in which links come, go, get dearer and cheaper together.
        #[test]
        fn repair_equals_a_full_run_equals_petgraph(
            nodes in 2_u32..60,
            density in 1_u32..4,
            batches in prop::collection::vec(prop::collection::vec((any::<u32>(), any::<u32>(), 0_u32..12), 1..6), 1..20),
            seed: u32,
        ) {
            let mut graph = Graph::new(nodes as usize);
            let mut random = seed;
            let mut next = move || {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                random >> 8
            };
            let mut links = Vec::new();
            for _ in 0..nodes * density {
                let (a, b, cost) = (next() % nodes, next() % nodes, 1 + next() % 9);
                if a != b {
                    let _ = graph.change(a, b, None, Some(cost));
                    links.push((a, b, cost));
                }
            }
            let mut repaired = ShortestPaths::new(&graph, 0);
            prop_assert_eq!(all(&repaired, &graph), by_petgraph(&graph));
            for batch in batches {
                let mut changes = Vec::new();
                for (which, other, cost) in batch {
                    let new = (cost > 0).then_some(cost);
                    if which % 3 == 0 || links.is_empty() {
                        let (a, b) = (which % nodes, other % nodes);
                        if let Some(cost) = new.filter(|_| a != b) {
                            changes.push(graph.change(a, b, None, new));
                            links.push((a, b, cost));
                        }
                    } else {
                        let (a, b, old) = links.swap_remove(other as usize % links.len());
                        changes.push(graph.change(a, b, Some(old), new));
                        links.extend(new.map(|cost| (a, b, cost)));
                    }
                }
                repaired.repair(&graph, &changes);
                prop_assert_eq!(all(&repaired, &graph), all(&ShortestPaths::new(&graph, 0), &graph));
                prop_assert_eq!(all(&repaired, &graph), by_petgraph(&graph));
            }
        }
    }

    #[test]
    fn a_part_that_is_cut_off_does_not_hold_itself_up() {
        // 0 - 1, and the triangle 1 2 3 that would count to infinity if each believed the others
        let mut graph = Graph::new(4);
        for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 1)] {
            let _ = graph.change(a, b, None, Some(1));
        }
        let mut paths = ShortestPaths::new(&graph, 0);
        let change = graph.change(0, 1, Some(1), None);
        paths.repair(&graph, &[change]);
        assert_eq!(all(&paths, &graph), [Some(0), None, None, None]);
    }
}
