//! Flags that several commands share.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::{writable, write_file};
use crate::config::Config;
use crate::lab::Mode;
use crate::run::{Guarded, Options, RunError};

/// Which cases.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Selection {
    /// Ids, prefixes, globs, @profile, #tag, clause:5.4, level:S; of several: all that any of them selects. None: all
    pub(super) select: Vec<String>,
    /// What is taken away from them; written in the same way, several with commas
    #[arg(long, env = "QKDSPEC_SKIP", value_delimiter = ',')]
    pub(super) skip: Vec<String>,
}

/// The configuration.
#[derive(Args, Clone, Debug)]
pub(super) struct ConfigFile {
    /// The configuration
    #[arg(long, env = "QKDSPEC_CONFIG", default_value = "qkdspec.toml")]
    pub(super) config: PathBuf,
}

/// Files that are read.
#[derive(Args, Clone, Debug)]
pub(super) struct Inputs {
    #[command(flatten)]
    file: ConfigFile,
    /// Known deviations
    #[arg(long, env = "QKDSPEC_EXPECTED")]
    expected: Option<PathBuf>,
    /// Claims, instead of [ics] and [product] of the configuration; `qkdspec ics new` makes a pro forma
    #[arg(long, env = "QKDSPEC_ICS")]
    ics: Option<PathBuf>,
    /// For a connection and its handshake, as 500ms, 5s or 2min; instead of limits.connect_s
    #[arg(long, env = "QKDSPEC_TIMEOUT_CONNECT", value_name = "TIME", value_parser = duration)]
    timeout_connect: Option<Duration>,
    /// For an answer; instead of limits.response_s
    #[arg(long, env = "QKDSPEC_TIMEOUT_RESPONSE", value_name = "TIME", value_parser = duration)]
    timeout_response: Option<Duration>,
    /// After so long, keys drawn at A have to be at B; instead of limits.settle_ms
    #[arg(long, env = "QKDSPEC_TIMEOUT_SETTLE", value_name = "TIME", value_parser = duration)]
    timeout_settle: Option<Duration>,
}

impl Inputs {
    /// The configuration with what the flags change in it.
    pub(super) fn config(&self) -> Result<Config, RunError> {
        let mut config = Config::load(&self.file.config)?;
        if let Some(path) = &self.ics {
            config.claim(path)?;
        }
        let limits = &mut config.limits;
        limits.connect_s = self.timeout_connect.map_or(limits.connect_s, |time| time.as_secs_f64());
        limits.response_s = self.timeout_response.map_or(limits.response_s, |time| time.as_secs_f64());
        limits.settle_ms =
            self.timeout_settle.map_or(limits.settle_ms, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Ok(config)
    }

    pub(super) fn expected(&self) -> Option<PathBuf> {
        self.expected.clone()
    }
}

/// A time with its unit; without one: seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "min" => 60.0,
        _ => return Err("write it as 500ms, 5s or 2min".to_owned()),
    };
    let figure: f64 = digits.parse().map_err(|_| "write it as 500ms, 5s or 2min".to_owned())?;
    match Duration::try_from_secs_f64(figure * unit) {
        Ok(time) if time <= Duration::from_secs(3600) => Ok(time),
        _ => Err("no more than an hour, and not negative".to_owned()),
    }
}

/// How to judge and to report, whatever is under test.
#[derive(Args, Clone, Debug)]
pub(super) struct Output {
    /// Levels that fail the run
    #[arg(long, env = "QKDSPEC_FAIL_ON", default_value = "S,R")]
    fail_on: String,
    /// The same as --fail-on S,R,D,H
    #[arg(long, env = "QKDSPEC_STRICT", value_parser = BoolishValueParser::new())]
    strict: bool,
    /// Exchanges in the report: of all cases, of those that did not pass, or none
    #[arg(long, env = "QKDSPEC_EVIDENCE", default_value = "all", value_parser = ["all", "fail", "none"])]
    evidence: String,
    /// Write no key IDs into the report
    #[arg(long, env = "QKDSPEC_HIDE_KEY_IDS", value_parser = BoolishValueParser::new())]
    hide_key_ids: bool,
    /// Show failures and the summary only
    #[arg(long, env = "QKDSPEC_QUIET", short, value_parser = BoolishValueParser::new())]
    quiet: bool,
    /// No colours
    #[arg(long, env = "QKDSPEC_NO_COLOR", value_parser = BoolishValueParser::new())]
    no_color: bool,
    /// Break lines at so many columns
    #[arg(long, env = "QKDSPEC_WIDTH", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
    /// Write the report (JSON)
    #[arg(long, env = "QKDSPEC_REPORT", value_name = "PATH")]
    report: Option<PathBuf>,
    /// Write JUnit XML
    #[arg(long, env = "QKDSPEC_JUNIT", value_name = "PATH")]
    junit: Option<PathBuf>,
    /// Write an HTML page
    #[arg(long, env = "QKDSPEC_HTML", value_name = "PATH")]
    html: Option<PathBuf>,
    /// Write SARIF
    #[arg(long, env = "QKDSPEC_SARIF", value_name = "PATH")]
    sarif: Option<PathBuf>,
    /// Write Markdown
    #[arg(long, env = "QKDSPEC_MD", value_name = "PATH")]
    md: Option<PathBuf>,
}

