//! `simulation oscillation`

use std::time::Duration;

use super::Failure;
use crate::scenario::{FILLED, LINK_RATE, demand, settings, world};
use crate::table::Table;
use crate::topology::{Cut, Link, Node, Topology};
use crate::world::Load;

/// For how long a router keeps to a route at the least, in seconds.
const HOLD: f64 = 10.0;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// For how many virtual seconds.
    #[arg(long, default_value_t = 1_800)]
    seconds: u64,
    /// Everything follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let topology = two_ways()?;
    // Half as much again as one way can carry.
    let load = Load { pairs: vec![(0, 3), (3, 0)], ..demand(&topology, Cut::Nothing, 1.5 * LINK_RATE * 0.9) };
    let mut settings = settings(arguments.seed, load, FILLED + Duration::from_secs(arguments.seconds));
    settings.watch = Some((0, 3));
    // One relay at a time, or the whole demand of a route's life would be asked for at once.
    settings.sample_every = Some(Duration::from_secs(1));
    let (report, samples) = world(&topology, settings).run_sampled();
    let ways: Vec<(f64, usize)> = samples.relays.iter().map(|(at, path)| (*at, path[1])).collect();
    let over_first = ways.iter().filter(|(_, way)| *way == 1).count() as f64 / ways.len().max(1) as f64;
    let switches: Vec<f64> = samples.switches().collect();
    let most = switches.iter().map(|from| switches.iter().filter(|at| (*from..from + HOLD).contains(*at)).count()).max();
    let most = most.unwrap_or(0);
    let mut table = Table::new(&["what", "value"]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("keys relayed from one end", ways.len().to_string());
    row("part of them over the first way", format!("{over_first:.3}"));
    row("switches of the way", switches.len().to_string());
    row("most of them within one hold time", most.to_string());
    row("orders refused", report.refused.to_string());
    print!("{table}");
    let mut broken = Vec::new();
    if !(0.4..=0.6).contains(&over_first) {
        broken.push("the ways are not used evenly".to_owned());
    }
    if most > 1 {
        broken.push("the way changes more than once in a hold time".to_owned());
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::Condition(broken.join("; "))) }
}

/// Two ends and a node in the middle of each of two ways.
fn two_ways() -> Result<Topology, Failure> {
    let text = |text: &str| text.to_owned();
    let nodes = ["west", "north", "south", "east"].map(|name| Node { name: text(name), place: None }).into();
    let links = [[0, 1], [1, 3], [0, 2], [2, 3]].map(|ends| Link { ends, km: Some(50.0) }).into();
    let about = text("two equal ways");
    Topology { name: text("two-ways"), about, source: text("made for this"), nodes, links }
        .checked()
        .map_err(|error| Failure::Usage(error.to_string()))
}
