//! Key material met during a run: held wiped-on-drop, shown only as a fingerprint, and looked for in everything that is written.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};
use zeroize::{Zeroize, Zeroizing};

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

    /// Remembers key material as it was received, and all other ways to write what it says.
    ///
    /// Returns the octets if the text is RFC 4648 base64 with the standard alphabet and padding.
    pub(crate) fn learn(&self, text: &[u8]) -> Option<Secret> {
        let mut seen = self.lock();
        seen.add(text);
        let text = std::str::from_utf8(text).ok()?;
        let strict = Base64::decode_vec(text).ok().map(Secret::new);
        // 64 hexadecimal digits are base64, too: which was meant is not known, so both are remembered.
        let strictly = strict.as_ref().map(|octets| Zeroizing::new(octets.expose().to_vec()));
        for octets in [strictly, decoded_leniently(text)].into_iter().flatten().filter(|octets| !octets.is_empty()) {
            seen.add_octets(&octets);
        }
        strict
    }

    /// Whether `output` holds any key that was seen, in any of its spellings.
    pub(crate) fn betrayed_by(&self, output: &[u8]) -> bool {
        self.lock().found_in(output).is_some()
    }

    /// `text` with every key in it taken out.
    pub(crate) fn censored(&self, text: &str) -> String {
        let mut octets = text.as_bytes().to_vec();
        let seen = self.lock();
        while let Some((start, length)) = seen.found_in(&octets) {
            octets.splice(start..start + length, b"\xe2\x80\xa6".iter().copied());
        }
        String::from_utf8_lossy(&octets).into_owned()
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

const PREFIX: usize = 8;

/// What must not be found, by its first octets; what is short counts only as a whole word.
#[derive(Default)]
struct Needles {
    long: HashMap<[u8; PREFIX], Vec<Zeroizing<Vec<u8>>>>,
    short: Vec<Zeroizing<Vec<u8>>>,
}

impl Needles {
    fn add_octets(&mut self, octets: &[u8]) {
        let uniform = octets.iter().all(|octet| *octet == octets[0]);
        if octets.len() >= 16 && !uniform {
            self.add(octets);
        }
        for mut text in [Base64Unpadded::encode_string(octets), Base64UrlUnpadded::encode_string(octets)] {
            self.add(text.as_bytes());
            text.zeroize();
        }
        // The hexadecimal form of few octets is an ordinary word.
        if octets.len() >= 4 {
            for upper in [false, true] {
                self.add(&hex(octets, upper));
            }
        }
    }

    fn add(&mut self, needle: &[u8]) {
        // Words that say nothing (all one character) and crumbs cannot be told from ordinary text.
        if needle.len() < 4 || needle.iter().all(|octet| *octet == needle[0]) {
            return;
        }
        let needle = Zeroizing::new(needle.to_vec());
        let list = match needle.first_chunk::<PREFIX>() {
            Some(prefix) if needle.len() >= 12 => self.long.entry(*prefix).or_default(),
            _ => &mut self.short,
        };
        if !list.contains(&needle) {
            list.push(needle);
        }
    }

    fn found_in(&self, text: &[u8]) -> Option<(usize, usize)> {
        let long = text.windows(PREFIX).enumerate().find_map(|(start, window)| {
            let candidates = self.long.get(window.first_chunk::<PREFIX>()?)?;
            let found = candidates.iter().find(|needle| text[start..].starts_with(needle))?;
            Some((start, found.len()))
        });
        long.or_else(|| {
            self.short.iter().find_map(|needle| {
                let whole = |start: &usize| {
                    let outside =
                        |octet: Option<&u8>| octet.is_none_or(|octet| !octet.is_ascii_alphanumeric() && !b"+/-_".contains(octet));
                    text[*start..].starts_with(needle)
                        && outside(start.checked_sub(1).and_then(|before| text.get(before)))
                        && outside(text.get(start + needle.len()))
                };
                (0..text.len().saturating_sub(needle.len() - 1)).find(whole).map(|start| (start, needle.len()))
            })
        })
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
    // `max_SAE_ID_count` and its like.
    let is_name = word.contains('_')
        && word.split('_').all(|part| part.len() < 12 && part.bytes().all(|octet| octet.is_ascii_alphabetic()));
    word.len() >= 16 && mixed && !is_name && !is_uuid(word)
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
    fn a_short_key_counts_as_a_whole_word_only() {
        let vault = Vault::new().expect("random generator");
        vault.learn(b"keys");
        assert!(vault.betrayed_by(b"\"keys\""));
        assert!(!vault.betrayed_by(b"monkeys"));
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
        let shown = without_dense_words("key c0ffeeC0FFEEc0ffee12 of 0957365e-4b8d-4f95-8a8f-de3d60199dbb max_SAE_ID_count");
        assert_eq!(shown, "key <20 characters> of 0957365e-4b8d-4f95-8a8f-de3d60199dbb max_SAE_ID_count");
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", Secret::new(vec![65; 3])), "Secret(3 octets)");
    }
}
