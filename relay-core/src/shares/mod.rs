//! A key over several paths: no node on some of them learns it, and it arrives although some of them fail or lie.
//!
//! [`Sharing`] makes `of` shares of a key, of which `needed` give it back and fewer tell nothing. Each share goes over a path of
//! its own, as the secret of a [relay](crate::scheme). A node knows the shares that pass through it, so no node may be on two of the
//! paths; two paths cost some 2.6 times the link key of one in a network such as the German one.
//!
//! ```
//! use itu_y3803::{KeyMaterial, KeySize};
//! use relay_core::shares::{Share, Sharing};
//! use subtle::ConstantTimeEq;
//!
//! # let mut state = 1_u64;
//! # let mut random = move |out: &mut [u8]| for octet in out {
//! #     state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
//! #     *octet = (state >> 56) as u8;
//! # };
//! // `random` fills a slice from a cryptographic generator; the context names key and parties, the same at both ends.
//! let context = b"key 7 from north to south";
//! let key = KeyMaterial::generate(KeySize::BITS_256, &mut random);
//! let two_of_three = Sharing::new(2, 3).expect("possible");
//! let mut shares = two_of_three.split(context, &key, &mut random)?;
//!
//! // The first path fails: two are enough. The third one lies: then there are too few, and nothing wrong comes out.
//! shares.remove(0);
//! let combined = two_of_three.combine(context, &shares)?;
//! assert!(bool::from(combined.secret.ct_eq(&key)));
//! shares[1] = Share { number: 3, material: KeyMaterial::generate(shares[1].material.size(), &mut random) };
//! assert!(two_of_three.combine(context, &shares).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How, and why it is safe
//!
//! If all shares are needed, all but the last are random and the last makes their exclusive or the secret; otherwise they are values
//! of a random polynomial over GF(2^8), octet by octet (Shamir). Either way, fewer than `needed` shares are independent of the secret,
//! and what changes in some of them is *added* to the secret, times factors that everybody knows.
//!
//! **Wrong shares** are found without any key that the ends had before, at the price of 32 octets a share. Not the key alone is shared but
//! the key, a random point of GF(2^128), and the value there of a polynomial that context and key make (an algebraic manipulation
//! detection code: Cramer, Dodis, Fehr, Padró and Wichs, EUROCRYPT 2008). What is combined counts only if value and point fit.
//! An attacker who knows and changes fewer than `needed` shares knows nothing of key, point and value, so what it adds to them is
//! independent of the point; and whatever is added, and whatever the key is, another key fits at no more than d + 1 of the 2^128
//! points, where d is the number of blocks of 16 octets that key and context fill, and two. Combining tries other choices of shares
//! when one does not fit, of which there are 70 at most ([`MAX_SHARES`]). So **a wrong key passes with probability 70 (d + 1) / 2^128 at
//! most**, less than 2^-115 if key and context are no longer than a kilobyte together. That is information-theoretic, and secrecy is
//! perfect, since point and value are shared along with the key. (A digest of the key beside the shares would be something by
//! which those with one share too few could discard candidates.)
//!
//! An attacker who knows `needed` shares knows the key, and can bring about any other.

mod check;
mod gf256;

use itu_y3803::{KeyMaterial, RandomSource};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use check::BLOCK_OCTETS;

/// The most shares of one key. Networks have fewer disjoint paths, and wrong shares cost time for each choice that is tried.
pub const MAX_SHARES: u8 = 8;
/// By how much a share is longer than the key.
pub const CHECK_OCTETS: usize = 2 * BLOCK_OCTETS;

/// How a key is shared: how many shares there are, and how many of them give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sharing {
    needed: u8,
    of: u8,
}

/// A part of a key, for one path.
#[derive(Debug)]
pub struct Share {
    /// Which of the shares: 1 for the first. Whoever receives it knows it from the path, as it was agreed on.
    pub number: u8,
    /// The part; as secret as the key if some others are known.
    pub material: KeyMaterial,
}

