//! Key material met during a run: held wiped-on-drop, shown only as a fingerprint, and looked for in everything that is written.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};
use zeroize::{Zeroize, Zeroizing};

use crate::bounds;

mod octets;

use octets::spelt_octets;
pub(crate) use octets::{has_key_octet_by_octet, without_octets_in_a_row};

/// Octets that nobody may print: no `Display`, a `Debug` without content, no `Serialize`, wiped on drop.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// The octets, for judging and hashing only.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

/// A keyed hash of a key: equal within one run exactly when the keys are equal, and worth nothing after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All key material seen, and the run's fingerprint key.
pub(crate) struct Vault {
    key: hmac::Key,
    seen: Mutex<Needles>,
}

impl Vault {
    /// A vault under a random key that dies with it.
    pub(crate) fn new() -> Result<Self, String> {
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *key).map_err(|_| "the system's random generator failed".to_owned())?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &*key), seen: Mutex::default() })
    }

    pub(crate) fn fingerprint(&self, octets: &[u8]) -> Fingerprint {
        let tag = hmac::sign(&self.key, octets);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(tag.as_ref());
        Fingerprint(fingerprint)
    }

    /// Remembers key material as it was received, and all other ways to write what it says. What is no spelling of octets at
    /// all, such as a sentence, is no key.
    ///
    /// Returns the octets if the text is RFC 4648 base64 with the standard alphabet and padding.
    pub(crate) fn learn(&self, text: &[u8]) -> Option<Secret> {
        let text = std::str::from_utf8(text).ok()?;
        let strict = Base64::decode_vec(text).ok().map(Secret::new);
        let compact: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace() && *c != ':').collect());
        if text.contains(' ') && !is_dense(&compact) {
            return strict;
        }
        let lenient = decoded_leniently(&compact);
        // 64 hexadecimal digits are base64, too: which was meant is not known, so both are remembered.
        let spelt = [strict.as_ref().map(Secret::expose), lenient.as_ref().map(|octets| octets.as_slice())];
        let long_enough = |octets: &&[u8]| octets.len() >= 4;
        let mut seen = self.lock();
        if spelt.iter().flatten().any(long_enough) || is_dense(text) {
            seen.add(text.as_bytes(), text.len());
            seen.add(compact.as_bytes(), compact.len());
            let whole = seen.hash(text.as_bytes());
            seen.keep(|seen| {
                seen.texts.insert(whole);
            });
        }
        for octets in spelt.into_iter().flatten().filter(long_enough) {
            seen.add_octets(octets);
        }
        strict
    }

    /// Whether exactly this text was learnt as a key.
    pub(crate) fn knows(&self, text: &str) -> bool {
        let seen = self.lock();
        seen.texts.contains(&seen.hash(text.as_bytes()))
    }

    /// Whether more key material was seen than is remembered: what it was in must not be shown.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().full
    }

    /// Whether `output` holds any key that was seen, in any of its spellings.
    pub(crate) fn betrayed_by(&self, output: &[u8]) -> bool {
        let mut found = false;
        self.lock().each_in(output, |_| {
            found = true;
            false
        });
        found
    }

    /// The same, also if its octets are written one by one, as numbers or in hexadecimal, whatever is between them.
    pub(crate) fn betrayed_or_spelt_by(&self, output: &[u8]) -> bool {
        let text = Zeroizing::new(String::from_utf8_lossy(output).into_owned());
        self.betrayed_by(output) || spelt_octets(&text).iter().any(|octets| self.betrayed_by(octets))
    }

    /// Whether `output` holds a key that is not in `own`, too, where no peer had a say: our own words are no secret, even if
    /// a KME gives them as a key.
    pub(crate) fn betrayed_beyond(&self, output: &[u8], own: &[u8]) -> bool {
        let seen = self.lock();
        let found = seen.all_in(output);
        !found.is_empty() && !found.is_subset(&seen.all_in(own))
    }

    /// `text` with every key in it taken out.
    pub(crate) fn censored(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.censored_octets(text.as_bytes())).into_owned()
    }

    /// The same for octets that may be no text.
    pub(crate) fn censored_octets(&self, octets: &[u8]) -> Vec<u8> {
        let seen = self.lock();
        let mut shown = Vec::with_capacity(octets.len());
        let mut at = 0;
        seen.each_in(octets, |hit| {
            shown.extend_from_slice(&octets[at..hit.start.max(at)]);
            shown.extend_from_slice("…".as_bytes());
            at = hit.end;
            true
        });
        shown.extend_from_slice(&octets[at..]);
        shown
    }

    /// What may be shown of a text that a peer had a say in: without keys, without what misleads a terminal, of `max` octets.
    pub(crate) fn told(&self, text: &str, max: usize) -> String {
        if self.is_full() {
            return format!("({} octets, not shown: more keys were seen than are remembered)", text.len());
        }
        let text = self.censored(searched(text));
        // Lists of numbers are shown, but not those that a key is.
        let is_spelt = spelt_octets(&text).iter().any(|octets| self.betrayed_by(octets));
        cut(&printable(&if is_spelt { without_octets_in_a_row(&text) } else { text }), max)
    }

    fn lock(&self) -> MutexGuard<'_, Needles> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hexadecimal, URL-safe or unpadded: what faulty KMEs send.
