//! One-time pads: link key that is used for one message and gone.

use core::fmt;

use itu_y3803::{KeyMaterial, KmaKey};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Octets of a pad that authenticate the message and hide nothing: a Poly1305 key that is used once (Y3803-11.1-04).
pub const TAG_KEY_OCTETS: usize = 32;

/// A KMA key as a one-time pad for one message.
///
/// Both uses take the pad by value, so using one twice does not compile (Y3803-7.1-02):
///
/// ```compile_fail
/// # fn twice(pad: relay_core::Pad, key: &itu_y3803::KeyMaterial) {
/// let first = pad.seal(b"", key);
/// let second = pad.seal(b"", key); // the pad was moved
/// # }
/// ```
///
/// The first [`TAG_KEY_OCTETS`] octets key the tag; the rest hides the message. The tag is taken over context **and plain
/// text**: it is masked by key that is used for nothing else, so it tells nothing of the plain text, and it fails not only
/// when the message was changed but also when the two ends hold different link key (Y3803-9.1-04). Secrecy and integrity are
/// both information-theoretic; a forgery succeeds with probability at most 8⌈n/16⌉/2^106 for n octets.
#[derive(Debug)]
pub struct Pad(KmaKey);

impl Pad {
    /// Takes over a KMA key.
    #[must_use]
    pub fn new(key: KmaKey) -> Self {
        Self(key)
    }

    /// How many octets this pad can hide.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.material.size().octets().saturating_sub(TAG_KEY_OCTETS)
    }

    /// This pad with a capacity of exactly `octets`; the rest is wiped, so that it cannot serve for anything else.
    ///
    /// # Errors
    /// [`LengthMismatch`] when it has less.
    pub fn shortened_to(self, octets: usize) -> Result<Self, LengthMismatch> {
        if octets == self.capacity() {
            return Ok(self);
        }
        let material = self.0.material.section(0..TAG_KEY_OCTETS + octets).ok_or(LengthMismatch)?;
        Ok(Self(KmaKey { material, ..self.0 }))
    }

    /// Hides `key` and authenticates it together with `context`.
    ///
    /// # Errors
    /// [`LengthMismatch`] unless the key fills the pad exactly: nothing is cut, nothing is left for another use.
    pub fn seal(self, context: &[u8], key: &KeyMaterial) -> Result<Sealed, LengthMismatch> {
        let (tag_key, mask) = self.parts(key.expose_secret().len())?;
        let tag = tag(tag_key, context, key.expose_secret());
        let octets = key.expose_secret().iter().zip(mask).map(|(key, mask)| key ^ mask).collect();
        Ok(Sealed { octets, tag })
    }

    /// Recovers the key that was sealed under the same link key with the same context.
    ///
    /// # Errors
    /// [`OpenError`] when the length is wrong or the tag does not fit; the pad is gone all the same.
    pub fn open(self, context: &[u8], sealed: &Sealed) -> Result<KeyMaterial, OpenError> {
        let (tag_key, mask) = self.parts(sealed.octets.len())?;
        let mut octets = Zeroizing::new(Vec::with_capacity(sealed.octets.len()));
        octets.extend(sealed.octets.iter().zip(mask).map(|(sealed, mask)| sealed ^ mask));
        if tag(tag_key, context, &octets).ct_eq(&sealed.tag).into() {
            KeyMaterial::from_octets(core::mem::take(&mut *octets)).map_err(|_| OpenError::Length(LengthMismatch))
        } else {
            Err(OpenError::Tag)
        }
    }

    fn parts(&self, wanted: usize) -> Result<(&[u8; TAG_KEY_OCTETS], &[u8]), LengthMismatch> {
        match self.0.material.expose_secret().split_first_chunk() {
            Some((tag_key, mask)) if wanted > 0 && mask.len() == wanted => Ok((tag_key, mask)),
            _ => Err(LengthMismatch),
        }
    }
}

/// A key under a pad: safe to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Key XOR pad.
    pub octets: Vec<u8>,
    /// The one-time tag.
    pub tag: [u8; 16],
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} octets)", self.octets.len())
    }
}

/// Key and pad are not of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key and pad differ in length")]
pub struct LengthMismatch;

/// Why a sealed key could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Key and pad are not of one length.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
    /// The message was changed, or the two ends hold different link key.
    #[error("the tag does not fit")]
    Tag,
}

