//! A badge: a picture, and the file from which shields.io draws one.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{load, write_file};
use crate::report::{Report, count as with_noun, escaped};
use crate::run::RunError;

/// What was judged.
fn label(report: &Report) -> &'static str {
    if report.is_of_sae() { "SAE, ETSI GS QKD 014" } else { "ETSI GS QKD 014" }
}

#[derive(Args, Debug)]
pub(super) struct Badge {
    /// A report in JSON
    report: PathBuf,
    /// The picture; the endpoint file has its name with the ending .json
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

impl Badge {
    pub(super) fn perform(&self, out: &mut dyn Write) -> Result<(), RunError> {
        let report = load(&self.report)?;
        let picture = self.out.clone().unwrap_or_else(|| self.report.with_extension("badge.svg"));
        let endpoint = picture.with_extension("json");
        if [&picture, &endpoint].contains(&&self.report) {
            return Err(RunError::Usage(format!(
                "{}: would be written over; name another file with --out",
                self.report.display()
            )));
        }
        let (message, colour) = said(&report);
        let label = label(&report);
        write_file(&picture, &svg(label, &message, colour))?;
        let shields = json!({ "schemaVersion": 1, "label": label, "message": message, "color": colour });
        write_file(&endpoint, &format!("{shields:#}\n"))?;
        writeln!(out, "{}\n{}", picture.display(), endpoint.display())?;
        Ok(())
    }
}

/// Never more than the report says: which part was run, and that it is a self-test.
fn said(report: &Report) -> (String, &'static str) {
    let count = |name: &str| report.summary.counts.get(name).copied().unwrap_or_default();
    let judged: u64 = ["pass", "warn", "fail", "xfail", "xpass", "expired"].iter().map(|name| count(name)).sum();
    let what = match (&report.plan.profile, report.plan.selection.as_slice()) {
        (Some(profile), _) => profile.clone(),
        (None, []) => "all cases".to_owned(),
        _ => "a selection".to_owned(),
    };
    let warned = match count("warn") {
        0 => String::new(),
        warnings => format!(", {}", with_noun(warnings, "warning")),
    };
    let figures = format!("{} of {judged} passed{warned}, {what}", count("pass"));
    match (report.validity.as_str(), report.summary.outcome.as_str()) {
        ("self-test", "conforming") => (format!("self-test conforms: {figures}"), "#1a7f37"),
        ("self-test", "not-conforming") => (format!("does not conform: {figures}{}", report.expected_deviations()), "#cf222e"),
        ("self-test", "inconclusive") => (format!("inconclusive: {figures}"), "#9a6700"),
        ("self-test", _) => ("harness error".to_owned(), "#6e7781"),
        ("partial", _) => ("partial run: no result".to_owned(), "#6e7781"),
        _ => ("laboratory settings: no result".to_owned(), "#6e7781"),
    }
}

fn svg(label: &str, message: &str, colour: &str) -> String {
    // Of a usual sans-serif of 11 px; textLength makes it exact.
    let width = |text: &str| text.chars().count() * 13 / 2 + 2;
    let (left, right) = (width(label) + 10, width(message) + 10);
    let all = left + right;
    let text = |x: usize, text: &str| {
        format!(r#"<text x="{x}" y="14" textLength="{}" lengthAdjust="spacingAndGlyphs">{}</text>"#, width(text), escaped(text))
    };
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{all}" height="20" role="img" aria-label="{label}: {title}"><title>{label}: {title}</title><clipPath id="r"><rect width="{all}" height="20" rx="3"/></clipPath><g clip-path="url(#r)"><rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/></g><g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{}{}</g></svg>
"##,
        text(5, label),
        text(left + 5, message),
        title = escaped(message),
    )
}
