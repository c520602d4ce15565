//! The one command: builds, starts the servers, measures in rounds, and reports.

mod disk;
mod machine;
mod measure;
mod micro;
mod process;
mod report;
mod scrape;
mod sections;
mod site;
mod statistics;

use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::failure::Failure;
use measure::Load;
use report::Report;
use site::Site;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Where stores and certificates of this run go; on the disk to be measured.
    #[arg(long, default_value = "target/bench")]
    data: PathBuf,
    /// How many rounds; figures are medians over them.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds for each measurement in a round.
    #[arg(long, default_value_t = 2000)]
    measure_ms: u64,
    /// Milliseconds before each measurement.
    #[arg(long, default_value_t = 300)]
    warmup_ms: u64,
    /// Only these sections.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Puts the report between the markers in this file, as well as on standard output.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "BENCHMARKS.md")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Get key, by store and durability, against hello.
    Rates,
    /// Many keys in one request.
    Many,
    /// Few and many keys in store.
    Pool,
    /// Silent connections.
    Silent,
    /// New connections.
    Handshakes,
    /// Get key, then get key with key IDs.
    Pairs,
    /// Messages read and written.
    Micro,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut report = Report::new(machine::facts(arguments.rounds, arguments.measure_ms));
    if wants(arguments, Section::Micro) {
        eprintln!("messages");
        micro::section(&mut report);
    }
    if Section::value_variants().iter().any(|&section| section != Section::Micro && wants(arguments, section)) {
        build()?;
        let site = Site::new(&arguments.data)?;
        let load = Load::new(&site, arguments.rounds, arguments.warmup_ms, arguments.measure_ms);
        for (section, measure) in sections::ALL {
            if wants(arguments, section) {
                eprintln!("{section:?}");
                measure(&site, &load, &mut report)?;
            }
        }
    }
    let text = report.to_markdown();
    println!("{text}");
    match &arguments.write {
        Some(file) => report::write_between_markers(file, &text),
        None => Ok(()),
    }
}

fn wants(arguments: &Arguments, section: Section) -> bool {
    arguments.only.is_empty() || arguments.only.contains(&section)
}

/// The servers are programs of their own, which Cargo does not build for this one.
fn build() -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "-p", "kme", "-p", "qkd-link"]).status()?;
    status.success().then_some(()).ok_or_else(|| Failure::other("the servers do not build"))
}
