//! Reaches the KMEs and says what a run would leave out.

use std::io::Write;

use crate::config::Config;
use crate::ctx::Stop;
use crate::report::count;
use crate::run::{Options, RunError, Runner};

pub(super) fn perform(config: Config, options: &Options, out: &mut dyn Write) -> Result<u8, RunError> {
    let mut runner = Runner::new(config, options)?;
    runner.preflight();
    for kme in runner.kmes() {
        let facts = [kme.kme_id, kme.tls, kme.cert_sha256.map(|hash| format!("certificate {}…", &hash[..16]))];
        let facts: Vec<_> = facts.into_iter().flatten().collect();
        writeln!(out, "{} {}  {}", kme.name, kme.base_url, facts.join("  "))?;
    }
    if let Some(why) = runner.trouble() {
        writeln!(out, "\nnothing can be tested: {why}")?;
        return Ok(3);
    }
    for index in 0..2 {
        if let Some(answer) = runner.met(index) {
            writeln!(out, "Status at {}: {}", if index == 0 { "the master's KME" } else { "the slave's KME" }, answer.shown)?;
        }
    }
    let missing: Vec<_> = [
        ("key_size", runner.limits().key_size),
        ("min_key_size", runner.limits().min_size),
        ("max_key_size", runner.limits().max_size),
        ("max_key_per_request", runner.limits().max_per_request),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_none())
    .map(|(name, _)| name)
    .collect();
    if !missing.is_empty() {
        writeln!(out, "Status does not tell {}: cases that need it will be inconclusive", missing.join(", "))?;
    }
    let hints = runner.hints();
    if !hints.is_empty() {
        writeln!(out)?;
    }
    for hint in &hints {
        writeln!(out, "{} {}", if hint.sure { "wrong?" } else { "note: " }, hint.text)?;
    }
    writeln!(out)?;
    let (mut left_out, mut inconclusive) = (0, 0);
    for (case, stop) in runner.obstacles() {
        match stop {
            Stop::Inconclusive(_) => inconclusive += 1,
            _ => left_out += 1,
        }
        let (verdict, why) = match stop {
            Stop::NotApplicable(why) => ("na", why),
            Stop::Skip(why) => ("skip", why),
            Stop::Inconclusive(why) => ("inconc", why),
            other => ("skip", format!("{other:?}")),
        };
        writeln!(out, "{verdict:<5} {:<12} {}: {why}", case.id, case.title)?;
    }
    if left_out + inconclusive > 0 {
        writeln!(out, "\nof {}, {left_out} will be left out, {inconclusive} inconclusive", count(runner.planned(), "case"))?;
    }
    let wrong = hints.iter().filter(|hint| hint.sure).count();
    match (wrong, hints.len() - wrong) {
        (0, 0) => writeln!(out, "nothing speaks against a run")?,
        (0, notes) => writeln!(out, "nothing speaks against a run for certain; see {} above", count(notes, "note"))?,
        (wrong, _) => writeln!(out, "not to be run like this: {} (wrong?) above", count(wrong, "likely mistake"))?,
    }
    Ok(if wrong > 0 { 3 } else { 0 })
}
