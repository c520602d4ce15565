//! `simulation soak`

use std::time::Instant;

use super::Failure;
use crate::soak;
use crate::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Tells what happens, of one seed.
    #[arg(long)]
    story: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let &Arguments { seeds, from, story } = arguments;
    if story {
        if seeds != 1 {
            return Err(Failure::Usage("a story is told of one seed: --seeds 1".to_owned()));
        }
        println!("{:?}", soak::world(from, true).run());
        return Ok(());
    }
    let start = Instant::now();
    let every = (seeds / 20).max(1);
    let report = soak::run(from, seeds, |done| {
        if done % every == 0 {
            eprintln!("... {done} of {seeds} seeds, {:.0} s", start.elapsed().as_secs_f64());
        }
    })
    .map_err(|broken| {
        let repeat = format!("simulation soak --from {} --seeds 1 --story", broken.seed);
        Failure::Condition(format!("{broken}\nrepeat it with: {repeat}"))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let mut table = Table::new(&["what", "number"]);
    let mut row = |what: &str, number: u64| table.row([what.to_owned(), number.to_string()]);
    row("seeds, each a network of 3 to 8 nodes", seeds);
    row("events", report.events);
    row("keys that masters were given", report.supplied);
    row("keys that slaves collected", report.collected);
    row("orders refused for lack of key", report.refused);
    row("orders that ended with the process of their node", report.cut_off);
    row("keys lost with the disk of the slave's node", report.lost_with_disk);
    row("requests for keys of others, all refused", report.forbidden);
    row("keys relayed over trusted nodes", report.relayed);
    row("  in parts, over several paths", report.relayed_in_parts);
    row("  hops of these", report.hops);
    row("relays that failed, and lost nothing", report.not_relayed.values().sum());
    row("messages", report.messages);
    row("  lost", report.lost);
    row("  repeated", report.repeated);
    row("  changed", report.corrupted);
    row("connections broken", report.broken);
    row("QKD links without rate for a while", report.outages);
    row("crashes", report.crashes);
    row("  that lost the disk", report.disks_lost);
    row("disks that failed", report.disk_failures);
    row("clocks set", report.clock_steps);
    row("lies of a node on the way about relays", report.lies.values().sum());
    for (lie, number) in &report.lies {
        row(&format!("  {lie}"), *number);
    }
    row("  told to routers, or kept from them", report.advertised_falsely);
    row("keys and blocks that came to nothing after one", report.lies_noticed);
    print!("{table}");
    println!(
        "\nEvery promise held. {seconds:.1} s, {:.0} seeds and {:.0} events a second.",
        seeds as f64 / seconds,
        report.events as f64 / seconds
    );
    Ok(())
}
