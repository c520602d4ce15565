//! Identifiers. Text identifiers are cheap to clone.

use alloc::sync::Arc;
use core::fmt;

/// The most octets a text identifier may have.
pub const MAX_ID_OCTETS: usize = 512;

/// Text that is no identifier: empty, longer than [`MAX_ID_OCTETS`], or with control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identifier has 1 to {MAX_ID_OCTETS} octets and no control characters")]
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

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl core::str::FromStr for $name {
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
    };
}

text_id! {
    /// A key manager (KM), unique in the network. In ETSI words a KM is a KME, and this is its KME ID.
    KmId
}

text_id! {
    /// A QKD link between two neighbouring nodes; both ends call it by the same name.
    LinkId
}

text_id! {
    /// A cryptographic application, unique in the network. In ETSI words an SAE, and this is its SAE ID.
    ApplicationId
}

/// The identifier of a key: 16 octets, printed as a UUID.
///
/// Of which UUID version is not fixed (014-6.3-03). It is never made from key bits (Y3803-10.1-03).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// An identifier from its octets.
    #[must_use]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The octets of the identifier.
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        self.0
    }

    /// Reads the 8-4-4-4-12 form, in either case.
    ///
    /// # Errors
    /// [`InvalidKeyId`] for any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyId> {
        let text = text.as_bytes();
        if text.len() != 36 || [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
            return Err(InvalidKeyId);
        }
        let mut octets = [0; 16];
        let mut digits = text.iter().enumerate().filter(|(at, _)| ![8, 13, 18, 23].contains(at)).map(|(_, digit)| digit);
        for octet in &mut octets {
            for _ in 0..2 {
                let digit = digits.next().and_then(|&digit| char::from(digit).to_digit(16)).ok_or(InvalidKeyId)?;
                *octet = *octet << 4 | digit as u8;
            }
        }
        Ok(Self(octets))
    }

    /// The 8-4-4-4-12 form in lower case, as ASCII.
    #[must_use]
    pub fn to_ascii(self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Where the digits of each octet stand.
        const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
        let mut text = [b'-'; 36];
        for (octet, at) in self.0.into_iter().zip(PLACES) {
            text[at] = DIGITS[usize::from(octet >> 4)];
            text[at + 1] = DIGITS[usize::from(octet & 0xf)];
        }
        text
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ascii().into_iter().try_for_each(|character| fmt::Write::write_char(f, char::from(character)))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// One life of a key manager's store: drawn at random when the store is first opened, kept as long as the store is.
///
/// A peer that sees another incarnation knows that everything agreed with the former one is gone at the other end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation([u8; 8]);

impl Incarnation {
    /// From its octets.
    #[must_use]
    pub const fn from_octets(octets: [u8; 8]) -> Self {
        Self(octets)
    }

    /// Its octets.
    #[must_use]
    pub const fn octets(self) -> [u8; 8] {
        self.0
    }

    /// The identifier of the `number`-th thing that this incarnation numbers; identifiers sort by number.
    #[must_use]
    pub fn key_id(self, number: u64) -> KeyId {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.0);
        octets[8..].copy_from_slice(&number.to_be_bytes());
        KeyId(octets)
    }

    /// The incarnation and number that [`key_id`](Self::key_id) put into `id`.
    #[must_use]
    pub fn split(id: KeyId) -> (Self, u64) {
        let (mut incarnation, mut number) = ([0; 8], [0; 8]);
        incarnation.copy_from_slice(&id.0[..8]);
        number.copy_from_slice(&id.0[8..]);
        (Self(incarnation), u64::from_be_bytes(number))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({:016x})", u64::from_be_bytes(self.0))
    }
}

/// Text that is not a UUID in 8-4-4-4-12 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key ID has the form of a UUID, 8-4-4-4-12 hexadecimal digits")]
pub struct InvalidKeyId;

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_identifiers_are_checked() {
        for (id, valid) in [("a", true), ("sae red/1 %é", true), ("", false), ("a\nb", false), ("a\u{7f}", false)] {
            assert_eq!(ApplicationId::new(id).is_ok(), valid, "{id:?}");
        }
        assert!(KmId::new(&"x".repeat(512)).is_ok());
        assert!(KmId::new(&"x".repeat(513)).is_err());
        assert_eq!(format!("{:?}", LinkId::new("a\"b").expect("valid")), r#"LinkId("a\"b")"#);
    }

    #[test]
    fn key_ids_are_read_in_either_case_and_any_version() {
        let id = KeyId::parse("0957365E-4b8d-0f95-0A8F-de3d60199dbb").expect("a UUID");
        assert_eq!(id.to_string(), "0957365e-4b8d-0f95-0a8f-de3d60199dbb");
        for text in [
            "",
            "0957365e4b8d4f958a8fde3d60199dbb",
            "0957365e-4b8d-4f95-8a8f-de3d60199dbg",
            "0957365e-4b8d-4f95-8a8f-de3d60199dbb ",
            "{957365e-4b8d-4f95-8a8f-de3d60199dbb",
            "é957365e-4b8d-4f95-8a8f-de3d60199db",
        ] {
            assert!(KeyId::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn key_ids_round_trip(octets: [u8; 16]) {
            let id = KeyId::from_octets(octets);
            prop_assert_eq!(KeyId::parse(&id.to_string()), Ok(id));
        }

        #[test]
        fn numbered_ids_split_again(incarnation: [u8; 8], number: u64) {
            let incarnation = Incarnation::from_octets(incarnation);
            prop_assert_eq!(Incarnation::split(incarnation.key_id(number)), (incarnation, number));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = KeyId::parse(&text);
            let _ = KmId::new(&text);
        }
    }
}
