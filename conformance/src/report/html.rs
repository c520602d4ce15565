//! One page without scripts or other files, readable when printed.

use std::collections::BTreeMap;

use super::{CaseResult, Exchange, Message, Report, Verdict, escaped};
use crate::cases::GROUPS;

const STYLE: &str = "
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid #8886}h3{font-size:1rem;margin:1.2rem 0 .2rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #8883}
code,pre{font:13px/1.4 ui-monospace,monospace}pre{white-space:pre-wrap;margin:.2rem 0;padding:.4rem;background:#8881}
.v{font-weight:600;white-space:nowrap}.pass{color:#1a7f37}.fail,.error,.xpass,.expired{color:#cf222e}.warn,.inconc,.xfail{color:#9a6700}.na,.skip{color:#777}
.banner{padding:.4rem .8rem;border:1px solid #8886}.result{font-size:1.2rem;font-weight:600}
.bar{display:flex;height:.8rem;background:#8882}.bar i{display:block}.bar .pass{background:#1a7f37}.bar .fail{background:#cf222e}.bar .warn{background:#d4a72c}.bar .na{background:#aaa}
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;margin:.3rem 0}dt{color:#777}dd{margin:0}
@media(max-width:600px){td,th{padding-right:.3rem}dl{grid-template-columns:1fr}}
@media print{details{display:block}}
";

pub(crate) fn html(report: &Report) -> String {
    let mut page = Page(String::new());
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
    page.raw("<title>qkdspec report</title><style>");
    page.raw(STYLE);
    page.raw("</style></head><body>\n<h1>Conformance to ETSI GS QKD 014 V1.1.1</h1>\n");
    head(&mut page, report);
    bars(&mut page, report);
    claims(&mut page, report);
    cases(&mut page, report, "Failures", &[Verdict::Fail, Verdict::Error]);
    cases(&mut page, report, "Warnings", &[Verdict::Warn]);
    cases(&mut page, report, "Inconclusive", &[Verdict::Inconc]);
    table(&mut page, report);
    requirements(&mut page, report);
    ledger(&mut page, report);
    pairs(&mut page, "Limits and other observations", &report.observations);
    pairs(&mut page, "Environment", &report.environment);
    page.raw("<h2>How to read this</h2><p>Levels: S shall, R referenced RFC, D derived reading, H hygiene, O observation. ");
    page.raw(
        "S and R fail a run; D and H warn. A pass says that a case did not find a fault, with these limits and at this time; ",
    );
    page.raw(
        "it proves neither the security of the keys nor that of the product. Keys are shown as length and a fingerprint that ",
    );
    page.raw("is worth nothing outside this run.</p>\n</body></html>\n");
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

    fn element(&mut self, tag: &str, text: &str) {
        self.raw(&format!("<{tag}>"));
        self.text(text);
        self.raw(&format!("</{}>", tag.split(' ').next().unwrap_or_default()));
    }

    fn verdict(&mut self, case: &CaseResult) {
        self.element(&format!("span class=\"v {}\"", case.shown()), case.shown());
    }
}

fn head(page: &mut Page, report: &Report) {
    let banner = match report.validity.as_str() {
        "self-test" => "A self-test, not a certificate.",
        "partial" => "Interrupted: a partial report, not valid for claims.",
        _ => "Laboratory settings: not valid for claims.",
    };
    page.element("p class=\"banner\"", banner);
    let class = if report.summary.exit == 0 { "pass" } else { "fail" };
    page.element(&format!("p class=\"result {class}\""), &format!("{} (exit {})", report.summary.outcome, report.summary.exit));
    page.raw("<dl>");
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            page.element("dt", name);
            page.element("dd", value);
        }
    };
    report.target.product.iter().for_each(|(name, value)| fact(name, value));
    for kme in &report.target.kmes {
        let facts = [Some(&kme.base_url), kme.kme_id.as_ref(), kme.tls.as_ref()];
        let facts: Vec<_> = facts.into_iter().flatten().map(String::as_str).collect();
        fact(&format!("KME {}", kme.name), &facts.join(", "));
    }
    fact(
        "Harness",
        &format!("qkdspec {}, catalogue {}, commit {}", report.tool.version, report.tool.catalogue, report.tool.commit),
    );
    fact("Seed, plan", &format!("{}, {}", report.plan.seed, report.plan.sha256));
    fact("Mode, selection", &format!("{}, {}", report.plan.mode, report.plan.selection.join(" ")));
    fact("Failed requirements", &report.summary.failed_requirements.join(", "));
    page.raw("</dl>\n");
}

fn bars(page: &mut Page, report: &Report) {
    page.raw("<table><tbody>");
    for (group, title, _) in GROUPS {
        let cases: Vec<_> = report.cases.iter().filter(|case| case.group() == group).collect();
        if cases.is_empty() {
            continue;
        }
        let share = |verdicts: &[Verdict]| cases.iter().filter(|case| verdicts.contains(&case.verdict)).count();
        let shares = [
            ("pass", share(&[Verdict::Pass])),
            ("warn", share(&[Verdict::Warn, Verdict::Inconc])),
            ("fail", share(&[Verdict::Fail, Verdict::Error])),
            ("na", share(&[Verdict::Na, Verdict::Skip])),
        ];
        page.raw("<tr>");
        page.element("td", &format!("{group} {title}"));
        page.element("td", &format!("{} of {}", shares[0].1, cases.len()));
        page.raw("<td style=\"width:40%\"><div class=\"bar\">");
        for (class, count) in shares {
            page.raw(&format!("<i class=\"{class}\" style=\"flex:{count}\"></i>"));
        }
        page.raw("</div></td></tr>");
    }
    page.raw("</tbody></table>\n");
}

fn claims(page: &mut Page, report: &Report) {
    page.raw("<h2>Claims</h2>");
    page.element("pre", &serde_json::to_string_pretty(&report.ics.claims).unwrap_or_default());
    for contradiction in &report.ics.contradictions {
        page.element("p class=\"fail\"", contradiction);
    }
}

fn cases(page: &mut Page, report: &Report, title: &str, verdicts: &[Verdict]) {
    let order = ["key-safety", "security", "interop", "quality"];
    let mut cases: Vec<_> = report.cases.iter().filter(|case| verdicts.contains(&case.verdict)).collect();
    cases.sort_by_key(|case| order.iter().position(|impact| *impact == case.impact));
    if cases.is_empty() {
        return;
    }
    page.element("h2", &format!("{title}: {}", cases.len()));
    for case in cases {
        page.raw("<h3>");
        page.verdict(case);
        page.text(&format!(" {} {}", case.id, case.title));
        page.raw("</h3><dl>");
        let mut fact = |name: &str, value: &str| {
            if !value.is_empty() {
                page.element("dt", name);
                page.element("dd", value);
            }
        };
        fact("requires", &[case.requirements.join(", "), case.ambiguities.join(", ")].join(" "));
        fact("matters for", &case.impact);
        for check in case.complaints() {
            fact(&check.part, check.verdict.name());
            fact("accepted", &check.accepted);
            fact("got", &check.got);
        }
        fact("because", &case.reason);
        fact("again", &case.replay);
        page.raw("</dl>");
        evidence(page, &case.evidence);
    }
}

fn evidence(page: &mut Page, exchanges: &[Exchange]) {
    if exchanges.is_empty() {
        return;
    }
    page.raw("<details>");
    page.element("summary", &format!("{} exchanges", exchanges.len()));
    for exchange in exchanges {
        let tls = exchange.tls.as_deref().unwrap_or("no TLS");
        page.element(
            "p",
            &format!("{}: {} at {}, {}, {}, {:.0} ms", exchange.n, exchange.actor, exchange.kme, exchange.at, tls, exchange.ms),
        );
        page.element("pre", &message(&exchange.request));
        match (&exchange.response, &exchange.error) {
            (Some(response), _) => page.element("pre", &message(response)),
            (None, error) => page.element("pre", error.as_deref().unwrap_or("no answer")),
        }
    }
    page.raw("</details>");
}

fn message(message: &Message) -> String {
    let mut text = message.line.clone();
    for (name, value) in &message.headers {
        text.push_str(&format!("\n{name}: {value}"));
    }
    for body in [&message.body, &message.raw_b64].into_iter().flatten() {
        text.push_str(&format!("\n\n{body}"));
    }
    text
}

fn table(page: &mut Page, report: &Report) {
    page.raw(
        "<h2>All cases</h2><table><thead><tr><th>case</th><th>verdict</th><th>level</th><th>requirement</th></tr></thead><tbody>",
    );
    for case in &report.cases {
        page.raw("<tr>");
        page.element("td", &case.id);
        page.raw("<td>");
        page.verdict(case);
        page.raw("</td>");
        page.element("td", &case.level);
        page.raw("<td>");
        page.text(&case.title);
        if matches!(case.verdict, Verdict::Na | Verdict::Skip) || case.level == "O" {
            page.raw("<br>");
            page.element("small", &case.reason);
        }
        page.raw("</td></tr>");
    }
    page.raw("</tbody></table>\n");
}

fn requirements(page: &mut Page, report: &Report) {
    let mut matrix: BTreeMap<&str, Vec<&CaseResult>> = BTreeMap::new();
    for case in &report.cases {
        for requirement in &case.requirements {
            matrix.entry(requirement).or_default().push(case);
        }
    }
    page.raw("<h2>Requirements</h2><table><tbody>");
    for (requirement, cases) in matrix {
        page.raw("<tr>");
        page.element("td", requirement);
        page.raw("<td>");
        for case in cases {
            page.text(&format!("{} ", case.short()));
            page.verdict(case);
            page.raw("  ");
        }
        page.raw("</td></tr>");
    }
    page.raw("</tbody></table>\n");
}

fn ledger(page: &mut Page, report: &Report) {
    let ledger = &report.ledger;
    page.raw("<h2>Keys</h2>");
    let figures = format!(
        "{} asked, {} delivered, {} retrieved, {} left behind, {} over budget.",
        ledger.asked,
        ledger.delivered,
        ledger.retrieved,
        ledger.left.len(),
        ledger.over_budget
    );
    page.element("p", &figures);
    page.raw("<table><tbody>");
    for key in &ledger.left {
        page.raw("<tr>");
        for text in [&key.key_id, &key.kme, &key.master, &key.slaves.join(", "), &key.at] {
            page.element("td", text);
        }
        page.raw("</tr>");
    }
    page.raw("</tbody></table>\n");
}

fn pairs(page: &mut Page, title: &str, pairs: &BTreeMap<String, String>) {
    page.element("h2", title);
    page.raw("<dl>");
    for (name, value) in pairs {
        page.element("dt", name);
        page.element("dd", value);
    }
    page.raw("</dl>\n");
}
