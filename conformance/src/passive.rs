//! Checks that look at every exchange of a run, whatever it was made for, and cost no key.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest;
use base64ct::{Base64, Encoding};
use time::OffsetDateTime;

use crate::bounds;
use crate::case::Level;
use crate::config::Side;
use crate::json::Json;
use crate::lab::{Answer, Api, Kme, Ledger, Request};
use crate::secret::{Fingerprint, Secret, Vault, has_key_octet_by_octet, is_uuid, searched, without_keys};
use crate::status::Limits;

/// What one passive case has seen.
#[derive(Default)]
pub(crate) struct Tally {
    /// Exchanges it could judge.
    pub(crate) looked: u64,
    pub(crate) findings: Vec<Finding>,
    /// Findings in all; only the first ones are kept.
    pub(crate) count: u64,
}

/// Something that is not right.
pub(crate) struct Finding {
    /// Where it differs from the case's own.
    pub(crate) level: Option<Level>,
    pub(crate) exchange: u64,
    pub(crate) accepted: &'static str,
    pub(crate) got: String,
}

const KEPT: usize = 5;

/// So often chance does not do it.
const TIME_AND_AGAIN: u64 = 2;

/// All passive cases.
#[derive(Default)]
pub(crate) struct Passive {
    pub(crate) tallies: BTreeMap<&'static str, Tally>,
    /// Get key with key IDs by GET was answered with a key.
    pub(crate) offers_get: bool,
    /// So was Get key.
    pub(crate) offers_get_key: bool,
    /// Bits of a key by default, as the budget reckons.
    pub(crate) default_bits: Option<u64>,
    /// Bits of a key by default, as Status last told the caller for its peer at that KME (6.2-04).
    sizes: BTreeMap<(Side, String, String), u64>,
    /// Pairs for which Status has just been asked: whether it told of any key, and when.
    stock: BTreeMap<(Side, String, String), (bool, OffsetDateTime)>,
    /// Keys delivered at once after Status had told of none.
    denied: u64,
    /// Requests refused then.
    short: u64,
    material: HashMap<Fingerprint, String>,
    halves: HashMap<Fingerprint, String>,
}

/// Enters findings of one exchange.
struct Look<'a> {
    tallies: &'a mut BTreeMap<&'static str, Tally>,
    answer: &'a Answer,
    vault: &'a Vault,
}

impl Look<'_> {
    fn judge(&mut self, case: &'static str, met: bool, accepted: &'static str) {
        self.judge_at(case, None, met, accepted, "");
    }

    fn judge_at(&mut self, case: &'static str, level: Option<Level>, met: bool, accepted: &'static str, got: &str) {
        let tally = self.tallies.entry(case).or_default();
        tally.looked += 1;
        if !met {
            tally.count += 1;
            if tally.findings.len() < KEPT {
                let got = if got.is_empty() { &self.answer.shown } else { got };
                let got = self.vault.told(got, bounds::TOLD);
                tally.findings.push(Finding { level, exchange: self.answer.n, accepted, got });
            }
        }
    }
}

impl Passive {
    /// Looks at an exchange; `ledger` is as it was before.
    pub(crate) fn observe(&mut self, who: &str, kme: &Kme, request: &Request, answer: &Answer, ledger: &Ledger, vault: &Vault) {
        let Ok(response) = &answer.outcome else { return };
        let mut look = Look { tallies: &mut self.tallies, answer, vault };
        if request.raw.is_none() {
            let faults = response.framing.join("; ");
            look.judge_at("014-WIR-004", None, faults.is_empty(), "a body exactly as long as announced", &faults);
        }
        redirects(&mut look, kme);
        errors_tell_nothing(&mut look);
        if request.worst_keys > 0 && answer.material > 0 {
            let got = format!("{} keys for a request of {} at most", answer.material, request.worst_keys);
            let met = answer.material <= request.worst_keys;
            look.judge_at("014-ENC-038", None, met, "no more keys than were asked for", &got);
        }
        if request.api == Api::Other {
            return;
        }
        wire(&mut look);
        errors(&mut look, request);
        self.stock(who, kme, request, answer, vault);
        let default = self.default_size(who, kme, request, answer);
        let mut look = Look { tallies: &mut self.tallies, answer, vault };
        let by_get = request.method == "GET" && answer.is(200) && answer.material > 0;
        self.offers_get |= by_get && request.api == Api::GetKeyWithIds;
        self.offers_get_key |= by_get && request.api == Api::GetKey;
        if answer.is(200) && request.api != Api::Status {
            containers(&mut look, request);
            caching(&mut look, request);
            for index in 0..answer.keys.len() {
                self.key(request, default, answer, ledger, vault, index);
            }
        }
    }

