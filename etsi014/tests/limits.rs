//! What a KME admits.

mod support;

use etsi014::server::SlaveProblem;
use etsi014::{GetKey, GetKeyWithKeyIds, KeyRequest, KeySize, Limits, Object, Parties, Rejection};
use proptest::prelude::*;
use support::*;

fn limits() -> Limits {
    let limits = Limits::default().with_max_keys(count(16)).with_max_additional_slaves(2);
    limits.with_sizes(bits(64), bits(256), bits(4096), true).expect("coherent")
}

fn get_key(request: KeyRequest) -> GetKey {
    GetKey { slave: sae("blue"), request }
}

fn sized(size: u32) -> GetKey {
    get_key(KeyRequest { size: Some(bits(size)), ..KeyRequest::default() })
}

fn shared(slaves: &[&str]) -> GetKey {
    get_key(KeyRequest { additional_slaves: slaves.iter().map(|id| sae(id)).collect(), ..KeyRequest::default() })
}

fn demanding(objects: &[&str]) -> GetKey {
    get_key(KeyRequest { extension_mandatory: objects.iter().map(|json| object(json)).collect(), ..KeyRequest::default() })
}

#[test]
fn empty_requests_get_one_key_of_the_default_size() {
    let order = limits().admit(&sae("red"), get_key(KeyRequest::default())).expect("within limits");
    assert_eq!((order.number().get(), order.size()), (1, KeySize::BITS_256));
    assert_eq!((order.master(), order.slaves()), (&sae("red"), &[sae("blue")][..]));
}

#[test]
fn sizes_are_held_to_the_limits() {
    let out_of_range = Rejection::SizeOutOfRange { min: bits(64), max: bits(4096) };
    for (size, verdict) in [
        (64, Ok(())),
        (4096, Ok(())),
        (72, Ok(())),
        (257, Err(Rejection::SizeNotMultipleOf8)),
        (1, Err(Rejection::SizeNotMultipleOf8)),
        (56, Err(out_of_range.clone())),
        (4104, Err(out_of_range.clone())),
        (u32::MAX - 7, Err(out_of_range.clone())),
    ] {
        assert_eq!(limits().admit(&sae("red"), sized(size)).map(drop), verdict, "{size}");
    }
    let any_bits = limits().with_sizes(bits(1), bits(256), bits(300), false).expect("coherent");
    assert_eq!(any_bits.admit(&sae("red"), sized(257)).expect("supported").size(), bits(257));
    assert!(any_bits.admit(&sae("red"), sized(301)).is_err());
}

#[test]
fn numbers_are_held_to_the_limit() {
    for (number, admitted) in [(1, true), (16, true), (17, false), (u32::MAX, false)] {
        let call = get_key(KeyRequest { number: Some(count(number)), ..KeyRequest::default() });
        match limits().admit(&sae("red"), call) {
            Ok(order) => assert!(admitted && order.number() == count(number)),
            Err(rejection) => assert_eq!((admitted, rejection), (false, Rejection::TooManyKeys { asked: number, max: 16 })),
        }
    }
}

#[test]
fn slaves_are_few_and_different() {
    for (slaves, verdict) in [
        (&[][..], Ok(())),
        (&["green"], Ok(())),
        (&["green", "grey"], Ok(())),
        (&["green", "grey", "pink"], Err(Rejection::TooManySlaves { asked: 3, max: 2 })),
        (&["green", "green"], Err(Rejection::InvalidSlaves(SlaveProblem::Repeated))),
        (&["blue"], Err(Rejection::InvalidSlaves(SlaveProblem::SlaveOfPath))),
        (&["red"], Err(Rejection::InvalidSlaves(SlaveProblem::CallerIsSlave))),
    ] {
        assert_eq!(limits().admit(&sae("red"), shared(slaves)).map(drop), verdict, "{slaves:?}");
    }
    let order = limits().admit(&sae("red"), shared(&["green", "grey"])).expect("within limits");
    assert_eq!(order.slaves(), [sae("blue"), sae("green"), sae("grey")]);
    // no multicast: a list is refused, not overlooked
    let none = limits().with_max_additional_slaves(0);
    assert_eq!(none.admit(&sae("red"), shared(&["green"])), Err(Rejection::TooManySlaves { asked: 1, max: 0 }));
    assert!(none.admit(&sae("red"), shared(&[])).is_ok());
    // a caller naming itself in the path
    let own = Err(Rejection::InvalidSlaves(SlaveProblem::CallerIsSlave));
    assert_eq!(limits().admit(&sae("blue"), shared(&[])), own);
    assert!(limits().with_self_as_slave(true).admit(&sae("blue"), shared(&[])).is_ok());
}

