//! Puts the report together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Runner;
use crate::catalogue::{VERSION, all, breached, judged as judged_requirements};
use crate::config::Side;
use crate::json::Json;
use crate::lab::Ledger;
use crate::plan::budget_of;
use crate::report::{
    CaseResult, GONE, Ics, KmeFacts, LedgerFacts, LeftBehind, PlanFacts, Report, Summary, Target, Tool, Verdict, count,
};

impl Runner<'_> {
    pub(super) fn header(&self) -> Vec<String> {
        let plan = &self.plan;
        let per_request = self.limits.max_per_request.unwrap_or(1);
        let worst = plan.worst(per_request.min(self.lab.config.limits.max_batch), per_request);
        let hash = plan.sha256();
        let mut lines = vec![format!(
            "qkdspec {}  catalogue {VERSION}  014@1.1.1  seed {:x}  plan {}…{}",
            env!("CARGO_PKG_VERSION"),
            plan.seed,
            &hash[..4],
            &hash[60..]
        )];
        let kmes = self.kmes().into_iter().map(|kme| {
            format!("{} {}  {}  {}", kme.name, kme.base_url, kme.kme_id.unwrap_or_default(), kme.tls.unwrap_or_default())
        });
        lines.push(kmes.collect::<Vec<_>>().join("   "));
        let selection = if self.options.select.is_empty() { "all".to_owned() } else { self.options.select.join(" ") };
        let skip = if self.options.skip.is_empty() { String::new() } else { format!(", skip {}", self.options.skip.join(" ")) };
        lines.push(format!(
            "{selection}{skip}   {}   worst cost {}{}   mode {}",
            count(plan.cases.len(), "case"),
            count(worst, "key"),
            budget_of(worst, self.lab.config.limits.budget_keys),
            plan.mode.name()
        ));
        if self.lab.kme(Side::B).is_none() {
            lines.push("one KME only: whether two KMEs work together is not tested".to_owned());
        }
        if let Some(why) = &self.unreachable {
            lines.push(format!("nothing can be tested: {why}"));
        }
        lines
    }

    pub(crate) fn kmes(&self) -> Vec<KmeFacts> {
        let met = |side: Side| {
            let answers = [self.met(0), self.met(1)];
            let master = self.lab.sae(&self.lab.config.roles.master).map(|sae| sae.side);
            if master == Some(side) { answers[0] } else { answers[1] }
        };
        let facts = self.lab.kmes().map(|kme| {
            let answer = met(kme.side);
            let tls = answer.and_then(|answer| answer.tls.as_ref());
            let told = answer.and_then(|answer| answer.member("source_KME_ID")).and_then(Json::text);
            KmeFacts {
                name: kme.side.letter().to_owned(),
                base_url: kme.url.to_string(),
                kme_id: kme.kme_id.clone().or_else(|| told.map(|id| self.lab.vault.told(id, 100))),
                tls: tls.map(|tls| format!("TLS {} {} {}", tls.version, tls.suite, tls.group)),
                cert_sha256: tls.map(|tls| tls.certificate_sha256()),
            }
        });
        facts.collect()
    }

    pub(super) fn report(&self, mut results: BTreeMap<&'static str, CaseResult>, began: (OffsetDateTime, Instant)) -> Report {
        let ledger = self.lab.ledger();
        let budget = self.lab.budget();
        let left = ledger.left_behind(None).map(|key| LeftBehind {
            key_id: if self.options.hide_key_ids { self.gate.alias(&key.id) } else { self.lab.vault.told(&key.id, 100) },
            kme: key.at.letter().to_owned(),
            master: key.master.clone(),
            slaves: key.slaves.clone(),
            at: key.time.clone(),
        });
        let claims = serde_json::to_value(&self.lab.config.ics).unwrap_or_default();
        let profile = match self.options.select.as_slice() {
            [one] if one.starts_with('@') => Some(one.clone()),
            _ => None,
        };
        let mut environment = BTreeMap::new();
        environment.insert("started".to_owned(), began.0.format(&Rfc3339).unwrap_or_default());
        environment.insert("system".to_owned(), format!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
        environment.insert("fail-on".to_owned(), self.options.fail_on.clone());
        Report {
            schema: 1,
            tool: Tool {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                commit: env!("QKDSPEC_COMMIT").to_owned(),
                catalogue: VERSION.to_owned(),
            },
            validity: if self.lab.lab_only { "not-valid-for-claims" } else { "self-test" }.to_owned(),
            target: Target { product: self.lab.config.product.clone(), kmes: self.kmes() },
            plan: PlanFacts {
                seed: format!("{:x}", self.plan.seed),
                sha256: self.plan.sha256(),
                mode: self.plan.mode.name().to_owned(),
                selection: self.options.select.clone(),
                profile,
                editions: self.lab.config.edition.clone(),
            },
            ics: Ics { sha256: crate::sha256(claims.to_string().as_bytes()), contradictions: self.contradictions(), claims },
            summary: Summary {
                outcome: String::new(),
                counts: BTreeMap::new(),
                failed_requirements: Vec::new(),
                exit: 0,
                seconds: began.1.elapsed().as_secs_f64(),
            },
            cases: all().iter().filter_map(|case| results.remove(case.id)).collect(),
            requirements: Vec::new(),
            ledger: LedgerFacts {
                asked: budget.asked,
                delivered: ledger.delivered,
                retrieved: ledger.retrieved,
                over_budget: budget.refused,
                left: left.collect(),
            },
            observations: self.observations(&ledger),
            environment,
        }
    }

    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let (Some(claim), Some(count)) = (self.lab.config.ics.multicast, self.limits.max_additional)
            && claim.claimed != (count > 0)
        {
            found.push(format!("multicast.claimed = {}, but Status says max_SAE_ID_count {count}", claim.claimed));
        }
        if let (Some(false), Some(size)) = (self.lab.config.ics.any_bit, self.limits.key_size)
            && size % 8 != 0
        {
            found.push(format!("size.any-bit = false, but the default key size is {size} bits"));
        }
        found
    }

    fn observations(&self, ledger: &Ledger) -> BTreeMap<String, String> {
        let limits = &self.limits;
        let figures = [
            ("key_size", limits.key_size),
            ("min_key_size", limits.min_size),
            ("max_key_size", limits.max_size),
            ("max_key_per_request", limits.max_per_request),
            ("max_SAE_ID_count", limits.max_additional),
        ];
        let mut told: BTreeMap<_, _> =
            figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_string()))).collect();
        if let Some(path) = self.lab.kmes().find(|kme| !kme.url.prefix.is_empty()) {
            told.insert("path prefix (A-42)".to_owned(), path.url.prefix.clone());
        }
        if self.lab.config.ics.derived {
            told.insert("claims".to_owned(), "derived from what the KMEs show, not stated by the vendor".to_owned());
        }
        if !self.lab.config.ics.revocation {
            told.insert("revocation".to_owned(), "not claimed, so not tested: TLS-009 proves nothing".to_owned());
        }
        if let Some(why) = &self.gone {
            told.insert(GONE.to_owned(), self.lab.vault.told(why, crate::bounds::TOLD));
        }
        if ledger.is_short() {
            told.insert("ledger".to_owned(), format!("of the keys delivered, the first {} are listed", ledger.drawn.len()));
        }
        told
    }
}

