//! A permissive JSON reader that keeps the facts a strict one throws away: byte order mark, duplicate members, trailing data,
//! the spelling of numbers.

use zeroize::Zeroizing;

use crate::bounds;

/// A JSON value. Strings are wiped, since any of them may be key material.
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As it was spelt.
    Number(String),
    String(Zeroizing<String>),
    Array(Vec<Self>),
    /// In the order sent, duplicates kept.
    Object(Vec<(String, Self)>),
}

/// What was noticed on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) byte_order_mark: bool,
    pub(crate) not_utf8: bool,
    /// Something other than white space follows the value.
    pub(crate) trailing: bool,
    /// Names that occur twice in one object, the first ones.
    pub(crate) duplicates: Vec<String>,
}

impl Json {
    /// The first member of that exact name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// The value of an integer, however it is spelt (`2.0` is one), if it can be reckoned with.
    pub(crate) fn integer(&self) -> Option<i128> {
        let Self::Number(spelt) = self else { return None };
        let whole: Option<i128> = spelt.parse().ok();
        whole.filter(|value| value.unsigned_abs() < 1 << 100).or_else(|| {
            let value: f64 = spelt.parse().ok()?;
            // Beyond 2^53 a float is no witness.
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
            (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0).then_some(value as i128)
        })
    }

    /// What kind of value this is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a Boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// Numbers and texts as they are meant, names before their values.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Null | Self::Bool(_) => String::new(),
            Self::Number(spelt) => spelt.clone(),
            Self::String(text) => text.to_string(),
            Self::Array(values) => values.iter().map(Self::said).collect::<Vec<_>>().join(","),
            Self::Object(members) => {
                members.iter().map(|(name, value)| format!("{name}: {}", value.said())).collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// Calls `visit` with each member of each object at any depth.
    pub(crate) fn each_member<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a Self)) {
        match self {
            Self::Object(members) => {
                for (name, value) in members {
                    visit(name, value);
                    value.each_member(visit);
                }
            }
            Self::Array(values) => values.iter().for_each(|value| value.each_member(visit)),
            _ => {}
        }
    }
}

/// Told of a text that may be JSON, but is more than this program reads.
pub(crate) const TOO_MUCH: &str = "nested too deep, or too many values";