fn tag(key: &[u8; TAG_KEY_OCTETS], context: &[u8], text: &[u8]) -> [u8; 16] {
    let mut message = Zeroizing::new(Vec::with_capacity(16 + context.len() + text.len()));
    message.extend_from_slice(&(context.len() as u64).to_be_bytes());
    message.extend_from_slice(&(text.len() as u64).to_be_bytes());
    message.extend_from_slice(context);
    message.extend_from_slice(text);
    Poly1305::new(key.into()).compute_unpadded(&message).into()
}

#[cfg(test)]
mod tests {
    use itu_y3803::{KeyId, KmId, LinkId, WallTime};

    use super::*;

    fn pad(octets: &[u8]) -> Pad {
        Pad::new(KmaKey {
            paths: itu_y3803::Paths::default(),
            id: KeyId::from_octets([0; 16]),
            peer: KmId::new("south").expect("valid"),
            link: LinkId::new("link").expect("valid"),
            material: KeyMaterial::from_octets(octets.to_vec()).expect("whole octets"),
            created: WallTime::from_millis(0),
            expires: WallTime::NEVER,
        })
    }

    fn pad_octets() -> Vec<u8> {
        (0..48).collect()
    }

    fn key() -> KeyMaterial {
        KeyMaterial::from_octets(vec![0x5a; 16]).expect("whole octets")
    }

    #[test]
    fn what_is_sealed_opens_at_the_other_end() {
        let sealed = pad(&pad_octets()).seal(b"context", &key()).expect("fits");
        let masked: Vec<u8> = (32..48).map(|mask| mask ^ 0x5a).collect();
        assert_eq!(sealed.octets, masked);
        let opened = pad(&pad_octets()).open(b"context", &sealed).expect("untouched");
        assert!(bool::from(opened.ct_eq(&key())));
    }

    /// By a Poly1305 written from RFC 8439, over the octets that the length of each part begins.
    #[test]
    fn vector() {
        let text = KeyMaterial::from_octets(vec![0xa0, 0xa1, 0xa2, 0xa3, 0xa4]).expect("whole octets");
        let sealed = pad(&(0..37).collect::<Vec<_>>()).seal(b"who to whom", &text).expect("fits");
        assert_eq!(sealed.octets, [0x80; 5]);
        assert_eq!(u128::from_be_bytes(sealed.tag), 0x1b84_9672_2160_6979_cf49_74c7_35de_db19);
    }

    #[test]
    fn any_change_is_noticed() {
        let sealed = pad(&pad_octets()).seal(b"context", &key()).expect("fits");
        for octet in 0..sealed.octets.len() {
            let mut changed = sealed.clone();
            changed.octets[octet] ^= 1;
            assert_eq!(pad(&pad_octets()).open(b"context", &changed).expect_err("changed"), OpenError::Tag);
        }
        for octet in 0..sealed.tag.len() {
            let mut changed = sealed.clone();
            changed.tag[octet] ^= 0x80;
            assert_eq!(pad(&pad_octets()).open(b"context", &changed).expect_err("changed"), OpenError::Tag);
        }
        assert_eq!(pad(&pad_octets()).open(b"contexT", &sealed).expect_err("changed"), OpenError::Tag);
    }

    #[test]
    fn link_keys_that_differ_in_one_bit_are_noticed() {
        let sealed = pad(&pad_octets()).seal(b"", &key()).expect("fits");
        for octet in 0..48 {
            let mut other = pad_octets();
            other[octet] ^= 4;
            // Of the tag key, Poly1305 ignores 22 bits; a difference there changes no tag and no mask, hence no key.
            match pad(&other).open(b"", &sealed) {
                Ok(opened) => assert!(bool::from(opened.ct_eq(&key())) && octet < 16),
                Err(error) => assert_eq!(error, OpenError::Tag),
            }
        }
    }

    #[test]
    fn unequal_lengths_are_refused_never_cut() {
        for octets in [0, 1, 15, 17, 48] {
            let Ok(key) = KeyMaterial::from_octets(vec![1; octets]) else { continue };
            assert_eq!(pad(&pad_octets()).seal(b"", &key), Err(LengthMismatch), "{octets}");
        }
        let short = Sealed { octets: vec![0; 15], tag: [0; 16] };
        assert_eq!(pad(&pad_octets()).open(b"", &short).expect_err("short"), OpenError::Length(LengthMismatch));
        assert_eq!(pad(&[0; 32]).seal(b"", &key()), Err(LengthMismatch));
        assert_eq!(pad(&[0; 8]).capacity(), 0);
    }
}
