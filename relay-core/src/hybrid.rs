//! Hybrid keys: a QKD key and a key agreed in another way, such as a shared secret of ML-KEM, combined to one.
//!
//! The combiner is HKDF with SHA-256 (RFC 5869, the two-step derivation of NIST SP 800-56C) over both keys one after the other,
//! as the concatenation KDF of ETSI TS 103 744 has it, QKD key first like a pre-shared key there:
//!
//! ```text
//! key  = HKDF(salt = COMBINER, input = QKD key ‖ second key, info = fields, length = size)
//! info = COMBINER, size of the QKD key, of the second key, of the result, ID of the QKD key, of the second key,
//!        method, transcript, master, slaves in their order;  each as its number of octets, 8 octets big-endian, and itself;
//!        sizes in bits, 4 octets big-endian
//! ```
//!
//! The result cannot be told from a random key while **either** input is unknown to the attacker, up to the 256 bits of the hash;
//! the extraction is taken for a random oracle there. That rests on a computation, so the result is labelled
//! [`SecrecyLabel::Hybrid`]: what was information-theoretic in the QKD key is not so any more. `info` ties the result to both identifiers, the parties and what was exchanged to agree on the second key, so a
//! mix-up gives keys that differ instead of keys that seem to fit (Y3803-9.5-01). Whoever supplies such
//! keys has both ends agree on [`COMBINER`] and the method first (Y3803-9.5-02); no message for it is there yet.
//!
//! Both keys are given up, and one that is missing is an error, never a reason to go on with the other (Y3803-8.2-03).
//!
//! ```
//! use itu_y3803::{ApplicationId, KeyId, KeyMaterial, KeySize, KsaKey, Parties, SecrecyLabel, WallTime};
//! use relay_core::hybrid::{CombineError, SecondKey, combine};
//!
//! let parties = Parties::new(ApplicationId::new("red")?, vec![ApplicationId::new("blue")?]).expect("one slave");
//! let qkd = KsaKey {
//!             paths: itu_y3803::Paths::default(),
//!     id: KeyId::from_octets([1; 16]),
//!     material: KeyMaterial::from_octets(vec![3; 32])?,
//!     label: SecrecyLabel::ItsRelay,
//!     created: WallTime::from_millis(0),
//!     expires: WallTime::from_millis(60_000),
//! };
//! let second = SecondKey {
//!     id: KeyId::from_octets([2; 16]),
//!     method: "ML-KEM-768".into(),
//!     transcript: b"encapsulation key and ciphertext".to_vec(),
//!     material: KeyMaterial::from_octets(vec![4; 32])?,
//!     expires: WallTime::from_millis(30_000),
//! };
//! let key = combine(Some(qkd), Some(second), &parties, KeySize::BITS_256)?;
//! assert_eq!((key.label, key.expires), (SecrecyLabel::Hybrid, WallTime::from_millis(30_000)));
//!
//! assert_eq!(combine(None, None, &parties, KeySize::BITS_256).unwrap_err(), CombineError::NoQkdKey);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use itu_y3803::{KeyId, KeyMaterial, KeySize, KsaKey, Parties, SecrecyLabel, WallTime};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The name of the combiner.
pub const COMBINER: &str = "qkms hybrid HKDF-SHA-256 v1";
/// What each input has at least: less would be what the result is worth.
pub const LEAST_INPUT: KeySize = KeySize::BITS_256;
/// HKDF ends here.
pub const MAX_HYBRID_OCTETS: usize = 255 * HASH_OCTETS;

const HASH_OCTETS: usize = 32;

/// A key that was agreed in another way than by QKD.
pub struct SecondKey {
    /// By which both ends know it.
    pub id: KeyId,
    /// How it was agreed; the same text at both ends.
    pub method: String,
    /// What was exchanged to agree on it, public, the same at both ends: of a KEM the encapsulation key and the ciphertext.
    pub transcript: Vec<u8>,
    /// The key.
    pub material: KeyMaterial,
    /// When it is deleted if unused.
    pub expires: WallTime,
}

