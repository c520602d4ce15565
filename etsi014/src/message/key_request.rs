//! Key request, clause 6.2.

use std::num::NonZeroU32;

use itu_y3803::KeySize;
use serde::de::MapAccess;
use serde::{Serialize, Serializer};

use super::status::sae_id;
use crate::body::Body;
use crate::decode::{self, AnyObject, At, DecodeError, Decoding, Integer, ListOf, Object, Shape, Slot, Text, next_member};
use crate::id::SaeId;

/// What a master SAE asks for with Get key. Every member is optional (014-6.2-02); the default is an empty request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyRequest {
    /// How many keys; one when absent (014-6.2-03).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<NonZeroU32>,
    /// The size of each key; the KME's `key_size` when absent (014-6.2-04).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bits")]
    pub size: Option<KeySize>,
    /// SAEs besides the one in the path that shall share the keys (014-6.2-10).
    #[serde(rename = "additional_slave_SAE_IDs", skip_serializing_if = "Vec::is_empty")]
    pub additional_slaves: Vec<SaeId>,
    /// Parameters that the KME must honour or refuse (014-6.2-12); as a rule one name and value in each object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extension_mandatory: Vec<Object>,
    /// Parameters that the KME may ignore (014-6.2-15).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extension_optional: Vec<Object>,
}

impl KeyRequest {
    /// A request for `number` keys of `size`.
    #[must_use]
    pub fn new(number: NonZeroU32, size: KeySize) -> Self {
        Self { number: Some(number), size: Some(size), ..Self::default() }
    }

    /// Reads a Key request body. `number` and `size` have no meaning when zero and are refused then (014-A-23).
    ///
    /// # Errors
    /// [`DecodeError`] when the body has another format.
    pub fn decode(body: &[u8], decoding: Decoding) -> Result<Self, DecodeError> {
        decode::parse(body, KeyRequestShape(decoding))
    }

    /// The body as JSON.
    #[must_use]
    pub fn encode(&self) -> Body {
        super::to_json(self)
    }

    /// Whether the GET form can carry this request: nothing but `number` and `size` (014-6.2-05 to 014-6.2-07).
    #[must_use]
    pub fn fits_get(&self) -> bool {
        self.additional_slaves.is_empty() && self.extension_mandatory.is_empty() && self.extension_optional.is_empty()
    }
}

fn bits<S: Serializer>(size: &Option<KeySize>, serializer: S) -> Result<S::Ok, S::Error> {
    size.map(KeySize::bits).serialize(serializer)
}

struct KeyRequestShape(Decoding);

impl<'de> Shape<'de> for KeyRequestShape {
    type Out = KeyRequest;

    fn object<A: MapAccess<'de>>(self, at: At<'_>, mut map: A) -> Result<KeyRequest, A::Error> {
        const NAMES: &[&str] = &["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional"];
        let decoding = self.0;
        let (mut number, mut size, mut additional_slaves) = (Slot::new(), Slot::new(), Slot::new());
        let (mut mandatory, mut optional) = (Slot::new(), Slot::new());
        while let Some(name) = next_member(&mut map, NAMES)? {
            let at = at.member(name);
            match name {
                "number" => number.read(at, &mut map, Integer { decoding, text: false, accept: count })?,
                "size" => size.read(at, &mut map, Integer { decoding, text: false, accept: key_size })?,
                "additional_slave_SAE_IDs" => additional_slaves.read(at, &mut map, ListOf(|| Text(sae_id)))?,
                "extension_mandatory" => mandatory.read(at, &mut map, ListOf(|| AnyObject))?,
                _ => optional.read(at, &mut map, ListOf(|| AnyObject))?,
            }
        }
        Ok(KeyRequest {
            number: number.optional(),
            size: size.optional(),
            additional_slaves: additional_slaves.optional().unwrap_or_default(),
            extension_mandatory: mandatory.optional().unwrap_or_default(),
            extension_optional: optional.optional().unwrap_or_default(),
        })
    }
}

pub(crate) fn count(value: u64) -> Option<NonZeroU32> {
    u32::try_from(value).ok().and_then(NonZeroU32::new)
}

pub(crate) fn key_size(value: u64) -> Option<KeySize> {
    u32::try_from(value).ok().and_then(KeySize::from_bits)
}
