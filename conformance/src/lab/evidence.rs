//! Exchanges as they may be shown: without key material, without control characters, of bounded length.

use base64ct::{Base64, Encoding};
use time::format_description::well_known::Rfc3339;

use super::answer::is_extension;
use super::{Answer, Kme, Request};
use crate::bounds::{HEADER_SHOWN, HEADERS_SHOWN, RAW, SHOWN};
use crate::json::Json;
use crate::report::{Exchange, Message};
use crate::secret::{Vault, cut, is_uuid, looks_like_key, printable, searched, without_keys, without_octets_in_a_row};

/// Code and redacted body, or why there is no answer.
pub(crate) fn shown(answer: &Answer, vault: &Vault) -> String {
    match &answer.outcome {
        Ok(response) => {
            let body = cut(&body(answer, vault), 300);
            if body.is_empty() { format!("{} without body", response.status) } else { format!("{} {body}", response.status) }
        }
        Err(error) => vault.told(&error.to_string(), HEADER_SHOWN),
    }
}

pub(super) fn exchange(who: &str, kme: &Kme, request: &Request, answer: &Answer, vault: &Vault) -> Exchange {
    let response = answer.outcome.as_ref().ok().map(|response| {
        let body = body(answer, vault);
        let masked = |text: &str| without_keys(searched(text));
        let header =
            |(name, value): &(String, String)| (vault.told(&masked(name), 100), vault.told(&masked(value), HEADER_SHOWN));
        let line = format!("HTTP/1.{} {} {}", response.minor, response.status, masked(&response.reason));
        Message {
            line: vault.told(&line, HEADER_SHOWN),
            headers: response.headers.iter().take(HEADERS_SHOWN).map(header).collect(),
            truncated_at: (body.len() > SHOWN).then_some(SHOWN),
            body: Some(cut(&body, SHOWN)).filter(|body| !body.is_empty()),
            raw_b64: None,
        }
    });
    // A body of ours that is no text is shown as the octets it is. In one of an SAE there may be a key.
    let no_text = request.body.as_deref().filter(|body| request.fault && std::str::from_utf8(body).is_err());
    let raw = request.raw.as_deref().or(no_text);
    // What we ask with may come from an answer: an ID may be a key.
    let text = request.body.as_deref().filter(|_| no_text.is_none());
    let body = text.map(|body| vault.told(&String::from_utf8_lossy(&body[..body.len().min(SHOWN)]), SHOWN));
    let target = vault.told(&request.target, SHOWN);
    Exchange {
        n: answer.n,
        at: answer.at.format(&Rfc3339).unwrap_or_default(),
        ms: answer.took.as_secs_f64() * 1000.0,
        actor: who.to_owned(),
        kme: kme.side.letter().to_owned(),
        tls: answer.tls.as_ref().map(|tls| format!("TLS {} {}", tls.version, tls.suite)),
        request: Message {
            line: if request.raw.is_some() {
                "(octets)".to_owned()
            } else {
                format!("{} {}{target}", request.method, kme.url.prefix)
            },
            headers: request.headers.iter().map(|(name, value)| (vault.told(name, 100), vault.told(value, 200))).collect(),
            truncated_at: raw.map(<[u8]>::len).filter(|length| *length > RAW).map(|_| RAW),
            body,
            raw_b64: raw.map(|raw| Base64::encode_string(&raw[..raw.len().min(RAW)])),
        },
        response,
        error: answer.outcome.as_ref().err().map(|error| vault.told(&error.to_string(), HEADER_SHOWN)),
    }
}

/// The body of an answer, redacted.
fn body(answer: &Answer, vault: &Vault) -> String {
    // Also over the whole: an array is a row, too.
    without_octets_in_a_row(&told_body(answer, vault))
}

fn told_body(answer: &Answer, vault: &Vault) -> String {
    let Ok(response) = &answer.outcome else { return String::new() };
    let octets = response.body.expose();
    if vault.is_full() && !octets.is_empty() {
        return format!("({} octets, not shown: more keys were seen than are remembered)", octets.len());
    }
    match &answer.json {
        Ok(value) => {
            let mut text = String::new();
            render(value, None, Shown { guarded: answer.guarded, open: answer.guarded }, vault, &mut text);
            text
        }
        Err(_) if answer.guarded => skeleton(&octets[..octets.len().min(SHOWN)]),
        // Cut before it is looked through: a key cut in two is a dense word still.
        Err(_) => {
            let octets = vault.censored_octets(&octets[..octets.len().min(2 * SHOWN)]);
            printable(&without_keys(&String::from_utf8_lossy(&octets)))
        }
    }
}

/// What is no JSON, where keys may be: its signs, and `x` for all that a key could be written with.
fn skeleton(octets: &[u8]) -> String {
    let masked = |octet: &u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'/' | b'=' => 'x',
        b' '..=b'~' => char::from(*octet),
        _ => '.',
    };
    octets.iter().map(masked).collect()
}

/// What of a value is shown.
#[derive(Clone, Copy)]
struct Shown {
    /// Only what is known to be harmless.
    guarded: bool,
    /// A member called `key` is one.
    open: bool,
}

/// Members whose values are no secret in a container or a Status.
const HARMLESS: [&str; 13] = [
    "key_ID",
    "message",
    "source_KME_ID",
    "target_KME_ID",
    "master_SAE_ID",
    "slave_SAE_ID",
    "key_size",
    "stored_key_count",
    "max_key_count",
    "max_key_per_request",
    "max_key_size",
    "min_key_size",
    "max_SAE_ID_count",
];

