//! The operating system's random generator.

use itu_y3803::RandomSource;
use zeroize::{Zeroize, Zeroizing};

/// Draws from the operating system's generator, many octets at a time. What was handed out is wiped here.
pub struct OsRandom {
    buffer: Zeroizing<Vec<u8>>,
    used: usize,
}

/// The operating system gives no random octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random octets: {0}")]
pub struct NoRandomness(getrandom::Error);

impl OsRandom {
    /// Draws the first octets.
    ///
    /// # Errors
    /// [`NoRandomness`] when the operating system has none to give.
    pub fn new() -> Result<Self, NoRandomness> {
        let mut random = Self { buffer: Zeroizing::new(vec![0; BUFFER_OCTETS]), used: BUFFER_OCTETS };
        random.refill()?;
        Ok(random)
    }

    fn refill(&mut self) -> Result<(), NoRandomness> {
        getrandom::fill(&mut self.buffer).map_err(NoRandomness)?;
        self.used = 0;
        Ok(())
    }
}

impl RandomSource for OsRandom {
    /// # Panics
    /// When the operating system ceases to give random octets: no key may be made then.
    fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used == self.buffer.len() {
                self.refill().expect("the operating system gave random octets at the start");
            }
            let octets = out.len().min(self.buffer.len() - self.used);
            let (now, later) = out.split_at_mut(octets);
            let fresh = &mut self.buffer[self.used..self.used + octets];
            now.copy_from_slice(fresh);
            fresh.zeroize();
            self.used += octets;
            out = later;
        }
    }
}

impl std::fmt::Debug for OsRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OsRandom").finish_non_exhaustive()
    }
}

const BUFFER_OCTETS: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn octets_differ_and_are_wiped_when_handed_out() {
        let mut random = OsRandom::new().expect("the operating system has randomness");
        let mut seen = HashSet::new();
        // Sizes that do not divide the buffer, so that some draws span two fillings.
        for size in [24, 40, 1000].into_iter().cycle().take(300) {
            let mut out = vec![0; size];
            random.fill(&mut out);
            assert!(out.chunks_exact(8).all(|octets| seen.insert(<[u8; 8]>::try_from(octets).expect("eight"))));
            assert!(random.buffer[..random.used].iter().all(|octet| *octet == 0));
        }
        let mut large = vec![0; 3 * BUFFER_OCTETS + 1];
        random.fill(&mut large);
        assert!(large.chunks_exact(8).all(|octets| seen.insert(<[u8; 8]>::try_from(octets).expect("eight"))));
    }
}
