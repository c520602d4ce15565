//! Sealing of records under an epoch key.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::StoreError;

pub(super) const EPOCH_KEY_OCTETS: usize = 32;
const TAG_OCTETS: usize = 16;

/// The octets of an epoch key.
pub(super) struct EpochKey(pub(super) Zeroizing<[u8; EPOCH_KEY_OCTETS]>);

impl EpochKey {
    pub(super) fn draw() -> Result<Self, StoreError> {
        let mut octets = Zeroizing::new([0; EPOCH_KEY_OCTETS]);
        rand::fill(octets.as_mut()).map_err(|_| StoreError::Cryptography)?;
        Ok(Self(octets))
    }
}

/// Seals and opens records with AES-256-GCM: nonce, ciphertext, tag.
///
/// A nonce is the number of the run, 4 octets, and a counter of the run, 8 octets. The number of the run is committed to the
/// database before the run seals anything under an epoch key that is used longer than this run, and is never used again; an
/// epoch key drawn in this run was used by no other. So no nonce comes twice under one key.
pub(super) struct Sealer {
    key: LessSafeKey,
    run: u32,
    sealed: u64,
}

impl Sealer {
    pub(super) fn new(key: &EpochKey, run: u32) -> Result<Self, StoreError> {
        let key = UnboundKey::new(&AES_256_GCM, key.0.as_ref()).map_err(|_| StoreError::Cryptography)?;
        Ok(Self { key: LessSafeKey::new(key), run, sealed: 0 })
    }

    /// Seals `plain` for the place that `about` names.
    pub(super) fn seal(&mut self, about: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        nonce[..4].copy_from_slice(&self.run.to_be_bytes());
        nonce[4..].copy_from_slice(&self.sealed.to_be_bytes());
        self.sealed = self.sealed.checked_add(1).ok_or(StoreError::Cryptography)?;
        // Sufficient capacity: a buffer that grew would leave octets behind. Wiped if sealing fails.
        let mut out = Zeroizing::new(Vec::with_capacity(NONCE_LEN + plain.len() + TAG_OCTETS));
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut out[NONCE_LEN..])
            .map_err(|_| StoreError::Cryptography)?;
        out.extend_from_slice(tag.as_ref());
        Ok(std::mem::take(&mut *out))
    }

    /// Opens what [`seal`](Self::seal) made for the same place under the same key.
    pub(super) fn open(&self, about: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(StoreError::Unreadable)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(about), &mut plain)
            .map_err(|_| StoreError::Unreadable)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("run", &self.run).field("sealed", &self.sealed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: u8, run: u32) -> Sealer {
        Sealer::new(&EpochKey(Zeroizing::new([key; EPOCH_KEY_OCTETS])), run).expect("a key")
    }

    #[test]
    fn only_the_same_key_and_place_open() {
        let mut sealer = sealer(1, 1);
        let sealed = sealer.seal(b"here", b"secret").expect("seals");
        assert_eq!(sealed.len(), NONCE_LEN + 6 + TAG_OCTETS);
        assert_eq!(*sealer.open(b"here", &sealed).expect("opens"), b"secret");
        assert!(sealer.open(b"there", &sealed).is_err());
        assert!(self::sealer(2, 1).open(b"here", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(b"here", &changed).is_err(), "octet {at}");
            assert!(sealer.open(b"here", &sealed[..at]).is_err(), "{at} octets");
        }
    }

    #[test]
    fn nonces_differ_within_a_run_and_between_runs() {
        let (mut first, mut second) = (sealer(1, 1), sealer(1, 2));
        let nonces: std::collections::HashSet<_> = (0..100)
            .flat_map(|_| [first.seal(b"", b"same"), second.seal(b"", b"same")])
            .map(|sealed| sealed.expect("seals")[..NONCE_LEN].to_vec())
            .collect();
        assert_eq!(nonces.len(), 200);
    }
}
