//! The test-purpose document: in one file, or a page per case.

use super::{VERSION, all, groups, need_text, reading, requirement, sae};
use crate::case::{Case, Level};

/// Of the text of the catalogue, beside the licences of the program.
pub(crate) const LICENCE: &str = include_str!("../../LICENSE-BSD-3-CLAUSE");

const NOTICE: &str = "\
Copyright (c) 2026 the qkms contributors. This text may be used under BSD-3-Clause as well as under Apache-2.0 or MIT.
Made from the program by `qkdspec catalogue`; change it there.
";

/// What is known of a case: names, and values of one or several lines.
pub(super) fn facts(case: &Case) -> Vec<(&'static str, Vec<String>)> {
    let owned = |items: &[&str]| items.join(", ");
    let readings = case.ambiguities.iter().map(|id| match reading(id) {
        Some((question, reading)) => format!("{id}, {question}: {reading}"),
        None => (*id).to_owned(),
    });
    let clause = |id: &str| match id.rsplit_once('-') {
        Some((clause, _)) if id.starts_with(|c: char| c.is_ascii_digit()) => format!(" (clause {clause})"),
        _ => String::new(),
    };
    let requirements: Vec<_> = case.requirements.iter().map(|id| requirement(id) + &clause(id)).collect();
    let needs: Vec<_> = case.needs.iter().map(|need| need_text(*need)).collect();
    let around = if case.negative { "Status, known to be good, before and after" } else { "" };
    let facts = vec![
        ("level", vec![format!("{:?} ({})", case.level, case.level.words())]),
        ("requires", vec![requirements.join(", ")]),
        ("readings", readings.collect()),
        ("stimulus", vec![case.stimulus.to_owned()]),
        ("accepted", vec![case.accepted.to_owned()]),
        ("around", vec![around.to_owned()]),
        ("needs", vec![needs.join(", ")]),
        ("applies", vec![case.when.expression().to_owned()]),
        ("keys", vec![format!("{} (M: a full request; in brackets: only if the KME is wrong)", case.cost.text())]),
        ("tags", vec![owned(&case.tags())]),
        ("mutants", vec![owned(case.kills)]),
    ];
    facts.into_iter().filter(|(_, lines)| lines.iter().any(|line| !line.is_empty())).collect()
}

/// All in one file.
pub(crate) fn markdown() -> String {
    let mut text = head("How to read a test purpose, and then all of them.");
    for (group, title, cases) in groups() {
        text.push_str(&format!("\n## {group}: {title}\n"));
        for case in cases {
            text.push_str(&format!("\n### {} – {}\n\n{}", case.id, case.title, purpose(case)));
        }
    }
    text.push_str(&format!("\n## Licence\n\n```\n{LICENCE}```\n"));
    text
}

/// File names and texts: an index, a page per case, the licence.
pub(crate) fn pages() -> Vec<(String, String)> {
    let mut index = head("How to read a test purpose; the list of all; a page for each.");
    let mut pages = vec![("LICENSE".to_owned(), LICENCE.to_owned())];
    for (group, title, cases) in groups() {
        index.push_str(&format!("\n## {group}: {title}\n\n| case | level | keys | title |\n|---|---|---|---|\n"));
        for case in cases {
            let (id, cost) = (case.id, case.cost.text());
            index.push_str(&format!("| [{id}]({id}.md) | {:?} | {cost} | {} |\n", case.level, case.title.replace('|', "\\|")));
        }
    }
    pages.push(("README.md".to_owned(), index));
    let every: Vec<_> = all().iter().chain(sae()).collect();
    for (at, case) in every.iter().enumerate() {
        let beside = |at: Option<usize>, word: &str| {
            at.and_then(|at| every.get(at)).map(|case| format!(" · [{word}: {}]({}.md)", case.id, case.id)).unwrap_or_default()
        };
        let (last, next) = (beside(at.checked_sub(1), "before"), beside(Some(at + 1), "after"));
        let text = format!(
            "# {} – {}\n\nVersion {} of this case, catalogue {VERSION}, ETSI GS QKD 014 V1.1.1.\n\n{}\n[All cases](README.md){last}{next}\n\n---\n\n{NOTICE}The licence is in [LICENSE](LICENSE).\n",
            case.id,
            case.title,
            case.version,
            purpose(case),
        );
        pages.push((format!("{}.md", case.id), text));
    }
    pages
}

fn head(contents: &str) -> String {
    let can_fail = all().iter().filter(|case| case.level != Level::O).count();
    let mut text = format!(
        "# Test purposes for ETSI GS QKD 014 V1.1.1\n\nCatalogue {VERSION}: {} cases for KMEs under test (014-…), {can_fail} of which can fail, and {} for SAEs (SAE14-…). {contents}\n\n{NOTICE}\n## How to read them\n\n",
        all().len(),
        sae().len()
    );
    for level in [Level::S, Level::R, Level::D, Level::H, Level::O] {
        text.push_str(&format!("- level **{level:?}**: {}\n", level.words()));
    }
    text.push_str(
        "- **requires**: requirements of the standard, by clause and number within it\n\
         - **readings**: where the standard leaves a question open, the question and how the case takes it\n\
         - **accepted**: every outcome that passes; anything else is a finding at the level of the case\n\
         - **applies**: the expression over the claims (ICS) under which the case is run\n\
         - **keys**: what the case can cost\n\
         - **mutants**: faulty KMEs (M…) or SAEs (C…) on which the case was shown to fail\n",
    );
    text
}

fn purpose(case: &Case) -> String {
    let mut text = String::new();
    for (name, lines) in facts(case) {
        match lines.as_slice() {
            [line] => text.push_str(&format!("- **{name}**: {line}\n")),
            lines => {
                text.push_str(&format!("- **{name}**:\n"));
                lines.iter().for_each(|line| text.push_str(&format!("  - {line}\n")));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::catalogue::readings::READINGS;

    #[test]
    fn every_case_has_a_page_and_every_link_a_file() {
        let pages = pages();
        let names: BTreeSet<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), all().len() + sae().len() + 2);
        for (name, text) in &pages {
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                assert!(names.contains(link), "{name} links to {link}");
            }
        }
        let one = markdown();
        assert!(all().iter().all(|case| one.contains(&format!("### {} ", case.id))));
        for text in [&one, &pages[0].1] {
            assert!(text.contains("Redistributions of source code must retain"));
        }
    }

    #[test]
    fn every_reading_that_a_case_names_is_known_and_said() {
        assert!(READINGS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for case in all().iter().chain(sae()) {
            for id in case.ambiguities {
                assert!(reading(id).is_some(), "{} names {id}", case.id);
            }
        }
        let unknown_id = all().iter().find(|case| case.id == "014-DEC-004").expect("a case");
        assert!(purpose(unknown_id).contains("014-6.4-06 (clause 6.4)"));
        assert!(purpose(unknown_id).contains("A-01, unknown or fetched key ID: 400"));
    }
}