    /// Whether Status tells of no key where there are some, time and again: once, one may have come in between.
    pub(crate) fn denies_its_stock(&self) -> bool {
        self.denied >= TIME_AND_AGAIN && self.denied > self.short
    }

    /// Bits of a key for the caller and the SAE in the path; unknown before Status told.
    fn default_size(&mut self, who: &str, kme: &Kme, request: &Request, answer: &Answer) -> Option<u64> {
        let pair = (kme.side, who.to_owned(), request.peers.first()?.clone());
        if request.api == Api::Status && answer.is(200) {
            let told = Limits::read(answer).key_size?;
            if self.sizes.len() < bounds::LEDGER || self.sizes.contains_key(&pair) {
                self.sizes.insert(pair, told);
            }
            return Some(told);
        }
        self.sizes.get(&pair).copied()
    }

    fn stock(&mut self, who: &str, kme: &Kme, request: &Request, answer: &Answer, vault: &Vault) {
        let [peer] = request.peers.as_slice() else { return };
        let pair = (kme.side, who.to_owned(), peer.clone());
        if request.api == Api::Status {
            match answer.member("stored_key_count").and_then(Json::integer).filter(|_| answer.is(200)) {
                Some(stored) => self.stock.insert(pair, (stored > 0, answer.at)),
                None => self.stock.remove(&pair),
            };
        } else if request.api == Api::GetKey
            && let Some((any, at)) = self.stock.remove(&pair)
            && !request.fault
            && answer.at - at < time::Duration::SECOND
        {
            if !answer.is(200) || answer.keys.is_empty() {
                self.short += u64::from(!any);
                return;
            }
            self.denied += u64::from(!any);
            let met = any || !self.denies_its_stock();
            let got = format!("{} times a key at once after stored_key_count 0", self.denied);
            let mut look = Look { tallies: &mut self.tallies, answer, vault };
            look.judge_at("014-STA-016", None, met, "no key, or a stored_key_count above 0", &got);
        }
    }

    /// What became of a key that was delivered by an ordinary request and that nobody had asked for.
    pub(crate) fn fetched(&mut self, answer: &Answer, met: bool, vault: &Vault) {
        let mut look = Look { tallies: &mut self.tallies, answer, vault };
        look.judge("014-DEC-024", met, "200: it was delivered, and nobody has asked for it since");
    }

