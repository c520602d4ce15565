//! The operating system's and aws-lc's random generator, drawn ahead in blocks.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use itu_y3803::RandomSource;
use zeroize::{Zeroize, Zeroizing};

/// Octets drawn at a time: single small draws cost fifty times as much an octet.
const AHEAD: usize = 16 * 1024;

/// A cryptographically secure generator.
pub struct Random {
    system: SystemRandom,
    ahead: Zeroizing<Vec<u8>>,
    used: usize,
}

impl Random {
    /// Starts the generator, which takes some 20 ms the first time in a process.
    #[must_use]
    pub fn new() -> Self {
        let mut random = Self { system: SystemRandom::new(), ahead: Zeroizing::new(vec![0; AHEAD]), used: AHEAD };
        random.refill();
        random
    }

    fn refill(&mut self) {
        // There is no way on without randomness, and no sense in reporting it as somebody's error.
        self.system.fill(&mut self.ahead).expect("the system's random generator works");
        self.used = 0;
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl RandomSource for Random {
    fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used == AHEAD {
                self.refill();
            }
            let octets = out.len().min(AHEAD - self.used);
            let (now, later) = out.split_at_mut(octets);
            let drawn = &mut self.ahead[self.used..self.used + octets];
            now.copy_from_slice(drawn);
            // What was handed out must not be here any more.
            drawn.zeroize();
            self.used += octets;
            out = later;
        }
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}
