//! What came back, read as permissively as possible.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use time::OffsetDateTime;

use super::request::Api;
use crate::bounds;
use crate::json::{self, Facts, Json};
use crate::secret::{Fingerprint, Secret, Vault, cut, looks_like_key};
use crate::wire::{Response, TlsFacts, WireError};

/// A key as delivered.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    /// If the text is strict base64.
    pub(crate) octets: Option<Secret>,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The text is hexadecimal digits throughout, which base64 of this length never is by chance.
    pub(crate) hexadecimal: bool,
    /// Of the first half, where that has 8 octets or more.
    pub(crate) first_half: Option<Fingerprint>,
}

impl Key {
    /// Octets times 8.
    pub(crate) fn bits(&self) -> u64 {
        self.octets.as_ref().map_or(0, |octets| octets.len() as u64 * 8)
    }
}

/// The answer to one request, or why there is none.
pub(crate) struct Answer {
    /// Number of the exchange in the run.
    pub(crate) n: u64,
    /// What it answers: the same for the same stimulus in one case.
    pub(crate) stimulus: u64,
    pub(crate) outcome: Result<Response, WireError>,
    pub(crate) json: Result<Json, &'static str>,
    pub(crate) facts: Facts,
    /// Of the member `keys`, where it is an array of objects with `key_ID` and `key`.
    pub(crate) keys: Vec<Key>,
    /// Keys by the look of it: members called `key`, in any spelling. In an answer that has no key to deliver, and in
    /// extensions, names are free: there, only what a key looks like, or is one that was seen.
    pub(crate) material: u64,
    /// It may hold keys anywhere: of what is not known to be harmless, only names and kinds are shown.
    pub(crate) guarded: bool,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) at: OffsetDateTime,
    pub(crate) took: Duration,
    /// For people: code and redacted body.
    pub(crate) shown: String,
}

impl Answer {
    pub(crate) fn read(api: Api, outcome: Result<Response, WireError>, vault: &Vault) -> Self {
        let mut answer = Self {
            n: 0,
            stimulus: 0,
            outcome,
            json: Err("no body"),
            facts: Facts::default(),
            keys: Vec::new(),
            material: 0,
            guarded: false,
            tls: None,
            at: OffsetDateTime::now_utc(),
            took: Duration::ZERO,
            shown: String::new(),
        };
        let Ok(response) = &answer.outcome else { return answer };
        answer.guarded = (200..300).contains(&response.status) && api != Api::Status;
        match json::read(response.body.expose()) {
            Ok((value, facts)) => {
                let mut material = Material { vault, count: 0, left: bounds::KEYS };
                material.look(&value, None, answer.guarded);
                answer.material = material.count;
                answer.keys = keys(&value, vault);
                answer.json = Ok(value);
                answer.facts = facts;
            }
            Err(why) => {
                answer.material = learn_from_wreckage(response.body.expose(), answer.guarded, vault);
                answer.json = Err(why);
            }
        }
        answer
    }

    /// What is left once the body has been read.
    pub(crate) fn without_body(mut self) -> Self {
        self.json = Err("no longer kept");
        if let Ok(response) = &mut self.outcome {
            response.body = Secret::new(Vec::new());
        }
        self
    }

    pub(crate) fn status(&self) -> Option<u16> {
        self.outcome.as_ref().ok().map(|response| response.status)
    }

    pub(crate) fn is(&self, status: u16) -> bool {
        self.status() == Some(status)
    }

    /// Whether the connection was lost before it came.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.outcome, Err(WireError::Closed(_) | WireError::Tls(_)))
    }

    /// Whether it has a code of success, the right one or not.
    pub(crate) fn succeeds(&self) -> bool {
        matches!(self.status(), Some(200..=299))
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Json> {
        self.json.as_ref().ok().and_then(|value| value.get(name))
    }

    pub(crate) fn message(&self) -> Option<&str> {
        self.member("message").and_then(Json::text)
    }

    /// The key of that ID, letter case aside (A-28).
    pub(crate) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id.eq_ignore_ascii_case(id))
    }

    /// Whether an API answer was given: a Status, or key material.
    pub(crate) fn serves(&self) -> bool {
        self.material > 0
            || (self.is(200)
                && ["source_KME_ID", "master_SAE_ID", "key_size", "keys"].iter().any(|name| self.member(name).is_some()))
    }
}

/// Whether what is below a member is an extension, whose content is the vendor's.
pub(super) fn is_extension(name: &str) -> bool {
    name.ends_with("_extension") || name == "details"
}

/// Looks for keys in an answer, and has them remembered.
struct Material<'a> {
    vault: &'a Vault,
    count: u64,
    /// So many may still be remembered.
    left: usize,
}

impl Material<'_> {
    /// With `open`, a key is expected here.
    fn look(&mut self, value: &Json, member: Option<&str>, open: bool) {
        if member.is_some_and(|name| name.eq_ignore_ascii_case("key")) && self.is_key(value, open) {
            self.count += 1;
            self.learn(value);
        }
        match value {
            Json::Object(members) => {
                members.iter().for_each(|(name, value)| self.look(value, Some(name), open && !is_extension(name)));
            }
            Json::Array(values) => values.iter().for_each(|value| self.look(value, None, open)),
            // A key under another name is no key to the checks, and a secret all the same.
            Json::String(text) if open && member != Some("key_ID") && looks_like_key(text) => self.learn(value),
            _ => {}
        }
    }

    fn is_key(&self, value: &Json, open: bool) -> bool {
        match value.text() {
            Some(text) => open || looks_like_key(text) || self.vault.knows(text),
            None => open && !matches!(value, Json::Null),
        }
    }

    fn learn(&mut self, value: &Json) {
        if let Some(text) = value.text().filter(|_| self.left > 0) {
            self.left -= 1;
            self.vault.learn(text.as_bytes());
        }
    }
}

