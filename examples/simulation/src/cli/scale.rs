//! `simulation scale`

use std::time::{Duration, Instant};

use super::{Failure, progress};
use crate::scale::{DatabaseCosts, Databases, Flood, Network, SpfTimes, measure_database, measure_spf};
use crate::table::Table;
use crate::topology::{Topology, metropolitan};

/// Memory for more is not to be had: some kilobytes for each pair of nodes.
const MOST_FULL: usize = 2_000;
/// From so many nodes on a repair has to be 100 times faster than a full run.
const LARGE: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Sizes of the networks, 10 nodes or more.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    nodes: Vec<usize>,
    /// The seed of the networks.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &Arguments, memory: fn() -> usize) -> Result<(), Failure> {
    let mut broken = Vec::new();
    let mut networks = Vec::new();
    for &nodes in &arguments.nodes {
        let topology = metropolitan(nodes, arguments.seed).map_err(|error| Failure::Usage(error.to_string()))?;
        if nodes < 10 {
            return Err(Failure::Usage("a large network has 10 nodes or more".to_owned()));
        }
        networks.push(topology);
    }
    shortest_paths(&networks, arguments.seed, &mut broken);
    databases(&networks, memory, &mut broken);
    let full: Vec<_> = networks.iter().map(|topology| (topology.nodes.len() < MOST_FULL).then(|| full(topology))).collect();
    floods(&networks, &full, &mut broken);
    converged(&networks, &full, &mut broken);
    match broken.is_empty() {
        true => Ok(()),
        false => Err(Failure::Condition(broken.join("\n"))),
    }
}

fn shortest_paths(networks: &[Topology], seed: u64, broken: &mut Vec<String>) {
    println!(
        "Shortest paths from one node, costs 16 to 256, real time of one run and of one repair after one cost changed (means)."
    );
    let mut table = Table::new(&["network", "nodes", "links", "full", "repair", "ratio", "equal"]);
    for topology in networks {
        progress(&format!("{}: shortest paths", topology.name));
        let SpfTimes { full, repair, equal } = measure_spf(topology, seed);
        let ratio = full.as_secs_f64() / repair.as_secs_f64();
        table.row([
            topology.name.clone(),
            topology.nodes.len().to_string(),
            topology.links.len().to_string(),
            micros(full),
            micros(repair),
            format!("{ratio:.0}x"),
            yes(equal),
        ]);
        if !equal {
            broken.push(format!("{}: repaired distances differ from computed ones", topology.name));
        }
        if topology.nodes.len() >= LARGE && ratio < 100.0 {
            broken.push(format!("{}: a repair is only {ratio:.0} times faster than a full run, not 100", topology.name));
        }
    }
    println!("{table}");
}

fn databases(networks: &[Topology], memory: fn() -> usize, broken: &mut Vec<String>) {
    println!(
        "One real engine that was told of all nodes. Each advertisement was made by the engine of its node, tag HMAC-SHA-256. Memory \
         is what the counting allocator shows more than before, routes and shortest paths included. `learn`: all advertisements one \
         by one, and first routes. `change`: from an advertisement with one link less to new routes, processing only."
    );
    let heading = ["network", "nodes", "memory", "per node known", "advertisement", "learn", "change", "routes to"];
    let mut table = Table::new(&heading);
    for topology in networks {
        let costs @ DatabaseCosts { memory, reachable, .. } = measure_database(topology, memory, &progress);
        let nodes = topology.nodes.len();
        table.row([
            topology.name.clone(),
            nodes.to_string(),
            format!("{:.2} MB", memory as f64 / 1e6),
            format!("{} octets", memory / nodes),
            format!("{} octets", costs.advertisement),
            format!("{:.1} ms", costs.learn.as_secs_f64() * 1e3),
            micros(costs.change),
            reachable.to_string(),
        ]);
        if reachable != nodes - 1 {
            broken.push(format!("{}: only {reachable} nodes have a route in the database", topology.name));
        }
    }
    println!("{table}");
}

/// What was seen in a network whose nodes all know all others.
struct Full {
    started: Duration,
    messages: u64,
    start_took: Duration,
    flood: Flood,
    routes: Duration,
    cut_took: Duration,
    equal: bool,
}

