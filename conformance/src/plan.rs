//! What a run would do, and its hash.

use crate::case::Case;
use crate::catalogue::VERSION;
use crate::config::Config;
use crate::lab::Mode;
use crate::report::count;
use crate::run::FEED;

/// An ordered list of cases with what determines it.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) cases: Vec<&'static Case>,
    /// How often a case is run at most: again while it is inconclusive.
    pub(crate) attempts: u64,
}

impl Plan {
    /// SHA-256 over seed, mode, catalogue, and cases with versions in their order.
    pub(crate) fn sha256(&self) -> String {
        let mut text = format!("{:x} {} {VERSION}\n", self.seed, self.mode.name());
        for case in &self.cases {
            text.push_str(&format!("{}@{}\n", case.id, case.version));
        }
        crate::sha256(text.as_bytes())
    }

    /// Keys at worst, with these two meanings of a full request, if every case is run as often as it may be.
    pub(crate) fn worst(&self, batch: u64, per_request: u64) -> u64 {
        let cases = self.cases.iter().map(|case| case.cost.worst(batch, per_request)).fold(0, u64::saturating_add);
        let fed = self.mode != Mode::Safe && self.cases.iter().any(|case| case.is_passive());
        cases.saturating_mul(self.attempts).saturating_add(if fed { FEED } else { 0 })
    }

    /// For people.
    pub(crate) fn text(&self, config: &Config) -> String {
        let batch = config.limits.max_batch;
        let worst = self.worst(batch, batch);
        let mut text = String::new();
        for case in &self.cases {
            let hooks: Vec<_> =
                case.needs.iter().map(|need| crate::catalogue::need_text(*need)).filter(|need| need.contains("hook")).collect();
            let line = format!("{:<12} {:<10} {}  {}", case.id, case.cost.text(), case.title, hooks.join(", "));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push_str(&format!(
            "\n{}, mode {}, seed {:x}, plan {}\nworst cost {}{}; {} of each case\n\
             M, a full request, is taken to be {} (limits.max_batch); exact once a run has read Status\n",
            count(self.cases.len(), "case"),
            self.mode.name(),
            self.seed,
            &self.sha256()[..12],
            count(worst, "key"),
            budget_of(worst, config.limits.budget_keys),
            count(self.attempts, "run"),
            count(batch, "key"),
        ));
        text
    }
}

/// The budget, said after the worst cost: one that is smaller is no mistake.
pub(crate) fn budget_of(worst: u64, budget: u64) -> String {
    if worst > budget {
        format!(" if all goes wrong; never more than the budget, {budget}")
    } else {
        format!(", budget {budget}")
    }
}
