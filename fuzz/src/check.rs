//! Checks that several targets need.

use std::collections::HashSet;

/// What an error may show of its own although it may also stand in the input.
const FIXED_TEXTS: &[&str] = &[
    "additional_slave_SAE_IDs",
    "application/json",
    "extension_mandatory",
    "extension_optional",
    "key_container_extension",
    "key_IDs_extension",
    "key_ID_extension",
    "key_extension",
    "master_SAE_ID",
    "max_key_count",
    "max_key_per_request",
    "max_key_size",
    "max_SAE_ID_count",
    "min_key_size",
    "slave_SAE_ID",
    "source_KME_ID",
    "status_extension",
    "stored_key_count",
    "t_s,skr_bps,qber,state",
    "target_KME_ID",
];

/// Panics when `text` repeats a stretch of `octets` octets of the input. Shorter ones can coincide with fixed words.
///
/// Hashes are compared in place of the octets: libFuzzer watches comparisons, and would soon put our fixed words into the input.
pub(crate) fn repeats_nothing(text: &str, input: &[u8], octets: usize) {
    let text = FIXED_TEXTS.iter().fold(text.to_owned(), |text, fixed| text.replace(fixed, ""));
    let shown: HashSet<u64> = text.as_bytes().windows(octets).map(hash).collect();
    assert!(
        shown.is_empty() || !input.windows(octets).any(|stretch| shown.contains(&hash(stretch))),
        "repeats the input: {text}"
    );
}

fn hash(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}

/// For error types: that they are `Copy` and borrow nothing leaves no place for text of the input.
pub(crate) fn holds_no_text<E: Copy + std::error::Error + 'static>(error: &E, input: &[u8]) {
    repeats_nothing(&error.to_string(), input, 16);
    repeats_nothing(&format!("{error:?}"), input, 16);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_names_may_be_shown() {
        repeats_nothing("extension_mandatory: wrong type", br#"{"extension_mandatory":"wrong"}"#, 16);
    }

    #[test]
    #[should_panic(expected = "repeats the input")]
    fn other_text_may_not() {
        repeats_nothing("unexpected value 5c19kPQ0C3Ka5ZOQDQQFlA", br#"{"number":"5c19kPQ0C3Ka5ZOQDQQFlA"}"#, 16);
    }
}
