//! What a case is: data from which the catalogue is made, and the function that runs it.

use serde::Serialize;

use crate::config::Claims;
use crate::ctx::{Ctx, Stop};
use crate::sae::Bench;

/// Strength and basis of a requirement, in one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) enum Level {
    /// The standard says shall.
    S,
    /// Inherited from a referenced RFC.
    R,
    /// Derived, by our reading.
    D,
    /// Hygiene.
    H,
    /// Observation: cannot fail.
    O,
}

impl Level {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::S => "shall",
            Self::R => "referenced RFC",
            Self::D => "derived",
            Self::H => "hygiene",
            Self::O => "observation",
        }
    }
}

/// The part of a check that a KME is still there.
pub(crate) const GONE: &str = "still there";

/// Requirements that say what may be, of those that cases name.
pub(crate) const PERMISSIONS: &[&str] = &[
    "4-04", "5.2-06", "5.3-05", "5.3-08", "5.4-06", "6.2-05", "6.2-06", "6.2-08", "6.2-15", "6.2-16", "6.2-17", "6.2-19",
    "6.3-05", "6.4-03",
];

/// Why a failure matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Impact {
    KeySafety,
    Security,
    Interop,
    Quality,
}

/// What must be there before a case can run; absent, it is skipped, and the report says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A slave.
    Slave,
    /// Master and slave at two KMEs.
    Pair,
    /// An SAE that is enrolled and never designated, at the slave's KME.
    Stranger,
    /// An SAE for `additional_slave_SAE_IDs`.
    Additional,
    /// Two SAEs at one KME.
    LocalPair,
    /// A shell command of that name.
    Hook(&'static str),
    /// A certificate of that name in `[intruder]`.
    Intruder(&'static str),
    /// `--mode destructive`.
    Destructive,
    /// TLS, that is, no laboratory on plain HTTP.
    Tls,
    /// An SAE under test as master.
    AsMaster,
    /// An SAE under test as slave.
    AsSlave,
    /// An SAE under test at both ends.
    AsBoth,
    /// An SAE under test whose exit codes can be believed.
    Told,
    /// An SAE under test whose output is seen.
    Output,
}

/// For which claims a case is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Multicast,
    NoMulticast,
    AnyId,
    LocalPair,
    Revocation,
    Lifetime,
    MandatoryExtension,
    UnmeetableExtension,
}

impl When {
    /// The expression over the claims, as printed with verdict `na`.
    pub(crate) fn expression(self) -> &'static str {
        match self {
            Self::Always => "true",
            Self::Multicast => "multicast.claimed",
            Self::NoMulticast => "not multicast.claimed",
            Self::AnyId => "sae.any-id",
            Self::LocalPair => "kme.local-pair",
            Self::Revocation => "tls.revocation",
            Self::Lifetime => "key.lifetime",
            Self::MandatoryExtension => "ext.mandatory is not empty",
            Self::UnmeetableExtension => "ext.mandatory has an impossible value",
        }
    }

    /// Whether it is Status that decides, since nothing is claimed.
    pub(crate) fn is_of_status(self, claims: &Claims) -> bool {
        matches!(self, Self::Multicast | Self::NoMulticast) && claims.multicast.is_none()
    }

    /// Whether the claims, or failing them the KME's Status, make the expression true.
    pub(crate) fn holds(self, claims: &Claims, status_says_multicast: bool) -> bool {
        let multicast = claims.multicast.map_or(status_says_multicast, |claim| claim.claimed);
        match self {
            Self::Always => true,
            Self::Multicast => multicast,
            Self::NoMulticast => !multicast,
            Self::AnyId => claims.any_id,
            Self::LocalPair => claims.local_pair,
            Self::Revocation => claims.revocation,
            Self::Lifetime => claims.lifetime,
            Self::MandatoryExtension => !claims.mandatory.is_empty(),
            Self::UnmeetableExtension => claims.mandatory.iter().any(|extension| extension.impossible.is_some()),
        }
    }
}

