//! Repeats a case of a report: same stimulus, same seed.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::options::{Inputs, watch_interrupts};
use super::{again, load, write_file};
use crate::catalogue::all;
use crate::lab::Mode;
use crate::report::{CaseResult, Report};
use crate::run::{Options, RunError, run};
use crate::secret::printable;

#[derive(Args, Debug)]
pub(super) struct Replay {
    /// A report about KMEs in JSON
    report: PathBuf,
    /// A case of it, for instance 014-ENC-027
    id: String,
    #[command(flatten)]
    inputs: Inputs,
    /// Permit plain HTTP; the report is not valid for claims
    #[arg(long, env = "QKDSPEC_INSECURE_LAB", value_parser = BoolishValueParser::new())]
    insecure_lab: bool,
    /// Write the new report (JSON)
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

impl Replay {
    pub(super) fn perform(&self, again: &str, out: &mut dyn Write) -> Result<u8, RunError> {
        let before = load(&self.report)?;
        let asked = self.id.to_ascii_uppercase();
        let found = before.cases.iter().find(|case| case.id == asked || case.short() == asked);
        let old = found.ok_or_else(|| RunError::Usage(format!("{}: has no case {}", self.report.display(), self.id)))?;
        if old.id.starts_with("SAE14-") {
            return Err(RunError::Usage(format!(
                "{} is for an SAE, and replay for KMEs only; the report has the command that repeats it:\n  {}",
                old.id,
                printable(&old.replay)
            )));
        }
        let now = all().iter().find(|case| case.id == old.id);
        let now = now.ok_or_else(|| RunError::Usage(format!("{} is no case of this version of qkdspec", old.id)))?;
        if now.version != old.version {
            writeln!(out, "note: the report has version {} of {}, this program version {}", old.version, old.id, now.version)?;
        }
        let config = self.inputs.config()?;
        for kme in &before.target.kmes {
            if !config.kme.values().any(|now| now.base_url.trim_end_matches('/') == kme.base_url.trim_end_matches('/')) {
                writeln!(out, "note: the report is about {}, which the configuration does not name", kme.base_url)?;
            }
        }
        let options = self.options(again, &before, old)?;
        watch_interrupts(&options.interrupted);
        let report = run(config, &options, out)?;
        if let Some(path) = &self.out {
            write_file(path, &report.json())?;
        }
        let verdict = report.case(&old.id).map_or("not run", CaseResult::shown);
        writeln!(out, "{}: was {}, is {verdict}", old.id, old.shown())?;
        Ok(report.summary.exit)
    }

    fn options(&self, again: &str, before: &Report, old: &CaseResult) -> Result<Options, RunError> {
        let broken = |what: &str| RunError::Usage(format!("{}: {what} cannot be read", self.report.display()));
        let mut select = vec![old.id.clone()];
        select.extend(sources(before, old));
        let mode = Mode::parse(&before.plan.mode).ok_or_else(|| broken("plan.mode"))?;
        let fail_on = before.environment.get("fail-on").map_or("S,R", String::as_str);
        Ok(Options {
            select,
            mode,
            seed: Some(u64::from_str_radix(&before.plan.seed, 16).map_err(|_| broken("plan.seed"))?),
            fail_on: fail_on.to_owned(),
            again: format!("{again} --mode {} --fail-on {}", mode.name(), again::quoted(fail_on)),
            insecure_lab: self.insecure_lab,
            expected: self.inputs.expected(),
            ..Options::default()
        })
    }
}

/// What looks at all exchanges has found its faults in those of other cases: they are repeated, too.
fn sources(report: &Report, passive: &CaseResult) -> Vec<String> {
    let exchanges: Vec<u64> =
        passive.complaints().iter().filter_map(|check| check.part.strip_prefix("exchange ")?.parse().ok()).collect();
    let made = |case: &&CaseResult| case.evidence.iter().any(|exchange| exchanges.contains(&exchange.n));
    report.cases.iter().filter(made).map(|case| case.id.clone()).collect()
}
