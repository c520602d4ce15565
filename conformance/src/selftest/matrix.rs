//! The matrix as a document: which fault is noticed by which case. It says the same for every good run.

use std::collections::{BTreeMap, BTreeSet};

use super::allowed::Allowed;
use super::judge::{Judged, Outcome, can_fail, short};
use super::program::Kind;
use crate::catalogue::all;

/// Before and after the figures that the README repeats.
pub(crate) const MARKS: [&str; 2] = ["<!-- figures of MATRIX.md -->", "<!-- end of figures -->"];

/// Cases that can fail and have no killed mutant.
pub(crate) fn unproved(rows: &[Judged]) -> Vec<&'static str> {
    let noticed: BTreeSet<&str> =
        rows.iter().filter(|row| row.outcome == Outcome::Killed).flat_map(|row| row.noticed.iter().copied()).collect();
    all().iter().filter(|case| can_fail(case.level) && !noticed.contains(case.id)).map(|case| case.id).collect()
}

/// Cases that can fail and pass on no KME that conforms.
pub(crate) fn never_passed(rows: &[Judged]) -> Vec<&'static str> {
    let conforming = rows.iter().filter(|row| row.fault.kind == Kind::Variant && row.outcome.is_good());
    let passed: BTreeSet<&str> = conforming.flat_map(|row| row.passed.iter().copied()).collect();
    all().iter().filter(|case| can_fail(case.level) && !passed.contains(case.id)).map(|case| case.id).collect()
}

fn of(rows: &[Judged], kind: Kind) -> Vec<&Judged> {
    rows.iter().filter(|row| row.fault.kind == kind).collect()
}

fn good(rows: &[&Judged]) -> usize {
    rows.iter().filter(|row| row.outcome.is_good()).count()
}

fn names(cases: &[&str]) -> String {
    if cases.is_empty() { "none".to_owned() } else { cases.iter().map(|case| short(case)).collect::<Vec<_>>().join(", ") }
}

/// The lines that README and matrix share.
pub(crate) fn figures(rows: &[Judged], allowed: &Allowed) -> String {
    let mutants = of(rows, Kind::Mutant);
    let variants: Vec<_> = of(rows, Kind::Variant).into_iter().filter(|row| row.fault.id != REFERENCE).collect();
    let hostile = of(rows, Kind::Hostile);
    let cases = all().iter().filter(|case| can_fail(case.level)).count();
    let wrong: usize = variants.iter().filter(|row| !row.outcome.is_good()).count();
    let explained: usize = variants.iter().map(|row| allowed.entries(&row.fault.id).len()).sum();
    let unplanted: Vec<_> = allowed.all_unplanted().map(|(id, why)| format!("{id} ({why})")).collect();
    let mut text = format!("{}\n| | |\n|---|---|\n", MARKS[0]);
    let mut line = |what: &str, figure: String| text.push_str(&format!("| {what} | {figure} |\n"));
    line("faulty KMEs noticed by every case for them, of those planted", format!("{} of {}", good(&mutants), mutants.len()));
    if !unplanted.is_empty() {
        line("faulty KMEs not planted", unplanted.join("; "));
    }
    line("cases that can fail", cases.to_string());
    line("of them, without a fault that they notice", names(&unproved(rows)));
    line("of them, never passed by a KME that conforms", names(&never_passed(rows)));
    line("odd KMEs that conform, of them wrongly judged", format!("{}, {wrong}", variants.len()));
    line("warnings and inconclusive cases on them, each explained", explained.to_string());
    line("hostile KMEs that did no harm, of those tried", format!("{} of {}", good(&hostile), hostile.len()));
    text + MARKS[1] + "\n"
}

/// The row of the reference KMEs, without a fault.
pub(crate) const REFERENCE: &str = "none";

/// The row of a fault.
pub(crate) fn row(judged: &Judged, allowed: &Allowed) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace(['<', '>'], "·");
    let others = allowed.entries(&judged.fault.id).into_iter().map(|(cases, why)| format!("{cases}: {why}"));
    let others = others.collect::<Vec<_>>().join("; ");
    let result = match &judged.outcome {
        Outcome::Killed => names(&judged.noticed),
        Outcome::Unharmed => "ok".to_owned(),
        outcome => format!("**{}** {}", outcome.words(), cell(&judged.remarks.join("; "))),
    };
    let line = format!("| {} | {} | {result} | {} |", judged.fault.id, cell(&judged.fault.what), cell(&others));
    line + "\n"
}

/// The whole document.
pub(crate) fn document(rows: &[Judged], allowed: &Allowed) -> String {
    let mut text = format!(
        "# Which fault is noticed by which case\n\nMade by `qkdspec selftest --matrix`; not to be edited. Each row is a run of all cases against a pair of reference KMEs with\n\
         exactly one fault, in mode destructive, and on faulty KMEs with `--strict`. A faulty KME that is not noticed as it ought to be may\n\
         be tried up to {} times, since some faults show by chance only; a run says how many needed it. KMEs that conform and hostile\n\
         ones are tried once: what is wrong once is wrong.\n\n{}",
        super::ATTEMPTS,
        figures(rows, allowed)
    );
    for (kind, title, head) in [
        (Kind::Mutant, "Faulty KMEs", "noticed by | also by, and why"),
        (Kind::Variant, "KMEs that conform", "judged | warnings and inconclusive cases, and why"),
        (Kind::Hostile, "Hostile KMEs", "harness | remarks"),
    ] {
        text.push_str(&format!("\n## {title}\n\n| id | what it does | {head} |\n|---|---|---|---|\n"));
        of(rows, kind).into_iter().for_each(|judged| text.push_str(&row(judged, allowed)));
    }
    text.push_str("\n## Cases\n\n| case | level | faults it notices |\n|---|---|---|\n");
    let mut noticed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.outcome == Outcome::Killed) {
        row.noticed.iter().for_each(|case| noticed.entry(case).or_default().push(&row.fault.id));
    }
    for case in all() {
        let faults = match noticed.get(case.id) {
            Some(faults) => faults.join(", "),
            None if can_fail(case.level) => "**none**".to_owned(),
            None => "cannot fail".to_owned(),
        };
        text.push_str(&format!("| {} | {:?} | {faults} |\n", short(case.id), case.level));
    }
    text
}

/// The figures in a text, with their marks.
pub(crate) fn marked(text: &str) -> Option<&str> {
    let start = text.find(MARKS[0])?;
    let end = start + text[start..].find(MARKS[1])? + MARKS[1].len();
    Some(&text[start..end])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_readme_repeats_the_figures_of_the_matrix() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
        let (matrix, readme) = (read("MATRIX.md"), read("README.md"));
        assert!(marked(&matrix).is_some(), "MATRIX.md has no figures");
        assert_eq!(
            marked(&readme),
            marked(&matrix),
            "to put it right: qkdspec selftest --faulty PATH --matrix conformance/MATRIX.md"
        );
    }

    #[test]
    fn the_matrix_is_of_these_cases() {
        let matrix = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("MATRIX.md")).expect("MATRIX.md");
        for case in all() {
            assert!(matrix.contains(&format!("| {} | {:?} |", short(case.id), case.level)), "{} is not in it", case.id);
            for mutant in case.kills {
                let known = matrix.contains(&format!("| {mutant} |")) || matrix.contains(&format!("{mutant} ("));
                assert!(known, "{} names {mutant}, which is not in it", case.id);
            }
        }
    }
}
