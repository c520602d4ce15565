//! Which cases: ids, prefixes, globs, profiles, tags, clauses, levels.

use crate::case::{Case, Level, Need, When};
use crate::catalogue::{all, sae};

/// Profiles by name, with what they are for.
pub(crate) const PROFILES: [(&str, &str); 8] = [
    ("@014-smoke", "a few cases that tell whether it works at all"),
    ("@014-core", "levels S and R that need neither hook nor claim"),
    ("@014-full", "everything"),
    ("@014-safe", "what cannot cost a key"),
    ("@014-security", "TLS, identity, and what matters for security or the safety of keys"),
    ("@014-multicast", "additional slaves"),
    ("@sae-master", "an SAE under test: cases for masters"),
    ("@sae-slave", "an SAE under test: cases for slaves"),
];

const SMOKE: [&str; 12] = [
    "014-TLS-004",
    "014-AUT-001",
    "014-STA-001",
    "014-STA-002",
    "014-STA-003",
    "014-ENC-001",
    "014-ENC-019",
    "014-ENC-020",
    "014-ENC-022",
    "014-DEC-001",
    "014-DEC-004",
    "014-ERR-001",
];

/// The cases that `select` names, all of them if it is empty, without those that `skip` names; in the order of the catalogue.
pub(crate) fn select(select: &[String], skip: &[String]) -> Result<Vec<&'static Case>, String> {
    select_of(all(), select, skip)
}

/// The same of other cases: those for KMEs, those for SAEs, or all.
pub(crate) fn select_of(among: &[&'static Case], select: &[String], skip: &[String]) -> Result<Vec<&'static Case>, String> {
    // As an environment sets it that takes nothing away.
    let skip: Vec<String> = skip.iter().filter(|pattern| !pattern.is_empty()).cloned().collect();
    let mut wanted: Vec<&'static Case> = Vec::new();
    for case in among {
        let named = |patterns: &[String]| -> Result<bool, String> {
            patterns.iter().try_fold(false, |any, pattern| Ok(any | matches(case, pattern)?))
        };
        if (select.is_empty() || named(select)?) && !named(&skip)? {
            wanted.push(case);
        }
    }
    for pattern in select.iter().chain(&skip) {
        if !among.iter().any(|case| matches(case, pattern).unwrap_or_default()) {
            let is_in = |cases: &[&Case]| cases.iter().any(|case| matches(case, pattern).unwrap_or_default());
            let why = match () {
                () if is_in(sae()) => "is for SAEs under test: `qkdspec run sae`",
                () if is_in(all()) => "is for KMEs: `qkdspec run kme`",
                () => "selects no case; see `qkdspec list`",
            };
            return Err(format!("`{pattern}` {why}"));
        }
    }
    if wanted.is_empty() { Err("the selection is empty".to_owned()) } else { Ok(wanted) }
}

fn matches(case: &Case, pattern: &str) -> Result<bool, String> {
    if pattern.is_empty() {
        return Err("an empty pattern selects no case".to_owned());
    }
    if let Some(level) = pattern.strip_prefix("level:") {
        return Ok(level.split(',').any(|level| level.eq_ignore_ascii_case(&format!("{:?}", case.level))));
    }
    if let Some(clause) = pattern.strip_prefix("clause:") {
        return Ok(case.requirements.iter().any(|id| id.rsplit_once('-').is_some_and(|(of, _)| of == clause)));
    }
    if let Some(tag) = pattern.strip_prefix('#') {
        return Ok(case.tags().contains(&tag));
    }
    if pattern.starts_with('@') {
        return profile(case, pattern);
    }
    let pattern = pattern.to_ascii_uppercase();
    let suite = case.id.split('-').next().unwrap_or_default();
    let whole = ["014", "SAE14"].iter().any(|suite| pattern.starts_with(suite)) || pattern.starts_with('*');
    let pattern = if whole { pattern } else { format!("{suite}-{pattern}") };
    if pattern.contains(['*', '?']) {
        return Ok(glob(pattern.as_bytes(), case.id.as_bytes()));
    }
    Ok(case.id == pattern || case.id.starts_with(&format!("{}-", pattern.trim_end_matches('-'))))
}

fn profile(case: &Case, name: &str) -> Result<bool, String> {
    Ok(match name {
        "@014-full" => true,
        "@014-smoke" => SMOKE.contains(&case.id),
        "@014-core" => matches!(case.level, Level::S | Level::R) && !case.needs_hook() && case.when == When::Always,
        "@014-safe" => case.tags().contains(&"free") && !case.needs_hook(),
        "@014-security" => {
            let tags = case.tags();
            tags.contains(&"security") || tags.contains(&"key-safety") || matches!(case.group(), "TLS" | "AUT")
        }
        "@014-multicast" => case.group() == "MC",
        "@sae-master" => is_sae(case) && !case.needs.iter().any(|need| matches!(need, Need::AsSlave | Need::AsBoth)),
        "@sae-slave" => is_sae(case) && !case.needs.iter().any(|need| matches!(need, Need::AsMaster | Need::AsBoth)),
        _ => {
            let known: Vec<_> = PROFILES.iter().map(|(name, _)| *name).collect();
            return Err(format!("`{name}` is no profile; there are {}", known.join(", ")));
        }
    })
}

fn is_sae(case: &Case) -> bool {
    case.id.starts_with("SAE14-")
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[1..])),
        (Some(b'?'), Some(_)) => glob(&pattern[1..], &text[1..]),
        (Some(a), Some(b)) if a == b => glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(patterns: &[&str], skip: &[&str]) -> Vec<&'static str> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        select(&owned(patterns), &owned(skip)).expect("a selection").iter().map(|case| case.id).collect()
    }

    #[test]
    fn cases_are_selected_in_every_way() {
        assert_eq!(ids(&["014-STA-003"], &[]), ["014-STA-003"]);
        assert_eq!(ids(&["STA-003"], &[]), ["014-STA-003"]);
        assert!(ids(&["014-STA"], &[]).iter().all(|id| id.starts_with("014-STA-")));
        assert!(ids(&["clause:5.2"], &[]).contains(&"014-STA-001"));
        assert_eq!(ids(&["@014-smoke"], &[]).len(), 12);
        assert!(ids(&["level:O"], &[]).contains(&"014-AUT-006"));
        assert!(ids(&["#passive"], &[]).contains(&"014-ENC-020"));
        assert!(!ids(&[], &["ROB", "CON"]).iter().any(|id| id.contains("ROB") || id.contains("CON")));
    }

    #[test]
    fn an_empty_or_misspelt_selection_is_an_error() {
        for pattern in ["", "014-XYZ", "@nothing", "#nothing", "clause:9.9", "DEC-999"] {
            assert!(select(&[pattern.to_owned()], &[]).is_err(), "{pattern}");
        }
        let why = select(&["SAE14-TLS-001".to_owned()], &[]).err();
        assert_eq!(why.as_deref(), Some("`SAE14-TLS-001` is for SAEs under test: `qkdspec run sae`"));
        let why = select_of(sae(), &["DEC-001".to_owned()], &[]).err();
        assert_eq!(why.as_deref(), Some("`DEC-001` is for KMEs: `qkdspec run kme`"));
        assert!(select(&["DEC-001".to_owned()], &["DEC".to_owned()]).is_err());
        assert_eq!(ids(&["DEC-001"], &[""]), ["014-DEC-001"]);
    }
}
