//! Benchmarks of the reference KME. `cargo run --release -p bench -- run` does everything; the other commands are its parts.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod client;
mod cpu;
mod failure;
mod handshakes;
mod hello;
mod load;
mod run;

use failure::Failure;

/// Benchmarks of the reference KME against a bare TLS server.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds and starts all servers, measures everything, and prints the report.
    Run(run::Arguments),
    /// The yardstick: an HTTPS server that says hello, with the TLS settings of a KME.
    Hello(hello::Arguments),
    /// A closed-loop load client: one outstanding request on each connection.
    Load(load::Arguments),
    /// Counts new connections: handshake, one request, and the end.
    Handshakes(handshakes::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Hello(arguments) => in_runtime(hello::serve(&arguments)),
        Command::Load(arguments) => in_runtime(load::load(&arguments)),
        Command::Handshakes(arguments) => in_runtime(handshakes::handshakes(&arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
