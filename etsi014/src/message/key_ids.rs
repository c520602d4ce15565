//! Key IDs, clause 6.4.

use serde::Serialize;
use serde::de::MapAccess;

use crate::body::Body;
use crate::decode::{self, AnyObject, At, DecodeError, Decoding, ListOf, Object, Problem, Shape, Slot, Text, next_member};
use crate::id::KeyId;

/// Which keys a slave SAE asks for with Get key with key IDs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyIds {
    /// The keys asked for (014-6.4-01).
    #[serde(rename = "key_IDs")]
    pub keys: Vec<RequestedKey>,
    /// For extensions concerning all of them (014-6.4-02).
    #[serde(rename = "key_IDs_extension", skip_serializing_if = "Option::is_none")]
    pub extension: Option<Object>,
}

/// One key asked for by its ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestedKey {
    /// The key.
    #[serde(rename = "key_ID")]
    pub id: KeyId,
    /// For extensions concerning this key (014-6.4-02).
    #[serde(rename = "key_ID_extension", skip_serializing_if = "Option::is_none")]
    pub extension: Option<Object>,
}

impl KeyIds {
    /// Reads a Key IDs body.
    ///
    /// # Errors
    /// [`DecodeError`] when the body has another format; the problem is [`Problem::InvalidKeyId`] when nothing is wrong up to an
    /// ID that is no UUID.
    pub fn decode(body: &[u8], decoding: Decoding) -> Result<Self, DecodeError> {
        // the format has nothing on which strict and lenient differ
        let _ = decoding;
        decode::parse(body, KeyIdsShape)
    }

    /// The body as JSON.
    #[must_use]
    pub fn encode(&self) -> Body {
        super::to_json(self)
    }

    /// The ID, when the GET form can carry this request: exactly one and no extension (014-6.4-03 to 014-6.4-05).
    #[must_use]
    pub fn fits_get(&self) -> Option<KeyId> {
        match self.keys.as_slice() {
            [RequestedKey { id, extension: None }] if self.extension.is_none() => Some(*id),
            _ => None,
        }
    }
}

impl FromIterator<KeyId> for KeyIds {
    fn from_iter<I: IntoIterator<Item = KeyId>>(ids: I) -> Self {
        Self { keys: ids.into_iter().map(|id| RequestedKey { id, extension: None }).collect(), extension: None }
    }
}

struct KeyIdsShape;

impl<'de> Shape<'de> for KeyIdsShape {
    type Out = KeyIds;

    fn object<A: MapAccess<'de>>(self, at: At<'_>, mut map: A) -> Result<KeyIds, A::Error> {
        let (mut keys, mut extension) = (Slot::new(), Slot::new());
        while let Some(name) = next_member(&mut map, &["key_IDs", "key_IDs_extension"])? {
            let at = at.member(name);
            match name {
                "key_IDs" => keys.read(at, &mut map, ListOf(|| RequestedKeyShape))?,
                _ => extension.read(at, &mut map, AnyObject)?,
            }
        }
        Ok(KeyIds { keys: keys.required(at.member("key_IDs"))?, extension: extension.optional() })
    }
}

struct RequestedKeyShape;

impl<'de> Shape<'de> for RequestedKeyShape {
    type Out = RequestedKey;

    fn object<A: MapAccess<'de>>(self, at: At<'_>, mut map: A) -> Result<RequestedKey, A::Error> {
        let (mut id, mut extension) = (Slot::new(), Slot::new());
        while let Some(name) = next_member(&mut map, &["key_ID", "key_ID_extension"])? {
            let at = at.member(name);
            match name {
                "key_ID" => id.read(at, &mut map, Text(key_id))?,
                _ => extension.read(at, &mut map, AnyObject)?,
            }
        }
        Ok(RequestedKey { id: id.required(at.member("key_ID"))?, extension: extension.optional() })
    }
}

pub(super) fn key_id(text: &str) -> Result<KeyId, Problem> {
    KeyId::parse(text).map_err(|_| Problem::InvalidKeyId)
}
