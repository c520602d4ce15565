//! What a case has in hand: the SAEs, requests in their names, and checks.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bounds;
use crate::case::{Case, Level};
use crate::lab::{Answer, Key, Kme, Lab, Mode, Request, Sae, Session};
use crate::report::Check;
use crate::report::Verdict;
use crate::rng::Rng;
use crate::secret::{is_uuid, printable};
use crate::status::Limits;
use crate::wire::WireError;

/// Why a case ends before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Its purpose was not reached.
    Inconclusive(String),
    /// Something it needs is missing or forbidden.
    Skip(String),
    /// It does not apply to this KME.
    NotApplicable(String),
    /// The harness is at fault.
    Error(String),
    /// The checks have said it all.
    Judged,
    /// By the user.
    Interrupted,
}

/// The mandated messages (014-6.2-09, -13, -14, -16; 014-6.4-06).
pub(crate) mod mandated {
    pub(crate) const SIZE: &str = "size shall be a multiple of 8";
    pub(crate) const MANDATORY: &str = "not all extension_mandatory parameters are supported";
    pub(crate) const UNMET: &str = "not all extension_mandatory request options could be met";
    pub(crate) const OPTIONAL: &str = "not all extension_optional request options handled";
    pub(crate) const NOT_FOUND: &str = "one or more keys specified are not found on KME";
}

/// See the module.
pub(crate) struct Ctx<'a> {
    pub(crate) lab: &'a Lab,
    case: &'a Case,
    fail_on: &'a [Level],
    limits: &'a Limits,
    pub(crate) rng: Rng,
    pub(crate) checks: Vec<Check>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) observed: Vec<String>,
    /// The exchange that checks are about at present.
    about: Option<u64>,
    /// Stimuli that a connection was lost by when the case was run before.
    pub(crate) lost_before: HashSet<u64>,
    /// Something was not met because a KME could not be reached.
    pub(crate) away: bool,
    refused_before: u64,
    /// The exchange in which a KME said 503 to a wrong request, with keys enough.
    not_short: AtomicU64,
}

/// So often a KME with keys enough says 503 to a wrong request before it is taken for a refusal.
const SURE: u32 = 4;

/// Why an answer says nothing of the KME: it was out of reach, or says itself that it cannot at present.
pub(crate) fn unjudgeable(answer: &Answer) -> Option<String> {
    match &answer.outcome {
        Err(error @ (WireError::Connect(_) | WireError::Timeout(_) | WireError::TooMuch(_))) => Some(error.to_string()),
        Ok(response) if response.status == 503 && answer.material == 0 => Some(answer.shown.clone()),
        Ok(_) if answer.json.as_ref().err() == Some(&crate::json::TOO_MUCH) => {
            Some(format!("{}: {}", crate::json::TOO_MUCH, answer.shown))
        }
        _ => None,
    }
}

/// The KME has no key for the caller, or not yet; or cannot say.
pub(crate) fn not_yet(answer: &Answer) -> bool {
    matches!(answer.status(), Some(400 | 503))
}

/// What came, as a check shows it.
pub(crate) struct Got {
    what: String,
    /// Where it came.
    exchange: Option<u64>,
}

impl From<&Answer> for Got {
    fn from(answer: &Answer) -> Self {
        Self { what: answer.shown.clone(), exchange: Some(answer.n) }
    }
}

impl From<&String> for Got {
    fn from(what: &String) -> Self {
        Self { what: what.clone(), exchange: None }
    }
}

impl From<String> for Got {
    fn from(what: String) -> Self {
        Self { what, exchange: None }
    }
}

impl From<&str> for Got {
    fn from(what: &str) -> Self {
        Self { what: what.to_owned(), exchange: None }
    }
}

impl<'a> Ctx<'a> {
    pub(crate) fn new(lab: &'a Lab, case: &'a Case, fail_on: &'a [Level], limits: &'a Limits, rng: Rng) -> Self {
        let refused_before = lab.refused();
        let (checks, parameters, observed) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self {
            lab,
            case,
            fail_on,
            limits,
            rng,
            checks,
            parameters,
            observed,
            about: None,
            lost_before: HashSet::new(),
            away: false,
            refused_before,
            not_short: AtomicU64::new(u64::MAX),
        }
    }

    // ------------------------------------------------------------------------------------------------- who is there