    fn key(&mut self, request: &Request, default: Option<u64>, answer: &Answer, ledger: &Ledger, vault: &Vault, index: usize) {
        let key = &answer.keys[index];
        let mut look = Look { tallies: &mut self.tallies, answer, vault };
        look.judge("014-ENC-020", is_uuid(&key.id), "`key_ID` as 8-4-4-4-12 hexadecimal digits");
        look.judge(
            "014-ENC-022",
            key.octets.is_some() && !key.hexadecimal,
            "RFC 4648 base64, standard alphabet, padded, one line",
        );
        let expected = match request.api {
            Api::GetKey => request.size.or(default),
            _ => ledger.find(&key.id).map(|drawn| drawn.bits),
        };
        // What a KME makes of a faulty request is for the case that sends it to judge.
        if let (Some(octets), Some(bits), false) = (&key.octets, expected, request.fault) {
            let got = format!("{} octets for {bits} bits", octets.len());
            look.judge_at("014-ENC-023", None, octets.len() as u64 == bits.div_ceil(8), "as many bits as asked for", &got);
        }
        if request.api != Api::GetKey {
            return;
        }
        let repeated =
            ledger.find(&key.id).is_some() || answer.keys[..index].iter().any(|other| other.id.eq_ignore_ascii_case(&key.id));
        look.judge("014-ENC-021", !repeated, "a key ID that was not delivered before");
        let Some(octets) = &key.octets else { return };
        if octets.len() >= 16 {
            let told = told_by_id(&key.id, octets.expose());
            let got = format!("{} is {}", key.id, told.unwrap_or_default());
            look.judge_at("014-ENC-039", None, told.is_none(), "an ID that cannot be computed from the key", &got);
        }
        // Shorter keys repeat, and look odd, by chance.
        if let Some(fingerprint) = key.fingerprint.filter(|_| octets.len() >= 8) {
            let before = remembered(&mut self.material, fingerprint, &key.id);
            // The same ID again is the finding of ENC-021.
            let repeated = before.filter(|before| !before.eq_ignore_ascii_case(&key.id));
            let got = repeated.as_ref().map(|other| format!("{} and {other} are the same key, fp {fingerprint}", key.id));
            look.judge_at(
                "014-ENC-024",
                None,
                repeated.is_none(),
                "key material that was not delivered before",
                &got.unwrap_or_default(),
            );
        }
        if octets.len() >= 16 {
            let why = degenerate(octets.expose());
            let half = key.first_half.and_then(|half| remembered(&mut self.halves, half, &key.id));
            let alike = half.filter(|other| !other.eq_ignore_ascii_case(&key.id) && why.is_none());
            let same_key =
                alike.as_ref().and_then(|other| ledger.find(other)).is_some_and(|other| other.fingerprint == key.fingerprint);
            let got = match (why, alike.filter(|_| !same_key)) {
                (Some(why), _) => Some(format!("{}: {why}", key.id)),
                (None, Some(other)) => Some(format!("{} begins like {other}", key.id)),
                (None, None) => None,
            };
            look.judge_at("014-ENC-025", None, got.is_none(), "octets without a pattern", &got.clone().unwrap_or_default());
        }
    }
}

/// What of a key its ID is, version and variant of a UUID aside.
fn told_by_id(id: &str, key: &[u8]) -> Option<&'static str> {
    let digits: Vec<u8> = id.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (octet, pair) in id.iter_mut().zip(digits.chunks(2)) {
        *octet = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())?;
    }
    // As a GUID, the first three fields are printed in the other order.
    let guid: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut free = [0xff; 16];
    (free[6], free[8]) = (0x0f, 0x3f);
    let alike = |from: &[u8]| {
        let same =
            |order: &dyn Fn(usize) -> usize| (0..16).all(|at| (id[order(at)] ^ from[at]) & free[order(at)] & free[at] == 0);
        from.len() >= 16 && (same(&|at| at) || same(&|at| guid[at]))
    };
    let text = Secret::new(Base64::encode_string(key).into_bytes());
    let hashed = |algorithm, octets: &[u8]| alike(digest::digest(algorithm, octets).as_ref());
    let (sha1, sha256) = (&digest::SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA256);
    [
        (alike(key), "the beginning of the key"),
        (hashed(sha1, key), "the SHA-1 of the key"),
        (hashed(sha256, key), "the SHA-256 of the key"),
        (hashed(sha1, text.expose()), "the SHA-1 of the key in base64"),
        (hashed(sha256, text.expose()), "the SHA-256 of the key in base64"),
    ]
    .into_iter()
    .find_map(|(is, what)| is.then_some(what))
}

/// Remembers the ID of a key, if there is room, and tells the one before.
fn remembered(seen: &mut HashMap<Fingerprint, String>, fingerprint: Fingerprint, id: &str) -> Option<String> {
    if seen.len() < bounds::LEDGER { seen.insert(fingerprint, id.to_owned()) } else { seen.get(&fingerprint).cloned() }
}

