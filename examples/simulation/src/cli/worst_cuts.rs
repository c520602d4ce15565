//! `simulation worst-cuts`

use std::time::Duration;

use super::{Failure, optimum, progress};
use crate::rates::Outage;
use crate::scenario::{FILLED, LINK_RATE, demand, settings, world};
use crate::table::Table;
use crate::topology::{Cut, Topology};

/// When the links of the cut stop making key.
const CUT: Duration = Duration::from_secs(720);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One of the networks that come with the program.
    #[arg(default_value = "nobel-germany")]
    name: String,
    /// The demand of every pair, in parts of what is left of the optimum after the cut.
    #[arg(long, default_value_t = 0.8)]
    demand: f64,
    /// For how many virtual seconds after each cut.
    #[arg(long, default_value_t = 240)]
    seconds: u64,
    /// Everything follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let topology = Topology::named(&arguments.name).map_err(|error| Failure::Usage(error.to_string()))?;
    let whole = optimum(&topology, Cut::Nothing)?;
    let mut table = Table::new(&["cut", "optimum of the whole", "pairs", "served", "refused"]);
    let mut short = Vec::new();
    for cut in topology.single_cuts() {
        let name = topology.cut_name(cut);
        let rest = optimum(&topology, cut)?;
        progress(&format!("{name}: {:.2} of the optimum is left", rest / whole));
        let load = demand(&topology, cut, arguments.demand * rest * LINK_RATE);
        let pairs = load.pairs.len();
        let mut settings = settings(arguments.seed, load, CUT + Duration::from_secs(arguments.seconds));
        let left: Vec<usize> = topology.links_after(cut).collect();
        let gone = (0..topology.links.len()).filter(|link| !left.contains(link));
        settings.outages = gone.map(|link| Outage { link, from: CUT, until: None }).collect();
        let report = world(&topology, settings).run();
        if report.refused > 0 {
            short.push(name.clone());
        }
        let row = [format!("{:.3}", rest / whole), pairs.to_string(), report.supplied.to_string(), report.refused.to_string()];
        table.row(std::iter::once(name).chain(row));
    }
    print!("{table}");
    println!(
        "\nDemand is {} of what is left, from {} s on; the cut comes at {} s.",
        arguments.demand,
        FILLED.as_secs(),
        CUT.as_secs()
    );
    if short.is_empty() { Ok(()) } else { Err(Failure::Condition(format!("orders were refused without {}", short.join(", ")))) }
}
