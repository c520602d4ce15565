//! The pair itself: a conforming KME at each end, without sockets.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::pki::kme_id;
use super::scenario::Fault;
use crate::bounds::STORED;
use crate::config::Side;
use crate::ctx::mandated;

/// Bits per key, and how many, as Status tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) default: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) per_request: u64,
}

pub(crate) fn limits(fault: Fault) -> Limits {
    match fault {
        Fault::TightLimits => Limits { default: 256, least: 128, most: 256, per_request: 2 },
        _ => Limits { default: 256, least: 64, most: 4096, per_request: 16 },
    }
}

/// A request as read.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Common name of the client's certificate.
    pub(crate) caller: Option<String>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The method of the standard, by the end of the path, and the other SAE, decoded.
    pub(crate) fn api(&self) -> Option<(&str, String)> {
        let path = self.target.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix("/api/v1/keys/")?;
        let (peer, method) = rest.split_once('/')?;
        matches!(method, "status" | "enc_keys" | "dec_keys").then_some(())?;
        Some((method, decoded(peer)?))
    }

    /// Name and value of each query parameter.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name).unwrap_or_default(), decoded(value).unwrap_or_default())
        };
        query.split('&').filter(|text| !text.is_empty()).map(pair).collect()
    }
}

/// Percent-encoding undone; nothing if it is misspelt.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digits = [rest.next()?, rest.next()?];
            octets.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}

/// A key in an answer.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) id: String,
    pub(crate) octets: Zeroizing<Vec<u8>>,
}

/// An answer, still without framing.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content: Content,
}

#[derive(Clone)]
pub(crate) enum Content {
    Nothing,
    Json(Value),
    Keys(Vec<Given>),
}

impl Said {
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json(status, json!({ "message": message }))
    }

    fn json(status: u16, value: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(value) }
    }

    /// The body as JSON.
    pub(crate) fn value(&self) -> Option<Value> {
        match &self.content {
            Content::Nothing => None,
            Content::Json(value) => Some(value.clone()),
            Content::Keys(keys) => {
                let keys: Vec<_> =
                    keys.iter().map(|key| json!({ "key_ID": key.id, "key": Base64::encode_string(&key.octets) })).collect();
                Some(json!({ "keys": keys }))
            }
        }
    }
}

struct Stored {
    key: Given,
    taken: bool,
}

/// What both KMEs know of keys.
#[derive(Default)]
pub(crate) struct Keys {
    stored: BTreeMap<String, Stored>,
    /// The last answer to Get key.
    pub(crate) last: Option<Vec<Given>>,
    drawn: u64,
}

impl Keys {
    /// New keys that a master has drawn and its slave has not.
    pub(crate) fn draw(&mut self, number: u64, bits: u64, odd_ids: bool) -> Vec<Given> {
        let octets = usize::try_from(bits / 8).unwrap_or_default();
        (0..number)
            .map(|_| {
                let mut random = Zeroizing::new(vec![0; 16 + octets]);
                // Without randomness there is no key: the answer will hold zeros, which no test takes for a key.
                let _ = aws_lc_rs::rand::fill(&mut random);
                let (id, key) = random.split_at(16);
                let given = Given { id: uuid(id, odd_ids), octets: Zeroizing::new(key.to_vec()) };
                self.stored.insert(given.id.to_ascii_lowercase(), Stored { key: given.clone(), taken: false });
                self.drawn += 1;
                given
            })
            .collect()
    }

    /// The key of that ID as the master has it.
    pub(crate) fn find(&self, id: &str) -> Option<&Given> {
        self.stored.get(&id.to_ascii_lowercase()).map(|stored| &stored.key)
    }
}

fn uuid(random: &[u8], odd: bool) -> String {
    let mut octets = random.to_vec();
    octets[6] = octets[6] & 0x0f | if odd { 0x80 } else { 0x40 };
    octets[8] = octets[8] & 0x3f | 0x80;
    let hex = crate::hex(&octets);
    let id = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    if odd { id.to_ascii_uppercase() } else { id }
}

/// What a conforming KME says; `fault` matters where keys are made or kept.
pub(crate) fn answer(side: Side, asked: &Asked, keys: &mut Keys, fault: Fault) -> Said {
    if asked.caller.is_none() && fault != Fault::NoCertificateRequest {
        return Said::error(401, "no client certificate");
    }
    let Some((method, peer)) = asked.api() else { return Said::error(404, "no such path") };
    let caller = asked.caller.as_deref().unwrap_or("unknown");
    match (method, asked.method.as_str()) {
        ("status", "GET") => status(side, caller, &peer, keys, fault),
        ("enc_keys", "GET") => {
            let mut request = serde_json::Map::new();
            for (name, value) in asked.query() {
                match value.parse::<u64>() {
                    Ok(number) if matches!(name.as_str(), "number" | "size") && !request.contains_key(&name) => {
                        request.insert(name, number.into());
                    }
                    _ => return Said::error(400, "bad query"),
                }
            }
            enc_keys(&Value::Object(request), keys, fault)
        }
        ("dec_keys", "GET") => match asked.query().as_slice() {
            [(name, id)] if name == "key_ID" => dec_keys(std::slice::from_ref(id), keys, fault),
            _ => Said::error(400, "one key_ID"),
        },
        ("enc_keys" | "dec_keys", "POST") => {
            let read = if asked.body.is_empty() { Ok(json!({})) } else { serde_json::from_slice::<Value>(&asked.body) };
            match read {
                Ok(request) if request.is_object() && method == "enc_keys" => enc_keys(&request, keys, fault),
                Ok(request) if request.is_object() => {
                    let ids: Option<Vec<_>> = request["key_IDs"]
                        .as_array()
                        .map(|ids| ids.iter().filter_map(|id| id["key_ID"].as_str().map(str::to_owned)).collect());
                    match ids {
                        Some(ids) if !ids.is_empty() => dec_keys(&ids, keys, fault),
                        _ => Said::error(400, "key_IDs"),
                    }
                }
                _ => Said::error(400, "not a JSON object"),
            }
        }
        _ => Said::error(405, "no such method"),
    }
}

