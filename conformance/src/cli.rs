//! The program: commands, flags and exit codes.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::case::{Case, Need};
use crate::catalogue;
use crate::config::{Config, HOOKS};
use crate::report::{self, Report};
use crate::run::{RunError, plan, run_guarded};
use crate::select::{PROFILES, select_of};
use crate::{diff, expected};

mod again;
mod badge;
mod bundle;
mod ics;
mod init;
mod options;
mod preflight;
mod proxy;
mod replay;
mod sae;
mod selftest;

use options::{Inputs, RunFlags, Selection};

/// Reads the arguments, does what they say, and gives the exit code.
///
/// 0 conforms, or fails as expected; 1 a failure, an unexpected pass or an expired expectation; 2 usage, configuration or an
/// empty selection; 3 inconclusive only; 4 the harness is at fault; 130 interrupted; 141 nobody reads what it writes.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = Cli::command();
    let parsed = command.clone().try_get_matches_from(arguments).and_then(|matches| {
        let again = again::arguments(&command, &matches);
        Ok((Cli::from_arg_matches(&matches)?, again))
    });
    let (cli, again) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Nothing can be done about a closed screen.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command.perform(&again) {
        Ok(code) => ExitCode::from(code),
        // As a shell tells of a program that a signal has ended, since nobody reads on.
        Err(RunError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(141),
        Err(error) => {
            eprintln!("qkdspec: {error}");
            ExitCode::from(if matches!(error, RunError::Usage(_)) { 2 } else { 4 })
        }
    }
}

