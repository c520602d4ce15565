//! Key octets and their size: the only type in the workspace that holds a secret key.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;
use core::ops::Range;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use crate::random::RandomSource;

/// The secret octets of one key.
///
/// The octets are wiped when the value is dropped. There is no `Clone`, `PartialEq`, `Display` or serialization: copying is
/// spelt [`duplicate`](Self::duplicate), comparing is [`ConstantTimeEq`], reading is [`expose_secret`](Self::expose_secret),
/// so each of them is visible in a review. `Debug` prints the size and nothing else.
///
/// A size that is no whole number of octets is held as GS QKD 020 has it (digest 014 A-40): zero bits are appended on the
/// right, and the size tells how many bits count.
pub struct KeyMaterial {
    octets: Zeroizing<Vec<u8>>,
    size: KeySize,
}

impl KeyMaterial {
    /// Takes over `octets` as a key of `size` bits.
    ///
    /// The vector itself becomes the storage, so nothing is copied; on an error it is wiped.
    ///
    /// # Errors
    /// [`SizeMismatch`] when the number of octets is not that of `size`, or a padding bit is set.
    pub fn new(octets: Vec<u8>, size: KeySize) -> Result<Self, SizeMismatch> {
        let octets = Zeroizing::new(octets);
        let padding = size.octets() * 8 - size.bits() as usize;
        let padded_right = octets.last().is_some_and(|last| last.trailing_zeros() as usize >= padding);
        if octets.len() == size.octets() && padded_right {
            Ok(Self { octets, size })
        } else {
            Err(SizeMismatch { expected: size, octets: octets.len() })
        }
    }

    /// Takes over whole octets; the size is eight times their number.
    ///
    /// # Errors
    /// [`SizeMismatch`] when there are none, or too many for a [`KeySize`].
    pub fn from_octets(octets: Vec<u8>) -> Result<Self, SizeMismatch> {
        match KeySize::from_octets(octets.len()) {
            Some(size) => Self::new(octets, size),
            None => {
                let octets = Zeroizing::new(octets);
                Err(SizeMismatch { expected: KeySize::MIN, octets: octets.len() })
            }
        }
    }

    /// Draws a key of `size` bits from `random`.
    pub fn generate(size: KeySize, random: &mut dyn RandomSource) -> Self {
        let mut octets = Zeroizing::new(vec![0; size.octets()]);
        random.fill(&mut octets);
        let padding = size.octets() * 8 - size.bits() as usize;
        if let Some(last) = octets.last_mut() {
            *last &= 0xff << padding;
        }
        Self { octets, size }
    }

    /// The secret octets. Whoever calls this answers for where they go.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.octets
    }

    /// The size in bits.
    #[must_use]
    pub fn size(&self) -> KeySize {
        self.size
    }

    /// A second copy of the same secret.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { octets: self.octets.clone(), size: self.size }
    }

    /// A copy of whole octets from within this key, or `None` when the range is empty or reaches beyond the end.
    #[must_use]
    pub fn section(&self, range: Range<usize>) -> Option<Self> {
        let octets = self.octets.get(range)?;
        let size = KeySize::from_octets(octets.len())?;
        Some(Self { octets: Zeroizing::new(octets.to_vec()), size })
    }

    /// Overwrites whole octets with zeros, for a part that has been used up; what lies beyond the end is ignored.
    pub fn wipe(&mut self, range: Range<usize>) {
        let end = range.end.min(self.octets.len());
        if let Some(part) = self.octets.get_mut(range.start..end) {
            part.zeroize();
        }
    }

    /// Joins keys of whole octets into one, in order, wiping each; `None` when there are none, or one has no whole octets.
    #[must_use]
    pub fn join(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let parts: Vec<Self> = parts.into_iter().collect();
        if parts.iter().any(|part| !part.size.bits().is_multiple_of(8)) {
            return None;
        }
        let total = parts.iter().map(|part| part.octets.len()).sum();
        let size = KeySize::from_octets(total)?;
        let mut octets = Zeroizing::new(Vec::with_capacity(total));
        for part in &parts {
            octets.extend_from_slice(&part.octets);
        }
        Some(Self { octets, size })
    }
}

