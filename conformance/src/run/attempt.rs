//! The judging of one case.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Before, Runner};
use crate::bounds;
use crate::case::{Case, GONE, Level, Need, Run, When};
use crate::catalogue::requirement;
use crate::ctx::{Ctx, Stop, judged};
use crate::lab::{Answer, Mode, Request, Sae};
use crate::report::{CaseResult, Check, EXCHANGE, KeyCost, Verdict, count};
use crate::rng::Rng;
use crate::secret::Vault;

impl Runner<'_> {
    pub(super) fn blank(&self, case: &Case) -> CaseResult {
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
            replay: format!("qkdspec run kme {} --seed {:x}{}", case.id, self.plan.seed, self.options.again),
        }
    }

    fn worst(&self, case: &Case) -> u64 {
        let per_request = self.limits.max_per_request.unwrap_or(1);
        case.cost.worst(per_request.min(self.lab.config.limits.max_batch), per_request)
    }

    pub(super) fn untouched(&self, case: &Case) -> CaseResult {
        let mut result = self.blank(case);
        result.verdict = Verdict::Skip;
        result.reason = match &self.gone {
            Some(why) => format!("the run ended before: {why}"),
            None => "the run ended before".to_owned(),
        };
        "queued".clone_into(&mut result.status);
        result
    }

    /// What keeps a case from being run.
    pub(super) fn obstacle(&self, case: &Case) -> Option<Stop> {
        let multicast = self.limits.max_additional.unwrap_or_default() > 0;
        if !case.when.holds(&self.lab.config.ics, multicast) {
            // Where the vendor claims nothing, the KME has told it.
            let told = case.when.is_of_status(&self.lab.config.ics);
            let by = if told { "Status" } else { "the claims" };
            let why = match case.when {
                When::NoMulticast => format!("by {by}, multicast is offered"),
                when => format!("by {by}, it is not so: {}", when.expression()),
            };
            return Some(Stop::NotApplicable(why));
        }
        let roles = &self.lab.config.roles;
        let side = |name: Option<&String>| name.and_then(|name| self.lab.sae(name)).map(|sae| sae.side);
        let met = |need: &Need| match need {
            Need::Slave => roles.slave.is_some(),
            Need::Pair => side(roles.slave.as_ref()).is_some_and(|slave| Some(slave) != side(Some(&roles.master))),
            Need::Stranger => {
                let stranger = side(roles.stranger.as_ref());
                stranger.is_some() && stranger == side(roles.slave.as_ref())
            }
            Need::Additional => !roles.additional.is_empty(),
            Need::LocalPair => {
                let sides: Vec<_> = self.lab.saes().map(|sae| sae.side).collect();
                sides.iter().enumerate().any(|(index, side)| sides[index + 1..].contains(side))
            }
            Need::Hook(name) => self.lab.config.hooks.contains_key(*name),
            Need::Intruder(name) => self.lab.config.intruder.contains_key(*name),
            Need::Destructive => self.options.mode == Mode::Destructive,
            Need::Tls => self.lab.kmes().all(|kme| kme.url.tls),
            // Of cases for SAEs, which are not run here.
            Need::AsMaster | Need::AsSlave | Need::AsBoth | Need::Told | Need::Output => false,
        };
        let missing: Vec<_> =
            case.needs.iter().filter(|need| !met(need)).map(|need| crate::catalogue::need_text(*need)).collect();
        if !missing.is_empty() {
            return Some(Stop::Skip(format!("needs {}", missing.join(", and "))));
        }
        let worst = self.worst(case);
        if !case.cost.is_safe() && self.options.mode == Mode::Safe {
            return Some(Stop::Skip("safe mode sends nothing that can deliver a key".to_owned()));
        }
        let budget = self.lab.budget();
        let (whole, left) = (budget.keys, budget.left());
        drop(budget);
        if worst <= left {
            return None;
        }
        let why = format!("budget: it may cost {}, of which {left} can be spent", count(worst, "key"));
        // No budget is made for what a wrong KME with such a limit could hand out.
        let limitless = case.cost.wrong_batches > 0 && self.limits.max_per_request.is_some_and(|most| most > whole);
        Some(if limitless { Stop::Skip(why) } else { Stop::Inconclusive(why) })
    }

    pub(super) fn case(&mut self, case: &'static Case) -> CaseResult {
        self.catch_up();
        self.before = Before::default();
        let mut result = self.attempt(case);
        for _ in 0..self.options.retries_inconclusive {
            let lost = self.unreachable.is_some() || self.gone.is_some();
            let over = result.verdict != Verdict::Inconc || lost || self.interrupted();
            if over || self.obstacle(case).is_some() {
                break;
            }
            let before = std::mem::replace(&mut result, self.attempt(case));
            result.keys.reserved += before.keys.reserved;
            result.keys.delivered += before.keys.delivered;
            result.keys.retrieved += before.keys.retrieved;
            result.keys.left += before.keys.left;
            result.evidence.splice(..0, before.evidence);
            result.ms += before.ms;
        }
        result
    }

    fn attempt(&mut self, case: &'static Case) -> CaseResult {
        let mut result = self.blank(case);
        let began = Instant::now();
        self.lab.budget().enter_case(Some(result.keys.reserved));
        if let Some(stop) = self.obstacle(case) {
            if matches!(stop, Stop::Inconclusive(_)) {
                self.lab.budget().refused += 1;
            }
            conclude(&self.lab.vault, &mut result, case, Vec::new(), Err(stop));
            return result;
        }
        if let Some(why) = &self.unreachable {
            conclude(&self.lab.vault, &mut result, case, Vec::new(), Err(Stop::Inconclusive(why.clone())));
            return result;
        }
        let index = self.index(case);
        self.lab.enter(index);
        let drawn_before = self.lab.ledger().drawn.len();
        if case.negative && !self.sane {
            let answer = self.sanity();
            result.sanity.insert("before".to_owned(), answer.clone().err().unwrap_or_else(|| "200".to_owned()));
            if let Err(why) = answer {
                self.await_kmes(case.id);
                let why = self.gone.clone().unwrap_or_else(|| format!("no known-good answer before: {why}"));
                conclude(&self.lab.vault, &mut result, case, Vec::new(), Err(Stop::Inconclusive(why)));
                result.evidence = self.lab.take_evidence();
                return result;
            }
        }
        let Run::Active(function) = case.run else { return result };
        let (unanswered, unheard, refused) = (self.lab.unanswered(), self.lab.unheard(), self.lab.refused());
        // The same data at every attempt, so that its stimuli are the same.
        let rng = Rng::new(self.plan.seed, case.id);
        self.lab.take_lost();
        let mut ctx = Ctx::new(&self.lab, case, &self.fail_on, &self.limits, rng);
        ctx.lost_before.clone_from(&self.before.lost);
        let mut outcome = catch_unwind(AssertUnwindSafe(|| function(&mut ctx)))
            .unwrap_or_else(|_| Err(Stop::Error("the case panicked".to_owned())));
        if ctx.away {
            outcome = Err(Stop::Inconclusive("a KME could not be reached while the case ran".to_owned()));
        }
        let (mut checks, observed) = (std::mem::take(&mut ctx.checks), std::mem::take(&mut ctx.observed));
        result.parameters = std::mem::take(&mut ctx.parameters);
        self.before.lost.extend(self.lab.take_lost());
        // A KME that has answered all of it and then is not there may have been restarted by somebody.
        let unheard = self.lab.unheard() > unheard || self.lab.refused() > refused;
        self.sane = false;
        let twice = self.before.away;
        // After an interruption no request goes out, which says nothing of the KME.
        if case.negative && !self.interrupted() {
            let answer = self.sanity();
            result.sanity.insert("after".to_owned(), answer.clone().err().unwrap_or_else(|| "200".to_owned()));
            self.sane = answer.is_ok();
            if let Err(why) = answer {
                // That it serves is required, whatever the case is about.
                let back = self.serves_again(case.id);
                self.before.away = true;
                let finding = match (back, self.gone.is_some()) {
                    _ if self.interrupted() => None,
                    // Once, that may have been a restart: the same again will tell.
                    (true, _) => twice.then_some((case.level.min(Level::D), "the service was away for some time, twice")),
                    (false, false) => Some((Level::S, "the service did not survive")),
                    (false, true) => (unheard || twice).then_some((Level::S, "the service did not survive")),
                };
                match finding {
                    Some((level, what)) => checks.push(self.missing(case, "sanity", level, &format!("{what}: {why}"))),
                    None if !self.interrupted() && outcome.is_ok() => {
                        outcome = Err(Stop::Inconclusive(format!("the service was away after it, perhaps restarted: {why}")));
                    }
                    None => {}
                }
            }
        }
        result.reason = observed.join("; ");
        let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
        let doubtful = outcome.is_err() || failed || case.level == Level::O || self.lab.unanswered() > unanswered;
        if doubtful && !self.sane {
            self.await_kmes(case.id);
        }
        if let Some(why) = self.gone.clone() {
            // What a hook has done is not the KME's doing.
            let burden = (case.negative || case.group() == "CON") && !case.needs_hook() && (unheard || twice);
            if burden && checks.iter().all(|check| check.part != "sanity") {
                checks.push(self.missing(case, GONE, Level::S, &why));
            }
            let told = checks.iter().any(|check| check.verdict == Verdict::Fail);
            outcome = if told { Err(Stop::Judged) } else { Err(Stop::Inconclusive(why)) };
        }
        conclude(&self.lab.vault, &mut result, case, checks, outcome);
        if self.gone.is_none() {
            let unanswered = self.lab.unanswered();
            self.tidy_up(Some(case), index, result.keys.reserved);
            if self.lab.unanswered() > unanswered {
                self.await_kmes(case.id);
            }
            match &self.gone {
                Some(why) => {
                    result.verdict = result.verdict.max(Verdict::Inconc);
                    result.reason = format!("{why}; {}", result.reason);
                }
                None => self.last_worked = Some(case.id),
            }
        }
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

    /// A check that failed after the case.
    fn missing(&self, case: &Case, part: &str, level: Level, got: &str) -> Check {
        Check {
            part: part.to_owned(),
            verdict: judged(false, level, &self.fail_on),
            level: if level == case.level { String::new() } else { format!("{level:?}") },
            accepted: "Status as before".to_owned(),
            got: self.lab.vault.told(got, bounds::TOLD),
            exchange: None,
        }
    }

    /// How long a KME that is away is waited for.
    fn patience(&self) -> Duration {
        self.options.wait_ready.max(self.lab.config.limits.comes_back())
    }

    /// Waits until Status is told as before.
    fn serves_again(&mut self, case: &str) -> bool {
        let until = Instant::now() + self.patience();
        while Instant::now() < until && !self.interrupted() {
            thread::sleep(Duration::from_millis(250));
            if self.sanity().is_ok() {
                self.sane = true;
                return true;
            }
        }
        if let Some(why) = self.absent().filter(|_| !self.interrupted()) {
            self.give_up(case, &why);
        }
        // Interrupted, nothing is known.
        self.interrupted()
    }

    fn give_up(&mut self, case: &str, why: &str) {
        let seconds = self.patience().as_secs_f64();
        let worked = self.last_worked.map_or("none before".to_owned(), |case| format!("last {case}"));
        self.gone = Some(format!("no answer since {case}, nor within {seconds} s after it: {why} (worked: {worked})"));
    }

    /// A KME that restarts is waited for; one that stays away ends the run.
    fn await_kmes(&mut self, case: &str) {
        if self.gone.is_some() {
            return;
        }
        let until = Instant::now() + self.patience();
        while let Some(why) = self.absent() {
            if self.interrupted() {
                return;
            }
            if Instant::now() >= until {
                self.give_up(case, &why);
                return;
            }
            thread::sleep(Duration::from_millis(250));
        }
    }

    /// Why one of the KMEs gives no answer at all, whatever it were.
    fn absent(&self) -> Option<String> {
        let roles = &self.lab.config.roles;
        let (master, slave) = (self.lab.sae(&roles.master)?, roles.slave.as_ref().and_then(|name| self.lab.sae(name)));
        let peer = slave.map_or(master.id.as_str(), |slave| &slave.id);
        let silent = |sae: &Sae, peer: &str| {
            let error = self.lab.exchange(sae, Request::status(peer)).ok()?.outcome.err()?;
            Some(format!("KME {}: {error}", sae.side.letter()))
        };
        let slave = slave.filter(|slave| slave.side != master.side);
        silent(master, peer).or_else(|| silent(slave?, &master.id))
    }

    /// A known-good exchange at each KME. At the slave's, that is Status for a slave as a master: nobody has to be one, so a
    /// refusal will do that is the same as at the beginning.
    fn sanity(&self) -> Result<(), String> {
        let roles = &self.lab.config.roles;
        let slave = roles.slave.as_ref().and_then(|name| self.lab.sae(name));
        let Some(master) = self.lab.sae(&roles.master) else { return Ok(()) };
        let until = Instant::now() + self.lab.config.limits.settle();
        let refusal = self.met(1).and_then(Answer::status).filter(|status| (400..500).contains(status));
        let status = |sae, peer: &str, refusal: Option<u16>| loop {
            match self.lab.exchange(sae, Request::status(peer)) {
                Ok(answer) if answer.is(200) || refusal.is_some_and(|status| answer.is(status)) => return Ok(()),
                // It is there, and says that it is busy.
                Ok(answer) if answer.is(503) && Instant::now() < until => thread::sleep(Duration::from_millis(100)),
                Ok(answer) => return Err(answer.shown),
                Err(stop) => return Err(format!("{stop:?}")),
            }
        };
        status(master, slave.map_or(&master.id, |slave| &slave.id), None)?;
        match slave.filter(|slave| slave.side != master.side) {
            Some(slave) => status(slave, &master.id, refusal),
            None => Ok(()),
        }
    }

    /// The verdict of a passive case.
    pub(super) fn judge(&self, case: &'static Case) -> CaseResult {
        let mut result = self.blank(case);
        let passive = self.lab.passive();
        let tally = passive.tallies.get(case.id);
        let mut checks = Vec::new();
        for finding in tally.iter().flat_map(|tally| &tally.findings) {
            let level = finding.level.unwrap_or(case.level);
            checks.push(Check {
                part: format!("{EXCHANGE}{}", finding.exchange),
                verdict: judged(false, level, &self.fail_on),
                level: finding.level.map(|level| format!("{level:?}")).unwrap_or_default(),
                accepted: finding.accepted.to_owned(),
                got: finding.got.clone(),
                exchange: None,
            });
        }
        let outcome = match tally {
            Some(tally) if tally.looked > 0 => {
                result.reason = format!("{}, {}", count(tally.looked, "exchange"), count(tally.count, "finding"));
                Ok(())
            }
            _ if self.unreachable.is_some() => Err(Stop::Inconclusive(self.unreachable.clone().unwrap_or_default())),
            _ if self.gone.is_some() => Err(Stop::Skip("the run ended before".to_owned())),
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
                exchange: None,
            });
        }
        conclude(&self.lab.vault, &mut result, case, checks, outcome);
        result
    }
}

