//! Exchanges as they may be shown: without key material, without control characters, of bounded length.

use time::format_description::well_known::Rfc3339;

use base64ct::{Base64, Encoding};

use super::{Answer, Kme, Request};
use crate::json::Json;
use crate::report::{Exchange, Message};
use crate::secret::{Vault, without_dense_words};

const MAX_SHOWN: usize = 2000;
const MAX_RAW: usize = 512;

/// Code and redacted body, or why there is no answer.
pub(crate) fn shown(answer: &Answer, vault: &Vault) -> String {
    match &answer.outcome {
        Ok(response) => {
            let body = cut(&body(answer, vault), 300);
            if body.is_empty() { format!("{} without body", response.status) } else { format!("{} {body}", response.status) }
        }
        Err(error) => printable(&error.to_string()),
    }
}

pub(super) fn exchange(who: &str, kme: &Kme, request: &Request, answer: &Answer, vault: &Vault) -> Exchange {
    let response = answer.outcome.as_ref().ok().map(|response| {
        let body = body(answer, vault);
        let header = |(name, value): &(String, String)| {
            (printable(name), cut(&printable(&without_dense_words(&vault.censored(value))), MAX_SHOWN))
        };
        Message {
            line: printable(&vault.censored(&format!("HTTP/1.{} {} {}", response.minor, response.status, response.reason))),
            headers: response.headers.iter().map(header).collect(),
            truncated_at: (body.len() > MAX_SHOWN).then_some(MAX_SHOWN),
            body: Some(cut(&body, MAX_SHOWN)).filter(|body| !body.is_empty()),
            raw_b64: None,
        }
    });
    let raw = request.raw.as_deref();
    let body = request.body.as_deref().map(|body| printable(&String::from_utf8_lossy(&body[..body.len().min(MAX_SHOWN)])));
    let target = cut(&printable(&request.target), MAX_SHOWN);
    Exchange {
        n: answer.n,
        at: answer.at.format(&Rfc3339).unwrap_or_default(),
        ms: answer.took.as_secs_f64() * 1000.0,
        actor: who.to_owned(),
        kme: kme.side.letter().to_owned(),
        tls: answer.tls.as_ref().map(|tls| format!("TLS {} {}", tls.version, tls.suite)),
        request: Message {
            line: if raw.is_some() { "(octets)".to_owned() } else { format!("{} {}{target}", request.method, kme.url.prefix) },
            headers: request.headers.iter().map(|(name, value)| (name.clone(), cut(&printable(value), 200))).collect(),
            truncated_at: raw.map(<[u8]>::len).filter(|length| *length > MAX_RAW).map(|_| MAX_RAW),
            body,
            raw_b64: raw.map(|raw| Base64::encode_string(&raw[..raw.len().min(MAX_RAW)])),
        },
        response,
        error: answer.outcome.as_ref().err().map(|error| printable(&error.to_string())),
    }
}

/// The body of an answer, redacted.
fn body(answer: &Answer, vault: &Vault) -> String {
    let Ok(response) = &answer.outcome else { return String::new() };
    match &answer.json {
        Ok(value) => {
            let mut text = String::new();
            render(value, None, vault, &mut text);
            text
        }
        // Cut before it is looked through: a key cut in two is a dense word still.
        Err(_) => {
            let octets = response.body.expose();
            let text = String::from_utf8_lossy(&octets[..octets.len().min(2 * MAX_SHOWN)]);
            printable(&without_dense_words(&vault.censored(&text)))
        }
    }
}

fn render(value: &Json, member: Option<&str>, vault: &Vault, text: &mut String) {
    // The rest would be cut off anyhow.
    if text.len() > 2 * MAX_SHOWN {
        return;
    }
    if member.is_some_and(|name| name.eq_ignore_ascii_case("key")) {
        text.push_str(&match value.text() {
            Some(key) => hidden(key, vault),
            None => format!("\"<{} called key>\"", value.kind()),
        });
        return;
    }
    match value {
        Json::Null => text.push_str("null"),
        Json::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Json::Number(spelt) => text.push_str(&cut(&vault.censored(spelt), 60)),
        Json::String(value) => text.push_str(&quoted(value, vault)),
        Json::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                render(value, None, vault, text);
            }
            text.push(']');
        }
        Json::Object(members) => {
            text.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&quoted(name, vault));
                text.push(':');
                render(value, Some(name), vault, text);
            }
            text.push('}');
        }
    }
}

fn hidden(key: &str, vault: &Vault) -> String {
    match vault.learn(key.as_bytes()) {
        Some(octets) => format!("\"<{} octets, fp {}>\"", octets.len(), vault.fingerprint(octets.expose())),
        None => format!("\"<{} characters, not base64, fp {}>\"", key.len(), vault.fingerprint(key.as_bytes())),
    }
}

fn quoted(text: &str, vault: &Vault) -> String {
    let text = printable(&without_dense_words(&vault.censored(text)));
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// `text` without control characters and what else could mislead a terminal: they are written as escapes.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        let misleading = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || misleading {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// At most `max` octets of `text`.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\\u{a}");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("aéb", 2), "a…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
