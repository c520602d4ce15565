//! Where randomness comes in.

/// A source of random octets, supplied by the caller.
///
/// Outside tests it must be a cryptographically secure generator: keys and identifiers are drawn from it. Any
/// `FnMut(&mut [u8])` is one.
pub trait RandomSource {
    /// Fills `out` with random octets.
    fn fill(&mut self, out: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> RandomSource for F {
    fn fill(&mut self, out: &mut [u8]) {
        self(out);
    }
}
