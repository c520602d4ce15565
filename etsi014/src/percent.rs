//! Percent-encoding of RFC 3986, as far as path segments and query values need it.

use std::borrow::Cow;

/// Encodes everything but the unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(octet)),
            _ => {
                encoded.push('%');
                encoded.push(char::from(DIGITS[usize::from(octet >> 4)]));
                encoded.push(char::from(DIGITS[usize::from(octet & 0xf)]));
            }
        }
    }
    encoded
}

/// Decodes; `None` for a bad escape, for text that is not ASCII (a URL has no other), and when the octets are not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.is_ascii() {
        return None;
    }
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)?,
            _ => octet,
        });
    }
    String::from_utf8(octets).ok().map(Cow::Owned)
}

pub(crate) fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