/// Counts, outcome and exit code.
pub(crate) fn conclude(report: &mut Report, interrupted: bool) {
    let mut counts: BTreeMap<String, u64> = Verdict::ALL.iter().map(|verdict| (verdict.name().to_owned(), 0)).collect();
    for case in &report.cases {
        *counts.entry(case.shown().to_owned()).or_default() += 1;
    }
    let failures = report.cases.iter().filter(|case| case.verdict == Verdict::Fail);
    let failed: BTreeSet<String> = failures.flat_map(|case| breached(case, Verdict::Fail)).collect();
    let gone = report.observations.contains_key(GONE);
    // What was left out says nothing, whatever the run was ended by.
    let early = gone || report.cases.iter().any(|case| case.status == "queued");
    let any = |verdict| report.cases.iter().any(|case| case.verdict == verdict);
    // Nothing judged at all is no success.
    let judged = any(Verdict::Pass) || any(Verdict::Warn) || any(Verdict::Fail);
    let doubtful = any(Verdict::Inconc)
        || !judged
        || interrupted
        || early
        || report.ledger.over_budget > 0
        || !report.ics.contradictions.is_empty();
    // What the KMEs do, whoever expected it.
    let outcome = match () {
        () if any(Verdict::Error) => "harness-error",
        () if any(Verdict::Fail) => "not-conforming",
        () if doubtful => "inconclusive",
        () => "conforming",
    };
    // What is to be done about it: nothing, if it is as expected.
    let exit = match () {
        () if any(Verdict::Error) => 4,
        () if report.cases.iter().any(CaseResult::is_bad) => 1,
        () if doubtful => 3,
        () => 0,
    };
    if interrupted || early {
        "partial".clone_into(&mut report.validity);
    }
    report.summary.outcome = outcome.to_owned();
    report.summary.exit = if interrupted { 130 } else { exit };
    report.summary.failed_requirements = failed.into_iter().collect();
    report.summary.counts = counts;
    report.requirements = judged_requirements(&report.cases);
}

/// Something had to be left out for fear of showing a key: no success, but no KME gets rid of its failures by it.
pub(super) fn withheld(report: &mut Report) {
    if matches!(report.summary.exit, 0 | 3) {
        report.summary.exit = 4;
        if report.summary.outcome != "not-conforming" {
            "harness-error".clone_into(&mut report.summary.outcome);
        }
    }
}