fn decoded_leniently(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let hexadecimal = || {
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = Zeroizing::new(digits?);
        (digits.len() % 2 == 0).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>())
    };
    let decoded = hexadecimal()
        .or_else(|| Base64Unpadded::decode_vec(text).ok())
        .or_else(|| Base64Url::decode_vec(text).ok())
        .or_else(|| Base64UrlUnpadded::decode_vec(text).ok());
    decoded.map(Zeroizing::new)
}

/// By so many octets of it a key is recognised.
const WINDOW: usize = 12;

/// What must not be found. No key is in here: of a long one, a hash under a random key of the first octets that say something,
/// and how far it reaches; of a short one, which counts only as a whole word, a hash of all.
#[derive(Default)]
struct Needles {
    hasher: RandomState,
    long: HashMap<u64, Reach>,
    short: HashSet<u64>,
    /// Whole texts.
    texts: HashSet<u64>,
    full: bool,
}

/// Octets of a key before and after the start of what it is recognised by.
#[derive(Clone, Copy, Default)]
struct Reach {
    before: usize,
    after: usize,
}

/// A key in a text.
struct Hit {
    start: usize,
    end: usize,
    hash: u64,
    long: bool,
}

impl Needles {
    fn hash(&self, octets: &[u8]) -> u64 {
        self.hasher.hash_one(octets)
    }

    fn keep(&mut self, enter: impl FnOnce(&mut Self)) {
        if self.long.len() + self.short.len() + self.texts.len() < bounds::NEEDLES { enter(self) } else { self.full = true }
    }

    fn add_octets(&mut self, octets: &[u8]) {
        let count = octets.len();
        // In threes, so that the encoding of the beginning is the beginning of the encoding.
        let head = &octets[..count.min(bounds::KEY_HEAD / 3 * 3)];
        if count >= 16 {
            self.add(head, count);
        }
        for mut text in [Base64Unpadded::encode_string(head), Base64UrlUnpadded::encode_string(head)] {
            self.add(text.as_bytes(), (count * 4).div_ceil(3));
            text.zeroize();
        }
        for upper in [false, true] {
            self.add(&hex(head, upper), count * 2);
        }
    }

    /// Enters the beginning of something so long.
    fn add(&mut self, head: &[u8], length: usize) {
        let head = &head[..head.len().min(4 * bounds::KEY_HEAD)];
        let varied = |window: &[u8]| window.iter().collect::<HashSet<_>>().len() > 2;
        if head.len() < WINDOW {
            let end = head.iter().rposition(|octet| *octet != b'=').map_or(0, |last| last + 1);
            let word = &head[..end];
            // Words that say nothing, and crumbs, cannot be told from ordinary text.
            if word.len() >= 4 && varied(word) {
                let hash = self.hash(word);
                self.keep(|seen| {
                    seen.short.insert(hash);
                });
            }
            return;
        }
        if let Some(start) = head.windows(WINDOW).position(varied) {
            let hash = self.hash(&head[start..start + WINDOW]);
            self.keep(|seen| {
                let reach = seen.long.entry(hash).or_default();
                *reach = Reach { before: reach.before.max(start), after: reach.after.max(length - start) };
            });
        }
    }