impl Output {
    /// With `out` as the screen.
    pub(super) fn options(&self, expected: Option<PathBuf>, out: &impl IsTerminal) -> Options {
        Options {
            fail_on: if self.strict { "S,R,D,H".to_owned() } else { self.fail_on.clone() },
            expected,
            evidence: self.evidence.clone(),
            hide_key_ids: self.hide_key_ids,
            quiet: self.quiet,
            colour: out.is_terminal() && !self.no_color && std::env::var_os("NO_COLOR").is_none(),
            width: self.width.map(usize::from),
            ..Options::default()
        }
    }

    /// Runs, and writes the report in the forms that are wanted; gives the exit code.
    pub(super) fn written(&self, run: impl FnOnce() -> Result<Guarded, RunError>) -> Result<u8, RunError> {
        let forms: [(_, &'static str); 5] =
            [(&self.report, "json"), (&self.junit, "junit"), (&self.html, "html"), (&self.sarif, "sarif"), (&self.md, "md")];
        let wanted: Vec<_> = forms.into_iter().filter_map(|(path, form)| Some((path.as_deref()?, form))).collect();
        // Better now than after the keys are spent.
        wanted.iter().try_for_each(|(path, _)| writable(path))?;
        let guarded = run()?;
        let write = |(path, form): &(&Path, &'static str)| write_file(path, &guarded.rendered(form)?);
        // One that cannot be written does not keep the others from being written.
        let written: Vec<_> = wanted.iter().map(write).collect();
        written.into_iter().collect::<Result<(), _>>()?;
        Ok(guarded.report.summary.exit)
    }
}

/// In which order, and how far.
#[derive(Args, Clone, Debug)]
pub(super) struct Order {
    /// Hexadecimal; repeats a run
    #[arg(long, env = "QKDSPEC_SEED")]
    seed: Option<String>,
    /// Run in an order drawn from the seed
    #[arg(long, env = "QKDSPEC_SHUFFLE", value_parser = BoolishValueParser::new())]
    shuffle: bool,
    /// End at the first failure that is not expected; the report is partial then
    #[arg(long, env = "QKDSPEC_FAIL_FAST", value_parser = BoolishValueParser::new())]
    fail_fast: bool,
}

impl Order {
    pub(super) fn applied(&self, options: Options, selection: Selection) -> Result<Options, RunError> {
        let seed = self.seed.as_deref().map(|seed| {
            let digits = seed.strip_prefix("0x").unwrap_or(seed);
            u64::from_str_radix(digits, 16).map_err(|_| RunError::Usage(format!("--seed {seed}: hexadecimal digits, 16 at most")))
        });
        Ok(Options {
            select: selection.select,
            skip: selection.skip,
            seed: seed.transpose()?,
            shuffle: self.shuffle,
            fail_fast: self.fail_fast,
            ..options
        })
    }
}

/// How to run against KMEs.
#[derive(Args, Clone, Debug)]
pub(super) struct RunFlags {
    /// safe (nothing that can deliver a key), normal, or destructive (drain, restart, cut)
    #[arg(long, env = "QKDSPEC_MODE", default_value = "normal", value_parser = ["safe", "normal", "destructive"])]
    mode: String,
    /// Keys that may be delivered, at most
    #[arg(long, env = "QKDSPEC_BUDGET_KEYS")]
    budget_keys: Option<u64>,
    /// Bits of key that may be delivered, at most
    #[arg(long, env = "QKDSPEC_BUDGET_BITS")]
    budget_bits: Option<u64>,
    #[command(flatten)]
    order: Order,
    /// Wait so long for the KMEs to answer, as 60s
    #[arg(long, env = "QKDSPEC_WAIT_READY", value_name = "TIME", default_value = "0s", value_parser = duration)]
    wait_ready: Duration,
    /// Run an inconclusive case so many times more
    #[arg(long, env = "QKDSPEC_RETRIES_INCONCLUSIVE", default_value_t = 1)]
    retries_inconclusive: u32,
    /// Permit plain HTTP; the report is not valid for claims
    #[arg(long, env = "QKDSPEC_INSECURE_LAB", value_parser = BoolishValueParser::new())]
    insecure_lab: bool,
    /// List the hooks, which cases need them, and whether they are configured; run nothing
    #[arg(long)]
    pub(super) list_hooks: bool,
    #[command(flatten)]
    pub(super) output: Output,
}

impl RunFlags {
    pub(super) fn options(&self, inputs: &Inputs, selection: Selection, out: &impl IsTerminal) -> Result<Options, RunError> {
        let options = Options {
            mode: match self.mode.as_str() {
                "safe" => Mode::Safe,
                "destructive" => Mode::Destructive,
                _ => Mode::Normal,
            },
            budget_keys: self.budget_keys,
            budget_bits: self.budget_bits,
            insecure_lab: self.insecure_lab,
            wait_ready: self.wait_ready,
            retries_inconclusive: self.retries_inconclusive,
            ..self.output.options(inputs.expected.clone(), out)
        };
        self.order.applied(options, selection)
    }
}

/// Sets the flag at the first Ctrl-C; the second one ends the program.
pub(super) fn watch_interrupts(flag: &Arc<AtomicBool>) {
    let flag = flag.clone();
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if flag.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                eprintln!("interrupted: ending after the current request; once more to end at once");
            }
        });
    });
}
