//! The command line.

mod capacity;
mod oscillation;
mod reroute;
mod scale;
mod soak;
mod topology;
mod worst_cuts;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use topology::optimum;

const EXAMPLES: &str = "\
Examples:
  simulation topology                         all networks, and what they can give at the most
  simulation topology nobel-germany --cuts    what is left of that when a link or a node fails
  simulation reroute --plots plots            a link stops making key, and comes back
  simulation worst-cuts                       every link and node in turn
  simulation oscillation                      two equal ways under too much load for one
  simulation capacity nobel-germany nobel-eu  how much of the optimum is delivered
  simulation scale                            routing with 1,000 and 10,000 nodes
  simulation soak --seeds 10000               random networks with all faults
  simulation soak --from 17 --seeds 1 --story  one of them, telling what happens

Tables go to standard output, progress to standard error. The status is 0 when all stated conditions hold, 1 when one does not,
2 when the command line makes no sense.";

/// Whole networks of key managers and routers in virtual time.
#[derive(Debug, Parser)]
#[command(name = "simulation", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Networks, and the largest rate that all pairs of nodes can have at once.
    Topology(topology::Arguments),
    /// A link stops making key and comes back: how fast routes follow, and whether anybody notices.
    Reroute(reroute::Arguments),
    /// Each link and each node fails in turn, at a demand that what is left can meet.
    WorstCuts(worst_cuts::Arguments),
    /// Whether load that takes two equal ways is spread over both, calmly.
    Oscillation(oscillation::Arguments),
    /// How much of what a network can give at the most is delivered.
    Capacity(capacity::Arguments),
    /// Routing in large networks: shortest paths, memory, flooding, convergence.
    Scale(scale::Arguments),
    /// Small random networks with all faults, seed by seed.
    Soak(soak::Arguments),
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The user asked for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// A stated condition does not hold.
    #[error("{0}")]
    Condition(String),
}

/// Runs the program with these arguments; `memory` tells how many octets are allocated.
pub fn run(arguments: impl IntoIterator<Item = OsString>, memory: fn() -> usize) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is an error for clap, too; when it cannot be printed, nothing can.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match arguments.command {
        Command::Topology(arguments) => topology::run(&arguments),
        Command::Reroute(arguments) => reroute::run(&arguments),
        Command::WorstCuts(arguments) => worst_cuts::run(&arguments),
        Command::Oscillation(arguments) => oscillation::run(&arguments),
        Command::Capacity(arguments) => capacity::run(&arguments),
        Command::Scale(arguments) => scale::run(&arguments, memory),
        Command::Soak(arguments) => soak::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("simulation: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Says what is being done, on standard error.
fn progress(what: &str) {
    eprintln!("... {what}");
}
