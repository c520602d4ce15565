//! The writer of key containers: one buffer of the exact size, so that no growth leaves a copy of a key behind.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::body::Body;
use crate::decode::Object;
use crate::message::{Key, KeyContainer};

const HEAD: &[u8] = br#"{"keys":["#;
const KEY_ID: &[u8] = br#"{"key_ID":""#;
const KEY: &[u8] = br#"","key":""#;
const ID_EXTENSION: &[u8] = br#","key_ID_extension":"#;
const KEY_EXTENSION: &[u8] = br#","key_extension":"#;
const CONTAINER_EXTENSION: &[u8] = br#","key_container_extension":"#;

/// The JSON of a container. IDs and base64 need no escapes; extensions are left to serde_json.
pub(crate) fn key_container(container: &KeyContainer) -> Body {
    let extensions: Vec<KeyExtensions> = if container.keys.iter().any(has_extension) {
        container.keys.iter().map(KeyExtensions::of).collect()
    } else {
        Vec::new()
    };
    let extension = member(CONTAINER_EXTENSION, container.extension.as_ref());

    let commas = container.keys.len().saturating_sub(1);
    let keys: usize = container.keys.iter().map(key_length).sum();
    let key_extensions: usize = extensions.iter().map(|both| both.id.len() + both.key.len()).sum();
    let total = HEAD.len() + keys + commas + key_extensions + b"]".len() + extension.len() + b"}".len();

    let mut out = Zeroizing::new(Vec::with_capacity(total));
    out.extend_from_slice(HEAD);
    for (index, key) in container.keys.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_key(&mut out, key, extensions.get(index));
    }
    out.push(b']');
    out.extend_from_slice(&extension);
    out.push(b'}');
    debug_assert_eq!(out.len(), total);
    Body::from(out)
}

fn write_key(out: &mut Vec<u8>, key: &Key, extensions: Option<&KeyExtensions>) {
    out.extend_from_slice(KEY_ID);
    out.extend_from_slice(key.id.as_ascii());
    out.extend_from_slice(KEY);
    let octets = key.material.expose_secret();
    let start = out.len();
    out.resize(start + base64_length(octets.len()), 0);
    if let Some(text) = out.get_mut(start..) {
        // the room is exact, so there is no error to report
        let written = Base64::encode(octets, text).map(str::len);
        debug_assert_eq!(written, Ok(base64_length(octets.len())));
    }
    out.push(b'"');
    if let Some(extensions) = extensions {
        out.extend_from_slice(&extensions.id);
        out.extend_from_slice(&extensions.key);
    }
    out.push(b'}');
}

fn key_length(key: &Key) -> usize {
    let base64 = base64_length(key.material.expose_secret().len());
    KEY_ID.len() + key.id.as_ascii().len() + KEY.len() + base64 + b"\"}".len()
}

const fn base64_length(octets: usize) -> usize {
    octets.div_ceil(3) * 4
}

fn has_extension(key: &Key) -> bool {
    key.id_extension.is_some() || key.key_extension.is_some()
}

/// The extensions of one key as JSON members, each with its leading comma; empty when absent.
struct KeyExtensions {
    id: Vec<u8>,
    key: Vec<u8>,
}

impl KeyExtensions {
    fn of(key: &Key) -> Self {
        Self { id: member(ID_EXTENSION, key.id_extension.as_ref()), key: member(KEY_EXTENSION, key.key_extension.as_ref()) }
    }
}

fn member(name: &[u8], object: Option<&Object>) -> Vec<u8> {
    let Some(object) = object else { return Vec::new() };
    let mut member = name.to_vec();
    // an object with text names always serializes
    member.append(&mut serde_json::to_vec(object).unwrap_or_default());
    member
}

#[cfg(test)]
mod tests {
    use itu_y3803::KeyMaterial;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::id::KeyId;

    fn key(octets: Vec<u8>, extended: bool) -> Key {
        let id = KeyId::from(itu_y3803::KeyId::from_octets([octets.len() as u8; 16]));
        let mut key = Key::new(id, KeyMaterial::from_octets(octets).expect("whole octets"));
        if extended {
            key.id_extension = json!({"hx_\"": [1, null, "é"]}).as_object().cloned();
            key.key_extension = json!({}).as_object().cloned();
        }
        key
    }

    proptest! {
        #[test]
        fn buffers_have_the_exact_size(
            keys in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..100), any::<bool>()), 0..6),
            extended: bool,
        ) {
            let keys: Vec<Key> = keys.into_iter().map(|(octets, extended)| key(octets, extended)).collect();
            let extension = if extended { json!({"hx_a": 1}).as_object().cloned() } else { None };
            let container = KeyContainer { keys, extension };
            let body = key_container(&container);
            prop_assert_eq!(body.capacity(), body.len());
            prop_assert_eq!(serde_json::from_slice::<Value>(body.as_ref()).expect("JSON"), by_serde_json(&container));
        }
    }

    /// The same container written without our writer.
    fn by_serde_json(container: &KeyContainer) -> Value {
        let keys = container.keys.iter().map(|key| {
            let mut object = json!({"key_ID": key.id.as_str(), "key": Base64::encode_string(key.material.expose_secret())});
            for (name, extension) in [("key_ID_extension", &key.id_extension), ("key_extension", &key.key_extension)] {
                if let Some(extension) = extension {
                    object[name] = Value::Object(extension.clone());
                }
            }
            object
        });
        let mut object = json!({"keys": keys.collect::<Vec<_>>()});
        if let Some(extension) = &container.extension {
            object["key_container_extension"] = Value::Object(extension.clone());
        }
        object
    }
}
