//! Which name is taken from which certificate, and which certificates give none.

mod common;

use common::{World, der};
use proptest::prelude::*;
use serde::Deserialize;
use transport::identity::{IdentityError, IdentitySource, MAX_IDENTITY_OCTETS};
use transport::pki::Leaf;

fn uri() -> IdentitySource {
    IdentitySource::sae_uri()
}

#[test]
fn exactly_one_usable_name_is_an_identity() {
    use IdentityError::{Ambiguous, Missing, Unusable};
    use IdentitySource::{CommonName, SanDns};
    let world = World::new();
    let longest = "a".repeat(MAX_IDENTITY_OCTETS);
    let with_uri = |uri: &str| Leaf::bare("name").uri(uri);
    for (leaf, source, expected) in [
        (Leaf::sae("red"), uri(), Ok("red")),
        (Leaf::sae("red"), SanDns, Ok("red")),
        (Leaf::sae("red"), CommonName, Ok("red")),
        (Leaf::sae("a b/ü%"), uri(), Ok("a b/ü%")),
        (Leaf::sae("a b/ü%"), CommonName, Ok("a b/ü%")),
        (Leaf::sae("a b/ü%"), SanDns, Err(Missing)),
        (Leaf::kme("north"), IdentitySource::kme_uri(), Ok("north")),
        (Leaf::kme("north"), uri(), Err(Missing)),
        (Leaf::kme("north"), SanDns, Err(Ambiguous)),
        (Leaf::bare("red"), uri(), Err(Missing)),
        (Leaf::bare("red"), SanDns, Err(Missing)),
        (Leaf::bare("red"), CommonName, Ok("red")),
        (Leaf::bare(""), CommonName, Err(Unusable)),
        (Leaf::bare("red\0blue"), CommonName, Err(Unusable)),
        (Leaf::bare("red\nblue"), CommonName, Err(Unusable)),
        (with_uri("urn:qkd:sae:red").uri("urn:qkd:sae:blue"), uri(), Err(Ambiguous)),
        (with_uri("urn:qkd:sae:red").uri("urn:qkd:sae:red"), uri(), Err(Ambiguous)),
        (with_uri("urn:qkd:sae:red").uri("urn:qkd:kme:north"), uri(), Ok("red")),
        (with_uri("https://example.org/urn:qkd:sae:red"), uri(), Err(Missing)),
        (with_uri("URN:QKD:SAE:red"), uri(), Err(Missing)),
        (with_uri("urn:qkd:sae:"), uri(), Err(Unusable)),
        (with_uri("urn:qkd:sae:%72ed"), uri(), Ok("red")),
        (with_uri("urn:qkd:sae:%4"), uri(), Err(Unusable)),
        (with_uri("urn:qkd:sae:%"), uri(), Err(Unusable)),
        (with_uri("urn:qkd:sae:%4g"), uri(), Err(Unusable)),
        (with_uri("urn:qkd:sae:%+4"), uri(), Err(Unusable)),
        (with_uri("urn:qkd:sae:%ff"), uri(), Err(Unusable)),
        (with_uri("urn:qkd:sae:red%00"), uri(), Err(Unusable)),
        (with_uri("urn:qkd:sae:red%0a"), uri(), Err(Unusable)),
        (Leaf::sae(&longest), uri(), Ok(longest.as_str())),
        (Leaf::sae(&format!("{longest}a")), uri(), Err(Unusable)),
        (Leaf::bare("name").host("*.example.org"), SanDns, Err(Unusable)),
        (Leaf::bare("name").host("a.example.org"), SanDns, Ok("a.example.org")),
    ] {
        let certificate = der(world.issue(&leaf).certificate_pem());
        assert_eq!(source.identify(&certificate), expected.map(str::to_owned), "{source:?} of {leaf:?}");
    }
}

#[test]
fn what_is_no_certificate_gives_no_identity() {
    let world = World::new();
    let good = der(world.issue(&Leaf::sae("red")).certificate_pem());
    let mut longer = good.to_vec();
    longer.push(0);
    for octets in [&b""[..], &b"\x30"[..], &b"\x30\x84\xff\xff\xff\xff"[..], &good[..good.len() - 1], &longer] {
        for source in [uri(), IdentitySource::SanDns, IdentitySource::CommonName] {
            assert_eq!(source.identify(octets), Err(IdentityError::Malformed), "{} octets", octets.len());
        }
    }
}

#[test]
fn sources_are_read_from_a_configuration() {
    #[derive(Deserialize)]
    struct File {
        identity: IdentitySource,
    }
    let parse = |text: &str| toml::from_str::<File>(text).map(|file| file.identity);
    for (text, expected) in [
        ("identity = 'common_name'", IdentitySource::CommonName),
        ("identity = 'san_dns'", IdentitySource::SanDns),
        ("identity = { san_uri = { prefix = 'urn:qkd:sae:' } }", IdentitySource::sae_uri()),
        ("[identity.san_uri]\nprefix = 'urn:qkd:kme:'", IdentitySource::kme_uri()),
    ] {
        assert_eq!(parse(text).expect(text), expected);
    }
    for text in ["identity = 'subject'", "identity = { san_uri = {} }", "identity = { san_uri = { prefix = '', suffix = '' } }"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_name_comes_back(name in "[^\\p{Cc}]{1,100}") {
        let world = World::new();
        let certificate = der(world.issue(&Leaf::sae(&name)).certificate_pem());
        prop_assert_eq!(uri().identify(&certificate), Ok(name.clone()));
        prop_assert_eq!(IdentitySource::CommonName.identify(&certificate), Ok(name));
    }

    #[test]
    fn damaged_certificates_do_no_harm(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let world = World::new();
        let mut octets = der(world.issue(&Leaf::kme("north")).certificate_pem()).to_vec();
        for (place, octet) in damage {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        for source in [IdentitySource::kme_uri(), IdentitySource::SanDns, IdentitySource::CommonName] {
            if let Ok(name) = source.identify(&octets) {
                prop_assert!(!name.is_empty() && name.len() <= MAX_IDENTITY_OCTETS && !name.chars().any(char::is_control));
            }
        }
    }
}