/// The worst of all: it only gets worse.
pub(crate) fn conclude(vault: &Vault, result: &mut CaseResult, case: &Case, checks: Vec<Check>, outcome: Result<(), Stop>) {
    let worst = checks.iter().map(|check| check.verdict).max();
    let mut tell = |verdict: Verdict, why: String| {
        let why = vault.told(&why, bounds::TOLD);
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
        let check = |verdict| Check {
            part: String::new(),
            verdict,
            level: String::new(),
            accepted: String::new(),
            got: String::new(),
            exchange: None,
        };
        let case = crate::catalogue::all()[0];
        let vault = Vault::new().expect("random generator");
        let runner_less = |checks: Vec<Check>, outcome| {
            let mut result: CaseResult = serde_json::from_value(serde_json::json!({
                "id": "", "version": 1, "title": "", "level": "S", "requirements": [], "ambiguities": [], "impact": "",
                "status": "done", "verdict": "pass", "expected": "none", "reason": "", "ics_expression": "", "checks": [],
                "parameters": {}, "sanity": {}, "keys": { "reserved": 0, "delivered": 0, "retrieved": 0, "left": 0 },
                "started": "", "ms": 0.0, "evidence": [], "replay": ""
            }))
            .expect("a result");
            conclude(&vault, &mut result, case, checks, outcome);
            result.verdict
        };
        let inconclusive = || Err(Stop::Inconclusive(String::new()));
        assert_eq!(runner_less(vec![check(Verdict::Fail)], inconclusive()), Verdict::Fail);
        assert_eq!(runner_less(vec![check(Verdict::Warn)], inconclusive()), Verdict::Inconc);
        assert_eq!(runner_less(vec![check(Verdict::Pass)], Ok(())), Verdict::Pass);
        assert_eq!(runner_less(Vec::new(), Ok(())), Verdict::Error);
        assert_eq!(runner_less(vec![check(Verdict::Pass)], Err(Stop::Judged)), Verdict::Inconc);
    }
}
