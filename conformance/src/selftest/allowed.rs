//! The checked-in list of what is allowed beyond the plain rule.

use serde::Deserialize;

use crate::report::Verdict;

/// See `allowed.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Allowed {
    /// Cases that fail on a mutant although it is not made for them.
    mutant: Vec<Others>,
    /// Warnings and inconclusive cases on a variant; none may fail.
    variant: Vec<Others>,
    /// Mutants that are not planted.
    unplanted: Vec<Unplanted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Others {
    id: String,
    /// Ids without `014-`, or the beginning of ids: `ROB`.
    cases: Vec<String>,
    why: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unplanted {
    id: String,
    why: String,
}

impl Allowed {
    pub(crate) fn load() -> Result<Self, String> {
        toml::from_str(include_str!("allowed.toml")).map_err(|error| format!("allowed.toml: {error}"))
    }

    /// Why this verdict of a case is allowed, if it is.
    pub(crate) fn reason(&self, fault: &str, case: &str, verdict: Verdict) -> Option<&str> {
        let list = if verdict == Verdict::Fail { &self.mutant } else { &self.variant };
        list.iter()
            .find(|entry| entry.id == fault && entry.cases.iter().any(|named| covers(named, case)))
            .map(|entry| &*entry.why)
    }

    /// What is allowed for a fault: cases and reason.
    pub(crate) fn entries(&self, fault: &str) -> Vec<(String, &str)> {
        let all = self.mutant.iter().chain(&self.variant).filter(|entry| entry.id == fault);
        all.map(|entry| (entry.cases.join(", "), &*entry.why)).collect()
    }

    pub(crate) fn unplanted(&self, mutant: &str) -> Option<&str> {
        self.unplanted.iter().find(|entry| entry.id == mutant).map(|entry| &*entry.why)
    }

    pub(crate) fn all_unplanted(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unplanted.iter().map(|entry| (&*entry.id, &*entry.why))
    }
}

fn covers(named: &str, case: &str) -> bool {
    let short = case.split_once('-').map_or(case, |(_, short)| short);
    short == named || short.strip_prefix(named).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::all;

    #[test]
    fn the_list_names_cases_and_reasons() {
        let allowed = Allowed::load().expect("a list");
        for entry in allowed.mutant.iter().chain(&allowed.variant) {
            assert!(entry.why.len() > 10, "{}: a reason", entry.id);
            for named in &entry.cases {
                let covered: Vec<_> = all().iter().filter(|case| covers(named, case.id)).collect();
                assert!(!covered.is_empty(), "{}: {named} is no case", entry.id);
                let kills = covered.iter().any(|case| named.contains('-') && case.kills.contains(&&*entry.id));
                assert!(!kills, "{}: {named} is made for it and needs no permission", entry.id);
            }
        }
        assert!(allowed.unplanted.iter().all(|entry| entry.why.len() > 10));
    }

    #[test]
    fn a_group_covers_its_cases_only() {
        assert!(covers("ROB", "014-ROB-003") && covers("ROB-003", "014-ROB-003"));
        assert!(!covers("RO", "014-ROB-003") && !covers("ROB-00", "014-ROB-003"));
    }
}