impl ConstantTimeEq for KeyMaterial {
    fn ct_eq(&self, other: &Self) -> Choice {
        Choice::from(u8::from(self.size == other.size)) & self.octets.as_slice().ct_eq(other.octets.as_slice())
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyMaterial({})", self.size)
    }
}

/// The size of a key, in **bits**; never zero.
///
/// GS QKD 014 counts bits, GS QKD 004 counts octets (digest 014 A-08): the type keeps them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySize(NonZeroU32);

impl KeySize {
    /// One bit.
    pub const MIN: Self = Self(NonZeroU32::MIN);
    /// 256 bits, the usual key.
    pub const BITS_256: Self = Self(NonZeroU32::new(256).expect("256 is not zero"));

    /// A size in bits; `None` for zero.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match NonZeroU32::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// The size of this many whole octets; `None` for zero and beyond 2^32 bits.
    #[must_use]
    pub fn from_octets(octets: usize) -> Option<Self> {
        let bits = u32::try_from(octets).ok()?.checked_mul(8)?;
        Self::from_bits(bits)
    }

    /// The size in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0.get()
    }

    /// How many octets hold a key of this size.
    #[must_use]
    pub const fn octets(self) -> usize {
        self.bits().div_ceil(8) as usize
    }
}

impl fmt::Display for KeySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.bits())
    }
}

/// Octets that do not make a key of the stated size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{octets} octets do not make a key of {expected}")]
pub struct SizeMismatch {
    expected: KeySize,
    octets: usize,
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    fn bits(bits: u32) -> KeySize {
        KeySize::from_bits(bits).expect("not zero")
    }

    #[test]
    fn octets_must_fit_the_size() {
        for (octets, size, fits) in [
            (vec![0xff; 32], 256, true),
            (vec![0xff; 31], 256, false),
            (vec![0xff; 33], 256, false),
            (vec![0xff, 0x80], 9, true),
            (vec![0xff, 0xc0], 9, false),
            (vec![], 8, false),
        ] {
            let len = octets.len();
            assert_eq!(KeyMaterial::new(octets, bits(size)).is_ok(), fits, "{len} octets, {size} bits");
        }
    }

    #[test]
    fn debug_and_errors_hold_no_octet() {
        let key = KeyMaterial::from_octets(vec![0xa5; 4]).expect("whole octets");
        assert_eq!(format!("{key:?}"), "KeyMaterial(32 bits)");
        let error = KeyMaterial::new(vec![0xa5; 4], bits(8)).expect_err("too long");
        assert_eq!(format!("{error}"), "4 octets do not make a key of 8 bits");
    }

    #[test]
    fn equality_regards_size_and_octets() {
        let key = |octets: &[u8], size| KeyMaterial::new(octets.to_vec(), bits(size)).expect("fits");
        assert!(bool::from(key(&[1, 0], 16).ct_eq(&key(&[1, 0], 16))));
        assert!(!bool::from(key(&[1, 0], 16).ct_eq(&key(&[1, 1], 16))));
        assert!(!bool::from(key(&[1, 0], 16).ct_eq(&key(&[1, 0], 15))));
    }

    #[test]
    fn sections_wiping_and_joining() {
        let mut key = KeyMaterial::from_octets(vec![1, 2, 3, 4]).expect("whole octets");
        assert_eq!(key.section(1..3).expect("inside").expose_secret(), [2, 3]);
        assert!(key.section(3..5).is_none());
        assert!(key.section(2..2).is_none());
        key.wipe(0..2);
        assert_eq!(key.expose_secret(), [0, 0, 3, 4]);
        key.wipe(3..9);
        assert_eq!(key.expose_secret(), [0, 0, 3, 0]);
        let joined = KeyMaterial::join([key.duplicate(), key]).expect("whole octets");
        assert_eq!(joined.expose_secret(), [0, 0, 3, 0, 0, 0, 3, 0]);
        assert!(KeyMaterial::join([]).is_none());
    }

    #[test]
    fn generated_keys_keep_padding_zero() {
        let key = KeyMaterial::generate(bits(9), &mut |out: &mut [u8]| out.fill(0xff));
        assert_eq!(key.expose_secret(), [0xff, 0x80]);
    }
}
