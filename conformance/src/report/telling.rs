//! What every form of a report says in the same words: what came of the run, and what a case has found.

use super::{CaseResult, Check, GONE, Report, Verdict};
use crate::catalogue::breached;

/// So much of a request is shown beside a finding.
const SENT: usize = 240;

/// A number with its noun.
pub(crate) fn count(number: impl ToString, noun: &str) -> String {
    let number = number.to_string();
    format!("{number} {noun}{}", if number == "1" { "" } else { "s" })
}

impl Report {
    /// What came of the run: how it is called, and the rest of the sentence.
    pub(crate) fn headline(&self) -> (&'static str, String) {
        match self.summary.outcome.as_str() {
            "conforming" => {
                let warned = self.cases.iter().filter(|case| case.verdict == Verdict::Warn).count();
                let warnings = if warned == 0 { String::new() } else { format!(", with {}", count(warned, "warning")) };
                ("Conforming", format!(" to 014@1.1.1 as far as tested here{warnings}; a self-test, not a certificate"))
            }
            "not-conforming" => {
                ("Not conforming", format!(" to 014@1.1.1 as tested: {}{}", self.failed(), self.expected_deviations()))
            }
            "inconclusive" => ("Inconclusive", format!(": {}", self.doubt())),
            _ => ("Harness error", ": the verdicts cannot be relied on".to_owned()),
        }
    }

    fn failed(&self) -> String {
        let failed = &self.summary.failed_requirements;
        let cases: Vec<_> = self.cases.iter().filter(|case| case.verdict == Verdict::Fail).collect();
        // Hygiene rests on no requirement.
        let (without, with): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| breached(case, Verdict::Fail).is_empty());
        let mut parts = Vec::new();
        if !failed.is_empty() {
            parts.push(format!("{} failed, in {}", count(failed.len(), "requirement"), count(with.len(), "case")));
        }
        if !without.is_empty() {
            let ids: Vec<_> = without.iter().map(|case| case.short()).collect();
            let mut levels: Vec<_> = without.iter().map(|case| case.level.as_str()).collect();
            levels.sort_unstable();
            levels.dedup();
            let (cases, levels, ids) = (count(without.len(), "case"), levels.join(", "), ids.join(", "));
            parts.push(format!("{cases} failed at level {levels}, which is set to fail a run ({ids})"));
        }
        parts.join("; ")
    }

    fn doubt(&self) -> String {
        let is_judged = |case: &&CaseResult| matches!(case.verdict, Verdict::Pass | Verdict::Warn | Verdict::Fail);
        let mut doubts = self.cases.iter().filter(|case| case.verdict == Verdict::Inconc).map(|case| case.reason.as_str());
        let first = doubts.next().unwrap_or_default();
        if self.observations.contains_key(GONE) {
            "a KME is gone".to_owned()
        } else if self.cases.iter().filter(is_judged).count() == 0 && !first.is_empty() && doubts.all(|doubt| doubt == first) {
            format!("nothing was tested: {first}")
        } else if self.ledger.over_budget > 0 {
            format!(
                "the key budget was used up, {} requests or cases were held back; select fewer cases, or raise it (--budget-keys, limits.budget_keys)",
                self.ledger.over_budget
            )
        } else if !self.ics.contradictions.is_empty() {
            "the claims do not fit what Status says; correct [ics]".to_owned()
        } else {
            "not every case reached its purpose".to_owned()
        }
    }

    /// Whether an SAE was under test.
    pub(crate) fn is_of_sae(&self) -> bool {
        !self.cases.is_empty() && self.cases.iter().all(|case| case.id.starts_with("SAE14-"))
    }
}

/// Checks that were not met, and differ in nothing but the request.
pub(crate) struct Finding<'a> {
    pub(crate) check: &'a Check,
    pub(crate) part: String,
    /// What came, without repetitions.
    pub(crate) got: Vec<&'a str>,
    /// The exchanges of the case, by number and with what was sent.
    pub(crate) sent: Vec<(u64, String)>,
}

impl Finding<'_> {
    /// In a line, for forms that have no more room.
    pub(crate) fn line(&self) -> String {
        let sent: Vec<_> = self.sent.iter().map(|(_, sent)| sent.as_str()).collect();
        let sent = if sent.is_empty() { String::new() } else { format!("; sent {}", some(&sent, 4)) };
        format!("{}: accepted {}; got {}{sent}", self.part, self.check.accepted, some(&self.got, 3))
    }
}

/// The first few, and how many more there are.
pub(crate) fn some<T: AsRef<str>>(all: &[T], most: usize) -> String {
    let mut text = all.iter().take(most).map(AsRef::as_ref).collect::<Vec<_>>().join("; ");
    if all.len() > most {
        text.push_str(&format!("; and {} more", all.len() - most));
    }
    text
}

impl CaseResult {
    /// What was not met.
    pub(crate) fn findings(&self) -> Vec<Finding<'_>> {
        let mut findings: Vec<(Finding<'_>, Vec<&str>)> = Vec::new();
        for check in self.complaints() {
            let seen = check.part.strip_prefix("exchange ");
            let same = |other: &Check| {
                let like = (other.verdict, &other.level, &other.accepted) == (check.verdict, &check.level, &check.accepted);
                match (seen, other.part.strip_prefix("exchange ")) {
                    // What looks at all exchanges says the same of many.
                    (Some(_), Some(_)) => like,
                    (None, None) => like && other.part == check.part && other.got == check.got,
                    _ => false,
                }
            };
            let at = findings.iter().position(|(finding, _)| same(finding.check)).unwrap_or_else(|| {
                let part = check.part.clone();
                findings.push((Finding { check, part, got: Vec::new(), sent: Vec::new() }, Vec::new()));
                findings.len() - 1
            });
            let (finding, numbers) = &mut findings[at];
            numbers.extend(seen);
            if !finding.got.contains(&check.got.as_str()) {
                finding.got.push(&check.got);
            }
            finding.sent.extend(check.exchange.and_then(|number| Some((number, self.sent(number)?))));
        }
        for (finding, numbers) in &mut findings {
            if numbers.len() > 1 {
                finding.part = format!("exchanges {}", some(numbers, 8));
            }
        }
        findings.into_iter().map(|(finding, _)| finding).collect()
    }

    fn sent(&self, number: u64) -> Option<String> {
        let request = &self.evidence.iter().find(|exchange| exchange.n == number)?.request;
        let body = request.body.iter().map(|body| format!(" {body}"));
        Some(crate::lab::cut(&(request.line.clone() + &body.collect::<String>()), SENT))
    }

    /// The requirements of the case, and what else a check that was not met is about.
    pub(crate) fn concerned(&self) -> Vec<String> {
        let mut ids = self.requirements.clone();
        for id in breached(self, self.verdict) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }
}
