//! `simulation capacity`

use std::time::{Duration, Instant};

use super::{Failure, optimum, progress};
use crate::optimum::{equal_split_rate, single_path_rate};
use crate::scenario::{FILLED, LINK_RATE, demand, settings, world};
use crate::table::Table;
use crate::topology::{Cut, Topology};
use crate::world::{LinkReport, Report, World};

/// Orders refused of all, up to which a demand counts as met.
const MET: f64 = 0.001;
/// How long applications ask before it is measured, so that what the links had in store is used up where it is short.
const SETTLED: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Networks that come with the program.
    #[arg(default_values = ["nobel-germany"])]
    names: Vec<String>,
    /// Demands to try, in parts of the optimum.
    #[arg(long, value_delimiter = ',', default_values_t = [0.7, 0.8, 0.85, 0.9, 0.95, 1.1])]
    demands: Vec<f64>,
    /// For how many virtual seconds each is measured, from ten minutes of it on.
    #[arg(long, default_value_t = 1200)]
    seconds: u64,
    /// What part of the optimum has to be delivered and made anew, by the best of the demands; else the status is 1.
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
        let pairs = (topology.nodes.len() * (topology.nodes.len() - 1) / 2) as f64;
        let all = pairs * optimum * LINK_RATE * arguments.seconds as f64;
        let heading =
            ["demand of optimum", "delivered", "made anew", "refused", "met", "hops", "key spent", "link key left", "real time"];
        let mut table = Table::new(&heading);
        let mut best = 0.0_f64;
        for &part in &arguments.demands {
            progress(&format!("{name}: {part} of the optimum"));
            let start = Instant::now();
            let begin = FILLED + SETTLED;
            let until = begin + Duration::from_secs(arguments.seconds);
            let load = demand(&topology, Cut::Nothing, part * optimum * LINK_RATE);
            let mut world = world(&topology, settings(arguments.seed, load, until));
            world.run_until(begin);
            let before = Point::of(&mut world);
            world.run_until(until);
            let after = Point::of(&mut world);
            let (report, past) = (world.report(), before.report);
            let [supplied, refused, bits, relayed, hops] = [
                report.supplied - past.supplied,
                report.refused - past.refused,
                report.supplied_bits - past.supplied_bits,
                report.relayed - past.relayed,
                report.hops - past.hops,
            ]
            .map(|number| number as f64);
            world.run();
            let refused = refused / (supplied + refused);
            // What the pools had is not what the network makes.
            let anew = (bits - (before.ready - after.ready)) / all;
            best = best.max(anew);
            table.row([
                format!("{part:.2}"),
                format!("{:.3}", bits / all),
                format!("{anew:.3}"),
                format!("{:.2} %", 100.0 * refused),
                if refused <= MET { "yes" } else { "no" }.to_owned(),
                format!("{:.2}", hops / relayed.max(1.0)),
                format!("{:.3}", (after.spent - before.spent) / (after.carried - before.carried)),
                format!("{:+.3}", (after.left - before.left) / (after.made - before.made)),
                format!("{:.0} s", start.elapsed().as_secs_f64()),
            ]);
        }
        let [single, ecmp] = [single_path_rate(&topology, Cut::Nothing), equal_split_rate(&topology, Cut::Nothing)];
        println!("{name}: the optimum is {optimum:.6} of a link for each pair");
        println!("of that, one shortest path each gives {:.3}, all evenly {:.3}", single / optimum, ecmp / optimum);
        print!("{table}");
        println!("Delivered and made anew: parts of the optimum; what the pools of the applications lost is not made anew.");
        println!("Hops: of relayed keys. Key spent: link key, tags and all, for a bit that a link carried.");
        println!("Link key left: what the links and their modules had more, or less, at the end, in parts of what they made.");
        println!();
        if best < arguments.at_least {
            missed.push(format!("{name} delivers {best:.3} of the optimum, less than {}", arguments.at_least));
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(Failure::Condition(missed.join("; "))) }
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
