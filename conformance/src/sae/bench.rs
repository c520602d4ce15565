//! What a case of an SAE has in hand: ways to make the SAE act, what it did, and checks.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use time::format_description::well_known::Rfc3339;

use super::config::ClientConfig;
use super::drive::{self, End, Outcome};
use super::task::{Role, Task};
use super::trigger;
use crate::bounds::{HEADERS_SHOWN, SHOWN, SHOWN_OF_EACH, TOLD};
use crate::case::{Case, Level};
use crate::ctx::{Stop, judged};
use crate::lab::printable;
use crate::player::{Fault, First, Journal, Player, Stage, kme_id, with};
use crate::report::{Check, Exchange, Message};
use crate::secret::{Vault, searched, without_keys};
use crate::wire::percent_encoded;

/// Octets of what a check, or an observation, tells: what the SAE did, and the end of what it said.
const SAID: usize = 3 * TOLD;
/// Tries after which nobody need watch any longer.
const ENOUGH: u64 = 200;

/// Requests of a scenario that are all shown.
const MANY: u64 = SHOWN_OF_EACH as u64;

/// How much an SAE tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Its exit codes can be believed: it does not know what nobody could.
    Codes,
    /// Only what it does on the wire counts, and why.
    Wire(String),
}

/// What all cases of a run share.
pub(crate) struct Stand {
    pub(crate) config: ClientConfig,
    pub(crate) player: Player,
    pub(crate) vault: Arc<Vault>,
    pub(crate) salt: String,
    pub(crate) roles: Vec<Role>,
    pub(crate) telling: Telling,
    pub(crate) interrupted: Arc<AtomicBool>,
    /// Files of an SAE: certificate and key of each role, and the authority.
    pub(crate) files: BTreeMap<Role, (PathBuf, PathBuf)>,
    pub(crate) ca: PathBuf,
    /// Tasks tried against good KMEs: whether they work, or why not.
    pub(crate) known: RefCell<BTreeMap<Task, Result<(), NotWorking>>>,
    /// Where keys were found that nobody should see.
    pub(crate) betrayed: RefCell<Vec<String>>,
    /// Commands whose output was searched.
    pub(crate) searched: RefCell<u64>,
    /// Good requests of the survey.
    pub(crate) survey: RefCell<Option<Vec<super::requests::Look>>>,
    /// Tells a person what to do.
    pub(crate) announce: fn(&str),
}

/// Why a task cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotWorking {
    Unsupported,
    Fails(String),
}

/// What an SAE did in one go.
pub(crate) struct Act {
    pub(crate) task: Task,
    pub(crate) outcome: Outcome,
    pub(crate) journal: Journal,
    pub(crate) stage: Arc<Stage>,
    /// IDs that were told to a slave, in that order.
    pub(crate) told: Vec<String>,
    /// The SAE's end was seen, that of its process; otherwise it was watched, until then.
    pub(crate) ended: bool,
    pub(crate) watched_until: Instant,
}

impl Act {
    /// ID and fingerprint, as in the journal, of every key that was in an answer.
    pub(crate) fn supplied(&self) -> impl Iterator<Item = &(String, String)> {
        self.journal.requests.iter().flat_map(|seen| &seen.keys)
    }

    /// Requests for keys.
    pub(crate) fn key_requests(&self) -> impl Iterator<Item = &crate::player::Seen> {
        let about_keys =
            |seen: &&crate::player::Seen| seen.asked.api().is_some_and(|(method, _)| matches!(method, "enc_keys" | "dec_keys"));
        self.journal.requests.iter().filter(about_keys)
    }

    /// Whether it says, or shows, that it took keys.
    pub(crate) fn took_keys(&self) -> bool {
        self.outcome.end == End::Done || !self.outcome.lines.is_empty()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = self.outcome.end.text();
        match self.outcome.lines.len() {
            0 => {}
            1 => text.push_str(", 1 key printed"),
            count => text.push_str(&format!(", {count} keys printed")),
        }
        match self.journal.tries() {
            0 => text.push_str(", no request"),
            1 => text.push_str(", 1 request"),
            count => text.push_str(&format!(", {count} requests")),
        }
        text
    }
}

