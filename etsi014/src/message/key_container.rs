//! Key container, clause 6.3.

use std::fmt;

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};
use itu_y3803::{KeyMaterial, KeySize};
use serde::de::{Error, MapAccess};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::key_ids::key_id;
use crate::body::Body;
use crate::decode::{self, AnyObject, At, DecodeError, Decoding, ListOf, Object, Problem, Shape, Slot, Text, next_member};
use crate::id::KeyId;
use crate::{encode, percent};

/// Keys on their way to an SAE: the answer to Get key and to Get key with key IDs.
///
/// `Debug` shows key IDs and sizes; neither keys nor the values of extensions.
#[derive(Default)]
pub struct KeyContainer {
    /// The keys (014-6.3-01).
    pub keys: Vec<Key>,
    /// For extensions concerning all keys (014-6.3-05). Not wiped: no place for secrets.
    pub extension: Option<Object>,
}

/// A key with its ID.
pub struct Key {
    /// The ID (014-6.3-03).
    pub id: KeyId,
    /// The key itself (014-6.3-04). Of a size that is no whole number of octets, the wire shows the padded octets (014-A-40).
    pub material: KeyMaterial,
    /// For extensions concerning the ID (014-6.3-05). Not wiped: no place for secrets.
    pub id_extension: Option<Object>,
    /// For extensions concerning the key (014-6.3-05). Not wiped: no place for secrets.
    pub key_extension: Option<Object>,
}

impl Key {
    /// A key without extensions.
    #[must_use]
    pub fn new(id: KeyId, material: KeyMaterial) -> Self {
        Self { id, material, id_extension: None, key_extension: None }
    }
}

impl KeyContainer {
    /// Reads a Key container body; each key is taken for the whole octets that arrived.
    ///
    /// The text of a key goes from `body` straight into the [`KeyMaterial`]; wiping `body` is up to its owner, see [`Body`].
    ///
    /// # Errors
    /// [`DecodeError`] when the body has another format.
    pub fn decode(body: &[u8], decoding: Decoding) -> Result<Self, DecodeError> {
        decode::parse(body, ContainerShape::new(body, decoding, None))
    }

    /// Reads a Key container body whose keys were asked to have `size`.
    ///
    /// # Errors
    /// [`DecodeError`] when the body has another format; the problem is [`Problem::WrongKeySize`] when a key has other than the octets
    /// of `size`, or padding bits that are set (014-A-40).
    pub fn decode_sized(body: &[u8], decoding: Decoding, size: KeySize) -> Result<Self, DecodeError> {
        decode::parse(body, ContainerShape::new(body, decoding, Some(size)))
    }

    /// The body as JSON, written into one buffer of the exact size.
    #[must_use]
    pub fn encode(&self) -> Body {
        encode::key_container(self)
    }
}

impl FromIterator<Key> for KeyContainer {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self { keys: keys.into_iter().collect(), extension: None }
    }
}

impl fmt::Debug for KeyContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyContainer").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("material", &self.material).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct ContainerShape {
    decoding: Decoding,
    size: Option<KeySize>,
    /// Somewhere in the body a character is escaped.
    escapes: bool,
}

impl<'de> Shape<'de> for ContainerShape {
    type Out = KeyContainer;

    fn object<A: MapAccess<'de>>(self, at: At<'_>, mut map: A) -> Result<KeyContainer, A::Error> {
        let names: &[&str] = if self.decoding.is_lenient() {
            &["keys", "key_container_extension", "Keys"]
        } else {
            &["keys", "key_container_extension"]
        };
        let (mut keys, mut extension) = (Slot::new(), Slot::new());
        while let Some(name) = next_member(&mut map, names)? {
            let at = at.member(name);
            match name {
                "key_container_extension" => extension.read(at, &mut map, AnyObject)?,
                _ => keys.read(at, &mut map, ListOf(|| KeyShape(self)))?,
            }
        }
        Ok(KeyContainer { keys: keys.required(at.member("keys"))?, extension: extension.optional() })
    }
}

struct KeyShape(ContainerShape);

impl<'de> Shape<'de> for KeyShape {
    type Out = Key;

    fn object<A: MapAccess<'de>>(self, at: At<'_>, mut map: A) -> Result<Key, A::Error> {
        const NAMES: &[&str] = &["key_ID", "key", "key_ID_extension", "key_extension"];
        let (mut id, mut material) = (Slot::new(), Slot::new());
        let (mut id_extension, mut key_extension) = (Slot::new(), Slot::new());
        while let Some(name) = next_member(&mut map, NAMES)? {
            let at = at.member(name);
            match name {
                "key_ID" => id.read(at, &mut map, Text(key_id))?,
                "key_ID_extension" => id_extension.read(at, &mut map, AnyObject)?,
                "key_extension" => key_extension.read(at, &mut map, AnyObject)?,
                _ if self.0.escapes => {
                    material.mark(at)?;
                    let raw: &RawValue = map.next_value()?;
                    if raw.get() != "null" {
                        material.set(self.0.escaped(at, raw)?);
                    }
                }
                _ => material.read(at, &mut map, Text(|text: &str| self.0.material(text.as_bytes())))?,
            }
        }
        Ok(Key {
            id: id.required(at.member("key_ID"))?,
            material: material.required(at.member("key"))?,
            id_extension: id_extension.optional(),
            key_extension: key_extension.optional(),
        })
    }
}

impl ContainerShape {
    fn new(body: &[u8], decoding: Decoding, size: Option<KeySize>) -> Self {
        Self { decoding, size, escapes: body.contains(&b'\\') }
    }

    /// The key in a JSON string that may have escapes. It comes raw because the JSON parser would unescape into a buffer that
    /// nobody wipes.
    fn escaped<E: Error>(self, at: At<'_>, raw: &RawValue) -> Result<KeyMaterial, E> {
        let text = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let text = text.ok_or_else(|| at.fail(Problem::WrongType))?;
        let text = unescape(text).ok_or_else(|| at.fail(Problem::InvalidKey))?;
        self.material(&text).map_err(|problem| at.fail(problem))
    }

    fn material(self, text: &[u8]) -> Result<KeyMaterial, Problem> {
        let mut octets = self.octets(text).ok_or(Problem::InvalidKey)?;
        let octets = std::mem::take(&mut *octets);
        match self.size {
            Some(size) => KeyMaterial::new(octets, size).map_err(|_| Problem::WrongKeySize),
            None => KeyMaterial::from_octets(octets).map_err(|_| Problem::InvalidKey),
        }
    }

    fn octets(self, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let octets = from_base64::<Base64>(text);
        if octets.is_some() || !self.decoding.is_lenient() {
            return octets;
        }
        from_base64::<Base64Unpadded>(text)
            .or_else(|| from_base64::<Base64Url>(text))
            .or_else(|| from_base64::<Base64UrlUnpadded>(text))
    }
}

fn from_base64<E: Encoding>(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(vec![0; text.len().div_ceil(4) * 3]);
    let length = E::decode(text, &mut octets).ok()?.len();
    octets.truncate(length);
    Some(octets)
}

/// Undoes the JSON escapes that can stand for base64 characters, in a buffer that is wiped.
fn unescape(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        plain.push(match octet {
            b'\\' => match rest.next()? {
                b'/' => b'/',
                b'u' => {
                    let mut code = 0u16;
                    for _ in 0..4 {
                        code = code << 4 | u16::from(percent::hex_digit(rest.next()?)?);
                    }
                    u8::try_from(code).ok()?
                }
                _ => return None,
            },
            _ => octet,
        });
    }
    Some(plain)
}
