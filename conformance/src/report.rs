//! The canonical report. Every other form is made from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod foreign;
mod html;
mod junit;
mod markdown;
mod sarif;
mod telling;
mod text;

pub(crate) use foreign::{blanked, with_foreign};
pub(crate) use html::html;
pub(crate) use junit::{escaped, junit};
pub(crate) use markdown::markdown;
pub(crate) use sarif::sarif;
pub(crate) use telling::{Finding, count, some};
pub(crate) use text::{Screen, broken, text};

/// How the part of a finding about one exchange of many begins.
pub(crate) const EXCHANGE: &str = "exchange ";

/// The observation that a KME gave no answer any more, and the run ended for it.
pub(crate) const GONE: &str = "a KME is gone";

/// What came of a case. The order is from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// The requirement is met.
    Pass,
    /// Not applicable, because of what is claimed.
    Na,
    /// Not run: deselected by mode, budget, or something missing.
    Skip,
    /// Not met, at a level that does not fail the run.
    Warn,
    /// The purpose of the case was not reached.
    Inconc,
    /// The requirement is not met.
    Fail,
    /// The harness is at fault.
    Error,
}

impl Verdict {
    /// As in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Na => "na",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Inconc => "inconc",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }

    /// All, in the order in which they are counted on the screen.
    pub(crate) const ALL: [Self; 7] = [Self::Pass, Self::Fail, Self::Warn, Self::Inconc, Self::Na, Self::Skip, Self::Error];
}

/// A report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Version of the format: 1.
    pub schema: u32,
    /// The harness.
    pub tool: Tool,
    /// `self-test`, `partial` or `not-valid-for-claims`.
    pub validity: String,
    /// What was tested.
    pub target: Target,
    /// What was run.
    pub plan: PlanFacts,
    /// What was claimed.
    pub ics: Ics,
    /// The result.
    pub summary: Summary,
    /// All cases, in the order of the catalogue.
    pub cases: Vec<CaseResult>,
    /// All requirements of the standard, in its order.
    #[serde(default)]
    pub requirements: Vec<RequirementFacts>,
    /// What became of the keys.
    pub ledger: LedgerFacts,
    /// What was noticed and is no verdict.
    pub observations: BTreeMap<String, String>,
    /// Where and when.
    pub environment: BTreeMap<String, String>,
}

/// The harness.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tool {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from, if known.
    pub commit: String,
    /// Version of the catalogue.
    pub catalogue: String,
}

/// What was tested.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Target {
    /// Vendor, name, version, build: from the configuration.
    pub product: BTreeMap<String, String>,
    /// The KMEs.
    pub kmes: Vec<KmeFacts>,
}

/// A KME as met.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KmeFacts {
    /// `A` or `B`.
    pub name: String,
    /// Base URL.
    pub base_url: String,
    /// KME ID of the configuration, or of Status.
    pub kme_id: Option<String>,
    /// What was negotiated.
    pub tls: Option<String>,
    /// SHA-256 of its certificate.
    pub cert_sha256: Option<String>,
}

/// What was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanFacts {
    /// Seed of all that is drawn at random.
    pub seed: String,
    /// Hash of seed, mode, and cases with their versions.
    pub sha256: String,
    /// `safe`, `normal` or `destructive`.
    pub mode: String,
    /// As given.
    pub selection: Vec<String>,
    /// The one profile selected, if so.
    pub profile: Option<String>,
    /// Editions of the standards.
    pub editions: BTreeMap<String, String>,
}

/// What was claimed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ics {
    /// Hash of the claims.
    pub sha256: String,
    /// The claims.
    pub claims: Value,
    /// Claims that the KME's Status contradicts.
    pub contradictions: Vec<String>,
}

/// The result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// `conforming`, `not-conforming`, `inconclusive` or `harness-error`. A failure that was expected is one.
    pub outcome: String,
    /// Cases by verdict.
    pub counts: BTreeMap<String, u64>,
    /// Requirements of cases that failed.
    pub failed_requirements: Vec<String>,
    /// Exit code of the program: here, a failure that was expected is none, and a pass that was not expected is one.
    pub exit: u8,
    /// Duration.
    pub seconds: f64,
}

/// A case and its verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CaseResult {
    /// For instance `014-DEC-006`.
    pub id: String,
    /// Version of the case.
    pub version: u32,
    /// The requirement as a sentence.
    pub title: String,
    /// `S`, `R`, `D`, `H` or `O`.
    pub level: String,
    /// For instance `014-6.4-06`.
    pub requirements: Vec<String>,
    /// For instance `A-01`.
    pub ambiguities: Vec<String>,
    /// Why it matters.
    pub impact: String,
    /// `queued`, `interrupted` or `done`.
    pub status: String,
    /// The verdict.
    pub verdict: Verdict,
    /// `none`, `xfail`, `xpass` or `expired`.
    pub expected: String,
    /// Why, if that is not in the checks.
    pub reason: String,
    /// The expression over the claims, if the case depends on them.
    pub ics_expression: String,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// What was drawn at random or derived from limits.
    pub parameters: BTreeMap<String, String>,
    /// Known-good exchanges around a negative case.
    pub sanity: BTreeMap<String, String>,
    /// What it cost.
    pub keys: KeyCost,
    /// RFC 3339.
    pub started: String,
    /// Milliseconds.
    pub ms: f64,
    /// The exchanges.
    pub evidence: Vec<Exchange>,
    /// A command that repeats it.
    pub replay: String,
}