/// Conformance suite for the key delivery API of ETSI GS QKD 014 V1.1.1.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 conforms or fails as expected, 1 failure,\n2 usage or configuration, 3 inconclusive only, 4 harness error,\n130 interrupted, 141 nobody reads what it writes."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented qkdspec.toml, and certificates for a laboratory if wanted
    #[command(
        after_help = "Examples:\n  qkdspec init --kme https://kme-a:8443 --kme-b https://kme-b:8443\n  qkdspec init --kme https://kme-a:8443 --one-kme --sae-dir certificates\n  qkdspec init --pki"
    )]
    Init(init::Init),
    /// Reach both KMEs and read Status; costs no key; says what will not be tested
    #[command(
        after_help = "Example:\n  qkdspec preflight --config lab/qkdspec.toml\n\nExit codes: 0 nothing speaks against a run, 2 the configuration is wrong,\n3 a KME cannot be reached, or answers as if the configuration were wrong."
    )]
    Preflight {
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        flags: RunFlags,
    },
    /// List cases
    #[command(
        after_help = "Examples:\n  qkdspec list\n  qkdspec list DEC AUT --format md            both groups\n  qkdspec list DEC --skip level:D,level:O     of one group, what is left"
    )]
    List {
        #[command(flatten)]
        selection: Selection,
        /// text, json or md
        #[arg(long, default_value = "text", value_parser = ["text", "json", "md"])]
        format: String,
    },
    /// Explain a case (requirement, stimulus, accepted outcomes), a requirement or a reading
    #[command(after_help = "Examples:\n  qkdspec explain DEC-006\n  qkdspec explain 014-6.4-06\n  qkdspec explain A-10")]
    Explain {
        /// For instance 014-DEC-006, 014-6.4-06, A-10
        id: String,
    },
    /// Show the order and the worst cost in keys of what would be run
    #[command(after_help = "Example:\n  qkdspec plan @014-core --config lab/qkdspec.toml --seed 7f3a91")]
    Plan {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        flags: RunFlags,
    },
    /// Run cases
    #[command(subcommand)]
    Run(Target),
    /// Play a pair of KMEs with something wrong, for use by hand
    #[command(
        after_help = "Examples:\n  qkdspec mock kme-pair --scenario list\n  qkdspec mock kme-pair --scenario short-key --dir /tmp/mock\n  qkdspec mock kme-pair --dir /tmp/mock \\\n    --listen-a 127.0.0.1:8443 --listen-b 127.0.0.1:9443"
    )]
    Mock(sae::Mock),
    /// Stand between an SAE and its KME, and judge what passes, both ways
    #[command(
        after_help = "The proxy ends the SAE's TLS with a certificate that the SAE trusts (--cert,\n--key), and speaks to the KME with the SAE's own certificate (--sae-cert,\n--sae-key): a proxy in the middle of mutual TLS has to have both. Keys pass\nthrough it and are forgotten; the report holds fingerprints. It ends with\nCtrl-C, or after --seconds or --requests.\n\nExample:\n  qkdspec proxy --upstream https://kme-a:8443 --ca network-ca.pem \\\n    --listen 127.0.0.1:9443 --cert proxy.pem --key proxy.key \\\n    --client-ca network-ca.pem --sae-cert red.pem --sae-key red.key \\\n    --report r.json"
    )]
    Proxy(proxy::Proxy),
    /// Print the catalogue of test purposes, or write a page per case
    #[command(
        after_help = "Examples:\n  qkdspec catalogue --format md > test-purposes.md\n  qkdspec catalogue --dir purposes        purposes/README.md is the list\n\nThe text may also be used under BSD-3-Clause."
    )]
    Catalogue {
        /// Write a page per case into this folder, made if absent
        #[arg(long, value_name = "DIR", conflicts_with = "format")]
        dir: Option<PathBuf>,
        /// The requirements of the standard, with the cases for each or why there are none
        #[arg(long, conflicts_with = "dir")]
        requirements: bool,
        /// md or json
        #[arg(long, default_value = "md", value_parser = ["md", "json"])]
        format: String,
    },
    /// Run a case of a report about KMEs again, with the same seed
    #[command(
        after_help = "Example:\n  qkdspec replay r.json 014-ENC-027 --config lab/qkdspec.toml\n\nWhat looks at all exchanges is repeated with the cases in whose exchanges it\nfound its faults. A report about an SAE has, for every case, the command that\nrepeats it. Exit codes are those of run."
    )]
    Replay(replay::Replay),
    /// Claims (ICS): pro forma, check, draft
    #[command(subcommand)]
    Ics(ics::Ics),
    /// Make a badge: a picture (SVG) and an endpoint file for shields.io
    #[command(after_help = "Example:\n  qkdspec badge r.json\n  writes r.badge.svg and r.badge.json beside r.json")]
    Badge(badge::Badge),
    /// Put a report and what it rests on into a folder with sums, signed if wanted; or check one
    #[command(
        after_help = "Examples:\n  qkdspec bundle r.json                        writes r.bundle/\n  qkdspec bundle r.json --sign lab.key\n  qkdspec bundle --verify r.bundle --key lab.pem\n\nExit codes of --verify: 0 as it was, 1 changed or not signed by that key,\n2 not readable."
    )]
    Bundle(bundle::Bundle),
    /// Hold the harness against KMEs that are faulty on purpose, odd, or hostile
    #[command(
        after_help = "Examples:\n  qkdspec selftest --canary\n  qkdspec selftest --faulty target/release/faulty\n  qkdspec selftest --faulty target/release/faulty --only M102,B04 --keep kept\n  qkdspec selftest --faulty target/release/faulty --third 2/3 --seed 7f3a91 \\\n    --check conformance/MATRIX.md\n\nExit codes: 0 all as it ought to be, 1 not so, 2 usage, or the program of\nfaulty KMEs is not given, 130 interrupted."
    )]
    Selftest(Box<selftest::Selftest>),
    /// Make other forms of a report
    #[command(after_help = "Example:\n  qkdspec report r.json --to html,junit\n  writes r.html and r.junit.xml beside r.json")]
    Report {
        /// A report in JSON
        report: PathBuf,
        /// html, junit, sarif, md, text; several with commas
        #[arg(long, value_delimiter = ',', value_parser = ["html", "junit", "sarif", "md", "text"], required = true)]
        to: Vec<String>,
    },
    /// Compare two reports; exit code 1 if anything got worse
    #[command(
        after_help = "Example:\n  qkdspec diff last.json now.json\n\nExit codes: 0 nothing got worse, 1 something did, 2 not readable, or not about\nthe same, 3 the later report is partial, or no longer judges what the earlier\ndid."
    )]
    Diff {
        /// The earlier report
        old: PathBuf,
        /// The later report
        new: PathBuf,
    },
    /// Draft an expected.toml from the failures of a report
    #[command(after_help = "Example:\n  qkdspec expect r.json --until 2027-03-31 > expected.toml")]
    Expect {
        /// A report in JSON
        report: PathBuf,
        /// Date after which the failures count again, YYYY-MM-DD
        #[arg(long)]
        until: String,
    },
}

