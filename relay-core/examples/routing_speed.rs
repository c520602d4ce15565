//! Shortest paths: petgraph's Dijkstra, a full run, and the repair after one cost has changed.
//!
//! `cargo run --release -p qkms-relay-core --example routing_speed`
//!
//! Random graphs, mean degree 4, costs 1 to 1000; medians over five graphs, thread alone. Every repair is compared with a full run
//! outside of the time that is measured.

use std::time::{Duration, Instant};

use petgraph::graph::{NodeIndex, UnGraph};
use relay_core::routing::{Graph, ShortestPaths};

fn main() {
    println!("{:>7} {:>12} {:>12} {:>9} {:>12} {:>9}", "nodes", "petgraph us", "full us", "ratio", "repair us", "ratio");
    for nodes in [17, 1_000, 10_000] {
        let rounds: Vec<_> = (1..=5).map(|seed| round(nodes, seed)).collect();
        let median = |of: fn(&Round) -> Duration| {
            let mut all: Vec<_> = rounds.iter().map(of).collect();
            all.sort();
            all[2].as_secs_f64() * 1e6
        };
        let (petgraph, full, repair) = (median(|r| r.petgraph), median(|r| r.full), median(|r| r.repair));
        println!("{nodes:>7} {petgraph:>12.2} {full:>12.2} {:>8.2}x {repair:>12.3} {:>8.0}x", petgraph / full, full / repair);
    }
}

struct Round {
    petgraph: Duration,
    full: Duration,
    repair: Duration,
}

fn round(nodes: u32, seed: u64) -> Round {
    let mut state = seed;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(below)) as u32
    };
    let mut graph = Graph::new(nodes as usize);
    let mut other = UnGraph::<(), u32>::default();
    for _ in 0..nodes {
        other.add_node(());
    }
    let mut links = Vec::new();
    for node in 1..nodes {
        links.push((random(node), node, 1 + random(1_000)));
    }
    while links.len() < 2 * nodes as usize {
        let (a, b) = (random(nodes), random(nodes));
        if a != b {
            links.push((a, b, 1 + random(1_000)));
        }
    }
    for &(a, b, cost) in &links {
        let _ = graph.change(a, b, None, Some(cost));
        other.add_edge(NodeIndex::new(a as usize), NodeIndex::new(b as usize), cost);
    }

    let runs = (200_000 / nodes).max(20);
    let mut paths = ShortestPaths::new(&graph, 0);
    let full = mean(runs, || paths.run(&graph));
    let petgraph = mean(runs, || {
        let distances = petgraph::algo::dijkstra(&other, NodeIndex::new(0), None, |edge| *edge.weight());
        assert_eq!(distances.len(), nodes as usize);
    });

    let changes = 2_000;
    let mut repair = Duration::ZERO;
    for change in 0..changes {
        let (a, b, cost) = &mut links[random(2 * nodes) as usize];
        let new = 1 + random(1_000);
        let changed = [graph.change(*a, *b, Some(*cost), Some(new))];
        *cost = new;
        let start = Instant::now();
        paths.repair(&graph, &changed);
        repair += start.elapsed();
        if change % 100 == 0 {
            let again = ShortestPaths::new(&graph, 0);
            assert!((0..nodes).all(|node| again.distance(node) == paths.distance(node)), "equal");
        }
    }
    Round { petgraph, full, repair: repair / changes }
}

fn mean(runs: u32, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..runs).for_each(|_| work());
    start.elapsed() / runs
}