/// Keys a KME can hand out during a case, at worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Delivered by a correct KME.
    pub(crate) sure: u64,
    /// Delivered only by a wrong one.
    pub(crate) wrongly: u64,
    /// Times `max_key_per_request` (at most `limits.max_batch`), delivered by a correct KME.
    pub(crate) batches: u64,
    /// Times `max_key_per_request`, delivered by a wrong one.
    pub(crate) wrong_batches: u64,
    /// For a part that safe mode leaves out.
    pub(crate) aside: u64,
}

impl Cost {
    const NONE: Self = Self { sure: 0, wrongly: 0, batches: 0, wrong_batches: 0, aside: 0 };

    /// In keys.
    pub(crate) fn worst(self, batch: u64, per_request: u64) -> u64 {
        let full = self.batches.saturating_mul(batch).saturating_add(self.wrong_batches.saturating_mul(per_request));
        (self.sure + self.wrongly + self.aside).saturating_add(full)
    }

    /// Whether nothing can be delivered where that is forbidden.
    pub(crate) fn is_safe(self) -> bool {
        Self { aside: 0, ..self } == Self::NONE
    }

    /// In words.
    pub(crate) fn text(self) -> String {
        let mut parts = Vec::new();
        let mut add = |count: u64, unit: &str, wrong: bool| {
            if count > 0 {
                let text = match (count, unit) {
                    (1, "M") => "M".to_owned(),
                    (_, "M") => format!("{count} M"),
                    _ => count.to_string(),
                };
                parts.push(if wrong { format!("({text})") } else { text });
            }
        };
        add(self.sure, "", false);
        add(self.batches, "M", false);
        add(self.wrongly, "", true);
        add(self.wrong_batches, "M", true);
        if self.aside > 0 {
            parts.push(format!("{} (not in safe mode)", self.aside));
        }
        if parts.is_empty() { "0".to_owned() } else { parts.join(" + ") }
    }
}

/// How a verdict is reached.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// By exchanges of its own.
    Active(fn(&mut Ctx<'_>) -> Result<(), Stop>),
    /// From all exchanges of the run.
    Passive,
    /// Against an SAE.
    Sae(fn(&mut Bench<'_>) -> Result<(), Stop>),
}

/// One case of the catalogue.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    /// Raised when stimulus or oracle change so that a verdict may.
    pub(crate) version: u32,
    pub(crate) level: Level,
    pub(crate) impact: Impact,
    /// Without the prefix `014-`.
    pub(crate) requirements: &'static [&'static str],
    /// What single parts of it show, if that is not all of them.
    parts: &'static [(&'static str, &'static [&'static str])],
    pub(crate) ambiguities: &'static [&'static str],
    /// The requirement, as a sentence.
    pub(crate) title: &'static str,
    pub(crate) stimulus: &'static str,
    pub(crate) accepted: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) when: When,
    pub(crate) cost: Cost,
    /// The stimulus is wrong on purpose: a known-good exchange is made before and after.
    pub(crate) negative: bool,
    /// Faulty KMEs (M001…) that this case notices.
    pub(crate) kills: &'static [&'static str],
    pub(crate) run: Run,
}

impl Case {
    pub(crate) const fn new(id: &'static str, level: Level, impact: Impact, title: &'static str) -> Self {
        Self {
            id,
            version: 1,
            level,
            impact,
            requirements: &[],
            parts: &[],
            ambiguities: &[],
            title,
            stimulus: "",
            accepted: "",
            needs: &[],
            when: When::Always,
            cost: Cost::NONE,
            negative: false,
            kills: &[],
            run: Run::Passive,
        }
    }