#[derive(Debug, Subcommand)]
enum Target {
    /// The KMEs of the configuration
    #[command(
        after_help = "Examples:\n  qkdspec run kme\n  qkdspec run kme @014-smoke --config lab/qkdspec.toml\n  qkdspec run kme DEC AUT --skip '#hook' --report r.json --html r.html\n  qkdspec run kme 014-ENC-027 --seed 7f3a91"
    )]
    Kme {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        flags: Box<RunFlags>,
    },
    /// An SAE: qkdspec plays the KMEs, and a command, a trigger or a person makes the SAE act
    #[command(after_help = sae::contract())]
    Sae(sae::SaeRun),
}

impl Command {
    /// `again` is what the command line has besides cases and files to write.
    fn perform(self, again: &str) -> Result<u8, RunError> {
        let mut out = io::stdout().lock();
        match self {
            Self::Init(init) => init.perform(&mut out)?,
            Self::Preflight { inputs, flags } => {
                return preflight::perform(inputs.config()?, &flags.options(&inputs, Selection::default(), &out)?, &mut out);
            }
            Self::List { selection, format } => list(&selection, &format, &mut out)?,
            Self::Explain { id } if catalogue::note(&id).is_some() => {
                write!(out, "{}", catalogue::note(&id).unwrap_or_default())?;
            }
            Self::Explain { id } => {
                let cases = select_of(&every(), std::slice::from_ref(&id), &[]).map_err(RunError::Usage)?;
                for case in cases {
                    writeln!(out, "{}", catalogue::explained(case))?;
                }
            }
            Self::Plan { selection, inputs, flags } => {
                let config = inputs.config()?;
                let options = flags.options(&inputs, selection, &out)?;
                write!(out, "{}", plan(&options)?.text(&config))?;
            }
            Self::Run(Target::Kme { selection, inputs, flags }) => {
                let config = inputs.config()?;
                if flags.list_hooks {
                    list_hooks(&config, &mut out)?;
                    return Ok(0);
                }
                let mut options = flags.options(&inputs, selection, &out)?;
                again.clone_into(&mut options.again);
                options::watch_interrupts(&options.interrupted);
                return flags.output.written(|| run_guarded(config, &options, &mut out));
            }
            Self::Run(Target::Sae(sae)) => return sae.perform(again, &mut out),
            Self::Mock(mock) => mock.perform(&mut out)?,
            Self::Proxy(proxy) => return proxy.perform(again, &mut out),
            Self::Replay(replay) => return replay.perform(again, &mut out),
            Self::Ics(ics) => return ics.perform(&mut out),
            Self::Badge(badge) => badge.perform(&mut out)?,
            Self::Bundle(bundle) => return bundle.perform(&mut out),
            Self::Catalogue { dir: Some(dir), .. } => {
                fs::create_dir_all(&dir).map_err(|error| RunError::Usage(format!("{}: {error}", dir.display())))?;
                let pages = catalogue::pages();
                pages.iter().try_for_each(|(name, text)| write_file(&dir.join(name), text))?;
                writeln!(out, "{}: {} files", dir.display(), pages.len())?;
            }
            Self::Catalogue { format, requirements, .. } => {
                let text = match (requirements, format == "json") {
                    (false, false) => catalogue::markdown(),
                    (false, true) => catalogue::json(),
                    (true, false) => catalogue::table(),
                    (true, true) => catalogue::table_json(),
                };
                write!(out, "{text}")?;
            }
            Self::Selftest(selftest) => return selftest.perform(&mut out),
            Self::Report { report, to } => {
                let read = load(&report)?;
                for form in to {
                    let path = report.with_extension(extension(&form));
                    write_file(&path, &rendered(&read, &form))?;
                    writeln!(out, "{}", path.display())?;
                }
            }
            Self::Diff { old, new } => {
                let (text, code) = diff::diff(&load(&old)?, &load(&new)?).map_err(RunError::Usage)?;
                write!(out, "{text}")?;
                return Ok(code);
            }
            Self::Expect { report, until } => {
                let format = time::format_description::well_known::Iso8601::DATE;
                let until = time::Date::parse(&until, &format)
                    .map_err(|_| RunError::Usage(format!("--until {until}: write YYYY-MM-DD")))?;
                write!(out, "{}", expected::draft(&load(&report)?, until))?;
            }
        }
        Ok(0)
    }
}

