//! The report, in Markdown.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::statistics::{extremes, median};
use crate::failure::Failure;

const BEGIN: &str = "<!-- begin: written by bench run -->";
const END: &str = "<!-- end: written by bench run -->";

#[derive(Debug)]
pub(super) struct Report {
    facts: Vec<String>,
    goals: Vec<[String; 4]>,
    tables: String,
}

/// A bound to be reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    AtLeast { goal: f64, stretch: Option<f64> },
    AtMost { goal: f64 },
}

impl Goal {
    fn verdict(self, measured: f64) -> &'static str {
        match self {
            Self::AtLeast { stretch: Some(stretch), .. } if measured >= stretch => "met, stretch too",
            Self::AtLeast { goal, .. } if measured >= goal => "met",
            Self::AtMost { goal } if measured <= goal => "met",
            _ => "**missed**",
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast { goal, stretch: Some(stretch) } => format!("≥ {goal} ({stretch})"),
            Self::AtLeast { goal, stretch: None } => format!("≥ {goal}"),
            Self::AtMost { goal } => format!("≤ {goal}"),
        }
    }
}

impl Report {
    pub(super) fn new(facts: Vec<String>) -> Self {
        Self { facts, goals: Vec::new(), tables: String::new() }
    }

    pub(super) fn fact(&mut self, fact: String) {
        self.facts.push(fact);
    }

    /// A goal, and the ratios measured for it, one for each round.
    pub(super) fn goal(&mut self, what: &str, goal: Goal, ratios: &[f64]) {
        let measured = median(ratios.iter().copied());
        let (low, high) = extremes(ratios.iter().copied());
        let range = if ratios.len() > 1 { format!(" ({low:.2} to {high:.2})") } else { String::new() };
        self.goals.push([what.to_owned(), goal.text(), format!("{measured:.2}{range}"), goal.verdict(measured).to_owned()]);
    }

    pub(super) fn table(&mut self, title: &str, columns: &[&str], rows: &[Vec<String>]) {
        let _ = writeln!(self.tables, "\n### {title}\n");
        self.tables += &line(columns);
        self.tables += &line(&vec!["---"; columns.len()]);
        for row in rows {
            self.tables += &line(row);
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        let _ = writeln!(self.tables, "\n{text}");
    }

    pub(super) fn to_markdown(&self) -> String {
        let mut text = String::new();
        for fact in &self.facts {
            let _ = writeln!(text, "* {fact}");
        }
        if !self.goals.is_empty() {
            text += "\n### Goals\n\nRatio: median over the rounds (least to greatest).\n\n";
            text += &line(&["what", "goal (stretch)", "measured", ""]);
            text += &line(&["---"; 4]);
            for goal in &self.goals {
                text += &line(goal);
            }
        }
        text + &self.tables
    }
}

fn line<T: AsRef<str>>(cells: &[T]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Puts the report into a file that has the markers.
pub(super) fn write_between_markers(file: &Path, report: &str) -> Result<(), Failure> {
    let text = fs::read_to_string(file)?;
    let replaced = between_markers(&text, report).ok_or_else(|| Failure::other(format!("{} has no markers", file.display())))?;
    Ok(fs::write(file, replaced)?)
}

fn between_markers(text: &str, report: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{report}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_replaces_the_former_one() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let once = between_markers(&text, "new\n").expect("markers");
        assert_eq!(once, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(between_markers(&once, "new\n"), Some(once));
        assert_eq!(between_markers("no markers", "new"), None);
    }

    #[test]
    fn verdicts() {
        let goal = Goal::AtLeast { goal: 0.75, stretch: Some(0.9) };
        assert_eq!([0.74, 0.75, 0.9].map(|ratio| goal.verdict(ratio)), ["**missed**", "met", "met, stretch too"]);
        assert_eq!([2.4, 2.6].map(|ratio| Goal::AtMost { goal: 2.5 }.verdict(ratio)), ["met", "**missed**"]);
        assert_eq!(goal.verdict(f64::NAN), "**missed**");
    }
}