/// See the module.
pub(crate) struct Bench<'a> {
    pub(crate) stand: &'a Stand,
    case: &'a Case,
    fail_on: &'a [Level],
    pub(crate) checks: Vec<Check>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) observed: Vec<String>,
    pub(crate) evidence: Vec<Exchange>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(stand: &'a Stand, case: &'a Case, fail_on: &'a [Level]) -> Self {
        let (checks, parameters, observed, evidence) = Default::default();
        Self { stand, case, fail_on, checks, parameters, observed, evidence }
    }

    pub(crate) fn level(&self) -> Level {
        self.case.level
    }

    pub(crate) fn accepted(&self) -> &'static str {
        self.case.accepted
    }

    // ---------------------------------------------------------------------------------------------------- the SAE acts

    pub(crate) fn roles(&self) -> Vec<Role> {
        self.stand.roles.clone()
    }

    /// Whether exit codes and fingerprints can be relied on.
    pub(crate) fn tells(&self) -> bool {
        self.stand.telling == Telling::Codes
    }

    /// Makes the SAE do `task` while the KMEs play `fault`, once it is known that it can do it with good ones.
    pub(crate) fn act(&mut self, task: &Task, fault: Fault) -> Result<Act, Stop> {
        self.works(task)?;
        self.perform(task, fault)
    }

    /// A refusal proves nothing if the SAE never works.
    pub(crate) fn works(&mut self, task: &Task) -> Result<(), Stop> {
        let known = self.stand.known.borrow().get(task).cloned();
        let works = match known {
            Some(works) => works,
            None => {
                let act = self.perform(task, Fault::None)?;
                let works = self.judge_good(&act);
                self.stand.known.borrow_mut().insert(task.clone(), works.clone());
                works
            }
        };
        works.map_err(|why| match why {
            NotWorking::Unsupported => Stop::NotApplicable(format!("the SAE does not support `{}` (exit 89)", task.name)),
            NotWorking::Fails(why) => {
                Stop::Inconclusive(format!("{}: does not work with KMEs that do nothing wrong: {why}", task.text()))
            }
        })
    }

    fn judge_good(&self, act: &Act) -> Result<(), NotWorking> {
        if act.outcome.end == End::Unsupported {
            return Err(NotWorking::Unsupported);
        }
        let fails = |why: String| Err(NotWorking::Fails(why));
        if self.tells() && act.outcome.end != End::Done {
            return fails(format!("{}; {}", act.text(), self.last_words(act)));
        }
        let wants_status = act.task.name == "status";
        let supplied = act.supplied().count();
        if !wants_status && supplied == 0 {
            let why = act.journal.requests.last().map(|seen| format!("; answered {} {}", seen.status, seen.shown));
            return fails(format!("no keys were fetched: {}{}", act.text(), why.unwrap_or_default()));
        }
        if wants_status && !act.journal.requests.iter().any(|seen| seen.status == 200) {
            return fails(format!("no Status was fetched: {}", act.text()));
        }
        if self.tells() && !wants_status && act.outcome.lines.is_empty() {
            return fails("it printed no line `key_ID fingerprint`".to_owned());
        }
        if self.tells()
            && let Some((id, _)) = act.outcome.lines.iter().find(|line| !self.is_right(act, line))
        {
            return fails(format!("the fingerprint it printed for {id} is not that of the key"));
        }
        Ok(())
    }

    /// Whether a printed line is a key of the stage and its fingerprint.
    pub(crate) fn is_right(&self, act: &Act, (id, fingerprint): &(String, String)) -> bool {
        act.stage.fingerprint(id, &self.stand.salt).is_some_and(|right| right.starts_with(fingerprint.as_str()))
    }

    /// Makes the SAE do it, whatever comes of it.
    pub(crate) fn perform(&mut self, task: &Task, fault: Fault) -> Result<Act, Stop> {
        let stand = self.stand;
        if stand.interrupted.load(Ordering::SeqCst) {
            return Err(Stop::Interrupted);
        }
        let stage = stand.player.play(with(fault)).map_err(Stop::Error)?;
        let mut told = stand.player.deposit(&stage, task.deposit);
        if task.reversed {
            told.reverse();
        }
        let environment = stand.environment(task, &told);
        let client = &stand.config.client;
        let own = client.scenarios.get(&task.name);
        // Whether it goes on is seen by watching it as long as a command would be given.
        let watch = fault.is_refusal().then(|| client.timeout());
        let outcome = match (&client.exec, &client.trigger) {
            (Some(command), _) => {
                let command = own.unwrap_or(command);
                let measure = self.case.id == "SAE14-BAD-009";
                drive::exec(command, &environment, stand.config.command_folder(), client.timeout(), measure, &stand.interrupted)
                    .map_err(Stop::Error)?
            }
            (None, Some(url)) => {
                let began = Instant::now();
                trigger::call(own.unwrap_or(url), &environment, client.timeout()).map_err(Stop::Inconclusive)?;
                self.until_quiet(&stage, began, client.timeout(), watch)
            }
            (None, None) => {
                let began = Instant::now();
                (stand.announce)(&format!(
                    "waiting: make the SAE do this now: {}{}; KME {}, peer {}{}",
                    task.text(),
                    own.map(|hint| format!(" ({hint})")).unwrap_or_default(),
                    stand.player.url(task.role.side(), task.host.as_deref()),
                    stand.peer(task),
                    if told.is_empty() { String::new() } else { format!(", key IDs {}", told.join(" ")) },
                ));
                self.until_quiet(&stage, began, client.patience(), watch)
            }
        };
        if stand.interrupted.load(Ordering::SeqCst) {
            return Err(Stop::Interrupted);
        }
        // A connection just made, or just closed, may still be on its way to the journal.
        thread::sleep(Duration::from_millis(20));
        let ended = client.exec.is_some();
        let until = Instant::now() + Duration::from_secs(1);
        while ended && stage.look(Journal::is_answering) && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
        let watched_until = Instant::now();
        let act = Act { task: task.clone(), outcome, journal: stage.journal(), stage, told, ended, watched_until };
        self.enter(&act);
        Ok(act)
    }

    /// Without exit codes: it is over when nothing has happened for a while, and no answer is on its way; or, with `watch`, when
    /// it was watched so long since it was heard of, or does what no SAE ought to.
    fn until_quiet(&self, stage: &Stage, began: Instant, patience: Duration, watch: Option<Duration>) -> Outcome {
        let quiet = self.stand.config.client.quiet();
        loop {
            thread::sleep(Duration::from_millis(50));
            let (heard, answering, tries) = stage.look(|seen| (seen.heard(), seen.is_answering(), seen.tries()));
            let over = match (heard, watch) {
                (Some((first, _)), Some(watch)) => first.elapsed() > watch || tries > ENOUGH,
                (Some((_, last)), None) => last.elapsed() > quiet && !answering || began.elapsed() > patience,
                (None, _) => began.elapsed() > patience,
            };
            if over || self.stand.interrupted.load(Ordering::SeqCst) {
                return Outcome::unseen(began.elapsed());
            }
        }
    }

    /// Searches what was said, and keeps what was done.
    fn enter(&mut self, act: &Act) {
        let stand = self.stand;
        let scenario = act.stage.scenario.id;
        *stand.searched.borrow_mut() += 1;
        for (name, octets) in [("standard output", &act.outcome.stdout), ("standard error", &act.outcome.stderr)] {
            if stand.vault.betrayed_or_spelt_by(octets) {
                stand.betrayed.borrow_mut().push(format!("{name} of {}, scenario {scenario}", act.task.text()));
            }
        }
        let spoken = act.journal.requests.iter().any(|seen| {
            let headers = seen.asked.headers.iter().map(|(_, value)| value.as_bytes());
            headers.chain([seen.asked.target.as_bytes(), &seen.asked.body]).any(|text| stand.vault.betrayed_or_spelt_by(text))
        });
        if spoken {
            stand.betrayed.borrow_mut().push(format!("a request of {}, scenario {scenario}", act.task.text()));
        }
        if let Some(dropped) = act.journal.dropped() {
            self.observe(format!("{}, {scenario}: {dropped}", act.task.text()));
        }
        let said = if act.outcome.end == End::Done { String::new() } else { format!("; {}", self.last_words(act)) };
        let count = self.parameters.len() + 1;
        let shown = match act.journal.tries() {
            0..=MANY => String::new(),
            tries => format!("; of {tries} requests, {SHOWN_OF_EACH} are shown"),
        };
        self.parameters.insert(format!("{count} {}", act.task.text()), format!("KMEs: {scenario}. {}{said}{shown}", act.text()));
        self.evidence.extend(exchanges(act, self.evidence.len() as u64, &stand.vault));
    }

    /// The end of what it said, fit to be shown.
    pub(crate) fn last_words(&self, act: &Act) -> String {
        let said = act.outcome.said();
        // In a vault that is full not every key is known.
        let said = if self.stand.vault.is_full() { String::new() } else { self.stand.vault.censored(said.trim()) };
        // Before it is cut: half a key need not look like one.
        let said = without_keys(&said);
        let start = said.len().saturating_sub(300);
        let start = (start..=said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(said.len());
        match said.is_empty() {
            true => "it said nothing".to_owned(),
            false => format!("it said: {}", printable(&said[start..])),
        }
    }

    // ---------------------------------------------------------------------------------------------------------- checks

    /// Enters a check at the case's own level.
    pub(crate) fn check(&mut self, part: &str, met: bool, accepted: &str, got: impl Into<String>) {
        self.check_at(self.case.level, part, met, accepted, got);
    }

    /// Enters a check at another level.
    pub(crate) fn check_at(&mut self, level: Level, part: &str, met: bool, accepted: &str, got: impl Into<String>) {
        let verdict = judged(met, level, self.fail_on);
        let level = if level == self.case.level { String::new() } else { format!("{level:?}") };
        let got = self.stand.vault.told(&got.into(), SAID);
        self.checks.push(Check { part: part.to_owned(), verdict, level, accepted: accepted.to_owned(), got, exchange: None });
    }

    /// Records what cannot be wrong.
    pub(crate) fn observe(&mut self, what: impl Into<String>) {
        self.observed.push(self.stand.vault.told(&what.into(), SAID));
    }

    /// The SAE came to the KMEs at all.
    pub(crate) fn expect_contact(&self, act: &Act) -> Result<(), Stop> {
        if act.journal.connections.is_empty() && act.journal.plain.is_empty() {
            return Err(Stop::Inconclusive(format!("the SAE did not connect: {}", act.text())));
        }
        Ok(())
    }

    /// It neither crashed nor hung.
    pub(crate) fn check_orderly(&mut self, part: &str, act: &Act) {
        if !self.tells() {
            return;
        }
        let orderly = !matches!(act.outcome.end, End::Signal(_) | End::TimedOut);
        self.check_at(Level::H, part, orderly, "an end of its own, no crash", act.text());
    }
}