impl fmt::Debug for SecondKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecondKey({}, {})", self.id, self.method)
    }
}

/// Why there is no hybrid key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// There is no QKD key.
    #[error("a hybrid key needs a QKD key, and there is none")]
    NoQkdKey,
    /// There is no second key.
    #[error("a hybrid key needs a second key beside the QKD key, and there is none")]
    NoSecondKey,
    /// It was given as QKD key, but rests on a computation already.
    #[error("a {0} key cannot stand for the QKD key of a hybrid key")]
    NotQkd(SecrecyLabel),
    /// Less than [`LEAST_INPUT`], or no whole octets.
    #[error("a key of {0} is no input of a hybrid key: whole octets, and at least {LEAST_INPUT}")]
    InputSize(KeySize),
    /// No whole octets, or more than [`MAX_HYBRID_OCTETS`].
    #[error("a hybrid key has whole octets, {MAX_HYBRID_OCTETS} at most, so not {0}")]
    ResultSize(KeySize),
}

/// Combines the two keys to one of `size` for `parties`. It has the identifier of the QKD key, and lives no longer than either.
///
/// # Errors
/// [`CombineError`]; both keys are wiped then, too.
pub fn combine(qkd: Option<KsaKey>, second: Option<SecondKey>, parties: &Parties, size: KeySize) -> Result<KsaKey, CombineError> {
    let qkd = qkd.ok_or(CombineError::NoQkdKey)?;
    let second = second.ok_or(CombineError::NoSecondKey)?;
    if !matches!(qkd.label, SecrecyLabel::ItsRelay | SecrecyLabel::Local) {
        return Err(CombineError::NotQkd(qkd.label));
    }
    for input in [qkd.material.size(), second.material.size()] {
        if input < LEAST_INPUT || !input.bits().is_multiple_of(8) {
            return Err(CombineError::InputSize(input));
        }
    }
    if size.octets() > MAX_HYBRID_OCTETS || !size.bits().is_multiple_of(8) {
        return Err(CombineError::ResultSize(size));
    }
    let info = info(&qkd, &second, parties, size);
    let mut octets = hkdf(COMBINER.as_bytes(), [&qkd.material, &second.material], &info, size.octets());
    let material = KeyMaterial::new(std::mem::take(&mut *octets), size).map_err(|_| CombineError::ResultSize(size))?;
    let expires = qkd.expires.min(second.expires);
    Ok(KsaKey { id: qkd.id, material, label: SecrecyLabel::Hybrid, paths: qkd.paths, created: qkd.created, expires })
}

fn info(qkd: &KsaKey, second: &SecondKey, parties: &Parties, size: KeySize) -> Vec<u8> {
    let mut info = Vec::new();
    let mut field = |octets: &[u8]| {
        info.extend_from_slice(&(octets.len() as u64).to_be_bytes());
        info.extend_from_slice(octets);
    };
    field(COMBINER.as_bytes());
    for size in [qkd.material.size(), second.material.size(), size] {
        field(&size.bits().to_be_bytes());
    }
    field(&qkd.id.octets());
    field(&second.id.octets());
    field(second.method.as_bytes());
    field(&second.transcript);
    field(parties.master().as_str().as_bytes());
    // Last, so their number needs no field of its own.
    parties.slaves().iter().for_each(|slave| field(slave.as_str().as_bytes()));
    info
}

fn hkdf(salt: &[u8], input: [&KeyMaterial; 2], info: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let extracted = hmac(salt, &input.map(KeyMaterial::expose_secret));
    // Whole blocks, so that the buffer never moves and leaves a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(length.next_multiple_of(HASH_OCTETS)));
    let mut block = Zeroizing::new(Vec::with_capacity(HASH_OCTETS));
    for number in 1..=u8::MAX {
        if out.len() >= length {
            break;
        }
        let next = hmac(&*extracted, &[&block, info, &[number]]);
        block.clear();
        block.extend_from_slice(&*next);
        out.extend_from_slice(&*next);
    }
    out.truncate(length);
    out
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; HASH_OCTETS]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests;
