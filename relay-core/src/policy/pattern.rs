//! Patterns for identifiers.

use std::sync::Arc;

use itu_y3803::id::{InvalidId, MAX_ID_OCTETS};

/// A pattern for identifiers: `*` stands for any run of characters, also for none; all else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Checks and takes a pattern.
    ///
    /// # Errors
    /// [`InvalidId`] when the text is empty, too long, or has control characters.
    pub fn new(pattern: &str) -> Result<Self, InvalidId> {
        if pattern.is_empty() || pattern.len() > MAX_ID_OCTETS || pattern.chars().any(char::is_control) {
            return Err(InvalidId);
        }
        Ok(Self(pattern.into()))
    }

    /// Fits every identifier.
    #[must_use]
    pub fn any() -> Self {
        Self("*".into())
    }

    /// Whether it fits `id`, from end to end.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return *self.0 == *id };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(left) = id.strip_prefix(start).and_then(|left| left.strip_suffix(end)) else { return false };
        // Each piece where it first occurs: that leaves most room for the others.
        let mut left = left;
        middle.split('*').all(|piece| match left.find(piece) {
            Some(at) => {
                left = &left[at + piece.len()..];
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_fits_from_end_to_end() {
        for (pattern, id, fits) in [
            ("red", "red", true),
            ("red", "redder", false),
            ("red", "Red", false),
            ("*", "anything", true),
            ("bank-*", "bank-", true),
            ("bank-*", "my-bank-1", false),
            ("*-bank", "north-bank", true),
            ("aa*aa", "aaa", false),
            ("aa*aa", "aaaa", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*b*c", "abbc", true),
            ("a*b*b", "ab", false),
            ("*a*", "bab", true),
            ("**", "x", true),
            ("é*", "ére", true),
        ] {
            assert_eq!(Pattern::new(pattern).expect("valid").matches(id), fits, "{pattern:?} {id:?}");
        }
        assert!(Pattern::new("").is_err() && Pattern::new("a\n").is_err() && Pattern::new(&"*".repeat(513)).is_err());
    }

    /// By the definition, in exponential time.
    fn slow(pattern: &[char], id: &[char]) -> bool {
        match pattern.split_first() {
            None => id.is_empty(),
            Some(('*', rest)) => (0..=id.len()).any(|at| slow(rest, &id[at..])),
            Some((first, rest)) => id.split_first().is_some_and(|(head, tail)| head == first && slow(rest, tail)),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn patterns_fit_what_their_definition_says(pattern in "[abé*]{1,7}", id in "[abé]{1,9}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let fits = Pattern::new(&pattern).expect("valid").matches(&id);
            prop_assert_eq!(fits, slow(&chars(&pattern), &chars(&id)));
        }
    }
}
