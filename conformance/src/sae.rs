//! An SAE under test: the harness plays the KMEs, makes the SAE act, and judges first what it does on the wire, then what it
//! tells by exit codes and fingerprints.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::case::{Case, Level, Need, Run};
use crate::catalogue::{self, VERSION, need_text, requirement};
use crate::config::{IdField, Side};
use crate::ctx::Stop;
use crate::expected::Expected;
use crate::lab::Mode;
use crate::plan::Plan;
use crate::player::{Fault, Pki, Player, kme_id};
use crate::report::{
    CaseResult, Ics, KeyCost, KmeFacts, LedgerFacts, PlanFacts, Report, Screen, Summary, Target, Tool, Verdict, count,
};
use crate::run::{Gate, Guarded, Hidden, Options, RunError, conclude, conclude_report, levels};
use crate::secret::Vault;

mod bench;
mod cases;
mod config;
mod drive;
mod requests;
mod task;
mod trigger;

pub(crate) use bench::Bench;
pub(crate) use cases::GROUPS;
pub use config::ClientConfig;
pub(crate) use requests::{Finding, Look, WATCHED, figure, ids, judge};
pub use task::Role;
pub(crate) use task::TASKS;

use bench::{Stand, Telling};
use drive::End;
use task::Task;

/// Runs cases against the SAE of the configuration in these roles; tells on `out` how it goes.
///
/// # Errors
/// [`RunError`]: whatever the SAE does is in the report and is no error.
pub fn run_sae(config: ClientConfig, roles: &[Role], options: &Options, out: &mut dyn Write) -> Result<Report, RunError> {
    Ok(run_sae_guarded(config, roles, options, out)?.report)
}

/// The same, with what every form of the report is searched for.
pub(crate) fn run_sae_guarded(
    config: ClientConfig,
    roles: &[Role],
    options: &Options,
    out: &mut dyn Write,
) -> Result<Guarded, RunError> {
    Runner::new(config, roles, options)?.run(out)
}

/// A folder that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("qkdspec-{}", random_hex::<8>()?));
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is of no use to anybody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn random_hex<const N: usize>() -> Result<String, String> {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| "the system's random generator failed".to_owned())?;
    Ok(crate::hex(&octets))
}

struct Runner<'a> {
    stand: Stand,
    options: &'a Options,
    plan: Plan,
    fail_on: Vec<Level>,
    expected: Expected,
    gate: Gate,
    _scratch: Option<Scratch>,
}

impl<'a> Runner<'a> {
    fn new(config: ClientConfig, roles: &[Role], options: &'a Options) -> Result<Self, RunError> {
        let fail_on = levels(&options.fail_on)?;
        let cases = crate::select::select_of(catalogue::sae(), &options.select, &options.skip).map_err(RunError::Usage)?;
        let plan = crate::run::plan_of(cases, options)?;
        let expected = options.expected.as_deref().map(Expected::load).transpose().map_err(RunError::Usage)?.unwrap_or_default();
        let (stand, scratch) = Self::stand(config, roles, options).map_err(RunError::Usage)?;
        let gate = Gate::new(stand.vault.clone());
        Ok(Self { stand, options, plan, fail_on, expected, gate, _scratch: scratch })
    }