    pub(crate) const fn basis(mut self, requirements: &'static [&'static str], ambiguities: &'static [&'static str]) -> Self {
        self.requirements = requirements;
        self.ambiguities = ambiguities;
        self
    }

    /// The requirements that a part is about.
    pub(crate) const fn parts(mut self, parts: &'static [(&'static str, &'static [&'static str])]) -> Self {
        self.parts = parts;
        self
    }

    pub(crate) const fn does(mut self, stimulus: &'static str, accepted: &'static str) -> Self {
        self.stimulus = stimulus;
        self.accepted = accepted;
        self
    }

    pub(crate) const fn kills(mut self, mutants: &'static [&'static str]) -> Self {
        self.kills = mutants;
        self
    }

    pub(crate) const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// Keys for sure, and keys only a wrong KME hands out.
    pub(crate) const fn cost(mut self, sure: u64, wrongly: u64) -> Self {
        self.cost.sure = sure;
        self.cost.wrongly = wrongly;
        self
    }

    /// Keys for a part that safe mode leaves out.
    pub(crate) const fn aside(mut self, keys: u64) -> Self {
        self.cost.aside = keys;
        self
    }

    /// The same in full requests.
    pub(crate) const fn batches(mut self, sure: u64, wrongly: u64) -> Self {
        self.cost.batches = sure;
        self.cost.wrong_batches = wrongly;
        self
    }

    pub(crate) const fn negative(mut self) -> Self {
        self.negative = true;
        self
    }

    pub(crate) const fn run(mut self, run: fn(&mut Ctx<'_>) -> Result<(), Stop>) -> Self {
        self.run = Run::Active(run);
        self
    }

    pub(crate) const fn run_sae(mut self, run: fn(&mut Bench<'_>) -> Result<(), Stop>) -> Self {
        self.run = Run::Sae(run);
        self
    }

    /// The requirements that are not met where a part is not. What only permits something cannot be failed.
    pub(crate) fn breached(&self, part: &str) -> Vec<&'static str> {
        let named: &[&'static str] = match (self.parts.iter().find(|(name, _)| *name == part), part) {
            (Some(&(_, named)), _) => named,
            (None, GONE | "sanity") => &["4-05"],
            (None, "shape") => &["6.5-01"],
            (None, _) => self.requirements,
        };
        let duties: Vec<_> = named.iter().copied().filter(|id| !PERMISSIONS.contains(id)).collect();
        if duties.is_empty() { named.to_vec() } else { duties }
    }

    /// `ENC` of `014-ENC-003`.
    pub(crate) fn group(&self) -> &'static str {
        self.id.split('-').nth(1).unwrap_or_default()
    }

    pub(crate) fn is_passive(&self) -> bool {
        matches!(self.run, Run::Passive)
    }

    pub(crate) fn needs_hook(&self) -> bool {
        self.needs.iter().any(|need| matches!(need, Need::Hook(_) | Need::Destructive))
    }

    /// Words to select it by.
    pub(crate) fn tags(&self) -> Vec<&'static str> {
        let impact = match self.impact {
            Impact::KeySafety => "key-safety",
            Impact::Security => "security",
            Impact::Interop => "interop",
            Impact::Quality => "quality",
        };
        let mut tags = vec![impact];
        let marks = [
            (self.is_passive(), "passive"),
            (self.negative, "negative"),
            (self.needs.contains(&Need::Pair), "pair"),
            (self.needs_hook(), "hook"),
            (self.cost.is_safe(), "free"),
        ];
        tags.extend(marks.into_iter().filter(|(is, _)| *is).map(|(_, tag)| tag));
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_fails_names_its_own_requirements() {
        const CASE: Case = Case::new("014-X-001", Level::S, Impact::Interop, "")
            .basis(&["6.2-08", "6.2-09", "6.3-04"], &[])
            .parts(&[("size", &["6.3-04"]), ("claim", &[])]);
        assert_eq!(CASE.breached("size"), ["6.3-04"]);
        assert_eq!(CASE.breached("code"), ["6.2-09", "6.3-04"], "and none that only permits");
        assert_eq!((CASE.breached("shape"), CASE.breached(GONE)), (vec!["6.5-01"], vec!["4-05"]));
        assert!(CASE.breached("claim").is_empty());
    }

    #[test]
    fn what_safe_mode_leaves_out_is_counted_all_the_same() {
        let cost = Cost { aside: 2, ..Cost::NONE };
        assert!(cost.is_safe() && cost.worst(1, 1) == 2);
        assert!(!Cost { wrongly: 1, ..cost }.is_safe());
    }
}