fn render(value: &Json, member: Option<&str>, shown: Shown, vault: &Vault, text: &mut String) {
    // The rest would be cut off anyhow.
    if text.len() > 2 * SHOWN {
        return;
    }
    if member.is_some_and(|name| name.eq_ignore_ascii_case("key")) {
        match value.text() {
            Some(key) if shown.open || looks_like_key(key) || vault.knows(key) => return text.push_str(&hidden(key, vault)),
            None if shown.open => return text.push_str(&format!("\"<{} called key>\"", value.kind())),
            _ => {}
        }
    }
    let harmless = !shown.guarded || member.is_some_and(|name| HARMLESS.contains(&name));
    match value {
        Json::Null => text.push_str("null"),
        Json::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Json::Number(spelt) if harmless => text.push_str(&vault.told(spelt, 60)),
        Json::Number(_) => text.push_str("\"<a number>\""),
        Json::String(value) if harmless => text.push_str(&quoted(value, vault)),
        Json::String(value) => text.push_str(&format!("\"<{} characters>\"", value.chars().count())),
        Json::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate().take(SHOWN) {
                text.push_str(if index == 0 { "" } else { "," });
                render(value, None, shown, vault, text);
            }
            text.push(']');
        }
        Json::Object(members) => {
            text.push('{');
            for (index, (name, value)) in members.iter().enumerate().take(SHOWN) {
                text.push_str(if index == 0 { "" } else { "," });
                let is_name = name.len() <= 40 && name.bytes().all(|octet| octet.is_ascii_alphabetic() || octet == b'_');
                match shown.guarded && !is_name {
                    true => text.push_str(&format!("\"<a name of {} characters>\"", name.chars().count())),
                    false => text.push_str(&quoted(name, vault)),
                }
                text.push(':');
                render(value, Some(name), Shown { open: shown.open && !is_extension(name), ..shown }, vault, text);
            }
            text.push('}');
        }
    }
}

fn hidden(key: &str, vault: &Vault) -> String {
    match Base64::decode_vec(key).map(crate::secret::Secret::new) {
        Ok(octets) => format!("\"<{} octets, fp {}>\"", octets.len(), vault.fingerprint(octets.expose())),
        Err(_) => format!("\"<{} characters, not base64, fp {}>\"", key.len(), vault.fingerprint(key.as_bytes())),
    }
}

fn quoted(text: &str, vault: &Vault) -> String {
    let text = if is_uuid(text) { text.to_owned() } else { without_keys(searched(text)) };
    format!("\"{}\"", vault.told(&text, SHOWN).replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str, guarded: bool) -> String {
        let vault = Vault::new().expect("random generator");
        let mut text = String::new();
        let value = crate::json::read(body.as_bytes()).expect("JSON").0;
        render(&value, None, Shown { guarded, open: guarded }, &vault, &mut text);
        text
    }

    #[test]
    fn where_keys_may_be_only_harmless_values_are_shown() {
        let body = r#"{"keys":[{"key_ID":"a","value":"yAFNAwn6Bj0=","octets":[200,1,77],"hex":"ab:cd:ef","yAFNAwn6Bj0=":true}],"number":7}"#;
        let expected = r#"{"keys":[{"key_ID":"a","value":"<12 characters>","octets":["<a number>","<a number>","<a number>"],"hex":"<8 characters>","<a name of 12 characters>":true}],"number":"<a number>"}"#;
        assert_eq!(shown(body, true), expected);
        assert_eq!(skeleton(b"{'key': 'yAFNAwn6Bj0=\xff'}\n"), "{'xxx': 'xxxxxxxxxxxx.'}.");
    }

    #[test]
    fn a_key_in_an_error_is_not_shown_however_it_is_written() {
        let vault = Vault::new().expect("random generator");
        let key = [200_u8, 1, 77, 3, 9, 250, 6, 61];
        let hex = |between: &str| key.map(|octet| format!("{octet:02x}")).join(between);
        let list = format!("{key:?}");
        for (status, body) in [
            (400, format!("{{\"message\":\"no\",\"details\":[{{\"buffer\":{list}}}]}}")),
            (400, format!("{{\"message\":\"cannot encode {list}\"}}")),
            (503, format!("{{\"message\":\"cannot encode {}\"}}", hex(":"))),
            (500, format!("<pre>{}</pre>", hex("\n"))),
            (500, format!("key: {}", hex(" "))),
            (200, format!("{{\"status_extension\":{{\"pool\":{list}}}}}")),
        ] {
            let response = crate::wire::Response {
                minor: 1,
                status,
                reason: String::new(),
                headers: Vec::new(),
                body: crate::secret::Secret::new(body.clone().into_bytes()),
                framing: Vec::new(),
                last: false,
            };
            let answer = Answer::read(crate::lab::Api::Status, Ok(response), &vault);
            let told = super::shown(&answer, &vault);
            assert!(told.contains("octets>") && !told.contains("77") && !told.contains("4d"), "{body}: {told}");
        }
    }

    #[test]
    fn an_error_is_shown_with_its_details() {
        let body = r#"{"message":"no","details":[{"key":"size","value":"257"},{"key":"yAFNAwn6Bj0=","a":8}]}"#;
        let text = shown(body, false);
        assert!(text.starts_with(r#"{"message":"no","details":[{"key":"size","value":"257"},{"key":"<8 octets, fp "#), "{text}");
    }
}
