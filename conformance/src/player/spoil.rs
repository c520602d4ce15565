//! What a fault makes of an answer, and how it goes out.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::kme::{Asked, Content, Given, Keys, Said};
use super::scenario::Fault;
use crate::ctx::mandated;

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    /// So many octets of the body, then the connection is lost.
    CutAt(usize),
    /// White space without end instead of the rest.
    Endless,
    /// Nothing.
    Silence,
    Drip,
    /// The connection is closed without an answer.
    Close,
}

/// An answer as octets.
pub(super) struct Shaped {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) chunked: bool,
    pub(super) last: bool,
    pub(super) fate: Fate,
    /// The keys in it, as they are in it.
    pub(super) keys: Vec<Given>,
}

/// When an answer is given.
pub(super) struct Moment {
    /// Answers with keys before this one.
    pub(super) before: u64,
    /// Since keys were asked for by ID for the first time.
    pub(super) waited_ms: u64,
    /// Where plain HTTP is spoken.
    pub(super) plain: String,
}

/// Forms the answer to a request.
pub(super) fn shape(fault: Fault, asked: &Asked, mut said: Said, keys: &mut Keys, moment: &Moment) -> Shaped {
    let method = asked.api().map(|(method, _)| method.to_owned()).unwrap_or_default();
    let about_keys = matches!(method.as_str(), "enc_keys" | "dec_keys");
    whole(fault, &method, asked, &mut said, moment);
    if let Content::Keys(given) = &mut said.content {
        spoil_keys(fault, &method, given, keys);
    }
    let given = match &said.content {
        Content::Keys(given) => given.clone(),
        _ => Vec::new(),
    };
    let mut value = said.value();
    if let Some(value) = &mut value {
        spoil_json(fault, value, !given.is_empty());
    }
    let mut body = value.map(|value| Zeroizing::new(value.to_string().into_bytes())).unwrap_or_default();
    let mut kind = "application/json";
    let mut fate = Fate::Whole;
    match fault {
        Fault::Pretty => body = pretty(&body),
        Fault::Charset => kind = "Application/JSON; charset=utf-8",
        Fault::HtmlWith200 if about_keys => {
            kind = "text/html";
            body = Zeroizing::new(b"<!doctype html><title>Maintenance</title><p>We are back soon.</p>".to_vec());
        }
        Fault::DeepNesting if !given.is_empty() => {
            let deep = format!("{{\"hx_deep\":{}{},", "[".repeat(100_000), "]".repeat(100_000));
            body = Zeroizing::new([deep.as_bytes(), &body[1..]].concat());
        }
        Fault::BadUtf8 if !given.is_empty() => body = Zeroizing::new([b"{\"hx_note\":\"\xff\xfe\",", &body[1..]].concat()),
        Fault::DuplicateMembers if !given.is_empty() => body = duplicated(&body),
        Fault::CutBody if !given.is_empty() => fate = Fate::CutAt(last_key(&body) + 4),
        Fault::CutAfterJson if !given.is_empty() => {
            fate = Fate::CutAt(body.len());
            body.extend_from_slice(&[b' '; 16]);
        }
        Fault::LostAnswer if !given.is_empty() && moment.before == 0 => fate = Fate::CutAt(first_key(&body)),
        Fault::EndlessBody if about_keys => fate = Fate::Endless,
        Fault::Silence => fate = Fate::Silence,
        Fault::Drip => fate = Fate::Drip,
        Fault::ConnectionLost => fate = Fate::Close,
        _ => {}
    }
    let mut headers = vec![("Cache-Control".to_owned(), "no-store".to_owned())];
    if !body.is_empty() {
        headers.insert(0, ("Content-Type".to_owned(), kind.to_owned()));
    }
    headers.append(&mut said.headers);
    Shaped {
        status: said.status,
        headers,
        body,
        chunked: fault == Fault::Chunked,
        // On a connection that stays, the KME would stay, too.
        last: matches!(fault, Fault::EarlyData | Fault::DownAfterFirst),
        fate,
        keys: given,
    }
}

/// Faults that replace an answer.
fn whole(fault: Fault, method: &str, asked: &Asked, said: &mut Said, moment: &Moment) {
    let good = said.status == 200;
    match (fault, method) {
        (Fault::PlainRedirect, _) => {
            *said = Said { status: 307, headers: Vec::new(), content: Content::Nothing };
            said.headers.push(("Location".to_owned(), format!("{}{}", moment.plain, asked.target)));
        }
        (Fault::Unauthorised, _) => *said = Said { status: 401, headers: Vec::new(), content: Content::Nothing },
        (Fault::ServerError, _) => *said = Said::error(503, "the key store is not available"),
        (Fault::SizeRefused, "enc_keys") => *said = Said::error(400, mandated::SIZE),
        (Fault::SizeRefused | Fault::NeverFound, "dec_keys") => *said = Said::error(400, mandated::NOT_FOUND),
        (Fault::NotYet, "dec_keys") if moment.waited_ms < 1000 => *said = Said::error(400, mandated::NOT_FOUND),
        (Fault::Empty, "enc_keys" | "dec_keys") if good => said.content = Content::Keys(Vec::new()),
        (Fault::ErrorWith200, "enc_keys" | "dec_keys") => {
            *said = Said::error(503, "the key store is not available");
            said.status = 200;
        }
        _ => {}
    }
}

