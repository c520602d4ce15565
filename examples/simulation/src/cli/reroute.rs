//! `simulation reroute`

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use qkd_link::rate::Skr;

use super::{Failure, optimum, progress};
use crate::plot::{Line, Plot};
use crate::scenario::{FILLED, LINK_RATE, demand, settings, world};
use crate::table::Table;
use crate::topology::{Cut, Topology};
use crate::world::Samples;

/// When the link stops making key, when it goes on, and when applications stop asking.
const CUT: u64 = 360;
const RESTORED: u64 = 660;
const END: u64 = 960;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One of the networks that come with the program.
    #[arg(default_value = "nobel-germany")]
    name: String,
    /// The pair that is looked at.
    #[arg(long, default_value = "berlin")]
    from: String,
    /// See `--from`.
    #[arg(long, default_value = "frankfurt")]
    to: String,
    /// The demand of every pair, in parts of what is left of the optimum after the cut.
    #[arg(long, default_value_t = 0.8)]
    demand: f64,
    /// Writes the plots into this folder.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// Everything follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    let topology = Topology::named(&arguments.name).map_err(|error| usage(&error))?;
    let number = |name: &str| {
        let found = topology.nodes.iter().position(|node| node.name == name);
        found.ok_or_else(|| Failure::Usage(format!("there is no node {name} in {}", topology.name)))
    };
    let (from, to) = (number(&arguments.from)?, number(&arguments.to)?);
    let name = |node: usize| topology.nodes[node].name.clone();
    // Whatever the first hop will be, the demand fits the worst of them.
    let ways: Vec<usize> = (0..topology.links.len()).filter(|&link| topology.links[link].ends.contains(&from)).collect();
    let rest = ways.iter().map(|&link| optimum(&topology, Cut::Link(link))).collect::<Result<Vec<_>, _>>()?;
    let rest = rest.into_iter().fold(f64::MAX, f64::min);
    let load = demand(&topology, Cut::Nothing, arguments.demand * rest * LINK_RATE);
    let mut settings = settings(arguments.seed, load, Duration::from_secs(END));
    settings.watch = Some((from, to));
    settings.sample_every = Some(Duration::from_secs(1));
    let mut world = world(&topology, settings);
    progress("pools fill, and applications ask");
    world.run_until(Duration::from_secs(CUT));
    let advertised = world.report().router_messages;
    let refused_before = world.report().refused;
    let used = world.route(from, to).and_then(|path| path.hops.first().map(|hop| hop.to.clone()));
    let used = used.ok_or_else(|| Failure::Condition("there is no route".to_owned()))?;
    let via = number(used.as_str())?;
    let link = ways.iter().copied().find(|&link| topology.links[link].ends.contains(&via)).expect("a hop is over a link");
    progress(&format!("{} makes no key any more", topology.link_name(link)));
    world.override_rate(link, Some(Skr::ZERO));
    world.run_until(Duration::from_secs(RESTORED));
    let advertised = world.report().router_messages - advertised;
    progress("and makes key again");
    world.override_rate(link, None);
    let (report, samples) = world.run_sampled();

    let over = |path: &[usize]| path.windows(2).any(|hop| topology.links[link].ends.iter().all(|end| hop.contains(end)));
    let cut = CUT as f64;
    let first_other = samples.relays.iter().find(|(at, path)| *at > cut && !over(path));
    let last_over = samples.relays.iter().rev().find(|(at, path)| *at > cut && *at < RESTORED as f64 && over(path));
    let again = samples.relays.iter().find(|(at, path)| *at > RESTORED as f64 && over(path));
    let lowest = lowest(&samples, cut, RESTORED as f64);
    let switches = samples.switches().count();
    let mut table = Table::new(&["what", "value"]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    let after = |at: Option<f64>| at.map_or("never".to_owned(), |at| format!("{at:.1} s"));
    row("link without key", topology.link_name(link));
    row("demand of each pair, in bit/s", format!("{:.0}", arguments.demand * rest * LINK_RATE));
    row("from zero rate to the first key over another route", after(first_other.map(|(at, _)| at - cut)));
    row("from zero rate to the last key over the dead link", after(last_over.map(|(at, _)| at - cut)));
    row("from its return to the first key over it", after(again.map(|(at, _)| at - RESTORED as f64)));
    row("lowest pool of the pair meanwhile, in keys", format!("{lowest:.0}"));
    row("orders refused, of all pairs", report.refused.to_string());
    row("  before the cut", refused_before.to_string());
    row("orders served", report.supplied.to_string());
    row("messages of routers from cut to return", advertised.to_string());
    row("changes of the pair's route in all", switches.to_string());
    for (reason, number) in &report.not_relayed {
        table.row([format!("relays refused: {reason}"), number.to_string()]);
    }
    print!("{table}");
    if let Some((_, path)) = first_other {
        println!("\nthe other route: {}", path.iter().map(|&node| name(node)).collect::<Vec<_>>().join(" - "));
    }
    if let Some(folder) = &arguments.plots {
        fs::create_dir_all(folder).map_err(|error| usage(&error))?;
        for (file, plot) in plots(&topology, &samples, link, from) {
            let svg = plot.to_svg().map_err(|error| usage(&error))?;
            fs::write(folder.join(file), svg).map_err(|error| usage(&error))?;
        }
    }
    let hold = 10.0;
    let may_switch = (END as f64 - FILLED.as_secs_f64()) / hold;
    for (broken, what) in [
        (report.refused > 0, "orders were refused"),
        (first_other.is_none(), "no key took another route"),
        (switches as f64 > may_switch, "the route changes more than once in a hold time"),
    ] {
        if broken {
            return Err(Failure::Condition(what.to_owned()));
        }
    }
    Ok(())
}