    pub(crate) fn master(&self) -> Result<&'a Sae, Stop> {
        self.role(Some(&self.lab.config.roles.master), "master")
    }

    pub(crate) fn slave(&self) -> Result<&'a Sae, Stop> {
        self.role(self.lab.config.roles.slave.as_ref(), "slave")
    }

    pub(crate) fn stranger(&self) -> Result<&'a Sae, Stop> {
        self.role(self.lab.config.roles.stranger.as_ref(), "stranger")
    }

    pub(crate) fn additional(&self) -> Result<&'a Sae, Stop> {
        self.role(self.lab.config.roles.additional.first(), "additional")
    }

    fn role(&self, name: Option<&String>, role: &str) -> Result<&'a Sae, Stop> {
        let missing = || Stop::Skip(format!("no SAE has the role `{role}`"));
        self.lab.sae(name.ok_or_else(missing)?).ok_or_else(missing)
    }

    /// Two SAEs that share a KME; rather such as leave one at the other KME, to be their peer.
    pub(crate) fn neighbours(&self) -> Result<(&'a Sae, &'a Sae), Stop> {
        let saes: Vec<&Sae> = self.lab.saes().collect();
        let pairs = saes.iter().enumerate().flat_map(|(index, first)| {
            saes[index + 1..].iter().filter(|second| second.side == first.side).map(|second| (*first, *second))
        });
        let remote = |side| saes.iter().any(|sae| sae.side != side);
        // False comes before true.
        pairs.min_by_key(|(first, _)| !remote(first.side)).ok_or_else(|| Stop::Skip("no two SAEs at one KME".to_owned()))
    }

    /// A third SAE for two neighbours, at the other KME if there is one: pairs of SAEs at one KME are not every KME's business.
    pub(crate) fn peer_of(&self, first: &Sae, second: &Sae) -> Result<&'a Sae, Stop> {
        let others = self.lab.saes().filter(|sae| sae.name != first.name && sae.name != second.name);
        others.min_by_key(|sae| sae.side == first.side).ok_or_else(|| Stop::Skip("no third SAE".to_owned()))
    }

    pub(crate) fn kme(&self, sae: &Sae) -> Result<&'a Kme, Stop> {
        self.lab.kme(sae.side).ok_or_else(|| Stop::Error("an SAE at no KME".to_owned()))
    }

    /// What Status said at the beginning of the run.
    pub(crate) fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// A limit without which the case cannot be made.
    pub(crate) fn need(limit: Option<u64>, name: &str) -> Result<u64, Stop> {
        limit.ok_or_else(|| Stop::Inconclusive(format!("Status does not tell {name}: STA-002 and STA-003 judge that")))
    }

    // ---------------------------------------------------------------------------------------------------- requests

    /// Sends a request; while the KME says 503, again, until the settle time is over (014-5.3-08: it may be short of keys).
    pub(crate) fn ask(&self, sae: &Sae, request: Request) -> Result<Answer, Stop> {
        let until = Instant::now() + self.lab.config.limits.settle();
        let mut times = 0;
        loop {
            let answer = self.lab.exchange(sae, request.clone())?;
            if !(answer.is(503) && request.worst_keys > 0 && answer.material == 0) {
                return Ok(answer);
            }
            times += 1;
            // What is wrong on purpose is refused for that, if there are keys enough.
            if request.fault && times == SURE && self.told_enough(sae, &request)? == Some(true) {
                self.not_short.store(answer.n, Ordering::SeqCst);
                return Ok(answer);
            }
            let sure = !request.fault || times > SURE;
            if sure && Instant::now() >= until {
                return Ok(answer);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Sends a Get key request that is right. A KME that is short of keys may say 400, and its Status tells: then it is
    /// asked again until the settle time is over. A 400 is the KME's answer if Status told of enough before it and after it,
    /// or if it has that `text`.
    pub(crate) fn supply(&self, sae: &Sae, request: &Request, text: Option<&str>) -> Result<Answer, Stop> {
        let until = Instant::now() + self.lab.config.limits.settle();
        let mut enough_before = false;
        loop {
            let answer = self.ask(sae, request.clone())?;
            if !answer.is(400) || answer.material > 0 || text.is_some() && answer.message() == text {
                return Ok(answer);
            }
            let enough = self.stocked(sae, request)?;
            if enough && enough_before {
                return Ok(answer);
            }
            if !enough && Instant::now() >= until {
                return Err(Stop::Inconclusive(format!("short of keys, as Status has it: {}", answer.shown)));
            }
            if !enough {
                thread::sleep(Duration::from_millis(100));
            }
            enough_before = enough;
        }
    }

    /// Whether a KME may be short of keys, as far as Status can be believed; if it does not tell, nothing excuses.
    fn stocked(&self, sae: &Sae, request: &Request) -> Result<bool, Stop> {
        let liar = self.lab.passive().denies_its_stock();
        Ok(liar || self.told_enough(sae, request)?.unwrap_or(true))
    }

    /// Whether Status tells of as many bits as a request asks for.
    fn told_enough(&self, sae: &Sae, request: &Request) -> Result<Option<bool>, Stop> {
        let default = self.limits.key_size.unwrap_or(256);
        let wanted = i128::from(request.worst_keys) * i128::from(request.size.unwrap_or(default));
        let mut enough = None;
        for peer in &request.peers {
            let answer = self.status(sae, peer)?;
            let told = |name| answer.member(name).and_then(crate::json::Json::integer);
            let stored = told("stored_key_count").zip(told("key_size")).map(|(count, bits)| count.saturating_mul(bits));
            if stored.is_some_and(|stored| stored < wanted) {
                return Ok(Some(false));
            }
            enough = enough.or(stored.map(|_| true));
        }
        Ok(enough)
    }

    /// Sends a request about keys just drawn, again until `decided` or the settle time is over (A-21: they may be on their way).
    pub(crate) fn ask_settled(&self, sae: &Sae, request: &Request, decided: fn(&Answer) -> bool) -> Result<Answer, Stop> {
        let until = Instant::now() + self.lab.config.limits.settle();
        loop {
            let answer = self.lab.exchange(sae, request.clone())?;
            if decided(&answer) || Instant::now() >= until {
                return Ok(answer);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn status(&self, sae: &Sae, peer: &str) -> Result<Answer, Stop> {
        self.lab.exchange(sae, Request::status(peer))
    }

    /// A connection on which several requests can be sent.
    pub(crate) fn connect(&self, sae: &Sae) -> Result<Session<'a>, Stop> {
        self.lab.connect(sae)
    }

    /// Master draws `number` keys of the default size for the slave, as a preparation: what is wrong here is judged elsewhere.
    pub(crate) fn draw(&mut self, number: u64) -> Result<Vec<Key>, Stop> {
        let slave = self.slave()?.id.clone();
        self.draw_for(self.master()?, &slave, number)
    }

    /// The same for any two.
    pub(crate) fn draw_for(&mut self, master: &Sae, slave: &str, number: u64) -> Result<Vec<Key>, Stop> {
        if number == 0 {
            return Err(Stop::Inconclusive("Status says that no key is delivered per request, which STA-009 judges".to_owned()));
        }
        let mut keys: Vec<Key> = Vec::new();
        // A KME may deliver one key per request only.
        let most = self.limits.max_per_request.unwrap_or(1).clamp(1, number);
        while (keys.len() as u64) < number {
            let some = most.min(number - keys.len() as u64);
            let body = if some == 1 { "{}".to_owned() } else { format!("{{\"number\":{some}}}") };
            let answer = self.ask(master, Request::post_key(slave, &body).worst(some))?;
            if !answer.is(200) || answer.keys.len() as u64 != some {
                return Err(Stop::Inconclusive(format!("no keys to test with: {}", answer.shown)));
            }
            keys.extend(answer.keys);
        }
        Ok(keys)
    }

    /// Slave asks for keys by POST until it gets them or the settle time is over.
    pub(crate) fn collect<T: AsRef<str>>(&self, slave: &Sae, master: &str, ids: &[T]) -> Result<Answer, Stop> {
        self.ask_settled(slave, &Request::post_ids(master, ids), |answer| !not_yet(answer))
    }

    /// `number` keys for the slave that have arrived at its KME: another one, drawn together with them or after them, was
    /// fetched there.
    pub(crate) fn arrived(&mut self, number: u64) -> Result<Vec<Key>, Stop> {
        self.arrived_for(self.master()?, self.slave()?, number)
    }

    /// The same for any two.
    pub(crate) fn arrived_for(&mut self, master: &Sae, slave: &Sae, number: u64) -> Result<Vec<Key>, Stop> {
        let mut keys = self.draw_for(master, &slave.id, number + 1)?;
        let proof: Vec<Key> = keys.pop().into_iter().collect();
        let answer = self.collect(slave, &master.id, &proof.iter().map(|key| key.id.as_str()).collect::<Vec<_>>())?;
        if !answer.is(200) {
            return Err(Stop::Inconclusive(format!("no key could be fetched, which DEC-001 judges: {}", answer.shown)));
        }
        Ok(keys)
    }

    /// Leaves the slave a key to ask for, so that it is somebody who may ask: others may be refused before anything is looked
    /// at. Not in safe mode.
    pub(crate) fn entitle(&mut self) -> Result<(), Stop> {
        if self.lab.mode == Mode::Safe {
            return Ok(());
        }
        match self.arrived(1) {
            Err(Stop::Inconclusive(why)) => self.observe(format!("asked by a slave without a key to fetch: {why}")),
            other => drop(other?),
        }
        Ok(())
    }

    /// SAE IDs that nobody has: one that tells so, and one that looks like the slave's, since a KME with a form of its own may
    /// refuse the first for its form.
    pub(crate) fn nobodies(&mut self) -> Result<Vec<String>, Stop> {
        let like = alike(&self.slave()?.id, &mut self.rng).unwrap_or_else(|| self.fresh_id());
        let mut names = vec![format!("nobody-{}", &self.fresh_id()[..8])];
        if self.lab.saes().all(|sae| sae.id != like) {
            names.push(like);
        }
        Ok(names)
    }

    /// A key ID that nobody has drawn.
    pub(crate) fn fresh_id(&mut self) -> String {
        let mut octets = self.rng.octets::<16>();
        octets[6] = octets[6] & 0x0f | 0x40;
        octets[8] = octets[8] & 0x3f | 0x80;
        let hex = crate::hex(&octets);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    // ------------------------------------------------------------------------------------------------------ checks

    pub(crate) fn level(&self) -> Level {
        self.case.level
    }

    /// Enters a check at the case's own level.
    pub(crate) fn check(&mut self, part: &str, met: bool, accepted: &str, got: impl Into<Got>) {
        self.check_at(self.case.level, part, met, accepted, got);
    }

    /// Enters a check at another level.
    pub(crate) fn check_at(&mut self, level: Level, part: &str, met: bool, accepted: &str, got: impl Into<Got>) {
        // A KME that restarts in between has not failed; one that goes down by a stimulus, or is restarted by the case, may have.
        if !met && !self.case.negative && !self.case.needs_hook() && self.lab.refused() > self.refused_before {
            self.away = true;
            return;
        }
        let got: Got = got.into();
        let verdict = judged(met, level, self.fail_on);
        let level = if level == self.case.level { String::new() } else { format!("{level:?}") };
        // What a KME says gets into checks here, and nowhere else.
        let told = |text: &str| self.lab.vault.told(text, bounds::TOLD);
        let check = Check {
            part: printable(part),
            verdict,
            level,
            accepted: told(accepted),
            got: told(&got.what),
            exchange: self.about.or(got.exchange),
        };
        self.checks.push(check);
    }

    /// Records what cannot be wrong.
    pub(crate) fn observe(&mut self, what: impl Into<String>) {
        self.observed.push(self.lab.vault.told(&what.into(), bounds::TOLD));
    }

    /// The outcome of a stimulus to which the standard says nothing.
    pub(crate) fn observe_answer(&mut self, stimulus: &str, answer: &Answer) {
        self.observe(format!("{stimulus}: {}", answer.shown));
    }

    /// Ends the case if an answer says nothing of the KME. A connection that is lost says nothing the first time: if the
    /// same stimulus loses it again, that is the KME's answer.
    pub(crate) fn judgeable(&self, answer: &Answer) -> Result<(), Stop> {
        if self.is_not_short(answer) {
            return Ok(());
        }
        let lost = answer.is_lost() && !self.lost_before.contains(&answer.stimulus);
        match unjudgeable(answer).or_else(|| lost.then(|| answer.shown.clone())) {
            Some(why) => Err(Stop::Inconclusive(why)),
            None => Ok(()),
        }
    }

    /// 503 that is no want of keys.
    fn is_not_short(&self, answer: &Answer) -> bool {
        answer.is(503) && self.not_short.load(Ordering::SeqCst) == answer.n
    }

    /// Keys in an answer to a Get key request that is right: 200 with exactly `number` keys of `bits` bits.
    pub(crate) fn expect_keys(&mut self, answer: Answer, number: u64, bits: Option<u64>) -> Result<Vec<Key>, Stop> {
        self.expect_keys_at(self.case.level, answer, number, bits)
    }

    /// The same where a refusal weighs less than a wrong answer.
    pub(crate) fn expect_keys_at(
        &mut self,
        refusal: Level,
        answer: Answer,
        number: u64,
        bits: Option<u64>,
    ) -> Result<Vec<Key>, Stop> {
        self.expect_code_200(refusal, &answer)?;
        self.about = Some(answer.n);
        let container = format!("`keys`, an array of {number} objects with strings `key_ID` and `key`");
        let listed = answer.member("keys").and_then(crate::json::Json::array).map_or(0, <[_]>::len) as u64;
        self.check("container", listed == answer.keys.len() as u64 && listed > 0, &container, &answer);
        let count = answer.keys.len() as u64;
        self.check("number", count == number, &format!("{number} keys"), format!("{count} keys"));
        if let Some(bits) = bits {
            let octets = bits.div_ceil(8);
            let got: Vec<_> = answer.keys.iter().map(|key| key.octets.as_ref().map(|octets| octets.len() as u64)).collect();
            let right = got.iter().all(|length| *length == Some(octets));
            let told: Vec<_> =
                got.iter().map(|length| length.map_or("not base64".to_owned(), |octets| format!("{}", octets * 8))).collect();
            self.check("size", right, &format!("{bits} bits"), format!("bits: {}", told.join(", ")));
        }
        self.about = None;
        Ok(answer.keys)
    }

    /// 200; or else the case is over.
    pub(crate) fn expect_code_200(&mut self, level: Level, answer: &Answer) -> Result<(), Stop> {
        self.judgeable(answer)?;
        self.check_at(level, "code", answer.is(200), "200", answer);
        if answer.is(200) { Ok(()) } else { Err(Stop::Judged) }
    }

    /// A slave's answer holds exactly `drawn`, octet for octet.
    pub(crate) fn expect_same(&mut self, answer: &Answer, drawn: &[Key]) -> Result<(), Stop> {
        self.judgeable(answer)?;
        // Not found may be told all the time until limits.settle_ms, and no longer.
        let got = if answer.is(400) {
            format!("{}, {} ms after it was drawn", answer.shown, self.lab.config.limits.settle_ms)
        } else {
            answer.shown.clone()
        };
        self.about = Some(answer.n);
        self.check("code", answer.is(200), "200", got);
        self.about = None;
        if !answer.is(200) {
            return Err(Stop::Judged);
        }
        let same_ids = answer.keys.len() == drawn.len() && drawn.iter().all(|key| answer.key(&key.id).is_some());
        self.check("key IDs", same_ids, "the IDs asked for, each once, and no other", answer);
        let differing: Vec<_> = drawn
            .iter()
            .filter_map(|key| Some((key, answer.key(&key.id)?)))
            .filter(|(drawn, got)| drawn.fingerprint.is_none() || drawn.fingerprint != got.fingerprint)
            .collect();
        let got = match differing.first() {
            Some((drawn, got)) => {
                format!(
                    "{} of {}: fp {:?} at the master, {:?} at the slave",
                    differing.len(),
                    drawn.id,
                    drawn.fingerprint,
                    got.fingerprint
                )
            }
            None => "equal".to_owned(),
        };
        self.check("key material", differing.is_empty(), "the same octets as at the master", got);
        Ok(())
    }

    /// A refusal in three parts: code, shape of the Error body, literal message; and nothing was delivered.
    pub(crate) fn expect_refusal(&mut self, answer: &Answer, codes: &[u16], text: Option<&str>) -> Result<(), Stop> {
        self.expect_refusal_worded(self.case.level, answer, codes, text)
    }

    /// The same of a request by GET. A KME that does not offer GET, which is a derived finding of ENC-002 or DEC-002, may say
    /// so by 400: as long as GET has not been served, other words than the mandated ones weigh no more, if POST gets these.
    pub(crate) fn expect_refusal_by_get(
        &mut self,
        offered: bool,
        answer: &Answer,
        codes: &[u16],
        text: Option<&str>,
    ) -> Result<(), Stop> {
        let worded = self.checks.iter().all(|check| check.part != "text" || check.verdict == Verdict::Pass);
        let level = if offered || !worded { self.case.level } else { self.case.level.max(Level::D) };
        self.expect_refusal_worded(level, answer, codes, text)
    }

    fn expect_refusal_worded(&mut self, wording: Level, answer: &Answer, codes: &[u16], text: Option<&str>) -> Result<(), Stop> {
        self.judgeable(answer)?;
        let accepted: Vec<_> = codes.iter().map(u16::to_string).collect();
        let coded = answer.status().is_some_and(|status| codes.contains(&status));
        self.about = Some(answer.n);
        if self.is_not_short(answer) {
            let got = format!("{}, though Status tells of keys enough", answer.shown);
            self.check_at(self.case.level.max(Level::D), "code", coded, &accepted.join(" or "), got);
        } else {
            self.check("code", coded, &accepted.join(" or "), answer);
        }
        self.check("no key", answer.material == 0, "no key in the answer", answer);
        if matches!(answer.status(), Some(400 | 503)) {
            let message = answer.message();
            self.check("shape", message.is_some(), "an object with a string `message`", answer);
            if let (Some(text), Some(message), Some(400)) = (text, message, answer.status()) {
                self.check_at(wording, "text", message == text, &format!("\"{text}\""), answer);
            }
        }
        self.about = None;
        Ok(())
    }

    /// Any refusal by the client's fault: 4xx, and nothing delivered.
    pub(crate) fn expect_client_error(&mut self, answer: &Answer) -> Result<(), Stop> {
        if !answer.serves() {
            self.judgeable(answer)?;
        }
        let refused = answer.status().is_some_and(|status| (400..500).contains(&status));
        self.check("code", refused, "4xx", answer);
        self.check("no key", !answer.serves(), "neither key nor Status", answer);
        Ok(())
    }

    /// Nothing is delivered, whatever the answer: an error, or a closed connection. No answer in time is none.
    pub(crate) fn expect_nothing_served(&mut self, part: &str, answer: &Answer) -> Result<(), Stop> {
        if let Some(why) = unjudgeable(answer) {
            return Err(Stop::Inconclusive(why));
        }
        self.check(part, !answer.serves(), "no key and no Status", answer);
        Ok(())
    }
}

/// A name of the same form as another, if it is long enough to be nobody's; of digits, one that fits into 32 bits.
fn alike(id: &str, rng: &mut Rng) -> Option<String> {
    if is_uuid(id) {
        return None;
    }
    let mut any = |from: u8, count: u64| char::from(from + u8::try_from(rng.next() % count).unwrap_or(0));
    if !id.is_empty() && id.bytes().all(|octet| octet.is_ascii_digit()) {
        return Some((0..id.len().max(5)).map(|at| if at == 0 && id.len() <= 9 { '9' } else { any(b'0', 10) }).collect());
    }
    let like = id.chars().map(|c| match c {
        '0'..='9' => any(b'0', 10),
        'a'..='z' => any(b'a', 26),
        'A'..='Z' => any(b'A', 26),
        c => c,
    });
    Some(like.collect())
}

/// What a check comes to at a level.
pub(crate) fn judged(met: bool, level: Level, fail_on: &[Level]) -> Verdict {
    match (met, level) {
        (true, _) | (false, Level::O) => Verdict::Pass,
        (false, level) if fail_on.contains(&level) => Verdict::Fail,
        (false, _) => Verdict::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_invented_after_another() {
        let mut rng = Rng::new(7, "names");
        let digits = alike("1", &mut rng).expect("a name");
        assert!(digits.len() == 5 && digits.parse::<u32>().is_ok(), "{digits}");
        assert!(alike("123456789", &mut rng).expect("a name").parse::<u32>().is_ok());
        let name = alike("Sae-07.example", &mut rng).expect("a name");
        assert!(name.len() == 14 && &name[3..4] == "-" && &name[6..7] == "." && name != "Sae-07.example", "{name}");
        assert!(name[4..6].bytes().all(|octet| octet.is_ascii_digit()), "{name}");
        assert!(alike("7f0e1a34-0000-4000-8000-0123456789ab", &mut rng).is_none(), "a key ID will do");
    }
}
