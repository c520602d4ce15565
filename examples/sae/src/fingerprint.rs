//! What may be shown of a key.

use std::fmt;

use etsi014::KeyMaterial;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const LABEL: &[u8] = b"qkms fingerprint";

/// The first 32 bits of HMAC-SHA-256 over the octets of a key, with the fixed text `qkms fingerprint` as HMAC key.
///
/// Both ends of a key get the same fingerprint, and two keys the same one by chance once in 2^32. It is a function of the key and of
/// nothing secret besides: whoever sees it learns 32 bits about the key, which is 32 bits too much for a key of few bits or of little
/// entropy, and for one that is used as a one-time pad. It belongs in tests and demonstrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 4]);

impl Fingerprint {
    /// The fingerprint of a key.
    #[must_use]
    pub fn of(key: &KeyMaterial) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(LABEL).expect("HMAC takes a key of any length");
        mac.update(key.expose_secret());
        let [a, b, c, d, ..] = mac.finalize().into_bytes().0;
        Self([a, b, c, d])
    }
}

impl fmt::Display for Fingerprint {
    /// Eight hexadecimal digits in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `openssl dgst -sha256 -hmac "qkms fingerprint"`.
    #[test]
    fn fingerprints_are_those_of_other_tools() {
        for (octets, shown) in [(vec![0; 32], "89281d66"), (b"0123456789abcdef".to_vec(), "e5238ac8")] {
            let key = KeyMaterial::from_octets(octets).expect("whole octets");
            assert_eq!(Fingerprint::of(&key).to_string(), shown);
        }
    }
}
