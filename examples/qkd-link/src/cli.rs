//! The command line, as a function, so that another program can be a link process by calling [`run`].

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Config;
use crate::control;
use crate::pattern::TestPattern;
use crate::rate::Skr;
use crate::serve::{Until, run_blocking};
use crate::synthetic::{Class, Incidents, Parameters};

/// Runs the command line. The first of `arguments` is the name of the program.
///
/// Errors go to standard error, and the exit code is then 1, or 2 for a wrong command line.
pub fn run<I>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item: Into<OsString> + Clone>,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be done when even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Command::Serve(arguments) => serve(arguments),
        Command::Trace(arguments) => trace(&arguments),
        Command::Rate(arguments) => rate(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qkd-link: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An emulated QKD link: two ETSI GS QKD 014 servers on one key stream.
#[derive(Parser, Debug)]
#[command(name = "qkd-link", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  qkd-link trace --class slow --km 40 --hours 24 --seed 1 > slow-40km.csv
  qkd-link serve --config link.toml
  qkd-link rate --control http://127.0.0.1:8440 0        the link fails
  qkd-link rate --control http://127.0.0.1:8440 trace    back to the trace";

#[derive(Subcommand, Debug)]
enum Command {
    /// Serves both ends of a link.
    Serve(ServeArguments),
    /// Writes a synthetic trace of the secret key rate to standard output.
    Trace(TraceArguments),
    /// Sets the rate of a running link.
    Rate(RateArguments),
}

#[derive(Args, Debug)]
#[command(after_help = SERVE_HELP)]
struct ServeArguments {
    /// The settings, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ends when standard input closes, hence with the process that holds its other end.
    #[arg(long)]
    exit_with_parent: bool,
    /// UNSAFE, for leak tests only: makes every key of this pattern and a counter, so that it can be searched for.
    #[arg(long, value_name = "HEX")]
    test_pattern: Option<TestPattern>,
}

const SERVE_HELP: &str = r#"When both ends listen, one line of JSON with the chosen ports goes to standard output:
  {"event":"ready","port_a":40001,"port_b":40002,"port_control":40003}

The settings:
  trace = "slow-40km.csv"      # or: constant_bps = 2500.0
  speed = 60                   # 1 to 1000 times real time
  key_size = 256               # bits
  max_key_count = 100000       # undrawn keys; when full, generation stops
  max_key_per_request = 128
  lag_of_b_s = 0.5             # 0 to 2 seconds
  collect_within_s = 300       # how long a drawn key is kept for the other end
  control = "127.0.0.1:8440"   # loopback only; port 0: any
  identity = { san_uri = { prefix = "urn:qkd:kme:" } }   # where certificates carry KME IDs

  [a]                          # and [b] likewise
  listen = "127.0.0.1:8441"
  device_id = "link-a"
  kme_id = "north"             # the only client that is served, by its certificate
  certificate = "link-a.pem"
  key = "link-a.key"
  ca = "ca.pem""#;

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  qkd-link trace --class fast --km 25 --hours 24 --seed 7 --step 60 > fast-25km.csv")]
struct TraceArguments {
    /// The class of QKD system: slow (key up to 20 dB) or fast (up to 30 dB).
    #[arg(long)]
    class: ClassName,
    /// The distance on the map in kilometres.
    #[arg(long)]
    km: f64,
    /// The length of the trace.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// The seed: the same seed and parameters give the same octets.
    #[arg(long)]
    seed: u64,
    /// The step in seconds.
    #[arg(long, default_value_t = 60)]
    step: u32,
    /// A link at the edge of its reach, dead for a quarter of the time.
    #[arg(long)]
    harsh: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  qkd-link rate --control http://127.0.0.1:8440 0")]
struct RateArguments {
    /// The address of the link's control.
    #[arg(long, value_name = "URL")]
    control: String,
    /// Bits per second, before the speed is applied; 0: the link fails; "trace": back to the trace.
    #[arg(value_name = "BPS", value_parser = wanted_rate)]
    rate: WantedRate,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClassName {
    Slow,
    Fast,
}

#[derive(Clone, Copy, Debug)]
struct WantedRate(Option<Skr>);

fn wanted_rate(text: &str) -> Result<WantedRate, String> {
    if text == "trace" {
        return Ok(WantedRate(None));
    }
    let bps: f64 = text.parse().map_err(|_| "a number or \"trace\" is wanted".to_owned())?;
    Skr::new(bps).map(|rate| WantedRate(Some(rate))).map_err(|error| error.to_string())
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn serve(arguments: ServeArguments) -> Done {
    let mut config = Config::load(&arguments.config)?;
    if let Some(pattern) = arguments.test_pattern {
        config.stream.test_pattern = Some(pattern);
    }
    let until = if arguments.exit_with_parent { Until::SignalOrStdinCloses } else { Until::Signal };
    Ok(run_blocking(config, until)?)
}

fn trace(arguments: &TraceArguments) -> Done {
    let class = match arguments.class {
        ClassName::Slow => Class::Slow,
        ClassName::Fast => Class::Fast,
    };
    let incidents = if arguments.harsh { Incidents::HARSH } else { Incidents::ORDINARY };
    let usual = Parameters::new(class, arguments.km, arguments.hours, arguments.seed);
    let trace = Parameters { step_s: arguments.step, incidents, ..usual }.generate()?;
    print(&trace.to_string())
}

fn rate(arguments: &RateArguments) -> Done {
    let report = control::set_rate(&arguments.control, arguments.rate.0)?;
    print(&format!("{report}\n"))
}

/// Prints; a reader that has gone away, as `head` does, is no error.
fn print(text: &str) -> Done {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