/// A node in the middle of the list, and a link of it.
fn middle(topology: &Topology) -> (usize, usize) {
    let link = topology.links.len() / 2;
    (topology.links[link].ends[0], link)
}

fn full(topology: &Topology) -> Full {
    progress(&format!("{}: all nodes start and learn of all", topology.name));
    let start = Instant::now();
    let mut network = Network::new(topology, Databases::Full, 0);
    let start_took = start.elapsed();
    let (started, messages, equal) = (network.last_message(), network.messages(), network.agrees());
    progress(&format!("{}: one advertisement", topology.name));
    let (node, link) = middle(topology);
    let flood = network.one_end_tells(node, link);
    // So that routes are computed soon after the cut, not after a pause.
    network.rest(Duration::from_secs(30));
    progress(&format!("{}: a cut", topology.name));
    let (routes, cut_took) = network.both_ends_tell(topology.links.len() / 3);
    Full { started, messages, start_took, flood, routes, cut_took, equal: equal && network.agrees() }
}

/// One advertisement through the whole network.
fn floods(networks: &[Topology], full: &[Option<Full>], broken: &mut Vec<String>) {
    println!(
        "One end of a link tells that it is down: one advertisement through the network; a message takes 1 ms and 5 us/km. One real \
         engine for each node. `full`: all have all advertisements, by flooding. `changed`: their databases hold themselves and what \
         changes only; what an engine passes on does not depend on what it knows of third nodes, and where both were run the \
         figures have to be equal. Databases of {MOST_FULL} nodes and more do not fit in memory that many times."
    );
    let heading =
        ["network", "databases", "nodes", "advertising", "acknowledging", "per link", "octets", "per node", "known by all after"];
    let mut table = Table::new(&heading);
    for (topology, full) in networks.iter().zip(full) {
        progress(&format!("{}: one advertisement, databases of what changes only", topology.name));
        let (node, link) = middle(topology);
        let changed = Network::new(topology, Databases::Changed, node).one_end_tells(node, link);
        let full = full.as_ref().map(|full| full.flood);
        for (name, flood) in [("changed", Some(changed)), ("full", full)] {
            let Some(flood) = flood else { continue };
            table.row([
                topology.name.clone(),
                name.to_owned(),
                flood.nodes.to_string(),
                flood.floods.to_string(),
                flood.acknowledgements.to_string(),
                format!("{:.2}", flood.floods as f64 / topology.links.len() as f64),
                flood.octets.to_string(),
                format!("{:.0}", flood.octets as f64 / topology.nodes.len() as f64),
                millis(flood.known),
            ]);
            if flood.nodes != topology.nodes.len() {
                broken.push(format!("{}: only {} nodes have learnt, databases {name}", topology.name, flood.nodes));
            }
        }
        if full.is_some_and(|full| full != changed) {
            broken.push(format!("{}: the two ways to count messages differ", topology.name));
        }
    }
    println!("{table}");
}

/// All nodes from nothing to agreement, and after a cut.
fn converged(networks: &[Topology], full: &[Option<Full>], broken: &mut Vec<String>) {
    println!(
        "All nodes start at once and flood until all databases are equal; later both ends of a link tell that it is down. Virtual \
         times, and the real time of all engines together on one thread, which in a network work side by side."
    );
    let heading = ["network", "started: equal after", "messages", "real", "cut: last new routes after", "real", "equal"];
    let mut table = Table::new(&heading);
    let mut not_run = Vec::new();
    for (topology, full) in networks.iter().zip(full) {
        let Some(full) = full else {
            not_run.push(topology.nodes.len());
            continue;
        };
        table.row([
            topology.name.clone(),
            format!("{:.1} s", full.started.as_secs_f64()),
            full.messages.to_string(),
            format!("{:.1} s", full.start_took.as_secs_f64()),
            millis(full.routes),
            millis(full.cut_took),
            yes(full.equal),
        ]);
        if !full.equal {
            broken.push(format!("{}: databases are not equal", topology.name));
        }
    }
    print!("{table}");
    for nodes in not_run {
        println!("Not run: {nodes} databases of {nodes} nodes do not fit in memory.");
    }
}

fn micros(time: Duration) -> String {
    format!("{:.2} us", time.as_secs_f64() * 1e6)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn yes(it_is: bool) -> String {
    if it_is { "yes" } else { "NO" }.to_owned()
}