fn keys(value: &Json, vault: &Vault) -> Vec<Key> {
    let objects = value.get("keys").and_then(Json::array).unwrap_or_default();
    let key = |object: &Json| {
        let id = bounded(object.get("key_ID")?.text()?);
        let text = object.get("key")?.text()?;
        let octets = Base64::decode_vec(text).ok().map(Secret::new);
        let fingerprint = octets.as_ref().map(|octets| vault.fingerprint(octets.expose()));
        let half = octets.as_ref().map(|octets| &octets.expose()[..octets.len() / 2]).filter(|half| half.len() >= 8);
        let first_half = half.map(|half| vault.fingerprint(half));
        let hexadecimal = text.len() >= 32 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        Some(Key { id, hexadecimal, octets, fingerprint, first_half })
    };
    objects.iter().take(bounds::KEYS).filter_map(key).collect()
}

/// A key ID, or what stands for one that is far too long.
fn bounded(id: &str) -> String {
    if id.len() <= bounds::ID { id.to_owned() } else { format!("{} {}", cut(id, 200), crate::sha256(id.as_bytes())) }
}

/// What follows `"key":` in a body that is not JSON.
fn learn_from_wreckage(body: &[u8], open: bool, vault: &Vault) -> u64 {
    let mut found = 0;
    let mut rest = body;
    while let Some(at) = rest.windows(5).position(|window| window.eq_ignore_ascii_case(b"\"key\"")) {
        rest = &rest[at + 5..];
        let mut parts = rest.splitn(3, |octet| *octet == b'"');
        if let (Some(before), Some(text)) = (parts.next(), parts.next())
            && before.iter().all(|octet| octet.is_ascii_whitespace() || *octet == b':')
            && let Ok(text) = std::str::from_utf8(text)
            && (open && !text.is_empty() || looks_like_key(text) || vault.knows(text))
        {
            found += 1;
            if found <= bounds::KEYS as u64 {
                vault.learn(text.as_bytes());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(api: Api, status: u16, body: &str) -> (Answer, Vault) {
        let vault = Vault::new().expect("random generator");
        vault.learn(b"AQIDBA==");
        let response = Response {
            minor: 1,
            status,
            reason: String::new(),
            headers: Vec::new(),
            body: Secret::new(body.as_bytes().to_vec()),
            framing: Vec::new(),
            last: false,
        };
        (Answer::read(api, Ok(response), &vault), vault)
    }

    const KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

    #[test]
    fn a_name_in_an_error_is_no_key() {
        for body in [
            r#"{"message":"size shall be a multiple of 8","details":[{"key":"size","value":"257"}]}"#,
            r#"{"message":"no","details":[{"key":"additional_slave_SAE_IDs"},{"key":"keyContainer"},{"key":8},{"key":{}}]}"#,
            r#"{"key":"FAIL","#,
        ] {
            let (answer, vault) = read(Api::GetKey, 400, body);
            assert_eq!(answer.material, 0, "{body}");
            assert!(!vault.betrayed_by(b"\"size\" FAIL \"keyContainer\" additional_slave_SAE_IDs"), "{body}");
        }
    }

    #[test]
    fn a_key_in_an_error_is_one() {
        for body in [
            format!(r#"{{"message":"no","details":[{{"key":"{KEY}"}}]}}"#),
            r#"{"message":"no","keys":[{"key_ID":"x","key":"yAFNAwn6Bj0="}]}"#.to_owned(),
            r#"{"message":"no","Key":"AQIDBA=="}"#.to_owned(),
            format!(r#"{{"key": "{KEY}", "#),
        ] {
            assert_eq!(read(Api::GetKeyWithIds, 400, &body).0.material, 1, "{body}");
        }
    }

    #[test]
    fn extensions_of_a_container_are_the_vendors() {
        let extension = r#""key_extension":{"key":"hops"},"key_ID_extension":[{"key":{"a":1}}]"#;
        let body =
            format!(r#"{{"keys":[{{"key_ID":"x","key":"AAEC",{extension}}}],"key_container_extension":{{"key":"path"}}}}"#);
        assert_eq!(read(Api::GetKey, 200, &body).0.material, 1);
        assert_eq!(read(Api::Status, 200, r#"{"status_extension":{"key":"pool"}}"#).0.material, 0);
        assert_eq!(read(Api::Other, 200, r#"{"Keys":[{"key":"AAEC"}],"b":{"KEY":7}}"#).0.material, 2);
    }

    #[test]
    fn a_key_under_another_name_is_remembered() {
        let (answer, vault) = read(Api::GetKey, 200, &format!(r#"{{"keys":["{KEY}"],"value":"yAFNAwn6Bj0="}}"#));
        assert_eq!(answer.material, 0);
        assert!(vault.betrayed_by(KEY.as_bytes()) && vault.betrayed_by(b"yAFNAwn6Bj0="));
    }

    #[test]
    fn of_very_many_keys_the_first_are_read() {
        let many = vec![r#"{"key_ID":"x","key":"AAEC"}"#; 20_000].join(",");
        let (answer, _) = read(Api::GetKey, 200, &format!(r#"{{"keys":[{many}]}}"#));
        assert_eq!((answer.material, answer.keys.len()), (20_000, bounds::KEYS));
        let (answer, _) = read(Api::GetKey, 200, &format!(r#"{{"keys":[{{"key_ID":"{}","key":""}}]}}"#, "x".repeat(100_000)));
        assert!(answer.keys[0].id.len() < 2 * bounds::ID);
    }
}