fn spoil_keys(fault: Fault, method: &str, given: &mut Vec<Given>, keys: &mut Keys) {
    match fault {
        Fault::Reordered => given.reverse(),
        Fault::ShortKey => given.iter_mut().for_each(|key| {
            let half = key.octets.len() / 2;
            key.octets.truncate(half);
        }),
        Fault::LongKey => given.iter_mut().for_each(|key| {
            let more: Vec<u8> = key.octets.iter().rev().map(|octet| octet ^ 0x5a).collect();
            key.octets.extend(more);
        }),
        Fault::FewerKeys => drop(given.pop()),
        Fault::MoreKeys if method == "enc_keys" => {
            let bits = given.first().map_or(256, |key| key.octets.len() as u64 * 8);
            given.extend(keys.draw(2, bits, false));
        }
        Fault::OtherId if method == "dec_keys" => {
            let other = keys.draw(1, 256, false);
            if let (Some(last), Some(other)) = (given.last_mut(), other.first()) {
                last.id.clone_from(&other.id);
            }
        }
        Fault::SameId => {
            let first = given.first().map(|key| key.id.clone()).unwrap_or_default();
            given.iter_mut().for_each(|key| key.id.clone_from(&first));
        }
        Fault::SameKey => {
            let first = given.first().map(|key| key.octets.clone()).unwrap_or_default();
            given.iter_mut().for_each(|key| key.octets.clone_from(&first));
        }
        Fault::ZeroKey => given.iter_mut().for_each(|key| key.octets.fill(0)),
        Fault::OtherOctets if method == "dec_keys" => {
            given.iter_mut().for_each(|key| key.octets.iter_mut().for_each(|octet| *octet ^= 0xa5));
        }
        _ => {}
    }
}

fn spoil_json(fault: Fault, value: &mut Value, has_keys: bool) {
    if fault == Fault::ExtraMembers {
        value["hx_extra"] = json!({ "a": [1, null, "x"] });
        value[if has_keys { "key_container_extension" } else { "status_extension" }] = json!({ "hx_notes": ["none"] });
    }
    for key in value["keys"].as_array_mut().into_iter().flatten() {
        match fault {
            Fault::ExtraMembers => {
                key["key_ID_extension"] = json!({ "hx_epoch": 71 });
                key["key_extension"] = json!({ "hx_path": "direct" });
                key["hx_age"] = json!(3);
            }
            Fault::BadBase64 => key["key"] = json!(key["key"].as_str().map(|text| text.replacen(|_: char| true, "*!", 1))),
            Fault::CutBase64 => {
                let text = key["key"].as_str().unwrap_or_default().trim_end_matches('=');
                // 4 n + 1 characters are no base64, with padding or without.
                key["key"] = json!(text[..text.len().saturating_sub(3) / 4 * 4 + 1].to_owned());
            }
            _ => {}
        }
    }
}

/// White space everywhere, and escapes in names and values.
fn pretty(body: &[u8]) -> Zeroizing<Vec<u8>> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = Zeroizing::new(serde_json::to_string_pretty(&value).unwrap_or_default());
    let text = text.replace("\n", "\r\n\t").replace("\"key_ID\"", "\"key\\u005FID\"").replace('/', "\\/");
    Zeroizing::new(format!(" \n{text}\n").into_bytes())
}

/// `"key":` twice, first with another value.
fn duplicated(body: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = String::from_utf8_lossy(body);
    let other = Base64::encode_string(&[0x42; 32]);
    Zeroizing::new(text.replace("\"key\":", &format!("\"key\":\"{other}\",\"key\":")).into_bytes())
}

fn find(body: &[u8], what: &[u8], last: bool) -> usize {
    let mut found = body.windows(what.len()).enumerate().filter(|(_, window)| *window == what).map(|(at, _)| at);
    if last { found.next_back() } else { found.next() }.map_or(body.len() / 2, |at| at + what.len())
}

/// Where the octets of the last key begin.
fn last_key(body: &[u8]) -> usize {
    find(body, b"\"key\":\"", true)
}

/// Where the first object's ID is told, and nothing of its key. Names are in alphabetical order or as sent: both are seen to.
fn first_key(body: &[u8]) -> usize {
    let id = find(body, b"\"key_ID\":\"", false) + 37;
    id.min(body.len())
}
