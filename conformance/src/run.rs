//! Runs the selected cases and makes the report.

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::case::{Case, Level, Need, Run};
use crate::catalogue::requirement;
use crate::config::{Config, ConfigError};
use crate::ctx::{Ctx, Stop, judged};
use crate::expected::Expected;
use crate::lab::{Answer, Lab, Mode, Request};
use crate::plan::Plan;
use crate::report::{CaseResult, Check, KeyCost, Report, Screen, Verdict};
use crate::rng::Rng;
use crate::secret::is_uuid;
use crate::select::select;
use crate::status::Limits;

mod summary;

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
    /// Permits plain HTTP; the result is worth nothing then.
    pub insecure_lab: bool,
    /// Known deviations.
    pub expected: Option<PathBuf>,
    /// How long to wait for the KMEs to answer at all.
    pub wait_ready: Duration,
    /// End at the first failure.
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
            insecure_lab: false,
            expected: None,
            wait_ready: Duration::ZERO,
            fail_fast: false,
            retries_inconclusive: 1,
            evidence: "all".to_owned(),
            hide_key_ids: false,
            quiet: false,
            colour: false,
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
    #[error("the {0} would show key material: nothing is written. This is a defect of qkdspec; please report it")]
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
    let mut cases = select(&options.select, &options.skip).map_err(RunError::Usage)?;
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| RunError::Usage("the system's random generator failed".to_owned()))?;
    // Short enough to be typed.
    let seed = options.seed.unwrap_or(u64::from_le_bytes(random) >> 32);
    if options.shuffle {
        Rng::new(seed, "order").shuffle(&mut cases);
    }
    Ok(Plan { seed, mode: options.mode, cases })
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
    facts: Vec<(usize, Answer)>,
    /// The last known-good exchange worked, and nothing has happened since.
    sane: bool,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(mut config: Config, options: &'a Options) -> Result<Self, RunError> {
        if let Some(keys) = options.budget_keys {
            config.limits.budget_keys = keys;
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
        Ok(Self { lab, options, plan, fail_on, expected, limits, unreachable: None, facts: Vec::new(), sane: false })
    }

    fn run(mut self, out: &mut dyn Write) -> Result<Report, RunError> {
        let began = (OffsetDateTime::now_utc(), Instant::now());
        self.preflight();
        let mut screen = Screen::new(self.options.quiet, self.options.colour);
        // Cases that only look at the others come last, whatever the order.
        let (passive, active): (Vec<&'static Case>, Vec<&'static Case>) =
            self.plan.cases.iter().partition(|case| case.is_passive());
        self.show(out, |lines| screen.begin(lines, &self.header()))?;
        let mut results: BTreeMap<&'static str, CaseResult> = BTreeMap::new();
        let mut ended = false;
        for case in active {
            let result = if ended { self.untouched(case) } else { self.case(case) };
            ended |= self.lab.interrupted.load(std::sync::atomic::Ordering::SeqCst)
                || self.options.fail_fast && result.verdict == Verdict::Fail;
            self.show(out, |lines| screen.case(lines, &result))?;
            results.insert(case.id, result);
        }
        if !passive.is_empty() {
            if !ended {
                self.feed(&passive);
            }
            for case in passive {
                let result = self.judge(case);
                self.show(out, |lines| screen.case(lines, &result))?;
                results.insert(case.id, result);
            }
        }
        let mut report = self.report(results, began);
        self.expected.apply(&mut report, began.0);
        summary::conclude(&mut report, self.lab.interrupted.load(std::sync::atomic::Ordering::SeqCst));
        if self.options.hide_key_ids {
            report = self.without_key_ids(&report);
        }
        if self.lab.vault.betrayed_by(report.json().as_bytes()) {
            return Err(RunError::Redaction("report"));
        }
        self.show(out, |lines| screen.end(lines, &report))?;
        Ok(report)
    }

    /// Writes to the screen what holds no key.
    fn show(&self, out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), RunError> {
        let mut lines = Vec::new();
        write(&mut lines)?;
        if self.lab.vault.betrayed_by(&lines) {
            return Err(RunError::Redaction("screen"));
        }
        out.write_all(&lines)?;
        Ok(out.flush()?)
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
            if self.unreachable.is_none() || Instant::now() >= until {
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
        let answer = self.lab.exchange(master, Request::status(peer))?;
        if let Err(error) = &answer.outcome {
            return Err(Stop::Inconclusive(format!("KME {} cannot be reached: {error}", master.side.letter())));
        }
        self.limits = Limits::read(&answer);
        self.lab.passive().default_bits = self.limits.key_size;
        self.facts.push((0, answer));
        if let Some(slave) = slave.filter(|slave| slave.side != master.side) {
            let answer = self.lab.exchange(slave, Request::status(&master.id))?;
            if let Err(error) = &answer.outcome {
                return Err(Stop::Inconclusive(format!("KME {} cannot be reached: {error}", slave.side.letter())));
            }
            self.facts.push((1, answer));
        }
        Ok(())
    }

    fn index(&self, case: &Case) -> usize {
        self.plan.cases.iter().position(|other| other.id == case.id).unwrap_or(usize::MAX)
    }

    fn blank(&self, case: &Case) -> CaseResult {
        let worst = self.worst(case);
        CaseResult {
            id: case.id.to_owned(),
            version: case.version,
            title: case.title.to_owned(),
            level: format!("{:?}", case.level),
            requirements: case.requirements.iter().map(|id| requirement(id)).collect(),
            ambiguities: case.ambiguities.iter().map(|&id| id.to_owned()).collect(),
            impact: case.tags()[0].to_owned(),
            status: "done".to_owned(),
            verdict: Verdict::Pass,
            expected: "none".to_owned(),
            reason: String::new(),
            ics_expression: case.when.expression().to_owned(),
            checks: Vec::new(),
            parameters: BTreeMap::new(),
            sanity: BTreeMap::new(),
            keys: KeyCost { reserved: worst, ..KeyCost::default() },
            started: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            ms: 0.0,
            evidence: Vec::new(),
            replay: format!("qkdspec run kme {} --seed {:x}", case.id, self.plan.seed),
        }
    }

    fn worst(&self, case: &Case) -> u64 {
        let per_request = self.limits.max_per_request.unwrap_or(1);
        case.cost.worst(per_request.min(self.lab.config.limits.max_batch), per_request)
    }

    fn untouched(&self, case: &Case) -> CaseResult {
        let mut result = self.blank(case);
        result.verdict = Verdict::Skip;
        "the run ended before".clone_into(&mut result.reason);
        "queued".clone_into(&mut result.status);
        result
    }

    /// What keeps a case from being run.
    fn obstacle(&self, case: &Case) -> Option<Stop> {
        let multicast = self.limits.max_additional.unwrap_or_default() > 0;
        if !case.when.holds(&self.lab.config.ics, multicast) {
            return Some(Stop::NotApplicable(format!("the claims do not say: {}", case.when.expression())));
        }
        let roles = &self.lab.config.roles;
        let side = |name: Option<&String>| name.and_then(|name| self.lab.sae(name)).map(|sae| sae.side);
        for need in case.needs {
            let met = match need {
                Need::Slave => roles.slave.is_some(),
                Need::Pair => side(roles.slave.as_ref()).is_some_and(|slave| Some(slave) != side(Some(&roles.master))),
                Need::Stranger => roles.stranger.is_some(),
                Need::Additional => !roles.additional.is_empty(),
                Need::LocalPair => {
                    let sides: Vec<_> = self.lab.saes().map(|sae| sae.side).collect();
                    sides.iter().enumerate().any(|(index, side)| sides[index + 1..].contains(side))
                }
                Need::Hook(name) => self.lab.config.hooks.contains_key(*name),
                Need::Intruder(name) => self.lab.config.intruder.contains_key(*name),
                Need::Destructive => self.options.mode == Mode::Destructive,
                Need::Tls => self.lab.kmes().all(|kme| kme.url.tls),
            };
            if !met {
                return Some(Stop::Skip(format!("needs {}", crate::catalogue::need_text(*need))));
            }
        }
        let worst = self.worst(case);
        if worst > 0 && self.options.mode == Mode::Safe {
            return Some(Stop::Skip("safe mode sends nothing that can deliver a key".to_owned()));
        }
        let left = self.lab.budget().left();
        (worst > left).then(|| Stop::Skip(format!("budget: it may cost {worst} keys, {left} are left")))
    }

    fn case(&mut self, case: &'static Case) -> CaseResult {
        let mut result = self.attempt(case, 0);
        for attempt in 1..=self.options.retries_inconclusive {
            if result.verdict != Verdict::Inconc || self.unreachable.is_some() {
                break;
            }
            result = self.attempt(case, attempt);
        }
        result
    }

    fn attempt(&mut self, case: &'static Case, attempt: u32) -> CaseResult {
        let mut result = self.blank(case);
        let began = Instant::now();
        if let Some(stop) = self.obstacle(case) {
            conclude(&mut result, case, Vec::new(), Err(stop));
            return result;
        }
        if let Some(why) = &self.unreachable {
            conclude(&mut result, case, Vec::new(), Err(Stop::Inconclusive(why.clone())));
            return result;
        }
        let index = self.index(case);
        self.lab.enter(index);
        let drawn_before = self.lab.ledger().drawn.len();
        if case.negative && !self.sane {
            let answer = self.sanity();
            result.sanity.insert("before".to_owned(), answer.clone().err().unwrap_or_else(|| "200".to_owned()));
            if let Err(why) = answer {
                conclude(&mut result, case, Vec::new(), Err(Stop::Inconclusive(format!("no known-good answer before: {why}"))));
                result.evidence = self.lab.take_evidence();
                return result;
            }
        }
        self.lab.budget().enter_case(Some(result.keys.reserved));
        let Run::Active(function) = case.run else { return result };
        let rng = Rng::new(self.plan.seed.wrapping_add(u64::from(attempt) << 40), case.id);
        let mut ctx = Ctx::new(&self.lab, case, &self.fail_on, &self.limits, rng);
        let outcome = catch_unwind(AssertUnwindSafe(|| function(&mut ctx)))
            .unwrap_or_else(|_| Err(Stop::Error("the case panicked".to_owned())));
        let (mut checks, observed) = (std::mem::take(&mut ctx.checks), std::mem::take(&mut ctx.observed));
        result.parameters = std::mem::take(&mut ctx.parameters);
        self.lab.budget().enter_case(None);
        self.sane = false;
        // After an interruption no request goes out, which says nothing of the KME.
        if case.negative && !self.lab.interrupted.load(std::sync::atomic::Ordering::SeqCst) {
            let answer = self.sanity();
            result.sanity.insert("after".to_owned(), answer.clone().err().unwrap_or_else(|| "200".to_owned()));
            self.sane = answer.is_ok();
            if let Err(why) = answer {
                checks.push(Check {
                    part: "sanity".to_owned(),
                    verdict: judged(false, case.level, &self.fail_on),
                    level: String::new(),
                    accepted: "Status as before".to_owned(),
                    got: format!("the service did not survive: {why}"),
                });
            }
        }
        result.reason = observed.join("; ");
        conclude(&mut result, case, checks, outcome);
        self.tidy_up(index);
        let ledger = self.lab.ledger();
        let drawn = &ledger.drawn[drawn_before.min(ledger.drawn.len())..];
        result.keys.delivered = drawn.len() as u64;
        result.keys.left = drawn.iter().filter(|key| key.retrieved.is_empty()).count() as u64;
        result.keys.retrieved = result.keys.delivered - result.keys.left;
        drop(ledger);
        result.evidence = self.lab.take_evidence();
        let wanted = match self.options.evidence.as_str() {
            "none" => false,
            "fail" => !matches!(result.verdict, Verdict::Pass | Verdict::Na | Verdict::Skip),
            _ => true,
        };
        if !wanted {
            result.evidence.clear();
        }
        result.ms = began.elapsed().as_secs_f64() * 1000.0;
        result
    }

    /// A known-good exchange at each KME.
    fn sanity(&self) -> Result<(), String> {
        let roles = &self.lab.config.roles;
        let slave = roles.slave.as_ref().and_then(|name| self.lab.sae(name));
        let Some(master) = self.lab.sae(&roles.master) else { return Ok(()) };
        let status = |sae, peer: &str| match self.lab.exchange(sae, Request::status(peer)) {
            Ok(answer) if answer.is(200) => Ok(()),
            Ok(answer) => Err(answer.shown),
            Err(stop) => Err(format!("{stop:?}")),
        };
        status(master, slave.map_or(&master.id, |slave| &slave.id))?;
        match slave.filter(|slave| slave.side != master.side) {
            Some(slave) => status(slave, &master.id),
            None => Ok(()),
        }
    }

    /// Slaves fetch what a case has drawn and left.
    fn tidy_up(&self, index: usize) {
        let left: Vec<_> = self.lab.ledger().left_behind(Some(index)).cloned().collect();
        let mut sets: BTreeMap<(String, Vec<String>), Vec<String>> = BTreeMap::new();
        for key in left.into_iter().filter(|key| is_uuid(&key.id)) {
            sets.entry((key.master, key.slaves)).or_default().push(key.id);
        }
        let batch = usize::try_from(self.limits.max_per_request.unwrap_or(1).clamp(1, 64)).unwrap_or(1);
        for ((master, slaves), ids) in sets {
            let Some(slave) = self.lab.saes().find(|sae| slaves.contains(&sae.id)) else { continue };
            for ids in ids.chunks(batch) {
                let fetched = self.lab.exchange(slave, Request::post_ids(&master, ids));
                if ids.len() > 1 && fetched.is_ok_and(|answer| answer.keys.is_empty()) {
                    for id in ids {
                        // What cannot be fetched is in the ledger.
                        let _ = self.lab.exchange(slave, Request::post_ids(&master, &[id]));
                    }
                }
            }
        }
    }

    /// Gives passive cases something to look at, if no other case has.
    fn feed(&mut self, passive: &[&'static Case]) {
        if self.unreachable.is_some() {
            return;
        }
        self.lab.enter(usize::MAX - 1);
        let roles = &self.lab.config.roles;
        let (master, slave) = (self.lab.sae(&roles.master), roles.slave.as_ref().and_then(|name| self.lab.sae(name)));
        let (Some(master), Some(slave)) = (master, slave) else { return };
        let starved = |id: &str| self.lab.passive().tallies.get(id).is_none_or(|tally| tally.looked == 0);
        let no_key = self.options.mode != Mode::Safe && self.lab.ledger().drawn.is_empty();
        if !no_key && !passive.iter().any(|case| starved(case.id)) {
            return;
        }
        let mut rng = Rng::new(self.plan.seed, "feed");
        let unknown: String = crate::hex(&rng.octets::<16>());
        let unknown =
            format!("{}-{}-{}-{}-{}", &unknown[..8], &unknown[8..12], &unknown[12..16], &unknown[16..20], &unknown[20..]);
        let _ = self.lab.exchange(slave, Request::post_ids(&master.id, &[unknown]).faulty());
        if self.options.mode != Mode::Safe && self.lab.budget().left() >= 2 {
            for request in [Request::post_key(&slave.id, "{}"), Request::get_key(&slave.id, "")] {
                let _ = self.lab.exchange(master, request);
            }
            self.tidy_up(usize::MAX - 1);
        }
        self.lab.take_evidence();
    }

    /// The verdict of a passive case.
    fn judge(&self, case: &'static Case) -> CaseResult {
        let mut result = self.blank(case);
        let passive = self.lab.passive();
        let tally = passive.tallies.get(case.id);
        let mut checks = Vec::new();
        for finding in tally.iter().flat_map(|tally| &tally.findings) {
            let level = finding.level.unwrap_or(case.level);
            checks.push(Check {
                part: format!("exchange {}", finding.exchange),
                verdict: judged(false, level, &self.fail_on),
                level: finding.level.map(|level| format!("{level:?}")).unwrap_or_default(),
                accepted: finding.accepted.to_owned(),
                got: finding.got.clone(),
            });
        }
        let outcome = match tally {
            Some(tally) if tally.looked > 0 => {
                result.reason = format!("{} exchanges, {} findings", tally.looked, tally.count);
                Ok(())
            }
            _ if self.unreachable.is_some() => Err(Stop::Inconclusive(self.unreachable.clone().unwrap_or_default())),
            _ => Err(Stop::Skip("no exchange to look at".to_owned())),
        };
        drop(passive);
        if checks.is_empty() && outcome.is_ok() {
            checks.push(Check {
                part: "all".to_owned(),
                verdict: Verdict::Pass,
                level: String::new(),
                accepted: case.accepted.to_owned(),
                got: result.reason.clone(),
            });
        }
        conclude(&mut result, case, checks, outcome);
        result
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

/// The worst of all: it only gets worse.
fn conclude(result: &mut CaseResult, case: &Case, checks: Vec<Check>, outcome: Result<(), Stop>) {
    let worst = checks.iter().map(|check| check.verdict).max();
    let mut tell = |verdict: Verdict, why: String| {
        result.reason = if result.reason.is_empty() { why } else { format!("{why}; {}", result.reason) };
        verdict
    };
    let ended = match outcome {
        Ok(()) if worst.is_none() && case.level != Level::O => tell(Verdict::Error, "the case checked nothing".to_owned()),
        Ok(()) => Verdict::Pass,
        Err(Stop::Judged) if worst.is_none_or(|worst| worst == Verdict::Pass) => {
            tell(Verdict::Inconc, "the case ended without a finding".to_owned())
        }
        Err(Stop::Judged) => Verdict::Pass,
        Err(Stop::Inconclusive(why)) => tell(Verdict::Inconc, why),
        Err(Stop::Skip(why)) => tell(Verdict::Skip, why),
        Err(Stop::NotApplicable(why)) => tell(Verdict::Na, why),
        Err(Stop::Error(why)) => tell(Verdict::Error, why),
        Err(Stop::Interrupted) => {
            "interrupted".clone_into(&mut result.status);
            tell(Verdict::Inconc, "interrupted".to_owned())
        }
    };
    result.verdict = worst.map_or(ended, |worst| worst.max(ended));
    result.checks = checks;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_only_get_worse() {
        let check =
            |verdict| Check { part: String::new(), verdict, level: String::new(), accepted: String::new(), got: String::new() };
        let case = crate::catalogue::all()[0];
        let runner_less = |checks: Vec<Check>, outcome| {
            let mut result: CaseResult = serde_json::from_value(serde_json::json!({
                "id": "", "version": 1, "title": "", "level": "S", "requirements": [], "ambiguities": [], "impact": "",
                "status": "done", "verdict": "pass", "expected": "none", "reason": "", "ics_expression": "", "checks": [],
                "parameters": {}, "sanity": {}, "keys": { "reserved": 0, "delivered": 0, "retrieved": 0, "left": 0 },
                "started": "", "ms": 0.0, "evidence": [], "replay": ""
            }))
            .expect("a result");
            conclude(&mut result, case, checks, outcome);
            result.verdict
        };
        let inconclusive = || Err(Stop::Inconclusive(String::new()));
        assert_eq!(runner_less(vec![check(Verdict::Fail)], inconclusive()), Verdict::Fail);
        assert_eq!(runner_less(vec![check(Verdict::Warn)], inconclusive()), Verdict::Inconc);
        assert_eq!(runner_less(vec![check(Verdict::Pass)], Ok(())), Verdict::Pass);
        assert_eq!(runner_less(Vec::new(), Ok(())), Verdict::Error);
        assert_eq!(runner_less(vec![check(Verdict::Pass)], Err(Stop::Judged)), Verdict::Inconc);
    }

    #[test]
    fn levels_are_read() {
        assert_eq!(levels("s, D").expect("levels"), [Level::S, Level::D]);
        assert!(levels("S,X").is_err());
    }
}
