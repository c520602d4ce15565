//! What several tests need: short makers and proptest strategies.

#![allow(dead_code)] // each test uses its own part

use std::num::NonZeroU32;

use etsi014::{Key, KeyContainer, KeyId, KeyIds, KeyMaterial, KeyRequest, KeySize, KmeId, Object, RequestedKey, SaeId, Status};
use proptest::prelude::*;
use serde_json::Value;
use subtle::ConstantTimeEq;

pub(crate) const ID_1: &str = "0957365e-4b8d-4f95-8a8f-de3d60199dbb";
pub(crate) const ID_2: &str = "f20f4a45-8a7f-43e5-b0d9-234ca2bfc5aa";
pub(crate) const ID_3: &str = "1136e869-67a8-43aa-8f73-4ead4060ff73";

pub(crate) fn sae(id: &str) -> SaeId {
    SaeId::new(id).expect("an SAE ID")
}

pub(crate) fn kme(id: &str) -> KmeId {
    KmeId::new(id).expect("a KME ID")
}

pub(crate) fn key_id(id: &str) -> KeyId {
    KeyId::parse(id).expect("a UUID")
}

pub(crate) fn bits(bits: u32) -> KeySize {
    KeySize::from_bits(bits).expect("not zero")
}

pub(crate) fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

pub(crate) fn key(id: &str, octets: &[u8]) -> Key {
    Key::new(key_id(id), KeyMaterial::from_octets(octets.to_vec()).expect("whole octets"))
}

pub(crate) fn object(json: &str) -> Object {
    serde_json::from_str(json).expect("an object")
}

pub(crate) fn same_keys(a: &KeyContainer, b: &KeyContainer) -> bool {
    a.extension == b.extension
        && a.keys.len() == b.keys.len()
        && a.keys.iter().zip(&b.keys).all(|(a, b)| {
            a.id.as_str() == b.id.as_str()
                && bool::from(a.material.ct_eq(&b.material))
                && a.id_extension == b.id_extension
                && a.key_extension == b.key_extension
        })
}

pub(crate) fn any_sae() -> impl Strategy<Value = SaeId> {
    "\\PC{1,40}".prop_map(|id| sae(&id))
}

pub(crate) fn any_kme() -> impl Strategy<Value = KmeId> {
    "\\PC{1,40}".prop_map(|id| kme(&id))
}

pub(crate) fn any_key_id() -> impl Strategy<Value = KeyId> {
    "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}".prop_map(|id| key_id(&id))
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // halves are exact in text
        any::<i32>().prop_map(|half| Value::from(f64::from(half) / 2.0)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

pub(crate) fn any_object() -> impl Strategy<Value = Object> {
    prop::collection::btree_map(".{0,8}", any_value(), 0..4).prop_map(|map| map.into_iter().collect())
}

pub(crate) fn any_status() -> impl Strategy<Value = Status> {
    (any_kme(), any_kme(), any_sae(), any_sae(), any::<[u64; 7]>(), prop::option::of(any_object())).prop_map(
        |(source_kme, target_kme, master, slave, [key_size, stored, max_count, per_request, max, min, saes], extension)| Status {
            source_kme,
            target_kme,
            master,
            slave,
            key_size,
            stored_key_count: stored,
            max_key_count: max_count,
            max_key_per_request: per_request,
            max_key_size: max,
            min_key_size: min,
            max_sae_id_count: saes,
            extension,
        },
    )
}

pub(crate) fn any_key_request() -> impl Strategy<Value = KeyRequest> {
    (
        prop::option::of(1..=u32::MAX),
        prop::option::of(1..=u32::MAX),
        prop::collection::vec(any_sae(), 0..3),
        prop::collection::vec(any_object(), 0..3),
        prop::collection::vec(any_object(), 0..3),
    )
        .prop_map(|(number, size, additional_slaves, extension_mandatory, extension_optional)| KeyRequest {
            number: number.map(count),
            size: size.map(bits),
            additional_slaves,
            extension_mandatory,
            extension_optional,
        })
}

pub(crate) fn any_key_ids() -> impl Strategy<Value = KeyIds> {
    let requested = (any_key_id(), prop::option::of(any_object())).prop_map(|(id, extension)| RequestedKey { id, extension });
    (prop::collection::vec(requested, 0..5), prop::option::of(any_object()))
        .prop_map(|(keys, extension)| KeyIds { keys, extension })
}

pub(crate) fn any_key() -> impl Strategy<Value = Key> {
    let octets = prop::collection::vec(any::<u8>(), 1..80);
    (any_key_id(), octets, prop::option::of(any_object()), prop::option::of(any_object())).prop_map(
        |(id, octets, id_extension, key_extension)| Key {
            id,
            material: KeyMaterial::from_octets(octets).expect("whole octets"),
            id_extension,
            key_extension,
        },
    )
}

pub(crate) fn any_container() -> impl Strategy<Value = KeyContainer> {
    (prop::collection::vec(any_key(), 0..5), prop::option::of(any_object()))
        .prop_map(|(keys, extension)| KeyContainer { keys, extension })
}
