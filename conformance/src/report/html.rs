//! One page without scripts or other files, readable when printed.

use std::collections::BTreeMap;

use super::{CaseResult, Report, Verdict, count, escaped};
use crate::catalogue::groups;

mod cases;

const STYLE: &str = include_str!("html/style.css");

pub(crate) fn html(report: &Report) -> String {
    let mut page = Page(String::new());
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
    page.raw("<title>qkdspec report</title><style>\n");
    page.raw(STYLE);
    page.raw("</style></head><body>\n");
    let of = if report.is_of_sae() { "Conformance of an SAE" } else { "Conformance" };
    page.element("h1", &format!("{of} to ETSI GS QKD 014 V1.1.1"));
    head(&mut page, report);
    bars(&mut page, report);
    cases::cases(&mut page, report, "Failures", |case| case.is_bad() || case.verdict == Verdict::Error);
    cases::cases(&mut page, report, "Warnings", |case| case.verdict == Verdict::Warn && !case.is_bad());
    cases::cases(&mut page, report, "Inconclusive", |case| case.verdict == Verdict::Inconc);
    cases::not_run(&mut page, report);
    cases::cases(&mut page, report, "Accepted deviations", |case| case.expected == "xfail");
    cases::table(&mut page, report);
    claims(&mut page, report);
    requirements(&mut page, report);
    ledger(&mut page, report);
    limits(&mut page, report);
    environment(&mut page, report);
    page.raw("<h2>How to read this</h2><p>Levels: S shall, R referenced RFC, D derived reading, H hygiene, O observation. ");
    page.raw("Those that “fail-on” names, under Environment, fail a run; the others warn. ");
    page.raw("Inconclusive is never a success: the purpose of the case was not reached. ");
    page.raw(
        "A pass says that a case did not find a fault, with these limits and at this time; it proves neither the security of ",
    );
    page.raw("the keys nor that of the product. Keys are shown as length and a fingerprint that is worth nothing outside this ");
    page.raw("run.</p>\n</body></html>\n");
    page.0
}

struct Page(String);

impl Page {
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    fn text(&mut self, text: &str) {
        self.0.push_str(&escaped(text));
    }

    fn open(&mut self, tag: &str, attribute: &str, value: &str) {
        self.raw(&format!("<{tag} {attribute}=\"{}\">", escaped(value)));
    }

    fn element(&mut self, tag: &str, text: &str) {
        self.raw(&format!("<{tag}>{}</{tag}>", escaped(text)));
    }

    fn classed(&mut self, tag: &str, class: &str, text: &str) {
        self.open(tag, "class", class);
        self.text(text);
        self.raw(&format!("</{tag}>"));
    }

    /// Text of the catalogue, with what it has in backticks as code.
    fn marked(&mut self, text: &str) {
        for (at, part) in text.split('`').enumerate() {
            if at % 2 == 0 { self.text(part) } else { self.element("code", part) }
        }
    }

    /// A list of ids that are not broken.
    fn ids<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        for (at, id) in ids.into_iter().enumerate() {
            self.raw(if at == 0 { "" } else { ", " });
            self.classed("span", "id", id);
        }
    }

    /// An id that leads to an element of this page.
    fn link(&mut self, to: &str, text: &str) {
        self.raw(&format!("<a class=\"id\" href=\"#{}\">{}</a>", escaped(to), escaped(text)));
    }

    /// A requirement, which leads to its row, if there is one.
    fn requirement(&mut self, report: &Report, id: &str) {
        match report.requirements.iter().any(|known| known.id == id) {
            true => self.link(&format!("r-{id}"), id),
            false => self.classed("span", "id", id),
        }
    }

    /// A case, which leads to where it is told in full, if it is.
    fn case(&mut self, case: &CaseResult, text: &str) {
        match cases::shown_in_full(case) {
            true => self.link(&case.id, text),
            false => self.classed("span", "id", text),
        }
    }

    fn verdict(&mut self, case: &CaseResult) {
        self.classed("span", &format!("v {}", case.shown()), case.shown());
    }

    /// A pair of a list; nothing if there is nothing to say.
    fn fact(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.element("dt", name);
            self.element("dd", value);
        }
    }
}