/// Reads one value from the start of `body`.
pub(crate) fn read(body: &[u8]) -> Result<(Json, Facts), &'static str> {
    let mut facts = Facts::default();
    let body = match body.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => {
            facts.byte_order_mark = true;
            rest
        }
        None => body,
    };
    let lossy;
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(_) => {
            facts.not_utf8 = true;
            lossy = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
            &lossy
        }
    };
    let mut reader = Reader { text, at: 0, values: 0, facts };
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    reader.facts.trailing = reader.at < text.len();
    Ok((value, reader.facts))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
    facts: Facts,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, octet: u8) -> bool {
        let found = self.peek() == Some(octet);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json, &'static str> {
        self.values += 1;
        if depth > bounds::DEPTH || self.values > bounds::VALUES {
            return Err(TOO_MUCH);
        }
        match self.peek().ok_or("ends before the value does")? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Json::String),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Json, &'static str> {
        let words = [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
        let rest = &self.text[self.at..];
        let (word, value) = words.into_iter().find(|(word, _)| rest.starts_with(word)).ok_or("not JSON")?;
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, &'static str> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
        let spelt = &rest[..end];
        if !is_number(spelt) {
            return Err("a number is misspelt");
        }
        self.at += end;
        Ok(Json::Number(spelt.to_owned()))
    }

    fn array(&mut self, depth: usize) -> Result<Json, &'static str> {
        self.at += 1;
        let mut values = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Json::Array(values));
        }
        loop {
            self.space();
            values.push(self.value(depth + 1)?);
            self.space();
            if self.eat(b']') {
                return Ok(Json::Array(values));
            }
            if !self.eat(b',') {
                return Err("an array is not closed");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, &'static str> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err("a member has no name");
            }
            let name = self.string()?.to_string();
            self.space();
            if !self.eat(b':') {
                return Err("a member has no value");
            }
            self.space();
            let value = self.value(depth + 1)?;
            if !names.insert(name.clone()) && self.facts.duplicates.len() < bounds::DUPLICATES {
                self.facts.duplicates.push(name.clone());
            }
            members.push((name, value));
            self.space();
            if self.eat(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.eat(b',') {
                return Err("an object is not closed");
            }
        }
    }

    fn string(&mut self) -> Result<Zeroizing<String>, &'static str> {
        self.at += 1;
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let length = rest
            .bytes()
            .position(|octet| {
                let ends = octet == b'"' && !escaped;
                escaped = octet == b'\\' && !escaped;
                ends
            })
            .ok_or("a string is not closed")?;
        let raw = &rest[..length];
        self.at += length + 1;
        if raw.bytes().any(|octet| octet < 0x20) {
            return Err("a string holds a control character");
        }
        // Never grows, so no part of it stays behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(raw.len()));
        let mut pieces = raw.split('\\');
        text.push_str(pieces.next().unwrap_or_default());
        let mut high = None;
        while let Some(piece) = pieces.next() {
            let Some(kind) = piece.bytes().next() else {
                // Two backslashes: the text up to the next one is plain.
                text.push('\\');
                text.push_str(pieces.next().unwrap_or_default());
                continue;
            };
            let plain = match kind {
                b'"' => '"',
                b'/' => '/',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let unit =
                        piece.get(1..5).and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or("an escape is misspelt")?;
                    let tail = &piece[5..];
                    match (high.take(), unit) {
                        (None, 0xd800..0xdc00) if tail.is_empty() => high = Some(unit),
                        (Some(first), 0xdc00..0xe000) => {
                            text.push(char::from_u32(0x10000 + ((first - 0xd800) << 10) + (unit - 0xdc00)).unwrap_or('\u{fffd}'));
                        }
                        (_, unit) => text.push(char::from_u32(unit).unwrap_or('\u{fffd}')),
                    }
                    text.push_str(tail);
                    continue;
                }
                _ => return Err("an escape is misspelt"),
            };
            text.push(plain);
            text.push_str(&piece[1..]);
        }
        Ok(text)
    }
}

fn is_number(spelt: &str) -> bool {
    let unsigned = spelt.strip_prefix('-').unwrap_or(spelt);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(body: &[u8]) -> Facts {
        read(body).map(|(_, facts)| facts).expect("JSON")
    }

    #[test]
    fn facts_are_kept() {
        assert_eq!(facts(b" {\"a\":1} \n"), Facts::default());
        assert!(facts(b"\xef\xbb\xbf{}").byte_order_mark);
        assert!(facts(b"{} {}").trailing);
        assert!(facts(b"\"\xff\"").not_utf8);
        assert_eq!(facts(br#"{"a":1,"b":{"a":1},"a":2}"#).duplicates, ["a"]);
    }

    #[test]
    fn strings_are_unescaped() {
        let text = |body: &str| read(body.as_bytes()).ok().and_then(|(value, _)| value.text().map(str::to_owned));
        assert_eq!(text(r#""a\/b\\c\"d\u00e9\ud83d\ude00\\""#).as_deref(), Some("a/b\\c\"d\u{e9}\u{1f600}\\"));
        assert_eq!(text(r#""\\\\n""#).as_deref(), Some("\\\\n"));
        assert_eq!(text("\"a\nb\""), None);
        assert_eq!(text(r#""\x""#), None);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in ["", "{", "[1,]", "{\"a\"}", "01", "1.", "+1", "nul", "'a'", "\"a", "{a:1}"] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn integers_are_read_exactly() {
        let integer = |body: &str| read(body.as_bytes()).ok().and_then(|(value, _)| value.integer());
        assert_eq!(integer("256"), Some(256));
        assert_eq!(integer("2.0"), Some(2));
        assert_eq!(integer("-1e2"), Some(-100));
        assert_eq!(integer("1.5"), None);
        assert_eq!(integer("\"1\""), None);
        assert_eq!(integer(&i128::MIN.to_string()), None);
        assert_eq!(integer("9007199254740993"), Some(9_007_199_254_740_993));
    }
}
