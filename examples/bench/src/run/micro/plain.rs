//! The messages as structs of the same members with derived code: no path of what was wrong, no constant time, no wiping.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use etsi014::{KeyId, Object};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Serialize, Deserialize)]
pub(super) struct Container {
    keys: Vec<Key>,
    #[serde(rename = "key_container_extension", skip_serializing_if = "Option::is_none")]
    extension: Option<Object>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    #[serde(rename = "key_ID", deserialize_with = "key_id")]
    id: KeyId,
    #[serde(with = "base64_text")]
    key: Vec<u8>,
    #[serde(rename = "key_ID_extension", skip_serializing_if = "Option::is_none")]
    id_extension: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_extension: Option<Object>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Ids {
    #[serde(rename = "key_IDs")]
    ids: Vec<Id>,
    #[serde(rename = "key_IDs_extension", skip_serializing_if = "Option::is_none")]
    extension: Option<Object>,
}

#[derive(Serialize, Deserialize)]
struct Id {
    #[serde(rename = "key_ID", deserialize_with = "key_id")]
    id: KeyId,
    #[serde(rename = "key_ID_extension", skip_serializing_if = "Option::is_none")]
    extension: Option<Object>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read")]
pub(super) struct Request {
    number: Option<u32>,
    size: Option<u32>,
    #[serde(rename = "additional_slave_SAE_IDs", default)]
    additional_slaves: Vec<String>,
    #[serde(default)]
    extension_mandatory: Vec<Object>,
    #[serde(default)]
    extension_optional: Vec<Object>,
}

impl Container {
    /// Of keys of 256 bits.
    pub(super) fn sample(keys: u8) -> Self {
        let key = |number: u8| Key {
            id: itu_y3803::KeyId::from_octets([number; 16]).into(),
            key: (0..32u8).map(|octet| octet.wrapping_mul(37).wrapping_add(number)).collect(),
            id_extension: None,
            key_extension: None,
        };
        Self { keys: (0..keys).map(key).collect(), extension: None }
    }

    pub(super) fn ids(&self) -> Ids {
        Ids { ids: self.keys.iter().map(|key| Id { id: key.id, extension: None }).collect(), extension: None }
    }
}

fn key_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyId, D::Error> {
    KeyId::parse(<&str>::deserialize(deserializer)?).map_err(de::Error::custom)
}

mod base64_text {
    use super::{Deserialize, Deserializer, Engine, STANDARD, Serializer, de};

    pub(super) fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(octets))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(de::Error::custom)
    }
}