fn head(page: &mut Page, report: &Report) {
    let banner = match report.validity.as_str() {
        "self-test" => "A self-test, not a certificate.",
        "partial" if report.summary.exit == 130 => "Interrupted: a partial report, not valid for claims.",
        "partial" => "Ended early: a partial report, not valid for claims.",
        _ => "Laboratory settings: not valid for claims.",
    };
    page.classed("p", "banner", banner);
    let failed = &report.summary.failed_requirements;
    let class = match report.summary.outcome.as_str() {
        "conforming" => "pass",
        "not-conforming" => "fail",
        "inconclusive" => "inconc",
        _ => "error",
    };
    let (word, rest) = report.headline();
    page.classed("p", &format!("result {class}"), &format!("{word}{rest} (exit {})", report.summary.exit));
    let counts: Vec<_> =
        report.summary.counts.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{count} {name}")).collect();
    let line = format!("{}: {}. {:.1} s.", count(report.cases.len(), "case"), counts.join(", "), report.summary.seconds);
    page.element("p", &line);
    page.raw("<dl>");
    report.target.product.iter().for_each(|(name, value)| page.fact(&capitalised(name), value));
    for kme in &report.target.kmes {
        let facts = [Some(&kme.base_url), kme.kme_id.as_ref(), kme.tls.as_ref()];
        let facts: Vec<_> = facts.into_iter().flatten().map(String::as_str).collect();
        let played = if report.is_of_sae() { ", played by qkdspec" } else { "" };
        page.fact(&format!("KME {}", kme.name), &format!("{}{played}", facts.join(", ")));
    }
    page.fact("Time", &report.environment.get("started").map(|at| whole_seconds(at)).unwrap_or_default());
    page.fact(
        "Harness",
        &format!("qkdspec {}, catalogue {}, commit {}", report.tool.version, report.tool.catalogue, report.tool.commit),
    );
    page.fact("Seed", &report.plan.seed);
    page.fact("Mode", &report.plan.mode);
    let selection = report.plan.selection.join(" ");
    page.fact("Selection", if selection.is_empty() { "all cases" } else { &selection });
    if !failed.is_empty() {
        page.raw("<dt>Failed requirements</dt><dd>");
        for (at, id) in failed.iter().enumerate() {
            page.raw(if at == 0 { "" } else { ", " });
            page.requirement(report, id);
        }
        page.raw("</dd>");
    }
    page.raw("</dl>\n");
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A time of RFC 3339 without fractions.
fn whole_seconds(at: &str) -> String {
    let (whole, rest) = at.split_once('.').unwrap_or((at, ""));
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{whole}{zone}")
}

fn bars(page: &mut Page, report: &Report) {
    page.raw("<table class=\"groups\"><tbody>");
    for (group, title, _) in groups() {
        let cases: Vec<_> = report.cases.iter().filter(|case| case.suite_group() == group).collect();
        if cases.is_empty() {
            continue;
        }
        let share = |verdicts: &[Verdict]| cases.iter().filter(|case| verdicts.contains(&case.verdict)).count();
        let shares = [
            ("pass", "pass", share(&[Verdict::Pass])),
            ("fail", "fail", share(&[Verdict::Fail, Verdict::Error])),
            ("warn", "warn", share(&[Verdict::Warn])),
            ("inconc", "inconc", share(&[Verdict::Inconc])),
            ("na", "not run", share(&[Verdict::Na, Verdict::Skip])),
        ];
        let counted: Vec<_> =
            shares.iter().filter(|(.., count)| *count > 0).map(|(_, name, count)| format!("{count} {name}")).collect();
        page.raw("<tr><td>");
        page.link(&format!("g-{group}"), &group);
        page.text(&format!(" {title}"));
        page.raw("</td>");
        page.element("td", &counted.join(", "));
        page.raw("<td><div class=\"bar\">");
        for (class, _, count) in shares {
            page.raw(&format!("<i class=\"{class}\" style=\"flex:{count}\"></i>"));
        }
        page.raw("</div></td></tr>\n");
    }
    page.raw("</tbody></table>\n");
}

/// The claims, what each switched on or off, and what contradicts them.
fn claims(page: &mut Page, report: &Report) {
    page.raw("<h2>Claims</h2>");
    report.ics.contradictions.iter().for_each(|contradiction| page.classed("p", "fail", contradiction));
    let mut switched: BTreeMap<&str, (bool, Vec<&str>)> = BTreeMap::new();
    for case in report.cases.iter().filter(|case| !matches!(case.ics_expression.as_str(), "" | "true")) {
        let entry = switched.entry(&case.ics_expression).or_default();
        entry.0 |= case.verdict != Verdict::Na;
        entry.1.push(case.short());
    }
    if !switched.is_empty() {
        page.raw("<table><thead><tr><th>if</th><th></th><th>cases</th></tr></thead><tbody>");
        for (expression, (on, cases)) in switched {
            page.raw("<tr>");
            page.element("td", expression);
            page.classed("td", "id", if on { "on" } else { "off" });
            page.raw("<td>");
            page.ids(cases);
            page.raw("</td></tr>");
        }
        page.raw("</tbody></table>");
    }
    page.element("pre", &serde_json::to_string_pretty(&report.ics.claims).unwrap_or_default());
}

fn requirements(page: &mut Page, report: &Report) {
    page.raw("<h2>Requirements</h2><table class=\"stacked\"><thead><tr><th>requirement</th><th>what</th><th>cases</th></tr></thead><tbody>");
    for requirement in &report.requirements {
        page.open("tr", "id", &format!("r-{}", requirement.id));
        page.classed("td", "id", &requirement.id);
        page.element("td", &requirement.what);
        page.raw("<td>");
        let cases = report.cases.iter().filter(|case| requirement.cases.contains(&case.id));
        for (at, case) in cases.enumerate() {
            page.raw(if at == 0 { "" } else { ", " });
            page.case(case, case.short());
            page.text(" ");
            page.verdict(case);
        }
        if !requirement.untestable.is_empty() {
            page.element("small", &format!("not tested: {}", requirement.untestable));
        } else if requirement.cases.is_empty() {
            page.element("small", "no case of this run");
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table>\n");
}

fn ledger(page: &mut Page, report: &Report) {
    let ledger = &report.ledger;
    if report.is_of_sae() {
        return;
    }
    page.raw("<h2>Keys</h2>");
    let figures = format!(
        "{} asked for or possible, {} delivered to masters, {} fetched by slaves, {} left behind, {} requests or cases over budget.",
        ledger.asked,
        ledger.delivered,
        ledger.retrieved,
        ledger.left.len(),
        ledger.over_budget
    );
    page.element("p", &figures);
    if ledger.left.is_empty() {
        return;
    }
    page.raw(
        "<table><thead><tr><th>left behind</th><th>KME</th><th>master</th><th>slaves</th><th>drawn</th></tr></thead><tbody>",
    );
    for key in &ledger.left {
        page.raw("<tr>");
        for text in [&key.key_id, &key.kme, &key.master, &key.slaves.join(", "), &key.at] {
            page.element("td", text);
        }
        page.raw("</tr>\n");
    }
    page.raw("</tbody></table>\n");
}

/// What Status told, and how long answers took, as far as exchanges are in the report.
fn limits(page: &mut Page, report: &Report) {
    page.raw("<h2>Limits and other observations</h2><dl>");
    report.observations.iter().for_each(|(name, value)| page.fact(name, value));
    let exchanges = || report.cases.iter().flat_map(|case| &case.evidence).filter(|exchange| exchange.response.is_some());
    for (name, path) in [("Get status", "/status"), ("Get key", "/enc_keys"), ("Get key with key IDs", "/dec_keys")] {
        let mut times: Vec<f64> =
            exchanges().filter(|exchange| exchange.request.line.contains(path)).map(|exchange| exchange.ms).collect();
        times.sort_by(f64::total_cmp);
        let Some(most) = times.last() else { continue };
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        let figures = format!("{} answers: median {:.1} ms, 95 % {:.1} ms, most {most:.1} ms", times.len(), at(50), at(95));
        page.fact(name, &figures);
    }
    page.raw("</dl>\n");
}

/// Where and when; hashes of what went in.
fn environment(page: &mut Page, report: &Report) {
    page.raw("<h2>Environment</h2><dl>");
    report.environment.iter().for_each(|(name, value)| page.fact(name, value));
    let editions: Vec<_> = report.plan.editions.iter().map(|(name, edition)| format!("{name} {edition}")).collect();
    page.fact("editions", &editions.join(", "));
    page.fact("plan, SHA-256", &report.plan.sha256);
    page.fact("claims, SHA-256", &report.ics.sha256);
    for kme in &report.target.kmes {
        page.fact(&format!("certificate of KME {}, SHA-256", kme.name), kme.cert_sha256.as_deref().unwrap_or_default());
    }
    page.raw("</dl>\n");
}