fn status(side: Side, caller: &str, peer: &str, keys: &Keys, fault: Fault) -> Said {
    let limits = limits(fault);
    let other = if side == Side::A { Side::B } else { Side::A };
    Said::json(
        200,
        json!({
            "source_KME_ID": kme_id(side), "target_KME_ID": kme_id(other), "master_SAE_ID": caller, "slave_SAE_ID": peer,
            "key_size": limits.default, "stored_key_count": 100_000_u64.saturating_sub(keys.drawn), "max_key_count": 100_000,
            "max_key_per_request": limits.per_request, "max_key_size": limits.most, "min_key_size": limits.least,
            "max_SAE_ID_count": 2,
        }),
    )
}

fn enc_keys(request: &Value, keys: &mut Keys, fault: Fault) -> Said {
    let limits = limits(fault);
    let whole = |name: &str, default: u64| match request.get(name) {
        // what is null is absent, for those who read.
        None | Some(Value::Null) => Some(default),
        Some(value) => value.as_u64(),
    };
    let Some(number) = whole("number", 1).filter(|number| (1..=limits.per_request).contains(number)) else {
        return Said::error(400, "number is out of range");
    };
    let size = match whole("size", limits.default) {
        Some(size) if size % 8 != 0 => return Said::error(400, mandated::SIZE),
        Some(size) if (limits.least..=limits.most).contains(&size) => size,
        _ => return Said::error(400, "size is out of range"),
    };
    let some = |name: &str| request.get(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if some("extension_mandatory") {
        return Said::error(400, mandated::MANDATORY);
    }
    if some("extension_optional") && fault == Fault::OptionalRefused {
        return Said::error(400, mandated::OPTIONAL);
    }
    if keys.stored.len() >= STORED {
        return Said::error(503, "no more keys in this scenario");
    }
    let drawn = match (&keys.last, fault) {
        (Some(last), Fault::RepeatedId) => last.clone(),
        _ => keys.draw(number, size, fault == Fault::OddUuids),
    };
    keys.last = Some(drawn.clone());
    Said { status: 200, headers: Vec::new(), content: Content::Keys(drawn) }
}

fn dec_keys(ids: &[String], keys: &mut Keys, fault: Fault) -> Said {
    let known =
        |id: &String| keys.stored.get(&id.to_ascii_lowercase()).is_some_and(|stored| !stored.taken || fault == Fault::RepeatedId);
    if !ids.iter().all(known) {
        return Said::error(400, mandated::NOT_FOUND);
    }
    let mut given = Vec::new();
    for id in ids {
        if let Some(stored) = keys.stored.get_mut(&id.to_ascii_lowercase()) {
            stored.taken = true;
            given.push(Given { id: id.clone(), octets: stored.key.octets.clone() });
        }
    }
    Said { status: 200, headers: Vec::new(), content: Content::Keys(given) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str, body: &str, keys: &mut Keys) -> Said {
        let asked = Asked {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            caller: Some("red".to_owned()),
        };
        answer(Side::A, &asked, keys, Fault::None)
    }

    #[test]
    fn the_pair_conforms() {
        let mut keys = Keys::default();
        let said = ask("GET", "/api/v1/keys/blue/enc_keys?number=2&size=128", "", &mut keys);
        let Content::Keys(drawn) = &said.content else { panic!("no keys") };
        assert_eq!(drawn.iter().map(|key| key.octets.len()).collect::<Vec<_>>(), [16, 16]);
        let body = json!({ "key_IDs": drawn.iter().map(|key| json!({ "key_ID": key.id })).collect::<Vec<_>>() }).to_string();
        let fetched = ask("POST", "/api/v1/keys/red/dec_keys", &body, &mut keys);
        assert_eq!(said.value(), fetched.value());
        let again = ask("POST", "/api/v1/keys/red/dec_keys", &body, &mut keys);
        assert_eq!((again.status, again.value()), (400, Some(json!({ "message": mandated::NOT_FOUND }))));
        assert_eq!(ask("GET", "/api/v1/keys/blue/enc_keys?size=257", "", &mut keys).status, 400);
        assert_eq!(ask("POST", "/api/v1/keys/blue/enc_keys", "{\"number\":17}", &mut keys).status, 400);
        assert_eq!(ask("GET", "/api/v1/keys/bl%2Fue/status", "", &mut keys).value().expect("JSON")["slave_SAE_ID"], "bl/ue");
        assert_eq!(ask("GET", "/api/v1/keys/bl/ue/status", "", &mut keys).status, 404);
    }
}
