//! The command line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use transport::stop::StopSignals;

use crate::fault::Fault;
use crate::site::Site;
use crate::{control, faults};

/// Two reference KMEs and their QKD link in one process, with exactly one planted deviation.
#[derive(Parser)]
#[command(name = "faulty", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  faulty list
  faulty serve --fault M102 --dir /tmp/m102
  qkdspec run kme --config /tmp/m102/qkdspec.toml --strict      meanwhile
  faulty hook --dir /tmp/m102 link_down

Exit codes: 0 done, 1 failed, 2 wrong usage or unknown fault.";

#[derive(Subcommand)]
enum Command {
    /// Lists every fault: mutants (M) break a requirement, variants (B) conform in another way, hostile ones (H) attack whoever asks.
    #[command(after_help = "Example:\n  faulty list --json")]
    List {
        /// As JSON, an array of objects with id, kind and what.
        #[arg(long)]
        json: bool,
    },
    /// Serves until standard input closes, or SIGTERM. Prints `ready FILE` once, FILE being the configuration for qkdspec.
    #[command(after_help = "Examples:\n  faulty serve --dir /tmp/reference\n  faulty serve --fault M102 --dir /tmp/m102")]
    Serve(Serve),
    /// Does something to the laboratory of a serving process: drain_a, refill_a, restart_a, link_down, link_up, clock_forward.
    #[command(after_help = "Example:\n  faulty hook --dir /tmp/m102 restart_a")]
    Hook {
        /// The folder of the process that serves.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What to do.
        name: String,
    },
}

#[derive(Args)]
struct Serve {
    /// The deviation; none: the reference as it is.
    #[arg(long, value_name = "ID")]
    fault: Option<String>,
    /// A folder for certificates, configuration and key stores; those of a former process are replaced.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Command::List { json } => list(json),
        Command::Serve(arguments) => match fault(arguments.fault.as_deref()) {
            Ok(fault) => serve(fault, arguments.dir),
            Err(unknown) => {
                let _ = writeln!(io::stderr(), "faulty: {unknown} is no fault; `faulty list` has them all");
                return ExitCode::from(2);
            }
        },
        Command::Hook { dir, name } => control::ask(&dir, &name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads on, as after `| head`.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "faulty: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fault(id: Option<&str>) -> Result<&'static Fault, &str> {
    id.map_or(Ok(&faults::NONE), |id| faults::all().find(|fault| fault.id == id).ok_or(id))
}

fn list(as_json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if as_json {
        let list: Vec<_> =
            faults::all().map(|fault| json!({ "id": fault.id, "kind": fault.kind(), "what": fault.what })).collect();
        writeln!(out, "{:#}", json!(list))?;
    } else {
        for fault in faults::all() {
            writeln!(out, "{}  {:7}  {}", fault.id, fault.kind(), fault.what)?;
        }
    }
    Ok(())
}

fn serve(fault: &'static Fault, dir: PathBuf) -> Result<(), Failure> {
    kme::logging::start(&kme::config::Log { level: kme::config::LogLevel::Error, ..Default::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        // Before the ready line, so that a signal sent because of it is not lost.
        let stop = StopSignals::new(true)?;
        let site = Site::start(fault, dir).await?;
        let mut out = io::stdout().lock();
        writeln!(out, "ready {}", site.configuration().display()).and_then(|()| out.flush())?;
        drop(out);
        stop.received().await;
        site.stop().await;
        Ok(())
    })
}
