//! A small seeded generator for synthetic traces. Never a source of keys.

use std::f64::consts::TAU;

/// SplitMix64: the same seed gives the same numbers on every machine.
///
/// Logarithm and cosine come from `libm` rather than from the platform, so that the derived numbers are the same too.
#[derive(Debug)]
pub(crate) struct Prng(u64);

impl Prng {
    /// A generator for one named part of a trace, so that parts do not shift each other's numbers.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        let mut prng = Self(seed);
        prng.0 = prng.next() ^ part.wrapping_mul(0xd134_2543_de82_ef95);
        prng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform, strictly between 0 and 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Uniform between two bounds.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Normally distributed with mean 0 and standard deviation 1.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(self.uniform())).sqrt();
        radius * libm::cos(TAU * self.uniform())
    }

    /// Exponentially distributed with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -libm::log(self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The published first outputs for the seed 1234567.
        let mut prng = Prng(1_234_567);
        assert_eq!(
            [prng.next(), prng.next(), prng.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn the_distributions_have_their_moments() {
        let mut prng = Prng::new(3, 1);
        let n = 100_000;
        let normal: Vec<f64> = (0..n).map(|_| prng.normal()).collect();
        let mean = normal.iter().sum::<f64>() / f64::from(n);
        let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
        let mean = (0..n).map(|_| prng.exponential()).sum::<f64>() / f64::from(n);
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((0..n).map(|_| prng.between(2.0, 3.0)).all(|x| x > 2.0 && x < 3.0));
    }

    #[test]
    fn seeds_and_parts_give_different_numbers() {
        let first = |seed, part| Prng::new(seed, part).next();
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(2, 1));
        assert_ne!(first(1, 1), first(1, 2));
    }
}
