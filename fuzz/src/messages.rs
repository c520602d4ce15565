//! The five message formats of GS QKD 014.

use etsi014::decode::Problem;
use etsi014::{Body, DecodeError, Decoding, ErrorBody, KeyContainer, KeyIds, KeyRequest, Status};

use crate::Outcome;
use crate::check::holds_no_text;

/// Status bodies, clause 6.1.
pub fn status(input: &[u8]) -> Outcome {
    message(input, Status::decode, Status::encode, |a, b| assert_eq!(a, b))
}

/// Key request bodies, clause 6.2.
pub fn key_request(input: &[u8]) -> Outcome {
    message(input, KeyRequest::decode, KeyRequest::encode, |a, b| assert_eq!(a, b))
}

/// Key container bodies, clause 6.3.
pub fn key_container(input: &[u8]) -> Outcome {
    let outcome = message(input, KeyContainer::decode, KeyContainer::encode, same_keys);
    if let Ok(container) = KeyContainer::decode(input, Decoding::Lenient) {
        let shown: Vec<String> = container
            .keys
            .iter()
            .map(|key| format!("Key {{ id: {:?}, material: KeyMaterial({}), .. }}", key.id, key.material.size()))
            .collect();
        assert_eq!(format!("{container:?}"), format!("KeyContainer {{ keys: [{}], .. }}", shown.join(", ")));
        sized(input, &container);
    }
    outcome
}

/// Key IDs bodies, clause 6.4.
pub fn key_ids(input: &[u8]) -> Outcome {
    message(input, KeyIds::decode, KeyIds::encode, |a, b| assert_eq!(a, b))
}

/// Error bodies, clause 6.5.
pub fn error_body(input: &[u8]) -> Outcome {
    message(input, ErrorBody::decode, ErrorBody::encode, |a, b| assert_eq!(a, b))
}

/// Members that the strict decoder skips as unknown, while the lenient one reads them, and hence can find fault with them. A number
/// beyond all floats, or half a surrogate pair, is skipped as well, and has bad syntax when read.
const LENIENT_NAMES: [&str; 2] = ["Keys", "detail"];

fn message<M>(
    input: &[u8],
    decode: fn(&[u8], Decoding) -> Result<M, DecodeError>,
    encode: fn(&M) -> Body,
    same: fn(&M, &M),
) -> Outcome {
    let lenient = decode(input, Decoding::Lenient);
    let strict = decode(input, Decoding::Strict);
    for error in [&lenient, &strict].into_iter().filter_map(|decoded| decoded.as_ref().err()) {
        holds_no_text(error, input);
        assert!(error.line() <= 1 + input.len() && error.column() <= 1 + input.len(), "beyond the input: {error}");
    }
    match (&strict, &lenient) {
        (Ok(strict), Ok(lenient)) => same(strict, lenient),
        (Ok(_), Err(error)) => {
            let unread_by_strict = LENIENT_NAMES.contains(&error.member()) || error.problem() == Problem::Syntax;
            assert!(unread_by_strict, "lenient refuses what strict accepts: {error}");
        }
        (Err(_), _) => {}
    }
    if let Ok(first) = &lenient {
        let encoded = encode(first);
        let second = decode(encoded.as_ref(), Decoding::Strict).expect("strict refuses our own encoding");
        same(first, &second);
        assert!(encode(&second).as_ref() == encoded.as_ref(), "another encoding at the second time");
    }
    Outcome::of(&lenient)
}

/// Containers have no equality, so that keys are not compared by accident; their encoding has.
fn same_keys(a: &KeyContainer, b: &KeyContainer) {
    assert!(a.encode().as_ref() == b.encode().as_ref(), "other keys");
    assert!(a.keys.iter().zip(&b.keys).all(|(a, b)| a.material.expose_secret() == b.material.expose_secret()), "other octets");
}

/// When all keys have one size, asking for that size changes nothing, and asking for one more octet refuses them all.
fn sized(input: &[u8], container: &KeyContainer) {
    let Some(size) = container.keys.first().map(|key| key.material.size()) else { return };
    let uniform = container.keys.iter().all(|key| key.material.size() == size);
    match KeyContainer::decode_sized(input, Decoding::Lenient, size) {
        Ok(sized) => same_keys(&sized, container),
        Err(error) => {
            assert!(!uniform, "refused for its own size");
            holds_no_text(&error, input);
        }
    }
    if let Some(larger) = etsi014::KeySize::from_octets(size.octets() + 1) {
        assert!(KeyContainer::decode_sized(input, Decoding::Lenient, larger).is_err(), "another size is accepted");
    }
}
