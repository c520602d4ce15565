//! Two reports compared: what the product changed, apart from what the suite changed.

use crate::report::{CaseResult, Report, Verdict};

/// Lines for people, and the exit code: 1 if anything got worse, 3 if the later report leaves open what the earlier one judged.
///
/// # Errors
/// If one is about KMEs, and the other about an SAE.
pub(crate) fn diff(old: &Report, new: &Report) -> Result<(String, u8), String> {
    if old.is_of_sae() != new.is_of_sae() && new.cases.iter().all(|case| old.case(&case.id).is_none()) {
        let about = |report: &Report| if report.is_of_sae() { "an SAE" } else { "KMEs" };
        return Err(format!(
            "the earlier report is about {}, the later one about {}: no case is in both",
            about(old),
            about(new)
        ));
    }
    let same_catalogue = old.tool.catalogue == new.tool.catalogue;
    let mut sections: [(&str, Vec<String>); 7] = [
        ("regressions", Vec::new()),
        ("no longer judged", Vec::new()),
        ("fixes", Vec::new()),
        ("other changes", Vec::new()),
        (if same_catalogue { "not selected before" } else { "new cases, or not selected before" }, Vec::new()),
        (if same_catalogue { "not selected now" } else { "retired cases, or not selected now" }, Vec::new()),
        ("changed cases (the suite moved, not the product)", Vec::new()),
    ];
    let partial = new.validity == "partial";
    let bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Warn | Verdict::Error);
    for case in &new.cases {
        let Some(before) = old.case(&case.id) else {
            sections[4].1.push(format!("{}  {}  {}", case.id, case.verdict.name(), case.title));
            continue;
        };
        if before.verdict == case.verdict {
            continue;
        }
        let line = format!("{}  {} -> {}  {}", case.id, before.verdict.name(), case.verdict.name(), case.title);
        let section = match () {
            () if before.version != case.version => 6,
            () if bad(case.verdict) && case.verdict > before.verdict => 0,
            () if is_judged(before) && is_open(case, partial) => 1,
            () if bad(before.verdict) && (case.verdict == Verdict::Pass || bad(case.verdict)) => 2,
            () => 3,
        };
        sections[section].1.push(line);
    }
    for case in old.cases.iter().filter(|case| new.case(&case.id).is_none()) {
        sections[5].1.push(format!("{}  {}  {}", case.id, case.verdict.name(), case.title));
    }
    let code = match (sections[0].1.is_empty(), sections[1].1.is_empty()) {
        (false, _) => 1,
        (true, false) => 3,
        (true, true) if partial => 3,
        (true, true) => 0,
    };
    let mut text = String::new();
    for (title, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
        text.push_str(&format!("{title}: {}\n", lines.len()));
        lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    if text.is_empty() {
        text.push_str("no verdict differs\n");
    }
    for (report, which) in [(old, "earlier"), (new, "later")] {
        if report.validity == "partial" {
            text.push_str(&format!("the {which} report is partial: its run ended before all was tested\n"));
        }
    }
    Ok((text, code))
}

fn is_judged(case: &CaseResult) -> bool {
    matches!(case.verdict, Verdict::Pass | Verdict::Warn | Verdict::Fail)
}

/// Whether a case was run without a result, or not run since its run ended before.
fn is_open(case: &CaseResult, partial: bool) -> bool {
    case.verdict == Verdict::Inconc || case.verdict == Verdict::Skip && partial
}
