//! JUnit XML: fail is a failure; error and inconclusive are errors; na and skip are skipped.

use super::{CaseResult, Finding, Report, Verdict};
use crate::catalogue::groups;
use crate::secret::is_misleading;

pub(crate) fn junit(report: &Report) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let all: Vec<_> = report.cases.iter().collect();
    text.push_str(&format!("<testsuites name=\"qkdspec\" {}>\n", figures(&all, report.summary.seconds)));
    for (group, title, _) in groups() {
        let cases: Vec<_> = report.cases.iter().filter(|case| case.suite_group() == group).collect();
        if cases.is_empty() {
            continue;
        }
        let seconds: f64 = cases.iter().map(|case| case.ms / 1000.0).sum();
        text.push_str(&format!("  <testsuite name=\"{group} {}\" {}>\n", escaped(title), figures(&cases, seconds)));
        for case in cases {
            let name = format!("{} {}", case.id, case.title);
            let seconds = case.ms / 1000.0;
            let class = group.replace('-', ".");
            let head = format!("    <testcase classname=\"qkdspec.{class}\" name=\"{}\" time=\"{seconds:.3}\"", escaped(&name));
            let body = body(case);
            if body.is_empty() {
                text.push_str(&format!("{head}/>\n"))
            } else {
                text.push_str(&format!("{head}>\n{body}    </testcase>\n"))
            }
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}

fn figures(cases: &[&CaseResult], seconds: f64) -> String {
    let count = |kind: &str| cases.iter().filter(|case| self::kind(case) == kind).count();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\"",
        cases.len(),
        count("failure"),
        count("error"),
        count("skipped")
    )
}

fn kind(case: &CaseResult) -> &'static str {
    match case.verdict {
        _ if case.expected == "xfail" => "skipped",
        _ if case.is_bad() => "failure",
        Verdict::Error | Verdict::Inconc => "error",
        Verdict::Na | Verdict::Skip => "skipped",
        _ => "",
    }
}

fn body(case: &CaseResult) -> String {
    let complaints: Vec<_> = case.findings().iter().map(Finding::line).collect();
    let details = [vec![case.concerned().join(", ")], complaints, vec![case.reason.clone()]].concat();
    let details: Vec<_> = details.into_iter().filter(|line| !line.is_empty()).collect();
    match kind(case) {
        "" if case.verdict == Verdict::Warn => format!("      <system-out>{}</system-out>\n", escaped(&details.join("\n"))),
        "" => String::new(),
        "skipped" => format!("      <skipped message=\"{}\"/>\n", escaped(&case.reason)),
        kind => {
            let message = details.get(1).or(details.first()).map_or("", String::as_str);
            format!(
                "      <{kind} type=\"{}\" message=\"{}\">{}</{kind}>\n",
                case.shown(),
                escaped(message),
                escaped(&details.join("\n"))
            )
        }
    }
}

/// For XML and HTML, text and attributes alike.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no way to write some of these; others turn the reading round.
            c if is_misleading(c) && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
        escaped
    })
}