    /// All keys in a text, in order, in one pass; `visit` tells whether to go on.
    fn each_in(&self, text: &[u8], mut visit: impl FnMut(Hit) -> bool) {
        let mut at = 0;
        let mut long = self.find_long(text, at);
        loop {
            let next = long.as_ref().map_or(text.len(), |hit| hit.start.max(at));
            let hit = match self.find_word(text, at, next) {
                Some(word) => word,
                None => match long.take() {
                    Some(hit) => hit,
                    None => return,
                },
            };
            at = hit.end.max(at);
            let passed = long.as_ref().map_or(hit.long, |hit| hit.start < at);
            if !visit(hit) {
                return;
            }
            if passed {
                long = self.find_long(text, at);
            }
        }
    }

    fn find_long(&self, text: &[u8], from: usize) -> Option<Hit> {
        text.get(from..)?.windows(WINDOW).enumerate().find_map(|(at, window)| {
            let hash = self.hash(window);
            let reach = self.long.get(&hash)?;
            let at = from + at;
            Some(Hit { start: at.saturating_sub(reach.before), end: text.len().min(at + reach.after), hash, long: true })
        })
    }

    fn find_word(&self, text: &[u8], from: usize, to: usize) -> Option<Hit> {
        if self.short.is_empty() {
            return None;
        }
        let in_word = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/-_".contains(octet);
        let mut at = from;
        while at < to {
            let start = at + text[at..to].iter().position(in_word)?;
            let end = text[start..].iter().position(|octet| !in_word(octet)).map_or(text.len(), |length| start + length);
            let hash = self.hash(&text[start..end]);
            if (4..WINDOW).contains(&(end - start)) && self.short.contains(&hash) {
                return Some(Hit { start, end, hash, long: false });
            }
            at = end;
        }
        None
    }

    fn all_in(&self, text: &[u8]) -> HashSet<u64> {
        let mut found = HashSet::new();
        self.each_in(text, |hit| {
            found.insert(hit.hash);
            true
        });
        found
    }
}

fn hex(octets: &[u8], upper: bool) -> Zeroizing<Vec<u8>> {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let mut text = Zeroizing::new(Vec::with_capacity(octets.len() * 2));
    for octet in octets {
        text.extend([digits[usize::from(octet >> 4)], digits[usize::from(octet & 15)]]);
    }
    text
}

/// Whether a text is how a key of 64 bits or more is written, and hardly a word: where a member called `key` need not be one.
pub(crate) fn looks_like_key(text: &str) -> bool {
    let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit];
    let all_kinds = kinds.iter().all(|kind| text.bytes().any(|octet| kind(&octet)));
    let strict = |text: &str| Base64::decode_vec(text).is_ok_and(|octets| Secret::new(octets).len() >= 8);
    let hexadecimal = text.len() >= 32 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    let url_safe = |text: &str| Base64UrlUnpadded::decode_vec(text).is_ok_and(|octets| Secret::new(octets).len() >= 16);
    hexadecimal || (all_kinds || text.ends_with('=')) && strict(text) || all_kinds && !is_uuid(text) && url_safe(text)
}

/// The part of a text that is searched and shown: no key is cut in two at its end.
pub(crate) fn searched(text: &str) -> &str {
    if text.len() <= bounds::SEARCHED {
        return text;
    }
    let end = boundary(text, bounds::SEARCHED);
    let in_word = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    let cut = text[..end].trim_end_matches(in_word);
    // One word throughout: its beginning is enough to know a key by.
    if cut.is_empty() { &text[..end] } else { cut }
}

/// `text` without control characters and what else could mislead a terminal or a reader: they are written as escapes.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_misleading(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// Whether a character does something to a screen, is not seen, or changes the direction of writing.
pub(crate) fn is_misleading(c: char) -> bool {
    let unseen = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    let marks = matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || unseen || marks
}

/// At most `max` octets of `text`.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", &text[..boundary(text, max)])
}

