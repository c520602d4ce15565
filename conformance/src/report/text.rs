//! The screen: plain lines, in a pipe as on a terminal.

use std::io::{self, Write};

use super::{CaseResult, GONE, Report, Verdict, count as count_of, some};
use crate::catalogue::{all, groups, reading};
use crate::secret::printable;

/// A failure that so few cases follow is still on the screen.
const RECENT: usize = 10;

/// Requests that are shown with a finding.
const SENT: usize = 8;

/// Writes a run as it happens.
#[derive(Clone)]
pub(crate) struct Screen {
    quiet: bool,
    colour: bool,
    width: Option<usize>,
    group: String,
    /// Why the last case was not judged, to be said once.
    reason: String,
}

impl Screen {
    pub(crate) fn new(quiet: bool, colour: bool, width: Option<usize>) -> Self {
        Self { quiet, colour, width, group: String::new(), reason: String::new() }
    }

    pub(crate) fn begin(&self, out: &mut dyn Write, header: &[String]) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        header.iter().filter(|line| !line.is_empty()).try_for_each(|line| writeln!(out, "{}", broken(line, self.width, 0, 2)))?;
        out.flush()
    }

    pub(crate) fn case(&mut self, out: &mut dyn Write, result: &CaseResult) -> io::Result<()> {
        let good = matches!(result.verdict, Verdict::Pass | Verdict::Na | Verdict::Skip);
        if self.quiet && good {
            return Ok(());
        }
        let passive = all().iter().any(|case| case.id == result.id && case.is_passive());
        let group = if passive { "passive" } else { result.group() };
        if self.group != group {
            group.clone_into(&mut self.group);
            let title =
                groups().find(|(name, ..)| *name == result.suite_group()).map(|(_, title, _)| format!("{group}  {title}"));
            writeln!(out, "\n{}", title.filter(|_| !passive).unwrap_or_else(|| "Checks over all exchanges".to_owned()))?;
        }
        let undone = matches!(result.verdict, Verdict::Inconc | Verdict::Skip);
        let repeated = undone && result.reason == self.reason;
        self.reason = if undone { result.reason.clone() } else { String::new() };
        write!(out, "{}", self.lines(result, repeated))?;
        out.flush()
    }

    fn lines(&self, result: &CaseResult, repeated: bool) -> String {
        let shown = match result.shown() {
            "fail" => "FAIL",
            "error" => "ERROR",
            shown => shown,
        };
        let painted = match (self.colour, result.verdict) {
            (false, _) => format!("{shown:<6}"),
            (true, Verdict::Pass) => format!("\x1b[32m{shown:<6}\x1b[0m"),
            (true, Verdict::Fail | Verdict::Error) => format!("\x1b[1;31m{shown:<6}\x1b[0m"),
            (true, Verdict::Warn | Verdict::Inconc) => format!("\x1b[33m{shown:<6}\x1b[0m"),
            (true, _) => format!("\x1b[2m{shown:<6}\x1b[0m"),
        };
        let keys = match result.keys.delivered {
            0 => String::new(),
            keys => format!("  {}", count_of(keys, "key")),
        };
        let took = if result.ms > 0.0 { format!("  {:.0} ms", result.ms) } else { String::new() };
        let title = broken(&format!("{}{keys}{took}", result.title), self.width, 18, 18);
        let mut text = format!("  {painted} {:<8} {title}\n", result.short());
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                // Reports from elsewhere are shown by this, too.
                let value = broken(&printable(value), self.width, 21, 21);
                text.push_str(&format!("           {name:<9} {value}\n"));
            }
        };
        if matches!(result.verdict, Verdict::Fail | Verdict::Warn | Verdict::Error) {
            line("requires", &result.concerned().join(", "));
            for id in &result.ambiguities {
                line("reading", &reading(id).map_or_else(|| id.clone(), |(question, _)| format!("{id}, {question}")));
            }
            for finding in result.findings() {
                let check = finding.check;
                let level = if check.level.is_empty() { String::new() } else { format!("  [level {}]", check.level) };
                line(&finding.part, &format!("{}{level}", check.verdict.name()));
                finding.sent.iter().take(SENT).for_each(|(_, sent)| line("  sent", sent));
                if finding.sent.len() > SENT {
                    line("  sent", &format!("{} more, in the report", finding.sent.len() - SENT));
                }
                line("  accepted", &check.accepted);
                line("  got", &some(&finding.got, 3));
            }
        }
        match result.verdict {
            Verdict::Pass if result.checks.is_empty() => line("observed", &result.reason),
            _ if repeated => {}
            Verdict::Pass if result.expected == "none" => {}
            _ => line("because", &result.reason),
        }
        if matches!(result.verdict, Verdict::Fail | Verdict::Error) {
            line("again", &result.replay);
        }
        text
    }

    pub(crate) fn end(&self, out: &mut dyn Write, report: &Report) -> io::Result<()> {
        // What was expected to fail and did not is no failure; what also fails otherwise is.
        let is_failure = |case: &&CaseResult| case.verdict == Verdict::Error || case.verdict == Verdict::Fail && case.is_bad();
        let failed: Vec<_> = report.cases.iter().filter(is_failure).collect();
        if !failed.is_empty() && !self.quiet && report.cases.len() > RECENT {
            writeln!(out, "\nFailures, once more")?;
            failed.iter().try_for_each(|case| write!(out, "{}", self.lines(case, false)))?;
        }
        writeln!(out)?;
        summary(report).lines().try_for_each(|line| writeln!(out, "{}", broken(line, self.width, 0, 2)))?;
        out.flush()
    }
}

