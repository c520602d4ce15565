use std::fmt::Write;

use itu_y3803::ApplicationId;

use super::*;

fn application(id: &str) -> ApplicationId {
    ApplicationId::new(id).expect("valid")
}

fn parties(master: &str, slaves: &[&str]) -> Parties {
    Parties::new(application(master), slaves.iter().map(|slave| application(slave)).collect()).expect("distinct")
}

fn material(octets: &[u8]) -> KeyMaterial {
    KeyMaterial::from_octets(octets.to_vec()).expect("whole octets")
}

fn qkd(id: u8, octets: &[u8]) -> KsaKey {
    KsaKey {
        paths: itu_y3803::Paths::default(),
        id: KeyId::from_octets([id; 16]),
        material: material(octets),
        label: SecrecyLabel::ItsRelay,
        created: WallTime::from_millis(5),
        expires: WallTime::from_millis(100),
    }
}

fn second(id: u8, method: &str, transcript: &[u8], octets: &[u8]) -> SecondKey {
    SecondKey {
        id: KeyId::from_octets([id; 16]),
        method: method.to_owned(),
        transcript: transcript.to_vec(),
        material: material(octets),
        expires: WallTime::from_millis(70),
    }
}

fn bits(bits: u32) -> KeySize {
    KeySize::from_bits(bits).expect("not zero")
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut hex, octet| {
        write!(hex, "{octet:02x}").expect("a string takes all");
        hex
    })
}

/// SHA-256 of "hybrid-vector-qkd" and of "hybrid-vector-second".
fn vector_inputs() -> [Vec<u8>; 2] {
    use sha2::Digest;
    ["hybrid-vector-qkd", "hybrid-vector-second"].map(|text| Sha256::digest(text).to_vec())
}

#[test]
fn the_derivation_is_that_of_rfc_5869() {
    // Test cases 1 and 2; the input is cut in two anywhere.
    for (salt, input, info, output) in [
        (
            (0x00..0x0d).collect::<Vec<u8>>(),
            vec![0x0b; 22],
            (0xf0..0xfa).collect::<Vec<u8>>(),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            (0x60..0xb0).collect(),
            (0x00..0x50).collect(),
            (0xb0..=0xff).collect(),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
    ] {
        let (first, rest) = input.split_at(7);
        let output = octets(output);
        assert_eq!(*hkdf(&salt, [&material(first), &material(rest)], &info, output.len()), output);
    }
}

/// The vectors were computed with hashlib and hmac of Python.
#[test]
fn vectors() {
    let [q, s] = vector_inputs();
    let key = combine(
        Some(qkd(1, &q)),
        Some(second(2, "ML-KEM-768", b"transcript", &s)),
        &parties("red", &["blue"]),
        KeySize::BITS_256,
    )
    .expect("combines");
    assert_eq!(hex(key.material.expose_secret()), "a3ada8dad749c600eaf6c7ce7eb4f6987796b5d5fc700e39f456d67288678393");

    let (longer_q, longer_s) = ([&q[..], &q[..8]].concat(), [&s[..], &s[..]].concat());
    let key = combine(
        Some(qkd(1, &longer_q)),
        Some(second(2, "ML-KEM-1024", b"", &longer_s)),
        &parties("red", &["green", "blue"]),
        bits(1024),
    )
    .expect("combines");
    assert_eq!(
        hex(key.material.expose_secret()),
        "6fae9547a4a7ff4879208e2f1371634015be6cda90c212c1780d731f200345d233defc4d3993734d91e0f0832b7cbc86\
         5724b285d94cf8076408014b58de5cf4c249550746578e3a3e6ec8d6ec6692fd2a59a191185e2346a0783619570abdf3\
         a444e2a371ea784bb112d347329b252adfd6af01ed44da8235ff2eed6f4edf84"
    );

    let key =
        combine(Some(qkd(0xff, &q)), Some(second(0, "", &[0; 3], &s)), &parties("réd", &["blue"]), bits(128)).expect("combines");
    assert_eq!(hex(key.material.expose_secret()), "e250479c493d3e9af86f0cc09cf2eeaa");
}

#[test]
fn anything_that_differs_gives_another_key() {
    let [q, s] = vector_inputs();
    let mut flipped = [q.clone(), s.clone()];
    flipped.iter_mut().for_each(|octets| octets[31] ^= 1);
    let usual = parties("red", &["blue"]);
    let make = |qkd: KsaKey, second: SecondKey, parties: &Parties| {
        combine(Some(qkd), Some(second), parties, KeySize::BITS_256).expect("combines").material.expose_secret().to_vec()
    };
    let mut keys = vec![
        make(qkd(1, &q), second(2, "m", b"t", &s), &usual),
        make(qkd(1, &flipped[0]), second(2, "m", b"t", &s), &usual),
        make(qkd(1, &q), second(2, "m", b"t", &flipped[1]), &usual),
        make(qkd(1, &s), second(2, "m", b"t", &q), &usual),
        make(qkd(2, &q), second(1, "m", b"t", &s), &usual),
        make(qkd(1, &q), second(2, "m", b"u", &s), &usual),
        make(qkd(1, &q), second(2, "mt", b"", &s), &usual),
        make(qkd(1, &q), second(2, "", b"mt", &s), &usual),
        make(qkd(1, &q), second(2, "m", b"t", &s), &parties("blue", &["red"])),
        make(qkd(1, &q), second(2, "m", b"t", &s), &parties("red", &["blue", "grey"])),
        // The same octets, cut between the keys elsewhere
        make(qkd(1, &[&q[..], &s[..1]].concat()), second(2, "m", b"t", &[&s[1..], &q[..]].concat()), &usual),
        make(qkd(1, &q), second(2, "m", b"t", &[&s[..], &q[..]].concat()), &usual),
    ];
    let short = combine(Some(qkd(1, &q)), Some(second(2, "m", b"t", &s)), &usual, bits(128)).expect("combines");
    assert_ne!(short.material.expose_secret(), &keys[0][..16], "a short key tells nothing of a long one");
    let number = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), number);
}

