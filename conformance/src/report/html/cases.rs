//! Cases one by one: what was required, what came, and the exchanges.

use super::Page;
use crate::catalogue::reading;
use crate::report::{CaseResult, Exchange, Message, Report, Verdict, count, escaped, some};

/// Worst first: what endangers keys, then security, interoperability, quality.
pub(super) fn cases(page: &mut Page, report: &Report, title: &str, wanted: fn(&CaseResult) -> bool) {
    let order = ["key-safety", "security", "interop", "quality"];
    let mut cases: Vec<_> = report.cases.iter().filter(|case| wanted(case)).collect();
    cases.sort_by_key(|case| order.iter().position(|impact| *impact == case.impact));
    if cases.is_empty() {
        return;
    }
    page.element("h2", &format!("{title}: {}", cases.len()));
    cases.into_iter().for_each(|case| one(page, report, case));
}

fn one(page: &mut Page, report: &Report, case: &CaseResult) {
    page.open("h3", "id", &case.id);
    page.verdict(case);
    page.text(" ");
    page.classed("span", "id", &case.id);
    page.text(" ");
    page.marked(&case.title);
    page.raw("</h3><dl>");
    for (at, id) in case.concerned().iter().enumerate() {
        page.raw(if at == 0 { "<dt>requires</dt><dd>" } else { "<dd>" });
        page.requirement(report, id);
        if let Some(requirement) = report.requirements.iter().find(|requirement| requirement.id == *id) {
            page.text(&format!(" {}", requirement.what));
        }
        page.raw("</dd>");
    }
    page.fact("level", &format!("{}, matters for {}", case.level, case.impact));
    for id in &case.ambiguities {
        let note = reading(id).map_or_else(|| id.clone(), |(question, reading)| format!("{id}, {question}: {reading}"));
        page.raw("<dt>reading</dt><dd>");
        page.marked(&note);
        page.raw("</dd>");
    }
    for finding in case.findings() {
        let check = finding.check;
        page.raw("<dt>");
        page.text(&finding.part);
        page.raw("</dt><dd>");
        page.classed("span", &format!("v {}", check.verdict.name()), check.verdict.name());
        if !check.level.is_empty() {
            page.text(&format!(" (level {})", check.level));
        }
        page.raw("</dd>");
        for (at, (number, sent)) in finding.sent.iter().enumerate() {
            page.raw(if at == 0 { "<dt>sent</dt><dd>" } else { "<dd>" });
            page.link(&format!("{}-{number}", case.id), &format!("exchange {number}"));
            page.text(" ");
            page.element("code", sent);
            page.raw("</dd>");
        }
        page.fact("accepted", &check.accepted);
        page.fact("got", &some(&finding.got, 3));
    }
    page.fact("because", &case.reason);
    // Before, then after.
    for (around, answer) in case.sanity.iter().rev() {
        page.fact(&format!("known-good exchange {around}"), answer);
    }
    for (name, value) in &case.parameters {
        page.fact(name, value);
    }
    if !case.replay.is_empty() {
        page.raw("<dt>again</dt><dd>");
        page.element("code", &case.replay);
        page.raw("</dd>");
    }
    page.raw("</dl>");
    let unmet: Vec<u64> = case.complaints().iter().filter_map(|check| check.exchange).collect();
    evidence(page, &case.id, &case.evidence, &unmet);
}

