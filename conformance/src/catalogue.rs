//! The catalogue as data and as a document, both made from the cases themselves.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::case::{Case, Need};
use crate::cases::GROUPS;

mod document;
mod readings;
mod requirements;

pub(crate) use document::{markdown, pages};
pub(crate) use readings::reading;
pub(crate) use requirements::{breached, judged, table, table_json};

/// Version of the catalogue: raised with every change that may change a verdict.
pub(crate) const VERSION: &str = "0.1";

/// All cases in order.
pub(crate) fn all() -> &'static [&'static Case] {
    static ALL: OnceLock<Vec<&'static Case>> = OnceLock::new();
    ALL.get_or_init(|| GROUPS.iter().flat_map(|(_, _, cases)| cases.iter()).collect())
}

/// All cases for SAEs in order.
pub(crate) fn sae() -> &'static [&'static Case] {
    static ALL: OnceLock<Vec<&'static Case>> = OnceLock::new();
    ALL.get_or_init(|| crate::sae::GROUPS.iter().flat_map(|(_, _, cases)| cases.iter()).collect())
}

/// Groups of both suites: the beginning of their ids, title and cases.
pub(crate) fn groups() -> impl Iterator<Item = (String, &'static str, &'static [Case])> {
    let of = |suite: &'static str| move |(group, title, cases): (&str, _, _)| (format!("{suite}-{group}"), title, cases);
    GROUPS.into_iter().map(of("014")).chain(crate::sae::GROUPS.into_iter().map(of("SAE14")))
}

/// A requirement as the standard's digest numbers it; what is no number stays as it is.
pub(crate) fn requirement(id: &str) -> String {
    if id.starts_with(|c: char| c.is_ascii_digit()) { format!("014-{id}") } else { id.to_owned() }
}

pub(crate) fn need_text(need: Need) -> String {
    match need {
        Need::Slave => "a slave ([roles] slave; it may be at KME A, too)".to_owned(),
        Need::Pair => "master and slave at two KMEs".to_owned(),
        Need::Stranger => "a stranger: an enrolled SAE at the slave's KME that is never designated".to_owned(),
        Need::Additional => "an additional slave".to_owned(),
        Need::LocalPair => "two SAEs at one KME".to_owned(),
        Need::Hook(name) => format!("the hook {name}"),
        Need::Intruder(name) => format!("the certificate [intruder] {name}"),
        Need::Destructive => "--mode destructive".to_owned(),
        Need::Tls => "TLS".to_owned(),
        Need::AsMaster => "--role master or both".to_owned(),
        Need::AsSlave => "--role slave or both".to_owned(),
        Need::AsBoth => "--role both".to_owned(),
        Need::Told => "exit codes that can be believed".to_owned(),
        Need::Output => "an SAE driven by a command".to_owned(),
    }
}

pub(crate) fn case_json(case: &Case) -> Value {
    json!({
        "id": case.id,
        "version": case.version,
        "title": case.title,
        "level": format!("{:?}", case.level),
        "impact": case.impact,
        "requirements": case.requirements.iter().map(|id| requirement(id)).collect::<Vec<_>>(),
        "ambiguities": case.ambiguities,
        "readings": case.ambiguities.iter().filter_map(|id| Some(reading(id)?.1)).collect::<Vec<_>>(),
        "stimulus": case.stimulus,
        "accepted": case.accepted,
        "needs": case.needs.iter().map(|need| need_text(*need)).collect::<Vec<_>>(),
        "applies": case.when.expression(),
        "keys": case.cost.text(),
        "tags": case.tags(),
        "mutants": case.kills,
    })
}

pub(crate) fn json() -> String {
    let cases: Vec<_> = all().iter().chain(sae()).map(|case| case_json(case)).collect();
    let catalogue = json!({ "catalogue": VERSION, "licence": "BSD-3-Clause OR Apache-2.0 OR MIT", "edition": { "etsi014": "1.1.1" }, "cases": cases });
    serde_json::to_string_pretty(&catalogue).unwrap_or_default() + "\n"
}

/// What a requirement or a reading is, and the cases that rest on it.
pub(crate) fn note(id: &str) -> Option<String> {
    let id = id.to_uppercase();
    let short = id.trim_start_matches("014-");
    let required = requirements::REQUIREMENTS.iter().find(|(known, ..)| *known == short);
    let text = match (required, reading(&id)) {
        (Some((known, what, _)), _) => format!("{}  {what}\n", requirement(known)),
        (None, Some((question, reading))) => format!("{id}  {question}\n  read as: {reading}\n"),
        (None, None) => return None,
    };
    let rests = |case: &&&Case| case.requirements.contains(&short) || case.ambiguities.contains(&id.as_str());
    let cases = all().iter().chain(sae()).filter(rests).map(|case| format!("  {:<13} {}\n", case.id, case.title));
    let cases: String = cases.collect();
    Some(if cases.is_empty() { format!("{text}\nno case rests on it\n") } else { format!("{text}\ncases\n{cases}") })
}

/// A page per case.
pub(crate) fn explained(case: &Case) -> String {
    let mut text = format!("{}  version {}\n{}\n\n", case.id, case.version, case.title);
    for (name, lines) in document::facts(case) {
        for (at, line) in lines.iter().enumerate() {
            text.push_str(&format!("{:<10}{line}\n", if at == 0 { name } else { "" }));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::case::{Cost, Level, Run};

    #[test]
    fn cases_are_in_order_and_described() {
        let ids: Vec<_> = all().iter().chain(sae()).map(|case| case.id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id occurs twice");
        for (group, _, cases) in groups() {
            assert!(cases.iter().all(|case| case.id.starts_with(&format!("{group}-"))), "{group}");
            assert!(cases.windows(2).all(|pair| pair[0].id < pair[1].id), "{group} is not in order");
        }
        for case in all().iter().chain(sae()) {
            assert!(!case.stimulus.is_empty() && !case.accepted.is_empty(), "{}", case.id);
            let founded = !case.requirements.is_empty() || !case.ambiguities.is_empty();
            assert!(founded || matches!(case.level, Level::H | Level::O), "{}: derived of nothing", case.id);
            assert!(!(matches!(case.run, Run::Passive) && case.cost.worst(1, 1) > 0), "{}", case.id);
        }
    }

    #[test]
    fn costs_are_written_and_added() {
        let cost = Cost { sure: 2, wrongly: 1, batches: 1, wrong_batches: 1, aside: 0 };
        assert_eq!(cost.text(), "2 + M + (1) + (M)");
        assert_eq!(cost.worst(16, 128), 2 + 1 + 16 + 128);
    }
}
