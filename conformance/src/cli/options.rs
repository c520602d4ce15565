//! Flags that several commands share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::config::Config;
use crate::lab::Mode;
use crate::run::{Options, RunError};

/// Which cases.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Selection {
    /// Ids, prefixes, globs, @profile, #tag, clause:5.4, level:S; none: all
    pub(super) select: Vec<String>,
    /// What is taken away; written like the selection
    #[arg(long, value_delimiter = ',')]
    pub(super) skip: Vec<String>,
}

/// Files that are read.
#[derive(Args, Clone, Debug)]
pub(super) struct Inputs {
    /// The configuration
    #[arg(long, env = "QKDSPEC_CONFIG", default_value = "qkdspec.toml")]
    config: PathBuf,
    /// Known deviations
    #[arg(long, env = "QKDSPEC_EXPECTED")]
    expected: Option<PathBuf>,
}

impl Inputs {
    pub(super) fn config(&self) -> Result<Config, RunError> {
        Ok(Config::load(&self.config)?)
    }
}

/// How to run.
#[derive(Args, Clone, Debug)]
pub(super) struct RunFlags {
    /// safe (nothing that can deliver a key), normal, or destructive (drain, restart, cut)
    #[arg(long, env = "QKDSPEC_MODE", default_value = "normal", value_parser = ["safe", "normal", "destructive"])]
    mode: String,
    /// Keys that may be delivered, at most
    #[arg(long, env = "QKDSPEC_BUDGET_KEYS")]
    budget_keys: Option<u64>,
    /// Levels that fail the run
    #[arg(long, env = "QKDSPEC_FAIL_ON", default_value = "S,R")]
    fail_on: String,
    /// The same as --fail-on S,R,D,H
    #[arg(long)]
    strict: bool,
    /// Hexadecimal; repeats a run
    #[arg(long, env = "QKDSPEC_SEED")]
    seed: Option<String>,
    /// Run in an order drawn from the seed
    #[arg(long)]
    shuffle: bool,
    /// Wait so many seconds for the KMEs to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait_ready: u64,
    /// End at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Run an inconclusive case so many times more
    #[arg(long, default_value_t = 1)]
    retries_inconclusive: u32,
    /// Permit plain HTTP; the report is not valid for claims
    #[arg(long)]
    insecure_lab: bool,
    /// Exchanges in the report: of all cases, of those that did not pass, or none
    #[arg(long, default_value = "all", value_parser = ["all", "fail", "none"])]
    evidence: String,
    /// Write no key IDs into the report
    #[arg(long)]
    hide_key_ids: bool,
    /// Show failures and the summary only
    #[arg(long, short)]
    quiet: bool,
    /// No colours
    #[arg(long)]
    pub(super) no_color: bool,
    /// Write the report (JSON)
    #[arg(long, value_name = "PATH")]
    pub(super) report: Option<PathBuf>,
    /// Write JUnit XML
    #[arg(long, value_name = "PATH")]
    pub(super) junit: Option<PathBuf>,
    /// Write an HTML page
    #[arg(long, value_name = "PATH")]
    pub(super) html: Option<PathBuf>,
    /// Write SARIF
    #[arg(long, value_name = "PATH")]
    pub(super) sarif: Option<PathBuf>,
    /// Write Markdown
    #[arg(long, value_name = "PATH")]
    pub(super) md: Option<PathBuf>,
}

impl RunFlags {
    pub(super) fn options(&self, inputs: &Inputs, selection: Selection) -> Result<Options, RunError> {
        let seed = self.seed.as_deref().map(|seed| {
            let digits = seed.strip_prefix("0x").unwrap_or(seed);
            u64::from_str_radix(digits, 16).map_err(|_| RunError::Usage(format!("--seed {seed}: hexadecimal digits, 16 at most")))
        });
        Ok(Options {
            select: selection.select,
            skip: selection.skip,
            mode: match self.mode.as_str() {
                "safe" => Mode::Safe,
                "destructive" => Mode::Destructive,
                _ => Mode::Normal,
            },
            seed: seed.transpose()?,
            shuffle: self.shuffle,
            fail_on: if self.strict { "S,R,D,H".to_owned() } else { self.fail_on.clone() },
            budget_keys: self.budget_keys,
            insecure_lab: self.insecure_lab,
            expected: inputs.expected.clone(),
            wait_ready: Duration::from_secs(self.wait_ready),
            fail_fast: self.fail_fast,
            retries_inconclusive: self.retries_inconclusive,
            evidence: self.evidence.clone(),
            hide_key_ids: self.hide_key_ids,
            quiet: self.quiet,
            colour: false,
            interrupted: Arc::default(),
        })
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
