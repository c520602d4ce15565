//! What a case has in hand: the SAEs, requests in their names, and checks.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Level};
use crate::lab::{Answer, Api, Key, Kme, Lab, Request, Sae, Session};
use crate::report::Check;
use crate::report::Verdict;
use crate::rng::Rng;
use crate::status::Limits;

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
}

impl<'a> Ctx<'a> {
    pub(crate) fn new(lab: &'a Lab, case: &'a Case, fail_on: &'a [Level], limits: &'a Limits, rng: Rng) -> Self {
        Self { lab, case, fail_on, limits, rng, checks: Vec::new(), parameters: BTreeMap::new(), observed: Vec::new() }
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

    /// Two SAEs that share a KME.
    pub(crate) fn neighbours(&self) -> Result<(&'a Sae, &'a Sae), Stop> {
        let saes: Vec<&Sae> = self.lab.saes().collect();
        let pair = saes.iter().enumerate().find_map(|(index, first)| {
            saes[index + 1..].iter().find(|second| second.side == first.side).map(|second| (*first, *second))
        });
        pair.ok_or_else(|| Stop::Skip("no two SAEs at one KME".to_owned()))
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
        loop {
            let answer = self.lab.exchange(sae, request.clone())?;
            if !(answer.is(503) && request.api == Api::GetKey && answer.material == 0) || Instant::now() >= until {
                return Ok(answer);
            }
            thread::sleep(Duration::from_millis(100));
        }
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
        self.ask_settled(slave, &Request::post_ids(master, ids), |answer| !matches!(answer.status(), Some(400 | 503)))
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

    /// Enters a check at the case's own level.
    pub(crate) fn check(&mut self, part: &str, met: bool, accepted: &str, got: impl Into<String>) {
        self.check_at(self.case.level, part, met, accepted, got);
    }

    /// Enters a check at another level.
    pub(crate) fn check_at(&mut self, level: Level, part: &str, met: bool, accepted: &str, got: impl Into<String>) {
        let verdict = judged(met, level, self.fail_on);
        let level = if level == self.case.level { String::new() } else { format!("{level:?}") };
        self.checks.push(Check { part: part.to_owned(), verdict, level, accepted: accepted.to_owned(), got: got.into() });
    }

    /// Records what cannot be wrong.
    pub(crate) fn observe(&mut self, what: impl Into<String>) {
        self.observed.push(what.into());
    }

    /// The outcome of a stimulus to which the standard says nothing.
    pub(crate) fn observe_answer(&mut self, stimulus: &str, answer: &Answer) {
        self.observe(format!("{stimulus}: {}", answer.shown));
    }

    /// Keys in an answer to a Get key request that is right: 200 with exactly `number` keys of `bits` bits.
    pub(crate) fn expect_keys(&mut self, answer: Answer, number: u64, bits: Option<u64>) -> Result<Vec<Key>, Stop> {
        self.expect_code_200(&answer)?;
        let shape = format!("`keys`, an array of {number} objects with strings `key_ID` and `key`");
        let listed = answer.member("keys").and_then(crate::json::Json::array).map_or(0, <[_]>::len) as u64;
        self.check("shape", listed == answer.keys.len() as u64 && listed > 0, &shape, &answer.shown);
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
        Ok(answer.keys)
    }

    /// 200; or else the case is over, inconclusive if the KME is out of keys.
    fn expect_code_200(&mut self, answer: &Answer) -> Result<(), Stop> {
        if answer.is(503) {
            return Err(Stop::Inconclusive(format!("{} throughout {} ms", answer.shown, self.lab.config.limits.settle_ms)));
        }
        if answer.is(400) && answer.api == Api::GetKey && self.pool_is_empty() {
            return Err(Stop::Inconclusive(format!("the pool is empty: {}", answer.shown)));
        }
        self.check("code", answer.is(200), "200", &answer.shown);
        if answer.is(200) { Ok(()) } else { Err(Stop::Judged) }
    }

    fn pool_is_empty(&self) -> bool {
        let (Ok(master), Ok(slave)) = (self.master(), self.slave()) else { return false };
        let stored = self.status(master, &slave.id).ok().and_then(|answer| answer.member("stored_key_count")?.integer());
        stored == Some(0)
    }

    /// A slave's answer holds exactly `drawn`, octet for octet.
    pub(crate) fn expect_same(&mut self, answer: &Answer, drawn: &[Key]) -> Result<(), Stop> {
        if answer.is(503) {
            return Err(Stop::Inconclusive(format!("{} throughout {} ms", answer.shown, self.lab.config.limits.settle_ms)));
        }
        self.check("code", answer.is(200), "200", &answer.shown);
        if !answer.is(200) {
            return Err(Stop::Judged);
        }
        let same_ids = answer.keys.len() == drawn.len() && drawn.iter().all(|key| answer.key(&key.id).is_some());
        self.check("key IDs", same_ids, "the IDs asked for, each once, and no other", &answer.shown);
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
        if answer.is(503) && answer.api == Api::GetKey && answer.material == 0 && !codes.contains(&503) {
            return Err(Stop::Inconclusive(format!("{}: short of keys, it seems", answer.shown)));
        }
        if let Err(error) = &answer.outcome
            && matches!(error, crate::wire::WireError::Connect(_))
        {
            return Err(Stop::Inconclusive(error.to_string()));
        }
        let accepted: Vec<_> = codes.iter().map(u16::to_string).collect();
        let coded = answer.status().is_some_and(|status| codes.contains(&status));
        self.check("code", coded, &accepted.join(" or "), &answer.shown);
        self.check("no key", answer.material == 0, "no key in the answer", &answer.shown);
        if matches!(answer.status(), Some(400 | 503)) {
            let message = answer.message();
            self.check("shape", message.is_some(), "an object with a string `message`", &answer.shown);
            if let (Some(text), Some(message), Some(400)) = (text, message, answer.status()) {
                self.check("text", message == text, &format!("\"{text}\""), &answer.shown);
            }
        }
        Ok(())
    }

    /// Any refusal by the client's fault: 4xx, and nothing delivered.
    pub(crate) fn expect_client_error(&mut self, answer: &Answer) {
        let refused = answer.status().is_some_and(|status| (400..500).contains(&status));
        self.check("code", refused, "4xx", &answer.shown);
        self.check("no key", !answer.serves(), "neither key nor Status", &answer.shown);
    }

    /// An answer that delivers nothing, whatever it is: an error or a closed connection.
    pub(crate) fn expect_nothing_served(&mut self, part: &str, answer: &Answer) {
        self.check(part, !answer.serves(), "no key and no Status", &answer.shown);
    }
}

/// What a check comes to at a level.
pub(crate) fn judged(met: bool, level: Level, fail_on: &[Level]) -> Verdict {
    match (met, level) {
        (true, _) | (false, Level::O) => Verdict::Pass,
        (false, level) if fail_on.contains(&level) => Verdict::Fail,
        (false, _) => Verdict::Warn,
    }
}