fn degenerate(octets: &[u8]) -> Option<&'static str> {
    let octets = &octets[..octets.len().min(bounds::KEY_HEAD)];
    let steps = |step: u8| octets.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    if steps(0) {
        return Some("all octets are equal");
    }
    if octets.len() >= 2 && steps(octets[1].wrapping_sub(octets[0])) {
        return Some("the octets count");
    }
    if octets.len() >= 32 && octets.iter().all(|octet| (0x20..0x7f).contains(octet)) {
        return Some("it is text");
    }
    let repeats = |period: usize| octets.iter().zip(&octets[period..]).all(|(a, b)| a == b);
    // A period of half the length, at least 8 octets of it: by chance once in 2^64.
    (1..=octets.len() / 2).any(|period| octets.len() - period >= 8 && repeats(period)).then_some("a block repeats")
}

fn redirects(look: &mut Look<'_>, kme: &Kme) {
    let Ok(response) = &look.answer.outcome else { return };
    let location = response.header("location").filter(|_| (300..400).contains(&response.status));
    let lower = location.unwrap_or_default().to_ascii_lowercase();
    let host = format!("{}://{}", if kme.url.tls { "https" } else { "http" }, kme.url.authority().to_ascii_lowercase());
    let stays = match lower.strip_prefix(&host) {
        Some(rest) => rest.is_empty() || rest.starts_with(['/', '?', '#']),
        // Relative: the same authority; two slashes name another.
        None => !lower.starts_with("//") && !lower.split(['/', '?']).next().unwrap_or_default().contains(':'),
    };
    look.judge("014-WIR-006", stays, "no redirection off HTTPS or to another authority");
}

fn wire(look: &mut Look<'_>) {
    let answer = look.answer;
    let Ok(response) = &answer.outcome else { return };
    if response.body.len() == 0 {
        return;
    }
    if matches!(response.status, 200 | 400 | 503) {
        let right = response.media_type().as_deref() == Some("application/json");
        let got = format!("{} with Content-Type {:?}", response.status, response.header("content-type"));
        let level = (response.status != 200).then_some(Level::D);
        look.judge_at("014-WIR-001", level, right, "application/json", &got);
        let utf8 = std::str::from_utf8(response.body.expose()).is_ok() && !response.body.expose().starts_with(b"\xef\xbb\xbf");
        look.judge("014-WIR-002", utf8, "UTF-8 without byte order mark");
        let level = (response.status != 200).then_some(Level::D);
        match answer.json {
            Ok(_) => {
                look.judge_at("014-WIR-003", level, !answer.facts.trailing, "one JSON text and nothing after it", "");
                let names: Vec<_> = answer.facts.duplicates.iter().map(|name| without_keys(searched(name))).collect();
                let got = format!("twice in one object: {}", names.join(", "));
                look.judge_at("014-WIR-003", Some(Level::H), answer.facts.duplicates.is_empty(), "no duplicate members", &got);
            }
            // That is a limit of this program.
            Err(crate::json::TOO_MUCH) => {}
            Err(why) => look.judge_at("014-WIR-003", level, false, "one JSON text", &format!("{why}: {}", answer.shown)),
        }
    }
}

fn errors(look: &mut Look<'_>, request: &Request) {
    let answer = look.answer;
    let Some(status) = answer.status() else { return };
    let on_methods =
        matches!(request.method.as_str(), "GET" | "POST") && !(request.api == Api::Status && request.method == "POST");
    if on_methods {
        look.judge("014-ERR-003", matches!(status, 200 | 400 | 401 | 503), "200, 400, 401 or 503");
    }
    if request.fault {
        // A method that is not offered is no error of the server.
        let server_error = (500..600).contains(&status) && !matches!(status, 501 | 503);
        look.judge("014-ERR-011", !server_error, "no server error for a fault of the client");
    }
    if matches!(status, 400 | 503) && on_methods {
        look.judge("014-ERR-001", answer.message().is_some(), "an object with a string `message`");
    }
    if let Some(details) = answer.member("details").filter(|_| status >= 400) {
        // Null is as good as absent (A-27); of other codes the standard knows no body.
        let objects = details.array().is_some_and(|details| details.iter().all(Json::is_object));
        let level = (!matches!(status, 400 | 503)).then_some(Level::D);
        look.judge_at("014-ERR-002", level, objects || matches!(details, Json::Null), "`details`: an array of objects", "");
    } else if status >= 400 && answer.json.is_ok() {
        look.judge("014-ERR-002", true, "");
    }
}

