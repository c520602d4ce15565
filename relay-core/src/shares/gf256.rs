//! The field GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (0x11B): neither branches nor look-ups depend on its elements, so their values do
//! not show in the time that is taken.

/// The product of two elements.
pub(super) fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    for _ in 0..8 {
        product ^= a & all_if(b & 1);
        a = (a << 1) ^ (0x1b & all_if(a >> 7));
        b >>= 1;
    }
    product
}

/// What gives 1 with `a`; 0 for 0.
pub(super) fn invert(a: u8) -> u8 {
    // a^254, since a^255 is 1
    let mut power = a;
    for _ in 0..6 {
        power = multiply(multiply(power, power), a);
    }
    multiply(power, power)
}

/// All bits for 1, none for 0.
fn all_if(bit: u8) -> u8 {
    bit.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_the_advanced_encryption_standard() {
        // FIPS 197, clauses 4.2 and 4.2.1
        for (a, b, product) in [(0x57, 0x83, 0xc1), (0x57, 0x13, 0xfe), (0x57, 0x02, 0xae), (0x57, 0x10, 0x07)] {
            assert_eq!(multiply(a, b), product);
            assert_eq!(multiply(b, a), product);
        }
        assert_eq!(invert(0x53), 0xca);
    }

    #[test]
    fn it_is_a_field() {
        for a in 0..=255 {
            assert_eq!(multiply(a, 1), a);
            assert_eq!(multiply(a, invert(a)), u8::from(a != 0));
            for b in 0..=255 {
                assert_eq!(multiply(a, b), multiply(b, a));
                for c in [2, 3, 0x80, 0xff] {
                    assert_eq!(multiply(a ^ b, c), multiply(a, c) ^ multiply(b, c));
                    assert_eq!(multiply(multiply(a, b), c), multiply(a, multiply(b, c)));
                }
            }
        }
    }
}