/// A requirement of the standard, and what came of the cases for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequirementFacts {
    /// For instance `014-6.4-06`.
    pub id: String,
    /// What it says, in few words.
    pub what: String,
    /// Cases of this run.
    pub cases: Vec<String>,
    /// The worst of their verdicts; `none` if there is none.
    pub verdict: String,
    /// Why no case can be made for it; empty if it can.
    pub untestable: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// For instance `code`, `shape`, `text`.
    pub part: String,
    /// `pass`, `warn` or `fail`.
    pub verdict: Verdict,
    /// Level, if another than the case's.
    pub level: String,
    /// All that would have been right.
    pub accepted: String,
    /// What came.
    pub got: String,
    /// The exchange whose answer was judged, if it is one, by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<u64>,
}

/// What a case cost, in keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyCost {
    /// The declared worst.
    pub reserved: u64,
    /// Delivered to masters.
    pub delivered: u64,
    /// Of those, fetched by slaves.
    pub retrieved: u64,
    /// Of those, not fetched.
    pub left: u64,
}

/// What became of the keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LedgerFacts {
    /// Keys that requests asked for, or could have been given.
    pub asked: u64,
    /// Keys delivered to masters.
    pub delivered: u64,
    /// Of those, fetched with their IDs, however often and by however many.
    pub retrieved: u64,
    /// Requests and cases that the budget forbade.
    pub over_budget: u64,
    /// Keys that no slave has fetched.
    pub left: Vec<LeftBehind>,
}

/// A key that no slave has fetched.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeftBehind {
    /// Its ID.
    pub key_id: String,
    /// KME that delivered it.
    pub kme: String,
    /// SAE ID of the master.
    pub master: String,
    /// SAE IDs of the slaves.
    pub slaves: Vec<String>,
    /// When.
    pub at: String,
}

/// A request and its response.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exchange {
    /// Number in the run.
    pub n: u64,
    /// RFC 3339.
    pub at: String,
    /// Milliseconds.
    pub ms: f64,
    /// Who asked.
    pub actor: String,
    /// `A` or `B`.
    pub kme: String,
    /// What was negotiated.
    pub tls: Option<String>,
    /// What was sent.
    pub request: Message,
    /// What came.
    pub response: Option<Message>,
    /// Why nothing came.
    pub error: Option<String>,
}

/// One direction of an exchange, without key material.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Request or status line.
    pub line: String,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// Body, redacted.
    pub body: Option<String>,
    /// Octets of a malformed stimulus.
    pub raw_b64: Option<String>,
    /// Where it was cut.
    pub truncated_at: Option<usize>,
}

impl Report {
    /// A case by its ID.
    #[must_use]
    pub fn case(&self, id: &str) -> Option<&CaseResult> {
        self.cases.iter().find(|case| case.id == id)
    }

    /// IDs of the cases with that verdict.
    #[must_use]
    pub fn with(&self, verdict: Verdict) -> Vec<&str> {
        self.cases.iter().filter(|case| case.verdict == verdict).map(|case| case.id.as_str()).collect()
    }

    /// What is said of the failures that `expected.toml` lists, with a comma before it; nothing if there are none.
    pub(crate) fn expected_deviations(&self) -> String {
        match self.summary.counts.get("xfail") {
            None | Some(0) => String::new(),
            Some(1) => ", 1 expected deviation".to_owned(),
            Some(count) => format!(", {count} expected deviations"),
        }
    }

    pub(crate) fn count(&self, verdict: Verdict) -> u64 {
        self.summary.counts.get(verdict.name()).copied().unwrap_or_default()
    }

    /// The canonical form.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl CaseResult {
    /// `ENC` of `014-ENC-003`.
    pub(crate) fn group(&self) -> &str {
        self.id.split('-').nth(1).unwrap_or_default()
    }

    /// `014-ENC` of `014-ENC-003`.
    pub(crate) fn suite_group(&self) -> &str {
        self.id.rsplit_once('-').map_or(&self.id, |(group, _)| group)
    }

    pub(crate) fn short(&self) -> &str {
        self.id.split_once('-').map_or(&self.id, |(_, short)| short)
    }

    /// The verdict as counted and shown: an expected failure has a name of its own.
    pub(crate) fn shown(&self) -> &str {
        if matches!(self.expected.as_str(), "xfail" | "xpass" | "expired") { &self.expected } else { self.verdict.name() }
    }

    /// Whether it fails the run.
    pub(crate) fn is_bad(&self) -> bool {
        match self.expected.as_str() {
            "xfail" => false,
            "xpass" | "expired" => true,
            _ => self.verdict == Verdict::Fail,
        }
    }

    /// Whether a failure is there that nobody expected.
    pub(crate) fn fails_unexpectedly(&self) -> bool {
        self.verdict == Verdict::Fail && matches!(self.expected.as_str(), "none" | "expired")
    }

    /// The checks that were not met, as lines.
    pub(crate) fn complaints(&self) -> Vec<&Check> {
        self.checks.iter().filter(|check| check.verdict != Verdict::Pass).collect()
    }
}
