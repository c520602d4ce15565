//! What is judged of every request of an SAE, whoever it was sent to.

use crate::case::Level;
use crate::json::{self, Json};
use crate::lab::{cut, printable};
use crate::player::{Asked, decoded};
use crate::secret::is_uuid;

/// A request, and what is known of who sent it.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) asked: Asked,
    /// The SAE's own ID, and its peer's.
    pub(crate) own: Option<String>,
    pub(crate) peer: Option<String>,
    /// Part of the path that comes before `/api`.
    pub(crate) prefix: String,
}

/// Something that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) part: &'static str,
    /// Where it differs from the case's own.
    pub(crate) level: Option<Level>,
    pub(crate) accepted: &'static str,
    pub(crate) got: String,
}

/// Cases that look at single requests.
pub(crate) const WATCHED: [&str; 7] =
    ["SAE14-REQ-001", "SAE14-REQ-004", "SAE14-REQ-005", "SAE14-REQ-006", "SAE14-REQ-007", "SAE14-REQ-008", "SAE14-REQ-010"];

/// What a case finds in a request; nothing if it has nothing to look at there.
pub(crate) fn judge(case: &str, look: &Look) -> Option<Vec<Finding>> {
    let mut asked = look.asked.clone();
    if let Some(rest) = asked.target.strip_prefix(&look.prefix) {
        asked.target = rest.to_owned();
    }
    let mut findings = Findings { found: Vec::new(), line: cut(&printable(&format!("{} {}", asked.method, asked.target)), 300) };
    match case {
        "SAE14-REQ-001" => paths(&asked, &mut findings),
        "SAE14-REQ-004" => peers(&asked, look, &mut findings)?,
        "SAE14-REQ-005" => get_key_by_get(&asked, &mut findings)?,
        "SAE14-REQ-006" => ids_by_get(&asked, &mut findings)?,
        "SAE14-REQ-007" => members(&asked, &mut findings)?,
        "SAE14-REQ-008" => bodies(&asked, &mut findings)?,
        "SAE14-REQ-010" => prefixes(&asked, &mut findings)?,
        _ => return None,
    }
    Some(findings.found)
}

struct Findings {
    found: Vec<Finding>,
    line: String,
}

impl Findings {
    fn judge(&mut self, part: &'static str, level: Option<Level>, met: bool, accepted: &'static str) {
        if !met {
            self.found.push(Finding { part, level, accepted, got: self.line.clone() });
        }
    }

    fn note(&mut self, part: &'static str, level: Option<Level>, accepted: &'static str, got: &str) {
        let got = format!("{}: {got}", self.line);
        self.found.push(Finding { part, level, accepted, got });
    }
}

fn paths(asked: &Asked, findings: &mut Findings) {
    let path = asked.target.split('?').next().unwrap_or_default();
    if !path.trim_start_matches('/').starts_with("api/") {
        // Of the vendor, perhaps; the standard has no such method.
        findings.judge("path", Some(Level::D), false, "/api/v1/keys/{SAE_ID}/status, enc_keys or dec_keys");
        return;
    }
    let known = path.strip_prefix("/api/v1/keys/").and_then(|rest| rest.split_once('/'));
    let method = known.map(|(_, method)| method).filter(|method| matches!(*method, "status" | "enc_keys" | "dec_keys"));
    let named = known.is_some_and(|(peer, _)| !peer.is_empty());
    findings.judge("path", None, method.is_some() && named, "/api/v1/keys/{SAE_ID}/status, enc_keys or dec_keys");
    let Some(method) = method else { return };
    let right = asked.method == "GET" || asked.method == "POST" && method != "status";
    findings.judge("method", None, right, "GET, or POST for enc_keys and dec_keys");
    findings.judge("body", None, asked.method != "GET" || asked.body.is_empty(), "GET without a body");
    let query = asked.target.contains('?') && (method == "status" || asked.method == "POST");
    findings.judge("query", Some(Level::D), !query, "a query with GET enc_keys and dec_keys only");
}

fn peers(asked: &Asked, look: &Look, findings: &mut Findings) -> Option<()> {
    let (method, named) = asked.api()?;
    let accepted = match method {
        "dec_keys" => "the master's SAE ID in the path of dec_keys",
        _ => "the slave's SAE ID in the path of status and enc_keys",
    };
    let right = match (&look.peer, &look.own) {
        (Some(peer), _) => named == *peer,
        (None, Some(own)) => named != *own,
        (None, None) => return None,
    };
    findings.judge("path", None, right, accepted);
    Some(())
}