/// Text that begins in column `at` in lines no longer than `width`, the further ones indented; without a width as it is.
pub(crate) fn broken(text: &str, width: Option<usize>, at: usize, indent: usize) -> String {
    let Some(width) = width else { return text.to_owned() };
    let (mut lines, mut column) = (String::new(), at);
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > width {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        // A word longer than a line is cut.
        for c in word.chars() {
            if column >= width {
                lines.push('\n');
                lines.push_str(&" ".repeat(indent));
                column = indent;
            }
            lines.push(c);
            column += 1;
        }
    }
    lines
}

fn summary(report: &Report) -> String {
    let count = |verdict: Verdict| {
        let name = if verdict == Verdict::Fail { "FAIL" } else { verdict.name() };
        format!("{} {name}", report.count(verdict))
    };
    let mut counts: Vec<_> = Verdict::ALL.iter().map(|verdict| count(*verdict)).collect();
    for name in ["xfail", "xpass", "expired"] {
        counts.extend(report.summary.counts.get(name).filter(|count| **count > 0).map(|count| format!("{count} {name}")));
    }
    let ledger = &report.ledger;
    let mut text =
        format!("{}: {}      {:.1} s\n", count_of(report.cases.len(), "case"), counts.join("  "), report.summary.seconds);
    if ledger.asked + ledger.delivered + ledger.retrieved + ledger.over_budget > 0 {
        let left = if ledger.left.is_empty() {
            "0 left behind".to_owned()
        } else {
            format!("{} left behind (listed in the report)", ledger.left.len())
        };
        text.push_str(&format!(
            "keys: {} asked, {} delivered, {} retrieved, {left}, {} over budget\n",
            ledger.asked, ledger.delivered, ledger.retrieved, ledger.over_budget
        ));
    }
    report.ics.contradictions.iter().for_each(|line| text.push_str(&format!("claim contradicted: {line}\n")));
    let gone = report.observations.get(GONE);
    gone.iter().for_each(|why| text.push_str(&format!("{GONE}, and the run ended: {}\n", printable(why))));
    let (word, mut rest) = report.headline();
    if !report.summary.failed_requirements.is_empty() && word == "Not conforming" {
        rest.push_str(&format!(" ({})", report.summary.failed_requirements.join(", ")));
    }
    let validity = match report.validity.as_str() {
        "self-test" => "",
        "partial" if report.summary.exit == 130 => "  (interrupted: partial)",
        "partial" => "  (ended early: partial)",
        _ => "  (laboratory settings: not valid for claims)",
    };
    let unexpected: Vec<_> = report.cases.iter().filter(|case| case.expected == "xpass").map(CaseResult::short).collect();
    if !unexpected.is_empty() {
        let which = unexpected.join(", ");
        text.push_str(&format!("what was expected to fail did not ({which}): take it out of the list of what is expected\n"));
    }
    text.push_str(&format!("{}{}{validity}      exit {}\n", word.to_uppercase(), printable(&rest), report.summary.exit));
    text
}

/// A finished report as text.
pub(crate) fn text(report: &Report) -> String {
    let mut out = Vec::new();
    let mut screen = Screen::new(false, false, None);
    let header = vec![
        format!("qkdspec {}  catalogue {}  seed {}", report.tool.version, report.tool.catalogue, report.plan.seed),
        report.target.kmes.iter().map(|kme| format!("{} {}", kme.name, kme.base_url)).collect::<Vec<_>>().join("   "),
    ];
    // Writing to memory does not fail.
    let _ = screen.begin(&mut out, &header);
    for case in &report.cases {
        let _ = screen.case(&mut out, case);
    }
    let _ = screen.end(&mut out, report);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::broken;

    #[test]
    fn lines_are_broken_at_words_and_words_only_if_they_must() {
        assert_eq!(broken("as  it is", None, 0, 2), "as  it is");
        assert_eq!(broken("one two three", Some(9), 0, 2), "one two\n  three");
        assert_eq!(broken("one two", Some(9), 4, 4), "one\n    two");
        assert_eq!(broken("0123456789ab", Some(8), 0, 2), "01234567\n  89ab");
        let long = broken(&"word ".repeat(50), Some(40), 21, 21);
        assert!(long.lines().skip(1).all(|line| line.chars().count() <= 40 && line.starts_with(&" ".repeat(21))), "{long}");
    }
}