    fn stand(config: ClientConfig, roles: &[Role], options: &Options) -> Result<(Stand, Option<Scratch>), String> {
        let client = config.client.clone();
        let scratch = if client.pki.is_none() { Some(Scratch::new()?) } else { None };
        let folder = match (&client.pki, &scratch) {
            (Some(folder), _) => config.path(folder),
            (None, Some(scratch)) => scratch.0.clone(),
            (None, None) => return Err("no folder for certificates".to_owned()),
        };
        // Commands may run in another folder.
        let folder = std::path::absolute(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let absolute = |path: &PathBuf| std::path::absolute(config.path(path)).map_err(|error| error.to_string());
        let field = client.kme_id_field.as_deref().map(IdField::parse).transpose()?;
        let foreign = client.ca.as_ref().map(absolute).transpose()?;
        let pki = Arc::new(Pki::new(&folder, &client.site(), field, &[&client.master_id, &client.slave_id], foreign.as_deref())?);
        let mut files = BTreeMap::new();
        for (role, id) in [(Role::Master, &client.master_id), (Role::Slave, &client.slave_id)] {
            let made = pki.of_sae(id);
            let own = match &client.cert {
                Some(cert) => (absolute(cert)?, client.key.as_ref().map(absolute).transpose()?.unwrap_or(absolute(cert)?)),
                None => made,
            };
            files.insert(role, own);
        }
        let vault = Arc::new(Vault::new()?);
        let salt = random_hex::<16>()?;
        let ca = pki.ca();
        let player = Player::start(pki, vault.clone(), &salt, &client.site())?;
        let mut roles = roles.to_vec();
        roles.sort();
        roles.dedup();
        let stand = Stand {
            config,
            player,
            vault,
            salt,
            roles,
            telling: Telling::Wire("not asked yet".to_owned()),
            interrupted: options.interrupted.clone(),
            files,
            ca,
            known: RefCell::default(),
            betrayed: RefCell::default(),
            searched: RefCell::new(0),
            survey: RefCell::default(),
            announce: |line| eprintln!("{line}"),
        };
        Ok((stand, scratch))
    }

    /// Asks for something that cannot be known: who does it all the same does not read what it is told.
    fn sound(&mut self) -> Result<(), RunError> {
        if self.stand.config.client.exec.is_none() {
            self.stand.telling = Telling::Wire("it is not driven by a command, so that there are no exit codes".to_owned());
            return Ok(());
        }
        let name = format!("random-{}", random_hex::<4>().map_err(RunError::Usage)?);
        let role = *self.stand.roles.first().unwrap_or(&Role::Master);
        let case = catalogue::sae()[0];
        let mut bench = Bench::new(&self.stand, case, &self.fail_on);
        let end = match bench.perform(&Task::named(&name, role), Fault::None) {
            // So a shell tells that it has not found, or may not run, what it was told to.
            Ok(act) if matches!(act.outcome.end, End::Code(126 | 127)) => {
                let what = match act.journal.tries() {
                    0 => "cannot be run",
                    _ => "ran, but cannot run what it needs",
                };
                // After a request it may have said a key.
                let told = bench.last_words(&act);
                return Err(RunError::Usage(format!("the command for the SAE {what} ({}): {told}", act.outcome.end.text())));
            }
            Ok(act) => act.outcome.end,
            Err(Stop::Error(why)) => return Err(RunError::Usage(why)),
            Err(_) => End::Unknown,
        };
        drop(bench);
        self.stand.telling = match end {
            End::Unsupported => Telling::Codes,
            end => Telling::Wire(format!(
                "to a scenario of a random name it answered `{}` instead of exit 89: its exit codes cannot be believed",
                end.text()
            )),
        };
        Ok(())
    }

    fn run(mut self, out: &mut dyn Write) -> Result<Guarded, RunError> {
        let began = (OffsetDateTime::now_utc(), Instant::now());
        self.sound()?;
        let mut screen = Screen::new(self.options.quiet, self.options.colour, self.options.width);
        self.gate.begin(&screen, &self.header(), out)?;
        let mut results = Vec::new();
        let mut ended = false;
        // What looks at all output comes last.
        let (last, first): (Vec<&'static Case>, Vec<_>) =
            self.plan.cases.iter().partition(|case| case.needs.contains(&Need::Output));
        for case in first.into_iter().chain(last) {
            let mut result = if ended { self.untouched(case) } else { self.case(case) };
            self.expected.mark(&mut result, began.0);
            ended |= self.stand.interrupted.load(Ordering::SeqCst) || self.options.fail_fast && result.fails_unexpectedly();
            self.gate.case(&mut screen, &result, out)?;
            results.push(result);
        }
        let order = |result: &CaseResult| catalogue::sae().iter().position(|case| case.id == result.id);
        results.sort_by_key(order);
        let mut report = self.report(results, began);
        conclude_report(&mut report, self.stand.interrupted.load(Ordering::SeqCst));
        // All key IDs are ours, and UUIDs.
        let hidden = self.options.hide_key_ids.then(|| Hidden { ids: Vec::new(), uuids: true });
        let report = self.gate.report(&report, hidden.as_ref())?;
        self.gate.end(&screen, report, out)
    }

    fn header(&self) -> Vec<String> {
        let roles: Vec<_> = self.stand.roles.iter().map(|role| role.name()).collect();
        let mut lines = vec![
            format!(
                "qkdspec {}  catalogue {VERSION}  014@1.1.1  SAE under test as {}",
                env!("CARGO_PKG_VERSION"),
                roles.join(" and ")
            ),
            [Side::A, Side::B]
                .map(|side| {
                    format!("{} {}  {} (played by qkdspec)", side.letter(), self.stand.player.url(side, None), kme_id(side))
                })
                .join("   "),
            count(self.plan.cases.len(), "case"),
        ];
        if let Telling::Wire(why) = &self.stand.telling {
            lines.push(format!("judged by what is seen on the wire only: {why}"));
        }
        lines
    }

    /// What keeps a case from being run.
    fn obstacle(&self, case: &Case) -> Option<Stop> {
        let has = |role| self.stand.roles.contains(&role);
        for need in case.needs {
            let met = match need {
                Need::AsMaster => has(Role::Master),
                Need::AsSlave => has(Role::Slave),
                Need::AsBoth => has(Role::Master) && has(Role::Slave),
                Need::Told => match &self.stand.telling {
                    Telling::Codes => true,
                    Telling::Wire(why) => return Some(Stop::Skip(format!("cannot be seen on the wire; {why}"))),
                },
                Need::Output => match self.stand.config.client.exec {
                    Some(_) => true,
                    None => return Some(Stop::Skip("its output is not seen: it is not driven by a command".to_owned())),
                },
                _ => false,
            };
            if !met {
                return Some(Stop::Skip(format!("needs {}", need_text(*need))));
            }
        }
        None
    }

    fn case(&self, case: &'static Case) -> CaseResult {
        let mut result = self.blank(case);
        let began = Instant::now();
        if let Some(stop) = self.obstacle(case) {
            conclude(&self.stand.vault, &mut result, case, Vec::new(), Err(stop));
            return result;
        }
        let Run::Sae(function) = case.run else { return result };
        let mut bench = Bench::new(&self.stand, case, &self.fail_on);
        let outcome = catch_unwind(AssertUnwindSafe(|| function(&mut bench)))
            .unwrap_or_else(|_| Err(Stop::Error("the case panicked".to_owned())));
        // What one role kept from being judged is no matter if the other was.
        let outcome = match outcome {
            Err(Stop::Skip(why) | Stop::NotApplicable(why)) if !bench.checks.is_empty() => {
                bench.observe(why);
                Ok(())
            }
            outcome => outcome,
        };
        result.parameters = std::mem::take(&mut bench.parameters);
        result.reason = bench.observed.join("; ");
        result.evidence = std::mem::take(&mut bench.evidence);
        conclude(&self.stand.vault, &mut result, case, std::mem::take(&mut bench.checks), outcome);
        let wanted = match self.options.evidence.as_str() {
            "none" => false,
            "fail" => !matches!(result.verdict, Verdict::Pass | Verdict::Na | Verdict::Skip),
            _ => true,
        };
        if !wanted {
            result.evidence.clear();
        }
        result.ms = began.elapsed().as_secs_f64() * 1000.0;
        result
    }

    fn untouched(&self, case: &'static Case) -> CaseResult {
        let mut result = self.blank(case);
        result.verdict = Verdict::Skip;
        "the run ended before".clone_into(&mut result.reason);
        "queued".clone_into(&mut result.status);
        result
    }

    fn blank(&self, case: &Case) -> CaseResult {
        let roles = if self.stand.roles.len() > 1 { "both" } else { self.stand.roles.first().map_or("", |role| role.name()) };
        blank(case, format!("qkdspec run sae --role {roles} {}{}", case.id, self.options.again))
    }

    fn report(&self, results: Vec<CaseResult>, began: (OffsetDateTime, Instant)) -> Report {
        let client = &self.stand.config.client;
        let kmes = [Side::A, Side::B].map(|side| KmeFacts {
            name: side.letter().to_owned(),
            base_url: self.stand.player.url(side, None),
            kme_id: Some(kme_id(side).to_owned()),
            tls: None,
            cert_sha256: None,
        });
        let mut observations = BTreeMap::new();
        let roles: Vec<_> = self.stand.roles.iter().map(|role| role.name()).collect();
        observations.insert("SAE under test".to_owned(), format!("as {}", roles.join(" and ")));
        if let Telling::Wire(why) = &self.stand.telling {
            observations.insert("judged by the wire only".to_owned(), why.clone());
        }
        let driven = match (&client.exec, &client.trigger) {
            (Some(_), _) => "exec",
            (None, Some(_)) => "trigger",
            (None, None) => "manual",
        };
        observations.insert("driven by".to_owned(), driven.to_owned());
        let claims = serde_json::json!({ "kme_id_field": client.kme_id_field });
        empty_report(&self.plan, self.options, self.stand.config.product.clone(), kmes.to_vec(), claims, began, results)
            .with_observations(observations)
    }
}

/// A result before anything has happened.
pub(crate) fn blank(case: &Case, replay: String) -> CaseResult {
    CaseResult {
        id: case.id.to_owned(),
        version: case.version,
        title: case.title.to_owned(),
        level: format!("{:?}", case.level),
        requirements: case.requirements.iter().map(|id| requirement(id)).collect(),
        ambiguities: case.ambiguities.iter().map(|&id| id.to_owned()).collect(),
        impact: serde_json::to_value(case.impact).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default(),
        status: "done".to_owned(),
        verdict: Verdict::Pass,
        expected: "none".to_owned(),
        reason: String::new(),
        ics_expression: String::new(),
        checks: Vec::new(),
        parameters: BTreeMap::new(),
        sanity: BTreeMap::new(),
        keys: KeyCost::default(),
        started: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        ms: 0.0,
        evidence: Vec::new(),
        replay,
    }
}

/// A report without counts.
pub(crate) fn empty_report(
    plan: &Plan,
    options: &Options,
    product: BTreeMap<String, String>,
    kmes: Vec<KmeFacts>,
    claims: serde_json::Value,
    began: (OffsetDateTime, Instant),
    cases: Vec<CaseResult>,
) -> Report {
    let mut environment = BTreeMap::new();
    environment.insert("started".to_owned(), began.0.format(&Rfc3339).unwrap_or_default());
    environment.insert("system".to_owned(), format!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    environment.insert("fail-on".to_owned(), options.fail_on.clone());
    let profile = match options.select.as_slice() {
        [one] if one.starts_with('@') => Some(one.clone()),
        _ => None,
    };
    Report {
        schema: 1,
        tool: Tool {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("QKDSPEC_COMMIT").to_owned(),
            catalogue: VERSION.to_owned(),
        },
        validity: "self-test".to_owned(),
        target: Target { product, kmes },
        plan: PlanFacts {
            seed: format!("{:x}", plan.seed),
            sha256: plan.sha256(),
            mode: Mode::Normal.name().to_owned(),
            selection: options.select.clone(),
            profile,
            editions: BTreeMap::from([("etsi014".to_owned(), "1.1.1".to_owned())]),
        },
        ics: Ics { sha256: crate::sha256(claims.to_string().as_bytes()), claims, contradictions: Vec::new() },
        summary: Summary {
            outcome: String::new(),
            counts: BTreeMap::new(),
            failed_requirements: Vec::new(),
            exit: 0,
            seconds: began.1.elapsed().as_secs_f64(),
        },
        cases,
        ledger: LedgerFacts::default(),
        observations: BTreeMap::new(),
        environment,
        requirements: Vec::new(),
    }
}

impl Report {
    fn with_observations(mut self, observations: BTreeMap<String, String>) -> Self {
        self.observations = observations;
        self
    }
}
