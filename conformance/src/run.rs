//! Runs the selected cases and makes the report.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::case::{Case, Level};
use crate::config::{Config, ConfigError};
use crate::ctx::Stop;
use crate::expected::Expected;
use crate::lab::{Answer, Lab, Mode, Request, Sae};
use crate::plan::Plan;
use crate::report::{CaseResult, Report, Screen};
use crate::rng::Rng;
use crate::select::select;
use crate::status::Limits;

mod attempt;
mod gate;
mod hints;
mod summary;
mod tidy;

pub(crate) use attempt::conclude;
pub(crate) use gate::{Gate, Guarded, Hidden};
pub(crate) use summary::conclude as conclude_report;
pub(crate) use tidy::FEED;

/// What to run, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Ids, prefixes, globs, `@profile`, `#tag`, `clause:5.4`, `level:S`; none: all.
    pub select: Vec<String>,
    /// What is taken away.
    pub skip: Vec<String>,
    /// How much the run may do.
    pub mode: Mode,
    /// Absent: drawn at random.
    pub seed: Option<u64>,
    /// Run in an order drawn from the seed.
    pub shuffle: bool,
    /// Levels that fail the run.
    pub fail_on: String,
    /// Keys that may be delivered; absent: as configured.
    pub budget_keys: Option<u64>,
    /// Bits of key that may be delivered; absent: as configured.
    pub budget_bits: Option<u64>,
    /// Permits plain HTTP; the result is worth nothing then.
    pub insecure_lab: bool,
    /// Known deviations.
    pub expected: Option<PathBuf>,
    /// How long to wait for the KMEs to answer at all.
    pub wait_ready: Duration,
    /// End at the first failure that is not expected.
    pub fail_fast: bool,
    /// How often an inconclusive case is run again.
    pub retries_inconclusive: u32,
    /// `all`, `fail` or `none`.
    pub evidence: String,
    /// Do not write key IDs into the report.
    pub hide_key_ids: bool,
    /// Only the failures and the summary on the screen.
    pub quiet: bool,
    /// With colours.
    pub colour: bool,
    /// Columns at which lines are broken; absent: nowhere.
    pub width: Option<usize>,
    /// What a command that repeats a case needs, besides the case and the seed.
    pub again: String,
    /// Set to end the run; the report is marked `partial`.
    pub interrupted: Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            select: Vec::new(),
            skip: Vec::new(),
            mode: Mode::Normal,
            seed: None,
            shuffle: false,
            fail_on: "S,R".to_owned(),
            budget_keys: None,
            budget_bits: None,
            insecure_lab: false,
            expected: None,
            wait_ready: Duration::ZERO,
            fail_fast: false,
            retries_inconclusive: 1,
            evidence: "all".to_owned(),
            hide_key_ids: false,
            quiet: false,
            colour: false,
            width: None,
            again: String::new(),
            interrupted: Arc::default(),
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Usage, configuration or selection.
    #[error("{0}")]
    Usage(String),
    /// A report would have shown a key.
    #[error("the {0} would show key material: it is not written. This is a defect of qkdspec; please report it")]
    Redaction(&'static str),
    /// The screen cannot be written to.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl From<ConfigError> for RunError {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Runs cases against the configured KMEs; tells on `out` how it goes.
///
/// # Errors
/// [`RunError`]: whatever the KMEs do is in the report and is no error.
pub fn run(config: Config, options: &Options, out: &mut dyn Write) -> Result<Report, RunError> {
    Ok(run_guarded(config, options, out)?.report)
}

/// The same, with what every form of the report is searched for.
pub(crate) fn run_guarded(config: Config, options: &Options, out: &mut dyn Write) -> Result<Guarded, RunError> {
    Runner::new(config, options)?.run(out)
}

/// The levels of `S,R,D,H`.
pub(crate) fn levels(text: &str) -> Result<Vec<Level>, RunError> {
    let level = |name: &str| {
        [Level::S, Level::R, Level::D, Level::H]
            .into_iter()
            .find(|level| format!("{level:?}") == name.trim().to_uppercase())
            .ok_or_else(|| RunError::Usage(format!("--fail-on {name}: there are S, R, D and H")))
    };
    text.split(',').map(level).collect()
}

/// The plan for these options.
pub(crate) fn plan(options: &Options) -> Result<Plan, RunError> {
    plan_of(select(&options.select, &options.skip).map_err(RunError::Usage)?, options)
}

/// The plan for cases that were selected already.
pub(crate) fn plan_of(mut cases: Vec<&'static Case>, options: &Options) -> Result<Plan, RunError> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| RunError::Usage("the system's random generator failed".to_owned()))?;
    // Short enough to be typed.
    let seed = options.seed.unwrap_or(u64::from_le_bytes(random) >> 32);
    if options.shuffle {
        Rng::new(seed, "order").shuffle(&mut cases);
    }
    let attempts = u64::from(options.retries_inconclusive) + 1;
    Ok(Plan { seed, mode: options.mode, cases, attempts })
}

/// What came of a stimulus once may be chance; of the same one twice, it is the KME's doing.
#[derive(Default)]
struct Before {
    /// Stimuli that a connection was lost by.
    lost: HashSet<u64>,
    /// The service was away after the case.
    away: bool,
}

pub(crate) struct Runner<'a> {
    pub(crate) lab: Lab,
    options: &'a Options,
    plan: Plan,
    fail_on: Vec<Level>,
    expected: Expected,
    limits: Limits,
    /// Why the KMEs cannot be tested at all.
    unreachable: Option<String>,
    /// Since when one of them gives no answer any more, which ends the run.
    gone: Option<String>,
    /// The last case after which they did.
    last_worked: Option<&'static str>,
    facts: Vec<(usize, Answer)>,
    /// What happened at earlier attempts of the same case.
    before: Before,
    /// The last known-good exchange worked, and nothing has happened since.
    sane: bool,
    gate: Gate,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(mut config: Config, options: &'a Options) -> Result<Self, RunError> {
        if let Some(keys) = options.budget_keys {
            config.limits.budget_keys = keys;
        }
        if let Some(bits) = options.budget_bits {
            config.limits.budget_bits = bits;
        }
        if options.mode == Mode::Destructive && !config.allow_destructive {
            return Err(RunError::Usage(
                "--mode destructive drains, restarts and cuts: write `allow_destructive = true` at the top of the configuration to permit it".to_owned(),
            ));
        }
        let plan = plan(options)?;
        let fail_on = levels(&options.fail_on)?;
        let expected = options.expected.as_deref().map(Expected::load).transpose().map_err(RunError::Usage)?.unwrap_or_default();
        let lab = Lab::new(config, options.mode, options.insecure_lab, options.interrupted.clone()).map_err(RunError::Usage)?;
        let limits = Limits::default();
        let gate = Gate::new(lab.vault.clone());
        Ok(Self {
            lab,
            options,
            plan,
            fail_on,
            expected,
            limits,
            unreachable: None,
            gone: None,
            last_worked: None,
            facts: Vec::new(),
            before: Before::default(),
            sane: false,
            gate,
        })
    }

    fn run(mut self, out: &mut dyn Write) -> Result<Guarded, RunError> {
        let began = (OffsetDateTime::now_utc(), Instant::now());
        self.preflight();
        let mut screen = Screen::new(self.options.quiet, self.options.colour, self.options.width);
        // Cases that only look at the others come last, whatever the order.
        let (passive, active): (Vec<&'static Case>, Vec<&'static Case>) =
            self.plan.cases.iter().partition(|case| case.is_passive());
        self.gate.begin(&screen, &self.header(), out)?;
        let mut results: BTreeMap<&'static str, CaseResult> = BTreeMap::new();
        let mut ended = false;
        for case in active {
            let mut result = if ended { self.untouched(case) } else { self.case(case) };
            self.expected.mark(&mut result, began.0);
            ended |= self.interrupted() || self.gone.is_some() || self.options.fail_fast && result.fails_unexpectedly();
            self.gate.case(&mut screen, &result, out)?;
            results.insert(case.id, result);
        }
        if !passive.is_empty() {
            if !ended {
                self.feed(&passive);
            }
            for case in passive {
                let mut result = self.judge(case);
                self.expected.mark(&mut result, began.0);
                self.gate.case(&mut screen, &result, out)?;
                results.insert(case.id, result);
            }
        }
        let mut report = self.report(results, began);
        summary::conclude(&mut report, self.interrupted());
        let ids = || self.lab.ledger().drawn.iter().map(|key| key.id.clone()).collect();
        let hidden = self.options.hide_key_ids.then(|| Hidden { ids: ids(), uuids: false });
        let report = self.gate.report(&report, hidden.as_ref())?;
        self.gate.end(&screen, report, out)
    }

    fn interrupted(&self) -> bool {
        self.lab.interrupted.load(Ordering::SeqCst)
    }

    /// Reaches the KMEs and learns what Status says; costs no key.
    pub(crate) fn preflight(&mut self) {
        let until = Instant::now() + self.options.wait_ready;
        loop {
            self.facts.clear();
            self.unreachable = self.look().err().map(|stop| match stop {
                Stop::Inconclusive(why) | Stop::Error(why) | Stop::Skip(why) | Stop::NotApplicable(why) => why,
                Stop::Judged | Stop::Interrupted => "interrupted".to_owned(),
            });
            if self.unreachable.is_none() || Instant::now() >= until || self.interrupted() {
                break;
            }
            thread::sleep(Duration::from_millis(500));
        }
        self.lab.take_evidence();
    }

    fn look(&mut self) -> Result<(), Stop> {
        let roles = &self.lab.config.roles;
        let master = self.lab.sae(&roles.master).ok_or_else(|| Stop::Error("no master".to_owned()))?;
        let slave = roles.slave.as_ref().and_then(|name| self.lab.sae(name));
        let peer = slave.map_or(master.id.as_str(), |slave| &slave.id);
        let answer = self.first_status(master, peer)?;
        self.limits = Limits::read(&answer);
        let mut facts = vec![(0, answer)];
        if let Some(slave) = slave.filter(|slave| slave.side != master.side) {
            facts.push((1, self.first_status(slave, &master.id)?));
        }
        self.lab.passive().default_bits = facts.iter().filter_map(|(_, answer)| Limits::read(answer).key_size).max();
        self.facts = facts;
        Ok(())
    }

    /// Status, asked for until it is told or the settle time is over: a KME that has just started may refuse at first.
    fn first_status(&self, sae: &Sae, peer: &str) -> Result<Answer, Stop> {
        let until = Instant::now() + self.lab.config.limits.settle();
        loop {
            let answer = self.lab.exchange(sae, Request::status(peer))?;
            if let Err(error) = &answer.outcome {
                return Err(Stop::Inconclusive(sae.unheard(error)));
            }
            if answer.succeeds() || Instant::now() >= until {
                return Ok(answer);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Asks for Status once more, if it was not told at the beginning: without limits, many checks cannot be made.
    fn catch_up(&mut self) {
        if self.met(0).is_none_or(Answer::succeeds) {
            return;
        }
        // Whatever is wrong with it is judged by the cases.
        let _ = self.look_again();
        self.lab.take_evidence();
    }

    fn look_again(&mut self) -> Result<(), Stop> {
        let roles = &self.lab.config.roles;
        let Some(master) = self.lab.sae(&roles.master) else { return Ok(()) };
        let slave = roles.slave.as_ref().and_then(|name| self.lab.sae(name));
        let answer = self.lab.exchange(master, Request::status(slave.map_or(&master.id, |slave| &slave.id)))?;
        if answer.succeeds() {
            self.limits = Limits::read(&answer);
            let mut passive = self.lab.passive();
            passive.default_bits = passive.default_bits.max(self.limits.key_size);
            drop(passive);
            self.facts.retain(|(at, _)| *at != 0);
            self.facts.push((0, answer));
        }
        Ok(())
    }

    fn index(&self, case: &Case) -> usize {
        self.plan.cases.iter().position(|other| other.id == case.id).unwrap_or(usize::MAX)
    }

    /// The exchange that a preflight made at a KME.
    pub(crate) fn met(&self, index: usize) -> Option<&Answer> {
        self.facts.iter().find(|(at, _)| *at == index).map(|(_, answer)| answer)
    }

    pub(crate) fn trouble(&self) -> Option<&str> {
        self.unreachable.as_deref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn obstacles(&self) -> Vec<(&'static Case, Stop)> {
        self.plan.cases.iter().filter_map(|case| Some((*case, self.obstacle(case)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read() {
        assert_eq!(levels("s, D").expect("levels"), [Level::S, Level::D]);
        assert!(levels("S,X").is_err());
    }
}
