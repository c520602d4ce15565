//! What came back, read as permissively as possible.

use std::time::Duration;

use time::OffsetDateTime;

use crate::json::{self, Facts, Json};
use crate::secret::{Fingerprint, Secret, Vault};
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
    pub(crate) outcome: Result<Response, WireError>,
    pub(crate) json: Result<Json, &'static str>,
    pub(crate) facts: Facts,
    /// Of the member `keys`, where it is an array of objects with `key_ID` and `key`.
    pub(crate) keys: Vec<Key>,
    /// Texts called `key`, anywhere and in any spelling.
    pub(crate) material: u64,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) at: OffsetDateTime,
    pub(crate) took: Duration,
    /// For people: code and redacted body.
    pub(crate) shown: String,
}

impl Answer {
    pub(crate) fn read(outcome: Result<Response, WireError>, vault: &Vault) -> Self {
        let mut answer = Self {
            n: 0,
            outcome,
            json: Err("no body"),
            facts: Facts::default(),
            keys: Vec::new(),
            material: 0,
            tls: None,
            at: OffsetDateTime::now_utc(),
            took: Duration::ZERO,
            shown: String::new(),
        };
        let Ok(response) = &answer.outcome else { return answer };
        match json::read(response.body.expose()) {
            Ok((value, facts)) => {
                value.each_member(&mut |name, value| {
                    if name.eq_ignore_ascii_case("key") && !matches!(value, Json::Null) {
                        answer.material += 1;
                        if let Some(text) = value.text() {
                            vault.learn(text.as_bytes());
                        }
                    }
                });
                answer.keys = keys(&value, vault);
                answer.json = Ok(value);
                answer.facts = facts;
            }
            Err(why) => {
                answer.material = learn_from_wreckage(response.body.expose(), vault);
                answer.json = Err(why);
            }
        }
        answer
    }

    pub(crate) fn status(&self) -> Option<u16> {
        self.outcome.as_ref().ok().map(|response| response.status)
    }

    pub(crate) fn is(&self, status: u16) -> bool {
        self.status() == Some(status)
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Json> {
        self.json.as_ref().ok().and_then(|value| value.get(name))
    }

    pub(crate) fn message(&self) -> Option<&str> {
        self.member("message").and_then(Json::text)
    }

    /// The key of that ID, letter case aside.
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

fn keys(value: &Json, vault: &Vault) -> Vec<Key> {
    let objects = value.get("keys").and_then(Json::array).unwrap_or_default();
    let key = |object: &Json| {
        let id = object.get("key_ID")?.text()?.to_owned();
        let text = object.get("key")?.text()?;
        let octets = vault.learn(text.as_bytes());
        let fingerprint = octets.as_ref().map(|octets| vault.fingerprint(octets.expose()));
        let half = octets.as_ref().map(|octets| &octets.expose()[..octets.len() / 2]).filter(|half| half.len() >= 8);
        let first_half = half.map(|half| vault.fingerprint(half));
        let hexadecimal = text.len() >= 32 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        Some(Key { id, hexadecimal, octets, fingerprint, first_half })
    };
    objects.iter().filter_map(key).collect()
}

/// What follows `"key":` in a body that is not JSON.
fn learn_from_wreckage(body: &[u8], vault: &Vault) -> u64 {
    let mut found = 0;
    let mut rest = body;
    while let Some(at) = rest.windows(5).position(|window| window.eq_ignore_ascii_case(b"\"key\"")) {
        rest = &rest[at + 5..];
        let mut parts = rest.splitn(3, |octet| *octet == b'"');
        if let (Some(before), Some(text)) = (parts.next(), parts.next())
            && before.iter().all(|octet| octet.is_ascii_whitespace() || *octet == b':')
            && !text.is_empty()
        {
            vault.learn(text);
            found += 1;
        }
    }
    found
}
