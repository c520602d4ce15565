//! What a network can give at the most: the largest rate that all pairs of nodes can have at once.
//!
//! Each link makes one unit of key per unit of time, and one unit of key for a pair costs one unit on each link of its way.
//! [`largest_equal_rate`] is the optimum over all ways and their mixtures, a linear programme (maximum concurrent flow); no
//! router can beat it. [`equal_split_rate`] is what a router gives that uses all shortest paths evenly (ECMP), and
//! [`single_path_rate`] one that uses a single shortest path for each pair.
//!
//! The programme has the commodities of one source in common: what leaves a source is one flow, of which every later node keeps
//! the rate for itself. That is as good as a commodity for each pair, since a flow with one source can always be taken apart
//! into paths, and has some n times fewer variables.

use std::collections::BTreeMap;

use good_lp::{Expression, Solution, SolverModel, Variable, constraint, default_solver, variable, variables};

use crate::topology::{Cut, Topology};

/// The solver found no optimum.
#[derive(Debug, thiserror::Error)]
#[error("the linear programme was not solved: {0}")]
pub struct NotSolved(#[from] good_lp::ResolutionError);

/// The largest equal rate of all pairs of nodes that are left after a cut, in units of the rate of a link. It is 0 when the cut
/// divides the network.
///
/// # Errors
/// [`NotSolved`] when the solver gives up.
pub fn largest_equal_rate(topology: &Topology, cut: Cut) -> Result<f64, NotSolved> {
    if !topology.is_connected(cut) {
        return Ok(0.0);
    }
    let nodes: Vec<usize> = topology.nodes_after(cut).collect();
    let links: Vec<usize> = topology.links_after(cut).collect();
    let mut variables = variables!();
    let rate = variables.add(variable().min(0));
    // For each source and link the flow in either direction.
    let sources = &nodes[..nodes.len() - 1];
    let flows: Vec<BTreeMap<usize, [Variable; 2]>> = sources
        .iter()
        .map(|_| links.iter().map(|&link| (link, [(); 2].map(|()| variables.add(variable().min(0))))).collect())
        .collect();

    let mut model = variables.maximise(rate).using(default_solver);
    model.settings().verbose(false);
    for &link in &links {
        let load: Expression = flows.iter().flat_map(|flow| flow[&link]).sum();
        model.add_constraint(constraint!(load <= 1));
    }
    let neighbours = topology.neighbours(cut);
    for (&source, flow) in sources.iter().zip(&flows) {
        for &node in nodes.iter().filter(|&&node| node != source) {
            let mut kept = Expression::from(0);
            for &(_, link) in &neighbours[node] {
                let [forth, back] = flow[&link];
                let away = topology.links[link].ends[0] == node;
                let (to_node, from_node) = if away { (back, forth) } else { (forth, back) };
                kept += to_node;
                kept -= from_node;
            }
            // Each pair once: with the node of the lower number as its source.
            if node > source {
                kept -= rate;
            }
            model.add_constraint(constraint!(kept == 0));
        }
    }
    Ok(model.solve()?.value(rate))
}

/// The largest equal rate when every pair splits evenly over its shortest paths, by hops: at each node, from the target back,
/// in proportion to how many of them pass.
#[must_use]
pub fn equal_split_rate(topology: &Topology, cut: Cut) -> f64 {
    rate_of_loads(topology, cut, |tree, target, load| {
        let mut share = vec![0.0; tree.hops.len()];
        share[target] = 1.0;
        for &node in tree.nearest_last.iter().filter(|&&node| node != tree.source) {
            for &(before, link) in &tree.before[node] {
                let part = share[node] * tree.paths[before] / tree.paths[node];
                share[before] += part;
                load[link] += part;
            }
        }
    })
}

/// The largest equal rate when every pair uses one shortest path, by hops: the one whose nodes come first in the file.
#[must_use]
pub fn single_path_rate(topology: &Topology, cut: Cut) -> f64 {
    rate_of_loads(topology, cut, |tree, target, load| {
        let mut node = target;
        while node != tree.source {
            let &(before, link) = tree.before[node].iter().min().expect("a node before each but the source");
            load[link] += 1.0;
            node = before;
        }
    })
}

/// The shortest paths from one source.
struct Tree {
    source: usize,
    hops: Vec<Option<u32>>,
    /// On the shortest paths to a node: the nodes just before it, and the links from there.
    before: Vec<Vec<(usize, usize)>>,
    /// How many shortest paths lead to a node.
    paths: Vec<f64>,
    /// The nodes in reach, the nearest last.
    nearest_last: Vec<usize>,
}

impl Tree {
    fn new(topology: &Topology, neighbours: &[Vec<(usize, usize)>], source: usize, cut: Cut) -> Self {
        let hops = topology.hops(source, cut);
        let nearer = |node: usize, other: usize| hops[other].is_some_and(|hop| Some(hop + 1) == hops[node]);
        let before: Vec<Vec<_>> = (0..hops.len())
            .map(|node| neighbours[node].iter().copied().filter(|&(other, _)| nearer(node, other)).collect())
            .collect();
        let mut order: Vec<usize> = (0..hops.len()).filter(|&node| hops[node].is_some()).collect();
        order.sort_by_key(|&node| hops[node]);
        let mut paths = vec![0.0; hops.len()];
        paths[source] = 1.0;
        for &node in &order[1..] {
            paths[node] = before[node].iter().map(|&(other, _)| paths[other]).sum();
        }
        order.reverse();
        Self { source, hops, before, paths, nearest_last: order }
    }
}

/// Adds up what all pairs put on the links: the busiest of them limits the rate.
fn rate_of_loads(topology: &Topology, cut: Cut, add_pair: impl Fn(&Tree, usize, &mut [f64])) -> f64 {
    if !topology.is_connected(cut) {
        return 0.0;
    }
    let neighbours = topology.neighbours(cut);
    let mut load = vec![0.0; topology.links.len()];
    for source in topology.nodes_after(cut) {
        let tree = Tree::new(topology, &neighbours, source, cut);
        for target in topology.nodes_after(cut).filter(|&target| target > source) {
            add_pair(&tree, target, &mut load);
        }
    }
    1.0 / load.into_iter().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    /// Published figures, from an independent solver (HiGHS) and library (networkx).
    #[test]
    fn rates_are_those_that_others_found() {
        for (name, equal_split, optimum) in [
            ("nobel-germany", 0.035_714, 0.045_455),
            ("dt-14", 0.052_402, 0.075),
            ("polska", 0.078_947, 0.093_75),
            ("nobel-eu", 0.013_530, 0.015_306),
            ("nsfnet-13", 0.05, 0.066_667),
            ("poliqi-ring-5", 0.333_333, 0.333_333),
        ] {
            let topology = Topology::named(name).expect("comes with the program");
            let found = equal_split_rate(&topology, Cut::Nothing);
            assert!(close(found, equal_split), "{name}: {found} of {equal_split} evenly split");
            let found = largest_equal_rate(&topology, Cut::Nothing).expect("solved");
            assert!(close(found, optimum), "{name}: {found} of {optimum} at best");
            assert!(single_path_rate(&topology, Cut::Nothing) <= found + 1e-6, "{name}");
        }
    }

    #[test]
    fn the_largest_network_is_solved_too() {
        let topology = Topology::named("germany50").expect("comes with the program");
        assert!(close(equal_split_rate(&topology, Cut::Nothing), 0.006_179));
        let found = largest_equal_rate(&topology, Cut::Nothing).expect("solved");
        assert!(close(found, 0.011_029), "{found}");
    }

    #[test]
    fn a_ring_that_is_cut_is_a_line() {
        let ring = Topology::named("poliqi-ring-5").expect("comes with the program");
        // The middle link of a line of five carries 2 * 3 pairs, that of four 2 * 2.
        for (cut, expected) in [(Cut::Link(0), 1.0 / 6.0), (Cut::Node(2), 1.0 / 4.0)] {
            for found in
                [largest_equal_rate(&ring, cut).expect("solved"), equal_split_rate(&ring, cut), single_path_rate(&ring, cut)]
            {
                assert!(close(found, expected), "{cut:?}: {found}");
            }
        }
    }

    #[test]
    fn without_frankfurt_little_remains_and_a_cut_bridge_leaves_nothing() {
        let germany = Topology::named("nobel-germany").expect("comes with the program");
        let frankfurt = germany.nodes.iter().position(|node| node.name == "frankfurt").expect("there");
        let rest = largest_equal_rate(&germany, Cut::Node(frankfurt)).expect("solved") / 0.045_455;
        assert!((rest - 0.37).abs() < 0.01, "{rest}");
        let nsfnet = Topology::named("nsfnet-13").expect("comes with the program");
        let bridge = (0..nsfnet.links.len()).find(|&link| !nsfnet.is_connected(Cut::Link(link))).expect("has three");
        assert!(close(largest_equal_rate(&nsfnet, Cut::Link(bridge)).expect("told, not solved"), 0.0));
    }
}
