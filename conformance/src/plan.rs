//! What a run would do, and its hash.

use crate::case::Case;
use crate::catalogue::VERSION;
use crate::config::Config;
use crate::lab::Mode;
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
        let mut text = String::new();
        for case in &self.cases {
            let hooks: Vec<_> =
                case.needs.iter().map(|need| crate::catalogue::need_text(*need)).filter(|need| need.contains("hook")).collect();
            let line = format!("{:<12} {:<10} {}  {}", case.id, case.cost.text(), case.title, hooks.join(", "));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push_str(&format!(
            "\n{} cases, mode {}, seed {:x}, plan {}\nworst cost {} keys, budget {}, each case run {} times (M = limits.max_batch = {batch}; known exactly once Status is)\n",
            self.cases.len(),
            self.mode.name(),
            self.seed,
            &self.sha256()[..12],
            self.worst(batch, batch),
            config.limits.budget_keys,
            self.attempts,
        ));
        text
    }
}