fn errors_tell_nothing(look: &mut Look<'_>) {
    let answer = look.answer;
    let Ok(response) = &answer.outcome else { return };
    if response.status < 400 {
        return;
    }
    let body = response.body.expose();
    let body = &body[..body.len().min(bounds::HEAD)];
    let is_key = answer.material > 0 || look.vault.betrayed_by(body);
    let why = if is_key { "key material" } else { told_too_much(&String::from_utf8_lossy(body), answer.json.as_ref().ok()) };
    let got = format!("{why} in: {}", answer.shown);
    look.judge_at("014-ERR-010", None, why.is_empty(), "no key material, stack trace, file path or query", &got);
}

/// What an error should not tell, whatever it is about.
fn told_too_much(text: &str, json: Option<&Json>) -> &'static str {
    let traces = ["Traceback (most recent", "panicked at", "Exception in thread", "\n\tat ", "\\n\\tat ", "stack backtrace"];
    let paths =
        ["/home/", "/usr/lib", "/usr/src/", "/var/lib/", "/etc/", "/root/", "C:\\", ".py\", line", ".rs:", ".java:", ".go:"];
    let found = |patterns: &[&str]| patterns.iter().any(|pattern| text.contains(pattern));
    let keylike = text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)).any(|word| {
        let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit];
        word.len() >= 43 && kinds.iter().all(|kind| word.bytes().any(|octet| kind(&octet)))
    });
    // A text may have every letter escaped: what it says counts, and not how.
    let said = json.map_or_else(|| text.to_owned(), Json::said);
    if keylike || has_key_octet_by_octet(&said) {
        "what looks like key material"
    } else if found(&traces) {
        "a stack trace"
    } else if found(&paths) {
        "a file path"
    } else if text.contains("SELECT ") && text.contains(" FROM ") {
        "a query"
    } else {
        ""
    }
}

fn containers(look: &mut Look<'_>, request: &Request) {
    let answer = look.answer;
    let listed = answer.member("keys").and_then(Json::array);
    let right = listed.is_some_and(|keys| !keys.is_empty() && keys.iter().all(Json::is_object));
    if matches!(request.api, Api::GetKey | Api::GetKeyWithIds) && !request.fault {
        look.judge("014-ENC-019", right, "`keys`, a non-empty array of objects");
    }
    let mut objects = true;
    if let Ok(value) = &answer.json {
        value.each_member(&mut |name, value| {
            if matches!(name, "key_ID_extension" | "key_extension" | "key_container_extension") {
                // Null is as good as absent (A-27).
                objects &= value.is_object() || matches!(value, Json::Null);
            }
        });
    }
    look.judge("014-ENC-030", objects, "extension members that are objects");
    // A key without a readable ID is missed by the checks per key.
    let unreadable = listed.is_some_and(|keys| keys.len() > answer.keys.len());
    if unreadable {
        let ids = listed.unwrap_or_default().iter().all(|key| key.get("key_ID").and_then(Json::text).is_some());
        let case = if ids { "014-ENC-022" } else { "014-ENC-020" };
        look.judge(case, false, "strings `key_ID` and `key` in every object");
    }
}