/// The cases for KMEs, and those for SAEs.
fn every() -> Vec<&'static Case> {
    catalogue::all().iter().chain(catalogue::sae()).copied().collect()
}

fn list(selection: &Selection, format: &str, out: &mut dyn Write) -> Result<(), RunError> {
    let cases = select_of(&every(), &selection.select, &selection.skip).map_err(RunError::Usage)?;
    match format {
        "json" => {
            let cases: Vec<_> = cases.iter().map(|case| catalogue::case_json(case)).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&cases).unwrap_or_default())?;
        }
        "md" => {
            writeln!(out, "| id | case | level | keys |\n|---|---|---|---|")?;
            for case in cases {
                writeln!(out, "| {} | {} | {:?} | {} |", case.id, case.title, case.level, case.cost.text())?;
            }
        }
        _ => {
            let width = cases.iter().map(|case| case.cost.text().len()).max().unwrap_or_default();
            for case in &cases {
                writeln!(out, "{:<13} {:?}  {:<width$}  {}", case.id, case.level, case.cost.text(), case.title)?;
            }
            writeln!(
                out,
                "\n{} cases. Keys: M is a full request; what is in brackets is delivered only by a wrong KME.",
                cases.len()
            )?;
            for (name, what) in PROFILES {
                writeln!(out, "{name:<16} {what}")?;
            }
        }
    }
    Ok(())
}

fn list_hooks(config: &Config, out: &mut dyn Write) -> Result<(), RunError> {
    for (hook, what) in HOOKS {
        let needing = catalogue::all().iter().filter(|case| case.needs.contains(&Need::Hook(hook)));
        let needing: Vec<_> = needing.map(|case| case.id).collect();
        let state = if config.hooks.contains_key(hook) { "configured" } else { "absent" };
        writeln!(out, "{hook:<14} {state:<11} {:<20} {what}", needing.join(" "))?;
    }
    writeln!(out, "\nHooks are shell commands, run with --mode destructive only; 0 says that the command has done it.")?;
    Ok(())
}

/// A report in one of its forms.
pub(crate) fn rendered(report: &Report, form: &str) -> String {
    match form {
        "html" => report::html(report),
        "junit" => report::junit(report),
        "sarif" => report::sarif(report),
        "md" => report::markdown(report),
        "text" => report::text(report),
        _ => report.json(),
    }
}

fn extension(form: &str) -> &str {
    match form {
        "junit" => "junit.xml",
        "text" => "txt",
        form => form,
    }
}

fn load(path: &Path) -> Result<Report, RunError> {
    let text = fs::read_to_string(path).map_err(|error| RunError::Usage(format!("{}: {error}", path.display())))?;
    let report: Report =
        serde_json::from_str(&text).map_err(|error| RunError::Usage(format!("{}: no report: {error}", path.display())))?;
    if report.schema == 1 {
        Ok(report)
    } else {
        Err(RunError::Usage(format!("{}: schema {}, not 1", path.display(), report.schema)))
    }
}

/// Whether a file can be written; it is left as it was.
fn writable(path: &Path) -> Result<(), RunError> {
    let new = !path.exists();
    let opened = fs::OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| RunError::Usage(format!("{}: cannot be written: {error}", path.display())))?;
    // An empty file would be taken for a report.
    if new {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), RunError> {
    fs::write(path, text).map_err(|error| RunError::Usage(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_below_the_options_is_not_wrapped() {
        let mut commands = vec![Cli::command()];
        let mut texts = 0;
        while let Some(command) = commands.pop() {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            // Wrapped by a terminal, examples could not be pasted.
            assert!(text.lines().all(|line| line.chars().count() < 80), "{}: {text}", command.get_name());
            texts += usize::from(!text.is_empty());
            commands.extend(command.get_subcommands().cloned());
        }
        assert!(texts > 15);
    }
}