fn get_key_by_get(asked: &Asked, findings: &mut Findings) -> Option<()> {
    let (method, _) = asked.api()?;
    (method == "enc_keys").then_some(())?;
    if asked.method == "GET" {
        let query = asked.query();
        let known = query.iter().all(|(name, _)| matches!(name.as_str(), "number" | "size"));
        findings.judge("query", None, known, "`number` and `size`; anything else by POST");
        let twice = query.iter().enumerate().any(|(index, (name, _))| query[index + 1..].iter().any(|(other, _)| other == name));
        findings.judge("query", None, !twice, "each parameter once");
        let digits = query
            .iter()
            .filter(|(name, _)| matches!(name.as_str(), "number" | "size"))
            .all(|(_, value)| !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()));
        findings.judge("query", None, digits, "decimal digits");
    }
    Some(())
}

fn ids_by_get(asked: &Asked, findings: &mut Findings) -> Option<()> {
    let (method, _) = asked.api()?;
    (method == "dec_keys").then_some(())?;
    if asked.method == "GET" {
        let accepted = "`key_ID` once, with one ID; anything else by POST";
        let query = asked.query();
        let one = matches!(query.as_slice(), [(name, id)] if name == "key_ID" && !id.contains(','));
        findings.judge("query", None, one, accepted);
    }
    Some(())
}

/// The body of a POST as JSON.
fn posted(asked: &Asked) -> Option<(String, Json)> {
    let (method, _) = asked.api()?;
    (asked.method == "POST" && method != "status").then_some(())?;
    Some((method.to_owned(), json::read(&asked.body).ok()?.0))
}

fn members(asked: &Asked, findings: &mut Findings) -> Option<()> {
    let (method, body) = posted(asked)?;
    let Json::Object(listed) = &body else {
        findings.note("body", None, "an object", body.kind());
        return Some(());
    };
    for (name, value) in listed {
        if matches!(value, Json::Null) {
            findings.note("null", Some(Level::D), "absent members are omitted", &printable(name));
            continue;
        }
        let right = match (method.as_str(), name.as_str()) {
            ("enc_keys", "number" | "size") => {
                let whole = matches!(value, Json::Number(spelt) if !spelt.contains(['.', 'e', 'E', '-']));
                if !whole {
                    findings.note("integers", None, "a JSON integer", &format!("`{name}` is {}", spelt(value)));
                }
                true
            }
            ("enc_keys", "additional_slave_SAE_IDs") => value.array().is_some_and(|ids| ids.iter().all(|id| id.text().is_some())),
            ("enc_keys", "extension_mandatory" | "extension_optional") => {
                value.array().is_some_and(|list| list.iter().all(Json::is_object))
            }
            ("dec_keys", "key_IDs") => key_ids(value, findings),
            ("dec_keys", "key_IDs_extension") => value.is_object(),
            _ => {
                findings.note("members", Some(Level::D), "no member that the standard does not name", &printable(name));
                true
            }
        };
        if !right {
            findings.note(
                "types",
                None,
                "the type that the standard gives",
                &format!("`{}` is {}", printable(name), value.kind()),
            );
        }
    }
    if method == "dec_keys" && body.get("key_IDs").is_none() {
        findings.note("members", None, "`key_IDs`", "absent");
    }
    Some(())
}

fn spelt(value: &Json) -> String {
    match value {
        Json::Number(spelt) => cut(&printable(spelt), 40),
        other => other.kind().to_owned(),
    }
}

fn key_ids(value: &Json, findings: &mut Findings) -> bool {
    let Some(list) = value.array() else { return false };
    for entry in list {
        let Json::Object(members) = entry else { return false };
        if entry.get("key_ID").and_then(Json::text).is_none() {
            return false;
        }
        for (name, value) in members.iter().filter(|(name, _)| name != "key_ID") {
            match (name.as_str(), value) {
                (_, Json::Null) => findings.note("null", Some(Level::D), "absent members are omitted", &printable(name)),
                ("key_ID_extension", value) if value.is_object() => {}
                ("key_ID_extension", _) => return false,
                _ => {
                    findings.note("members", Some(Level::D), "no member that the standard does not name", &printable(name));
                }
            }
        }
    }
    !list.is_empty()
}