#[test]
fn unsupported_mandatory_extensions_are_refused() {
    let unsupported = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Err(Rejection::MandatoryExtensionUnsupported { names })
    };
    let one = limits().with_mandatory_extension("hx_path");
    for (limits, objects, verdict) in [
        (limits(), &[r#"{"hx_path":"direct"}"#][..], unsupported(&["hx_path"])),
        (limits(), &[r#"{"hx_path":null}"#], unsupported(&["hx_path"])),
        (limits(), &[], Ok(())),
        (limits(), &["{}"], Ok(())),
        (one.clone(), &[r#"{"hx_path":"direct"}"#], Ok(())),
        (one.clone(), &[r#"{"hx_path":"direct","hx_b":1}"#, r#"{"hx_a":1}"#, r#"{"hx_b":2}"#], unsupported(&["hx_a", "hx_b"])),
    ] {
        assert_eq!(limits.admit(&sae("red"), demanding(objects)).map(drop), verdict, "{objects:?}");
    }
    let order = one.admit(&sae("red"), demanding(&[r#"{"hx_path":"direct"}"#])).expect("supported");
    assert_eq!(order.extension_mandatory(), [object(r#"{"hx_path":"direct"}"#)]);
}

#[test]
fn optional_extensions_pass() {
    let request = KeyRequest { extension_optional: vec![object(r#"{"hx_trace":true}"#)], ..KeyRequest::default() };
    let order = limits().admit(&sae("red"), get_key(request)).expect("may be ignored");
    assert_eq!(order.extension_optional(), [object(r#"{"hx_trace":true}"#)]);
}

#[test]
fn key_ids_are_some_and_different() {
    let call = |ids: &[&str]| GetKeyWithKeyIds { master: sae("red"), key_ids: ids.iter().map(|id| key_id(id)).collect() };
    let order = limits().admit_ids(&sae("blue"), call(&[ID_2, ID_1])).expect("within limits");
    assert_eq!((order.slave(), order.master()), (&sae("blue"), &sae("red")));
    assert_eq!(order.ids(), [key_id(ID_2), key_id(ID_1)]);
    assert_eq!(limits().admit_ids(&sae("blue"), call(&[])), Err(Rejection::NoKeyIds));
    let twice = limits().admit_ids(&sae("blue"), call(&[ID_1, ID_2, &ID_1.to_uppercase()]));
    assert_eq!(twice, Err(Rejection::RepeatedKeyId(key_id(ID_1))));
    let many = limits().with_max_keys(count(2)).admit_ids(&sae("blue"), call(&[ID_1, ID_2, ID_3]));
    assert_eq!(many, Err(Rejection::TooManyKeyIds { asked: 3, max: 2 }));
}

#[test]
fn sizes_of_a_kme_are_coherent() {
    for (min, default, max, octets_only, coherent) in [
        (64, 256, 4096, true, true),
        (256, 256, 256, true, true),
        (1, 257, 300, false, true),
        (1, 256, 4096, true, false),
        (64, 257, 4096, true, false),
        (64, 256, 4095, true, false),
        (257, 256, 4096, false, false),
        (64, 256, 255, false, false),
    ] {
        let result = Limits::default().with_sizes(bits(min), bits(default), bits(max), octets_only);
        assert_eq!(result.is_ok(), coherent, "{min} {default} {max} {octets_only}");
    }
}

#[test]
fn status_tells_the_limits() {
    let parties = Parties { source_kme: kme("north"), target_kme: kme("south"), master: sae("red"), slave: sae("blue") };
    let status = limits().status(parties.clone(), 412, 2048);
    assert_eq!((status.min_key_size, status.key_size, status.max_key_size), (64, 256, 4096));
    assert_eq!((status.max_key_per_request, status.max_sae_id_count), (16, 2));
    assert_eq!((status.stored_key_count, status.max_key_count), (412, 2048));
    assert_eq!((status.master, status.slave), (sae("red"), sae("blue")));
    let full = limits().with_max_additional_slaves(0).status(parties, 3000, 2048);
    assert_eq!((full.stored_key_count, full.max_key_count, full.max_sae_id_count), (2048, 2048, 0));
}

proptest! {
    #[test]
    fn orders_are_within_the_limits(
        caller in any_sae(), slave in any_sae(), request in any_key_request(),
        number in prop::option::of(1u32..40), size in prop::option::of(1u32..5000), extensions: bool,
    ) {
        let request = KeyRequest { number: number.map(count), size: size.map(bits), ..request };
        let request = if extensions { request } else { KeyRequest { extension_mandatory: vec![], ..request } };
        let nothing_mandatory = request.extension_mandatory.iter().all(Object::is_empty);
        let limits = limits();
        if let Ok(order) = limits.admit(&caller, GetKey { slave: slave.clone(), request: request.clone() }) {
            prop_assert!(order.number() <= limits.max_keys());
            prop_assert!(order.size() >= limits.min_size() && order.size() <= limits.max_size() && order.size().bits() % 8 == 0);
            prop_assert_eq!(order.slaves().len(), 1 + request.additional_slaves.len());
            prop_assert!(!order.slaves().contains(&caller));
            prop_assert!(nothing_mandatory);
        }
    }
}
