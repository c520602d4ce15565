//! Random graphs, and the distances that are found in them: for another program to check.
//!
//! `cargo run -p qkms-relay-core --example spf_json -- [GRAPHS]` writes one JSON object in each line: `nodes`, `links` of two ends
//! and a cost, parallel ones among them, and `distances` from node 0, `null` where no way leads. What was computed at first is
//! repaired after each of many changes, never computed again.

use relay_core::routing::{Graph, ShortestPaths};
use serde_json::json;

fn main() {
    let graphs = std::env::args().nth(1).map_or(Ok(200), |graphs| graphs.parse());
    let Ok(graphs) = graphs else {
        eprintln!("spf_json: the number of graphs is a number");
        std::process::exit(2);
    };
    for seed in 1..=graphs {
        println!("{}", graph(seed));
    }
}

fn graph(seed: u64) -> serde_json::Value {
    let mut state = seed;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(below)) as u32
    };
    let nodes = 2 + random(60);
    // Few costs, so that many ways are equal.
    let most = [2, 20, 1_000][random(3) as usize];
    let mut graph = Graph::new(nodes as usize);
    let mut paths = ShortestPaths::new(&graph, 0);
    let mut links: Vec<(u32, u32, u32)> = Vec::new();
    for _ in 0..4 * nodes {
        let taken = (!links.is_empty() && random(3) == 0).then(|| links.swap_remove(random(links.len() as u32) as usize));
        let changed = match taken {
            Some((a, b, cost)) if random(2) == 0 => graph.change(a, b, Some(cost), None),
            Some((a, b, cost)) => {
                links.push((a, b, 1 + random(most)));
                graph.change(a, b, Some(cost), links.last().map(|link| link.2))
            }
            None => {
                let (a, b) = (random(nodes), random(nodes));
                if a == b {
                    continue;
                }
                links.push((a, b, 1 + random(most)));
                graph.change(a, b, None, links.last().map(|link| link.2))
            }
        };
        paths.repair(&graph, &[changed]);
    }
    let distances: Vec<_> = (0..nodes).map(|node| paths.distance(node)).collect();
    json!({ "nodes": nodes, "links": links, "distances": distances })
}
