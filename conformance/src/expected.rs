//! Known deviations: accepted until a date, and an error when they are gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use time::{Date, OffsetDateTime};

use crate::report::{CaseResult, EXCHANGE, Report, Verdict};

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
        let entries: Vec<_> = self.expect.iter().filter(|entry| entry.case == case.id).collect();
        let shows = |entry: &Entry, verdict| case.checks.iter().any(|check| check.verdict == verdict && entry.is_of(&check.part));
        let covering = |lasting: bool| -> Vec<&Entry> {
            let mut found: Vec<_> = entries.iter().copied().filter(|entry| shows(entry, Verdict::Fail)).collect();
            found.retain(|entry| !lasting || entry.date().is_some_and(|date| date >= now.date()));
            let mut failed = case.checks.iter().filter(|check| check.verdict == Verdict::Fail);
            if failed.all(|check| found.iter().any(|entry| entry.is_of(&check.part))) { found } else { Vec::new() }
        };
        // A part may still be there, at a level that does not fail this run. Of a whole case nobody knows which check was meant:
        // any other one may warn.
        let is_there = |entry: &&Entry| shows(entry, Verdict::Fail) || entry.part.is_some() && shows(entry, Verdict::Warn);
        let gone = || entries.iter().copied().filter(|entry| !is_there(entry)).collect::<Vec<_>>();
        let (state, of) = match case.verdict {
            // One that is no longer seen would hide that it comes back.
            Verdict::Fail if !covering(true).is_empty() => match gone() {
                gone if gone.is_empty() => ("xfail", covering(true)),
                gone => ("xpass", gone),
            },
            Verdict::Fail => ("expired", covering(false)),
            Verdict::Pass | Verdict::Warn => ("xpass", gone()),
            _ => return,
        };
        let told = |entry: &&Entry| {
            let gone = entry.part.iter().filter(|_| state == "xpass").map(|part| format!("{part} no longer fails; "));
            format!("{}expected until {}: {}", gone.collect::<String>(), entry.until, entry.reason)
        };
        let mut reasons: Vec<_> = of.iter().map(told).collect();
        reasons.dedup();
        if !reasons.is_empty() {
            state.clone_into(&mut case.expected);
            case.reason = reasons.join("; ");
        }
    }
}

impl Entry {
    fn is_of(&self, part: &str) -> bool {
        self.part.as_ref().is_none_or(|named| lasting(named) == lasting(part))
    }

    fn date(&self) -> Option<Date> {
        let date = self.until.date?;
        let month = time::Month::try_from(date.month).ok()?;
        Date::from_calendar_date(i32::from(date.year), month, date.day).ok()
    }
}

/// What a part is listed by: an exchange has another number in the next run.
fn lasting(part: &str) -> &str {
    if part.starts_with(EXCHANGE) { EXCHANGE.trim_end() } else { part }
}

/// A file of all failures of a report, for people to complete.
pub(crate) fn draft(report: &Report, until: Date) -> String {
    let mut text = "# Known deviations. Give each its reason; after `until` they fail the run again.\n".to_owned();
    for case in report.cases.iter().filter(|case| case.verdict == Verdict::Fail) {
        let failed = case.checks.iter().filter(|check| check.verdict == Verdict::Fail);
        let parts: BTreeSet<_> = failed.map(|check| lasting(&check.part)).collect();
        for part in parts {
            text.push_str(&format!(
                "\n# {}\n[[expect]]\ncase = \"{}\"\npart = {}\nverdict = \"fail\"\nreason = \"TODO: ticket or explanation\"\nuntil = {until}\n",
                case.title,
                case.id,
                toml::Value::String(part.to_owned())
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a case with these checks is marked.
    fn marked(entries: &[Option<&str>], verdict: Verdict, checks: &[(&str, Verdict)]) -> String {
        let entry = |part: &Option<&str>| {
            let part = part.map(|part| format!("part = \"{part}\"\n")).unwrap_or_default();
            format!("[[expect]]\ncase = \"014-DEC-004\"\n{part}verdict = \"fail\"\nreason = \"known\"\nuntil = 2999-12-31\n")
        };
        let expected: Expected = toml::from_str(&entries.iter().map(entry).collect::<String>()).expect("a list");
        let case = crate::catalogue::all().iter().find(|case| case.id == "014-DEC-004").expect("a case");
        let mut result = crate::sae::blank(case, String::new());
        result.verdict = verdict;
        let check = |(part, verdict): &(&str, Verdict)| crate::report::Check {
            part: (*part).to_owned(),
            verdict: *verdict,
            level: String::new(),
            accepted: String::new(),
            got: String::new(),
            exchange: None,
        };
        result.checks = checks.iter().map(check).collect();
        expected.mark(&mut result, OffsetDateTime::UNIX_EPOCH);
        result.expected
    }

    #[test]
    fn a_warning_keeps_an_entry_only_where_it_is_of_its_part() {
        let [code, text] = [Some("code"), Some("text")];
        let warned = [("code", Verdict::Pass), ("text", Verdict::Warn)];
        assert_eq!(marked(&[text], Verdict::Warn, &warned), "none");
        assert_eq!(marked(&[code], Verdict::Warn, &warned), "xpass");
        assert_eq!(marked(&[None], Verdict::Warn, &warned), "xpass");
        assert_eq!(marked(&[code, text], Verdict::Warn, &warned), "xpass");
    }

    #[test]
    fn a_part_that_no_longer_fails_is_told_while_another_does() {
        let [code, text] = [Some("code"), Some("text")];
        let mended = [("code", Verdict::Pass), ("text", Verdict::Fail)];
        assert_eq!(marked(&[code, text], Verdict::Fail, &mended), "xpass");
        assert_eq!(marked(&[text], Verdict::Fail, &mended), "xfail");
        assert_eq!(marked(&[None], Verdict::Fail, &mended), "xfail");
    }

    #[test]
    fn an_exchange_may_have_another_number() {
        let found = [("exchange 7", Verdict::Fail), ("exchange 9", Verdict::Fail)];
        assert_eq!(marked(&[Some("exchange")], Verdict::Fail, &found), "xfail");
        assert_eq!(marked(&[Some("exchange 3")], Verdict::Warn, &[("exchange 9", Verdict::Warn)]), "none");
        assert_eq!(marked(&[Some("exchange")], Verdict::Pass, &[("all", Verdict::Pass)]), "xpass");
    }

    #[test]
    fn entries_of_one_case_cover_its_failures_together() {
        let [code, text] = [Some("code"), Some("text")];
        let failed = [("code", Verdict::Fail), ("text", Verdict::Fail)];
        assert_eq!(marked(&[code, text], Verdict::Fail, &failed), "xfail");
        assert_eq!(marked(&[None], Verdict::Fail, &failed), "xfail");
        assert_eq!(marked(&[code], Verdict::Fail, &failed), "none");
        assert_eq!(marked(&[], Verdict::Fail, &failed), "none");
    }
}
