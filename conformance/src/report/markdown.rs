//! Markdown for pull requests.

use super::{Finding, Report, Verdict};
use crate::secret::is_misleading;

pub(crate) fn markdown(report: &Report) -> String {
    let count = |verdict: Verdict| format!("{} {}", report.count(verdict), verdict.name());
    let counts: Vec<_> = Verdict::ALL.iter().map(|verdict| count(*verdict)).collect();
    let mut text = format!(
        "# qkdspec: {}{}\n\n{}{}.\n\nETSI GS QKD 014 V1.1.1, catalogue {}, seed {}, mode {}. {}. Validity: {}.\n\n",
        report.summary.outcome,
        report.expected_deviations(),
        report.headline().0,
        cell(&report.headline().1),
        report.tool.catalogue,
        report.plan.seed,
        report.plan.mode,
        counts.join(", "),
        report.validity
    );
    for kme in &report.target.kmes {
        let facts = [Some(kme.base_url.as_str()), kme.kme_id.as_deref(), kme.tls.as_deref()];
        text.push_str(&format!("- KME {}: {}\n", kme.name, cell(&facts.into_iter().flatten().collect::<Vec<_>>().join(", "))));
    }
    for (title, wanted) in [
        ("Failures", [Verdict::Fail, Verdict::Error]),
        ("Warnings", [Verdict::Warn, Verdict::Warn]),
        ("Inconclusive", [Verdict::Inconc, Verdict::Inconc]),
        ("Not run", [Verdict::Na, Verdict::Skip]),
    ] {
        let cases: Vec<_> = report.cases.iter().filter(|case| wanted.contains(&case.verdict)).collect();
        if cases.is_empty() {
            continue;
        }
        text.push_str(&format!("\n## {title}\n\n| case | requirement | what |\n|---|---|---|\n"));
        for case in cases {
            let complaints: Vec<_> = case.findings().iter().map(Finding::line).collect();
            let what = [vec![case.title.clone()], complaints, vec![case.reason.clone()]].concat();
            let what: Vec<_> = what.iter().filter(|line| !line.is_empty()).map(|line| cell(line)).collect();
            text.push_str(&format!("| {} | {} | {} |\n", case.id, case.requirements.join(", "), what.join("<br>")));
        }
    }
    text
}

/// Text in a table, with nothing in it that is markup.
fn cell(text: &str) -> String {
    text.chars().fold(String::new(), |mut cell, c| {
        match c {
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' => cell.extend(['\\', c]),
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            '&' => cell.push_str("&amp;"),
            c if is_misleading(c) => cell.push(' '),
            c => cell.push(c),
        }
        cell
    })
}
