//! The command line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Config, Durability};
use crate::demo;

mod pki;
mod serve;

/// Runs the command line. The first of `arguments` is the name of the program.
///
/// Errors go to standard error. The exit code is
///
/// | code | meaning |
/// |------|---------|
/// | 0    | done, or ended as asked |
/// | 1    | failed |
/// | 2    | wrong usage |
///
/// but for the hidden `demo-link`, `demo-sae` and `demo-qkdspec`, which have those of `qkd-link`, `sae` and `qkdspec`. Makes an asynchronous runtime of
/// its own, so it must not be called from within one.
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
        Command::Serve(arguments) => serve::serve(&arguments),
        Command::CheckConfig { file } => check_config(&file),
        Command::Openapi => openapi(),
        Command::Pki(arguments) => pki::pki(&arguments),
        Command::Demo(arguments) => demonstrate(arguments),
        Command::DemoLink { arguments } => return qkd_link::cli::run(named("qkd-link", arguments)),
        Command::DemoSae { arguments } => return sae::cli::run(named("sae", arguments)),
        Command::DemoQkdspec { arguments } => return qkdspec::cli::main(named("qkdspec", arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "kme: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A key management entity (KME): supplies keys from QKD links to applications, by ETSI GS QKD 014.
#[derive(Parser, Debug)]
#[command(name = "kme", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kme demo                           two KMEs, a QKD link and their applications, in one command
  kme check-config north.toml        what is wrong with this file, and how to put it right
  kme serve --config north.toml      a KME

Exit codes: 0 done, 1 failed, 2 wrong usage.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Shows two KMEs at work: makes certificates, starts an emulated QKD link and the KMEs, and has keys drawn and fetched.
    Demo(DemoArguments),
    /// Runs a KME.
    Serve(ServeArguments),
    /// Checks a configuration file, and the files it names.
    #[command(after_help = CHECK_CONFIG_HELP)]
    CheckConfig {
        /// The file, in TOML.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Prints the OpenAPI description of the interface to applications.
    #[command(after_help = "Example:\n  kme openapi > openapi.json")]
    Openapi,
    /// Makes certificates for tests: not for anything real, their keys lie open.
    Pki(PkiArguments),
    /// The demonstration's QKD link: the command line of qkd-link.
    #[command(hide = true, disable_help_flag = true)]
    DemoLink {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The demonstration's applications: the command line of sae.
    #[command(hide = true, disable_help_flag = true)]
    DemoSae {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The demonstration's conformance suite: the command line of qkdspec.
    #[command(hide = true, disable_help_flag = true)]
    DemoQkdspec {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

const CHECK_CONFIG_HELP: &str = "\
Checks that every setting is known and has a possible value, that they go
together, that files can be read, that certificates and keys belong together and
are valid today, and that this KME's certificates carry its KME ID.

Example:
  kme check-config north.toml
  north.toml:12:1: [northbound] knows no `listn`
    fix: did you mean `listen`?

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage.";

#[derive(Args, Debug)]
#[command(after_help = SERVE_HELP)]
struct ServeArguments {
    /// The configuration file, in TOML. The commented example kme.toml has all settings.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ends when standard input closes, hence with the process that holds its other end.
    #[arg(long)]
    exit_with_parent: bool,
}

const SERVE_HELP: &str = r#"When the KME listens, one line of JSON goes to standard output:
  {"ready":true,"northbound":"127.0.0.1:8443","kx":"127.0.0.1:8453", …}
The log goes to standard error. SIGTERM and ctrl-c let requests in flight finish.

Example:
  kme serve --config north.toml

Exit codes: 0 stopped as asked, 1 cannot start or failed, 2 wrong usage."#;

#[derive(Args, Debug)]
#[command(after_help = PKI_HELP)]
struct PkiArguments {
    /// The folder to write to. An authority that is there already signs the new certificates.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The name of a new authority.
    #[arg(long, value_name = "NAME", default_value = "QKD test authority")]
    ca: String,
    /// An application: writes ID.pem and ID.key.
    #[arg(long, value_name = "ID")]
    sae: Vec<String>,
    /// A KME, reachable as localhost: writes ID.pem and ID.key.
    #[arg(long, value_name = "ID")]
    kme: Vec<String>,
    /// A further DNS name or IP address of all KMEs of this call.
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// An application whose certificate has expired: writes ID-expired.pem and .key.
    #[arg(long, value_name = "ID")]
    expired: Vec<String>,
    /// An application to be named in no KME's directory: its certificate is as good as the others.
    #[arg(long, value_name = "ID")]
    unenrolled: Vec<String>,
    /// An application whose certificate is revoked, in crl.pem: writes ID-revoked.pem and .key. With a new authority only.
    #[arg(long, value_name = "ID")]
    revoked: Vec<String>,
}

const PKI_HELP: &str = "\
Writes ca.pem, ca.key and crl.pem, too, when DIR has no authority yet. Existing
files are not replaced.

Examples:
  kme pki --dir pki --kme north --kme south --sae red --sae blue
  kme pki --dir pki --sae green                  one more, of the same authority
  kme pki --dir bad --sae red --expired red --revoked red --unenrolled stray";

#[derive(Args, Debug)]
#[command(after_help = DEMO_HELP)]
struct DemoArguments {
    /// The folder for certificates, configuration, keys and logs. One of a former demonstration is emptied, and used again.
    #[arg(long, value_name = "DIR", default_value = "qkms-demo")]
    dir: PathBuf,
    /// KME north listens at this port, south at the next; 0: at any free ones.
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = base_port)]
    base_port: u16,
    /// Ends when it has been shown, instead of serving on.
    #[arg(long)]
    exit: bool,
    /// How many bits of key the emulated QKD link makes in a second; without it the rate varies as that of a real link.
    #[arg(long, value_name = "BPS", value_parser = link_rate)]
    link_rate: Option<f64>,
    /// When a key that is handed out has left the store: with its block (a crash burns the block), or each by itself.
    #[arg(long, value_enum, default_value_t = DurabilityName::Lease)]
    durability: DurabilityName,
    /// Ends when standard input closes.
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

const DEMO_HELP: &str = "\
Application red, at KME north, draws keys for application blue, at KME south,
who fetches them there by their IDs. Then green and grey, both at south, do the
same. Each is a process of its own. Keys are shown as fingerprints, never
themselves. Last, the conformance suite qkdspec runs its shortest profile
against both KMEs.

DIR then holds demo.json (URLs, IDs, files and process numbers), the certificates
in pki/, the configuration of both KMEs, of the link and of qkdspec
(qkdspec.toml), their logs in log/, and what the KMEs keep in data/.

Examples:
  kme demo                              serves on until ctrl-c, and prints curl commands to try
  kme demo --exit --base-port 0         ends by itself
  kme demo --link-rate 100e6            a faster link

Exit codes: 0 all was as it should be, 1 something was not, 2 wrong usage.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurabilityName {
    Lease,
    Strict,
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn check_config(file: &Path) -> Done {
    let config = Config::load_and_check(file)?;
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let (links, saes) = (count(config.links.len(), "QKD link"), count(config.saes.len(), "SAE"));
    print(&format!("{}: in order: KME {}, {links}, {saes}\n", file.display(), config.kme.id))
}

fn openapi() -> Done {
    let document = etsi014::openapi::openapi(&etsi014::Limits::default());
    print(&format!("{}\n", document.to_pretty_json()?))
}

fn demonstrate(arguments: DemoArguments) -> Done {
    let options = demo::Options {
        folder: arguments.dir,
        base_port: arguments.base_port,
        serve_on: !arguments.exit,
        link_rate_bps: arguments.link_rate,
        durability: match arguments.durability {
            DurabilityName::Lease => Durability::Lease,
            DurabilityName::Strict => Durability::Strict,
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let stop = transport::stop::StopSignals::new(arguments.exit_with_parent).map_err(demo::DemoError::Signals)?;
        demo::run(options, stop.received()).await
    })?)
}

fn base_port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        // The next one is needed, too.
        Ok(u16::MAX) | Err(_) => Err("0, or a port from 1 to 65534".to_owned()),
        Ok(port) => Ok(port),
    }
}

fn link_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().map_err(|error| error.to_string())?;
    qkd_link::rate::Skr::new(rate).map(|rate| rate.bps()).map_err(|error| error.to_string())
}

fn named(program: &str, arguments: Vec<OsString>) -> Vec<OsString> {
    std::iter::once(program.into()).chain(arguments).collect()
}

/// Prints; a reader that has gone away, as `head` does, is no error.
fn print(text: &str) -> Done {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