impl Stand {
    /// The other SAE.
    pub(crate) fn peer<'a>(&'a self, task: &'a Task) -> &'a str {
        task.peer.as_deref().unwrap_or(match task.role {
            Role::Master => &self.config.client.slave_id,
            Role::Slave => &self.config.client.master_id,
        })
    }

    /// The SAE itself.
    pub(crate) fn own(&self, role: Role) -> &str {
        match role {
            Role::Master => &self.config.client.master_id,
            Role::Slave => &self.config.client.slave_id,
        }
    }

    /// What a command is told.
    pub(crate) fn environment(&self, task: &Task, told: &[String]) -> Vec<(&'static str, String)> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let files = |role: Role| self.files.get(&role).map(|(cert, key)| (path(cert), path(key))).unwrap_or_default();
        let (cert, key) = files(task.role);
        let mut environment = vec![
            ("QKDSPEC_SCENARIO", task.name.clone()),
            ("QKDSPEC_ROLE", task.role.name().to_owned()),
            ("QKDSPEC_KME", self.player.url(task.role.side(), task.host.as_deref())),
            ("QKDSPEC_KME_ID", kme_id(task.role.side()).to_owned()),
            ("QKDSPEC_SAE", self.own(task.role).to_owned()),
            ("QKDSPEC_PEER", self.peer(task).to_owned()),
            ("QKDSPEC_CERT", cert),
            ("QKDSPEC_KEY", key),
            ("QKDSPEC_CA", path(&self.ca)),
            ("QKDSPEC_FP_SALT", self.salt.clone()),
            ("QKDSPEC_KEY_IDS", told.join(" ")),
        ];
        if let Some(number) = task.number {
            environment.push(("QKDSPEC_NUMBER", number.to_string()));
        }
        if let Some(size) = task.size {
            environment.push(("QKDSPEC_SIZE", size.to_string()));
        }
        if task.name == "session" {
            let (cert, key) = files(Role::Slave);
            environment.extend([
                ("QKDSPEC_PEER_KME", self.player.url(Role::Slave.side(), None)),
                ("QKDSPEC_PEER_KME_ID", kme_id(Role::Slave.side()).to_owned()),
                ("QKDSPEC_PEER_CERT", cert),
                ("QKDSPEC_PEER_KEY", key),
            ]);
        }
        environment
    }
}