#[test]
fn no_input_is_left_out() {
    let [q, s] = vector_inputs();
    let parties = parties("red", &["blue"]);
    let try_it = |qkd, second, size| combine(qkd, second, &parties, size).map(|key| key.label);
    let good = || (Some(qkd(1, &q)), Some(second(2, "m", b"t", &s)));
    assert_eq!(try_it(good().0, good().1, KeySize::BITS_256), Ok(SecrecyLabel::Hybrid));
    assert_eq!(try_it(None, good().1, KeySize::BITS_256), Err(CombineError::NoQkdKey));
    assert_eq!(try_it(good().0, None, KeySize::BITS_256), Err(CombineError::NoSecondKey));
    for label in [SecrecyLabel::Computational, SecrecyLabel::Hybrid] {
        let other = KsaKey { label, ..qkd(1, &q) };
        assert_eq!(try_it(Some(other), good().1, KeySize::BITS_256), Err(CombineError::NotQkd(label)));
    }
    assert_eq!(try_it(Some(qkd(1, &q[1..])), good().1, KeySize::BITS_256), Err(CombineError::InputSize(bits(248))));
    let short = second(2, "m", b"t", &s[..16]);
    assert_eq!(try_it(good().0, Some(short), KeySize::BITS_256), Err(CombineError::InputSize(bits(128))));
    let mut ragged = qkd(1, &q);
    ragged.material = KeyMaterial::new(vec![0; 33], bits(257)).expect("padded");
    assert_eq!(try_it(Some(ragged), good().1, KeySize::BITS_256), Err(CombineError::InputSize(bits(257))));
    for (size, fits) in [(8, true), (7, false), (255 * 256, true), (255 * 256 + 8, false), (u32::MAX, false)] {
        let (qkd, second) = good();
        assert_eq!(try_it(qkd, second, bits(size)).is_ok(), fits, "{size} bits");
    }
}

#[test]
fn the_result_lives_no_longer_than_either() {
    let [q, s] = vector_inputs();
    let key = combine(Some(qkd(1, &q)), Some(second(2, "m", b"t", &s)), &parties("red", &["blue"]), KeySize::BITS_256)
        .expect("combines");
    assert_eq!(key.id, KeyId::from_octets([1; 16]));
    assert_eq!((key.created, key.expires), (WallTime::from_millis(5), WallTime::from_millis(70)));
}
