//! The catalogue as data and as a document, both made from the cases themselves.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::case::{Case, Need};
use crate::cases::GROUPS;

/// Version of the catalogue: raised with every change that may change a verdict.
pub(crate) const VERSION: &str = "0.1";

/// All cases in order.
pub(crate) fn all() -> &'static [&'static Case] {
    static ALL: OnceLock<Vec<&'static Case>> = OnceLock::new();
    ALL.get_or_init(|| GROUPS.iter().flat_map(|(_, _, cases)| cases.iter()).collect())
}

/// A requirement as the standard's digest numbers it; what is no number stays as it is.
pub(crate) fn requirement(id: &str) -> String {
    if id.starts_with(|c: char| c.is_ascii_digit()) { format!("014-{id}") } else { id.to_owned() }
}

pub(crate) fn need_text(need: Need) -> String {
    match need {
        Need::Slave => "a slave".to_owned(),
        Need::Pair => "master and slave at two KMEs".to_owned(),
        Need::Stranger => "a stranger: an enrolled SAE that is never designated".to_owned(),
        Need::Additional => "an additional slave".to_owned(),
        Need::LocalPair => "two SAEs at one KME".to_owned(),
        Need::Hook(name) => format!("the hook {name}"),
        Need::Intruder(name) => format!("the certificate [intruder] {name}"),
        Need::Destructive => "--mode destructive".to_owned(),
        Need::Tls => "TLS".to_owned(),
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
    let cases: Vec<_> = all().iter().map(|case| case_json(case)).collect();
    let catalogue = json!({ "catalogue": VERSION, "edition": { "etsi014": "1.1.1" }, "cases": cases });
    serde_json::to_string_pretty(&catalogue).unwrap_or_default() + "\n"
}

/// A page per case.
pub(crate) fn explained(case: &Case) -> String {
    let list = |items: Vec<String>| if items.is_empty() { "–".to_owned() } else { items.join(", ") };
    let owned = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    let lines = [
        ("level", format!("{:?} ({})", case.level, case.level.words())),
        ("requires", list(case.requirements.iter().map(|id| requirement(id)).collect())),
        ("readings", list(owned(case.ambiguities))),
        ("stimulus", case.stimulus.to_owned()),
        ("accepted", case.accepted.to_owned()),
        ("needs", list(case.needs.iter().map(|need| need_text(*need)).collect())),
        ("applies", case.when.expression().to_owned()),
        ("keys", format!("{} (M: a full request; in brackets: only if the KME is wrong)", case.cost.text())),
        ("tags", list(owned(&case.tags()))),
        ("mutants", list(owned(case.kills))),
    ];
    let mut text = format!("{}  version {}\n{}\n\n", case.id, case.version, case.title);
    for (name, value) in lines {
        text.push_str(&format!("{name:<10}{value}\n"));
    }
    text
}

/// The test-purpose document.
pub(crate) fn markdown() -> String {
    let mut text = format!(
        "# Test purposes for ETSI GS QKD 014 V1.1.1, KME under test\n\nCatalogue {VERSION}, {} cases. Made by `qkdspec catalogue`.\n",
        all().len()
    );
    for (group, title, cases) in GROUPS {
        text.push_str(&format!("\n## {group}: {title}\n"));
        for case in cases {
            let rest = explained(case);
            let rest = rest.split_once("\n\n").map_or("", |(_, rest)| rest);
            text.push_str(&format!("\n### {} – {}\n\n", case.id, case.title));
            for line in rest.lines() {
                let (name, value) = line.split_at(10.min(line.len()));
                text.push_str(&format!("- **{}**: {value}\n", name.trim()));
            }
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
        let ids: Vec<_> = all().iter().map(|case| case.id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id occurs twice");
        for (group, _, cases) in GROUPS {
            assert!(cases.iter().all(|case| case.group() == group), "{group}");
            assert!(cases.windows(2).all(|pair| pair[0].id < pair[1].id), "{group} is not in order");
        }
        for case in all() {
            assert!(!case.stimulus.is_empty() && !case.accepted.is_empty(), "{}", case.id);
            let founded = !case.requirements.is_empty() || !case.ambiguities.is_empty();
            assert!(founded || matches!(case.level, Level::H | Level::O) || case.group() == "ROB", "{}", case.id);
            assert!(!(matches!(case.run, Run::Passive) && case.cost.worst(1, 1) > 0), "{}", case.id);
        }
    }

    #[test]
    fn costs_are_written_and_added() {
        let cost = Cost { sure: 2, wrongly: 1, batches: 1, wrong_batches: 1 };
        assert_eq!(cost.text(), "2 + M + (1) + (M)");
        assert_eq!(cost.worst(16, 128), 2 + 1 + 16 + 128);
    }
}
