//! `simulation topology`

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::{Failure, progress};
use crate::optimum::{equal_split_rate, largest_equal_rate, single_path_rate};
use crate::table::Table;
use crate::topology::{Cut, Topology, metropolitan};

const ABOUT_RATES: &str = "\
Rates are those that all pairs of nodes can have at once, where each link makes 1: `single` over one shortest path for each pair, \
`ecmp` evenly over all shortest paths, `optimum` over any paths in any mixture (linear programme). No router can beat the last one.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One of the networks that come with the program; all, if none is named.
    #[arg(conflicts_with_all = ["file", "generated"])]
    name: Option<String>,
    /// A network from a file of the same format.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// A metropolitan-like network of so many nodes.
    #[arg(long, value_name = "NODES", conflicts_with = "file")]
    generated: Option<usize>,
    /// The seed of a generated network.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Every single link and node in turn: what remains of the optimum for the pairs that are left.
    #[arg(long)]
    cuts: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let topologies = networks(arguments)?;
    let heading = ["network", "nodes", "links", "pairs", "diameter", "mean hops", "single", "ecmp", "optimum", "solved in"];
    let mut table = Table::new(&heading);
    let mut unequal = Vec::new();
    for topology in &topologies {
        progress(&format!("{}: linear programme", topology.name));
        let start = Instant::now();
        let optimum = optimum(topology, Cut::Nothing)?;
        let time = start.elapsed();
        let (single, ecmp) = (single_path_rate(topology, Cut::Nothing), equal_split_rate(topology, Cut::Nothing));
        if single.max(ecmp) > optimum + 1e-6 {
            unequal.push(topology.name.clone());
        }
        let nodes = topology.nodes.len();
        let hops: Vec<u32> = (0..nodes).flat_map(|node| topology.hops(node, Cut::Nothing)).flatten().collect();
        let (sum, most) = (hops.iter().sum::<u32>(), hops.iter().max().copied().unwrap_or(0));
        table.row([
            topology.name.clone(),
            nodes.to_string(),
            topology.links.len().to_string(),
            (nodes * (nodes - 1) / 2).to_string(),
            most.to_string(),
            format!("{:.3}", f64::from(sum) / (nodes * (nodes - 1)) as f64),
            format!("{single:.6}"),
            format!("{ecmp:.6}"),
            format!("{optimum:.6}"),
            format!("{:.2} s", time.as_secs_f64()),
        ]);
    }
    print!("{table}");
    println!("\n{ABOUT_RATES}");
    for topology in topologies.iter().filter(|_| arguments.name.is_some() || arguments.file.is_some()) {
        println!("\n{}: {} Source: {}", topology.name, topology.about, topology.source);
    }
    if arguments.cuts {
        for topology in &topologies {
            println!();
            cuts(topology)?;
        }
    }
    match unequal.is_empty() {
        true => Ok(()),
        false => Err(Failure::Condition(format!("shortest paths beat the optimum, which cannot be: {}", unequal.join(", ")))),
    }
}

fn networks(arguments: &Arguments) -> Result<Vec<Topology>, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    match arguments {
        Arguments { name: Some(name), .. } => Ok(vec![Topology::named(name).map_err(|error| usage(&error))?]),
        Arguments { file: Some(path), .. } => {
            let json = fs::read_to_string(path).map_err(|error| usage(&format!("{}: {error}", path.display())))?;
            Ok(vec![Topology::parse(&json).map_err(|error| usage(&format!("{}: {error}", path.display())))?])
        }
        Arguments { generated: Some(nodes), seed, .. } => Ok(vec![metropolitan(*nodes, *seed).map_err(|error| usage(&error))?]),
        _ => Topology::all().map_err(|error| usage(&error)),
    }
}

pub(super) fn optimum(topology: &Topology, cut: Cut) -> Result<f64, Failure> {
    largest_equal_rate(topology, cut).map_err(|error| Failure::Condition(format!("{}: {error}", topology.name)))
}

/// The worst first.
fn cuts(topology: &Topology) -> Result<(), Failure> {
    let whole = optimum(topology, Cut::Nothing)?;
    let count = topology.links.len() + topology.nodes.len();
    progress(&format!("{}: {count} linear programmes, one for each cut", topology.name));
    let start = Instant::now();
    let mut rates = Vec::new();
    for cut in topology.single_cuts() {
        rates.push((optimum(topology, cut)?, cut));
    }
    let time = start.elapsed();
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut table = Table::new(&["cut", "kind", "ecmp", "optimum", "of the whole"]);
    for (rate, cut) in rates {
        let kind = if matches!(cut, Cut::Node(_)) { "node" } else { "link" };
        let ecmp = equal_split_rate(topology, cut);
        let of_whole = if whole > 0.0 { rate / whole } else { 0.0 };
        let row = [topology.cut_name(cut), kind.to_owned(), format!("{ecmp:.6}"), format!("{rate:.6}"), format!("{of_whole:.3}")];
        table.row(row);
    }
    println!("{} with a cut, worst first; all {count} solved in {:.1} s", topology.name, time.as_secs_f64());
    print!("{table}");
    Ok(())
}