fn caching(look: &mut Look<'_>, request: &Request) {
    let Ok(response) = &look.answer.outcome else { return };
    let control = response.header("cache-control").unwrap_or_default().to_ascii_lowercase();
    let forbidden = control.contains("no-store") || control.contains("no-cache") || control.contains("private");
    let allowed = control.contains("public") || control.contains("max-age") && !control.contains("max-age=0");
    let met = if request.method == "GET" { forbidden && !control.contains("public") } else { !allowed || forbidden };
    let got = format!("Cache-Control {:?}", control);
    look.judge_at("014-ENC-035", None, met, "Cache-Control: no-store", &got);
}

#[cfg(test)]
mod tests {
    use super::{degenerate, told_by_id, told_too_much};

    #[test]
    fn an_error_that_quotes_a_key_octet_by_octet_tells_too_much() {
        let key: [u8; 32] = std::array::from_fn(|at| u8::try_from((at * 77 + 200) % 256).unwrap_or(0));
        let colons = key.map(|octet| format!("{octet:02x}")).join(":");
        let told = |body: &str| told_too_much(body, crate::json::read(body.as_bytes()).ok().as_ref().map(|(json, _)| json));
        for said in [format!("{key:?}"), colons] {
            assert_eq!(told(&format!("{{\"message\":\"cannot encode {said}\"}}")), "what looks like key material");
            assert_eq!(
                told(&format!("{{\"message\":\"cannot encode {said}\",\"message\":\"no\"}}")),
                "what looks like key material"
            );
            assert_eq!(told(&format!("cannot encode {said}")), "what looks like key material");
        }
        assert_eq!(told(&format!("{{\"message\":\"no\",\"details\":[{{\"key\":{key:?}}}]}}")), "what looks like key material");
        assert_eq!(told(&format!("{{\"message\":\"no\",\"details\":[{{\"key_ID\":{:?}}}]}}", &key[..16])), "");
        assert_eq!(told(r#"{"message":"size shall be a multiple of 8","details":[{"size":257}]}"#), "");
        let escaped: String = "size shall be a multiple of 8".chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        assert_eq!(told(&format!("{{\"message\":\"{escaped}\"}}")), "");
    }

    #[test]
    fn patterns_are_noticed_and_random_octets_are_not() {
        assert!(degenerate(&[0; 16]).is_some());
        assert!(degenerate(&std::array::from_fn::<u8, 32, _>(|i| i as u8)).is_some());
        assert!(degenerate(b"an ordinary sentence, 32 octets.").is_some());
        assert!(degenerate(&[7, 1, 9, 200, 33, 6, 78, 90, 7, 1, 9, 200, 33, 6, 78, 90]).is_some());
        // Of a very long key the beginning is looked at; all of it would take hours.
        let mut long = vec![0; 3_000_000];
        long[4000] = 1;
        assert!(degenerate(&long).is_none());
        let mut rng = crate::rng::Rng::new(7, "keys");
        for _ in 0..20_000 {
            assert!(degenerate(&rng.octets::<16>()).is_none());
        }
    }

    #[test]
    fn an_id_made_of_the_key_is_noticed_and_another_is_not() {
        let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap_or(0));
        let uuid = |octets: &[u8]| {
            let hex = crate::hex(&octets[..16]);
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        };
        let sha1 = super::digest::digest(&super::digest::SHA1_FOR_LEGACY_USE_ONLY, &key);
        let mut marked: Vec<u8> = sha1.as_ref().to_vec();
        marked[6] = marked[6] & 0x0f | 0x50;
        marked[8] = marked[8] & 0x3f | 0x80;
        let swapped: Vec<u8> = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(|at: usize| marked[at]).to_vec();
        for id in [sha1.as_ref(), &marked, &swapped] {
            assert_eq!(told_by_id(&uuid(id), &key), Some("the SHA-1 of the key"));
        }
        assert_eq!(told_by_id(&uuid(&key), &key), Some("the beginning of the key"));
        let mut other = sha1.as_ref().to_vec();
        other[15] ^= 1;
        assert!(told_by_id(&uuid(&other), &key).is_none() && told_by_id("x", &key).is_none());
    }
}
