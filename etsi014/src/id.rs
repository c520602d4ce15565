//! Identifiers of KMEs, SAEs and keys.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::percent;

/// The most octets an SAE ID or KME ID may have. The standard names no limit; this one keeps a peer from naming the memory we use.
pub const MAX_ID_OCTETS: usize = 512;

/// Text that is no SAE ID or KME ID: empty, longer than [`MAX_ID_OCTETS`], or with control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an SAE ID or KME ID has 1 to {MAX_ID_OCTETS} octets and no control characters")]
pub struct InvalidId;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes an identifier.
            ///
            /// # Errors
            /// [`InvalidId`] when the text is empty, too long, or has control characters.
            pub fn new(id: &str) -> Result<Self, InvalidId> {
                if id.is_empty() || id.len() > MAX_ID_OCTETS || id.chars().any(char::is_control) {
                    return Err(InvalidId);
                }
                Ok(Self(id.into()))
            }

            /// The identifier as text, not percent-encoded.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The identifier as a segment of a URL path: everything but the unreserved characters of RFC 3986 is
            /// percent-encoded (014-5.2-03).
            #[must_use]
            pub fn to_path_segment(&self) -> String {
                percent::encode(&self.0)
            }

            /// Reads a segment of a URL path. Percent escapes must be whole and give UTF-8.
            ///
            /// # Errors
            /// [`InvalidId`] when the escapes are bad, or the decoded text is no identifier.
            pub fn from_path_segment(segment: &str) -> Result<Self, InvalidId> {
                Self::new(&percent::decode(segment).ok_or(InvalidId)?)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(id: &str) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A secure application entity, unique in the QKD network (014-4-07). The standard leaves format and allocation open
    /// (014-A-33): any text without control characters will do.
    SaeId
}

text_id! {
    /// A key management entity, unique in the QKD network (014-4-06).
    KmeId
}

/// The identifier of a key: a UUID of any version (014-6.3-03, A-28).
///
/// Compared without regard to case, and shown as it was received.
#[derive(Clone, Copy)]
pub struct KeyId([u8; 36]);

impl KeyId {
    /// Reads the 8-4-4-4-12 form, in either case.
    ///
    /// # Errors
    /// [`InvalidKeyId`] for any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyId> {
        let ascii: [u8; 36] = text.as_bytes().try_into().map_err(|_| InvalidKeyId)?;
        // To the end in any case, which is faster than to stop early.
        let in_form = ascii.iter().enumerate().fold(true, |in_form, (at, character)| {
            in_form
                & match at {
                    8 | 13 | 18 | 23 => *character == b'-',
                    _ => character.is_ascii_hexdigit(),
                }
        });
        if in_form { Ok(Self(ascii)) } else { Err(InvalidKeyId) }
    }

    /// The identifier that stands for these octets, in lower case.
    #[must_use]
    pub fn from_octets(octets: [u8; 16]) -> Self {
        itu_y3803::KeyId::from_octets(octets).into()
    }

    /// The identifier as received, 36 ASCII characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // ASCII by construction; no panic path is worth having here
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn as_ascii(&self) -> &[u8; 36] {
        &self.0
    }

    /// The 16 octets the text stands for.
    #[must_use]
    pub fn octets(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        let digits = self.0.iter().filter_map(|digit| char::from(*digit).to_digit(16));
        for (at, digit) in digits.enumerate() {
            if let Some(octet) = octets.get_mut(at / 2) {
                *octet = *octet << 4 | digit as u8;
            }
        }
        octets
    }
}

impl From<itu_y3803::KeyId> for KeyId {
    fn from(id: itu_y3803::KeyId) -> Self {
        Self(id.to_ascii())
    }
}

impl From<KeyId> for itu_y3803::KeyId {
    fn from(id: KeyId) -> Self {
        Self::from_octets(id.octets())
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;
    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        Self::parse(text)
    }
}

