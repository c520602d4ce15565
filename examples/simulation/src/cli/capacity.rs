//! `simulation capacity`

use std::time::{Duration, Instant};

use super::{Failure, optimum, progress};
use crate::optimum::{equal_split_rate, single_path_rate};
use crate::parallel;
use crate::scenario::{LINK_RATE, demand, settings, world};
use crate::table::Table;
use crate::topology::{Cut, Topology};
use crate::world::{LinkReport, Report, World};

/// Orders refused of all, up to which a demand counts as met.
const MET: f64 = 0.001;
/// When applications begin to ask: in large networks, too, pools are full by then.
const FILLED_ALSO_IF_LARGE: Duration = Duration::from_secs(600);
/// How long applications ask before it is measured, so that what the links had in store is used up where it is short.
const SETTLED: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Networks that come with the program.
    #[arg(default_values = ["nobel-germany"])]
    names: Vec<String>,
    /// Demands to try, in parts of the optimum.
    #[arg(long, value_delimiter = ',', default_values_t = [0.8, 0.9, 0.93, 0.95, 1.1, 1.5])]
    demands: Vec<f64>,
    /// For how many virtual seconds each is measured, from ten minutes of it on.
    #[arg(long, default_value_t = 1200)]
    seconds: u64,
    /// What part of the optimum has to be delivered and made anew, by the best of the demands that are met; else the status is 1.
    #[arg(long, default_value_t = 0.9)]
    at_least: f64,
    /// Everything follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut missed = Vec::new();
    for name in &arguments.names {
        let topology = Topology::named(name).map_err(|error| Failure::Usage(error.to_string()))?;
        let optimum = optimum(&topology, Cut::Nothing)?;
        let outcomes = parallel::map(&arguments.demands, |&part| {
            progress(&format!("{name}: {part} of the optimum"));
            measure(arguments, &topology, optimum, part)
        });
        let heading =
            ["demand", "delivered", "made anew", "refused", "met", "least served", "hops", "spent", "left", "real time"];
        let mut table = Table::new(&heading);
        for outcome in &outcomes {
            table.row([
                format!("{:.2}", outcome.demand),
                format!("{:.3}", outcome.delivered),
                format!("{:.3}", outcome.anew),
                format!("{:.2} %", 100.0 * outcome.refused),
                if outcome.is_met() { "yes" } else { "no" }.to_owned(),
                format!("{:.3}", outcome.least_served),
                format!("{:.2}", outcome.hops),
                format!("{:.3}", outcome.spent),
                format!("{:+.3}", outcome.left),
                format!("{:.0} s", outcome.took.as_secs_f64()),
            ]);
        }
        let [single, ecmp] = [single_path_rate(&topology, Cut::Nothing), equal_split_rate(&topology, Cut::Nothing)];
        println!("{name}: the optimum is {optimum:.6} of a link for each pair");
        println!("of that, one shortest path each gives {:.3}, all evenly {:.3}", single / optimum, ecmp / optimum);
        println!("{table}");
        let best = outcomes.iter().filter(|outcome| outcome.is_met()).map(|outcome| outcome.anew).fold(0.0, f64::max);
        if best < arguments.at_least {
            missed.push(format!(
                "{name}: of the demands that are met the best makes {best:.3} anew, less than {}",
                arguments.at_least
            ));
        }
    }
    println!("Demand, delivered, made anew: parts of the optimum; what pools lost of blocks and relayed key is not made anew.");
    println!(
        "Least served: of all pairs, the part of its orders that was not refused. Hops: of relayed keys. Spent: link key, tags"
    );
    println!(
        "and all, for a bit that a link carried. Left: what links and modules had more, or less, at the end, in parts of what"
    );
    println!("they made.");
    if missed.is_empty() { Ok(()) } else { Err(Failure::Condition(missed.join("; "))) }
}

/// What came of one demand. Rates are in parts of the optimum.
struct Outcome {
    demand: f64,
    delivered: f64,
    anew: f64,
    refused: f64,
    least_served: f64,
    hops: f64,
    spent: f64,
    left: f64,
    took: Duration,
}

impl Outcome {
    fn is_met(&self) -> bool {
        self.refused <= MET
    }
}

fn measure(arguments: &Arguments, topology: &Topology, optimum: f64, part: f64) -> Outcome {
    let start = Instant::now();
    let (begin, nodes) = (FILLED_ALSO_IF_LARGE + SETTLED, topology.nodes.len());
    let until = begin + Duration::from_secs(arguments.seconds);
    let load = demand(topology, Cut::Nothing, part * optimum * LINK_RATE);
    let mut settings = settings(arguments.seed, load, until);
    settings.load_starts = FILLED_ALSO_IF_LARGE;
    let mut world = world(topology, settings);
    world.run_until(begin);
    let before = Point::of(&mut world);
    world.run_until(until);
    let after = Point::of(&mut world);
    world.run();
    let (report, past) = (&after.report, &before.report);
    let since = |of: fn(&Report) -> u64| (of(report) - of(past)) as f64;
    let bits = since(|report| report.supplied_bits);
    let all = (nodes * (nodes - 1) / 2) as f64 * optimum * LINK_RATE * arguments.seconds as f64;
    Outcome {
        demand: part,
        delivered: bits / all,
        // What the pools had is not what the network makes.
        anew: (bits - (before.ready - after.ready)) / all,
        refused: since(|report| report.refused) / since(|report| report.supplied + report.refused),
        least_served: least_served(&report.of_pairs, &past.of_pairs),
        hops: since(|report| report.hops) / since(|report| report.relayed).max(1.0),
        spent: (after.spent - before.spent) / (after.carried - before.carried),
        left: (after.left - before.left) / (after.made - before.made),
        took: start.elapsed(),
    }
}

/// What part of its orders was served of the pair with which it was the least, since `before`.
pub(super) fn least_served(after: &[[u64; 2]], before: &[[u64; 2]]) -> f64 {
    let served = after.iter().zip(before).map(|(after, before)| {
        let [served, refused] = [0, 1].map(|at| (after[at] - before[at]) as f64);
        // Who asked for nothing was not refused.
        if served + refused == 0.0 { 1.0 } else { served / (served + refused) }
    });
    served.fold(1.0, f64::min)
}

/// Sums at one time, in bits.
struct Point {
    report: Report,
    /// What applications could be given at once.
    ready: f64,
    made: f64,
    /// In the modules and agreed.
    left: f64,
    /// Under pads: blocks, and keys that are relayed.
    carried: f64,
    /// All that is neither left nor waiting.
    spent: f64,
}

impl Point {
    fn of(world: &mut World) -> Self {
        let links = world.links();
        let sum = |bits: fn(&LinkReport) -> u64| links.iter().map(bits).sum::<u64>() as f64;
        let (made, left) = (sum(|link| link.made), sum(|link| link.undrawn + link.bits.stored + link.bits.waiting));
        Self {
            report: world.report().clone(),
            ready: world.bits_ready() as f64,
            made,
            left,
            carried: sum(|link| link.bits.payload + link.bits.relayed),
            spent: made - left,
        }
    }
}
