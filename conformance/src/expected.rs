//! Known deviations: accepted until a date, and an error when they are gone.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use time::{Date, OffsetDateTime};

use crate::report::{CaseResult, Report, Verdict};

/// The file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    #[serde(default)]
    expect: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    case: String,
    /// Only this part; another one still fails.
    part: Option<String>,
    verdict: String,
    reason: String,
    until: toml::value::Datetime,
}

impl Expected {
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let read: Self = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        for entry in &read.expect {
            if !crate::catalogue::all().iter().chain(crate::catalogue::sae()).any(|case| case.id == entry.case) {
                return Err(format!("{}: {} is no case", path.display(), entry.case));
            }
            if entry.verdict != "fail" {
                return Err(format!("{}: {}: verdict = \"fail\" is all that can be expected", path.display(), entry.case));
            }
            entry.date().ok_or_else(|| format!("{}: {}: until = YYYY-MM-DD is needed", path.display(), entry.case))?;
        }
        Ok(read)
    }

    /// Marks what was expected, what no longer happens, and what is over.
    pub(crate) fn apply(&self, report: &mut Report, now: OffsetDateTime) {
        report.cases.iter_mut().for_each(|case| self.mark(case, now));
    }

    /// The same of one case.
    pub(crate) fn mark(&self, case: &mut CaseResult, now: OffsetDateTime) {
        for entry in self.expect.iter().filter(|entry| entry.case == case.id) {
            let is_of = |part: &str| entry.part.as_ref().is_none_or(|named| named == part);
            let failed: Vec<_> = case.checks.iter().filter(|check| check.verdict == Verdict::Fail).collect();
            let covered = case.verdict == Verdict::Fail && failed.iter().all(|check| is_of(&check.part));
            let expired = entry.date().is_none_or(|date| date < now.date());
            // It is still there, at a level that does not fail this run.
            let warned = case.checks.iter().any(|check| check.verdict == Verdict::Warn && is_of(&check.part));
            let state = match (case.verdict, covered, expired) {
                (Verdict::Fail, true, false) => "xfail",
                (Verdict::Fail, true, true) => "expired",
                (Verdict::Warn, ..) if warned => continue,
                (Verdict::Pass | Verdict::Warn, ..) => "xpass",
                _ => continue,
            };
            state.clone_into(&mut case.expected);
            case.reason = format!("expected until {}: {}", entry.until, entry.reason);
        }
    }
}

impl Entry {
    fn date(&self) -> Option<Date> {
        let date = self.until.date?;
        let month = time::Month::try_from(date.month).ok()?;
        Date::from_calendar_date(i32::from(date.year), month, date.day).ok()
    }
}

/// A file of all failures of a report, for people to complete.
pub(crate) fn draft(report: &Report, until: Date) -> String {
    let mut text = "# Known deviations. Give each its reason; after `until` they fail the run again.\n".to_owned();
    for case in report.cases.iter().filter(|case| case.verdict == Verdict::Fail) {
        text.push_str(&format!("\n# {}\n[[expect]]\ncase = \"{}\"\n", case.title, case.id));
        let mut parts: Vec<_> =
            case.checks.iter().filter(|check| check.verdict == Verdict::Fail).map(|check| &check.part).collect();
        parts.dedup();
        if let [part] = parts.as_slice() {
            text.push_str(&format!("part = {}\n", toml::Value::String((*part).clone())));
        }
        text.push_str(&format!("verdict = \"fail\"\nreason = \"TODO: ticket or explanation\"\nuntil = {until}\n"));
    }
    text
}
