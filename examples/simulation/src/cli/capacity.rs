//! `simulation capacity`

use std::time::{Duration, Instant};

use super::{Failure, optimum, progress};
use crate::optimum::{equal_split_rate, single_path_rate};
use crate::scenario::{FILLED, LINK_RATE, demand, settings, world};
use crate::table::Table;
use crate::topology::{Cut, Topology};

/// Orders refused of all, up to which a demand counts as met.
const MET: f64 = 0.001;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Networks that come with the program.
    #[arg(default_values = ["nobel-germany"])]
    names: Vec<String>,
    /// Demands to try, in parts of the optimum.
    #[arg(long, value_delimiter = ',', default_values_t = [0.7, 0.8, 0.85, 0.9, 0.95, 1.1])]
    demands: Vec<f64>,
    /// For how many virtual seconds each is measured.
    #[arg(long, default_value_t = 240)]
    seconds: u64,
    /// What part of the optimum has to be delivered, by the best of the demands; else the status is 1.
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
        let heading = ["demand of optimum", "delivered of optimum", "refused", "met", "relayed", "hops each", "real time"];
        let mut table = Table::new(&heading);
        let mut best = 0.0_f64;
        for &part in &arguments.demands {
            progress(&format!("{name}: {part} of the optimum"));
            let start = Instant::now();
            let until = FILLED * 2 + Duration::from_secs(arguments.seconds);
            let load = demand(&topology, Cut::Nothing, part * optimum * LINK_RATE);
            let mut world = world(&topology, settings(arguments.seed, load, until));
            world.run_until(FILLED * 2);
            let before = world.report().clone();
            world.run_until(until);
            let after = world.report().clone();
            world.run();
            let pairs = (topology.nodes.len() * (topology.nodes.len() - 1) / 2) as f64;
            let bits = (after.supplied_bits - before.supplied_bits) as f64;
            let delivered = bits / arguments.seconds as f64 / (pairs * optimum * LINK_RATE);
            let [supplied, refused] = [after.supplied - before.supplied, after.refused - before.refused].map(|n| n as f64);
            let refused = refused / (supplied + refused);
            let relayed = after.relayed - before.relayed;
            best = best.max(delivered);
            table.row([
                format!("{part:.2}"),
                format!("{delivered:.3}"),
                format!("{:.2} %", 100.0 * refused),
                if refused <= MET { "yes" } else { "no" }.to_owned(),
                relayed.to_string(),
                format!("{:.2}", (after.hops - before.hops) as f64 / relayed.max(1) as f64),
                format!("{:.0} s", start.elapsed().as_secs_f64()),
            ]);
        }
        let [single, ecmp] = [single_path_rate(&topology, Cut::Nothing), equal_split_rate(&topology, Cut::Nothing)];
        println!("{name}: the optimum is {optimum:.6} of a link for each pair");
        println!("of that, one shortest path each gives {:.3}, all evenly {:.3}", single / optimum, ecmp / optimum);
        print!("{table}");
        println!();
        if best < arguments.at_least {
            missed.push(format!("{name} delivers {best:.3} of the optimum, less than {}", arguments.at_least));
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(Failure::Condition(missed.join("; "))) }
}