fn boundary(text: &str, max: usize) -> usize {
    (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default()
}

/// Hides what looks like key material, however it is written: text that a peer had a say in, and that may quote a key nobody
/// has learnt.
pub(crate) fn without_keys(text: &str) -> String {
    without_octets_in_a_row(&without_dense_words(text))
}

/// Hides what looks like key material in text that cannot be read as JSON: long words of mixed characters.
///
/// UUIDs, and words of one kind of character, stay readable.
pub(crate) fn without_dense_words(text: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(in_word) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !in_word(c)).unwrap_or(from.len()));
        shown.push_str(before);
        if is_dense(word) {
            shown.push_str(&format!("<{} characters>", word.len()))
        } else {
            shown.push_str(word)
        }
        rest = after;
    }
    shown + rest
}

fn is_dense(word: &str) -> bool {
    let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit];
    let mixed = kinds.iter().filter(|kind| word.bytes().any(|octet| kind(&octet))).count() > 1;
    // `max_SAE_ID_count`, `Strict-Transport-Security` and their like.
    let is_name = ['_', '-'].into_iter().any(|between| {
        let mut parts = word.split(between);
        word.contains(between) && parts.all(|part| part.len() <= 12 && part.bytes().all(|octet| octet.is_ascii_alphabetic()))
    });
    // Padding is in no word.
    let least = if word.ends_with('=') { 11 } else { 16 };
    word.len() >= least && mixed && !is_name && !is_uuid(word)
}