fn evidence(page: &mut Page, case: &str, exchanges: &[Exchange], unmet: &[u64]) {
    if exchanges.is_empty() {
        return;
    }
    page.raw("<details>");
    let marked = if unmet.is_empty() { "" } else { ", those that were not as accepted are marked" };
    page.element("summary", &format!("{}{marked}", count(exchanges.len(), "exchange")));
    for exchange in exchanges {
        let tls = exchange.tls.as_deref().unwrap_or("no TLS");
        let line =
            format!("{}: {} at {}, {}, {tls}, {:.0} ms", exchange.n, exchange.actor, exchange.kme, exchange.at, exchange.ms);
        let is_unmet = unmet.contains(&exchange.n);
        page.raw(if is_unmet { "<div class=\"exchange unmet\" id=\"" } else { "<div class=\"exchange\" id=\"" });
        page.text(&format!("{case}-{}", exchange.n));
        page.raw("\"><p class=\"soft\">");
        page.text(&line);
        if is_unmet {
            page.classed("span", "v fail", " not as accepted");
        }
        page.raw("</p>");
        page.raw("<div class=\"sides\">");
        page.element("pre", &message(&exchange.request));
        match (&exchange.response, &exchange.error) {
            (Some(response), _) => page.element("pre", &message(response)),
            (None, error) => page.element("pre", error.as_deref().unwrap_or("no answer")),
        }
        page.raw("</div></div>");
    }
    page.raw("</details>\n");
}

fn message(message: &Message) -> String {
    let mut text = message.line.clone();
    for (name, value) in &message.headers {
        text.push_str(&format!("\n{name}: {value}"));
    }
    for body in [&message.body, &message.raw_b64].into_iter().flatten() {
        text.push_str(&format!("\n\n{body}"));
    }
    if let Some(at) = message.truncated_at {
        text.push_str(&format!("\n\n(cut after {at} octets)"));
    }
    text
}

/// What was left out, and why.
pub(super) fn not_run(page: &mut Page, report: &Report) {
    let cases: Vec<_> = report.cases.iter().filter(|case| matches!(case.verdict, Verdict::Na | Verdict::Skip)).collect();
    if cases.is_empty() {
        return;
    }
    page.element("h2", &format!("Not run: {}", cases.len()));
    page.raw("<table><tbody>");
    for case in cases {
        page.raw("<tr>");
        page.classed("td", "id", &case.id);
        page.raw("<td>");
        page.verdict(case);
        page.raw("</td><td>");
        page.marked(&case.title);
        page.raw("<br>");
        page.element("small", &case.reason);
        page.raw("</td></tr>");
    }
    page.raw("</tbody></table>\n");
}

/// All, with a choice of some by style alone.
pub(super) fn table(page: &mut Page, report: &Report) {
    page.raw("<h2>All cases</h2><section>");
    for (at, (id, label)) in
        [("f-all", "all"), ("f-bad", "not passed"), ("f-left", "not judged"), ("f-pass", "passed")].iter().enumerate()
    {
        let checked = if at == 0 { " checked" } else { "" };
        page.raw(&format!("<label><input type=\"radio\" name=\"f\" id=\"{id}\"{checked}> {label}</label> "));
    }
    page.raw("<table><thead><tr><th>case</th><th>verdict</th><th>level</th><th>requirement</th></tr></thead><tbody>\n");
    let mut group = "";
    for case in &report.cases {
        let class = match case.verdict {
            Verdict::Pass => "good",
            Verdict::Na | Verdict::Skip | Verdict::Inconc => "left",
            _ => "bad",
        };
        // Where the lines of the groups lead to.
        let first = group != case.suite_group();
        group = case.suite_group();
        let id = if first { format!(" id=\"g-{}\"", escaped(group)) } else { String::new() };
        page.raw(&format!("<tr class=\"{class}\"{id}><td>"));
        page.case(case, &case.id);
        page.raw("</td><td>");
        page.verdict(case);
        page.raw("</td>");
        page.element("td", &case.level);
        page.raw("<td>");
        page.marked(&case.title);
        if !case.reason.is_empty() && (matches!(case.verdict, Verdict::Na | Verdict::Skip) || case.level == "O") {
            page.raw("<br>");
            page.element("small", &case.reason);
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></section>\n");
}

pub(super) fn shown_in_full(case: &CaseResult) -> bool {
    matches!(case.verdict, Verdict::Fail | Verdict::Error | Verdict::Warn | Verdict::Inconc) || case.is_bad()
}