fn lowest(samples: &Samples, from: f64, to: f64) -> f64 {
    let within = samples.seconds.iter().zip(&samples.ready).filter(|(at, _)| (from..to).contains(*at));
    within.map(|(_, ready)| *ready).fold(f64::MAX, f64::min)
}

fn plots(topology: &Topology, samples: &Samples, link: usize, from: usize) -> Vec<(&'static str, Plot)> {
    let marks = vec![(CUT as f64, "no key".to_owned()), (RESTORED as f64, "key again".to_owned())];
    let points = |values: &[f64]| samples.seconds.iter().copied().zip(values.iter().copied()).collect::<Vec<_>>();
    let line = |name: &str, values: &[f64]| Line { name: name.to_owned(), points: points(values) };
    let of_links: Vec<Line> = (0..topology.links.len())
        .filter(|&other| other == link || topology.links[other].ends.contains(&from))
        .map(|link| line(&samples.stored[link].0, &samples.stored[link].1))
        .collect();
    let refused: Vec<f64> = samples.refused.iter().scan(0.0, |last, now| Some(now - std::mem::replace(last, *now))).collect();
    let plot =
        |title: &str, what: &str, lines| Plot { title: title.to_owned(), what: what.to_owned(), lines, marks: marks.clone() };
    let over = |way: usize| samples.relays.iter().filter(move |(_, path)| path[1] == way).map(|(at, _)| (*at, 1.0));
    let mut ways: Vec<usize> = samples.relays.iter().map(|(_, path)| path[1]).collect();
    ways.sort_unstable();
    ways.dedup();
    // Of each way how many keys had come over it.
    let counted = |way| {
        over(way)
            .scan(0.0, |sum, (at, one)| {
                *sum += one;
                Some((at, *sum))
            })
            .collect::<Vec<_>>()
    };
    let over =
        ways.iter().map(|&way| Line { name: format!("over {}", topology.nodes[way].name), points: counted(way) }).collect();
    vec![
        ("links.svg", plot("Link key in store", "bits, both ends", of_links)),
        ("pool.svg", plot("Keys ready for the pair", "keys", vec![line("pool", &samples.ready)])),
        ("cost.svg", plot("Cost of the pair's route", "cost", vec![line("cost", &samples.cost)])),
        ("route.svg", plot("Relayed keys of the pair, by first hop", "keys so far", over)),
        ("refused.svg", plot("Refused orders of all pairs", "in each second", vec![line("refused", &refused)])),
    ]
}
