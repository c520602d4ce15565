//! `simulation worst-cuts`

use std::time::Duration;

use super::capacity::least_served;
use super::{Failure, optimum, progress};
use crate::parallel;
use crate::rates::Outage;
use crate::scenario::{LINK_RATE, demand, settings, world};
use crate::table::Table;
use crate::topology::{Cut, Topology};

/// When the links of the cut stop making key: pools are in use by then.
const CUT: Duration = Duration::from_secs(360);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One of the networks that come with the program.
    #[arg(default_value = "nobel-germany")]
    name: String,
    /// The demand of every pair, in parts of what is left of the optimum after the cut: no order is to be refused.
    #[arg(long, default_value_t = 0.8)]
    demand: f64,
    /// The demand at which shortage is shared, in parts of the optimum of the whole network.
    #[arg(long, default_value_t = 0.8)]
    full_demand: f64,
    /// At the full demand, what part every pair has to be given of what each could have if all had the same.
    #[arg(long, default_value_t = 0.5)]
    least_share: f64,
    /// For how many virtual seconds after each cut.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Everything follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let topology = Topology::named(&arguments.name).map_err(|error| Failure::Usage(error.to_string()))?;
    let whole = optimum(&topology, Cut::Nothing)?;
    let heading = ["cut", "optimum left", "pairs", "served", "refused", "at full demand", "least served"];
    let mut table = Table::new(&heading);
    let cuts: Vec<_> = topology.single_cuts().collect();
    let rows = parallel::map(&cuts, |&cut| {
        let rest = optimum(&topology, cut)?;
        progress(&format!("{}: {:.2} of the optimum is left", topology.cut_name(cut), rest / whole));
        let residual = serve(arguments, &topology, cut, arguments.demand * rest * LINK_RATE);
        let full = serve(arguments, &topology, cut, arguments.full_demand * whole * LINK_RATE);
        Ok::<_, Failure>((rest / whole, residual, full))
    });
    let (mut short, mut unfair) = (Vec::new(), Vec::new());
    for (&cut, row) in cuts.iter().zip(rows) {
        let (left, residual, full) = row?;
        let name = topology.cut_name(cut);
        let refused = residual.iter().map(|[_, refused]| refused).sum::<u64>();
        let served = residual.iter().map(|[served, _]| served).sum::<u64>();
        let [given, not_given] = [0, 1].map(|at| full.iter().map(|pair| pair[at]).sum::<u64>() as f64);
        let (mean, least) = (given / (given + not_given).max(1.0), least_served(&full, &vec![[0; 2]; full.len()]));
        if refused > 0 {
            short.push(name.clone());
        }
        if least < arguments.least_share * (left / arguments.full_demand).min(1.0) {
            unfair.push(name.clone());
        }
        table.row([
            name,
            format!("{left:.3}"),
            residual.len().to_string(),
            served.to_string(),
            refused.to_string(),
            format!("{:.2} % refused", 100.0 * (1.0 - mean)),
            format!("{least:.3}"),
        ]);
    }
    print!("{table}");
    println!(
        "\nServed and refused: from the cut on, at {} of the optimum that is left. At full demand: {} of",
        arguments.demand, arguments.full_demand
    );
    println!("the optimum of the whole network; least served: of all pairs, the part of its orders that was not refused.");
    let mut broken = Vec::new();
    if !short.is_empty() {
        broken.push(format!("orders were refused without {}", short.join(", ")));
    }
    if !unfair.is_empty() {
        let share = arguments.least_share;
        broken.push(format!(
            "shortage was not shared without {}: a pair got less than {share} of an even share",
            unfair.join(", ")
        ));
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::Condition(broken.join("; "))) }
}

/// Orders of each pair that were served and refused after the cut, at this rate of each.
fn serve(arguments: &Arguments, topology: &Topology, cut: Cut, rate: f64) -> Vec<[u64; 2]> {
    let mut settings = settings(arguments.seed, demand(topology, cut, rate), CUT + Duration::from_secs(arguments.seconds));
    let left: Vec<usize> = topology.links_after(cut).collect();
    let gone = (0..topology.links.len()).filter(|link| !left.contains(link));
    settings.outages = gone.map(|link| Outage { link, from: CUT, until: None }).collect();
    let mut world = world(topology, settings);
    world.run_until(CUT);
    let before = world.report().of_pairs.clone();
    let after = world.run().of_pairs;
    after.iter().zip(before).map(|(after, before)| [0, 1].map(|at| after[at] - before[at])).collect()
}