fn bodies(asked: &Asked, findings: &mut Findings) -> Option<()> {
    let (method, _) = asked.api()?;
    (asked.method == "POST" && method != "status").then_some(())?;
    if asked.body.is_empty() {
        // A-25: an empty request is one of the readings for Get key.
        let level = (method == "enc_keys").then_some(Level::D);
        findings.judge("body", level, false, "a JSON text; the empty request is `{}`");
        return Some(());
    }
    let kind = asked.header("content-type").unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media != "application/json" {
        findings.note("content type", None, "application/json", &format!("Content-Type {:?}", cut(&printable(kind), 100)));
    }
    match json::read(&asked.body) {
        Ok((_, facts)) => {
            let fault = match () {
                () if facts.not_utf8 => "not UTF-8",
                () if facts.byte_order_mark => "a byte order mark",
                () if facts.trailing => "something follows the JSON text",
                () => "",
            };
            if !fault.is_empty() {
                findings.note("body", None, "one JSON text in UTF-8", fault);
            }
            if !facts.duplicates.is_empty() {
                findings.note("duplicates", Some(Level::H), "no duplicate members", &printable(&facts.duplicates.join(", ")));
            }
        }
        Err(why) => findings.note("body", None, "one JSON text in UTF-8", why),
    }
    Some(())
}

fn prefixes(asked: &Asked, findings: &mut Findings) -> Option<()> {
    let (_, body) = posted(asked)?;
    let mut names: Vec<String> = Vec::new();
    for member in ["extension_mandatory", "extension_optional"] {
        for entry in body.get(member).and_then(Json::array).unwrap_or_default() {
            if let Json::Object(members) = entry {
                names.extend(members.iter().map(|(name, _)| name.clone()));
            }
        }
    }
    (!names.is_empty()).then_some(())?;
    for name in names {
        let prefixed = name.split_once('_').is_some_and(|(prefix, rest)| !prefix.is_empty() && !rest.is_empty());
        if !prefixed {
            findings.note("extensions", None, "a name that begins with a vendor's prefix and `_`", &cut(&printable(&name), 100));
        }
    }
    Some(())
}

/// The IDs that a request asks for, in their order.
pub(crate) fn ids(asked: &Asked) -> Vec<String> {
    if asked.method == "GET" {
        let ids = asked.query().into_iter().filter(|(name, _)| name == "key_ID");
        return ids.flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
    }
    let Some((_, body)) = posted(asked) else { return Vec::new() };
    let listed = body.get("key_IDs").and_then(Json::array).unwrap_or_default();
    listed.iter().filter_map(|entry| entry.get("key_ID").and_then(Json::text).or(entry.text()).map(str::to_owned)).collect()
}

/// `number` or `size` as asked for.
pub(crate) fn figure(asked: &Asked, name: &str) -> Option<u64> {
    if asked.method == "GET" {
        return asked.query().into_iter().find(|(key, _)| key == name)?.1.parse().ok();
    }
    u64::try_from(posted(asked)?.1.get(name)?.integer()?).ok()
}

/// The path segment that names the other SAE, as it was sent, if the path has the right form.
pub(crate) fn peer_segment(asked: &Asked) -> Option<String> {
    let path = asked.target.split('?').next().unwrap_or_default();
    let (peer, method) = path.strip_prefix("/api/v1/keys/")?.rsplit_once('/')?;
    matches!(method, "status" | "enc_keys" | "dec_keys").then(|| peer.to_owned())
}

/// What is wrong with how `peer` was written into the path; nothing if that is right.
pub(crate) fn encoding_fault(segment: &str, peer: &str) -> Option<String> {
    if segment.contains('/') {
        return Some("a slash of the ID is a slash of the path".to_owned());
    }
    match decoded(segment) {
        Some(text) if text == peer => None,
        Some(text) if decoded(&text).as_deref() == Some(peer) => Some("encoded twice".to_owned()),
        Some(text) => Some(format!("decoded, it is {:?}", cut(&printable(&text), 100))),
        None => Some("a percent sign is not followed by two digits of octets that are UTF-8".to_owned()),
    }
}

