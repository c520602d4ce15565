//! A code that shows when something was added to a secret by somebody who does not know the rest of it.

/// Octets of the point, and of the value at this point.
pub(super) const BLOCK_OCTETS: usize = 16;

/// The value that goes with a secret: x^(d+2) + b1 x^d + … + bd x + 1 over GF(2^128) at the secret point x, with the blocks b1 … bd
/// of lengths, context and secret; a block of zeros makes d odd. With the 1, zeros everywhere do not fit.
///
/// Say that δ is added to the point, anything to the value, and the blocks become b'. If b' is not b, the value fits at no more than
/// d + 1 points: for δ = 0 the difference of both sides is a polynomial of degree d at most, and not zero; otherwise its term of
/// degree d + 1 is (d + 2) δ, which is δ, since d is odd.
pub(super) fn value(point: u128, context: &[u8], secret: &[u8]) -> u128 {
    let lengths = (context.len() as u128) << 64 | secret.len() as u128;
    let blocks = context.chunks(BLOCK_OCTETS).chain(secret.chunks(BLOCK_OCTETS)).map(block);
    let number = 1 + context.len().div_ceil(BLOCK_OCTETS) + secret.len().div_ceil(BLOCK_OCTETS);
    let padding = number.is_multiple_of(2).then_some(0);
    let first = multiply(point, point);
    [lengths].into_iter().chain(blocks).chain(padding).fold(first, |sum, block| multiply(sum ^ block, point)) ^ 1
}

fn block(octets: &[u8]) -> u128 {
    octets.iter().rev().fold(0, |block, &octet| block << 8 | u128::from(octet))
}

/// The product in GF(2^128) modulo x^128 + x^7 + x^2 + x + 1, in a time that depends on neither.
fn multiply(mut a: u128, mut b: u128) -> u128 {
    let mut product = 0;
    for _ in 0..128 {
        product ^= a & (b & 1).wrapping_neg();
        a = (a << 1) ^ (0x87 & (a >> 127).wrapping_neg());
        b >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn products_of_galois_counter_mode() {
        // Test case 2 of its specification; there, bits are counted from the other end.
        let [key, text, hash] = [
            0x66e9_4bd4_ef8a_2c3b_884c_fa59_ca34_2b2e_u128,
            0x0388_dace_60b6_a392_f328_c2b9_71b2_fe78,
            0xf38c_bb1a_d692_23dc_c345_7ae5_b6b0_f885,
        ]
        .map(u128::reverse_bits);
        let lengths = 0x80_u128.reverse_bits();
        assert_eq!(multiply(multiply(text, key) ^ lengths, key), hash);
    }

    #[test]
    fn the_value_is_the_polynomial_that_is_described() {
        let power = |x: u128, exponent| (0..exponent).fold(1, |power, _| multiply(power, x));
        let x = 0x0123_4567_89ab_cdef_1122_3344_5566_7788_u128;
        let lengths = 3 << 64 | 17;
        // lengths, context, two of the secret, padding
        let blocks = [lengths, 0x03_02_01, u128::from_le_bytes([9; 16]), 9, 0];
        let sum = blocks.iter().enumerate().fold(power(x, 7) ^ 1, |sum, (at, &block)| sum ^ multiply(block, power(x, 5 - at)));
        assert_eq!(value(x, &[1, 2, 3], &[9; 17]), sum);
        // lengths, two of the secret: odd as it is
        let blocks = [32, u128::from_le_bytes([5; 16]), u128::from_le_bytes([5; 16])];
        let sum = blocks.iter().enumerate().fold(power(x, 5) ^ 1, |sum, (at, &block)| sum ^ multiply(block, power(x, 3 - at)));
        assert_eq!(value(x, &[], &[5; 32]), sum);
    }

    #[test]
    fn context_and_secret_cannot_be_shifted_against_each_other() {
        let values = [(&b"ab"[..], &b"c"[..]), (b"a", b"bc"), (b"", b"abc"), (b"abc", b""), (b"ab", b"c\0"), (b"ab\0", b"c")]
            .map(|(context, secret)| value(2, context, secret));
        for (at, value) in values.iter().enumerate() {
            assert!(!values[..at].contains(value), "{at}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_field(a: u128, b: u128, c: u128) {
            prop_assert_eq!(multiply(a, 1), a);
            prop_assert_eq!(multiply(a, b), multiply(b, a));
            prop_assert_eq!(multiply(a ^ b, c), multiply(a, c) ^ multiply(b, c));
            prop_assert_eq!(multiply(multiply(a, b), c), multiply(a, multiply(b, c)));
            // whose elements are 2^128 in number
            prop_assert_eq!((0..128).fold(a, |square, _| multiply(square, square)), a);
        }

        /// Even who knows the secret can only guess. Without x^(d+2), the polynomial moved by δ would be one of these again.
        #[test]
        fn a_polynomial_that_is_moved_with_its_point_is_noticed(point: u128, by in 1_u128.., secret: [u8; 32]) {
            let [b2, b3] = [0, 16].map(|at| block(&secret[at..at + 16]));
            let b1 = 32; // lengths
            let square = multiply(by, by);
            let moved = [b2 ^ multiply(b1, by), b3 ^ multiply(b1, square)].map(u128::to_le_bytes).concat();
            let added = multiply(b1, multiply(square, by)) ^ multiply(b2, square) ^ multiply(b3, by);
            let without_first = |point: u128, secret: &[u8]| {
                let fourth = multiply(multiply(point, point), multiply(point, point));
                value(point, &[], secret) ^ multiply(fourth, point)
            };
            prop_assert_eq!(without_first(point ^ by, &moved), without_first(point, &secret) ^ added);
            prop_assert_ne!(value(point ^ by, &[], &moved), value(point, &[], &secret) ^ added);
        }
    }
}