/// What was put together from shares.
#[derive(Debug)]
pub struct Combined {
    /// The key that was shared.
    pub secret: KeyMaterial,
    /// The numbers of shares that do not belong to it: something is wrong with their paths. In order.
    pub wrong: Vec<u8>,
}

impl Default for Sharing {
    fn default() -> Self {
        Self::ONE
    }
}

impl Sharing {
    /// `needed` shares of so many; `None` unless 1 ≤ `needed` ≤ `of` ≤ [`MAX_SHARES`].
    ///
    /// To be safe from t nodes that read, more than t shares must be needed; to get the key in spite of t nodes that lie or fail, there
    /// must be t more than are needed.
    #[must_use]
    pub const fn new(needed: u8, of: u8) -> Option<Self> {
        if 1 <= needed && needed <= of && of <= MAX_SHARES { Some(Self { needed, of }) } else { None }
    }

    /// One share, which is the key: one path. The default.
    pub const ONE: Self = Self { needed: 1, of: 1 };

    /// How many shares give the key back.
    #[must_use]
    pub const fn needed(self) -> u8 {
        self.needed
    }

    /// How many shares there are.
    #[must_use]
    pub const fn of(self) -> u8 {
        self.of
    }

    /// Makes the shares of a key, in the order of their numbers. It can be put together in the same context only.
    ///
    /// # Errors
    /// [`NotShareable`] for a key that is not of whole octets, or near the longest there can be.
    pub fn split(self, context: &[u8], secret: &KeyMaterial, random: &mut dyn RandomSource) -> Result<Vec<Share>, NotShareable> {
        if !secret.size().bits().is_multiple_of(8) {
            return Err(NotShareable);
        }
        let mut point = Zeroizing::new([0; BLOCK_OCTETS]);
        random.fill(&mut *point);
        let value = check::value(u128::from_be_bytes(*point), context, secret.expose_secret());
        let mut whole = Zeroizing::new(Vec::with_capacity(secret.expose_secret().len() + CHECK_OCTETS));
        whole.extend_from_slice(secret.expose_secret());
        whole.extend_from_slice(&*point);
        whole.extend_from_slice(&value.to_be_bytes());
        let shares = self.spread(&whole, random).into_iter();
        let share = |(number, octets)| Ok(Share { number, material: material(octets).ok_or(NotShareable)? });
        (1..).zip(shares).map(share).collect()
    }

    /// Puts a key together from the shares that arrived, wrong ones among them, as long as `needed` right ones are there.
    ///
    /// # Errors
    /// [`CombineError`]; never another key, within the bound in the [module](crate::shares).
    pub fn combine(self, context: &[u8], shares: &[Share]) -> Result<Combined, CombineError> {
        for (at, share) in shares.iter().enumerate() {
            if !(1..=self.of).contains(&share.number) {
                return Err(CombineError::Number(share.number));
            }
            if shares[..at].iter().any(|other| other.number == share.number) {
                return Err(CombineError::Twice(share.number));
            }
        }
        if shares.len() < usize::from(self.needed) {
            return Err(CombineError::TooFew);
        }
        for choice in (0_u32..1 << shares.len()).filter(|choice| choice.count_ones() == u32::from(self.needed)) {
            let is_chosen = |at: usize| choice >> at & 1 == 1;
            let chosen: Vec<Part<'_>> =
                (0..).zip(shares).filter(|(at, _)| is_chosen(*at)).map(|(_, share)| part(share)).collect();
            if let Some(secret) = self.checked(context, &chosen) {
                let belongs = |share: &&Share| self.belongs(&chosen, share);
                let mut wrong: Vec<u8> = shares.iter().filter(|share| !belongs(share)).map(|share| share.number).collect();
                wrong.sort_unstable();
                return Ok(Combined { secret, wrong });
            }
        }
        Err(CombineError::Wrong)
    }

