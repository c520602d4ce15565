//! Two reports compared: what the product changed, apart from what the suite changed.

use crate::report::{Report, Verdict};

/// Lines for people, and whether anything got worse.
pub(crate) fn diff(old: &Report, new: &Report) -> (String, bool) {
    let mut sections: [(&str, Vec<String>); 6] = [
        ("regressions", Vec::new()),
        ("fixes", Vec::new()),
        ("other changes", Vec::new()),
        ("new cases", Vec::new()),
        ("retired cases", Vec::new()),
        ("changed cases (the suite moved, not the product)", Vec::new()),
    ];
    let bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Warn | Verdict::Error);
    for case in &new.cases {
        let Some(before) = old.case(&case.id) else {
            sections[3].1.push(format!("{}  {}  {}", case.id, case.verdict.name(), case.title));
            continue;
        };
        if before.verdict == case.verdict {
            continue;
        }
        let line = format!("{}  {} -> {}  {}", case.id, before.verdict.name(), case.verdict.name(), case.title);
        let section =
            match (before.version == case.version, bad(case.verdict) && case.verdict > before.verdict, bad(before.verdict)) {
                (false, ..) => 5,
                (_, true, _) => 0,
                (_, false, true) if case.verdict == Verdict::Pass || bad(case.verdict) => 1,
                _ => 2,
            };
        sections[section].1.push(line);
    }
    for case in old.cases.iter().filter(|case| new.case(&case.id).is_none()) {
        sections[4].1.push(format!("{}  {}", case.id, case.title));
    }
    let worse = !sections[0].1.is_empty();
    let mut text = String::new();
    for (title, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
        text.push_str(&format!("{title}: {}\n", lines.len()));
        lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    if text.is_empty() {
        text.push_str("no verdict differs\n");
    }
    (text, worse)
}