/// Whether all IDs have the form of UUIDs.
pub(crate) fn are_uuids(ids: &[String]) -> bool {
    ids.iter().all(|id| is_uuid(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(method: &str, target: &str, body: &str) -> Look {
        let json = ("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned());
        let asked = Asked {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![json],
            body: body.as_bytes().to_vec(),
            caller: None,
        };
        Look { asked, own: Some("red".to_owned()), peer: Some("blue".to_owned()), prefix: String::new() }
    }

    /// Cases that find something.
    fn found(method: &str, target: &str, body: &str) -> Vec<&'static str> {
        let look = look(method, target, body);
        let findings = WATCHED.into_iter().filter(|case| judge(case, &look).is_some_and(|found| !found.is_empty()));
        findings.map(|case| &case[10..]).collect()
    }

    #[test]
    fn right_requests_are_right() {
        let id = "0957365e-4b8d-4f95-8a8f-de3d60199dbb";
        let two = format!("{{\"key_IDs\":[{{\"key_ID\":\"{id}\"}},{{\"key_ID\":\"{id}\",\"key_ID_extension\":{{}}}}]}}");
        for (method, path, body) in [
            ("GET", "status", ""),
            ("GET", "enc_keys", ""),
            ("GET", "enc_keys?number=3&size=256", ""),
            ("POST", "enc_keys", "{}"),
            ("POST", "enc_keys", r#"{"number":3,"size":256,"additional_slave_SAE_IDs":["green"]}"#),
            ("POST", "enc_keys", r#"{"extension_optional":[{"hx_trace":true}]}"#),
            ("GET", &format!("dec_keys?key_ID={id}"), ""),
            ("POST", "dec_keys", &two),
        ] {
            assert_eq!(found(method, &format!("/api/v1/keys/blue/{path}"), body), [""; 0], "{method} {path} {body}");
        }
    }

    #[test]
    fn wrong_requests_are_found_by_the_case_for_them() {
        for (method, target, body, cases) in [
            ("GET", "/api/v1/keys/blue/enc_key", "", vec!["001"]),
            ("GET", "/api/v1/keys/blue/status/", "", vec!["001"]),
            ("GET", "//api/v1/keys/blue/status", "", vec!["001"]),
            ("POST", "/api/v1/keys/blue/status", "", vec!["001"]),
            ("PUT", "/api/v1/keys/blue/enc_keys", "{}", vec!["001"]),
            ("GET", "/api/v1/keys/blue/enc_keys", "{}", vec!["001"]),
            ("GET", "/health", "", vec!["001"]),
            ("GET", "/api/v1/keys/red/status", "", vec!["004"]),
            ("GET", "/api/v1/keys/blue/enc_keys?extension_optional=x", "", vec!["005"]),
            ("GET", "/api/v1/keys/blue/enc_keys?number=1&number=2", "", vec!["005"]),
            ("GET", "/api/v1/keys/blue/enc_keys?size=1e2", "", vec!["005"]),
            ("GET", "/api/v1/keys/blue/dec_keys?key_ID=a&key_ID=b", "", vec!["006"]),
            ("GET", "/api/v1/keys/blue/dec_keys?key_ID=a,b", "", vec!["006"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "{\"number\":\"1\"}", vec!["007"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "{\"number\":1.0}", vec!["007"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "{\"size\":null}", vec!["007"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "{\"sise\":1}", vec!["007"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "{\"extension_optional\":{\"a_b\":1}}", vec!["007"]),
            ("POST", "/api/v1/keys/blue/dec_keys", "{\"key_IDs\":[\"a\"]}", vec!["007"]),
            ("POST", "/api/v1/keys/blue/dec_keys", "{\"key_ids\":[]}", vec!["007"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "", vec!["008"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "number=1", vec!["008"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "{} {}", vec!["008"]),
            ("POST", "/api/v1/keys/blue/enc_keys", "{\"extension_optional\":[{\"trace\":1}]}", vec!["010"]),
        ] {
            assert_eq!(found(method, target, body), cases, "{method} {target} {body}");
        }
    }

    #[test]
    fn encoding_is_judged_after_decoding_once() {
        let peer = "unit 7/50%\u{e9}";
        assert_eq!(encoding_fault("unit%207%2F50%25%C3%A9", peer), None);
        assert_eq!(encoding_fault("%75nit%207%2f50%25%c3%a9", peer), None);
        for wrong in ["unit+7%2F50%25%C3%A9", "unit%207/50%25%C3%A9", "unit%25207%252F50%2525%25C3%25A9", "unit%207%2F50%\u{e9}"]
        {
            assert!(encoding_fault(wrong, peer).is_some(), "{wrong}");
        }
    }
}