    /// The secret that just as many shares as needed give, if they fit together.
    fn checked(self, context: &[u8], shares: &[Part<'_>]) -> Option<KeyMaterial> {
        let whole = self.interpolate(shares, 0)?;
        let (rest, value) = whole.split_last_chunk::<BLOCK_OCTETS>()?;
        let (secret, point) = rest.split_last_chunk::<BLOCK_OCTETS>()?;
        let expected = check::value(u128::from_be_bytes(*point), context, secret);
        let fits: bool = expected.to_be_bytes().ct_eq(value).into();
        if fits { KeyMaterial::from_octets(secret.to_vec()).ok() } else { None }
    }

    /// Whether a share is one of those that as many as needed belong to.
    fn belongs(self, chosen: &[Part<'_>], share: &Share) -> bool {
        chosen.iter().any(|(number, _)| *number == share.number)
            || self
                .interpolate(chosen, share.number)
                .is_some_and(|octets| octets.as_slice().ct_eq(share.material.expose_secret()).into())
    }

    /// The shares of octets, in order.
    fn spread(self, whole: &[u8], random: &mut dyn RandomSource) -> Vec<Zeroizing<Vec<u8>>> {
        let mut drawn: Vec<_> = (1..self.needed).map(|_| Zeroizing::new(vec![0; whole.len()])).collect();
        drawn.iter_mut().for_each(|octets| random.fill(octets));
        if self.needed == self.of {
            let mut last = Zeroizing::new(whole.to_vec());
            drawn.iter().for_each(|octets| add(&mut last, 1, octets));
            drawn.push(last);
            return drawn;
        }
        // the values at 1, 2, … of the polynomial whose coefficients are `whole` and what was drawn
        let share = |number| {
            let mut sum = Zeroizing::new(whole.to_vec());
            let mut power = 1;
            for coefficient in &drawn {
                power = gf256::multiply(power, number);
                add(&mut sum, power, coefficient);
            }
            sum
        };
        (1..=self.of).map(share).collect()
    }

    /// The value at 0, which is what was shared, or at the number of another share, from as many as needed; `None` when they are
    /// not of one length.
    fn interpolate(self, parts: &[Part<'_>], at: u8) -> Option<Zeroizing<Vec<u8>>> {
        let (_, first) = parts.first()?;
        let mut sum = Zeroizing::new(vec![0; first.len()]);
        for (number, octets) in parts {
            if octets.len() != sum.len() {
                return None;
            }
            let others = parts.iter().map(|(other, _)| *other).filter(|other| other != number);
            let factor = if self.needed == self.of {
                1
            } else {
                others.fold(1, |factor, other| {
                    let quotient = gf256::multiply(at ^ other, gf256::invert(number ^ other));
                    gf256::multiply(factor, quotient)
                })
            };
            add(&mut sum, factor, octets);
        }
        Some(sum)
    }
}

/// Number and octets of a share.
type Part<'a> = (u8, &'a [u8]);

fn part(share: &Share) -> Part<'_> {
    (share.number, share.material.expose_secret())
}

/// Adds `factor` times `octets`.
fn add(sum: &mut [u8], factor: u8, octets: &[u8]) {
    sum.iter_mut().zip(octets).for_each(|(sum, octet)| *sum ^= gf256::multiply(factor, *octet));
}

fn material(mut octets: Zeroizing<Vec<u8>>) -> Option<KeyMaterial> {
    KeyMaterial::from_octets(std::mem::take(&mut *octets)).ok()
}

/// A key that is not of whole octets, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only a key of whole octets can be shared")]
pub struct NotShareable;

/// Why shares do not give a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// Fewer shares than are needed.
    #[error("too few shares have arrived")]
    TooFew,
    /// There is no share of that number.
    #[error("there is no share {0} in this sharing")]
    Number(u8),
    /// Two shares of one number; which of them arrived over its path, the caller has to know.
    #[error("share {0} is there twice")]
    Twice(u8),
    /// Among these shares are not as many as needed that belong together in this context: some were changed, cut or exchanged.
    #[error("the shares do not fit together")]
    Wrong,
}

#[cfg(test)]
mod tests;
