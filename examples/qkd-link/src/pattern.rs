//! Recognisable keys for leak tests.

use std::fmt;
use std::str::FromStr;

use itu_y3803::{KeyMaterial, KeySize};

/// Octets of a counter that make each key different.
const COUNTER_OCTETS: usize = 8;

/// A pattern from which keys are made that a leak test can search for. **These keys are not secret.**
///
/// A key is the pattern, repeated, followed by a counter of 8 octets (big-endian).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestPattern(Vec<u8>);

impl TestPattern {
    /// The most octets a pattern may have.
    pub const MAX_OCTETS: usize = 64;

    /// The octets of the pattern.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Whether a key of this size holds the whole pattern and the counter.
    #[must_use]
    pub fn fits(&self, size: KeySize) -> bool {
        size.bits().is_multiple_of(8) && size.octets() >= self.0.len() + COUNTER_OCTETS
    }

    /// The key with this number; `None` when the pattern does not [fit](Self::fits).
    pub(crate) fn key(&self, number: u64, size: KeySize) -> Option<KeyMaterial> {
        if !self.fits(size) {
            return None;
        }
        let octets = self.0.iter().copied().cycle().take(size.octets() - COUNTER_OCTETS).chain(number.to_be_bytes());
        // Collected at its exact size, so that no outgrown copy is left.
        let mut key = Vec::with_capacity(size.octets());
        key.extend(octets);
        KeyMaterial::new(key, size).ok()
    }
}

impl FromStr for TestPattern {
    type Err = InvalidPattern;

    /// Reads 1 to 64 octets in hexadecimal.
    fn from_str(hex: &str) -> Result<Self, InvalidPattern> {
        let digits: Option<Vec<u8>> = hex.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
        let digits = digits.ok_or(InvalidPattern)?;
        if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() / 2 > Self::MAX_OCTETS {
            return Err(InvalidPattern);
        }
        Ok(Self(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect()))
    }
}

impl fmt::Display for TestPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl TryFrom<String> for TestPattern {
    type Error = InvalidPattern;
    fn try_from(hex: String) -> Result<Self, InvalidPattern> {
        hex.parse()
    }
}

/// Text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a test pattern is 1 to 64 octets in hexadecimal")]
pub struct InvalidPattern;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_hexadecimal() {
        for (text, octets) in [("a5", vec![0xa5]), ("DeadBeef", vec![0xde, 0xad, 0xbe, 0xef])] {
            let pattern: TestPattern = text.parse().expect(text);
            assert_eq!(pattern.octets(), octets);
            assert_eq!(pattern.to_string(), text.to_ascii_lowercase());
        }
        for text in ["", "a", "a5a", "xx", "a5 ", "é5", &"a5".repeat(65)] {
            assert_eq!(text.parse::<TestPattern>(), Err(InvalidPattern), "{text:?}");
        }
    }

    #[test]
    fn keys_are_pattern_and_counter() {
        let pattern: TestPattern = "a1b2c3".parse().expect("hexadecimal");
        let size = |bits| KeySize::from_bits(bits).expect("not zero");
        let key = pattern.key(0x0102, size(128)).expect("fits");
        assert_eq!(key.expose_secret(), [0xa1, 0xb2, 0xc3, 0xa1, 0xb2, 0xc3, 0xa1, 0xb2, 0, 0, 0, 0, 0, 0, 1, 2]);
        for (bits, fits) in [(88, true), (80, false), (89, false)] {
            assert_eq!(pattern.fits(size(bits)), fits, "{bits}");
            assert_eq!(pattern.key(0, size(bits)).is_some(), fits, "{bits}");
        }
    }
}