impl PartialEq for KeyId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for KeyId {}

impl PartialOrd for KeyId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.to_ascii_lowercase().cmp(&other.0.to_ascii_lowercase())
    }
}

impl Hash for KeyId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Text that is not a UUID in 8-4-4-4-12 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key ID has the form of a UUID, 8-4-4-4-12 hexadecimal digits")]
pub struct InvalidKeyId;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sae_ids_are_any_bounded_text() {
        for (id, valid) in
            [("red", true), ("sae red/1 %:é", true), ("", false), ("a\nb", false), ("a\u{7f}", false), ("a\u{85}", false)]
        {
            assert_eq!(SaeId::new(id).is_ok(), valid, "{id:?}");
            assert_eq!(KmeId::new(id).is_ok(), valid, "{id:?}");
        }
        assert!(SaeId::new(&"x".repeat(512)).is_ok());
        assert!(SaeId::new(&"x".repeat(513)).is_err());
    }

    #[test]
    fn sae_ids_in_paths_are_percent_encoded() {
        for (id, segment) in [
            ("red", "red"),
            ("a.b-c_d~e", "a.b-c_d~e"),
            ("sae red/1", "sae%20red%2F1"),
            ("100%", "100%25"),
            ("urn:sae:1", "urn%3Asae%3A1"),
            ("grün", "gr%C3%BCn"),
            ("a+b", "a%2Bb"),
        ] {
            let id = SaeId::new(id).expect("valid");
            assert_eq!(id.to_path_segment(), segment);
            assert_eq!(SaeId::from_path_segment(segment), Ok(id));
        }
        for segment in ["", "%", "%2", "%zz", "%ff", "a%00b", "gr\u{fc}n", "%+1"] {
            assert!(SaeId::from_path_segment(segment).is_err(), "{segment:?}");
        }
        assert_eq!(SaeId::from_path_segment("a:b@c+d%2f").expect("valid").as_str(), "a:b@c+d/");
    }

    #[test]
    fn key_ids_compare_without_case_and_echo_as_received() {
        let upper = KeyId::parse("0957365E-4B8D-0F95-0A8F-DE3D60199DBB").expect("a UUID");
        let lower = KeyId::parse("0957365e-4b8d-0f95-0a8f-de3d60199dbb").expect("a UUID");
        assert_eq!(upper, lower);
        assert_eq!(upper.cmp(&lower), Ordering::Equal);
        assert_eq!(HashSet::from([upper, lower]).len(), 1);
        assert_eq!(upper.to_string(), "0957365E-4B8D-0F95-0A8F-DE3D60199DBB");
        for text in [
            "",
            "0957365e4b8d4f958a8fde3d60199dbb",
            "0957365e-4b8d-4f95-8a8f-de3d60199dbg",
            "0957365e-4b8d-4f95-8a8f-de3d60199dbb ",
            "{957365e-4b8d-4f95-8a8f-de3d60199db}",
            "é957365e-4b8d-4f95-8a8f-de3d60199db",
        ] {
            assert!(KeyId::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn path_segments_round_trip(id in "\\PC{1,60}") {
            let id = SaeId::new(&id).expect("no control characters");
            let segment = id.to_path_segment();
            prop_assert!(segment.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~%".contains(&c)));
            prop_assert_eq!(SaeId::from_path_segment(&segment), Ok(id));
        }

        #[test]
        fn key_ids_convert_to_octets_and_back(octets: [u8; 16]) {
            let id = itu_y3803::KeyId::from_octets(octets);
            let here = KeyId::from(id);
            prop_assert_eq!(here.octets(), octets);
            prop_assert_eq!(itu_y3803::KeyId::from(here), id);
            prop_assert_eq!(KeyId::parse(&here.as_str().to_ascii_uppercase()), Ok(here));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = KeyId::parse(&text);
            let _ = SaeId::from_path_segment(&text);
        }
    }
}
