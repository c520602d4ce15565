//! Shortest paths alone: a full run, and the repair after one cost has changed.

use std::time::{Duration, Instant};

use relay_core::routing::{Graph, ShortestPaths};

use crate::random::Random;
use crate::topology::Topology;

/// Costs are 16 to 256, as those of the router's metric.
const COSTS: (u64, u64) = (16, 241);
/// A repair in so many is compared with a full run.
const COMPARE: u32 = 100;

/// Means over many runs.
#[derive(Clone, Copy, Debug)]
pub struct SpfTimes {
    /// All distances afresh.
    pub full: Duration,
    /// After one link has another cost.
    pub repair: Duration,
    /// Whether every repair that was looked at gave what a full run gives.
    pub equal: bool,
}

/// Measures from the first node, with random costs.
#[must_use]
pub fn measure(topology: &Topology, seed: u64) -> SpfTimes {
    let mut random = Random::new(seed);
    let mut cost = || (COSTS.0 + random.below(COSTS.1)) as u32;
    let nodes = topology.nodes.len();
    let mut graph = Graph::new(nodes);
    let mut costs: Vec<u32> = topology.links.iter().map(|_| cost()).collect();
    for (link, &cost) in topology.links.iter().zip(&costs) {
        let _ = graph.change(link.ends[0] as u32, link.ends[1] as u32, None, Some(cost));
    }
    let mut paths = ShortestPaths::new(&graph, 0);

    let runs = (200_000 / nodes as u32).max(20);
    let start = Instant::now();
    (0..runs).for_each(|_| paths.run(&graph));
    let full = start.elapsed() / runs;

    let changes = 20 * COMPARE;
    let (mut repair, mut equal) = (Duration::ZERO, true);
    let mut links = Random::new(seed.wrapping_add(1));
    for change in 0..changes {
        let link = links.below(topology.links.len() as u64) as usize;
        let (ends, new) = (topology.links[link].ends, cost());
        let changed = [graph.change(ends[0] as u32, ends[1] as u32, Some(costs[link]), Some(new))];
        costs[link] = new;
        let start = Instant::now();
        paths.repair(&graph, &changed);
        repair += start.elapsed();
        if change % COMPARE == 0 {
            let again = ShortestPaths::new(&graph, 0);
            equal &= (0..nodes as u32).all(|node| again.distance(node) == paths.distance(node));
        }
    }
    SpfTimes { full, repair: repair / changes, equal }
}