/// Replaces `{name}` by what a command would find as `QKDSPEC_NAME`, percent-encoded.
pub(crate) fn filled(template: &str, environment: &[(&'static str, String)]) -> String {
    environment.iter().fold(template.to_owned(), |text, (name, value)| {
        let name = name.trim_start_matches("QKDSPEC_").to_ascii_lowercase();
        text.replace(&format!("{{{name}}}"), &percent_encoded(value))
    })
}

/// The journal as evidence.
fn exchanges(act: &Act, after: u64, vault: &Vault) -> Vec<Exchange> {
    let role = |side| if side == Role::Master.side() { "master" } else { "slave" };
    let connections =
        act.journal.connections.iter().filter(|connection| connection.tls.is_none()).take(SHOWN_OF_EACH).map(|connection| {
            let what = match (&connection.first, &connection.old, &connection.failed) {
                (_, Some(old), _) => format!("TLS 1.1 was chosen: {old:?}"),
                (First::PlainHttp, ..) => "HTTP without TLS".to_owned(),
                (_, _, Some(failed)) => failed.clone(),
                _ => "the connection was closed before a handshake".to_owned(),
            };
            (
                connection.at,
                Exchange {
                    n: 0,
                    at: connection.when.format(&Rfc3339).unwrap_or_default(),
                    ms: 0.0,
                    actor: role(connection.side).to_owned(),
                    kme: connection.side.letter().to_owned(),
                    tls: None,
                    request: message("(connection)".to_owned(), Vec::new(), None),
                    response: None,
                    error: Some(vault.told(&what, SAID)),
                },
            )
        });
    let requests = act.journal.requests.iter().take(SHOWN_OF_EACH).map(|seen| {
        let body = String::from_utf8_lossy(&seen.asked.body[..seen.asked.body.len().min(SHOWN)]).into_owned();
        let body = Some(vault.told(&without_keys(&body), 1000)).filter(|body| !body.is_empty());
        let header = |(name, value): &(String, String)| {
            (vault.told(&without_keys(searched(name)), 100), vault.told(&without_keys(searched(value)), 200))
        };
        let line = vault.told(&format!("{} {}", seen.asked.method, seen.asked.target), 1000);
        let response = message(
            format!("HTTP/1.1 {}", seen.status),
            seen.headers.clone(),
            Some(seen.shown.clone()).filter(|shown| !shown.is_empty()),
        );
        (
            seen.at,
            Exchange {
                n: 0,
                at: seen.when.format(&Rfc3339).unwrap_or_default(),
                ms: 0.0,
                actor: role(seen.side).to_owned(),
                kme: seen.side.letter().to_owned(),
                tls: seen.tls.clone(),
                request: message(line, seen.asked.headers.iter().take(HEADERS_SHOWN).map(header).collect(), body),
                response: Some(response),
                error: seen.cut.clone(),
            },
        )
    });
    let mut all: Vec<_> = connections.chain(requests).collect();
    all.sort_by_key(|(at, _)| *at);
    let numbered = all.into_iter().zip(after + 1..).map(|((_, exchange), n)| Exchange { n, ..exchange });
    numbered.collect()
}

fn message(line: String, headers: Vec<(String, String)>, body: Option<String>) -> Message {
    Message { line, headers, body, raw_b64: None, truncated_at: None }
}

/// IDs without regard to letter case.
pub(crate) fn same_ids<'a>(left: impl IntoIterator<Item = &'a String>, right: impl IntoIterator<Item = &'a String>) -> bool {
    let set = |ids: &mut dyn Iterator<Item = &'a String>| ids.map(|id| id.to_ascii_lowercase()).collect::<BTreeSet<_>>();
    set(&mut left.into_iter()) == set(&mut right.into_iter())
}