/// Whether `text` has the form 8-4-4-4-12 hexadecimal digits (A-28: of any version).
pub(crate) fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|octet| octet.is_ascii_hexdigit() || octet == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_every_spelling() {
        let vault = Vault::new().expect("random generator");
        let octets: Vec<u8> = (0..32).map(|i| i * 7 + 3).collect();
        let text = Base64::encode_string(&octets);
        assert!(!vault.betrayed_by(text.as_bytes()));
        assert!(vault.learn(text.as_bytes()).is_some());
        for spelling in [text.clone(), text.trim_end_matches('=').to_owned(), Base64Url::encode_string(&octets)] {
            assert!(vault.betrayed_by(format!("x{spelling}y").as_bytes()), "{spelling}");
        }
        for upper in [false, true] {
            assert!(vault.betrayed_by(&hex(&octets, upper)));
        }
        assert!(vault.betrayed_by(&[&b"raw "[..], &octets].concat()));
        assert!(!vault.betrayed_by(b"an ordinary text"));
        assert!(!vault.betrayed_by(vault.censored(&format!("the key {text} again {text}")).as_bytes()));
    }

    #[test]
    fn a_key_is_found_octet_by_octet() {
        let vault = Vault::new().expect("random generator");
        let octets: Vec<u8> = (0..32).map(|i| i * 7 + 3).collect();
        vault.learn(Base64::encode_string(&octets).as_bytes());
        let hex = |before: &str, between: &str| {
            octets.iter().map(|octet| format!("{before}{octet:02x}")).collect::<Vec<_>>().join(between)
        };
        let signed: Vec<_> = octets.iter().map(|octet| i8::from_be_bytes([*octet])).collect();
        let spelt = [
            hex("", ":"),
            hex("", " "),
            hex("", "-"),
            hex("0x", ", "),
            hex("\\x", ""),
            format!("{octets:?}"),
            format!("{signed:?}"),
        ];
        for text in spelt {
            let text = format!("bad key {text} of 7");
            assert!(vault.betrayed_or_spelt_by(text.as_bytes()) && !vault.betrayed_by(text.as_bytes()), "{text}");
            let told = vault.told(&text, 1000);
            assert!(!vault.betrayed_or_spelt_by(told.as_bytes()) && told.starts_with("bad key "), "{told}");
        }
        let sizes = "sizes 8, 16, 24, 32, 40, 48, 56, 64, 72, 80";
        assert_eq!(vault.told(sizes, 1000), sizes);
        assert!(!vault.betrayed_or_spelt_by(b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13] c8:01:4d"));
    }

    #[test]
    fn a_short_key_counts_as_a_whole_word_only() {
        let vault = Vault::new().expect("random generator");
        vault.learn(b"q83vEg==");
        for shown in ["\"q83vEg==\"", "q83vEg", "(abcdef12)", "ABCDEF12"] {
            assert!(vault.betrayed_by(shown.as_bytes()), "{shown}");
        }
        assert!(!vault.betrayed_by(b"xq83vEg"));
    }

    #[test]
    fn words_are_no_keys() {
        let vault = Vault::new().expect("random generator");
        for word in ["size", "FAIL", "not found", "the key is unknown", "", "==", "ENC-001"] {
            vault.learn(word.as_bytes());
            assert!(!vault.betrayed_by(format!("{word} of \"{word}\"").as_bytes()), "{word}");
        }
        vault.learn(b"CONFORMINGxx");
        assert!(vault.betrayed_beyond(b"CONFORMINGxx to", b""));
        assert!(!vault.betrayed_beyond(b"CONFORMINGxx to", b"a CONFORMINGxx b"));
    }

    #[test]
    fn all_of_a_long_key_is_taken_out() {
        let vault = Vault::new().expect("random generator");
        let mut octets = vec![0; 600];
        octets.extend((0..90_000_u64).map(|i| (i * i % 251) as u8));
        let text = Base64::encode_string(&octets);
        vault.learn(text.as_bytes());
        assert_eq!(vault.censored(&format!("a {text} b")), "a … b");
        assert_eq!(vault.censored(&format!("a {} b", text.trim_end_matches('='))), "a … b");
        assert_eq!(vault.censored_octets(&[b"\xff", octets.as_slice(), b"\xff"].concat()), b"\xff\xe2\x80\xa6\xff");
    }

    #[test]
    fn time_and_memory_do_not_depend_on_what_is_learnt() {
        let vault = Vault::new().expect("random generator");
        // Many short ones, and long ones that begin alike.
        for index in 0..20_000_u32 {
            vault.learn(Base64::encode_string(&index.to_be_bytes()).as_bytes());
            vault
                .learn(format!("AbCdEf12345{}", Base64::encode_string(&[&[7; 5][..], &index.to_le_bytes()].concat())).as_bytes());
        }
        let text = "AbCdEf12 AAAAEQ ".repeat(20_000);
        assert_eq!(vault.censored(&text), "AbCdEf12 … ".repeat(20_000));
        for index in 0..=bounds::NEEDLES as u64 {
            vault.lock().keep(|seen| {
                seen.short.insert(index);
            });
        }
        assert!(vault.is_full());
        assert_eq!(vault.told("AbCdEf12", 100), "(8 octets, not shown: more keys were seen than are remembered)");
    }

    #[test]
    fn what_looks_like_a_key_and_what_does_not() {
        let key = Base64::encode_string(&[200, 1, 77, 3, 9, 250, 6, 61]);
        for text in [key.as_str(), "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=", "c0ffee00c0ffee11c0ffee22c0ffee33"] {
            assert!(looks_like_key(text), "{text}");
        }
        let words =
            ["size", "keyContainer", "extension_mandatory", "sae001alice2", "0957365e-4b8d-4f95-8a8f-de3d60199dbb", "a b"];
        words.iter().for_each(|text| assert!(!looks_like_key(text), "{text}"));
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\\u{a}");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("aéb", 2), "a…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(searched(&format!("a {}", "b".repeat(9000))), "a ");
    }

    #[test]
    fn hexadecimal_and_url_safe_material_is_learnt_too() {
        let vault = Vault::new().expect("random generator");
        let octets: Vec<u8> = (0..32).map(|i| 255 - i * 5).collect();
        let spelt = String::from_utf8(hex(&octets, false).to_vec()).expect("ASCII");
        vault.learn(spelt.as_bytes());
        assert!(vault.betrayed_by(Base64::encode_string(&octets).as_bytes()));
    }

    #[test]
    fn dense_words_are_hidden_and_identifiers_are_not() {
        let shown = without_dense_words(
            "key c0ffeeC0FFEEc0ffee12 of 0957365e-4b8d-4f95-8a8f-de3d60199dbb max_SAE_ID_count WWW-Authenticate",
        );
        assert_eq!(shown, "key <20 characters> of 0957365e-4b8d-4f95-8a8f-de3d60199dbb max_SAE_ID_count WWW-Authenticate");
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", Secret::new(vec![65; 3])), "Secret(3 octets)");
    }
}
