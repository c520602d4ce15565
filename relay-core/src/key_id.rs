//! How the identifier of a supplied key says where the key is.
//!
//! A key that is supplied is a stretch of a block that both key managers hold. Its identifier, a UUID of version 8, is the
//! place of that stretch (block number, start, length) under a secret that only key managers know. So the other end finds the
//! key without having been told of it, an application cannot make up an identifier that means anything (56 bits of it are a
//! tag), and an observer learns neither how many keys were supplied nor which belong together. No key bit goes into it
//! (Y3803-10.1-03).
//!
//! The construction is SIV: `tag = AES_1(place)`, `masked = place XOR AES_2(tag)`, 56 + 66 bits. Decoding is exact, so two
//! places never share an identifier under one secret.

use core::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use itu_y3803::{KeyId, KeyMaterial};
use subtle::ConstantTimeEq;

/// Keys in a block start at multiples of this many octets.
pub const UNIT_OCTETS: usize = 8;
/// The most octets in a block.
pub const MAX_BLOCK_OCTETS: usize = UNIT_OCTETS << 13;
/// The most octets in one supplied key.
pub const MAX_KEY_OCTETS: usize = (1 << 13) - 1;
/// Blocks that one secret can name.
pub const BLOCK_NUMBERS: u64 = 1 << 40;
/// Octets of the secret that identifiers are made with.
pub const ID_SECRET_OCTETS: usize = 32;

/// Where a supplied key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the block, below [`BLOCK_NUMBERS`].
    pub block: u64,
    /// The first octet in it, a multiple of [`UNIT_OCTETS`] below [`MAX_BLOCK_OCTETS`].
    pub start: usize,
    /// The length in octets, 1 to [`MAX_KEY_OCTETS`].
    pub octets: usize,
}

/// Turns places into identifiers and back, under one secret.
pub struct IdCipher {
    tag: Aes128,
    mask: Aes128,
}

impl IdCipher {
    /// From a secret of [`ID_SECRET_OCTETS`] octets; `None` for another length.
    #[must_use]
    pub fn new(secret: &KeyMaterial) -> Option<Self> {
        let secret: &[u8; ID_SECRET_OCTETS] = secret.expose_secret().try_into().ok()?;
        let (tag, mask) = secret.split_first_chunk::<16>()?;
        Some(Self { tag: Aes128::new(tag.into()), mask: Aes128::new_from_slice(mask).ok()? })
    }

    /// The identifier of the key at `place`; `None` when the place is out of range.
    #[must_use]
    pub fn identifier(&self, place: Place) -> Option<KeyId> {
        let packed = place.pack()?;
        let tag = encrypt(&self.tag, packed) >> (128 - TAG_BITS);
        let masked = packed ^ encrypt(&self.mask, tag) & PLACE_MASK;
        Some(to_uuid(tag << PLACE_BITS | masked))
    }

    /// The place that `id` names, or `None` when it was not made under this secret.
    #[must_use]
    pub fn place(&self, id: KeyId) -> Option<Place> {
        let bits = from_uuid(id)?;
        let tag = bits >> PLACE_BITS;
        let packed = (bits ^ encrypt(&self.mask, tag)) & PLACE_MASK;
        let expected = encrypt(&self.tag, packed) >> (128 - TAG_BITS);
        let genuine = (expected as u64).ct_eq(&(tag as u64));
        if genuine.into() { Place::unpack(packed) } else { None }
    }
}

impl fmt::Debug for IdCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdCipher")
    }
}

const TAG_BITS: u32 = 56;
const PLACE_BITS: u32 = 66;
const PLACE_MASK: u128 = (1 << PLACE_BITS) - 1;

impl Place {
    fn pack(self) -> Option<u128> {
        let in_range = self.block < BLOCK_NUMBERS
            && self.start.is_multiple_of(UNIT_OCTETS)
            && self.start < MAX_BLOCK_OCTETS
            && (1..=MAX_KEY_OCTETS).contains(&self.octets);
        in_range.then(|| u128::from(self.block) << 26 | ((self.start / UNIT_OCTETS) as u128) << 13 | self.octets as u128)
    }

    fn unpack(packed: u128) -> Option<Self> {
        let octets = (packed & 0x1fff) as usize;
        let start = (packed >> 13 & 0x1fff) as usize * UNIT_OCTETS;
        (octets > 0).then_some(Self { block: (packed >> 26) as u64, start, octets })
    }
}

fn encrypt(cipher: &Aes128, input: u128) -> u128 {
    let mut block = input.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    let block: [u8; 16] = block.into();
    u128::from_be_bytes(block)
}

/// Spreads 122 bits around the version (8) and variant bits of RFC 9562.
fn to_uuid(bits: u128) -> KeyId {
    let (high, middle, low) = (bits >> 74, bits >> 62 & 0xfff, bits & ((1 << 62) - 1));
    KeyId::from_octets((high << 80 | 8 << 76 | middle << 64 | 0b10 << 62 | low).to_be_bytes())
}

fn from_uuid(id: KeyId) -> Option<u128> {
    let uuid = u128::from_be_bytes(id.octets());
    let fixed = uuid >> 76 & 0xf == 8 && uuid >> 62 & 0b11 == 0b10;
    fixed.then_some((uuid >> 80) << 74 | (uuid >> 64 & 0xfff) << 62 | uuid & ((1 << 62) - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cipher(octet: u8) -> IdCipher {
        let secret = KeyMaterial::from_octets((octet..octet + 32).collect()).expect("whole octets");
        IdCipher::new(&secret).expect("32 octets")
    }

    fn places() -> impl Strategy<Value = Place> {
        (0..BLOCK_NUMBERS, 0..MAX_BLOCK_OCTETS / UNIT_OCTETS, 1..=MAX_KEY_OCTETS).prop_map(|(block, unit, octets)| Place {
            block,
            start: unit * UNIT_OCTETS,
            octets,
        })
    }

    /// Stored identifiers must stay readable: a change of the construction must not go unnoticed.
    #[test]
    fn the_construction_stays() {
        let id = cipher(0).identifier(Place { block: 7, start: 64, octets: 32 }).expect("in range");
        assert_eq!(id.to_string(), "cddb9063-4779-8228-bb0c-c523c816a130");
    }

    #[test]
    fn places_out_of_range_have_no_identifier() {
        for (block, start, octets) in
            [(BLOCK_NUMBERS, 0, 32), (0, 4, 32), (0, MAX_BLOCK_OCTETS, 32), (0, 0, 0), (0, 0, MAX_KEY_OCTETS + 1)]
        {
            assert_eq!(cipher(0).identifier(Place { block, start, octets }), None);
        }
    }

    proptest! {
        #[test]
        fn identifiers_name_their_place_and_are_uuids(place in places()) {
            let id = cipher(0).identifier(place).expect("in range");
            let text = id.to_string();
            prop_assert_eq!(&text[14..15], "8");
            prop_assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
            prop_assert_eq!(cipher(0).place(id), Some(place));
        }

        #[test]
        fn other_secrets_and_made_up_identifiers_mean_nothing(place in places(), octets: [u8; 16], bit in 0_usize..128) {
            let id = cipher(0).identifier(place).expect("in range");
            prop_assert_eq!(cipher(1).place(id), None);
            prop_assert_eq!(cipher(0).place(KeyId::from_octets(octets)), None);
            let mut changed = id.octets();
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(cipher(0).place(KeyId::from_octets(changed)), None);
        }
    }
}
